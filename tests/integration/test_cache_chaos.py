# tests/integration/test_cache_chaos.py - everything at once: whatever comes whole has to be right.
"""Forty clients ask a small cache for sixty resources of twelve kinds in every way there is, while an
operator purges, trims, warms and reloads. Every answer names the resource, version and variant its
bytes are of, and the bytes follow from the name, so a mixture of two answers shows at once.

$VIVACE_CHAOS_SECONDS and $VIVACE_CHAOS_SEED make it longer and different.
"""
import collections
import gzip
import hashlib
import os
import random
import threading
import time
import zlib

from harness import (
    MIB,
    SANITIZER,
    SCALE,
    Answer,
    Client,
    Closed,
    chunks,
    memory_kib,
    ok,
    request,
    wait_for,
)

SECONDS = float(os.environ.get("VIVACE_CHAOS_SECONDS", "15"))
SEED = os.environ.get("VIVACE_CHAOS_SEED", "20261121")
CLIENTS = 40
KEYS = 60
LANGUAGES = ("de", "en", "fr")
BUDGET = 4 * MIB

PLAIN, CHUNKED, VALIDATED, FAILING, CUT, SLOW, PRIVATE, VARYING, REVALIDATED, HUGE, TEXT, ENDLESS = range(12)
MAY_BE_CUT = (CUT,)
SIZES = {
    PLAIN: (0, 1, 700, 9000, 60000),
    CHUNKED: (0, 100, 20000, 70000, 300000),
    VALIDATED: (300, 4096, 40000, 65536, 200000),
    FAILING: (10, 1000, 5000, 20000, 40000),
    CUT: (1000, 9000, 70000, 150000, 300000),
    SLOW: (5, 500, 5000, 50000, 100000),
    PRIVATE: (0, 10, 1000, 10000, 100000),
    VARYING: (20, 2000, 9000, 30000, 66000),
    REVALIDATED: (50, 1000, 8192, 8193, 100000),
    HUGE: (MIB // 2, MIB - 20000, MIB + 1, 2 * MIB - 1, 2 * MIB),
    TEXT: (0, 900, 3000, 30000, 120000),
    ENDLESS: (10, 8000, 300000, MIB + MIB // 2, 2 * MIB),
}
LIFE = {
    PLAIN: "max-age=1",
    CHUNKED: "max-age=2",
    VALIDATED: "max-age=1",
    FAILING: "max-age=1, stale-if-error=30",
    CUT: "max-age=1",
    SLOW: "max-age=1",
    PRIVATE: "private, max-age=60",
    VARYING: "max-age=2",
    REVALIDATED: "max-age=1, stale-while-revalidate=30",
    HUGE: "max-age=3",
    TEXT: "max-age=3",
    ENDLESS: "max-age=1",
}


def kind_of(key):
    return key % 12


def body_of(name, size):
    """The bytes that belong to a name: compressible, and different in every block."""
    seed = hashlib.sha256(name.encode()).hexdigest().encode()
    block = seed * 16 + b"\n"  # 1025 bytes: no power of two
    return (block * (size // len(block) + 1))[:size]


def size_of(key):
    return SIZES[kind_of(key)][key // 12 % 5]


class Site:
    """The origin: names what it sends by key, version and whom it is for."""

    def __init__(self):
        self.versions = [0] * KEYS
        self.lock = threading.Lock()
        self.random = random.Random(f"{SEED} origin")
        self.fresh_until = [0.0] * KEYS

    def lucky(self, share):
        with self.lock:
            return self.random.random() < share

    def version(self, key):
        now = time.monotonic()
        with self.lock:
            if now > self.fresh_until[key]:  # a new version every now and then
                self.versions[key] += 1
                self.fresh_until[key] = now + self.random.uniform(0.5, 4)
            return self.versions[key]

    def changed(self, key):
        with self.lock:
            self.versions[key] += 1

    def name(self, key, req):
        kind = kind_of(key)
        whom = "all"
        if kind == PRIVATE:
            whom = req.get("X-User", "nobody")
        elif kind == VARYING:
            whom = req.get("Accept-Language", "en")
        return f"{key}-{self.version(key)}-{whom}"

    def __call__(self, conn):
        while True:
            req = conn.read_request()
            if req.target.startswith("/forever/"):
                self.forever(conn)
                return
            key = int(req.target.rsplit("/", 1)[1])
            if not self.answer(conn, req, key, kind_of(key)):
                return

    def forever(self, conn):
        conn.send(ok(b"", headers={"Cache-Control": "max-age=9", "Transfer-Encoding": "chunked"}, length=False))
        while not conn.origin.stopping.is_set():
            conn.send(chunks(b"x" * 50000)[:-5])
            conn.sleep(0.005)

    def answer(self, conn, req, key, kind):
        if req.method not in ("GET", "HEAD"):
            self.changed(key)
            conn.send(ok(b"", "204 No Content", length=False))
            return True
        if kind == FAILING and self.lucky(0.4):
            conn.send(ok(b"sorry", "503 Service Unavailable"))
            return True
        name = self.name(key, req)
        body = body_of(name, size_of(key))
        headers = [("X-What", name), ("ETag", f'"{name}"'), ("Cache-Control", LIFE[kind])]
        headers.append(("Surrogate-Key", f"kind-{kind} third-{key % 3}"))
        headers.append(("Content-Type", "text/plain" if kind == TEXT else "application/octet-stream"))
        if kind == VARYING:
            headers.append(("Vary", "Accept-Language"))
        if kind in (VALIDATED, REVALIDATED) and f'"{name}"' == req.get("If-None-Match"):
            conn.send(ok(b"", "304 Not Modified", headers, length=False))
            return True
        return self.send(conn, req, kind, headers, body)

    def send(self, conn, req, kind, headers, body):
        unknown = kind in (CHUNKED, ENDLESS) or (kind == CUT and self.lucky(0.5))
        if unknown:
            head = ok(b"", headers=headers + [("Transfer-Encoding", "chunked")], length=False)
        else:
            head = ok(body, headers=headers)[: -len(body) or None]
        if req.method == "HEAD":
            conn.send(head)
            return True
        if kind == CUT and self.lucky(0.5):
            half = body[: len(body) // 2]
            conn.send(head + (chunks(half)[:-5] if unknown else half))
            return False
        if kind in (SLOW, ENDLESS):
            conn.send(head)
            step = max(1, len(body) // 4)
            parts = [body[i : i + step] for i in range(0, len(body), step)]
            for part in parts:
                conn.sleep(0.02 if kind == SLOW else 0.005)
                conn.send(chunks(part)[:-5] if unknown else part)
            if unknown:
                conn.send(b"0\r\n\r\n")
            return True
        conn.send(head + (chunks(body) if unknown and body else b"0\r\n\r\n" if unknown else body))
        return True


class Wrong(AssertionError):
    pass


def decoded(answer, body):
    coding = answer.get("Content-Encoding")
    if coding is None:
        return body
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "deflate":
        return zlib.decompress(body)
    raise Wrong(f"a coding nobody asked for: {coding}")


def check_parts(answer, whole):
    """Every part of a multipart answer is where it says it is."""
    boundary = answer.get("Content-Type").split("boundary=")[1].encode()
    parts = answer.body.split(b"--" + boundary)
    assert parts[-1].strip() == b"--", parts[-1][:100]
    for part in parts[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        span = head.lower().split(b"content-range: bytes ")[1].split(b"\r\n")[0]
        first, last = span.split(b"/")[0].split(b"-")
        if data[:-2] != whole[int(first) : int(last) + 1]:
            raise Wrong(f"part {span} is of other bytes")


def check(key, user, language, method, answer):
    """Whatever the answer says it is, that it has to be, and for this client."""
    status = answer.status
    if status == 304 or status in (416, 502, 503, 504) or method not in ("GET", "HEAD"):
        return
    if status not in (200, 206):
        raise Wrong(f"/k/{key}: status {status}")
    name = answer.get("X-What", "")
    number, _, rest = name.partition("-")
    whom = rest.partition("-")[2]
    wanted = {PRIVATE: user, VARYING: language}.get(kind_of(key), "all")
    if number != str(key) or whom != wanted:
        raise Wrong(f"/k/{key} for {user}, {language} was answered with {name}")
    if answer.get("ETag", "").find(name) < 0:
        raise Wrong(f"/k/{key}: {name} with the tag {answer.get('ETag')}")
    whole = body_of(name, size_of(key))
    if method == "HEAD":
        length = answer.get("Content-Length")
        if length is not None and answer.get("Content-Encoding") is None and int(length) != len(whole):
            raise Wrong(f"HEAD /k/{key}: Content-Length {length} of {len(whole)}")
    elif status == 200:
        if decoded(answer, answer.body) != whole:
            raise Wrong(f"/k/{key}: {len(answer.body)} bytes that are not those of {name} ({len(whole)})")
    elif answer.has("Content-Range"):
        first, last = answer.get("Content-Range").split(" ")[1].split("/")[0].split("-")
        if answer.body != whole[int(first) : int(last) + 1]:
            raise Wrong(f"/k/{key}: range {first}-{last} is not of {name}")
    else:
        check_parts(answer, whole)


class Visitor(threading.Thread):
    """One client with a way of its own, until the time is over."""

    def __init__(self, port, number, until):
        super().__init__(daemon=True)
        self.random = random.Random(f"{SEED} client {number}")
        self.port = port
        self.until = until
        self.user = f"user{number}"
        self.client = None
        self.tags = {}
        self.wrong = []
        self.whole = self.cut = self.refused = self.left = 0
        self.strange = []  # cut, although nobody cut it

    def run(self):
        while time.monotonic() < self.until and not self.wrong:
            try:
                self.step()
            except Wrong as e:
                self.wrong.append(str(e))
            except Exception as e:  # noqa: BLE001 - shown by the test
                self.wrong.append(repr(e))
        self.drop()

    def drop(self, reset=False):
        if self.client is not None:
            (self.client.reset if reset else self.client.close)()
        self.client = None

    def headers(self, key):
        language = self.random.choice(LANGUAGES)
        pairs = [("X-User", self.user), ("Accept-Language", language)]
        if kind_of(key) == TEXT and self.random.random() < 0.7:
            pairs.append(("Accept-Encoding", "gzip"))
        return language, pairs

    def pick(self):
        """Few are asked for often."""
        return min(int(self.random.expovariate(1 / 12)), KEYS - 1) * 7 % KEYS

    def step(self):
        what = self.random.choices(
            ("get", "head", "range", "condition", "post", "purge", "abort", "slow", "pipeline", "pause"),
            (50, 8, 10, 8, 3, 2, 6, 2, 6, 5),
        )[0]
        key = self.pick()
        if what == "pause":
            time.sleep(self.random.uniform(0, 0.05))
        elif what == "abort":
            self.abort(key)
        elif what == "slow":
            self.slowly(key)
        elif what == "pipeline":
            self.ask([self.plain(self.pick()) for _ in range(self.random.randint(2, 8))])
        elif what == "head":
            self.ask([self.plain(key, "HEAD")])
        elif what == "post":
            self.ask([self.plain(key, "POST", body=b"x" * self.random.choice((0, 10, 3000)))])
        elif what == "purge":
            soft = [("X-Purge-Soft", "1")] if self.random.random() < 0.5 else []
            self.ask([self.plain(key, "PURGE", soft)])
        elif what == "range":
            self.ask([self.plain(key, "GET", self.range(key))])
        elif what == "condition":
            self.ask([self.plain(key, "GET", [("If-None-Match", self.tags.get(key, '"none"'))])])
        else:
            self.ask([self.plain(key)])

    def range(self, key):
        n = size_of(key)
        first = self.random.randint(0, n)
        last = first + self.random.choice((0, 10, 5000, n))
        value = self.random.choice((f"{first}-{last}", f"{first}-", "-7", f"0-0,{first}-{last},-3"))
        fields = [("Range", f"bytes={value}")]
        if self.random.random() < 0.3:
            fields.append(("If-Range", self.tags.get(key, '"none"')))
        return fields

    def plain(self, key, method="GET", extra=(), body=None):
        language, pairs = self.headers(key)
        return key, language, method, request(f"/k/{key}", method, pairs + list(extra), body)

    def connected(self, **kw):
        if self.client is None:
            self.client = Client(self.port, **kw)
            return True
        return False

    def ask(self, asked):
        """Sends all of them at once, then reads the answers in their order."""
        new = self.connected()
        at = 0
        try:
            self.client.send(b"".join(a[3] for a in asked))
            for at, (key, language, method, _) in enumerate(asked):
                answer = self.client.answer(method)
                check(key, self.user, language, method, answer)
                self.took(key, answer)
                if answer.get("Connection", "") == "close":
                    self.drop()
                    return
        except (Closed, ConnectionError):
            self.drop()
            self.cut += 1
            seen = [kind_of(a[0]) for a in asked[: at + 1]]
            if new and not any(k in MAY_BE_CUT for k in seen):
                self.strange.append((asked[at][0], asked[at][2], at))

    def took(self, key, answer):
        if answer.status >= 500:
            self.refused += 1
            return
        self.whole += 1
        if answer.has("ETag"):
            self.tags[key] = answer.get("ETag")

    def abort(self, key):
        """Leaves before the end, by reset or not, with or without having read something."""
        self.connected()
        try:
            self.client.send(self.plain(key)[3])
            if self.random.random() < 0.6:
                time.sleep(self.random.uniform(0, 0.03))
            if self.random.random() < 0.5:
                self.client.more()
        except (Closed, ConnectionError):
            pass
        self.left += 1
        self.drop(reset=self.random.random() < 0.7)

    def slowly(self, key):
        self.drop()
        self.connected(recv_buffer=4096)
        _, language, method, data = self.plain(key)
        try:
            self.client.send(data)
            answer = Answer(self.client.head())
            for _ in range(6):
                time.sleep(self.random.uniform(0, 0.05))
                if len(self.client.buf) > 30000:
                    break
                if self.client.quiet(0.001):
                    break
            if answer.has("Content-Length") and answer.status == 200:
                answer.body = self.client.take(int(answer.get("Content-Length")))
                check(key, self.user, language, method, answer)
            elif answer.has("Transfer-Encoding"):
                answer.body = self.client.chunked()
                check(key, self.user, language, method, answer)
            self.whole += 1
        except (Closed, ConnectionError):
            self.cut += 1
        self.drop()


class Operator(threading.Thread):
    """Does to the caches what can be done to them."""

    def __init__(self, gw, config, until):
        super().__init__(daemon=True)
        self.random = random.Random(f"{SEED} operator")
        self.gw = gw
        self.config = config
        self.until = until
        self.wrong = []
        self.done = 0

    def run(self):
        while time.monotonic() < self.until and not self.wrong:
            try:
                self.step()
                self.done += 1
            except Exception as e:  # noqa: BLE001 - shown by the test
                self.wrong.append(repr(e))
            time.sleep(self.random.uniform(0.01, 0.1))

    def url(self):
        return f"http://test/k/{self.random.randrange(KEYS)}"

    def step(self):
        soft = self.random.random() < 0.5
        what = self.random.choice(("url", "pattern", "tag", "all", "trim", "warm", "list", "get", "reload"))
        api = self.gw.api
        if what == "url":
            api("/cache/purge", "POST", {"url": self.url(), "soft": soft})
        elif what == "pattern":
            api("/cache/purge", "POST", {"pattern": f"/k/{self.random.randrange(6)}*", "soft": soft})
        elif what == "tag":
            api("/cache/purge", "POST", {"tag": f"kind-{self.random.randrange(12)}", "soft": soft})
        elif what == "all" and self.random.random() < 0.3:
            api("/cache/purge", "POST", {"all": True, "soft": soft})
        elif what == "trim":
            api("/cache/trim", "POST", {"cache": "c", "to": self.random.choice(("0B", "500KB", "2MB"))})
        elif what == "warm":
            api("/cache/warm", "POST", {"urls": [self.url() for _ in range(5)], "rate": "100/s"})
        elif what == "list":
            api("/cache/c/objects")
        elif what == "get":
            self.gw.admin("/api/v1/cache/c/object?url=" + self.url())
        elif what == "reload" and self.random.random() < 0.5:
            self.config["caches"]["c"]["levels"][0]["memory"] = self.random.choice(("3MB", "4MB"))
            answer = self.gw.reload(self.config)
            assert answer.status == 200, answer.body


def state(gw):
    return next(c for c in gw.api("/cache")["caches"] if c["name"] == "c")


def configuration(server):
    return {
        "services": {"app": {"servers": [server.url], "max_fails": 0}},
        "caches": {"c": {"levels": [{"memory": "4MB"}], "show": "X-Cache", "purge": ["127.0.0.1"]}},
        "routes": [{"path": "/", "to": "app", "cache": "c", "compress": {"types": ["text/*"], "min": 256}}],
        "drain": "1s",
        "guard": "0s",  # under a load like this a reload may well look like one for the worse
    }


def test_whatever_comes_whole_is_right_and_nothing_is_left_behind(gateway, origin):
    server = origin(Site())
    config = configuration(server)
    gw = gateway(config)
    pid, worker = gw.pid, gw.workers()
    idle = memory_kib((worker or [pid])[-1])
    until = time.monotonic() + SECONDS
    visitors = [Visitor(gw.port, i, until) for i in range(CLIENTS)]
    operator = Operator(gw, config, until)
    for thread in [*visitors, operator]:
        thread.start()
    for thread in [*visitors, operator]:
        thread.join(SECONDS + 60 * SCALE)
        assert not thread.is_alive(), "a client hangs"
    wrong = [w for t in [*visitors, operator] for w in t.wrong]
    whole, cut = sum(v.whole for v in visitors), sum(v.cut for v in visitors)
    strange = [s for v in visitors for s in v.strange]
    print(f"seed {SEED}: {whole} whole, {cut} cut ({len(strange)} of them by nobody), "
          f"{sum(v.refused for v in visitors)} refused, {sum(v.left for v in visitors)} left early, "
          f"{operator.done} orders, {len(server.requests)} at the origin")
    print("cut by nobody: kind, number in the pipeline:",
          sorted(collections.Counter((kind_of(k), size_of(k), m) for k, m, _ in strange).items()))
    assert not wrong, wrong[:10]
    assert not server.errors, server.errors[:3]
    assert whole > 20 * SECONDS
    assert len(strange) <= whole // 100, strange[:20]
    wait_for("nothing is in flight", lambda: gw.metric("vivace_http_requests_in_flight") == 0)
    assert gw.books_balance()[2] == 0
    wait_for("no fetch is left", lambda: state(gw)["fetches"] == 0)
    gw.api("/cache/trim", "POST", {"cache": "c", "to": "0B"})
    wait_for("the cache is empty", lambda: state(gw)["entries"] == 0)
    wait_for("its memory came back", lambda: state(gw)["bytes"] < BUDGET // 8)
    assert gw.pid == pid and gw.process.poll() is None and gw.workers() == worker
    if not SANITIZER:
        wait_for("memory is back", lambda: memory_kib((worker or [pid])[-1]) < idle + 24 * 1024, 30)


def test_a_stop_in_the_middle_of_everything_ends_in_time(gateway, origin):
    """Fetches run, clients read behind them or do not read at all: the process ends all the same.

    Its memory is looked at with the address sanitizer: nothing may be left.
    """
    server = origin(Site())
    gw = gateway(configuration(server))
    visitors = [Visitor(gw.port, i, time.monotonic() + 60 * SCALE) for i in range(20)]
    for v in visitors:
        v.start()
    stuck = []
    for i in range(30):  # some of them follow, and not all of it fits anywhere
        stuck.append(Client(gw.port, recv_buffer=4096))
        stuck[-1].send(request(f"/forever/{i % 12}"))
    time.sleep(1.5)
    assert gw.metric("vivace_http_requests_in_flight") >= 12
    began = time.monotonic()
    gw.stop()
    took = time.monotonic() - began
    for v in visitors:
        v.until = 0
    for v in visitors:
        v.join(10 * SCALE)
    for c in stuck:
        c.close()
    wrong = [w for v in visitors for w in v.wrong if "refused" not in w]
    print(f"the stop took {took:.1f} s")
    assert not wrong, wrong[:10]
    assert took < 6 * SCALE
