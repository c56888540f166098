# tests/integration/test_cache_rules.py - the conformance table of the HTTP cache, against the running gateway.
"""Every row of tests/data/cache_rules_*.yaml: requests, what the origin would answer, what must come.

A case:    name, section (what decides it), route (one of ROUTES, default `plain`: no times of our own),
           steps; `each: [a, b]` makes one case of each value, "{each}" stands for it in any text;
           `deviation`: why we differ from a reading of the section, on purpose.
A step:    the request: method, path (behind the case's own), with (fields), payload, version, host,
           wait (seconds before it); `origin`: what the origin would answer from now on (forms in
           cache_origin.py; the last one stays).
           What must come: from (see FROM), status, body (text, or N: the body of the origin's Nth
           answer), unlike (N: not that one), has, lacks (names), equals (name: value), matches (name: regular expression),
           sent (what the origin got; null: absent), fwd (of Cache-Status), word (of X-Cache-Status).
           `together: N` sends N at once; asked: how many requests the origin got;
           `soon: true` repeats the request until it comes so; `cut: true`: the answer must not look whole.
From:      cache      the origin was not asked            origin    asked, without a condition of ours
           validated  asked, said 304, stored body sent   replaced  asked with a condition, new body
           behind     stored body sent, origin asked      stale     asked in vain, stored body sent
           gateway    our own answer, origin not asked    any       not judged
Every answer must carry Cache-Status that says the same (RFC 9211).
"""

import concurrent.futures
import glob
import os
import re
import time
import zlib

import pytest
import yaml

import harness
from cache_origin import CacheOrigin, Plan, fields_of, fill_in
from harness import ROOT, wait_for

FROM = ("cache", "origin", "validated", "replaced", "behind", "stale", "gateway", "any")
STEP_KEYS = {
    *("method", "path", "with", "payload", "version", "host", "wait", "origin", "from", "status", "body"),
    *("has", "lacks", "equals", "matches", "sent", "fwd", "word", "together", "asked", "soon", "unlike", "cut"),
}
CASE_KEYS = {"name", "section", "route", "steps", "deviation"}
WORD = "X-Cache-Status"
LEVEL = [{"memory": "16MB"}]

# What each route says about caching; `plain` leaves everything to the origin.
ROUTES = {
    "plain": {"cache": "plain"},
    "ttl": {"cache": "ttl"},
    "override": {"cache": "override"},
    "stale": {"cache": "stale"},
    "closed": {"cache": "closed"},
    "query": {"cache": "query"},
    "cookies": {"cache": "cookies"},
    "post": {"cache": "post"},
    "short": {"cache": "short"},
    "hasty": {"cache": "plain", "timeouts": {"first_byte": "800ms"}},
    "purge": {"cache": "purge"},
}
CACHES = {
    "plain": {"levels": LEVEL, "show": WORD},
    "ttl": {"levels": LEVEL, "show": WORD, "ttl": {"default": "1h", 404: "1m", "5xx": "10s"}},
    "override": {"levels": LEVEL, "show": WORD, "ttl": {"200": "1h"}, "override": True},
    "stale": {"levels": LEVEL, "show": WORD, "stale": {"while_revalidate": "30s", "if_error": "10m"}},
    "closed": {"levels": LEVEL, "show": WORD, "client_directives": False},
    "query": {"levels": LEVEL, "show": WORD, "sort_query": True, "drop_query": ["utm_*"]},
    "cookies": {"levels": LEVEL, "show": WORD, "set_cookie": True},
    "post": {"levels": LEVEL, "show": WORD, "methods": ["GET", "HEAD", "POST"]},
    "purge": {"levels": LEVEL, "show": WORD, "purge": ["127.0.0.0/8"]},
}


def expanded(row):
    """The cases of a row: one, or one for each value of `each`."""
    if "each" not in row:
        yield row
        return
    for value in row["each"]:

        def put(x):
            if isinstance(x, str):
                return value if x == "{each}" else x.replace("{each}", str(value))
            if isinstance(x, list):
                return [put(v) for v in x]
            return {put(k): put(v) for k, v in x.items()} if isinstance(x, dict) else x

        case = {k: put(v) for k, v in row.items() if k != "each"}
        text = re.sub(r"[^A-Za-z0-9]+", "-", str(value)).strip("-") or "none"
        yield {**case, "name": f"{row['name']}-{row['each'].index(value)}-{text[:24]}"}


def read_rows():
    rows = []
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "data", "cache_rules_*.yaml"))):
        with open(path) as f:
            rows += yaml.safe_load(f)
    return rows


ROWS = read_rows()
CASES = [case for row in ROWS for case in expanded(row)]


def test_the_table_is_whole():
    """At least 170 rules, each named once, with the section that decides it and only known keys."""
    assert len(ROWS) >= 170
    names = [c["name"] for c in CASES]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    for case in CASES:
        assert set(case) <= CASE_KEYS, case["name"]
        assert re.match(r"(RFC \d+ \d|docs/|Edge )", case["section"]), case["name"]
        assert case.get("route", "plain") in ROUTES, case["name"]
        for step in case["steps"]:
            assert set(step) <= STEP_KEYS and step["from"] in FROM, (case["name"], step)


# ---------------------------------------------------------------------------------- one case


def cache_status(answer):
    """The parameters of our member of Cache-Status (RFC 9211 section 2): the last one."""
    text = answer.get("Cache-Status")
    assert text is not None, "no Cache-Status"
    name, *rest = [p.strip() for p in text.split(",")[-1].split(";")]
    assert name == "vivace", f"Cache-Status: {text}"
    pairs = [p.partition("=") for p in rest]
    return {k: v for k, _, v in pairs}


class Run:
    """One case on its way through its steps."""

    def __init__(self, gw, origin, row):
        self.gw, self.row = gw, row
        self.case = origin.case(row["name"])
        self.base = f"/{row.get('route', 'plain')}/{row['name']}"
        self.now = int(time.time())
        self.expected = b""  # the body that a hit has to show
        self.number = 0  # of requests so far
        self.kept = None  # a connection that was not closed

    def whole(self):
        try:
            for number, step in enumerate(self.row["steps"], 1):
                try:
                    self.step(step)
                except AssertionError as e:
                    raise AssertionError(f"{self.row['section']}, step {number}: {e}\n  {step}") from None
        finally:
            if self.kept:
                self.kept.close()

    def step(self, step):
        time.sleep(step.get("wait", 0))
        if "origin" in step:
            self.case.set(Plan(step["origin"], self.now, self.base))
        if not step.get("soon"):
            self.once(step)
            return
        limit = time.monotonic() + 3 * harness.SCALE
        while True:
            try:
                self.once(step)
                return
            except AssertionError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.02)

    def ask(self, step):
        """Half of the steps on a connection of their own (any worker), half on one that is kept."""
        target = self.base + step.get("path", "")
        method = step.get("method", "GET")
        fields = fields_of(step.get("with", []), self.now)
        payload = step["payload"].encode() if "payload" in step else None
        rest = {"version": step.get("version", "HTTP/1.1"), "host": step.get("host", "test")}
        self.number += 1
        own = zlib.crc32(f"{self.row['name']} {self.number}".encode()) & 1
        if own or not {"together", "cut", "version", "soon"}.isdisjoint(step):
            return self.gw.ask(target, method, fields, payload, **rest)
        client, self.kept = self.kept or self.gw.client(), None
        answer = client.ask(target, method, fields, payload, **rest)
        if answer.get("Connection", "").lower() == "close":
            client.close()
        else:
            self.kept = client
        return answer

    def cut(self, step):
        """The origin breaks off: so must we, or say that it did."""
        try:
            answer = self.ask(step)
        except harness.Closed:
            return
        assert answer.status == 502, f"{answer.line} with {len(answer.body)} bytes looks whole"

    def once(self, step):
        if step.get("cut"):
            self.cut(step)
            return
        before = self.case.count()
        count = step.get("together", 1)
        if count == 1:
            answers = [self.ask(step)]
        else:
            with concurrent.futures.ThreadPoolExecutor(count) as pool:
                answers = list(pool.map(lambda _: self.ask(step), range(count)))
        if step["from"] == "behind":
            wait_for("the request behind", lambda: self.case.count() > before, 3)
        with self.case.lock:
            seen = self.case.seen[before:]
        if "asked" in step:
            assert len(seen) == step["asked"], f"the origin was asked {len(seen)} times"
        for answer in answers:
            self.judge_origin(step, answer, seen, count)
            self.judge_answer(step, answer)

    def judge_origin(self, step, answer, seen, count):
        """Was the origin asked as it should be, and does the body come from where it should?"""
        where = step["from"]
        said = f"{answer.line!r}, Cache-Status {answer.get('Cache-Status')!r}, origin asked {len(seen)} times"
        if where in ("cache", "gateway"):
            assert not seen, f"the origin was asked: {said}, {[s.request.raw_head for s in seen]}"
        elif where != "any":
            assert seen, f"the origin was not asked: {said}"
            if where not in ("stale", "behind") and count == 1:
                assert len(seen) == 1, said
        if seen:
            last = seen[-1]
            own = {n.split(":")[0].lower() for n in step.get("with", [])}
            asked = last.conditional and not own & {"if-none-match", "if-modified-since"}
            if where == "origin":
                assert not asked, f"a condition was added: {last.request.raw_head}"
            if where in ("validated", "replaced") and not own:
                assert asked, f"no condition: {last.request.raw_head}"
            if where == "validated":
                assert last.status == 304, "the row's origin has to say 304"
            for name, value in step.get("sent", {}).items():
                got = last.request.get(name)
                wanted = None if value is None else fill_in(str(value), self.now)
                assert got == wanted, f"the origin got {name}: {got!r}, not {wanted!r}"
            if where in ("origin", "replaced", "any") and last.status not in (304, 206, 416):
                self.expected = last.body

    def judge_answer(self, step, answer):
        status, where = answer.status, step["from"]
        assert status == step.get("status", 200), f"status {status}; {answer.headers}"
        body = step.get("body")
        if isinstance(body, int):
            with self.case.lock:
                wanted = self.case.seen[body - 1].body
        else:
            wanted = self.expected if body is None else body.replace("{name}", self.case.name).encode()
        bodiless = step.get("method") == "HEAD" or status in (204, 304)
        if not bodiless and where != "gateway" and not (where == "any" and body is None):
            assert answer.body == wanted, f"body {answer.body[:80]!r}, not {wanted[:80]!r}"
        if "unlike" in step:
            with self.case.lock:
                assert answer.body != self.case.seen[step["unlike"] - 1].body, f"body {answer.body[:80]!r}"
        for name in step.get("has", []):
            assert answer.has(name), f"no {name}: {answer.headers}"
        for name in step.get("lacks", []):
            assert not answer.has(name), f"{name}: {answer.get(name)}"
        for name, value in step.get("equals", {}).items():
            wanted = fill_in(str(value), self.now)
            assert answer.get(name) == wanted, f"{name}: {answer.get(name)!r}, not {wanted!r}"
        for name, pattern in step.get("matches", {}).items():
            got = answer.get(name, "")
            assert re.fullmatch(pattern, got), f"{name}: {got!r} does not match {pattern!r}"
        self.judge_status(step, answer)

    def judge_status(self, step, answer):
        where, told = step["from"], cache_status(answer)
        text = answer.get("Cache-Status")
        if where in ("cache", "behind"):
            assert "hit" in told and "fwd" not in told, f"Cache-Status: {text}"
        elif where in ("origin", "validated", "replaced"):
            assert "hit" not in told and ("fwd" in told or "together" in step), f"Cache-Status: {text}"
        if where == "validated":
            assert told.get("fwd-status") == "304", f"Cache-Status: {text}"
        if "fwd" in step:
            assert told.get("fwd") == step["fwd"], f"Cache-Status: {text}, not fwd={step['fwd']}"
        if "word" in step:
            assert answer.get(WORD) == step["word"], f"{WORD}: {answer.get(WORD)}, not {step['word']}"


# ---------------------------------------------------------------------------------- all cases


def config(server):
    return {
        "services": {"app": {"servers": [server.url], "max_fails": 0}},
        "ttls": {"short": "1h"},
        "caches": CACHES,
        "routes": [
            {"path": f"/{name}/", "to": "app", "compress": False, **route} for name, route in ROUTES.items()
        ],
    }


@pytest.fixture(scope="module")
def verdicts(request):
    """Runs the selected cases side by side on one gateway: {name: what went wrong or None}."""
    origin = CacheOrigin()
    gw = harness.Gateway(config(origin.server), start=False)
    marks = [i.callspec.params for i in request.session.items if i.name.startswith("test_rule[")]
    chosen = {params["name"] for params in marks}
    results = {}

    def run(row):
        try:
            Run(gw, origin, row).whole()
            return None
        except AssertionError as e:
            return str(e)
        except Exception as e:  # noqa: BLE001 - a lost connection is a result of the case
            return f"{type(e).__name__}: {e}"

    try:
        gw.start()
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            rows = [c for c in CASES if c["name"] in chosen]
            rows.sort(key=lambda c: -sum(s.get("wait", 0) for s in c["steps"]))
            results = dict(zip((c["name"] for c in rows), pool.map(run, rows)))
        yield results
        gw.books_balance()
        assert not origin.server.errors and not origin.strays, (origin.server.errors, origin.strays)
        gw.stop()
    finally:
        gw.stop(check=False)
        origin.close()
        gw.remove()


@pytest.mark.parametrize("name", [c["name"] for c in CASES])
def test_rule(verdicts, name):
    assert verdicts[name] is None, verdicts[name]


def proxied(gateway, server):
    return gateway(
        {
            "services": {"app": {"servers": [server.url], "max_fails": 0}},
            "caches": {"plain": CACHES["plain"]},
            "routes": [{"path": "/", "to": "app", "cache": "plain", "compress": False}],
        }
    )


def test_a_server_that_is_gone_leaves_what_is_stored(gateway, origin):
    """RFC 9111 section 4.2.4: no connection can be made; within stale-if-error the stored answer serves."""
    lasting = harness.ok(b"kept", headers={"Cache-Control": "max-age=1, stale-if-error=100", "Age": "5"})
    brief = harness.ok(b"brief", headers={"Cache-Control": "max-age=1", "Age": "5", "ETag": '"a"'})
    server = origin(answer=lambda req: brief if req.target == "/brief" else lasting)
    gw = proxied(gateway, server)
    assert [gw.ask(t).body for t in ("/kept", "/brief")] == [b"kept", b"brief"]
    server.stop_listening()
    server.drop_connections()
    answer = gw.ask("/kept")
    assert (answer.status, answer.body, answer.get(WORD)) == (200, b"kept", "STALE")
    assert gw.ask("/brief").status in (502, 503)
    assert gw.ask("/never").status in (502, 503)


def test_several_ranges_are_parts_of_one_body(gateway, origin):
    """RFC 9110 section 14.6: each part with its type and place, between the boundaries."""
    fields = {"Cache-Control": "max-age=100", "Content-Type": "text/plain"}
    server = origin(answer=lambda req: harness.ok(b"0123456789", headers=fields))
    gw = proxied(gateway, server)
    gw.ask("/a")
    answer = gw.ask("/a", headers={"Range": "bytes=0-1, 4-5, -1"})
    kind, _, boundary = answer.get("Content-Type").partition("; boundary=")
    assert (answer.status, kind) == (206, "multipart/byteranges") and not answer.has("Content-Range")
    mark = b"--" + boundary.strip('"').encode()
    before, *parts, after = answer.body.split(mark)
    assert before in (b"", b"\r\n") and after.startswith(b"--")
    heads, bodies = zip(*(p.strip(b"\r\n").split(b"\r\n\r\n") for p in parts))
    assert bodies == (b"01", b"45", b"9")
    for head, place in zip(heads, (b"0-1", b"4-5", b"9-9")):
        assert b"content-range: bytes " + place + b"/10" in head.lower() and b"text/plain" in head
    assert len(server.requests) == 1


def test_many_variants_lie_side_by_side(gateway, origin):
    """RFC 9111 section 4.1: 60 variants of one URL, each found again (a key holds 64)."""
    fields = {"Cache-Control": "max-age=100", "Vary": "Foo"}
    server = origin(answer=lambda req: harness.ok(req.get("Foo").encode(), headers=fields))
    gw = proxied(gateway, server)
    for _ in range(2):
        with gw.client() as c:
            for n in range(60):
                assert c.ask("/v", headers={"Foo": str(n)}).body == str(n).encode()
    assert len(server.requests) == 60


def test_hits_are_pipelined_and_keep_the_connection(gateway, origin):
    """RFC 9112 section 9.3: hits, parts, 304 and HEAD in a row on one connection, in their order."""
    fields = {"Cache-Control": "max-age=100", "ETag": '"a"'}
    server = origin(answer=lambda req: harness.ok(b"0123456789", headers=fields))
    gw = proxied(gateway, server)
    gw.ask("/p")
    with gw.client() as c:
        c.send(
            harness.request("/p")
            + harness.request("/p", headers={"Range": "bytes=1-2"})
            + harness.request("/p", headers={"If-None-Match": '"a"'})
            + harness.request("/p", "HEAD")
            + harness.request("/p")
        )
        answers = [c.answer(m) for m in ("GET", "GET", "GET", "HEAD", "GET")]
    assert [a.status for a in answers] == [200, 206, 304, 200, 200]
    assert [a.body for a in answers] == [b"0123456789", b"12", b"", b"", b"0123456789"]
    assert len(server.requests) == 1


def at_once(requests):
    """Runs callables side by side and returns what they gave, in order."""
    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        return [f.result() for f in [pool.submit(r) for r in requests]]


def test_a_shared_fetch_never_mixes_variants(gateway, origin):
    """RFC 9111 section 4.1: who waits for a fetch gets its answer only when Vary allows it."""
    fields = {"Cache-Control": "max-age=100", "Vary": "Foo"}

    def answer(req):
        time.sleep(0.3)
        return harness.ok(req.get("Foo").encode(), headers=fields)

    server = origin(answer=answer)
    gw = proxied(gateway, server)
    names = [str(n % 4) for n in range(12)]
    asks = [lambda n=n: gw.ask("/v", headers={"Foo": n}).body.decode() for n in names]
    assert at_once(asks) == names
    for n in names[:4]:
        assert gw.ask("/v", headers={"Foo": n}).body.decode() == n
    before = len(server.requests)
    assert at_once(asks) == names
    assert len(server.requests) == before, "every variant is stored by now"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_who_waits_gets_what_he_asked_for(gateway, origin, framing):
    """RFC 9111 section 4: a part, a condition and HEAD behind a fetch whose body is still on its way."""
    body = b"0123456789" * 1000
    gate = {"head": False, "open": False}

    def handler(conn):
        while True:
            req = conn.read_request()
            fields = 'HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nETag: "a"\r\n'
            if req.method == "HEAD":
                conn.send(f"{fields}Content-Length: {len(body)}\r\n\r\n".encode())
                continue
            if framing == "length":
                conn.send(f"{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body[:100])
                rest = body[100:]
            else:
                conn.send(f"{fields}Transfer-Encoding: chunked\r\n\r\n".encode() + b"64\r\n" + body[:100] + b"\r\n")
                rest = harness.chunks(body[100:])
            gate["head"] = True
            wait_for("the gate", lambda: gate["open"])
            conn.send(rest)

    server = origin(handler)
    gw = proxied(gateway, server)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        first = pool.submit(gw.ask, "/w")
        wait_for("the head", lambda: gate["head"])
        whole = pool.submit(gw.ask, "/w")
        part = pool.submit(gw.ask, "/w", headers={"Range": "bytes=5000-5003"})
        same = pool.submit(gw.ask, "/w", headers={"If-None-Match": '"a"'})
        head = pool.submit(gw.ask, "/w", "HEAD")
        assert same.result(harness.PATIENCE).status == 304  # the head is enough to know
        assert head.result(harness.PATIENCE).status == 200
        time.sleep(0.1)
        gate["open"] = True
        assert first.result(harness.PATIENCE).body == whole.result(harness.PATIENCE).body == body
        answer = part.result(harness.PATIENCE)
    assert (answer.status, answer.body) in ((206, b"0123"), (200, body))
    assert gw.ask("/w", headers={"Range": "bytes=-2"}).body == b"89"
    assert len([r for r in server.requests if r.method == "GET"]) == 1


def test_a_change_during_a_fetch_is_not_forgotten(gateway, origin):
    """RFC 9111 section 4.4: an answer asked for before a change may be old; it is not kept after it."""
    gate = {"in": False, "open": False}

    def answer(req):
        if req.method == "PUT":
            return harness.ok(b"", "204 No Content", length=False)
        if not gate["in"]:
            gate["in"] = True
            wait_for("the gate", lambda: gate["open"])
            return harness.ok(b"old", headers={"Cache-Control": "max-age=100"})
        return harness.ok(b"new", headers={"Cache-Control": "max-age=100"})

    server = origin(answer=answer)
    gw = proxied(gateway, server)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(gw.ask, "/c")
        wait_for("the first fetch", lambda: gate["in"])
        assert gw.ask("/c", "PUT", body=b"x").status == 204
        gate["open"] = True
        assert first.result(harness.PATIENCE).body == b"old"
    assert gw.ask("/c").body == b"new"
    assert gw.ask("/c").body == b"new"


def test_all_who_wait_see_that_an_answer_was_cut(gateway, origin):
    """RFC 9111 section 3.3, RFC 9112 section 8: a cut body looks whole to nobody, and is not kept."""
    gate = {"head": 0, "open": False}

    def handler(conn):
        conn.read_request()
        gate["head"] += 1
        if gate["open"]:
            conn.send(harness.ok(b"whole", headers={"Cache-Control": "max-age=100"}))
            return
        conn.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        wait_for("the gate", lambda: gate["open"])

    def ask():
        try:
            return gw.ask("/x").body
        except harness.Closed:
            return "cut"

    server = origin(handler)
    gw = proxied(gateway, server)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask)]
        wait_for("the first fetch", lambda: gate["head"])
        asked += [pool.submit(ask) for _ in range(3)]
        time.sleep(0.2)
        gate["open"] = True
        results = [a.result(harness.PATIENCE) for a in asked]
    assert results == ["cut"] * 4
    assert gw.ask("/x").body == b"whole"


def test_an_answer_too_large_to_keep_reaches_all(gateway, origin):
    """RFC 9111 section 3: a cache keeps what it can; nobody gets less for it."""
    body = os.urandom(6 * harness.MIB)  # an object may take a quarter of 16 MB
    fields = {"Cache-Control": "max-age=100"}

    def answer(req):
        if "chunked" in req.target:
            head = harness.ok(b"", headers={**fields, "Transfer-Encoding": "chunked"}, length=False)
            return head + harness.chunks(*(body[i : i + 65536] for i in range(0, len(body), 65536)))
        return harness.ok(body, headers=fields)

    gw = proxied(gateway, origin(answer=answer))
    for target in ("/length", "/chunked"):
        answers = at_once([lambda: gw.ask(target)] * 4)
        assert [a.body == body for a in answers] == [True] * 4
        assert cache_status(gw.ask(target)).get("fwd") is not None
