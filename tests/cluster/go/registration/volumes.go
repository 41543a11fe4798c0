package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

const content = "what the pod asked for\n"

const lateSize = 140 * 1024
const lateRate = 1024 // bytes a second, so that it takes longer than kubelet waits for a publish

// late serves /late slowly and counts the bytes.
func late(sent *atomic.Int64) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("ETag", `"late"`)
		slow := &slowWriter{ResponseWriter: writer, sent: sent, done: request.Context().Done()}
		http.ServeContent(slow, request, "", time.Time{}, bytes.NewReader(bytes.Repeat([]byte("0123456789abcdef"), lateSize/16)))
	}))
}

type slowWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
	done <-chan struct{}
}

func (w *slowWriter) Write(data []byte) (int, error) {
	written := 0
	for written < len(data) {
		n, err := w.ResponseWriter.Write(data[written:min(written+lateRate/4, len(data))])
		written += n
		w.sent.Add(int64(n))
		if err != nil {
			return written, err
		}
		w.ResponseWriter.(http.Flusher).Flush()
		select {
		case <-w.done:
			return written, io.ErrClosedPipe
		case <-time.After(time.Second / 4):
		}
	}
	return written, nil
}

// origin serves /data, answers 404 for /missing, and for /slow/... sends its head and then nothing until it is closed.
func origin() (*httptest.Server, func()) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		switch {
		case request.URL.Path == "/data":
			writer.Header().Set("ETag", `"one"`)
			http.ServeContent(writer, request, "", time.Time{}, strings.NewReader(content))
		case strings.HasPrefix(request.URL.Path, "/slow/"):
			writer.Header().Set("ETag", `"slow"`)
			writer.Header().Set("Content-Length", "1000000")
			writer.WriteHeader(http.StatusOK)
			if flusher, is := writer.(http.Flusher); is {
				flusher.Flush()
			}
			select {
			case <-release:
			case <-request.Context().Done():
			}
		default:
			http.NotFound(writer, request)
		}
	}))
	return server, func() {
		close(release)
		server.CloseClientConnections()
		server.Close()
	}
}

func (w *world) slowPublish(ctx context.Context, node csi.NodeClient, number int, url string) error {
	pod := fmt.Sprintf("slow-%d", number)
	target := filepath.Join(w.kubeletDir, "pods", pod, "volumes/kubernetes.io~csi/inputs/mount")
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	_, err := node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId:   fmt.Sprintf("csi-%x", sha256.Sum256([]byte(pod))),
		TargetPath: target,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
		VolumeContext: map[string]string{
			"inputs": fmt.Sprintf("%s/slow/%d", url, number), "csi.storage.k8s.io/pod.name": pod, "csi.storage.k8s.io/pod.namespace": "a",
			"csi.storage.k8s.io/pod.uid": pod, "csi.storage.k8s.io/serviceAccount.name": "default", "csi.storage.k8s.io/ephemeral": "true",
		},
	})
	return err
}

// kubelet gives GetInfo one second.
func getInfoUnderLoad(w *world) {
	const publishes = 64
	server, release := origin()
	k := w.startKubelet(0)
	w.startPlugin()
	k.registered(soon, w.socket)
	connection := connect(w.socket)
	defer connection.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	ended := make(chan error, publishes)
	for i := range publishes {
		group.Add(1)
		go func() {
			defer group.Done()
			ended <- w.slowPublish(ctx, csi.NewNodeClient(connection), i, server.URL)
		}()
	}
	defer func() {
		cancel()
		group.Wait()
		release()
	}()
	time.Sleep(3 * time.Second) // they all run now; one that had ended would be seen below
	slowest := time.Duration(0)
	for range 50 {
		registrar := connect(w.registration())
		began := time.Now()
		getInfo(registrar)
		slowest = max(slowest, time.Since(began))
		registrar.Close()
	}
	select {
	case err := <-ended:
		fail("a publish that should hang ended: %v", err)
	default:
	}
	fmt.Printf("# GetInfo beside %d publishes: at most %v\n", publishes, slowest.Round(10*time.Microsecond))
}

func (w *world) target(pod string) string {
	return filepath.Join(w.kubeletDir, "pods", "uid-"+pod, "volumes/kubernetes.io~csi/inputs/mount")
}

func volumeThroughMounter(w *world) {
	server, release := origin()
	defer release()
	k := w.startKubelet(0)
	p := w.startPlugin()
	k.registered(soon, w.socket)
	for range 2 { // the second one is what a kubelet does that has lost its memory
		if e := k.ask("setup reader "+server.URL+"/data", "setup"); e.Error != "" {
			fail("SetUp: %s", e.Error)
		}
	}
	data, err := os.ReadFile(filepath.Join(w.target("reader"), "data"))
	must(err)
	if string(data) != content {
		fail("the pod reads %q", data)
	}
	if !exists(filepath.Join(filepath.Dir(w.target("reader")), "vol_data.json")) {
		fail("kubelet's own file is gone")
	}
	p.signal(15)
	k.deregistered(soon)
	if e := k.ask("teardown reader", "teardown"); !strings.Contains(e.Error, "not found in the list of registered CSI drivers") {
		fail("TearDown without a plugin: %q", e.Error)
	}
	w.startPlugin()
	k.registered(soon, w.socket)
	for range 2 {
		if e := k.ask("teardown reader", "teardown"); e.Error != "" && !strings.Contains(e.Error, "vol_data.json") {
			fail("TearDown: %s", e.Error)
		}
	}
	if exists(w.target("reader")) {
		fail("the target is left over")
	}
}

// What can never be is final for kubelet, and nothing is left of it; a plugin that does not answer is not final.
func volumeRefused(w *world) {
	server, release := origin()
	defer release()
	k := w.startKubelet(0)
	p := w.startPlugin()
	k.registered(soon, w.socket)
	e := k.ask("setup loser "+server.URL+"/missing", "setup")
	if e.Error == "" || !e.Final || exists(w.target("loser")) {
		fail("SetUp of what is missing: %+v, target there: %t", e, exists(w.target("loser")))
	}
	p.signal(9)
	if e := k.ask("setup waiter "+server.URL+"/data", "setup"); e.Error == "" || e.Final {
		fail("SetUp while the plugin is down: %+v", e)
	}
	w.startPlugin()
	k.expect(soon, "deregistered")
	k.registered(soon, w.socket)
	if e := k.ask("setup waiter "+server.URL+"/data", "setup"); e.Error != "" {
		fail("SetUp after the plugin came back: %s", e.Error)
	}
	if e := k.ask("teardown waiter", "teardown"); e.Error != "" {
		fail("TearDown: %s", e.Error)
	}
}

// What takes longer than kubelet waits is no failure: kubelet hears that it goes on, asks again, and nothing is downloaded twice.
func volumeTakesLong(w *world) {
	var sent atomic.Int64
	server := late(&sent)
	defer server.Close()
	k := w.startKubelet(0)
	w.startPlugin()
	k.registered(soon, w.socket)
	began := time.Now()
	e := k.askWithin(2*time.Minute+soon, "setup patient "+server.URL+"/late", "setup")
	if e.Error == "" || e.Final || !strings.Contains(e.Error, "Aborted") || !strings.Contains(e.Error, "KiB") {
		fail("the first SetUp, after %v: %+v", time.Since(began), e)
	}
	if waited := time.Since(began); waited < 90*time.Second || waited > 119*time.Second {
		fail("the first SetUp took %v: kubelet's own limit is two minutes", waited)
	}
	for tries := 0; e.Error != ""; tries++ {
		if e.Final || tries == 3 {
			fail("SetUp, tried again: %+v", e)
		}
		e = k.askWithin(2*time.Minute+soon, "setup patient "+server.URL+"/late", "setup")
	}
	info, err := os.Stat(filepath.Join(w.target("patient"), "late"))
	must(err)
	if info.Size() != lateSize || sent.Load() > lateSize+4096 {
		fail("the file has %d bytes of %d, %d were sent", info.Size(), lateSize, sent.Load())
	}
	if e := k.ask("teardown patient", "teardown"); e.Error != "" || exists(w.target("patient")) {
		fail("TearDown: %+v, target there: %t", e, exists(w.target("patient")))
	}
}

// The pod is deleted while its volume is filled: kubelet's unpublish ends the fill, and nothing is left.
func podDeletedDuringFill(w *world) {
	server, release := origin()
	defer release()
	k := w.startKubelet(0)
	w.startPlugin()
	k.registered(soon, w.socket)
	k.send("setup gone " + server.URL + "/slow/1")
	waitFor(soon, "kubelet's own file", func() bool { return exists(filepath.Join(filepath.Dir(w.target("gone")), "vol_data.json")) })
	time.Sleep(time.Second) // the publish is under way
	k.send("teardown gone")
	first, second := k.expectAny(patience, "setup", "teardown"), k.expectAny(patience, "setup", "teardown")
	if first.Event == "teardown" {
		first, second = second, first
	}
	if first.Error == "" || first.Final || second.Error != "" {
		fail("SetUp: %+v, TearDown: %+v", first, second)
	}
	if exists(w.target("gone")) {
		fail("the target is left over")
	}
}
