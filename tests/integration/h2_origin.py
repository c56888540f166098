# tests/integration/h2_origin.py - a scripted HTTP/2 origin: a handler per stream, in a thread.
"""H2Origin(handler) speaks HTTP/2 by prior knowledge (or over TLS) with whoever connects.

handler(stream) reads and writes one stream with blocking calls; what it forgets is answered by an
empty 200. The origin counts connections and requests, and remembers them.
"""

import queue
import socket
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from harness import PATIENCE


class Gone(Exception):
    """The stream was reset by the peer, or its connection is gone."""


class Stream:
    def __init__(self, conn, id_, headers):
        self.conn, self.id = conn, id_
        self.headers = [(n.decode(), v.decode()) for n, v in headers]
        self.trailers = []
        self.events = queue.Queue()
        self.window = threading.Event()
        self.answered = self.done = False
        self.reset_code = None

    def get(self, name, default=None):
        values = [v for n, v in self.headers if n == name]
        return ", ".join(values) if values else default

    @property
    def path(self):
        return self.get(":path")

    @property
    def method(self):
        return self.get(":method")

    def read(self):
        """The next piece of content; b"" at its end."""
        piece = self.events.get(timeout=PATIENCE)
        if piece is None:
            raise Gone()
        if piece:
            self.conn.act(lambda c: c.acknowledge_received_data(len(piece), self.id))
        return piece

    def body(self):
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def answer(self, status=200, headers=(), body=None, end=True):
        """A head; with `body` (and unless end is False the end) behind it."""
        fields = [(":status", str(status)), *headers]
        self.conn.act(lambda c: c.send_headers(self.id, fields, end_stream=body is None and end))
        self.answered = self.answered or status >= 200
        self.done = body is None and end
        if body is not None:
            self.send(body, end)

    def send(self, data, end=False):
        """Content, as far as windows allow; waits for them."""
        at = 0
        while True:
            self.window.clear()
            with self.conn.lock:
                self.alive()
                room = min(
                    self.conn.h2.local_flow_control_window(self.id),
                    self.conn.h2.max_outbound_frame_size,
                )
                part = data[at : at + room]
                at += len(part)
                last = at == len(data)
                if part or last:
                    self.conn.h2.send_data(self.id, part, end_stream=end and last)
                    self.conn.flush()
            if last:
                self.done = end
                return
            if not part and not self.window.wait(PATIENCE):
                raise TimeoutError("no window")

    def end(self, trailers=None):
        if trailers is None:
            self.conn.act(lambda c: c.end_stream(self.id))
        else:
            self.conn.act(lambda c: c.send_headers(self.id, trailers, end_stream=True))
        self.done = True

    def reset(self, code=h2.errors.ErrorCodes.INTERNAL_ERROR):
        self.done = self.answered = True
        self.conn.act(lambda c: c.reset_stream(self.id, code))

    def alive(self):
        if self.reset_code is not None or self.conn.over:
            raise Gone()


class Connection:
    def __init__(self, origin, sock, number):
        self.origin, self.sock, self.number = origin, sock, number
        self.lock = threading.RLock()
        self.over = False
        self.streams = {}
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def act(self, what):
        with self.lock:
            try:
                what(self.h2)
                self.flush()
            except (h2.exceptions.ProtocolError, OSError) as e:
                raise Gone() from e

    def goaway(self, last=None, code=0):
        """Says that streams after `last` were not looked at."""
        with self.lock:
            self.h2.close_connection(error_code=code, last_stream_id=last)
            self.flush()
            # the library would say nothing more: streams below may still be answered
            self.h2.state_machine.state = h2.connection.ConnectionState.SERVER_OPEN

    def close(self):
        self.over = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def serve(self, stream):
        try:
            self.origin.handler(stream)
            if not stream.answered:
                stream.answer(200)
            elif not stream.done:
                stream.end()
        except (Gone, h2.exceptions.ProtocolError, OSError, queue.Empty):
            pass

    def take(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RequestReceived):
            stream = Stream(self, event.stream_id, event.headers)
            self.streams[event.stream_id] = stream
            self.origin.requests.append(stream)
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()
        elif isinstance(event, h2.events.DataReceived) and stream:
            if event.data:
                stream.events.put(event.data)
        elif isinstance(event, h2.events.TrailersReceived) and stream:
            stream.trailers = [(n.decode(), v.decode()) for n, v in event.headers]
        elif isinstance(event, h2.events.StreamEnded) and stream:
            stream.events.put(b"")
        elif isinstance(event, h2.events.StreamReset) and stream:
            stream.reset_code = event.error_code
            stream.events.put(None)
            stream.window.set()
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for each in list(self.streams.values()):
                each.window.set()

    def run(self):
        try:
            with self.lock:
                self.h2.initiate_connection()
                if self.origin.settings:
                    self.h2.update_settings(self.origin.settings)
                self.h2.increment_flow_control_window(1 << 24)  # windows of streams are what counts
                self.flush()
            while not self.over:
                data = self.sock.recv(65536)
                if not data:
                    break
                if self.origin.deaf:
                    continue
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self.take(event)
                    self.flush()
        except (OSError, h2.exceptions.ProtocolError) as e:
            self.origin.errors.append(e)
        self.over = True
        for stream in list(self.streams.values()):
            stream.events.put(None)
            stream.window.set()
        self.sock.close()


class H2Origin:
    def __init__(self, handler=None, settings=None, tls=None, port=0):
        self.handler = handler or (lambda stream: stream.answer(200, body=b"ok"))
        self.settings = settings or {}
        self.tls = tls  # an ssl.SSLContext
        self.deaf = False
        self.requests, self.errors, self.connections = [], [], []
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(64)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.tls:
                    sock = self.tls.wrap_socket(sock, server_side=True)
            except OSError:
                if self.sock.fileno() < 0:
                    return
                continue
            conn = Connection(self, sock, len(self.connections))
            self.connections.append(conn)
            threading.Thread(target=conn.run, daemon=True).start()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        for conn in self.connections:
            conn.close()
