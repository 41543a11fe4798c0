// An S3 server that is not versitygw: rclone's gofakes3 on a store in memory, which verifies signatures, keeps versions and lists
// in pages. The same code is behind "rclone serve s3". Its arguments are the address and pairs of access and secret key; it prints
// a line when it listens, and ends with its standard input.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

func main() {
	keys := map[string]string{}
	for i := 2; i+1 < len(os.Args); i += 2 {
		keys[os.Args[i]] = os.Args[i+1]
	}
	server := gofakes3.New(s3mem.New(), gofakes3.WithV4Auth(keys), gofakes3.WithLogger(gofakes3.GlobalLog()))
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listens")
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, http.Serve(listener, server.Server()))
	os.Exit(1)
}
