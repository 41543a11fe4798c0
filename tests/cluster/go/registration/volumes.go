package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

const content = "what the pod asked for\n"

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
