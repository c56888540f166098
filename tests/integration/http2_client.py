# tests/integration/http2_client.py - a client of HTTP/2 whose every frame a test decides.
"""H2(port) speaks HTTP/2 by prior knowledge, H2(port, tls=True) over TLS with ALPN.

Frames go out as they are given, right or wrong; what comes in is kept: streams (head, interim heads, body,
trailers, reset), SETTINGS, GOAWAY, PING. It answers SETTINGS and gives windows back by itself unless told not
to (acks=False, hold=True). Everything happens in the caller's thread: pump() reads once, wait() until something
is true.
"""

import select
import socket
import ssl
import struct
import time

import hpack

from harness import PATIENCE

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TYPES = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
         "WINDOW_UPDATE", "CONTINUATION"]
TYPE = {name: i for i, name in enumerate(TYPES)} | {"PRIORITY_UPDATE": 16}
FLAG = {"ACK": 1, "END_STREAM": 1, "END_HEADERS": 4, "PADDED": 8, "PRIORITY": 32}
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
         "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
         "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]
SETTING = {"TABLE": 1, "PUSH": 2, "STREAMS": 3, "WINDOW": 4, "FRAME": 5, "LIST": 6, "CONNECT": 8, "NO_PRIORITIES": 9}


def frame(kind, flags, stream, payload=b"", length=None):
    """The bytes of a frame; kind and flags by name or number."""
    if isinstance(kind, str):
        kind = TYPE[kind]
    if isinstance(flags, str):
        flags = sum(FLAG[f] for f in flags.split("|") if f not in ("", "-"))
    n = len(payload) if length is None else length
    return struct.pack(">IBBI", n, kind, flags, stream & 0xFFFFFFFF)[1:] + payload


def hpack_string(text):
    n, out = len(text), bytearray()
    if n < 127:
        out.append(n)
    else:
        out.append(127)
        n -= 127
        while n >= 128:
            out.append(n % 128 | 128)
            n //= 128
        out.append(n)
    return bytes(out) + text


def raw(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def fields(pairs):
    """Literal fields that leave no trace in a table: what one request says never helps the next."""
    return b"".join(b"\0" + hpack_string(raw(n)) + hpack_string(raw(v)) for n, v in pairs)


def settings(values):
    return b"".join(struct.pack(">HI", SETTING.get(k, k), v) for k, v in values.items())


class Stream:
    def __init__(self, id_):
        self.id = id_
        self.head, self.interim, self.trailers = None, [], None
        self.body = bytearray()
        self.ended = False
        self.code = None  # of RST_STREAM
        self.frames = 0

    @property
    def status(self):
        return int(dict(self.head)[":status"]) if self.head else None

    @property
    def over(self):
        return self.ended or self.code is not None

    def all(self, name):
        return [v for n, v in self.head or () if n == name]

    def get(self, name, default=None):
        values = self.all(name)
        return ", ".join(values) if values else default

    def __repr__(self):
        return (f"<stream {self.id} head={self.head} {len(self.body)} bytes trailers={self.trailers} "
                f"ended={self.ended} code={self.code}>")


class H2:
    def __init__(self, port, tls=False, start="settings", first=None, acks=True, hold=False, recv_buffer=None,
                 source=None, keep=True):
        sock = socket.socket()
        if recv_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, recv_buffer)
        if source:
            sock.bind((source, 0))
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            c.check_hostname = False
            c.verify_mode = ssl.CERT_NONE
            c.set_alpn_protocols(["h2"])
            sock = c.wrap_socket(sock, server_hostname="localhost")
            assert sock.selected_alpn_protocol() == "h2"
        self.sock, self.tls = sock, tls
        self.acks, self.hold, self.keep = acks, hold, keep
        self.buf = b""
        self.streams = {}
        self.settings, self.settings_acks = {}, 0
        self.goaways = []  # (last stream, name of the code)
        self.pongs = []
        self.windows = {}  # stream: what WINDOW_UPDATE has given in all
        self.closed = self.was_reset = False
        self.decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self.block = None
        self.next = 1
        self.pings = 0
        self.data_frames = 0
        if start in ("settings", "preface"):
            self.send(MAGIC)
        if start == "settings":
            self.send(frame("SETTINGS", 0, 0, settings(first or {})))

    # ---- out

    def send(self, data):
        """False when the other side has ended the connection."""
        try:
            self.sock.sendall(data)
            return True
        except (ConnectionError, ssl.SSLError):
            return False

    def send_frame(self, *args, **kw):
        return self.send(frame(*args, **kw))

    def head_frame(self, pairs, end=True, stream=None):
        return frame("HEADERS", 5 if end else 4, stream or self.next, fields(pairs))

    def request(self, path="/", method="GET", headers=(), body=None, end=True, authority="test", scheme=None):
        """Sends a request and returns its stream. A body must fit the windows."""
        stream = Stream(self.next)
        self.streams[stream.id] = stream
        self.next += 2
        pairs = [(":method", method), (":scheme", scheme or ("https" if self.tls else "http")),
                 (":authority", authority), (":path", path)]
        pairs += list(headers.items()) if isinstance(headers, dict) else list(headers)
        out = self.head_frame(pairs, end and body is None, stream.id)
        for at in range(0, len(body or b""), 16384):
            last = at + 16384 >= len(body)
            out += frame("DATA", 1 if end and last else 0, stream.id, body[at:at + 16384])
        self.send(out)
        return stream

    def ask(self, path="/", method="GET", headers=(), body=None, **kw):
        """One request and its whole answer."""
        return self.answer(self.request(path, method, headers, body, **kw))

    def data(self, stream, data, end=False):
        return self.send_frame("DATA", 1 if end else 0, stream.id, data)

    def grant(self, stream_id, n):
        return self.send_frame("WINDOW_UPDATE", 0, stream_id, struct.pack(">I", n))

    def reset(self, stream, code="CANCEL"):
        return self.send_frame("RST_STREAM", 0, stream.id, struct.pack(">I", CODES.index(code)))

    # ---- in

    def stream(self, id_):
        if id_ not in self.streams:
            self.streams[id_] = Stream(id_)
        return self.streams[id_]

    def pump(self, seconds=None):
        """Reads once; False when nothing came in time or nothing will come any more."""
        if self.closed:
            return False
        wait = PATIENCE if seconds is None else seconds
        if not (self.tls and self.sock.pending()):
            if not select.select([self.sock], [], [], wait)[0]:
                return False
        try:
            data = self.sock.recv(262144)
        except ConnectionError:
            self.was_reset, data = True, b""
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:  # an end without TLS's own goodbye: the last words were taken along
            self.was_reset, data = True, b""
        except socket.timeout:
            data = b""
        if not data:
            self.closed = True
            return False
        self.buf += data
        at = 0
        while len(self.buf) - at >= 9:
            n, kind, flags, id_ = struct.unpack(">IBBI", b"\0" + self.buf[at:at + 9])
            if len(self.buf) - at < 9 + n:
                break
            self.take(kind, flags, id_ & 0x7FFFFFFF, self.buf[at + 9:at + 9 + n])
            at += 9 + n
        self.buf = self.buf[at:]
        return True

    def take(self, kind, flags, id_, p):
        name = TYPES[kind] if kind < len(TYPES) else kind
        assert self.block is None or name == "CONTINUATION", "a head's frames must not be interrupted"
        if name == "DATA":
            self.take_data(flags, id_, p)
        elif name in ("HEADERS", "CONTINUATION"):
            if name == "HEADERS":
                assert not flags & 0x28, "nobody asked for padding or priorities"
                self.block = (flags & 1, b"")
            self.block = (self.block[0], self.block[1] + p)
            if flags & 4:
                end, block = self.block
                self.block = None
                self.take_head(self.stream(id_), self.decoder.decode(block), end)
        elif name == "RST_STREAM":
            self.stream(id_).code = CODES[struct.unpack(">I", p)[0]]
        elif name == "SETTINGS":
            if flags & 1:
                assert p == b""
                self.settings_acks += 1
            else:
                self.settings.update(struct.unpack(">HI", p[i:i + 6]) for i in range(0, len(p), 6))
                if self.acks:
                    self.send_frame("SETTINGS", "ACK", 0)
        elif name == "PING":
            if flags & 1:
                self.pongs.append(p)
            else:
                self.send_frame("PING", "ACK", 0, p)
        elif name == "GOAWAY":
            last, code = struct.unpack(">II", p[:8])
            self.goaways.append((last, CODES[code]))
        elif name == "WINDOW_UPDATE":
            n = struct.unpack(">I", p)[0]
            assert n > 0
            self.windows[id_] = self.windows.get(id_, 0) + n
        elif name == "PUSH_PROMISE":
            raise AssertionError("nobody asked for pushes")

    def take_head(self, stream, pairs, end):
        stream.frames += 1
        assert not stream.over, f"a head after the end of {stream}"
        assert all(n == n.lower() for n, _ in pairs)
        if stream.head is not None:
            assert end and not any(n.startswith(":") for n, _ in pairs), "trailers end a stream"
            stream.trailers = pairs
        elif dict(pairs)[":status"].startswith("1"):
            assert not end
            stream.interim.append(pairs)
        else:
            stream.head = pairs
        stream.ended = stream.ended or bool(end)

    def take_data(self, flags, id_, p):
        stream = self.stream(id_)
        stream.frames += 1
        self.data_frames += 1
        assert stream.head is not None and not stream.over, f"content of {stream}"
        if self.keep:
            stream.body += p
        stream.ended = bool(flags & 1)
        if not self.hold and p:
            out = frame("WINDOW_UPDATE", 0, 0, struct.pack(">I", len(p)))
            if not stream.ended:
                out += frame("WINDOW_UPDATE", 0, id_, struct.pack(">I", len(p)))
            self.send(out)

    def wait(self, what, condition, seconds=None):
        """Reads until condition() holds."""
        limit = time.monotonic() + (seconds or PATIENCE)
        while not condition():
            left = limit - time.monotonic()
            if left <= 0 or (not self.pump(left) and self.closed and not condition()):
                raise AssertionError(f"{what}: did not come; closed={self.closed} {self.goaways} "
                                     f"{list(self.streams.values())[:5]}")

    def answer(self, stream, seconds=None):
        self.wait(f"the end of stream {stream.id}", lambda: stream.over, seconds)
        return stream

    def gone(self, seconds=None):
        """Waits for the end of the connection; the last GOAWAY's code, None without."""
        self.wait("the end of the connection", lambda: self.closed, seconds)
        return self.goaways[-1][1] if self.goaways else None

    def ping(self, seconds=None):
        """There and back: whatever came before it has been dealt with."""
        self.pings += 1
        mark = b"ping%04d" % self.pings
        self.send_frame("PING", 0, 0, mark)
        self.wait("the answer to a PING", lambda: mark in self.pongs, seconds)

    def drain(self, seconds=0.1):
        """Reads until nothing comes for a while."""
        while self.pump(seconds):
            pass

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
