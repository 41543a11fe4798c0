package main

import (
	"context"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registrar does what node-driver-registrar does, with the messages that kubelet publishes.
type registrar struct {
	registration.UnimplementedRegistrationServer
	endpoint string
	told     chan *registration.RegistrationStatus
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: "CSIPlugin", Name: driverName, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

func (r *registrar) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	r.told <- status
	return &registration.RegistrationStatusResponse{}, nil
}

func (w *world) startRegistrar() (*registrar, *grpc.Server) {
	r := &registrar{endpoint: w.socket, told: make(chan *registration.RegistrationStatus, 10)}
	listener, err := net.Listen("unix", w.registration())
	must(err)
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, r)
	go func() { _ = server.Serve(listener) }()
	return r, server
}

func noRegister(w *world) {
	must(os.Mkdir(w.registry, 0o755))
	k := w.startKubelet(0)
	p := w.startPlugin("--no-register")
	p.waitSays(soon, "event=serving")
	k.quiet(3 * time.Second)
	if exists(w.registration()) {
		fail("--no-register made a registration socket")
	}
	r, server := w.startRegistrar()
	defer server.Stop()
	k.registered(soon, w.socket)
	if status := <-r.told; !status.PluginRegistered {
		fail("the registrar was told %v", status)
	}
}

// A registrar that was forgotten holds the socket: it is left alone, the log says so, and we take over when it goes.
func registrarBeside(w *world) {
	must(os.Mkdir(w.registry, 0o755))
	k := w.startKubelet(0)
	_, server := w.startRegistrar()
	before := inode(w.registration())
	p := w.startPlugin()
	p.waitSays(soon, "another process listens on")
	if inode(w.registration()) != before || !p.running() {
		fail("the registrar's socket was touched, or the plugin ended")
	}
	server.Stop()
	waitFor(soon, "our own socket", func() bool { return exists(w.registration()) && inode(w.registration()) != before })
	p.waitSays(patience, "event=registered")
	_ = k
}
