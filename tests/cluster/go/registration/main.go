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

func runAndTell(t test, binary, dir string) bool {
	why := run(t, binary, dir)
	if why != "" {
		fmt.Printf("not ok registration/%s: %s\n", t.name, why)
	} else {
		fmt.Printf("ok registration/%s\n", t.name)
	}
	return why == ""
}

// One after the other, beside the last one, which takes minutes.
func runAll(binary, work string, words []string) bool {
	passed, long := true, tests[len(tests)-1]
	last := make(chan bool)
	if wanted(long.name, words) {
		go func() { last <- runAndTell(long, binary, filepath.Join(work, "long")) }()
	}
	for i, t := range tests[:len(tests)-1] {
		if wanted(t.name, words) {
			passed = runAndTell(t, binary, filepath.Join(work, strconv.Itoa(i))) && passed
		}
	}
	if wanted(long.name, words) {
		passed = <-last && passed
	}
	return passed
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
	if !runAll(os.Args[1], os.Args[2], os.Args[3:]) {
		os.Exit(1)
	}
}
