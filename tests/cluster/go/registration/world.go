package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Limits of waits, not waits: kubelet's own backoff after a failed dial is the longest thing here.
const soon = 15 * time.Second
const patience = 60 * time.Second

// world is one test's node: a kubelet directory, a state directory, and what runs on them.
type world struct {
	binary, dir, kubeletDir, registry, socket string
	plugins                                   []*plugin
	kubelets                                  []*kubeletProcess
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func newWorld(binary, dir string) *world {
	w := &world{binary: binary, dir: dir, kubeletDir: filepath.Join(dir, "k")}
	w.registry = filepath.Join(w.kubeletDir, "plugins_registry")
	w.socket = filepath.Join(w.kubeletDir, "plugins", driverName, "csi.sock")
	for _, each := range []string{filepath.Dir(w.socket), filepath.Join(w.kubeletDir, "pods"), filepath.Join(dir, "classes")} {
		must(os.MkdirAll(each, 0o750))
	}
	class := `{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "test"}, "provisioner": "` + driverName +
		`", "parameters": {"allowedAddresses": "127.0.0.0/8"}}`
	must(os.WriteFile(filepath.Join(dir, "classes", "test.json"), []byte(class), 0o600))
	return w
}

func (w *world) close() {
	for _, each := range w.plugins {
		each.signal(syscall.SIGKILL)
	}
	for _, each := range w.kubelets {
		each.kill()
	}
}

func (w *world) logs() string {
	text := ""
	for i, each := range w.plugins {
		data, _ := os.ReadFile(each.log)
		text += fmt.Sprintf("\n--- plugin %d\n%s", i, data)
	}
	for i, each := range w.kubelets {
		data, _ := os.ReadFile(each.log)
		text += fmt.Sprintf("\n--- kubelet %d\n%s", i, data)
	}
	return text
}

func (w *world) registration() string {
	return filepath.Join(w.registry, driverName+"-reg.sock")
}

// waitFor polls what has no event.
func waitFor(limit time.Duration, what string, condition func() bool) {
	for end := time.Now().Add(limit); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			fail("not within %v: %s", limit, what)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func inode(path string) uint64 {
	info, err := os.Lstat(path)
	must(err)
	return info.Sys().(*syscall.Stat_t).Ino
}

type plugin struct {
	command *exec.Cmd
	log     string
	ended   chan struct{}
}

func (w *world) startPlugin(arguments ...string) *plugin {
	p := &plugin{log: filepath.Join(w.dir, fmt.Sprintf("plugin-%d.log", len(w.plugins))), ended: make(chan struct{})}
	p.command = exec.Command(w.binary, append([]string{"node", "--endpoint", "unix://" + w.socket, "--node-id", nodeName,
		"--state-dir", filepath.Join(w.dir, "state"), "--kubelet-dir", w.kubeletDir, "--class-dir", filepath.Join(w.dir, "classes"),
		"--default-class", "test", "--fetcher-uid", "0"}, arguments...)...)
	log, err := os.Create(p.log)
	must(err)
	defer log.Close()
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(p.command.Start())
	go func() {
		_ = p.command.Wait()
		close(p.ended)
	}()
	w.plugins = append(w.plugins, p)
	return p
}

func (p *plugin) says(words string) int {
	data, err := os.ReadFile(p.log)
	must(err)
	return strings.Count(string(data), words)
}

func (p *plugin) waitSays(limit time.Duration, words string) {
	waitFor(limit, "the plugin's log says "+words, func() bool { return p.says(words) > 0 })
}

func (p *plugin) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *plugin) signal(number syscall.Signal) {
	if !p.running() {
		return
	}
	_ = p.command.Process.Signal(number)
	select {
	case <-p.ended:
	case <-time.After(patience):
		fail("%v did not end the plugin", number)
	}
}

type kubeletProcess struct {
	command *exec.Cmd
	log     string
	input   io.WriteCloser
	events  chan event
}

func (w *world) startKubelet(refusals int) *kubeletProcess {
	k := &kubeletProcess{log: filepath.Join(w.dir, fmt.Sprintf("kubelet-%d.log", len(w.kubelets))), events: make(chan event, 1000)}
	k.command = exec.Command("/proc/self/exe", "kubelet", w.kubeletDir, fmt.Sprint(refusals))
	log, err := os.Create(k.log)
	must(err)
	defer log.Close()
	k.command.Stderr = log
	k.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	k.input, err = k.command.StdinPipe()
	must(err)
	output, err := k.command.StdoutPipe()
	must(err)
	must(k.command.Start())
	w.kubelets = append(w.kubelets, k)
	go k.read(output)
	k.expect(patience, "running")
	return k
}

func (k *kubeletProcess) read(output io.Reader) {
	for lines := bufio.NewScanner(output); lines.Scan(); {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			k.events <- e
		}
	}
	close(k.events)
}

func (k *kubeletProcess) kill() {
	_ = k.command.Process.Kill()
	for range k.events {
	}
	_ = k.command.Wait()
}

// expect takes events until one of the name comes.
func (k *kubeletProcess) expect(limit time.Duration, name string) event {
	return k.expectAny(limit, name)
}

func (k *kubeletProcess) expectAny(limit time.Duration, names ...string) event {
	timeout := time.After(limit)
	for {
		select {
		case e, open := <-k.events:
			if !open {
				fail("kubelet ended while %v was waited for", names)
			}
			if slices.Contains(names, e.Event) {
				return e
			}
		case <-timeout:
			fail("kubelet: no %v within %v", names, limit)
		}
	}
}

// quiet fails if anything happens for as long.
func (k *kubeletProcess) quiet(long time.Duration) {
	select {
	case e := <-k.events:
		fail("kubelet: unexpected %+v", e)
	case <-time.After(long):
	}
}

func (k *kubeletProcess) send(command string) {
	_, err := io.WriteString(k.input, command+"\n")
	must(err)
}

func (k *kubeletProcess) askWithin(limit time.Duration, command, answer string) event {
	k.send(command)
	return k.expect(limit, answer)
}

func (k *kubeletProcess) ask(command, answer string) event {
	return k.askWithin(patience, command, answer)
}

// registered waits for it and holds what kubelet wrote into its CSINode against what it must be.
func (k *kubeletProcess) registered(limit time.Duration, endpoint string) {
	e := k.expect(limit, "registered")
	if e.Error != "" || e.Name != driverName || e.Endpoint != endpoint {
		fail("registered as %+v, expected the endpoint %s", e, endpoint)
	}
	want := driverName + " id=" + nodeName + " topology= count=false"
	if node := k.ask("csinode", "csinode"); len(node.Node) != 1 || node.Node[0] != want {
		fail("the CSINode says %v %s, expected [%s]", node.Node, node.Error, want)
	}
}

func (k *kubeletProcess) deregistered(limit time.Duration) {
	k.expect(limit, "deregistered")
	if node := k.ask("csinode", "csinode"); len(node.Node) != 0 {
		fail("the CSINode still says %v", node.Node)
	}
}
