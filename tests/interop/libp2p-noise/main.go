// A node's side of noise://, made of go-libp2p alone: the handshake with the signer, and every byte back.
//
// usage: libp2p-noise ed25519|secp256k1 [PEER_ID]
//
// The first line says the address and the node's peer ID, each further one what became of a connection: the signer's peer ID,
// or why there was no handshake. With PEER_ID, no other signer is let in. It ends with its standard input.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: libp2p-noise ed25519|secp256k1 [PEER_ID]")
	}
	types := map[string]int{"ed25519": crypto.Ed25519, "secp256k1": crypto.Secp256k1}
	kind, ok := types[os.Args[1]]
	if !ok {
		log.Fatalf("no identity of type %s", os.Args[1])
	}
	key, _, err := crypto.GenerateKeyPairWithReader(kind, 0, rand.Reader)
	check(err)
	id, err := peer.IDFromPrivateKey(key)
	check(err)
	var signer peer.ID
	if len(os.Args) > 2 {
		signer, err = peer.Decode(os.Args[2])
		check(err)
	}
	transport, err := noise.New(noise.ID, key, nil)
	check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr(), id)
	go func() {
		for {
			stream, err := listener.Accept()
			check(err)
			serve(transport, stream, signer)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func serve(transport *noise.Transport, stream net.Conn, signer peer.ID) {
	defer stream.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	session, err := transport.SecureInbound(ctx, stream, signer)
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	fmt.Println(session.RemotePeer())
	// Larger than any message of Noise, and back in two pieces.
	data := make([]byte, 70_000)
	for {
		count, err := session.Read(data)
		for _, piece := range [][]byte{data[:count/3], data[count/3 : count]} {
			if len(piece) > 0 {
				if _, err := session.Write(piece); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
