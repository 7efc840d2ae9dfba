//go:build tools

// Package tools names what is built from the module beside it: Go refuses `go install PACKAGE@VERSION` for this module,
// because its go.mod has replace directives.
package tools

import (
	_ "github.com/tendermint/tendermint/cmd/tendermint"
	_ "github.com/tendermint/tendermint/tools/tm-signer-harness"
)
