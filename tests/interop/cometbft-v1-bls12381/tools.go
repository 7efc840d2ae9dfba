//go:build tools

// Package tools names what is built from the module beside it: the Go binding of blst that CometBFT v1.0.1 asks for does not compile with
// Go 1.24 and later, and a newer version of it does.
package tools

import _ "github.com/cometbft/cometbft/cmd/cometbft"
