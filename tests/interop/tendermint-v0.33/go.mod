module tmkms.interop/tendermint-v0.33

go 1.21

require github.com/tendermint/tendermint v0.33.9
