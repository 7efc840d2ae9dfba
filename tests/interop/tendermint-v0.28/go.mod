module tmkms.interop/tendermint-v0.28

go 1.21

require (
	github.com/go-kit/kit v0.6.0
	github.com/tendermint/go-amino v0.14.1
	github.com/tendermint/tendermint v0.28.1
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/go-logfmt/logfmt v0.5.1 // indirect
	github.com/go-stack/stack v1.8.1 // indirect
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/golang/protobuf v1.5.3 // indirect
	github.com/gorilla/websocket v1.5.0 // indirect
	github.com/hashicorp/hcl v1.0.0 // indirect
	github.com/magiconair/properties v1.8.7 // indirect
	github.com/matttproud/golang_protobuf_extensions v1.0.4 // indirect
	github.com/mitchellh/mapstructure v1.5.0 // indirect
	github.com/pelletier/go-toml v1.9.5 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/prometheus/client_golang v0.0.0-00010101000000-000000000000 // indirect
	github.com/prometheus/client_model v0.3.0 // indirect
	github.com/prometheus/common v0.0.0-00010101000000-000000000000 // indirect
	github.com/prometheus/procfs v0.8.0 // indirect
	github.com/rcrowley/go-metrics v0.0.0-00010101000000-000000000000 // indirect
	github.com/rs/cors v1.8.2 // indirect
	github.com/spf13/afero v1.9.5 // indirect
	github.com/spf13/cast v1.5.1 // indirect
	github.com/spf13/cobra v0.0.0-00010101000000-000000000000 // indirect
	github.com/spf13/jwalterweatherman v1.1.0 // indirect
	github.com/spf13/pflag v1.0.5 // indirect
	github.com/spf13/viper v0.0.0-00010101000000-000000000000 // indirect
	github.com/syndtr/goleveldb v1.0.0 // indirect
	github.com/tendermint/btcd v0.0.0-00010101000000-000000000000 // indirect
	golang.org/x/crypto v0.17.0 // indirect
	golang.org/x/net v0.17.0 // indirect
)

replace (
	github.com/btcsuite/btcd => github.com/btcsuite/btcd v0.20.1-beta
	github.com/prometheus/client_golang => github.com/prometheus/client_golang v0.9.1
	github.com/prometheus/common => github.com/prometheus/common v0.0.0-20181020173914-7e9e6cabbd39
	github.com/rcrowley/go-metrics => github.com/rcrowley/go-metrics v0.0.0-20180503174638-e2704e165165
	github.com/spf13/cobra => github.com/spf13/cobra v0.0.1
	github.com/spf13/viper => github.com/spf13/viper v1.0.0
	github.com/tendermint/btcd => github.com/tendermint/btcd v0.1.1
	google.golang.org/genproto => google.golang.org/genproto v0.0.0-20190201180003-4b09977fb922
	google.golang.org/grpc => google.golang.org/grpc v1.13.0
)
