# tests/integration/test_coalescing.py - many ask, one fetches: who waits for whom, and for how long.
import time

import pytest

from crowd import Crowd, Gate, in_flight, many, results, settled
from harness import MIB, SANITIZER, SCALE, chunks, ok, request, wait_for

CACHE = {"levels": [{"memory": "64MB"}], "show": "X-Cache"}
FRESH = {"Cache-Control": "max-age=100"}
MANY = 100 if SANITIZER else 500


@pytest.fixture
def site(gateway, origin):
    """site(handler or answer=..., route={...}, **cache settings): every route keeps in one cache."""

    def make(handler=None, answer=None, route=None, service=None, **cache):
        server = origin(handler, answer=answer)
        gw = gateway(
            {
                "services": {"app": {"servers": [server.url], "max_fails": 0, **(service or {})}},
                "caches": {"c": {**CACHE, **cache}},
                "routes": [{"path": "/", "to": "app", "cache": "c", "compress": False, **(route or {})}],
            }
        )
        return gw, server

    return make


@pytest.fixture
def sharing(gateway, origin):
    """sharing(coalesce settings, answer=...): a route without a cache whose equal requests are one."""

    def make(coalesce, answer=None, path="/"):
        server = origin(answer=answer)
        gw = gateway(
            {
                "services": {"app": {"servers": [server.url], "max_fails": 0}},
                "routes": [{"path": path, "to": "app", "coalesce": coalesce, "compress": False}],
            }
        )
        return gw, server

    return make


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def trickle(gates, parts, headers=FRESH, length=True):
    """A server that waits at a gate before each part of the body; the head goes with the first."""
    total = sum(map(len, parts))
    framing = f"Content-Length: {total}" if length else "Transfer-Encoding: chunked"
    head = "".join(f"{n}: {v}\r\n" for n, v in headers.items())

    def handler(conn):
        while True:
            conn.read_request()
            for i, part in enumerate(parts):
                gates[i].wait()
                if i == 0:
                    conn.send(f"HTTP/1.1 200 OK\r\n{head}{framing}\r\n\r\n".encode())
                conn.send(part if length else chunks(part)[:-5])
            if not length:
                conn.send(b"0\r\n\r\n")

    return handler


# --------------------------------------------------------------------------------- many and one


def how_far_behind(site, length):
    """Seconds from the leader's first byte of the body to each follower's, by the kernel's clock."""
    gates = [Gate(), Gate()]
    parts = [b"a" * 1000, b"b" * 1000]
    gw, server = site(trickle(gates, parts, length=length))
    with many(gw, MANY, "/slow") as crowd:
        crowd.send(crowd.members[:1])
        gates[0].reached()
        leader = crowd.members[0]
        crowd.send(crowd.members[1:])
        in_flight(gw, MANY)
        gates[0].open()
        crowd.read(until=lambda m: m.so_far >= 1000)  # while the server still holds the rest back
        gates[1].open()
        crowd.read()
        assert crowd.statuses() == [200] and crowd.bodies() == {b"".join(parts)}
        behind = [abs(m.first - leader.first) for m in crowd.members[1:]]
    assert len(server.requests) == 1
    settled(gw)
    assert results(gw) == {"miss": 1, "coalesced": MANY - 1}
    return behind


@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
def test_many_misses_at_once_are_one_fetch_and_end_together(site, length):
    """The followers' first byte comes within 5 ms of the leader's. Two cores, and this program and its
    neighbours run on them too: one of three rounds has to show it."""
    for _ in range(3):
        behind = how_far_behind(site, length)
        print(f"first byte behind the leader's: median {percentile(behind, 0.5) * 1000:.2f} ms, "
              f"p90 {percentile(behind, 0.9) * 1000:.2f} ms, max {max(behind) * 1000:.2f} ms")
        if percentile(behind, 0.5) < 0.005 * SCALE and percentile(behind, 0.9) < 0.050 * SCALE:
            return
    raise AssertionError("followers wait too long")


def test_many_that_may_not_be_kept_wait_for_nobody_after_the_first(site):
    """The first answer says no-store: from then on each asks by itself, all at the same time."""
    takes = 1.0 * SCALE

    def answer(req):
        time.sleep(takes)
        return ok(b"yours", headers={"Cache-Control": "no-store"})

    gw, server = site(answer=answer)
    with many(gw, MANY, "/never") as crowd:
        crowd.send().read()
        took = max(m.last for m in crowd.members) - crowd.sent
        assert crowd.bodies() == {b"yours"}
    print(f"{MANY} took {took:.2f} s of {takes} s each")
    assert len(server.requests) == MANY
    assert took < 2 * takes + 1.5 * SCALE
    with many(gw, 20, "/never") as crowd:  # it is known by now: not even the first is waited for
        crowd.send().read()
        assert max(m.last for m in crowd.members) - crowd.sent < 1.8 * takes
    settled(gw)


def test_a_private_answer_marks_only_its_own_url(site):
    gw, server = site(
        answer=lambda req: ok(b"x", headers={"Cache-Control": "private" if req.target == "/p" else "max-age=9"})
    )
    for target in ("/p", "/q", "/p", "/q"):
        assert gw.ask(target).status == 200
    assert [r.target for r in server.requests] == ["/p", "/q", "/p"]


def test_an_answer_that_becomes_fit_to_keep_is_kept_again(site):
    """The mark of a URL that was not for sharing goes with the first answer that is."""
    word = ["no-store"]
    gw, server = site(answer=lambda req: ok(b"x", headers={"Cache-Control": word[0]}))
    assert gw.ask("/a").status == 200
    word[0] = "max-age=100"
    assert gw.ask("/a").status == 200  # passes: marked
    wait_for("it is kept", lambda: gw.ask("/a").get("X-Cache") == "HIT")
    assert len(server.requests) <= 3


# --------------------------------------------------------------------------------- leaders


def test_a_leader_that_reads_slowly_holds_up_nobody(site):
    body = b"0123456789abcdef" * (8 * MIB // 16)
    gate = Gate()
    gw, server = site(trickle([gate], [body]))
    with gw.client(recv_buffer=4096) as slow, many(gw, 10, "/big") as crowd:
        slow.send(request("/big"))
        gate.reached()
        crowd.send()
        in_flight(gw, 11)
        gate.open()
        crowd.read()  # while the leader has read nothing at all
        assert crowd.bodies() == {body}
        assert slow.answer().body == body
    assert len(server.requests) == 1
    settled(gw)


def leave(gw, leader, how, left):
    """A reset is seen at once; after a mere end of stream the client might still read."""
    getattr(leader, how)()
    if how == "reset":
        wait_for("the leader is gone", lambda: gw.metric("vivace_http_requests_in_flight") <= left)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_leader_that_leaves_before_the_head_leaves_the_others_served(site, how):
    gate = Gate()
    gw, server = site(trickle([gate], [b"body"]))
    leader = gw.client()
    leader.send(request("/l"))
    gate.reached()
    with many(gw, 50, "/l") as crowd:
        crowd.send()
        in_flight(gw, 51)
        leave(gw, leader, how, 50)
        gate.open()
        crowd.read()
        assert crowd.statuses() == [200] and crowd.bodies() == {b"body"}
    assert len(server.requests) <= 2
    settled(gw)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_leader_that_leaves_in_the_body_changes_nothing_for_the_others(site, how):
    gates = [Gate(), Gate()]
    gw, server = site(trickle(gates, [b"one" * 100, b"two" * 100]))
    leader = gw.client()
    leader.send(request("/l"))
    gates[0].reached()
    with many(gw, 50, "/l") as crowd:
        crowd.send()
        in_flight(gw, 51)
        gates[0].open()
        crowd.read(until=lambda m: m.so_far >= 300)
        assert leader.head()
        leave(gw, leader, how, 50)
        gates[1].open()
        crowd.read()
        assert crowd.bodies() == {b"one" * 100 + b"two" * 100}
    assert gw.ask("/l").get("X-Cache") == "HIT"
    assert len(server.requests) == 1
    settled(gw)


def test_a_fetch_goes_on_when_everybody_has_left(site):
    """What the origin has begun to send is kept for the next."""
    gates = [Gate(), Gate()]
    gw, server = site(trickle(gates, [b"one", b"two"]))
    with many(gw, 5, "/l") as crowd:
        crowd.send()
        gates[0].reached()
        gates[0].open()
        crowd.read(until=lambda m: m.so_far >= 3)
        for m in crowd.members:
            m.client.reset()
    wait_for("all are gone", lambda: gw.metric("vivace_http_requests_in_flight") == 0)
    gates[1].open()
    wait_for("it is kept", lambda: gw.metric("vivace_cache_entries") == 1)
    answer = gw.ask("/l")
    assert (answer.body, answer.get("X-Cache")) == (b"onetwo", "HIT")
    assert len(server.requests) == 1


# --------------------------------------------------------------------------------- failures

HASTY = {"timeouts": {"first_byte": f"{int(600 * SCALE)}ms"}}


def fails_503(conn):
    while True:
        conn.read_request()
        conn.sleep(0.3 * SCALE)
        conn.send(ok(b"busy", "503 Service Unavailable"))


def fails_drop(conn):
    conn.read_request()
    conn.sleep(0.3 * SCALE)


def fails_hang(conn):
    conn.read_request()
    conn.sleep(60)


FAILURES = {"503": (fails_503, {503, 502}), "drop": (fails_drop, {502}), "hang": (fails_hang, {504, 502})}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failing_server_is_asked_twice_for_all_who_wait(site, kind):
    """The leader fails, one of those who wait tries again; then everybody is told."""
    handler, allowed = FAILURES[kind]
    gw, server = site(handler, route=HASTY, service={"retries": 0})
    with many(gw, 100, "/f") as crowd:
        crowd.send().read()
        assert set(crowd.statuses()) <= allowed, crowd.statuses()
        took = max(m.last for m in crowd.members) - crowd.sent
    assert len(server.requests) <= 2
    assert took < 4 * SCALE
    settled(gw)


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failing_server_does_not_matter_to_those_who_may_have_a_stale_answer(site, kind):
    bad = []

    def handler(conn):
        if bad:
            FAILURES[kind][0](conn)
            return
        conn.read_request()
        conn.send(ok(b"kept", headers={"Cache-Control": "max-age=1, stale-if-error=100", "Age": "5"}))

    gw, server = site(handler, route=HASTY, service={"retries": 0})
    assert gw.ask("/s").body == b"kept"
    bad.append(1)
    server.drop_connections()
    asked = len(server.requests)
    with many(gw, 100, "/s") as crowd:
        crowd.send().read()
        assert crowd.statuses() == [200] and crowd.bodies() == {b"kept"}
        assert {m.answer.get("X-Cache") for m in crowd.members} == {"STALE"}
    # 503 and a lost connection are known after 0.3 s: whoever came later than that asks for himself
    assert 1 <= len(server.requests) - asked <= 4
    settled(gw)


def test_a_second_try_that_works_serves_all(site):
    gate = Gate()
    calls = []

    def handler(conn):
        conn.read_request()
        calls.append(1)
        if len(calls) == 1:
            gate.wait()
            conn.send(ok(b"busy", "503 Service Unavailable"))
        else:
            conn.send(ok(b"fine", headers=FRESH))

    gw, server = site(handler, service={"retries": 0})
    with many(gw, 50, "/t") as crowd:
        crowd.send()
        gate.reached()
        in_flight(gw, 50)
        gate.open()
        crowd.read()
        statuses = [m.status for m in crowd.members]
    assert statuses.count(503) == 1 and statuses.count(200) == 49
    assert len(server.requests) == 2
    settled(gw)


def test_nobody_waits_longer_than_allowed(site):
    """After `wait` a follower asks by itself."""
    takes, wait = 2.0 * SCALE, 0.4 * SCALE

    def answer(req):
        first = len(server.requests) == 1
        time.sleep(takes if first else 0)
        return ok(b"slow" if first else b"quick", headers=FRESH)

    gw, server = site(answer=answer, wait=f"{int(wait * 1000)}ms")
    with many(gw, 6, "/w") as crowd:
        crowd.send(crowd.members[:1])
        server.wait_requests(1)
        crowd.send(crowd.members[1:])
        sent = crowd.sent
        crowd.read(crowd.members[1:])
        waited = [m.last - sent for m in crowd.members[1:]]
        assert {m.body for m in crowd.members[1:]} == {b"quick"}
        assert wait * 0.9 <= min(waited) and max(waited) < takes * 0.9, waited
        crowd.read()
        assert crowd.members[0].body == b"slow"
    settled(gw)


# --------------------------------------------------------------------------------- identities


def who(req):
    return f"{req.get('Authorization', '-')}/{req.get('Cookie', '-')}".encode()


def slowly(answer, seconds=0.5):
    def later(req):
        time.sleep(seconds)
        return answer(req)

    return later


IDENTITIES = [{"Authorization": "a"}, {"Authorization": "b"}, {"Cookie": "a"}, {"Cookie": "b"}, {}]


def identity(headers):
    return f"{headers.get('Authorization', '-')}/{headers.get('Cookie', '-')}".encode()


def test_identities_share_nothing_unless_the_key_says_so(sharing):
    gw, server = sharing({"keep": "10s"}, slowly(lambda req: ok(who(req))))
    asks = [h for h in IDENTITIES for _ in range(8)]
    with Crowd(gw.port, [request("/me", headers=h) for h in asks]) as crowd:
        crowd.send().read()
        assert [m.body for m in crowd.members] == [identity(h) for h in asks]
    assert len(server.requests) == len(IDENTITIES)  # each identity by itself, and once
    assert gw.ask("/me", headers={"Cookie": "c"}).body == b"-/c"
    settled(gw)


def test_a_key_of_the_route_says_who_shares(sharing):
    gw, server = sharing({"key": "user-{id}-profile"}, slowly(lambda req: ok(req.target.encode())), "/u/{id}/profile")
    asks = [(f"/u/{i}/profile?n={n}", IDENTITIES[n]) for i in (1, 2) for n in range(5)]
    with Crowd(gw.port, [request(t, headers=h) for t, h in asks]) as crowd:
        crowd.send().read()
        bodies = [m.body for m in crowd.members]
    assert len(set(bodies[:5])) == 1 and bodies[0].startswith(b"/u/1/")
    assert len(set(bodies[5:])) == 1 and bodies[5].startswith(b"/u/2/")
    assert len(server.requests) == 2
    settled(gw)


def test_identities_on_a_cached_route_never_meet_and_do_not_queue(site):
    """RFC 9111 section 3.5: an answer to Authorization is not shared; nor does one wait for the other for long."""
    takes = 1.0 * SCALE
    gw, server = site(answer=slowly(lambda req: ok(who(req), headers=FRESH), takes))
    with Crowd(gw.port, [request("/me", headers={"Authorization": str(i)}) for i in range(30)]) as crowd:
        crowd.send().read()
        assert [m.body for m in crowd.members] == [f"{i}/-".encode() for i in range(30)]
        took = max(m.last for m in crowd.members) - crowd.sent
    print(f"took {took:.2f} s of {takes} s each")
    assert took < 2 * takes + 0.8 * SCALE
    settled(gw)


def test_identities_in_the_key_are_kept_apart(site):
    gw, server = site(answer=slowly(lambda req: ok(who(req), headers=FRESH), 0.2), authorized=True)
    asks = [h for h in IDENTITIES for _ in range(4)]
    for _ in range(2):
        with Crowd(gw.port, [request("/me", headers=h) for h in asks]) as crowd:
            crowd.send().read()
            assert [m.body for m in crowd.members] == [identity(h) for h in asks]
    assert len(server.requests) == len(IDENTITIES)
    settled(gw)


# --------------------------------------------------------------------------------- coalesce: keep


def numbered(server_of):
    return lambda req: ok(str(len(server_of[0].requests)).encode(), headers={"Cache-Control": "no-store"})


@pytest.fixture
def counting(sharing):
    """A route whose answers are numbered and say no-store, which coalescing does not ask for."""

    def make(coalesce, path="/"):
        box = []
        gw, server = sharing(coalesce, numbered(box), path)
        box.append(server)
        return gw, server

    return make


def test_keep_gives_an_answer_to_later_ones_for_so_long(counting):
    gw, server = counting({"key": "user-{id}", "keep": "1s"}, "/u/{id}")
    began = time.monotonic()
    first = gw.ask("/u/1").body
    again = gw.ask("/u/1?other").body
    quick = time.monotonic() - began < 0.9
    assert again == first or not quick
    assert gw.ask("/u/2").body != first
    time.sleep(1.3)
    assert gw.ask("/u/1").body not in (first, again)
    settled(gw)


def test_without_keep_only_those_who_wait_share(counting):
    gw, server = counting({"key": "same"})
    assert [gw.ask("/a").body for _ in range(3)] == [b"1", b"2", b"3"]
    gw.wait_metric("vivace_cache_entries", 0)
    settled(gw)


def test_keep_holds_no_more_than_its_entries(counting):
    gw, server = counting({"keep": "60s", "entries": 5})
    for i in range(20):
        gw.ask(f"/e/{i}")
    wait_for("5 are kept", lambda: 1 <= gw.metric("vivace_cache_entries") <= 5)
    asked = len(server.requests)
    for i in range(20):
        gw.ask(f"/e/{i}")
    assert len(server.requests) - asked >= 15
    settled(gw)


def test_what_carries_a_cookie_or_failed_is_not_kept(sharing):
    calls = []

    def answer(req):
        calls.append(1)
        if req.target == "/cookie":
            return ok(b"c", headers={"Set-Cookie": "a=1"})
        return ok(b"f", "500 Broken")

    gw, server = sharing({"keep": "60s"}, answer)
    for target in ("/cookie", "/cookie", "/fail", "/fail"):
        gw.ask(target)
    assert len(calls) == 4
    settled(gw)


def test_unsafe_requests_are_never_shared(sharing):
    gw, server = sharing({"key": "same", "keep": "60s"}, slowly(lambda req: ok(req.body), 0.3))
    asks = [request("/p", "POST", body=str(i).encode()) for i in range(10)]
    with Crowd(gw.port, asks) as crowd:
        crowd.send().read()
        assert [m.body for m in crowd.members] == [str(i).encode() for i in range(10)]
    assert len(server.requests) == 10
    settled(gw)
