// csi-sanity, the program, with connections of our own: those that csi-test v5.4.0 makes wait a whole minute and then fail when a
// connection is ready before it looks (utils.Connect waits for a change that has happened). The tests are the package's, all of
// them; the flags are those of the program that hack/test sanity uses.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

type result struct{ failed bool }

func (r *result) Fail() { r.failed = true }

// The first call connects.
func connect(address string) *grpc.ClientConn {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", address, err)
		os.Exit(2)
	}
	return connection
}

func main() {
	config := sanity.NewTestConfig()
	node := flag.String("csi.endpoint", "", "socket of the node plugin")
	controller := flag.String("csi.controllerendpoint", "", "socket of the controller plugin")
	flag.StringVar(&config.TargetPath, "csi.mountdir", config.TargetPath, "where volumes are published; is made")
	flag.StringVar(&config.StagingPath, "csi.stagingdir", config.StagingPath, "where volumes are staged; is made")
	flag.StringVar(&config.SecretsFile, "csi.secrets", "", "YAML file of secrets")
	flag.StringVar(&config.TestVolumeParametersFile, "csi.testvolumeparameters", "", "YAML file of parameters")
	flag.Parse()

	// With its addresses empty the package takes the connections that are there.
	tests := sanity.GinkgoTest(&config)
	tests.Conn, tests.ControllerConn = connect(*node), connect(*controller)
	gomega.RegisterFailHandler(ginkgo.Fail)
	outcome := result{}
	ginkgo.RunSpecs(&outcome, "CSI Driver Test Suite")
	tests.Finalize()
	if outcome.failed {
		os.Exit(1)
	}
}
