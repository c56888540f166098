# tests/integration/test_levels_hostile.py - caches with levels in stores that lie, drip, or change at the worst moment.
import ctypes
import ctypes.util
import os
import socket
import struct
import threading
import time

import pytest

from harness import MIB, Closed, ok, wait_for
from test_levels import (fetch, in_step, looked, name_of, one, purge, shared, two, until_new,  # noqa: F401
                         wait_kept, whence)

FIXED = 96  # bytes of a packed object before its parts (src/cache/packed_int.h)
VALUE = b"VVpk"


class Between:
    """Stands between a gateway and a store. After `drip` bytes of the next packed object the rest comes byte by byte,
    so that the connection is never silent, until go(); the answer to a lease, a mere OK, comes `delay` seconds later."""

    def __init__(self, store):
        self.store, self.drip, self.delay = store, None, 0.0
        self.dripping, self.gone_on = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def go(self):
        self.drip = None
        self.gone_on.set()

    def close(self):
        self.go()
        self.listener.close()
        for s in self.sockets:
            s.close()

    def accept(self):
        try:
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.store.port))
                self.sockets += [near, far]
                threading.Thread(target=self.copy, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self.copy, args=(far, near, True), daemon=True).start()
        except OSError:
            pass

    def copy(self, source, to, answers):
        try:
            while data := source.recv(65536):
                if answers and data == b"+OK\r\n" and self.delay:
                    time.sleep(self.delay)
                at = data.find(VALUE) if answers and self.drip is not None else -1
                if at >= 0:
                    self.trickle(source, to, data, at + self.drip)
                else:
                    to.sendall(data)
        except OSError:
            pass
        for s in (source, to):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def trickle(self, source, to, data, whole):
        while len(data) < whole:
            data += source.recv(65536)
        to.sendall(data[:whole])
        self.dripping.set()
        rest = data[whole:]
        while not self.gone_on.is_set():
            rest = rest or source.recv(65536)
            to.sendall(rest[:1])
            rest = rest[1:]
            time.sleep(0.01)
        to.sendall(rest)


@pytest.fixture
def between(stack):
    def make(store):
        made = Between(store)
        stack.append(made)
        return made

    return make


# ------------------------------------------------------------------------------------ changes meanwhile


@pytest.mark.parametrize("way", [{"tag": "red"}, {"pattern": "*/red/*"}])
def test_what_is_purged_while_it_streams_out_of_a_store_is_not_kept(shared, redis, between, way):  # noqa: F811
    store = redis.server()
    slow = between(store)
    bodies = {1: os.urandom(2 * MIB), 2: os.urandom(2 * MIB)}
    shared.scripts["/red/big"] = lambda req: ok(bodies[shared.version], headers={"Cache-Tag": "red"})
    a, b = shared.gateway({"local": store}), shared.gateway({"local": slow})
    fetch(a, "/red/big", "origin")
    wait_kept(store, "/red/big")
    slow.drip = MIB
    got = []
    reading = threading.Thread(target=lambda: got.append(b.ask("/red/big")))
    reading.start()
    assert slow.dripping.wait(5)
    shared.version = 2
    purge(a, **way)
    wait_for("it has heard of the purge", lambda: b.metric(
        "vivace_cache_shared_purges_total", cache="api", direction="received") == 1)
    slow.go()
    reading.join()
    for _ in range(3):
        assert b.ask("/red/big").body == bodies[2], "what was purged came back out of the store"


def test_what_is_purged_while_it_comes_to_be_validated_is_not_used(shared, redis, between):  # noqa: F811
    store = redis.server()
    slow = between(store)
    bodies = {1: os.urandom(MIB - 1000), 2: os.urandom(MIB - 1000)}
    shared.scripts["/red/stale"] = lambda req: ok(bodies[shared.version], headers={
        "Cache-Tag": "red", "Cache-Control": "max-age=1, stale-while-revalidate=600", "ETag": f'"{shared.version}"'})
    a, b = shared.gateway({"local": store}), shared.gateway({"local": slow})
    fetch(a, "/red/stale", "origin")
    wait_kept(store, "/red/stale")
    time.sleep(1.2)
    shared.version = 2
    slow.drip = MIB // 2
    got = []
    reading = threading.Thread(target=lambda: got.append(b.ask("/red/stale")))
    reading.start()
    assert slow.dripping.wait(5)
    purge(a, tag="red")
    wait_for("it has heard of the purge", lambda: b.metric(
        "vivace_cache_shared_purges_total", cache="api", direction="received") == 1)
    slow.go()
    reading.join()
    assert got[0].body == bodies[2]
    assert b.ask("/red/stale").body == bodies[2]


def test_an_update_reaches_a_gateway_whose_near_store_holds_the_old_answer(two):  # noqa: F811
    shared, nears, far, (a, b) = two  # noqa: F811
    fetch(a, "/a", "origin")
    wait_kept(nears[0], "/a")
    wait_kept(far, "/a")
    shared.version = 2
    assert b.ask("/a", headers={"Cache-Control": "no-cache"}).body == shared.body("/a")
    until_new(a, shared, "/a")


def test_variants_come_to_rest_in_memory_with_two_stores_and_two_workers(shared, redis):  # noqa: F811
    near, far = redis.server(), redis.server()
    a = shared.gateway({"far": far})
    languages = ["en", "de", "fr"]
    for language in languages:
        a.ask("/vary", headers={"Accept-Language": language})
    wait_for("all are in the far store", lambda: len(far("KEYS", "vz:api:[ov]:*")) == 4)
    b = shared.make({
        "stores": {"near": {"url": near.url}, "far": {"url": far.url}},
        "caches": {"api": {"levels": [{"memory": "64MB"}, {"store": "near"}, {"store": "far"}], "ttl": "1h"}},
        "routes": [{"path": "/", "to": shared.server.url, "cache": "api", "compress": False}],
        "workers": 2,
    })
    in_step(b)

    def some():
        with b.client() as c1, b.client() as c2, b.client() as c3, b.client() as c4:
            for i in range(12):
                for c in (c1, c2, c3, c4):
                    language = languages[i % 3]
                    got = c.ask("/vary", headers={"Accept-Language": language})
                    assert got.body == shared.body("/vary", language)
            time.sleep(0.05)

    for _ in range(5):
        some()
    before = looked(b, "far", "hit")
    for _ in range(5):
        some()
    assert looked(b, "far", "hit") - before <= 1, "they are looked up in the far store again and again"
    assert shared.asked("/vary") == 3
    assert len(near("KEYS", "vz:api:[ov]:*")) == 4


def test_a_variant_in_a_cluster_is_watched_or_does_not_live_long(shared, redis):  # noqa: F811
    """Its name lies with another server than that of its key."""
    cluster = redis.cluster()
    a, b = (shared.gateway({"local": cluster}) for _ in range(2))

    def ttl(gw, want):
        got = gw.ask("/vary", headers={"Accept-Language": "en"})
        assert whence(got) == want
        return int(got.get("Cache-Status").split("ttl=")[1].split(";")[0]) if want != "origin" else 0

    ttl(a, "origin")
    assert ttl(a, "memory") <= 30  # nobody says so when its server is lost
    wait_for("both names are there", lambda: sum(
        len(s("KEYS", "vz:api:[ov]:*")) for s in cluster.masters()) == 2)
    ttl(b, "local")
    assert ttl(b, "memory") > 3000  # it came over the connection that watches it


# --------------------------------------------------------------------------------------------- lies


def xxh3(data):
    fn = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0").XXH3_64bits_withSeed
    fn.restype, fn.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return fn(bytes(data), len(data), 0)


def repacked(value, head=None, meta=None):
    """The same object with another head block or metadata and sums that are right."""
    meta_n, tags_n, key_n, second_n, head_n = struct.unpack_from("<5I", value, 60)
    at = [FIXED + tags_n * 8]
    for n in (meta_n, key_n, second_n, head_n):
        at.append(at[-1] + n)
    parts = [value[FIXED:at[0]]] + [value[i:j] for i, j in zip(at, at[1:])]
    parts[1] = meta(bytearray(parts[1])) if meta else parts[1]
    parts[4] = head(parts[4]) if head else parts[4]
    rest = b"".join(bytes(p) for p in parts)
    fixed = bytearray(value[:FIXED])
    struct.pack_into("<I", fixed, 76, len(parts[4]))
    struct.pack_into("<Q", fixed, 80, xxh3(rest))
    struct.pack_into("<Q", fixed, 88, xxh3(fixed[:88]))
    return bytes(fixed) + rest + value[at[-1]:]


def flooded(meta):
    return bytearray(b"\xff" * len(meta))


LIES = {
    "a second answer": {"head": lambda h: h + b"X: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"},
    "an end of the head": {"head": lambda h: h + b"\r\n"},
    "a bare line feed": {"head": lambda h: h.replace(b"\r\n", b"\nX: 1\r\n", 1)},
    "a length of its own": {"head": lambda h: h + b"Content-Length: 1\r\n"},
    "chunks": {"head": lambda h: h + b"Transfer-Encoding: chunked\r\n"},
    "no line end": {"head": lambda h: h[:-2]},
    "no name": {"head": lambda h: h + b": 1\r\n"},
    "nothing": {"head": lambda h: b""},
    "another status": {"head": lambda h: h.replace(b" 200 ", b" 304 ", 1)},
    "facts out of range": {"meta": flooded},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_poisoned_object_is_a_damaged_one(one, lie):  # noqa: F811
    shared, store, a, b = one  # noqa: F811
    fetch(a, "/a", "origin")
    wait_kept(store, "/a")
    name = name_of(store, "/a")
    value = store("GET", name)
    assert repacked(value) == value
    store("SET", name, repacked(value, **LIES[lie]), "KEEPTTL")
    with b.client() as c:
        for _ in range(2):
            got = c.ask("/a")
            assert got.status == 200 and got.body == shared.body("/a")
        c.quiet()  # nothing of a second answer
    assert looked(b, "local", "damaged") == 1


def test_a_value_that_comes_drop_by_drop_holds_up_nobody(shared, redis, between):  # noqa: F811
    store = redis.server()
    slow = between(store)
    a, b = shared.gateway({"local": store}), shared.gateway({"local": slow})
    fetch(a, "/a", "origin")
    wait_kept(store, "/a")
    slow.drip = 20
    began = time.monotonic()
    got = b.ask("/a")
    took = time.monotonic() - began
    slow.go()
    assert got.body == shared.body("/a") and whence(got) == "origin"
    assert took < 1.0, f"{took:.3f} s"


# ------------------------------------------------------------------------------------------- leaving


def test_a_client_that_leaves_while_a_lease_is_asked_for_does_not_keep_it(shared, redis, between):  # noqa: F811
    """Its answer comes when nobody is there any more: without giving back all gateways would wait for its end."""
    store = redis.server()
    slow = between(store)
    a = shared.gateway({"local": slow}, share={"lease": "60s"})
    fetch(a, "/warm", "origin")
    slow.delay = 0.03
    for i in range(10):
        with a.client() as c:
            c.send(f"GET /left{i} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            time.sleep(0.015)
            c.reset()
    wait_for("all are given back", lambda: store("KEYS", "vz:api:l:*") == [], 5)


def test_a_gateway_that_ends_while_a_large_answer_is_packed_ends_well(shared, redis):  # noqa: F811
    store = redis.server()
    body = b"".join(b"%d and %d\n" % (i, i * 7919 % 10007) for i in range(1_700_000))

    def late(_):
        time.sleep(0.3)
        return ok(body)

    shared.scripts["/big"] = late
    a = shared.gateway({"local": store}, {"local": {"max_object": "32MB"}})
    got = []
    reading = threading.Thread(target=lambda: got.append(a.ask("/big").body == body))
    reading.start()
    shared.server.wait_requests(1)
    a.stop()  # checks how it ended
    reading.join()
    assert got == [True]


# ------------------------------------------------------------------------------------------ reloads


def test_purges_that_wait_for_the_store_outlive_a_reload(one):  # noqa: F811
    """What was purged while the store was away lies in it still, and the new settings lead to the same store."""
    shared, store, a, b = one  # noqa: F811
    fetch(a, "/red/1", "origin")
    wait_kept(store, "/red/1")
    store("SAVE")
    shared.version = 2
    store.kill()
    purge(a, tag="red")
    config = dict(a.config)
    levels = [dict(level) for level in config["caches"]["api"]["levels"]]
    levels[1]["compress"] = "4KB"
    config["caches"] = {"api": {**config["caches"]["api"], "levels": levels}}
    assert a.reload(config).status == 200
    time.sleep(1.0)
    store.start()
    assert name_of(store, "/red/1"), "the store has lost it, so this test says nothing"
    for gw in (a, b):
        in_step(gw)
    time.sleep(0.3)
    for gw in (b, a):
        assert gw.ask("/red/1").body == shared.body("/red/1"), "what was purged came back out of the store"
