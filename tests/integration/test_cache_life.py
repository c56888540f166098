# tests/integration/test_cache_life.py - what is held through reloads, upgrades, stops and old clients.
import os
import random
import signal
import threading
import time

import pytest

import harness
from crowd import Gate, in_flight, many, results, settled
from harness import MIB, SCALE, chunks, ok, request, wait_for

FRESH = {"Cache-Control": "max-age=1000"}


def config(server, memory="16MB", **more):
    return {
        "services": {"app": {"servers": [server.url], "max_fails": 0}},
        "caches": {"c": {"levels": [{"memory": memory}], "show": "X-Cache"}},
        "routes": [{"path": "/", "to": "app", "cache": "c", "compress": False}],
        **more,
    }


@pytest.fixture
def site(gateway, origin):
    def make(handler=None, answer=None, **kw):
        server = origin(handler, answer=answer or (lambda req: ok(req.target.encode(), headers=FRESH)))
        return gateway(config(server, **kw)), server

    return make


def word(gw, target, **kw):
    return gw.ask(target, **kw).get("X-Cache")


def trickle(gates, parts):
    """Waits at a gate before each part; the head goes with the first. Unknown length."""

    def handler(conn):
        while True:
            conn.read_request()
            for i, part in enumerate(parts):
                gates[i].wait()
                if i == 0:
                    conn.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=1000\r\nTransfer-Encoding: chunked\r\n\r\n")
                conn.send(chunks(part)[:-5])
            conn.send(b"0\r\n\r\n")

    return handler


# ------------------------------------------------------------------------------- workers and clients


def test_workers_share_one_memory(site):
    """Ten connections for each URL, spread over two workers by the kernel: the server is asked once for each."""
    gw, server = site()
    for i in range(20):
        with many(gw, 10, f"/w/{i}") as crowd:
            crowd.send().read()
            assert crowd.bodies() == {f"/w/{i}".encode()}
    assert sorted(r.target for r in server.requests) == sorted(f"/w/{i}" for i in range(20))
    settled(gw)
    counted = results(gw)
    assert counted["miss"] == 20 and sum(counted.values()) == 200


def test_sixteen_hits_in_one_packet_are_answered_in_their_order(site):
    gw, server = site()
    targets = [f"/p/{i % 4}?{'x' * (i * 200 % 3000)}" for i in range(16)]
    for t in targets:
        gw.ask(t)
    asked = len(server.requests)
    with gw.client() as c:
        for _ in range(20):
            c.send(b"".join(request(t) for t in targets))
            answers = [c.answer() for _ in targets]
            assert [a.body.decode() for a in answers] == targets
            assert {a.get("X-Cache") for a in answers} == {"HIT"}
    assert len(server.requests) == asked
    settled(gw)


def test_hits_misses_and_errors_in_one_packet_keep_their_order(site):
    def answer(req):
        if req.target.startswith("/slow"):
            time.sleep(0.1)
        if req.target.startswith("/no"):
            return ok(req.target.encode(), "404 Not Found", {"Cache-Control": "no-store"})
        return ok(req.target.encode() * (30000 if "big" in req.target else 1), headers=FRESH)

    gw, server = site(answer=answer)
    targets = ["/a", "/slow1", "/a", "/no", "/big", "/slow2", "/big", "/a", "/no", "/slow1"]
    with gw.client() as c:
        for _ in range(3):
            c.send(b"".join(request(t) for t in targets))
            for t in targets:
                assert c.answer().body == t.encode() * (30000 if "big" in t else 1)
    settled(gw)


def test_old_clients_get_hits_as_they_can_read_them(site):
    """HTTP/1.0: closed behind the answer unless asked otherwise; an answer without a length ends so."""
    gates = [Gate(), Gate()]
    slow = trickle(gates, [b"one", b"two"])

    def handler(conn):
        while True:
            req = conn.read_request()
            if req.target == "/slow":
                conn.buf = req.raw_head + conn.buf
                return slow(conn)
            conn.send(ok(b"body", headers=FRESH))

    gw, server = site(handler)
    assert word(gw, "/a") == "MISS"
    with gw.client() as c:
        answer = c.ask("/a", version="HTTP/1.0")
        assert (answer.body, answer.get("X-Cache")) == (b"body", "HIT") and c.closes()
    with gw.client() as c:
        for _ in range(2):
            answer = c.ask("/a", version="HTTP/1.0", headers={"Connection": "keep-alive"})
            assert (answer.body, answer.get("Connection", "").lower()) == (b"body", "keep-alive")
    with gw.client() as new, gw.client() as old:
        new.send(request("/slow"))
        gates[0].reached()
        old.send(request("/slow", version="HTTP/1.0"))
        in_flight(gw, 2)
        gates[0].open()
        gates[1].open()
        answer = old.answer()
        assert answer.body == b"onetwo" and not answer.has("Transfer-Encoding")
        assert new.answer().body == b"onetwo"
    with gw.client() as old:
        answer = old.ask("/slow", version="HTTP/1.0")
        assert (answer.body, answer.get("X-Cache"), answer.get("Content-Length")) == (b"onetwo", "HIT", "6")
    settled(gw)


# ------------------------------------------------------------------------------- reload and upgrade


@pytest.mark.slow
def test_hits_go_on_through_reloads(gateway, origin, load):
    """Ten reloads under load: the same cache by its name, so that the server is never asked again."""
    server = origin(answer=lambda req: ok(b"v" * 100, headers=FRESH))
    gw = gateway({**config(server), "guard": "1s"})
    for i in range(3):
        word(gw, f"/h/{i}")
    runs = [load(gw.port, connections=4, rate=150, path=f"/h/{i}") for i in range(3)]
    for n in range(10):
        changed = config(server, memory=f"{8 + n}MB", guard="1s")
        changed["routes"].insert(0, {"path": f"/only{n}", "respond": {"body": str(n)}})
        assert gw.reload(changed).status == 200
        assert gw.metric("vivace_cache_bytes", cache="c", kind="budget") == (8 + n) * MIB
        time.sleep(0.15)
    for run in runs:
        report = run.finish()
        assert set(report["statuses"]) == {"200"} and report["lost"] == 0, report
    assert len(server.requests) == 3
    gw.books_balance()


def test_a_smaller_entry_limit_holds_after_a_reload(site):
    gw, server = site()
    for i in range(50):
        gw.ask(f"/e/{i}")
    gw.wait_metric("vivace_cache_entries", 50)
    changed = config(server)
    changed["caches"]["c"]["levels"][0]["entries"] = 10
    assert gw.reload(changed).status == 200
    wait_for("ten are left", lambda: 1 <= gw.metric("vivace_cache_entries") <= 10)
    settled(gw)


def test_a_cache_that_is_taken_away_frees_its_memory(site):
    """Without its name in the file it goes, content and all; what comes back later is empty."""
    body = b"x" * (2 * MIB)
    gw, server = site(answer=lambda req: ok(body, headers=FRESH), memory="64MB")
    for i in range(20):
        gw.ask(f"/b/{i}")
    pid = gw.worker()
    assert gw.metric("vivace_cache_bytes", kind="used") > 40 * MIB
    held = harness.memory_kib(pid)
    without = config(server)
    del without["caches"], without["routes"][0]["cache"]
    assert gw.reload(without).status == 200
    assert word(gw, "/b/1") is None
    if not harness.SANITIZER:
        wait_for("the memory is back", lambda: harness.memory_kib(pid) < held - 35 * 1024)
    wait_for("it has gone", lambda: "c" not in [c["name"] for c in gw.api("/cache")["caches"]])
    assert gw.reload(config(server, memory="64MB")).status == 200
    assert word(gw, "/b/1") == "MISS" and word(gw, "/b/1") == "HIT"
    gw.books_balance()


def test_a_reload_during_a_fetch_changes_nothing_for_those_who_wait(site):
    """Who comes after the reload reads behind the same fetch."""
    gates = [Gate(), Gate(), Gate()]
    gw, server = site(trickle(gates, [b"a" * 100, b"b" * 100, b"c"]))
    with many(gw, 20, "/r") as crowd:
        early, late = crowd.members[:10], crowd.members[10:]
        crowd.send(early)
        gates[0].reached()
        assert gw.reload(config(server, memory="8MB")).status == 200
        gates[0].open()
        crowd.read(early, until=lambda m: m.so_far >= 100)
        assert gw.reload(config(server, memory="4MB")).status == 200
        crowd.send(late)
        crowd.read(late, until=lambda m: m.so_far >= 100)
        gates[1].open()
        gates[2].open()
        crowd.read()
        assert crowd.bodies() == {b"a" * 100 + b"b" * 100 + b"c"}
    assert len(server.requests) == 1
    assert word(gw, "/r") == "HIT"
    settled(gw)


def test_taking_a_cache_away_during_a_fetch_cuts_nobody(site):
    gates = [Gate(), Gate()]
    gw, server = site(trickle(gates, [b"a" * 100, b"b" * 100]))
    with many(gw, 10, "/r") as crowd:
        crowd.send()
        gates[0].reached()
        gates[0].open()
        crowd.read(until=lambda m: m.so_far >= 100)
        without = config(server)
        del without["caches"], without["routes"][0]["cache"]
        assert gw.reload(without).status == 200
        gates[1].open()
        crowd.read()
        assert crowd.bodies() == {b"a" * 100 + b"b" * 100}
    gw.books_balance()


@pytest.mark.slow
def test_an_upgrade_loses_no_request_and_asks_once_for_all(gateway, origin, load):
    server = origin(answer=lambda req: ok(b"v" * 100, headers=FRESH))
    gw = gateway({**config(server), "guard": "1s"})
    word(gw, "/u")
    kept = load(gw.port, connections=4, rate=200, path="/u")
    runs = [kept, load(gw.port, connections=2, rate=50, path="/u", new=True)]
    time.sleep(0.3)
    before = set(gw.workers())
    gw.process.send_signal(signal.SIGUSR2)
    wait_for("a new worker", lambda: set(gw.workers()) - before)
    wait_for("the old one is gone", lambda: not set(gw.workers()) & before)
    gw.wait_ready()
    time.sleep(0.3)
    for run in runs:
        report = run.finish()
        assert set(report["statuses"]) == {"200"} and report["lost"] == 0, report
    wait_for("it is held again", lambda: word(gw, "/u") == "HIT")
    assert len(server.requests) <= 4  # the new process begins empty, and asks once for all its clients
    gw.books_balance()


@pytest.mark.slow
def test_what_was_purged_after_an_upgrade_stays_purged_over_a_crash(gateway, origin, tmp_path):
    """No snapshot of the process before lies about when the next one starts again."""
    server = origin(answer=lambda req: ok(b"v", headers=FRESH))
    whole = config(server)
    whole["caches"]["c"]["snapshot"] = str(tmp_path / "c.snapshot")
    gw = gateway(whole)
    assert [word(gw, "/u"), word(gw, "/u")] == ["MISS", "HIT"]
    before = set(gw.workers())
    gw.process.send_signal(signal.SIGUSR2)
    wait_for("the old worker is gone", lambda: gw.workers() and not set(gw.workers()) & before)
    gw.wait_ready()
    gw.ask("/u")
    gw.api("/cache/purge", "POST", {"all": True})
    victim = gw.worker()
    os.kill(victim, signal.SIGKILL)
    wait_for("another worker", lambda: [w for w in gw.workers() if w != victim])
    gw.wait_ready()
    assert word(gw, "/u") == "MISS"


# ------------------------------------------------------------------------------- stop


def test_a_stop_waits_for_those_who_read_behind_a_fetch(site):
    gates = [Gate(), Gate()]
    gw, server = site(trickle(gates, [b"one", b"two"]), drain="30s")
    with many(gw, 20, "/s") as crowd:
        crowd.send()
        gates[0].reached()
        in_flight(gw, 20)
        gates[0].open()
        crowd.read(until=lambda m: m.so_far >= 3)
        gw.process.send_signal(signal.SIGTERM)
        wait_for("it drains", lambda: "draining" in gw.log())
        gates[1].open()
        crowd.read()
        assert crowd.bodies() == {b"onetwo"}
    assert gw.process.wait(10 * SCALE) == 0


def test_a_stop_does_not_wait_for_fetches_without_clients(site):
    """The server hangs in a body whose readers have all left: nobody is owed anything."""
    gates = [Gate(), Gate()]
    gw, server = site(trickle(gates, [b"one", b"two"]), drain="30s")
    with many(gw, 3, "/s") as crowd:
        crowd.send()
        gates[0].reached()
        gates[0].open()
        crowd.read(until=lambda m: m.so_far >= 3)
        for m in crowd.members:
            m.client.reset()
    wait_for("they have left", lambda: gw.metric("vivace_http_requests_in_flight") == 0)
    began = time.monotonic()
    gw.process.send_signal(signal.SIGTERM)
    assert gw.process.wait(25 * SCALE) == 0
    assert time.monotonic() - began < 10 * SCALE
    gates[1].open()


def test_a_stop_at_the_end_of_its_drain_ends_those_who_still_wait(site):
    """The server never answers: after the drain time leaders and followers are ended, cleanly."""
    gate = Gate()
    gw, server = site(trickle([gate], [b"never"]), drain="1s")
    with many(gw, 20, "/s") as crowd:
        crowd.send()
        gate.reached()
        in_flight(gw, 20)
        gw.process.send_signal(signal.SIGTERM)
        assert gw.process.wait(10 * SCALE) == 0
        crowd.read()
        assert all(m.ended or m.status >= 500 for m in crowd.members)
    gate.open()


# ------------------------------------------------------------------------------- everything at once


@pytest.mark.slow
def test_a_busy_mixture_adds_up(site):
    """Hits, misses, purges, reloads, leavers and a server that fails now and then: the books balance."""
    flag = {"bad": False}

    def answer(req):
        n = int(req.target.rsplit("/", 1)[1])
        if flag["bad"] and n % 5 == 0:
            return ok(b"bad", "503 Busy")
        if n % 7 == 0:
            return ok(req.target.encode(), headers={"Cache-Control": "no-store"})
        time.sleep(0.01 * (n % 3))
        return ok(req.target.encode() * (1 + n % 4 * 5000), headers={"Cache-Control": f"max-age={n % 4}"})

    gw, server = site(answer=answer)
    end = time.monotonic() + 6
    problems = []

    def client(seed):
        rng = random.Random(seed)
        while time.monotonic() < end:
            try:
                with gw.client() as c:
                    for _ in range(20):
                        n = int(rng.paretovariate(0.7)) % 60
                        c.send(request(f"/m/{n}"))
                        if rng.random() < 0.03:
                            c.reset()
                            break
                        got = c.answer()
                        whole = f"/m/{n}".encode() * (1 + n % 4 * 5000 if n % 7 else 1)
                        if not (got.status >= 500 or (got.status == 200 and got.body == whole)):
                            problems.append((n, got.status, got.body[:50]))
            except (harness.Closed, OSError) as e:
                problems.append(repr(e))

    threads = [threading.Thread(target=client, args=(i,)) for i in range(12)]
    for t in threads:
        t.start()
    turn = 0
    while time.monotonic() < end:
        turn += 1
        flag["bad"] = turn % 2 == 0
        gw.api("/cache/purge", "POST", [{"pattern": "/m/1*"}, {"all": True, "soft": True}][turn % 2])
        if turn % 4 == 0:
            assert gw.reload(config(server, memory=f"{4 + turn % 3}MB")).status == 200
        time.sleep(0.1)
    for t in threads:
        t.join()
    assert not problems, problems[:10]
    settled(gw)
    counted = results(gw)
    assert counted["hit"] > 100 and counted["miss"] > 20
    wait_for("no fetch is left", lambda: gw.metric("vivace_http_requests_in_flight") == 0)
