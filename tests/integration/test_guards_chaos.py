# tests/integration/test_guards_chaos.py - all guards at once while origins fail and settings change.
"""Origins flap between many ways to behave, clients ask, leave and pipeline, an operator reloads other
rules of breakers, retries, hedges, places and fallbacks every now and then and orders faults on purpose. Afterwards nothing is left:
the books balance, no place is taken, nobody waits, every breaker lets requests through again.

Every answer of an origin names what it answers, so that two mixed up would show.
$VIVACE_CHAOS_SECONDS and $VIVACE_CHAOS_SEED make it longer and different.
"""
import copy
import json
import os
import random
import threading
import time

from harness import SANITIZER, SCALE, Client, Closed, chunks, free_port, memory_kib, ok, request, wait_for

SECONDS = float(os.environ.get("VIVACE_CHAOS_SECONDS", "30"))
SEED = os.environ.get("VIVACE_CHAOS_SEED", "20261121")
CLIENTS = 24
WAYS = ("fine", "fine", "fine", "503", "500", "reset", "hang", "slow", "cut", "early", "garbled")
SMALL = {"queue": 20, "wait": "300ms"}
FAULTS = ({"fault": "abort"}, {"fault": "reset"}, {"fault": "drop"}, {"fault": "delay", "delay": "40ms"},
          {"fault": "slow", "bytes": 2000}, {"fault": "truncate", "bytes": 20})
MAY_SAY = (200, 429, 500, 502, 503, 504)


class Flapping:
    """An origin that behaves in one way for a while, then in another."""

    def __init__(self, number):
        self.random = random.Random(f"{SEED} origin {number}")
        self.calm = False
        self.until = 0.0
        self.now = "fine"

    def way(self):
        if self.calm:
            return "fine"
        if time.monotonic() > self.until:
            self.until = time.monotonic() + self.random.uniform(0.1, 1.5)
            self.now = self.random.choice(WAYS)
        return self.now

    def __call__(self, conn):
        while True:
            req = conn.read_head()
            way = self.way()
            if way == "early":  # an answer that does not wait for the body
                conn.send(ok(b"no", "503 Early"))
                return
            if req.get("Expect", "").lower() == "100-continue":
                conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            req.body = conn.take(int(req.get("Content-Length", "0")))
            if way == "hang":
                conn.sleep(0.6)
                return
            if way == "reset":
                conn.reset()
                return
            if way == "garbled":
                conn.send(b"HTTP/1.1 two hundred\r\n\r\n")
                return
            if way == "slow":
                conn.sleep(0.06)
            if not self.answer(conn, req, way):
                return

    def answer(self, conn, req, way):
        head_only = req.method == "HEAD"
        if way in ("503", "500"):
            body = b"" if head_only else b"no"
            conn.send(ok(body, f"{way} Said", {"Content-Length": "2"}, length=False))
            return True
        body = json.dumps({"target": req.target, "method": req.method, "body": len(req.body)}).encode()
        headers = {"Cache-Control": "max-age=1" if req.target.startswith("/cached/") else "no-store",
                   "Content-Type": "application/json"}
        if head_only:
            conn.send(ok(b"", headers={**headers, "Content-Length": str(len(body))}, length=False))
        elif way == "cut":
            conn.send(ok(body, headers=headers)[:-5])
            return False
        elif req.target.endswith("7"):
            conn.send(ok(b"", headers={**headers, "Transfer-Encoding": "chunked"}, length=False) + chunks(body))
        else:
            conn.send(ok(body, headers=headers))
        return True


class Visitor(threading.Thread):
    def __init__(self, port, number, until):
        super().__init__(daemon=True)
        self.random = random.Random(f"{SEED} client {number}")
        self.port = port
        self.until = until
        self.client = None
        self.wrong = []
        self.seen = {}
        self.cut = self.left = 0

    def run(self):
        while time.monotonic() < self.until and not self.wrong:
            try:
                self.step()
            except (Closed, ConnectionError):
                self.cut += 1
                self.drop()
            except Exception as e:  # noqa: BLE001 - shown by the test
                self.wrong.append(repr(e))
        self.drop()

    def drop(self, reset=False):
        if self.client is not None:
            (self.client.reset if reset else self.client.close)()
        self.client = None

    def one(self):
        """method, target, bytes of a request."""
        kind = self.random.choice(("plain", "plain", "cached", "spare", "literal", "parts", "gone", "short"))
        target = f"/{kind}/{self.random.randrange(30)}"
        method = self.random.choice(("GET",) * 6 + ("HEAD", "POST", "PUT")) if kind != "parts" else "GET"
        body, headers = None, []
        if method in ("POST", "PUT"):
            body = b"x" * self.random.choice((0, 10, 3000, 70000))
            if self.random.random() < 0.2:
                headers.append(("Expect", "100-continue"))
        if self.random.random() < 0.15:
            headers.append(("X-Time", str(self.random.choice((0, 1, 20, 200, 99999999999)))))
        return method, target, request(target, method, headers, body), len(body or b"")

    def step(self):
        if self.client is None:
            self.client = Client(self.port)
        asked = [self.one() for _ in range(self.random.choice((1, 1, 1, 2, 5)))]
        self.client.send(b"".join(a[2] for a in asked))
        if self.random.random() < 0.15:  # leaves, before or after something has come
            time.sleep(self.random.choice((0, 0, 0.005, 0.04)))
            self.left += 1
            self.drop(reset=self.random.random() < 0.7)
            return
        for method, target, _, size in asked:
            answer = self.client.answer(method)
            self.check(method, target, size, answer)
            if answer.status == 503:  # else refusals would be all that there is time for
                time.sleep(0.01)
            if answer.get("Connection", "") == "close":
                self.drop()
                return

    def check(self, method, target, size, answer):
        key = (target.split("/")[1], answer.status)
        self.seen[key] = self.seen.get(key, 0) + 1
        if answer.status not in MAY_SAY:
            self.wrong.append(f"{method} {target}: {answer.line}")
        if answer.status != 200 or method == "HEAD" or answer.body == b"literal":
            return
        said = json.loads(answer.body)
        if target.startswith("/parts/"):
            n = target.rsplit("/", 1)[1]
            wanted = [{"target": f"/{part}/{n}", "method": "GET", "body": 0} for part in "ab"]
            if said["a"] != wanted[0] or said["b"] not in (wanted[1], None, {"stand": "in"}):
                self.wrong.append(f"{target}: {said}")
        elif said != {"target": target, "method": method, "body": size}:
            self.wrong.append(f"{method} {target} with {size} bytes: {said}")


def configuration(urls, spare):
    app = {
        "servers": urls, "breaker": "b", "first_byte_timeout": "150ms", "connect_timeout": "200ms",
        "retries": {"max": 2, "when": ["connect", "broken", "timeout", "500", "503"], "backoff": "5ms",
                    "max_backoff": "20ms", "budget": "60%", "floor": 20},
        "hedge": {"min": "3ms", "max": "20ms"},
        "concurrency": {"limit": 6, **SMALL},
        "fail_timeout": "200ms",
    }
    return {
        "workers": 2,
        "services": {"app": app, "spare": {"servers": [spare], "concurrency": {"limit": 2, **SMALL}},
                     "gone": {"servers": urls[:2], "breaker": "b", "concurrency": {"limit": 1, **SMALL}}},
        "breakers": {"b": {"failures": 6, "recover": "100ms", "probes": 2}, "own": {"failures": 2, "recover": "50ms"}},
        "caches": {"c": {"levels": [{"memory": "4MB"}]}},
        "routes": [
            {"path": "/cached/", "to": "app", "cache": "c", "fallback": {"stale": True}},
            {"path": "/spare/", "to": "app", "fallback": {"to": "spare"}, "breaker": "own"},
            {"path": "/literal/", "to": "app", "fallback": {"status": 200, "body": "literal", "type": "text/plain"}},
            {"path": "/parts/{n}", "compose": {"timeout": "400ms", "strategy": "fail_fast", "parts": {
                "a": {"to": "app", "path": "/a/{n}", "priority": "critical"},
                "b": {"to": "spare", "path": "/b/{n}", "priority": "optional", "fallback": {"json": {"stand": "in"}}},
            }}},
            {"path": "/gone/", "to": "gone"},
            {"path": "/short/", "to": "app", "timeout": "40ms", "priority": "low"},
            {"path": "/", "to": "app"},
        ],
        "deadline_header": "X-Time",
        "chaos": {"enabled": True, "max_share": "100%", "max_time": "1m", "stop": "100%"},
        "drain": "1s",
        "guard": "0s",
    }


def changed(config, rng):
    """The same with other rules."""
    c = copy.deepcopy(config)
    app = c["services"]["app"]
    app["concurrency"] = rng.choice((
        {"limit": 1, **SMALL}, {"limit": 3, "queue": 2, "wait": "50ms"}, {"limit": 6, **SMALL}, {"limit": 50, **SMALL},
        {"limit": "auto", "initial": 5, **SMALL}))
    if rng.random() < 0.25:
        del app["concurrency"]
    if rng.random() < 0.3:
        del app["hedge"]
    elif rng.random() < 0.5:
        app["hedge"] = {"min": "1ms", "max": "5ms", "after": "80%"}
    app["retries"] = dict(app["retries"], max=rng.choice((0, 1, 4)), budget=rng.choice(("0%", "20%", "100%")))
    c["breakers"]["b"] = rng.choice(({"failures": 1, "recover": "20ms"}, {"failures": 20, "recover": "200ms", "probes": 3},
                                     {"failures": 0, "accept": "30%", "window": "1s", "recover": "100ms"}))
    if rng.random() < 0.4:  # somebody waits for this one
        del c["services"]["gone"]
        c["routes"] = [r for r in c["routes"] if r["path"] != "/gone/"]
    if rng.random() < 0.3:
        c["services"]["app"]["servers"] = app["servers"][:2]
    return c


class Operator(threading.Thread):
    def __init__(self, gw, config, until):
        super().__init__(daemon=True)
        self.random = random.Random(f"{SEED} operator")
        self.gw, self.config, self.until = gw, config, until
        self.wrong = []
        self.reloads = 0

    def run(self):
        while time.monotonic() < self.until and not self.wrong:
            try:
                self.step()
            except Exception as e:  # noqa: BLE001 - shown by the test
                self.wrong.append(repr(e))
            time.sleep(self.random.uniform(0.3, 1.0))

    def step(self):
        self.gw.api("/chaos", "DELETE")
        if self.random.random() < 0.4:
            fault = self.random.choice(FAULTS)
            self.gw.api("/chaos", "POST", {**fault, "share": "30%", "for": "2s"}, 201)
        config = changed(self.config, self.random)
        if self.random.random() < 0.2:  # refused: nothing of it may stick
            config["routes"][-1] = {"path": "/", "to": "nobody"}
            assert self.gw.reload(config).status != 200
        else:
            answer = self.gw.reload(config)
            assert answer.status == 200, answer.body
        self.reloads += 1


def worker_memory(gw):
    return memory_kib((gw.workers() or [gw.pid])[-1])


def test_nothing_is_left_behind(gateway, origin):
    flapping = [Flapping(i) for i in range(4)]
    servers = [origin(f) for f in flapping]
    spare = origin(Flapping("spare"))
    urls = [s.url for s in servers] + [f"http://127.0.0.1:{free_port()}"]
    config = configuration(urls, spare.url)
    gw = gateway(config)
    pid, workers = gw.pid, gw.workers()
    began = time.monotonic()
    until = began + SECONDS
    visitors = [Visitor(gw.port, i, until) for i in range(CLIENTS)]
    operator = Operator(gw, config, until)
    for thread in [*visitors, operator]:
        thread.start()
    time.sleep(SECONDS / 2)
    halfway = worker_memory(gw)
    for thread in [*visitors, operator]:
        thread.join(SECONDS + 60 * SCALE)
        assert not thread.is_alive(), "somebody hangs"
    seen = {}
    for v in visitors:
        for key, n in v.seen.items():
            seen[key] = seen.get(key, 0) + n
    m = gw.metrics()
    print(f"seed {SEED}: {sum(seen.values())} answers, {sum(v.cut for v in visitors)} cut, "
          f"{sum(v.left for v in visitors)} left, {operator.reloads} reloads, retries "
          f"{m.sum('vivace_upstream_retries_total'):.0f}, hedges {m.sum('vivace_upstream_hedges_total', result='sent'):.0f}, "
          f"breakers refused {m.sum('vivace_breaker_refused_total'):.0f}\n{sorted(seen.items())}")
    wrong = [w for t in [*visitors, operator] for w in t.wrong]
    assert not wrong, wrong[:10]
    for server in [*servers, spare]:
        assert not server.errors, server.errors[:3]
    assert sum(seen.values()) > 10 * SECONDS
    for f in flapping + [spare.handler]:
        f.calm = True
    gw.api("/chaos", "DELETE")
    assert gw.reload(config).status == 200
    wait_for("nothing is in flight", lambda: gw.metric("vivace_http_requests_in_flight") == 0)
    assert gw.books_balance()[2] == 0
    wait_for("every place is given back", lambda: gw.metric("vivace_service_places", kind="used") == 0)
    assert gw.metric("vivace_service_places", kind="waiting") == 0
    m = gw.metrics()
    sent, won, lost = (m.sum("vivace_upstream_hedges_total", result=r) for r in ("sent", "won", "lost"))
    assert sent == won + lost and won > 0 and lost > 0, (sent, won, lost)

    def recovered():
        with gw.client() as c:
            fine = all(c.ask(f"/{kind}/1").status == 200 for kind in ("plain", "spare", "gone", "cached", "parts"))
        return fine and gw.metric("vivace_breaker_state") == 0

    wait_for("all breakers let requests through", recovered, 20)
    names = [tuple(sorted(labels.items())) for labels in gw.metrics().labels("vivace_service_places")]
    assert len(names) == len(set(names)), "one series twice"
    assert gw.pid == pid and gw.process.poll() is None and gw.workers() == workers
    if not SANITIZER:
        assert worker_memory(gw) < halfway + 8 * 1024
