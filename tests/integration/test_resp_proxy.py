# tests/integration/test_resp_proxy.py - a store served as Redis: many clients, few connections, memory as fallback.
import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest
from harness import free_port, memory_kib, wait_for
from redis_servers import Client, RedisError, slot_of

ROUTES = [{"path": "/", "respond": {"body": "hi"}}]


class Front:
    """A gateway whose store "local" is served as Redis at .port."""

    def __init__(self, gateway, url=None, workers=2, **more):
        self.port = free_port()
        self.store = dict({"listen": "127.0.0.1:%d" % self.port}, **more)
        if url:
            self.store["url"] = url
        self.workers = workers
        self.gateway = gateway(self.config())

    def config(self, **more):
        self.store.update(more)
        return {"workers": self.workers, "stores": {"local": self.store}, "routes": ROUTES}

    def client(self, **more):
        return Client(self.port, **more)

    def counted(self, **labels):
        return self.gateway.metrics().sum("vivace_resp_commands_total", store="local", **labels)

    def clients(self):
        return self.gateway.metrics().sum("vivace_resp_clients", store="local")


def raw(port, data, shut=True, patience=10):
    """Everything that comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", port), patience) as s:
        s.sendall(data)
        if shut:
            s.shutdown(socket.SHUT_WR)
        got = bytearray()
        while True:
            piece = s.recv(1 << 20)
            if not piece:
                return bytes(got)
            got += piece


def command(*args):
    args = [a if isinstance(a, bytes) else str(a).encode() for a in args]
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)


def refusal(c, *args):
    with pytest.raises(RedisError) as e:
        c(*args)
    return str(e.value)


# ------------------------------------------------------------------------------------- one server

def test_values_of_every_kind_pass_in_both_versions(gateway, redis):
    front = Front(gateway, redis.server().url)
    two, three = front.client(), front.client(version=3)
    assert two("SET", "s", "1", "EX", 100) == b"OK" and two("GET", "s") == b"1"
    assert two("INCR", "s") == 2 and 0 < two("TTL", "s") <= 100 and two("APPEND", "s", "x") == 2
    assert two("MSET", "a", "1", "b", "2") == b"OK" and two("MGET", "a", "none", "b") == [b"1", None, b"2"]
    assert two("SET", "a", "3", "GET") == b"1" and two("SET", "a", "4", "NX") is None
    assert two("HSET", "h", "f", "v") == 1 and two("HGETALL", "h") == [b"f", b"v"]
    assert three("HGETALL", "h") == {b"f": b"v"}
    assert two("RPUSH", "l", "x", "y") == 2 and two("LRANGE", "l", 0, -1) == [b"x", b"y"]
    assert two("LPOP", "none", 2) is None and three("LPOP", "none") is None
    assert two("SADD", "m", "x") == 1 and two("SMEMBERS", "m") == [b"x"]
    assert set(three("SMEMBERS", "m")) == {b"x"}
    assert two("ZADD", "z", 1, "x", 2.5, "y") == 2
    assert two("ZRANGE", "z", 0, -1, "WITHSCORES") == [b"x", b"1", b"y", b"2.5"]
    assert three("ZRANGE", "z", 0, -1, "WITHSCORES") == [[b"x", 1.0], [b"y", 2.5]]
    assert two("ZSCORE", "z", "y") == b"2.5" and three("ZSCORE", "z", "y") == 2.5
    assert two("ZPOPMIN", "z", 1) == [b"x", b"1"]
    assert "WRONGTYPE" in refusal(two, "GET", "h") and two("TYPE", "h") == b"hash"
    assert two("DEL", "a", "b", "none") == 2 and two("DBSIZE") == 5
    seen, cursor = set(), b"0"
    while True:
        cursor, keys = two("SCAN", cursor, "COUNT", 2)
        seen |= set(keys)
        if cursor == b"0":
            break
    assert seen == {b"s", b"h", b"l", b"m", b"z"}
    assert front.counted(result="error") == 1 and front.counted(**{"class": "hash"}) == 3


def test_redis_cli_and_redis_benchmark_speak_to_it(gateway, redis):
    if not shutil.which("redis-benchmark"):
        pytest.skip("no redis-tools")
    server = redis.server()
    front = Front(gateway, server.url)
    cli = ["redis-cli", "-p", str(front.port)]
    done = subprocess.run(cli + ["SET", "k", "v w"], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"OK\n"
    done = subprocess.run(cli + ["-3", "GET", "k"], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"v w\n"
    done = subprocess.run(cli, input=b"INFO\nMULTI\nPING\n", capture_output=True, timeout=30, check=True)
    assert b"store_state:up" in done.stdout and b"not served" in done.stdout + done.stderr and b"PONG" in done.stdout
    done = subprocess.run(["redis-benchmark", "-p", str(front.port), "-n", "4000", "-P", "16", "-t",
                           "set,get,incr,lpush,rpop,sadd,hset,mset", "-q"], capture_output=True, timeout=120, check=True)
    assert len(set(re.findall(rb"([A-Z]+)[^\r\n:]*: [\d.]+ requests per second", done.stdout))) == 8, done.stdout
    assert b"rror" not in done.stdout, done.stdout


def test_500_clients_share_a_connection_for_each_worker(gateway, redis):
    server = redis.server()
    front = Front(gateway, server.url)
    own = len(server.client()("CLIENT", "LIST").splitlines())
    clients = [front.client() for _ in range(500)]
    for i, c in enumerate(clients):
        c.sock.sendall(command("SET", "k%d" % i, i) + command("GET", "k%d" % i))
    for i, c in enumerate(clients):
        assert c.answer() == b"OK" and c.answer() == b"%d" % i
    assert front.clients() == 500
    asker = server.client()
    more = len(asker("CLIENT", "LIST").splitlines()) - own
    assert more <= front.workers + 2, more  # those of the workers; the control thread asks for INFO over its own
    for c in clients:
        c.close()
    wait_for("clients to go", lambda: front.clients() == 0)


def test_answers_of_a_pipeline_come_in_order_also_those_made_here(gateway, redis):
    front = Front(gateway, redis.server().url)
    rng = random.Random(7)
    data, want = b"", b""
    for i in range(3000):
        kind = rng.randrange(5)
        if kind == 0:
            data, want = data + command("SET", "p", i), want + b"+OK\r\n"
        elif kind == 1:
            data, want = data + command("ECHO", i), want + b"$%d\r\n%d\r\n" % (len(str(i)), i)
        elif kind == 2:
            data, want = data + b"PING\r\n", want + b"+PONG\r\n"
        elif kind == 3:
            data, want = data + command("SET", "q", "x" * i) + command("STRLEN", "q"), want + b"+OK\r\n:%d\r\n" % i
        else:
            data, want = data + command("SELECT", 0), want + b"+OK\r\n"
    assert raw(front.port, data) == want


def test_large_values_stream_and_a_slow_client_holds_up_nobody(gateway, redis):
    front = Front(gateway, redis.server().url)
    big = os.urandom(5 << 20)
    c = front.client()
    assert c("SET", "big", big) == b"OK" and c("GET", "big") == big
    answer = b"$%d\r\n%s\r\n" % (len(big), big)
    assert raw(front.port, command("GET", "big") * 4) == answer * 4
    slow = [socket.create_connection(("127.0.0.1", front.port)) for _ in range(4)]
    for s in slow:
        s.sendall(command("GET", "big"))  # and reads nothing
    time.sleep(0.3)
    took = []
    for _ in range(50):
        began = time.monotonic()
        assert c("GET", "no") is None
        took.append(time.monotonic() - began)
    assert sorted(took)[45] < 0.25, took
    for s in slow:
        got = bytearray()
        while len(got) < len(answer):
            got += s.recv(1 << 20)
        assert bytes(got) == answer
        s.close()


def test_many_large_values_pass_in_one_command_and_from_many_clients(gateway, redis):
    front = Front(gateway, redis.server().url)
    c = front.client()
    values = [b"%04d" % i * 5000 for i in range(200)]
    assert c("MSET", *[x for i, v in enumerate(values) for x in ("m%d" % i, v)]) == b"OK"
    assert c("MGET", *["m%d" % i for i in range(200)]) == values
    assert c("RPUSH", "l", *values) == 200 and c("LINDEX", "l", 150) == values[150]
    clients = [front.client() for _ in range(12)]
    big = os.urandom(3 << 20)
    for i, w in enumerate(clients):
        threading.Thread(target=w.send, args=("SET", "w%d" % i, big), daemon=True).start()
    assert [w.answer() for w in clients] == [b"OK"] * 12
    assert c("STRLEN", "w11") == len(big) and front.counted(result="memory") + front.counted(result="away") == 0


# --------------------------------------------------------------------------------- what is refused

def test_commands_that_need_a_connection_of_their_own_are_refused_and_say_why(gateway, redis):
    server = redis.server()
    front = Front(gateway, server.url)
    c = front.client()
    for args in (["MULTI"], ["WATCH", "k"], ["SUBSCRIBE", "c"], ["MONITOR"]):
        assert "shared" in refusal(c, *args), args
    for args, word in ((["BLPOP", "l", 0], "waits"), (["KEYS", "*"], "SCAN"), (["EVAL", "return 1", 0], "script"),
                       (["CONFIG", "GET", "*"], "operator"), (["DEBUG", "SLEEP", 1], "operator"),
                       (["FLUSHDB"], "flushdb"), (["SELECT", 1], "database"), (["CLIENT", "KILL", "x"], "shared"),
                       (["NOSUCH"], "unknown"), (["GET"], "wrong number"), (["SET", "vz:a:o:1", "x"], "gateway"),
                       (["ZUNION", 9, "a"], "syntax")):
        assert word in refusal(c, *args), args
    assert c("PING") == b"PONG" and server.client()("DBSIZE") == 0
    assert front.counted(result="refused") >= 14


def test_a_password_is_asked_for_and_flushdb_may_be_allowed(gateway, redis):
    server = redis.server()
    front = Front(gateway, server.url, listen_password="open sesame", flushdb=True)
    c = front.client()
    assert "NOAUTH" in refusal(c, "GET", "k") and "WRONGPASS" in refusal(c, "AUTH", "open")
    assert "NOAUTH" in refusal(c, "HELLO", 3)
    assert c("AUTH", "open sesame") == b"OK" and c("SET", "k", "v") == b"OK"
    three = front.client(version=3, password="open sesame")
    assert three("GET", "k") == b"v" and three("FLUSHDB") == b"OK" and c("GET", "k") is None


def test_what_is_no_command_ends_its_own_connection_only(gateway, redis):
    front = Front(gateway, redis.server().url)
    c = front.client()
    before = memory_kib(front.gateway.worker())
    assert raw(front.port, b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a b\r\n").startswith(b"-ERR unknown command 'POST'")
    for bad in (b"*1\r\n$536870913\r\n", b"*1048577\r\n", b"*2\r\n$3\r\nGET\r\n:1\r\n", b"*x\r\n", b"*1\r\n$-5\r\n",
                b"GET \"a\r\n", b"a" * 70000):
        got = raw(front.port, command("PING") + bad + command("SET", "a", "b"), shut=False)
        assert got.startswith(b"+PONG\r\n-ERR protocol error"), (bad[:20], got[:80])
    half = [socket.create_connection(("127.0.0.1", front.port)) for _ in range(50)]
    for s in half:  # claims much, sends little
        s.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500000000\r\nabc")
    rng = random.Random(3)
    for _ in range(50):
        data = bytes(rng.choice(b"*$+-:\r\n0123GETSa\"'\\ ") for _ in range(300))
        raw(front.port, data)
    assert c("EXISTS", "a") == 0 and c("PING") == b"PONG"
    assert memory_kib(front.gateway.worker()) < before + 64 * 1024


def test_the_limit_of_clients_counts_over_all_workers(gateway, redis):
    front = Front(gateway, redis.server().url, clients=10)
    clients = [front.client() for _ in range(10)]
    assert all(c("PING") == b"PONG" for c in clients)
    assert raw(front.port, b"") == b"-ERR max number of clients reached\r\n"
    clients.pop().close()

    def fits():
        try:
            return front.client()("PING") == b"PONG"
        except (RedisError, OSError):
            return False
    wait_for("a place", fits)


# ---------------------------------------------------------------------------- the store is away

class Loop(threading.Thread):
    """Sets and gets over one connection that is never made anew; keeps what went wrong."""

    def __init__(self, front, at):
        super().__init__(daemon=True)
        self.client, self.at = front.client(), at
        self.wrong, self.rounds, self.end = [], 0, threading.Event()
        self.start()

    def run(self):
        try:
            while not self.end.is_set():
                self.rounds += 1
                key, value = "l%d-%d" % (self.at, self.rounds % 20), b"%d" % self.rounds
                if self.client("SET", key, value, "EX", 60) != b"OK" or self.client("GET", key) != value:
                    self.wrong.append((key, value))
        except Exception as e:  # also that the connection was closed
            self.wrong.append(e)

    def finish(self):
        self.end.set()
        self.join(30)
        return self.wrong


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_store_that_goes_under_load_is_replaced_by_memory_until_it_is_back(gateway, redis, how):
    server = redis.server()
    front = Front(gateway, server.url)
    c = front.client()
    assert c("SET", "kept", "1", "EX", 500) == b"OK" and c("HSET", "h", "f", "v") == 1
    loops = [Loop(front, i) for i in range(8)]
    wait_for("load", lambda: all(loop.rounds > 20 for loop in loops))
    getattr(server, how)()
    wait_for("memory", lambda: front.counted(result="memory") > 100)
    assert c("GET", "kept") == b"1" and c("INCR", "kept") == 2 and c("TTL", "kept") > 0
    assert c("SETEX", "e", 100, "x") == b"OK" and c("MGET", "e", "none") == [b"x", None]
    assert c("EXPIRE", "e", 50) == 1 and c("TTL", "e") <= 50 and c("EXISTS", "e", "e") == 2 and c("DEL", "e") == 1
    assert "TRYAGAIN" in refusal(c, "HGETALL", "h")
    wait_for("degraded", lambda: b"store_state:degraded" in c("INFO"))
    began = time.monotonic()
    for _ in range(200):
        c("GET", "kept")
    assert time.monotonic() - began < 2  # at once, and not after a deadline each
    {"kill": server.start, "pause": server.resume}[how]()
    wait_for("the store to be back", lambda: b"store_state:up" in c("INFO"))
    before = front.counted(result="ok")
    wait_for("its answers", lambda: front.counted(result="ok") > before + 200)
    for loop in loops:
        # A value set just before the store went or came back may be read on the other side of that.
        assert all(isinstance(w, tuple) for w in loop.finish()) and len(loop.wrong) <= 4, loop.wrong


def test_a_store_without_servers_is_memory(gateway):
    front = Front(gateway, None, fallback={"entries": 100, "memory": "1MB"})
    c = front.client(version=3)
    assert c("SET", "a", "1") == b"OK" and c("INCRBY", "a", 41) == 42 and c("GET", "a") == b"42"
    assert c("SETNX", "a", "x") == 0 and c("SET", "a", "x", "XX", "GET") == b"42" and c("GET", "no") is None
    assert "TRYAGAIN" in refusal(c, "LPUSH", "l", "x") and b"store_state:none" in c("INFO")
    for i in range(300):
        c("SET", "k%d" % i, i)
    assert sum(c("EXISTS", "k%d" % i) for i in range(300)) <= 100


# ------------------------------------------------------------------------ several servers, reload

def test_commands_with_many_keys_are_cut_by_slot_and_put_together(gateway, redis):
    cluster = redis.cluster()
    front = Front(gateway, "redis+cluster://127.0.0.1:%d" % cluster.masters()[0].port)
    c = front.client()
    keys = ["k%d" % i for i in range(100)]
    assert len({slot_of(k) for k in keys}) > 90
    flat = [x for k in keys for x in (k, k + "!")]
    wait_for("the cluster", lambda: c("SET", "x", "1") == b"OK" and c("GET", "x") == b"1")
    assert c("MSET", *flat) == b"OK"
    assert c("MGET", *(keys + ["none"])) == [(k + "!").encode() for k in keys] + [None]
    assert c("EXISTS", *keys) == 100 and c("UNLINK", *keys[:50]) == 50 and c("DEL", *keys) == 50
    assert "CROSSSLOT" in refusal(c, "SINTER", "a", "b") and "CROSSSLOT" in refusal(c, "RENAME", "a", "b")
    assert c("SADD", "{t}a", "1", "2") == 2 and c("SADD", "{t}b", "2") == 1
    assert c("SINTER", "{t}a", "{t}b") == [b"2"] and "several" in refusal(c, "SCAN", 0)
    data = b"".join(command("SET", "k%d" % i, i) + command("GET", "k%d" % i) for i in range(500))
    want = b"".join(b"+OK\r\n$%d\r\n%d\r\n" % (len(str(i)), i) for i in range(500))
    assert raw(front.port, data) == want  # three servers answer, the order is the client's


def test_a_ring_keeps_each_key_in_one_place(gateway, redis):
    servers = [redis.server() for _ in range(3)]
    front = Front(gateway, "redis://" + ",".join("127.0.0.1:%d" % s.port for s in servers))
    c = front.client()
    keys = ["k%d" % i for i in range(60)]
    assert c("MSET", *[x for k in keys for x in (k, k)]) == b"OK"
    assert c("MGET", *keys) == [k.encode() for k in keys]
    sizes = [s.client()("DBSIZE") for s in servers]
    assert sum(sizes) == 60 and min(sizes) > 0, sizes
    assert c("DEL", *keys) == 60 and "CROSSSLOT" in refusal(c, "SUNION", "a", "b")


def test_a_reload_adds_moves_and_removes_the_front(gateway, redis):
    one, two = redis.server(), redis.server()
    front = Front(gateway, one.url)
    c = front.client()
    assert c("SET", "k", "one") == b"OK"
    front.gateway.reload(front.config(url=two.url))
    wait_for("the other server", lambda: c("GET", "k") is None)  # the client stays
    assert c("SET", "k", "two") == b"OK" and two.client()("GET", "k") == b"two"
    former, front.port = front.port, free_port()
    front.gateway.reload(front.config(listen="127.0.0.1:%d" % front.port))
    wait_for("the new address", lambda: front.client()("GET", "k") == b"two")
    with pytest.raises(OSError):
        Client(former, timeout=2)("PING")
    del front.store["listen"]
    front.gateway.reload(front.config())

    def gone():
        try:
            front.client()("PING")
        except OSError:
            return True
        return False
    wait_for("nobody to listen", gone)
