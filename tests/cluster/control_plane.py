"""A control plane on loopback: etcd, kube-apiserver, and on demand kube-controller-manager and kube-scheduler.

RBAC and the node authorizer are on, pods get projected service account tokens, and nobody is let in without a certificate.

As a program: control_plane.py DIR COMMAND... runs the command with KUBECONFIG set to an administrator's file, and ends with
its status. DIR must not exist yet, and keeps the logs.
"""

import http.client
import os
import pathlib
import ssl
import subprocess
import sys

from pki import Authority
from processes import Program, free_port, need_program, wait_until

SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
ISSUER = "https://kubernetes.default.svc"


class ControlPlane:
    """port: where the API server listens, a free one unless given. address: what the service "kubernetes" points at."""

    def __init__(self, directory, port=None, address="10.250.0.1"):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True)
        self.port = port or free_port()
        self.address = address
        self.server = f"https://127.0.0.1:{self.port}"
        self.pki = Authority(self.dir / "pki")
        names = ["DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", "IP:127.0.0.1",
                 f"IP:{SERVICE_ADDRESS}", f"IP:{address}"]
        self.pki.issue("apiserver", "kube-apiserver", addresses=names)
        self.pki.issue("admin", "admin", "system:masters")
        self.pki.issue("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
        self.kubeconfig = self.pki.kubeconfig("admin", self.server)
        self.programs = []

    def start(self):
        etcd_port = free_port()
        etcd = f"http://127.0.0.1:{etcd_port}"
        self.run("etcd", ["etcd", "--data-dir", self.dir / "etcd", "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
                          "--listen-peer-urls", f"http://127.0.0.1:{free_port()}", "--logger", "zap"])
        wait_until(lambda: answers("127.0.0.1", etcd_port, "/health"), 60, "etcd answers", self.programs)
        self.run("kube-apiserver", ["kube-apiserver", *self.apiserver_flags(etcd)])
        wait_until(lambda: answers("127.0.0.1", self.port, "/readyz", self.context()), 120, "the API server is ready", self.programs)
        return self

    def apiserver_flags(self, etcd):
        pki = self.pki
        return [f"--etcd-servers={etcd}", "--bind-address=0.0.0.0", f"--secure-port={self.port}", f"--advertise-address={self.address}",
                f"--service-cluster-ip-range={SERVICE_RANGE}", "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false", "--allow-privileged=true",
                f"--client-ca-file={pki.path('ca.crt')}", f"--tls-cert-file={pki.path('apiserver.crt')}",
                f"--tls-private-key-file={pki.path('apiserver.key')}", f"--service-account-issuer={ISSUER}",
                f"--service-account-key-file={pki.path('sa.pub')}", f"--service-account-signing-key-file={pki.path('sa.key')}",
                f"--kubelet-client-certificate={pki.path('kubelet-client.crt')}",
                f"--kubelet-client-key={pki.path('kubelet-client.key')}", f"--kubelet-certificate-authority={pki.path('ca.crt')}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--cert-dir={self.dir}", "--profiling=false"]

    def start_controllers(self):
        """Claims are bound, pods scheduled, Jobs run, namespaces emptied from here on."""
        for name in ("kube-controller-manager", "kube-scheduler"):
            self.pki.issue(name, f"system:{name}")
            self.pki.kubeconfig(name, self.server)
        self.run("kube-controller-manager", ["kube-controller-manager", f"--kubeconfig={self.pki.path('kube-controller-manager.conf')}",
                                             f"--service-account-private-key-file={self.pki.path('sa.key')}",
                                             f"--root-ca-file={self.pki.path('ca.crt')}", "--use-service-account-credentials",
                                             "--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={free_port()}",
                                             f"--cert-dir={self.dir}/controllers"])
        self.run("kube-scheduler", ["kube-scheduler", f"--kubeconfig={self.pki.path('kube-scheduler.conf')}", "--leader-elect=false",
                                    "--bind-address=127.0.0.1", f"--secure-port={free_port()}", f"--cert-dir={self.dir}/scheduler"])

    def run(self, name, command):
        self.programs.append(Program(name, command, self.dir).start())

    def context(self):
        context = ssl.create_default_context(cafile=self.pki.path("ca.crt"))
        context.load_cert_chain(self.pki.path("admin.crt"), self.pki.path("admin.key"))
        return context

    def kubectl(self, *arguments, text=None, check=True, seconds=60):
        """What kubectl prints; a CompletedProcess when check is off."""
        done = subprocess.run([need_program("kubectl"), f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.dir}/kubectl", *arguments],
                              input=text, capture_output=True, text=True, timeout=seconds, check=False)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout if check else done

    def stop(self):
        for program in reversed(self.programs):
            program.stop()
        self.programs = []

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()


def answers(host, port, path, context=None):
    """Whether an HTTP server there says 200."""
    connection = http.client.HTTPSConnection(host, port, timeout=5, context=context) if context else \
        http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: control_plane.py DIR COMMAND...")
    with ControlPlane(sys.argv[1]) as plane:
        done = subprocess.run(sys.argv[2:], env=dict(os.environ, KUBECONFIG=plane.kubeconfig), check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
