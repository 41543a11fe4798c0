"""What stands on a port of its own: a threaded HTTP/1.1 server, plain or with TLS, that can be told to be away for a while."""

import contextlib
import http.server
import socket
import ssl
import threading


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, owner, context, handler):
        self.owner, self.context = owner, context
        self.lock, self.connections = threading.Lock(), set()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def finish_request(self, request, client_address):
        """In the connection's own thread: a client that does not finish its handshake holds nobody up."""
        connection = request
        if self.context:
            request.settimeout(20)
            connection = self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        with self.lock:
            self.connections.add(connection)
        try:
            if self.context:
                connection.do_handshake()
            super().finish_request(connection, client_address)
        finally:
            with self.lock:
                self.connections.discard(connection)
            connection.close()

    def handle_error(self, request, client_address):
        """Clients that go away."""

    def cut(self):
        """Ends every connection."""
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Listener:
    def __init__(self, handler, tls=None, host="127.0.0.1", port=0):
        """tls: (certificate, key) files. Port 0: any; it stays the same from then on."""
        self.handler, self.tls, self.host, self.port, self.server = handler, tls, host, port, None
        self.up()

    def url(self, path="/", host=None):
        shown = host or ("localhost" if self.tls else self.host)
        return f"{'https' if self.tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{self.port}{path}"

    def up(self):
        context = None
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
        self.server = Server((self.host, self.port), self, context, self.handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self):
        """Ends every connection and refuses new ones, until up()."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server.cut()
            self.server = None

    stop = down

    @contextlib.contextmanager
    def is_down(self):
        self.down()
        try:
            yield
        finally:
            self.up()
