// transport PROGRAM SOCKET: a grpc-go client against the server of the transport tests (tests/transport/server.c), which it starts
// and stops itself. Prints "ok go/<name>" or "not ok go/<name>: why" for each test.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
)

// bytesCodec sends messages as they are.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte{}, data...)
	return nil
}
func (bytesCodec) Name() string { return "proto" }

type world struct {
	program, socket string
	server          *exec.Cmd
	connection      *grpc.ClientConn
}

func (w *world) dial(options ...grpc.DialOption) *grpc.ClientConn {
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{}), grpc.MaxCallSendMsgSize(16<<20)))
	connection, err := grpc.NewClient("unix://"+w.socket, options...)
	if err != nil {
		panic(err)
	}
	return connection
}

func call(ctx context.Context, connection *grpc.ClientConn, method string, request []byte, options ...grpc.CallOption) ([]byte, error) {
	var reply []byte
	err := connection.Invoke(ctx, method, &request, &reply, options...)
	return reply, err
}

func (w *world) echo(ctx context.Context) error {
	reply, err := call(ctx, w.connection, "/test.Test/Echo", []byte("still here"))
	if err == nil && string(reply) != "still here" {
		err = fmt.Errorf("echo gave %q", reply)
	}
	return err
}

func (w *world) counts() (running, cancelled int) {
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	reply, err := call(ctx, w.connection, "/test.Test/Count", nil)
	var counts struct{ Running, Cancelled int }
	if err == nil {
		err = json.Unmarshal(reply, &counts)
	}
	if err != nil {
		panic(err)
	}
	return counts.Running, counts.Cancelled
}

// until waits for a condition that must come true by itself.
func until(ctx context.Context, condition func() bool) error {
	for !condition() {
		if ctx.Err() != nil {
			return fmt.Errorf("did not happen: %w", ctx.Err())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// expect: the call failed with this code, and the connection serves the next one.
func (w *world) expect(ctx context.Context, want codes.Code, err error, words ...string) error {
	if status.Code(err) != want {
		return fmt.Errorf("want %v, got %v", want, err)
	}
	for _, word := range words {
		if !strings.Contains(status.Convert(err).Message(), word) {
			return fmt.Errorf("%q is not in %v", word, err)
		}
	}
	if len(status.Convert(err).Details()) != 0 {
		return fmt.Errorf("details: %v", status.Convert(err).Details())
	}
	return w.echo(ctx)
}

func concurrent(ctx context.Context, w *world) error {
	const connections, callers, calls = 8, 20, 25
	var group sync.WaitGroup
	failures := make(chan error, connections*callers)
	for c := range connections {
		connection := w.dial()
		defer connection.Close()
		for g := range callers {
			group.Add(1)
			go func() {
				defer group.Done()
				random := rand.New(rand.NewSource(int64(c*1000 + g)))
				for range calls {
					request := make([]byte, random.Intn(100_000))
					random.Read(request)
					reply, err := call(ctx, connection, "/test.Test/Echo", request)
					if err == nil && !bytes.Equal(reply, request) {
						err = fmt.Errorf("%d bytes came back as %d others", len(request), len(reply))
					}
					if err != nil {
						failures <- err
						return
					}
				}
			}()
		}
	}
	group.Wait()
	close(failures)
	return <-failures
}

func large(ctx context.Context, w *world) error {
	request := make([]byte, 1<<20)
	reply, err := call(ctx, w.connection, "/test.Test/Echo", request)
	if err != nil || !bytes.Equal(reply, request) {
		return fmt.Errorf("1 MiB: %v", err)
	}
	_, err = call(ctx, w.connection, "/test.Test/Echo", make([]byte, 2<<20))
	return w.expect(ctx, codes.ResourceExhausted, err, "1 MiB")
}

func compressed(ctx context.Context, w *world) error {
	_, err := call(ctx, w.connection, "/test.Test/Echo", []byte("x"), grpc.UseCompressor(gzip.Name))
	return w.expect(ctx, codes.Unimplemented, err)
}

func malformed(ctx context.Context, w *world) error {
	for name, bad := range map[string][]byte{"truncated": {0x0a, 5, 'a'}, "wrong wire type": {0x08, 1}} {
		_, err := call(ctx, w.connection, "/csi.v1.Node/NodePublishVolume", bad)
		if err := w.expect(ctx, codes.Internal, err); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func unknown(ctx context.Context, w *world) error {
	for _, method := range []string{"/test.Test/None", "/none.None/None", "/csi.v1.Node/NodeExpandVolume"} {
		_, err := call(ctx, w.connection, method, nil)
		if err := w.expect(ctx, codes.Unimplemented, err, method); err != nil {
			return err
		}
	}
	return nil
}

func messages(ctx context.Context, w *world) error {
	for _, message := range []string{"29% of 141.0 GiB", "línea 1\nline 2", "日本語", "a=b&c\"'\\"} {
		_, err := call(ctx, w.connection, "/test.Test/Fail", []byte("BUSY "+message))
		if status.Code(err) != codes.Aborted || status.Convert(err).Message() != message {
			return fmt.Errorf("%q came back as %v", message, err)
		}
	}
	_, err := call(ctx, w.connection, "/test.Test/Fail", []byte("NOT_FOUND "+strings.Repeat("é", 3000)))
	return w.expect(ctx, codes.NotFound, err, "éééé")
}

func deadline(ctx context.Context, w *world) error {
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	started := time.Now()
	_, err := call(short, w.connection, "/test.Test/Wait", nil)
	if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Aborted {
		return fmt.Errorf("%v", err)
	}
	if took := time.Since(started); took < 250*time.Millisecond || took > 10*time.Second {
		return fmt.Errorf("took %v", took)
	}
	return until(ctx, func() bool { running, _ := w.counts(); return running == 0 })
}

func cancel(ctx context.Context, w *world) error {
	_, before := w.counts()
	gone, leave := context.WithCancel(ctx)
	defer leave()
	ended := make(chan error)
	go func() {
		_, err := call(gone, w.connection, "/test.Test/Wait", nil)
		ended <- err
	}()
	if err := until(ctx, func() bool { running, _ := w.counts(); return running == 1 }); err != nil {
		return err
	}
	leave()
	if err := <-ended; status.Code(err) != codes.Canceled {
		return fmt.Errorf("%v", err)
	}
	return until(ctx, func() bool { running, after := w.counts(); return running == 0 && after == before+1 })
}

func lostConnection(ctx context.Context, w *world) error {
	_, before := w.counts()
	connection := w.dial()
	ended := make(chan error)
	go func() {
		_, err := call(ctx, connection, "/test.Test/Wait", nil)
		ended <- err
	}()
	if err := until(ctx, func() bool { running, _ := w.counts(); return running == 1 }); err != nil {
		return err
	}
	connection.Close()
	<-ended
	return until(ctx, func() bool { running, after := w.counts(); return running == 0 && after == before+1 })
}

func authority(ctx context.Context, w *world) error {
	for _, name := range []string{w.socket, "localhost", "%2Frun%2Fcsi.sock", "unix:" + w.socket} {
		connection := w.dial(grpc.WithAuthority(name))
		_, err := call(ctx, connection, "/test.Test/Echo", nil)
		connection.Close()
		if err != nil {
			return fmt.Errorf("authority %s: %w", name, err)
		}
	}
	return nil
}

// manyCancels: ten thousand calls that are given up at once. The server may end the connection for it; the next call is served.
func manyCancels(ctx context.Context, w *world) error {
	connection := w.dial()
	defer connection.Close()
	for range 10_000 {
		gone, leave := context.WithCancel(ctx)
		stream, err := connection.NewStream(gone, &grpc.StreamDesc{ClientStreams: true}, "/test.Test/Echo")
		if err == nil {
			err = stream.SendMsg(&[]byte{})
		}
		leave()
		if err != nil && status.Code(err) != codes.Unavailable && status.Code(err) != codes.Canceled && err.Error() != "EOF" {
			return err
		}
	}
	if _, err := call(ctx, connection, "/test.Test/Echo", nil, grpc.WaitForReady(true)); err != nil {
		return fmt.Errorf("afterwards: %w", err)
	}
	return w.echo(ctx)
}

// slowNeverStarvesQuick: all 256 places are taken; quick methods answer, others say RESOURCE_EXHAUSTED.
func slowNeverStarvesQuick(ctx context.Context, w *world) error {
	gone, leave := context.WithCancel(ctx)
	defer leave()
	var group sync.WaitGroup
	connections := []*grpc.ClientConn{w.dial(), w.dial(), w.dial()}
	for i := range 256 {
		group.Add(1)
		go func() {
			defer group.Done()
			call(gone, connections[i%3], "/test.Test/Wait", nil)
		}()
	}
	if err := until(ctx, func() bool { running, _ := w.counts(); return running == 256 }); err != nil {
		return err
	}
	_, err := call(ctx, w.connection, "/test.Test/Echo", nil)
	if status.Code(err) != codes.ResourceExhausted {
		return fmt.Errorf("257th: %v", err)
	}
	leave()
	group.Wait()
	for _, connection := range connections {
		connection.Close()
	}
	if err := until(ctx, func() bool { running, _ := w.counts(); return running == 0 }); err != nil {
		return err
	}
	return until(ctx, func() bool { return w.echo(ctx) == nil })
}

// drain: at SIGTERM running calls are finished and answered, new ones are refused, and the server ends with status 0.
func drain(ctx context.Context, w *world) error {
	ended := make(chan error)
	for range 5 {
		go func() {
			reply, err := call(ctx, w.connection, "/test.Test/Sleep", []byte("700"))
			if err == nil && string(reply) != "slept" {
				err = fmt.Errorf("%q", reply)
			}
			ended <- err
		}()
	}
	if err := until(ctx, func() bool { running, _ := w.counts(); return running == 5 }); err != nil {
		return err
	}
	w.server.Process.Signal(syscall.SIGTERM)
	for range 5 {
		if err := <-ended; err != nil {
			return err
		}
	}
	if err := w.wait(); err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	if err := w.echo(ctx); status.Code(err) != codes.Unavailable {
		return fmt.Errorf("after the end: %v", err)
	}
	if _, err := os.Lstat(w.socket); !os.IsNotExist(err) {
		return fmt.Errorf("the socket is still there: %v", err)
	}
	// Started again, the same channel finds it.
	w.start()
	_, err := call(ctx, w.connection, "/test.Test/Echo", nil, grpc.WaitForReady(true))
	return err
}

func (w *world) start() {
	w.server = exec.Command(w.program, w.socket)
	w.server.Stderr = os.Stderr
	w.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := w.server.StdoutPipe()
	if err == nil {
		err = w.server.Start()
	}
	if err != nil {
		panic(err)
	}
	line := make([]byte, 6)
	if _, err := out.Read(line); err != nil {
		panic("the server does not start")
	}
}

// wait: a server that does not end is killed, which its status then says.
func (w *world) wait() error {
	defer time.AfterFunc(30*time.Second, func() { w.server.Process.Kill() }).Stop()
	return w.server.Wait()
}

func main() {
	w := &world{program: os.Args[1], socket: os.Args[2]}
	w.start()
	w.connection = w.dial()
	tests := []struct {
		name string
		run  func(context.Context, *world) error
	}{
		{"connections-and-calls", concurrent}, {"row-18-large", large}, {"row-18-compressed", compressed}, {"row-18-malformed", malformed},
		{"unknown-methods", unknown}, {"messages", messages}, {"deadline", deadline}, {"row-100-cancel", cancel},
		{"row-100-lost-connection", lostConnection}, {"row-19-authority", authority}, {"row-19-ten-thousand-cancels", manyCancels},
		{"slow-never-starves-quick", slowNeverStarvesQuick}, {"drain", drain},
	}
	exit := 0
	for _, test := range tests {
		ctx, stop := context.WithTimeout(context.Background(), 60*time.Second)
		if err := test.run(ctx, w); err != nil {
			fmt.Printf("not ok go/%s: %v\n", test.name, err)
			exit = 1
		} else {
			fmt.Printf("ok go/%s\n", test.name)
		}
		stop()
	}
	w.server.Process.Signal(syscall.SIGTERM)
	w.wait()
	os.Exit(exit)
}
