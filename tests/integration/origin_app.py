# tests/integration/origin_app.py - a plain HTTP origin in its own process, for tests under load.
"""The path decides: /size/N, /delay/MS, /status/NNN, /chunked/N, /echo; /-/stats tells counts.

--name text is sent back in X-Server. Everything else is answered 200 with 1 KiB.
"""

import argparse
import asyncio
import json
import socket

BODY = b"y" * 1024


class App(asyncio.Protocol):
    name = ""
    stats = {"requests": 0, "connections": 0, "bytes_in": 0}

    def connection_made(self, transport):
        self.transport = transport
        self.buf = b""
        self.skip = 0
        self.chunked = False
        self.busy = False
        self.closing = False
        App.stats["connections"] += 1
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc):
        self.closing = True

    def data_received(self, data):
        self.buf += data
        self.work()

    def work(self):
        while not self.busy and not self.closing:
            end = self.buf.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buf[:end].decode("latin-1").split("\r\n")
            method, target, version = head[0].split(" ")
            fields = {}
            for line in head[1:]:
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()
            if "transfer-encoding" in fields:
                last = self.buf.find(b"0\r\n\r\n", end + 4)
                if last < 0:
                    return
                body, total = b"", last + 5
            else:
                length = int(fields.get("content-length", "0"))
                total = end + 4 + length
                if len(self.buf) < total:
                    return
                body = self.buf[end + 4 : total]
            App.stats["bytes_in"] += len(body)
            self.buf = self.buf[total:]
            self.route(method, target, fields, body, version)

    def route(self, method, target, fields, body, version):
        parts = target.split("?")[0].split("/")
        close = fields.get("connection", "").lower() == "close" or version == "HTTP/1.0"
        status, answer, delay = 200, BODY, 0.0
        if parts[1:3] == ["-", "stats"]:
            answer = json.dumps(App.stats).encode()
        else:
            App.stats["requests"] += 1
        if parts[1] == "size":
            answer = b"y" * int(parts[2])
        elif parts[1] == "status":
            status = int(parts[2])
        elif parts[1] == "delay":
            delay = int(parts[2]) / 1000
        elif parts[1] == "echo":
            answer = body
        elif parts[1] == "chunked":
            self.write(b"HTTP/1.1 200 OK\r\nX-Server: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % self.name)
            for _ in range(int(parts[2])):
                self.write(b"400\r\n" + BODY + b"\r\n")
            self.write(b"0\r\n\r\n")
            return
        if status in (204, 304):
            data = b"HTTP/1.1 %d Fine\r\nX-Server: %s\r\n\r\n" % (status, self.name)
        else:
            data = b"HTTP/1.1 %d Fine\r\nX-Server: %s\r\nContent-Length: %d\r\n\r\n" % (status, self.name, len(answer))
            data += b"" if method == "HEAD" else answer
        if delay:
            self.busy = True
            asyncio.get_running_loop().call_later(delay, self.later, data, close)
        else:
            self.finish(data, close)

    def later(self, data, close):
        self.busy = False
        if not self.closing:
            self.finish(data, close)
            self.work()

    def write(self, data):
        if not self.closing:
            self.transport.write(data)

    def finish(self, data, close):
        self.write(data)
        if close:
            self.closing = True
            self.transport.close()


async def main():
    p = argparse.ArgumentParser()
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--address", default="127.0.0.1")
    p.add_argument("--name", default="")
    args = p.parse_args()
    App.name = args.name.encode() or str(args.port).encode()
    server = await asyncio.get_running_loop().create_server(App, args.address, args.port, backlog=4096, reuse_address=True)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
