"""A small client of the Kubernetes API: objects are dictionaries as in a manifest's JSON."""

import http.client
import json
import threading

COLLECTIONS = {
    "Pod": "/api/v1/namespaces/{ns}/pods", "Secret": "/api/v1/namespaces/{ns}/secrets",
    "Event": "/api/v1/namespaces/{ns}/events", "ServiceAccount": "/api/v1/namespaces/{ns}/serviceaccounts",
    "PersistentVolumeClaim": "/api/v1/namespaces/{ns}/persistentvolumeclaims", "PersistentVolume": "/api/v1/persistentvolumes",
    "Namespace": "/api/v1/namespaces", "Node": "/api/v1/nodes", "Job": "/apis/batch/v1/namespaces/{ns}/jobs",
    "CSINode": "/apis/storage.k8s.io/v1/csinodes", "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "DaemonSet": "/apis/apps/v1/namespaces/{ns}/daemonsets", "Deployment": "/apis/apps/v1/namespaces/{ns}/deployments",
}


class ApiError(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class Api:
    """One connection for each thread, as an administrator."""

    def __init__(self, plane):
        self.port = plane.port
        self.context = plane.context()
        self.local = threading.local()

    def request(self, method, path, body=None, content_type="application/json"):
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None) or \
                http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.context)
            self.local.connection = connection
            fresh = connection.sock is None
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": content_type})
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException):
                # A connection that was kept open may have been closed by the server meanwhile; a new one must work.
                connection.close()
                self.local.connection = None
                if fresh or attempt == 2:
                    raise
                continue
            if response.status >= 300:
                raise ApiError(response.status, json.loads(data).get("message", "") if data[:1] == b"{" else data.decode(errors="replace"))
            return data

    def path(self, kind, namespace=None, name=None):
        return COLLECTIONS[kind].format(ns=namespace) + (f"/{name}" if name else "")

    def create(self, thing):
        return json.loads(self.request("POST", self.path(thing["kind"], thing["metadata"].get("namespace")), thing))

    def get(self, kind, name, namespace=None):
        """None when it is not there."""
        try:
            return json.loads(self.request("GET", self.path(kind, namespace, name)))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, kind, namespace=None, query=""):
        return json.loads(self.request("GET", self.path(kind, namespace) + query))["items"]

    def delete(self, kind, name, namespace=None, grace=None):
        options = {"propagationPolicy": "Background", **({} if grace is None else {"gracePeriodSeconds": grace})}
        try:
            self.request("DELETE", self.path(kind, namespace, name), options)
        except ApiError as error:
            if error.code != 404:
                raise

    def logs(self, namespace, pod, container=None, previous=False):
        query = "&".join(([f"container={container}"] if container else []) + (["previous=true"] if previous else []))
        return self.request("GET", self.path("Pod", namespace, pod) + "/log?" + query).decode(errors="replace")
