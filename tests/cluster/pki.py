"""The certificates of a cluster, made by openssl: one CA, a key and a certificate for each party, kubeconfig files."""

import base64
import json
import pathlib
import subprocess


def openssl(directory, *arguments, text=None):
    done = subprocess.run(["openssl", *arguments], cwd=directory, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")


class Authority:
    """Certificates below one directory; user names and groups are what Kubernetes' own certificates hold (CN and O)."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True)
        openssl(self.dir, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
                "-out", "ca.crt", "-days", "30", "-subj", "/CN=test-cluster")
        self.make_signing_key()

    def make_signing_key(self):
        """Service account tokens are signed with RSA, as in most clusters."""
        openssl(self.dir, "genrsa", "-out", "sa.key", "2048")
        openssl(self.dir, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")

    def issue(self, name, user, group=None, addresses=()):
        """name.crt and name.key, good for both ends of TLS."""
        subject = (f"/O={group}" if group else "") + f"/CN={user}"
        openssl(self.dir, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                "-out", f"{name}.csr", "-subj", subject)
        extensions = "extendedKeyUsage=serverAuth,clientAuth\n"
        if addresses:
            extensions += f"subjectAltName={','.join(addresses)}\n"
        (self.dir / f"{name}.ext").write_text(extensions)
        openssl(self.dir, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                "-out", f"{name}.crt", "-extfile", f"{name}.ext")

    def path(self, name):
        return str(self.dir / name)

    def data(self, name):
        return base64.b64encode((self.dir / name).read_bytes()).decode()

    def kubeconfig(self, name, server):
        """name.conf, for the holder of name.crt."""
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": self.data("ca.crt")}}],
            "users": [{"name": name, "user": {"client-certificate-data": self.data(f"{name}.crt"),
                                              "client-key-data": self.data(f"{name}.key")}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
        }
        path = self.dir / f"{name}.conf"
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return str(path)
