package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func freePort() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	return listener.Addr().String()
}

// get answers with status 0 while nobody listens.
func get(url string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(err)
	return response.StatusCode, string(body)
}

// Ready is what kubelet says, until the socket is taken away; a kubelet that is down takes nothing back.
func readyz(w *world) {
	address := freePort()
	w.startPlugin("--http-endpoint", address)
	status := func(want int) func() bool {
		return func() bool {
			got, _ := get("http://" + address + "/readyz")
			return got == want
		}
	}
	gauge := func(want string) {
		if _, metrics := get("http://" + address + "/metrics"); !strings.Contains(metrics, "\nsharedcache_csi_registered "+want+"\n") {
			fail("the metric of the registration is not %s", want)
		}
	}
	waitFor(soon, "/readyz says no before kubelet is there", status(503))
	gauge("0")
	k := w.startKubelet(1)
	k.expect(soon, "refused")
	if !status(503)() {
		fail("/readyz says yes after a refusal")
	}
	k.registered(patience, w.socket)
	waitFor(soon, "/readyz says yes", status(200))
	gauge("1")
	k.kill()
	if !status(200)() {
		fail("/readyz says no because kubelet is down")
	}
	must(os.Remove(w.registration()))
	waitFor(soon, "/readyz says no without the socket", status(503))
}
