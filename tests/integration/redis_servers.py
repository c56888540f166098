# tests/integration/redis_servers.py - real redis-servers for the tests: one, a replica, Sentinel, a cluster.
"""Starts redis-server processes on free loopback ports, each in a folder of its own, and ends them by pid.

    def test_something(redis):                  # fixture of conftest.py; skips where there is no redis-server
        one = redis.server(maxmemory="8mb")     # any option of redis.conf, _ for -; True and False for yes and no
        one.client()("SET", "k", "v")           # a raw client: b"OK"; an error is raised as RedisError
        one.pause(); one.resume(); one.kill(); one.start()
        locked = redis.server(password="pw", users=["app on >secret ~vz:* &* +@all"], tls=True)
        guarded = redis.sentinel()              # 1 master, 2 replicas, 3 sentinels; .master(), .sentinels, .replicas()
        six = redis.cluster()                   # 3 masters, 3 replicas; .masters(), .owner(key), .move(slot, to)

Ready means ready: a constructor returns when the servers answer, replicas are in step, sentinels know each
other, and a cluster serves all slots. Every server has .url, .port, .pid, .log(), .client(), .close().
A group closes all its servers. What a test kills it may start again: the port and the folder stay.
"""

import atexit
import binascii
import ctypes
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from harness import PATIENCE, free_port, wait_for

SERVER = shutil.which("redis-server")
SLOTS = 16384
_running = {}  # pid -> process, for the end of this process


def _end_all():
    for process in list(_running.values()):
        process.kill()
        process.wait()


atexit.register(_end_all)


def slot_of(key):
    """The cluster's slot of a key; of what stands in its first {...}, if anything does."""
    key = key.encode() if isinstance(key, str) else key
    start = key.find(b"{")
    end = key.find(b"}", start + 1) if start >= 0 else -1
    if end > start + 1:
        key = key[start + 1:end]
    return binascii.crc_hqx(key, 0) % SLOTS


# ------------------------------------------------------------------------------------------ client

class RedisError(Exception):
    """What the server answered with a minus; .word is its first word."""

    def __init__(self, text):
        super().__init__(text)
        self.word = text.split(" ")[0]


class Client:
    """A raw client: client("GET", "k") gives bytes, int, None, list (version 3: dict, bool, float too)."""

    def __init__(self, port, host="127.0.0.1", user=None, password=None, tls=None, version=2, timeout=PATIENCE):
        self.sock = socket.create_connection((host, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")
        self.pushes = []  # version 3: what came unasked
        if version == 3:
            self("HELLO", 3, *(["AUTH", user or "default", password] if password else []))
        elif password:
            self("AUTH", *([user] if user else []), password)

    def __call__(self, *args):
        self.send(*args)
        return self.answer()

    def send(self, *args):
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.sock.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))

    def many(self, commands):
        """Sends all, then reads all; errors are in the list, not raised."""
        for command in commands:
            self.send(*command)
        return [self._quiet() for _ in commands]

    def answer(self):
        """The next answer; pushes before it go to .pushes."""
        while True:
            push, value = self._read()
            if not push:
                if isinstance(value, RedisError):
                    raise value
                return value
            self.pushes.append(value)

    def push(self, timeout=PATIENCE):
        """The next push (version 3)."""
        if self.pushes:
            return self.pushes.pop(0)
        self.sock.settimeout(timeout)
        push, value = self._read()
        assert push, f"an answer, no push: {value!r}"
        return value

    def _quiet(self):
        try:
            return self.answer()
        except RedisError as e:
            return e

    def _read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return False, rest
        if kind == b"-":
            return False, RedisError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return False, int(rest)
        if kind == b"_" or (kind in b"$*" and rest == b"-1"):
            return False, None
        if kind in b"$=!":
            text = self.file.read(int(rest) + 2)[:-2]
            return False, RedisError(text.decode()) if kind == b"!" else text[4:] if kind == b"=" else text
        if kind == b"#":
            return False, rest == b"t"
        if kind == b",":
            return False, float(rest)
        if kind == b"(":
            return False, int(rest)
        values = [self._read()[1] for _ in range(int(rest) * (2 if kind in b"%|" else 1))]
        if kind == b"%":
            return False, dict(zip(values[::2], values[1::2]))
        if kind == b"|":
            return self._read()  # an attribute; the value it speaks of follows
        return kind == b">", values

    def info(self, section="everything"):
        lines = self("INFO", section).decode("utf-8", "replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --------------------------------------------------------------------------------------------- TLS

class Certificates:
    """One authority and one certificate for localhost and 127.0.0.1, which also does for clients."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="vivace-redis-tls-")
        self.ca, self.cert, self.key = (os.path.join(self.folder, n) for n in ("ca.pem", "cert.pem", "key.pem"))
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        ca_key, ask, ext = (os.path.join(self.folder, n) for n in ("ca.key", "ask", "ext"))
        self._openssl("req", "-x509", *new, "-subj", "/CN=Redis tests", "-days", "2", "-keyout", ca_key, "-out", self.ca)
        self._openssl("req", "-new", *new, "-subj", "/CN=localhost", "-keyout", self.key, "-out", ask)
        with open(ext, "w", encoding="ascii") as f:
            f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._openssl("x509", "-req", "-in", ask, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
                      "-extfile", ext, "-out", self.cert)

    @staticmethod
    def _openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True)

    def context(self):
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.cert, self.key)
        context.check_hostname = False
        return context

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


# ---------------------------------------------------------------------------------------- a server

def _dies_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class RedisServer:
    """One redis-server. `lines` are lines of redis.conf as they stand; options are lines by name."""

    def __init__(self, password=None, users=(), tls=False, lines=(), sentinel=False, wait=True, **options):
        self.port = free_port()
        self.password = password
        self.user = None  # of client(): the default user
        self.own_certs = tls is True
        self.certs = Certificates() if tls is True else tls or None
        self.folder = tempfile.mkdtemp(prefix="vivace-redis-")
        self.process, self.paused, self.sentinel = None, False, sentinel
        whole = {"bind": "127.0.0.1", "dir": self.folder, "logfile": os.path.join(self.folder, "log")}
        if not sentinel:
            whole.update({"save": '""', "appendonly": "no", "repl-diskless-sync-delay": 0,
                          "repl-ping-replica-period": 1, "enable-debug-command": "yes"})
        whole.update({"port": self.port} if not self.certs else {
            "port": 0, "tls-port": self.port, "tls-cert-file": self.certs.cert, "tls-key-file": self.certs.key,
            "tls-ca-cert-file": self.certs.ca, "tls-auth-clients": "optional", "tls-replication": "yes"})
        if password:
            whole.update({"requirepass": password} if sentinel else {"requirepass": password, "masterauth": password})
        for name, value in options.items():
            whole[name.replace("_", "-")] = {True: "yes", False: "no"}.get(value, value) if isinstance(
                value, bool) else value
        with open(os.path.join(self.folder, "conf"), "w", encoding="utf-8") as f:
            f.writelines(f"{name} {value}\n" for name, value in whole.items())
            f.writelines(f"user {user}\n" for user in users)
            f.writelines(f"{line}\n" for line in lines)
        self.start(wait)

    @property
    def pid(self):
        return self.process.pid

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        """As the gateway's `stores:` want it; with the password, if there is one."""
        return f"redis{'s' if self.certs else ''}://{f':{self.password}@' if self.password else ''}{self.address}"

    def start(self, wait=True):
        """Starts, or starts again where it was."""
        assert SERVER, "redis-server is not installed"
        assert not self.running(), "it runs"
        main = threading.current_thread() is threading.main_thread()  # the thread's end would be ours
        self.process = subprocess.Popen(
            [SERVER, os.path.join(self.folder, "conf"), *(["--sentinel"] if self.sentinel else [])],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder,
            preexec_fn=_dies_with_us if main else None)
        _running[self.pid] = self.process
        self.paused = False
        if wait:
            self.wait()
        return self

    def wait(self):
        """Until it answers."""
        wait_for(f"redis-server on port {self.port} answers", self._answers)

    def _answers(self):
        assert self.running(), f"redis-server ended at once:\n{self.log()[-2000:]}"
        try:
            with self.client(timeout=1) as c:
                return c("PING") == b"PONG"
        except (OSError, RedisError):
            return False

    def running(self):
        return self.process is not None and self.process.poll() is None

    def client(self, user=None, password=None, **options):
        return Client(self.port, user=user or self.user, password=password or self.password,
                      tls=self.certs.context() if self.certs else None, **options)

    def __call__(self, *args):
        """One command on a connection of its own."""
        with self.client() as c:
            return c(*args)

    def info(self, section="everything"):
        with self.client() as c:
            return c.info(section)

    def log(self):
        try:
            with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def pause(self):
        """Hangs: its connections stay, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)
        self.paused = False

    def kill(self):
        """Ends it as a crash would. start() brings it back without its data."""
        self._end(signal.SIGKILL)

    def stop(self):
        """Ends it as an operator would."""
        if self.paused:
            self.resume()
        self._end(signal.SIGTERM)

    def _end(self, how):
        if self.process is None:
            return
        if self.running():
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        _running.pop(self.pid, None)

    def drop_clients(self):
        """Closes every connection of a client, from the server's side, with no word."""
        return self("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def replicate(self, master):
        self("REPLICAOF", "127.0.0.1", master.port)
        self.wait_in_step()

    def wait_in_step(self):
        wait_for("the replica is in step", lambda: self.info("replication").get("master_link_status") == "up")

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.own_certs:
            self.certs.close()


class Group:
    """Servers that belong together; .servers are all of them, by the order of their start."""

    def __init__(self):
        self.servers = []

    def by_port(self, port):
        return next(s for s in self.servers if s.port == int(port))

    def alive(self):
        return [s for s in self.servers if s.running() and not s.paused]

    def close(self):
        for server in self.servers:
            server.close()


# ---------------------------------------------------------------------------------------- sentinel

class Sentinel(Group):
    """One master, replicas, and sentinels that agree on it. Sentinels ping and tell more often than usual."""

    def __init__(self, replicas=2, sentinels=3, name="main", down_after_ms=500, failover_timeout_ms=2000,
                 password=None, sentinel_password=None, tls=False, **options):
        super().__init__()
        self.name, self.sentinel_password, self.own_certs = name, sentinel_password, tls is True
        self.certs = Certificates() if tls is True else tls or None
        tls = self.certs or False
        first = RedisServer(password=password, tls=tls, wait=False, **options)
        self.nodes = [first] + [RedisServer(password=password, tls=tls, wait=False,
                                            lines=[f"replicaof 127.0.0.1 {first.port}"], **options)
                                for _ in range(replicas)]
        self.servers += self.nodes
        lines = [f"sentinel monitor {name} 127.0.0.1 {first.port} {sentinels // 2 + 1}",
                 f"sentinel down-after-milliseconds {name} {down_after_ms}",
                 f"sentinel failover-timeout {name} {failover_timeout_ms}",
                 f"sentinel parallel-syncs {name} {max(replicas, 1)}"]
        if password:
            lines.append(f"sentinel auth-pass {name} {password}")
        for node in self.nodes:
            node.wait()
        self.sentinels = [RedisServer(password=sentinel_password, tls=tls, sentinel=True, wait=False, lines=lines)
                          for _ in range(sentinels)]
        self.servers += self.sentinels
        for sentinel in self.sentinels:
            sentinel.wait()
            sentinel("SENTINEL", "DEBUG", "INFO-PERIOD", 300, "PING-PERIOD", 100, "PUBLISH-PERIOD", 200,
                     "ASK-PERIOD", 200)
        self.wait_ready()

    @property
    def url(self):
        auth = f":{self.nodes[0].password}@" if self.nodes[0].password else ""
        hosts = ",".join(s.address for s in self.sentinels)
        return f"redis{'s' if self.certs else ''}+sentinel://{auth}{hosts}/{self.name}"

    def wait_ready(self):
        """Until replicas are in step and every living sentinel knows all living servers."""
        for node in self.nodes:
            if node.running() and node.info("replication")["role"] == "slave":
                node.wait_in_step()
        wait_for("the sentinels know each other", self._agreed)

    def _agreed(self):
        for sentinel in self.sentinels:
            if not sentinel.running() or sentinel.paused:
                continue
            with sentinel.client() as c:
                flat = c("SENTINEL", "MASTER", self.name)
                seen = dict(zip(flat[::2], flat[1::2]))
                if seen[b"flags"] != b"master" or int(seen[b"num-slaves"]) < len(self.nodes) - 1 or \
                        int(seen[b"num-other-sentinels"]) < len(self.sentinels) - 1:
                    return False
        return True

    def named(self):
        """The port of the master as a living sentinel names it."""
        for sentinel in self.sentinels:
            if sentinel.running() and not sentinel.paused:
                return int(sentinel("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[1])
        raise AssertionError("no sentinel lives")

    def master(self):
        return self.by_port(self.named())

    def replicas(self):
        port = self.named()
        return [n for n in self.nodes if n.port != port and n.running()]

    def fail_over(self):
        """Asks a sentinel for a failover while the master lives; returns when it is done."""
        old = self.named()
        with self.sentinels[0].client() as c:
            c("SENTINEL", "FAILOVER", self.name)
        self.wait_moved(old)

    def wait_moved(self, old_port):
        """Until another server is the master and knows it; returns that one."""
        wait_for("a replica becomes the master", lambda: self.named() != old_port and
                 self.master().info("replication")["role"] == "master", 20)
        return self.master()

    def close(self):
        super().close()
        if self.own_certs:
            self.certs.close()


# ----------------------------------------------------------------------------------------- cluster

class Cluster(Group):
    """Masters with one replica each, formed by hand: redis-cli --cluster create takes several seconds."""

    def __init__(self, masters=3, replicas=1, node_timeout_ms=1000, password=None, tls=False, **options):
        super().__init__()
        self.own_certs = tls is True
        self.certs = Certificates() if tls is True else tls or None
        given = {"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "cluster-node-timeout": node_timeout_ms,
                 "cluster-replica-validity-factor": 0, **({"tls-cluster": "yes"} if tls else {})}
        given.update(options)
        self.buses = {}
        for _ in range(masters * (1 + replicas)):
            bus = free_port()
            self.servers.append(RedisServer(password=password, tls=self.certs or False, wait=False,
                                            cluster_port=bus, **given))
            self.buses[self.servers[-1].port] = bus
        for server in self.servers:
            server.wait()
        self._form(masters)

    def _form(self, masters):
        clients = [s.client() for s in self.servers]
        share = SLOTS // masters
        for i, c in enumerate(clients):
            c("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            if i < masters:
                c("CLUSTER", "ADDSLOTSRANGE", i * share, SLOTS - 1 if i == masters - 1 else (i + 1) * share - 1)
        for server in self.servers[1:]:
            clients[0]("CLUSTER", "MEET", "127.0.0.1", server.port, self.buses[server.port])
        wait_for("the nodes have met", lambda: all(
            int(c_info(c)["cluster_known_nodes"]) == len(clients) and b"handshake" not in c("CLUSTER", "NODES")
            for c in clients))
        names = [c("CLUSTER", "MYID") for c in clients]
        for i, c in enumerate(clients[masters:]):
            c("CLUSTER", "REPLICATE", names[i % masters])
        for c in clients:
            c.close()
        self.wait_covered()
        wait_for("every replica is in step", lambda: all(
            s.info("replication").get("master_link_status") == "up" for s in self.servers[masters:]))
        wait_for("every node knows the replicas", lambda: all(
            s("CLUSTER", "NODES").count(b"slave ") == len(self.servers) - masters for s in self.servers))

    @property
    def url(self):
        auth = f":{self.servers[0].password}@" if self.servers[0].password else ""
        return f"redis{'s' if self.certs else ''}+cluster://{auth}{','.join(s.address for s in self.servers[:3])}"

    def wait_covered(self, seconds=None):
        """Until every living node says that all slots are served."""
        def covered():
            return all(c_info(c)["cluster_state"] == "ok" and int(c_info(c)["cluster_slots_ok"]) == SLOTS
                       for c in clients)
        clients = [s.client() for s in self.alive()]
        try:
            wait_for("the cluster serves all slots", covered, seconds)
        finally:
            for c in clients:
                c.close()

    def _nodes(self):
        """As the first living node sees them: (server, role, the master's name, own name, slots)."""
        rows = []
        for line in self.alive()[0]("CLUSTER", "NODES").decode().splitlines():
            words = line.split(" ")
            flags = words[2].split(",")
            server = self.by_port(words[1].split("@")[0].rsplit(":", 1)[1])
            slots = [tuple(map(int, (w.split("-") * 2)[:2])) for w in words[8:] if not w.startswith("[")]
            dead = "fail" in flags or not server.running()
            rows.append((server, "dead" if dead else "master" if "master" in flags else "replica", words[3], words[0],
                         slots))
        return rows

    def masters(self):
        """Living masters that serve slots, by their first slot."""
        rows = [r for r in self._nodes() if r[1] == "master" and r[4]]
        return [r[0] for r in sorted(rows, key=lambda r: r[4][0])]

    def replicas_of(self, master):
        rows = self._nodes()
        name = next(r[3] for r in rows if r[0] is master)
        return [r[0] for r in rows if r[1] == "replica" and r[2] == name]

    def owner(self, what):
        """The master of a slot (int) or of a key."""
        slot = what if isinstance(what, int) else slot_of(what)
        return next(r[0] for r in self._nodes() if r[1] != "dead" and any(a <= slot <= b for a, b in r[4]))

    def key_at(self, server, prefix="key"):
        """A key that this master serves."""
        return self.keys_at(server, 1, prefix)[0]

    def keys_at(self, server, count, prefix="key"):
        slots = next(r[4] for r in self._nodes() if r[0] is server)
        keys, i = [], 0
        while len(keys) < count:
            key = f"{prefix}:{i}"
            if any(a <= slot_of(key) <= b for a, b in slots):
                keys.append(key)
            i += 1
        return keys

    def name(self, server):
        return server("CLUSTER", "MYID")

    def move_begin(self, slot, to):
        """From now on keys of the slot that are not there are asked for with ASK at `to`."""
        source = self.owner(slot)
        to("CLUSTER", "SETSLOT", slot, "IMPORTING", self.name(source))
        source("CLUSTER", "SETSLOT", slot, "MIGRATING", self.name(to))
        return source

    def move_keys(self, slot, source, to, count=100):
        """Moves up to `count` keys; how many it were."""
        with source.client() as c:
            keys = c("CLUSTER", "GETKEYSINSLOT", slot, count)
            if keys:
                auth = ["AUTH", source.password] if source.password else []
                c("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "REPLACE", *auth, "KEYS", *keys)
        return len(keys)

    def move_end(self, slot, to):
        """The slot is served by `to` now: MOVED elsewhere."""
        name = self.name(to)
        for server in [to] + [m for m in self.masters() if m is not to]:
            server("CLUSTER", "SETSLOT", slot, "NODE", name)

    def move(self, slot, to, pause=0.0):
        """A whole migration; `pause` seconds between its steps, for traffic to meet each of them."""
        source = self.move_begin(slot, to)
        time.sleep(pause)
        while self.move_keys(slot, source, to, 10):
            time.sleep(pause)
        time.sleep(pause)
        self.move_end(slot, to)

    def wait_failed_over(self, old, seconds=None):
        """Until another node serves what `old` (killed or paused) served and all living nodes agree."""
        def moved():
            return old not in self.masters() and len(self.masters()) >= 1 and sum(
                b - a + 1 for r in self._nodes() if r[1] == "master" for a, b in r[4]) == SLOTS
        wait_for("a replica takes the slots over", moved, seconds or 20)
        self.wait_covered(seconds)

    def close(self):
        super().close()
        if self.own_certs:
            self.certs.close()


def c_info(client):
    """CLUSTER INFO as a dict."""
    return dict(line.split(":", 1) for line in client("CLUSTER", "INFO").decode().split() if ":" in line)


class Redis:
    """What the fixture gives: starts servers that end with the test."""

    def __init__(self, stack):
        self.stack = stack

    def _keep(self, thing):
        self.stack.append(thing)
        return thing

    def server(self, **options):
        return self._keep(RedisServer(**options))

    def replica(self, master, **options):
        """A replica in step with `master`."""
        replica = self._keep(RedisServer(password=master.password, tls=master.certs or False,
                                         lines=[f"replicaof 127.0.0.1 {master.port}"], **options))
        replica.wait_in_step()
        return replica

    def sentinel(self, **options):
        return self._keep(Sentinel(**options))

    def cluster(self, **options):
        return self._keep(Cluster(**options))
