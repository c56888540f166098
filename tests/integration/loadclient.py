# tests/integration/loadclient.py - keep-alive load from one process, every outcome named and counted.
"""Sends requests over many kept-alive connections and prints one JSON report at the end.

Closed loop (--rate 0): each connection asks again as soon as it was answered. Open loop: --rate
requests per second in all, spread over the connections in turn.
Ends after --seconds, or on SIGTERM; requests in flight may then finish (5 s at most).

Outcomes: statuses[code] complete answers; errors by kind:
  refused, unreachable   the connection could not be made
  cut_fresh              closed before the first byte of an answer, first request of a connection
  stale                  the same on a connection that had been used: sent again elsewhere (only
                         counted, the request is not lost when the second try is answered)
  cut_answer             closed inside an answer
  garbled                the answer does not parse
  timeout                no complete answer in --patience seconds
`lost` is everything but stale.
"""

import argparse
import collections
import errno
import json
import select
import signal
import socket
import sys
import time


class Lane:
    """One connection and the request on it."""

    __slots__ = ("sock", "state", "buf", "used", "asked", "left", "chunked", "status", "close", "out", "again", "index")

    def __init__(self, index):
        self.index = index
        self.sock = None
        self.state = "closed"  # closed connecting idle waiting
        self.again = False
        self.asked = 0.0
        self.reset()

    def reset(self):
        self.buf = b""
        self.out = b""
        self.left = None
        self.chunked = False
        self.status = 0
        self.close = False
        self.used = 0


class LoadRun:
    def __init__(self, args):
        self.args = args
        self.epoll = select.epoll()
        self.lanes = [Lane(i) for i in range(args.connections)]
        self.by_fd = {}
        self.statuses = collections.Counter()
        self.errors = collections.Counter()
        self.latency = []
        self.sent = 0
        self.connects = 0
        self.stopping = 0.0
        self.warming = False
        self.first_error_at = None
        head = [f"{args.method} {args.path} HTTP/1.1", f"Host: {args.host}"] + args.header
        body = b"x" * args.body
        if args.body:
            head.append(f"Content-Length: {args.body}")
        self.request = ("\r\n".join(head) + "\r\n\r\n").encode() + body

    # ------------------------------------------------------------------ connections

    def connect(self, lane):
        lane.reset()
        s = socket.socket()
        s.setblocking(False)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.args.source:
            s.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: four-tuples decide
            s.bind((self.args.source[lane.index % len(self.args.source)], 0))
        lane.sock, lane.state = s, "connecting"
        self.connects += 1
        code = s.connect_ex((self.args.address, self.args.port))
        if code not in (0, errno.EINPROGRESS):
            self.fail(lane, "refused" if code == errno.ECONNREFUSED else "unreachable")
            return
        self.by_fd[s.fileno()] = lane
        self.epoll.register(s.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP)

    def drop(self, lane):
        if lane.sock is not None:
            fd = lane.sock.fileno()
            if self.by_fd.pop(fd, None):
                self.epoll.unregister(fd)
            lane.sock.close()
        lane.sock, lane.state = None, "closed"

    def fail(self, lane, kind):
        if kind == "stale" and not lane.again:
            self.errors["stale"] += 1
            lane.again = True
            self.drop(lane)
            self.connect(lane)
            return
        if self.first_error_at is None:
            self.first_error_at = time.time()
        self.errors["cut_fresh" if kind == "stale" else kind] += 1
        lane.again = False
        self.drop(lane)
        if kind in ("refused", "unreachable"):
            time.sleep(0.002)  # a refused loop must not burn the core the gateway needs
        self.next(lane)

    # --------------------------------------------------------------------- requests

    def ask(self, lane):
        """Starts a request on this lane, over a new connection when there is none."""
        if not lane.again:
            lane.asked = time.monotonic()
        lane.again = False
        if lane.state == "closed":
            self.connect(lane)
        else:
            self.write(lane)

    def write(self, lane):
        lane.state = "waiting"
        lane.status, lane.left, lane.chunked = 0, None, False
        lane.buf = b""
        self.sent += 1
        try:
            n = lane.sock.send(self.request)
        except BlockingIOError:
            n = 0
        except OSError:
            self.fail(lane, "stale" if lane.used else "cut_fresh")
            return
        lane.out = self.request[n:]
        if lane.out:
            self.epoll.modify(lane.sock.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP)

    def next(self, lane):
        """The lane is free: closed loop asks again, open loop waits for its turn."""
        if not self.stopping and not self.args.rate and not self.warming:
            self.ask(lane)

    def answered(self, lane):
        now = time.monotonic()
        self.statuses[lane.status] += 1
        self.latency.append(now - lane.asked)
        lane.used += 1
        lane.buf, lane.state = b"", "idle"
        if lane.close or self.args.new:
            self.drop(lane)
        self.next(lane)

    def broken(self, lane):
        """The connection ended while a request was out."""
        if lane.status == 0 and not lane.buf:
            self.fail(lane, "stale" if lane.used else "cut_fresh")
        elif lane.left == -1:
            self.drop_then_answered(lane)
        else:
            self.fail(lane, "cut_answer")

    def drop_then_answered(self, lane):
        lane.close = True
        self.answered(lane)

    def parse(self, lane):
        """True when a whole answer has come; False for more; None for garbage."""
        while lane.status == 0:
            at = lane.buf.find(b"\r\n\r\n")
            if at < 0:
                return False
            lines = lane.buf[:at].split(b"\r\n")
            lane.buf = lane.buf[at + 4 :]
            if not lines[0].startswith(b"HTTP/1.") or len(lines[0]) < 12:
                return None
            status = int(lines[0][9:12])
            if status < 200:
                continue
            lane.status, lane.left = status, -1
            if self.args.method == "HEAD" or status in (204, 304):
                lane.left = 0
            for line in lines[1:]:
                name, _, value = line.partition(b":")
                name = name.lower()
                if name == b"content-length" and lane.left:
                    lane.left = int(value)
                elif name == b"transfer-encoding":
                    lane.chunked = True
                elif name == b"connection" and b"close" in value.lower():
                    lane.close = True
        if lane.chunked:
            while True:
                at = lane.buf.find(b"\r\n")
                if at < 0:
                    return False
                size = int(lane.buf[:at].split(b";")[0], 16)
                if size == 0:
                    if len(lane.buf) < at + 4:
                        return False
                    lane.buf = lane.buf[at + 4 :]
                    return True
                if len(lane.buf) < at + 2 + size + 2:
                    return False
                lane.buf = lane.buf[at + 2 + size + 2 :]
        if lane.left < 0:
            lane.buf = b""
            return False
        n = min(len(lane.buf), lane.left)
        lane.left -= n
        lane.buf = lane.buf[n:]
        return lane.left == 0

    # ------------------------------------------------------------------------- loop

    def event(self, fd, mask):
        lane = self.by_fd.get(fd)
        if lane is None:
            return
        if lane.state == "connecting":
            code = lane.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.fail(lane, "refused" if code == errno.ECONNREFUSED else "unreachable")
                return
            if not mask & select.EPOLLOUT:
                return
            self.epoll.modify(fd, select.EPOLLIN | select.EPOLLRDHUP)
            self.write(lane)
            return
        if lane.out and mask & select.EPOLLOUT:
            try:
                lane.out = lane.out[lane.sock.send(lane.out) :]
            except OSError:
                pass
            if not lane.out:
                self.epoll.modify(fd, select.EPOLLIN | select.EPOLLRDHUP)
        if not mask & (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            return
        try:
            data = lane.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            if lane.state == "waiting":
                self.broken(lane)
            else:
                self.errors_idle(lane)
            return
        if lane.state != "waiting":
            self.fail(lane, "garbled")
            return
        lane.buf += data
        try:
            done = self.parse(lane)
        except ValueError:
            done = None
        if done is None or (done and lane.buf):
            self.fail(lane, "garbled")
        elif done:
            self.answered(lane)

    def errors_idle(self, lane):
        """An idle connection was closed by the gateway: its right, only counted."""
        self.errors["idle_closed"] += 1
        self.drop(lane)

    def timeouts(self, now):
        for lane in self.lanes:
            if lane.state in ("waiting", "connecting") and lane.asked and now - lane.asked > self.args.patience:
                self.fail(lane, "timeout")

    def busy(self):
        return any(x.state == "waiting" or (x.state == "connecting" and x.asked) for x in self.lanes)

    def poll(self, wait):
        for fd, mask in self.epoll.poll(wait, 1024):
            self.event(fd, mask)

    def warm(self):
        """--hold: every connection carries one request before the load begins, 250 at a time (a
        connection that says nothing may not even be accepted: TCP_DEFER_ACCEPT)."""
        self.warming = True
        for start in range(0, len(self.lanes), 250):
            part = self.lanes[start : start + 250]
            for lane in part:
                self.ask(lane)
            limit = time.monotonic() + self.args.patience
            while any(x.state in ("connecting", "waiting") for x in part) and time.monotonic() < limit:
                self.poll(0.05)
        self.warming = False
        self.latency = []

    def run(self):
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        if self.args.hold:
            self.warm()
        print("ready", flush=True)
        if self.args.wait_go:
            sys.stdin.readline()
        begin = time.monotonic()
        end = begin + self.args.seconds if self.args.seconds else float("inf")
        checked = begin
        turn, due = 0, begin
        if not self.args.rate:
            for lane in self.lanes:
                if lane.state in ("idle", "closed"):
                    self.ask(lane)
        while True:
            now = time.monotonic()
            if now >= end and not self.stopping:
                self.stopping = now
            if self.stopping and (not self.busy() or now > self.stopping + 5):
                break
            wait = 0.05
            if self.args.rate and not self.stopping:
                while due <= now:
                    for _ in range(len(self.lanes)):
                        lane = self.lanes[turn % len(self.lanes)]
                        turn += 1
                        if lane.state in ("idle", "closed"):
                            self.ask(lane)
                            break
                    else:
                        self.errors["late"] += 1
                    due += 1.0 / self.args.rate
                wait = max(0.0, min(wait, due - now))
            self.poll(wait)
            if now - checked > 0.25:
                checked = now
                self.timeouts(now)
        if self.busy():
            self.errors["timeout"] += sum(1 for x in self.lanes if x.state == "waiting")
        self.report(time.monotonic() - begin)

    def stop(self, *_):
        self.stopping = self.stopping or time.monotonic()

    def report(self, seconds):
        self.latency.sort()

        def rank(share):
            return self.latency[min(len(self.latency) - 1, int(share * len(self.latency)))] if self.latency else 0

        errors = dict(self.errors)
        quiet = ("stale", "idle_closed", "late")
        print(
            json.dumps(
                {
                    "sent": self.sent,
                    "answered": sum(self.statuses.values()),
                    "statuses": {str(k): v for k, v in self.statuses.items()},
                    "errors": errors,
                    "lost": sum(v for k, v in errors.items() if k not in quiet),
                    "stale": errors.get("stale", 0),
                    "connects": self.connects,
                    "open": sum(1 for x in self.lanes if x.sock is not None),
                    "seconds": round(seconds, 3),
                    "p50_ms": round(rank(0.5) * 1e3, 3),
                    "p99_ms": round(rank(0.99) * 1e3, 3),
                    "max_ms": round(rank(1.0) * 1e3, 3),
                    "first_error_at": self.first_error_at,
                }
            ),
            flush=True,
        )


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--address", default="127.0.0.1")
    p.add_argument("--connections", type=int, default=8)
    p.add_argument("--rate", type=float, default=0.0)
    p.add_argument("--seconds", type=float, default=0.0)
    p.add_argument("--path", default="/")
    p.add_argument("--method", default="GET")
    p.add_argument("--host", default="test")
    p.add_argument("--header", action="append", default=[])
    p.add_argument("--body", type=int, default=0)
    p.add_argument("--source", action="append", default=[])
    p.add_argument("--patience", type=float, default=15.0)
    p.add_argument("--new", action="store_true", help="a new connection per request")
    p.add_argument("--hold", action="store_true", help="one request on every connection first")
    p.add_argument("--wait-go", action="store_true", help="start when a line comes on standard input")
    LoadRun(p.parse_args()).run()


if __name__ == "__main__":
    main()
