module tmkms.interop/tendermint-v0.32

go 1.21

require github.com/tendermint/tendermint v0.32.14
