// A client as kubelet is one: grpc-go, with the specification's own generated messages.
// go-client SOCKET KUBELET-DIR URL SLOW-URL prints "ok go/<name>" or "not ok go/<name>: why" for each test.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
)

type world struct {
	socket, kubelet, url, slow string
	connection                 *grpc.ClientConn
	node                       csi.NodeClient
	number                     int
	mutex                      sync.Mutex
}

func (w *world) dial() *grpc.ClientConn {
	connection, err := grpc.NewClient("unix://"+w.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	return connection
}

// request is what kubelet sends for an inline volume; the target's parent exists.
func (w *world) request(name, url string) *csi.NodePublishVolumeRequest {
	w.mutex.Lock()
	w.number++
	pod := fmt.Sprintf("go-%s-%d", name, w.number)
	w.mutex.Unlock()
	target := filepath.Join(w.kubelet, "pods", pod, "volumes/kubernetes.io~csi/inputs/mount")
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		panic(err)
	}
	return &csi.NodePublishVolumeRequest{
		VolumeId:   fmt.Sprintf("csi-%x", sha256.Sum256([]byte(pod))),
		TargetPath: target,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
		VolumeContext: map[string]string{
			"inputs": url, "csi.storage.k8s.io/pod.name": pod, "csi.storage.k8s.io/pod.namespace": "team-a",
			"csi.storage.k8s.io/pod.uid": pod, "csi.storage.k8s.io/serviceAccount.name": "default", "csi.storage.k8s.io/ephemeral": "true",
		},
	}
}

func (w *world) unpublish(request *csi.NodePublishVolumeRequest) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := w.node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: request.VolumeId, TargetPath: request.TargetPath})
	return err
}

func identity(ctx context.Context, w *world) error {
	client := csi.NewIdentityClient(w.connection)
	info, err := client.GetPluginInfo(ctx, &csi.GetPluginInfoRequest{})
	if err != nil {
		return err
	}
	if info.Name != "csi.sharedcache.io" || info.VendorVersion == "" {
		return fmt.Errorf("%v", info)
	}
	probe, err := client.Probe(ctx, &csi.ProbeRequest{})
	if err != nil || (probe.Ready != nil && !probe.Ready.Value) {
		return fmt.Errorf("probe: %v %v", probe, err)
	}
	node, err := w.node.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	if err != nil || node.NodeId == "" {
		return fmt.Errorf("node: %v %v", node, err)
	}
	_, err = w.node.NodeGetCapabilities(ctx, &csi.NodeGetCapabilitiesRequest{})
	return err
}

func publish(ctx context.Context, w *world) error {
	request := w.request("publish", w.url)
	for range 3 {
		if _, err := w.node.NodePublishVolume(ctx, request); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(filepath.Join(request.TargetPath, "small.txt"))
	if err != nil || string(data) != strings.Repeat("small\n", 100) {
		return fmt.Errorf("contents: %d bytes, %v", len(data), err)
	}
	stats, err := w.node.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: request.VolumeId, VolumePath: request.TargetPath})
	if err != nil || len(stats.Usage) == 0 {
		return fmt.Errorf("stats: %v %v", stats, err)
	}
	for range 2 {
		if err := w.unpublish(request); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(request.TargetPath); !os.IsNotExist(err) {
		return fmt.Errorf("the target is still there: %v", err)
	}
	return nil
}

func errorsAreWhole(ctx context.Context, w *world) error {
	request := w.request("error", "https://data.example.com/a -> ü/../x")
	_, err := w.node.NodePublishVolume(ctx, request)
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "line 1") {
		return fmt.Errorf("%v", err)
	}
	if len(status.Convert(err).Details()) != 0 {
		return fmt.Errorf("details: %v", status.Convert(err).Details())
	}
	return nil
}

func unknownMethods(ctx context.Context, w *world) error {
	_, err := w.node.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{VolumeId: "x", VolumePath: "/x"})
	if status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("expand: %v", err)
	}
	_, err = csi.NewControllerClient(w.connection).ListVolumes(ctx, &csi.ListVolumesRequest{})
	if status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("list: %v", err)
	}
	return nil
}

func compressed(ctx context.Context, w *world) error {
	_, err := w.node.NodePublishVolume(ctx, w.request("gzip", w.url), grpc.UseCompressor(gzip.Name))
	if status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("%v", err)
	}
	_, err = w.node.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	return err
}

// deadlineIsKept: the call ends before its deadline with ABORTED, and a cancelled one at once, while the download goes on.
func deadlineIsKept(ctx context.Context, w *world) error {
	request := w.request("deadline", w.slow+" -> slow.bin")
	short, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	started := time.Now()
	_, err := w.node.NodePublishVolume(short, request)
	if status.Code(err) != codes.Aborted || time.Since(started) > 4*time.Second {
		return fmt.Errorf("after %v: %v", time.Since(started), err)
	}
	ended := make(chan error)
	gone, leave := context.WithCancel(ctx)
	go func() {
		_, err := w.node.NodePublishVolume(gone, request)
		ended <- err
	}()
	leave()
	if err := <-ended; status.Code(err) != codes.Canceled {
		return fmt.Errorf("cancelled: %v", err)
	}
	for {
		// Unpublish may be told to come again while the fill ends.
		err := w.unpublish(request)
		if status.Code(err) != codes.Aborted || ctx.Err() != nil {
			return err
		}
	}
}

func manyAtOnce(ctx context.Context, w *world) error {
	results := make(chan error)
	const connections, calls = 8, 25
	for range connections {
		connection := w.dial()
		defer connection.Close()
		client := csi.NewNodeClient(connection)
		for range calls {
			go func() {
				request := w.request("many", w.url)
				_, err := client.NodePublishVolume(ctx, request)
				if err == nil {
					_, err = client.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: request.VolumeId, TargetPath: request.TargetPath})
				}
				results <- err
			}()
		}
	}
	var failed error
	for range connections * calls {
		if err := <-results; err != nil {
			failed = err
		}
	}
	return failed
}

func main() {
	w := &world{socket: os.Args[1], kubelet: os.Args[2], url: os.Args[3], slow: os.Args[4]}
	w.connection = w.dial()
	w.node = csi.NewNodeClient(w.connection)
	tests := []struct {
		name string
		run  func(context.Context, *world) error
	}{
		{"identity", identity}, {"publish", publish}, {"errors-are-whole", errorsAreWhole}, {"row-17-unknown-methods", unknownMethods},
		{"row-18-compressed", compressed}, {"deadline-and-cancel", deadlineIsKept}, {"many-connections-and-calls", manyAtOnce},
	}
	exit := 0
	for _, test := range tests {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		if err := test.run(ctx, w); err != nil {
			fmt.Printf("not ok go/%s: %v\n", test.name, err)
			exit = 1
		} else {
			fmt.Printf("ok go/%s\n", test.name)
		}
		cancel()
	}
	os.Exit(exit)
}
