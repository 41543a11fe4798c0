// An S3 server that is not versitygw: rclone's gofakes3 on a store in memory, which verifies signatures, keeps versions and lists
// in pages. The same code is behind "rclone serve s3". Its argument is the address; its standard input has an access key and a secret
// key a line in turns, then an empty line, and the server ends with it.
package main

import (
	"bufio"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

func main() {
	keys, access := map[string]string{}, ""
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() && input.Text() != "" {
		if access == "" {
			access = input.Text()
		} else {
			keys[access], access = input.Text(), ""
		}
	}
	server := gofakes3.New(s3mem.New(), gofakes3.WithV4Auth(keys), gofakes3.WithGlobalLog())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.ListenAndServe(os.Args[1], server.Server()))
}
