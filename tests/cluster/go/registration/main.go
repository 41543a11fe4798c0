// registration BINARY WORK [word...]: the program's registration with kubelet's own plugin manager and CSI volume plugin as the client.
// Prints "ok registration/<name>" or "not ok registration/<name>: why" for each test whose name holds one of the words.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

type test struct {
	name string
	run  func(w *world)
}

func wanted(name string, words []string) bool {
	for _, word := range words {
		if strings.Contains(name, word) {
			return true
		}
	}
	return len(words) == 0
}

// A test fails by panicking with a failure.
type failure string

func fail(format string, arguments ...any) {
	panic(failure(fmt.Sprintf(format, arguments...)))
}

func run(t test, binary, dir string) (why string) {
	w := newWorld(binary, dir)
	defer w.close()
	defer func() {
		if cause := recover(); cause != nil {
			told, is := cause.(failure)
			if !is {
				panic(cause)
			}
			why = string(told) + w.logs()
		}
	}()
	t.run(w)
	return ""
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "kubelet" {
		refusals, err := strconv.Atoi(os.Args[3])
		if err != nil {
			panic(err)
		}
		runKubelet(os.Args[2], refusals)
		return
	}
	failed := false
	for i, t := range tests {
		if !wanted(t.name, os.Args[3:]) {
			continue
		}
		if why := run(t, os.Args[1], filepath.Join(os.Args[2], strconv.Itoa(i))); why != "" {
			failed = true
			fmt.Printf("not ok registration/%s: %s\n", t.name, why)
		} else {
			fmt.Printf("ok registration/%s\n", t.name)
		}
	}
	if failed {
		os.Exit(1)
	}
}
