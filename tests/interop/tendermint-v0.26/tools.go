//go:build tools

// Package tools names what is built from the module beside it: Go refuses `go install PACKAGE@VERSION` for a module this old.
package tools

import (
	_ "github.com/tendermint/tendermint/cmd/tendermint"
)
