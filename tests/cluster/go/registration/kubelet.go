package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	"k8s.io/kubernetes/pkg/kubelet/config"
	"k8s.io/kubernetes/pkg/kubelet/pluginmanager"
	"k8s.io/kubernetes/pkg/kubelet/pluginmanager/cache"
	"k8s.io/kubernetes/pkg/volume"
	"k8s.io/kubernetes/pkg/volume/csi"
	volumetest "k8s.io/kubernetes/pkg/volume/testing"
	"k8s.io/kubernetes/pkg/volume/util/hostutil"
	volumetypes "k8s.io/kubernetes/pkg/volume/util/types"
	"k8s.io/mount-utils"
)

const driverName = "csi.sharedcache.io"
const nodeName = "node-of-the-test"

// event is what the kubelet process tells the test, one JSON object a line.
type event struct {
	Event    string
	Name     string   `json:",omitempty"`
	Endpoint string   `json:",omitempty"`
	Versions []string `json:",omitempty"`
	Error    string   `json:",omitempty"`
	Final    bool     `json:",omitempty"` // kubelet takes the error for final: it cleans up and may never unpublish
	Node     []string `json:",omitempty"` // the drivers of the CSINode: name, node id, topology keys, whether a count is there
}

var out = struct {
	sync.Mutex
	*json.Encoder
}{Encoder: json.NewEncoder(os.Stdout)}

func tell(e event) {
	out.Lock()
	defer out.Unlock()
	if out.Encode(e) != nil {
		os.Exit(0) // the test has gone
	}
}

// handler tells what kubelet's own handler was asked and refuses the first registrations if it is told to.
type handler struct {
	cache.PluginHandler
	mutex   sync.Mutex
	refuse  int
	refused int
}

func (h *handler) ValidatePlugin(name, endpoint string, versions []string) error {
	err := h.PluginHandler.ValidatePlugin(name, endpoint, versions)
	tell(event{Event: "validated", Name: name, Endpoint: endpoint, Versions: versions, Error: text(err)})
	return err
}

func (h *handler) RegisterPlugin(name, endpoint string, versions []string, timeout *time.Duration) error {
	h.mutex.Lock()
	refuse := h.refused < h.refuse
	if refuse {
		h.refused++
	}
	h.mutex.Unlock()
	if refuse {
		tell(event{Event: "refused", Name: name})
		return errors.New("the API server is on holiday")
	}
	err := h.PluginHandler.RegisterPlugin(name, endpoint, versions, timeout)
	tell(event{Event: "registered", Name: name, Endpoint: endpoint, Error: text(err)})
	return err
}

func (h *handler) DeRegisterPlugin(name, endpoint string) {
	h.PluginHandler.DeRegisterPlugin(name, endpoint)
	tell(event{Event: "deregistered", Name: name, Endpoint: endpoint})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// fakeHost is what kubelet's volume plugins see of kubelet; here with a real mounter instead of the fake's.
type fakeHost interface {
	volume.VolumeHost
	volume.KubeletVolumeHost
}

type host struct {
	fakeHost
}

func (host) GetMounter() mount.Interface     { return mount.New("") }
func (host) GetHostUtil() hostutil.HostUtils { return hostutil.NewHostUtil() }

type kubelet struct {
	dir    string
	client *fake.Clientset
	plugin volume.VolumePlugin
}

func csiDriver() *storage.CSIDriver {
	yes, no, policy := true, false, storage.NoneFSGroupPolicy
	return &storage.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: driverName},
		Spec: storage.CSIDriverSpec{
			AttachRequired: &no, PodInfoOnMount: &yes, FSGroupPolicy: &policy, RequiresRepublish: &no, StorageCapacity: &no,
			VolumeLifecycleModes: []storage.VolumeLifecycleMode{storage.VolumeLifecycleEphemeral, storage.VolumeLifecyclePersistent},
		},
	}
}

func newKubelet(dir string) *kubelet {
	client := fake.NewClientset(&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}, csiDriver())
	factory := informers.NewSharedInformerFactory(client, time.Hour)
	drivers := factory.Storage().V1().CSIDrivers().Lister()
	stop := make(chan struct{})
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	plugins := csi.ProbeVolumePlugins()
	fake := volumetest.NewFakeKubeletVolumeHostWithCSINodeName(&testing.T{}, dir, client, plugins, nodeName, drivers, nil)
	if err := plugins[0].Init(host{fake}); err != nil {
		panic(err)
	}
	return &kubelet{dir, client, plugins[0]}
}

func (k *kubelet) pod(name, inputs string) (*v1.Pod, *volume.Spec) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "team-a", UID: types.UID("uid-" + name)}}
	pod.Spec.ServiceAccountName = "default"
	pod.Spec.Volumes = []v1.Volume{{
		Name: "inputs",
		VolumeSource: v1.VolumeSource{
			CSI: &v1.CSIVolumeSource{Driver: driverName, VolumeAttributes: map[string]string{"inputs": inputs}},
		},
	}}
	return pod, volume.NewSpecFromVolume(&pod.Spec.Volumes[0])
}

func (k *kubelet) setUp(name, inputs string) event {
	pod, spec := k.pod(name, inputs)
	mounter, err := k.plugin.NewMounter(spec, pod)
	if err == nil {
		err = mounter.SetUp(volume.MounterArgs{})
	}
	return event{Event: "setup", Name: name, Error: text(err), Final: err != nil && volumetypes.IsOperationFinishedError(err)}
}

func (k *kubelet) tearDown(name string) event {
	unmounter, err := k.plugin.NewUnmounter("inputs", types.UID("uid-"+name))
	if err == nil {
		err = unmounter.TearDown()
	}
	return event{Event: "teardown", Name: name, Error: text(err)}
}

func (k *kubelet) csiNode() event {
	node, err := k.client.StorageV1().CSINodes().Get(context.Background(), nodeName, metav1.GetOptions{})
	if err != nil {
		return event{Event: "csinode", Error: err.Error()}
	}
	lines := []string{}
	for _, driver := range node.Spec.Drivers {
		lines = append(lines, fmt.Sprintf("%s id=%s topology=%s count=%t", driver.Name, driver.NodeID,
			strings.Join(driver.TopologyKeys, ","), driver.Allocatable != nil))
	}
	sort.Strings(lines)
	return event{Event: "csinode", Node: lines}
}

// runKubelet is a process of its own, as kubelet keeps its registry of drivers in global variables: kubelet DIR REFUSALS.
func runKubelet(dir string, refuse int) {
	k := newKubelet(dir)
	manager := pluginmanager.NewPluginManager(filepath.Join(dir, "plugins_registry"), record.NewFakeRecorder(100))
	manager.AddHandler("CSIPlugin", &handler{PluginHandler: csi.PluginHandler, refuse: refuse})
	go manager.Run(config.NewSourcesReady(func(sets.Set[string]) bool { return true }), make(chan struct{}))
	tell(event{Event: "running"})
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		words := strings.SplitN(commands.Text(), " ", 3)
		go func() { // a pod may go while its volume comes
			switch words[0] {
			case "csinode":
				tell(k.csiNode())
			case "setup":
				tell(k.setUp(words[1], words[2]))
			case "teardown":
				tell(k.tearDown(words[1]))
			}
		}()
	}
}
