package main

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

var tests = []test{
	{"plugin-first", pluginFirst},
	{"kubelet-first", kubeletFirst},
	{"before-kubelet-made-its-directory", beforeDirectory},
	{"kubelet-restarted", kubeletRestarted},
	{"plugin-stopped-and-started", pluginStopped},
	{"plugin-killed-and-started", pluginKilled},
	{"stale-socket-after-reboot", staleSocket},
	{"refused-then-accepted", refused},
	{"socket-deleted", socketDeleted},
	{"directory-made-anew", directoryAnew},
	{"rollout-of-two-plugins", rollout},
	{"endpoint-on-the-host", endpointOnHost},
	{"no-register", noRegister},
	{"registrar-beside-us", registrarBeside},
	{"wrong-directory", wrongDirectory},
	{"authority-is-a-path", authority},
	{"get-info-under-slow-publishes", getInfoUnderLoad},
	{"readyz-follows-kubelet", readyz},
	{"volume-through-kubelets-mounter", volumeThroughMounter},
	{"volume-that-cannot-be", volumeRefused},
	{"pod-deleted-during-a-fill", podDeletedDuringFill},
	{"volume-that-takes-longer-than-kubelet-waits", volumeTakesLong}, // started first, looked at last
}

func pluginFirst(w *world) {
	must(os.Mkdir(w.registry, 0o755))
	p := w.startPlugin()
	waitFor(soon, "the registration socket", func() bool { return exists(w.registration()) })
	info, err := os.Lstat(w.registration())
	must(err)
	if info.Mode().Perm() != 0o600 {
		fail("the socket's mode is %v", info.Mode())
	}
	k := w.startKubelet(0)
	e := k.expect(soon, "validated")
	if e.Error != "" || len(e.Versions) != 1 || e.Versions[0] != "1.0.0" {
		fail("validated: %+v", e)
	}
	k.registered(soon, w.socket)
	p.waitSays(soon, "event=registered")
	k.quiet(3 * time.Second)
}

func kubeletFirst(w *world) {
	k := w.startKubelet(0)
	w.startPlugin()
	k.registered(soon, w.socket)
}

func beforeDirectory(w *world) {
	p := w.startPlugin()
	p.waitSays(soon, "event=registration_waits")
	k := w.startKubelet(0)
	k.registered(soon, w.socket)
	if told := p.says("registration_waits"); told != 1 {
		fail("the missing directory was told %d times", told)
	}
}

func kubeletRestarted(w *world) {
	k := w.startKubelet(0)
	p := w.startPlugin()
	k.registered(soon, w.socket)
	// kubelet says that it has registered us before it tells us.
	p.waitSays(soon, "event=registered")
	before := inode(w.registration())
	k.kill()
	w.startKubelet(0).registered(soon, w.socket)
	if inode(w.registration()) != before {
		fail("the socket was made anew, which nobody asked for")
	}
	waitFor(soon, "the second registration in the log", func() bool { return p.says("event=registered") == 2 })
}

func pluginStopped(w *world) {
	k := w.startKubelet(0)
	p := w.startPlugin()
	k.registered(soon, w.socket)
	p.signal(syscall.SIGTERM)
	if exists(w.registration()) {
		fail("SIGTERM left the registration socket")
	}
	k.deregistered(soon)
	w.startPlugin()
	k.registered(soon, w.socket)
}

func pluginKilled(w *world) {
	k := w.startKubelet(0)
	p := w.startPlugin()
	k.registered(soon, w.socket)
	p.signal(syscall.SIGKILL)
	if !exists(w.registration()) {
		fail("SIGKILL cannot have removed the socket")
	}
	k.quiet(2 * time.Second) // nobody told kubelet: calls fail and are tried again
	w.startPlugin()
	k.deregistered(soon)
	k.registered(soon, w.socket)
}

func staleSocket(w *world) {
	must(os.Mkdir(w.registry, 0o755))
	p := w.startPlugin()
	waitFor(soon, "the registration socket", func() bool { return exists(w.registration()) })
	p.signal(syscall.SIGKILL)
	k := w.startKubelet(0)
	time.Sleep(time.Second) // kubelet dials it in vain: its dial goes on for ten seconds
	w.startPlugin()
	k.registered(patience, w.socket)
}

func refused(w *world) {
	k := w.startKubelet(2)
	p := w.startPlugin()
	k.expect(soon, "refused")
	k.expect(patience, "refused")
	k.registered(patience, w.socket)
	p.waitSays(soon, "event=registered")
	if p.says("the API server is on holiday") != 2 || !p.running() {
		fail("the refusals are not in the log, or the plugin ended")
	}
}

func socketDeleted(w *world) {
	k := w.startKubelet(0)
	p := w.startPlugin()
	k.registered(soon, w.socket)
	must(os.Remove(w.registration()))
	k.expect(soon, "deregistered")
	k.registered(soon, w.socket)
	p.waitSays(soon, "registration_socket_removed")
}

func directoryAnew(w *world) {
	k := w.startKubelet(0)
	w.startPlugin()
	k.registered(soon, w.socket)
	k.kill()
	must(os.RemoveAll(w.registry))
	w.startKubelet(0).registered(soon, w.socket)
}

func rollout(w *world) {
	k := w.startKubelet(0)
	old := w.startPlugin()
	k.registered(soon, w.socket)
	young := w.startPlugin()
	young.waitSays(soon, "waiting_for_lock")
	k.quiet(3 * time.Second)
	old.signal(syscall.SIGTERM)
	k.registered(soon, w.socket)
	k.quiet(3 * time.Second)
	young.waitSays(soon, "event=registered")
}

func endpointOnHost(w *world) {
	inside := filepath.Join(w.dir, "inside")
	must(os.Rename(filepath.Dir(w.socket), inside))
	must(os.Symlink(inside, filepath.Dir(w.socket)))
	k := w.startKubelet(0)
	w.startPlugin("--endpoint", "unix://"+filepath.Join(inside, "csi.sock"), "--kubelet-endpoint", w.socket)
	k.registered(soon, w.socket)
}

func connect(socket string, options ...grpc.DialOption) *grpc.ClientConn {
	connection, err := grpc.NewClient("unix://"+socket, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	must(err)
	return connection
}

func getInfo(connection *grpc.ClientConn) *registration.PluginInfo {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	info, err := registration.NewRegistrationClient(connection).GetInfo(ctx, &registration.InfoRequest{})
	if err != nil {
		fail("GetInfo: %v", status.Convert(err))
	}
	if info.Type != "CSIPlugin" || info.Name != driverName {
		fail("GetInfo says %v", info)
	}
	return info
}

// kubelet before 1.26, and others, send the socket's path as :authority.
func authority(w *world) {
	must(os.Mkdir(w.registry, 0o755))
	w.startPlugin()
	waitFor(soon, "the registration socket", func() bool { return exists(w.registration()) })
	connection := connect(w.registration(), grpc.WithAuthority(w.registration()))
	defer connection.Close()
	getInfo(connection)
}

func wrongDirectory(w *world) {
	p := w.startPlugin("--registration-dir", filepath.Join(w.dir, "nowhere"))
	waitFor(soon, "the plugin ends", func() bool { return !p.running() })
	if p.command.ProcessState.ExitCode() != 78 || p.says("--registration-dir: ") != 1 {
		fail("exit status %d", p.command.ProcessState.ExitCode())
	}
}
