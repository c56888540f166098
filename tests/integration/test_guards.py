# tests/integration/test_guards.py - breakers, retries in a budget, hedging, deadlines, places and queues.
import threading
import time

import harness
from harness import Client, ok, wait_for


def status(code, body=b"no"):
    return ok(body, status=f"{code} Said")


def get(gw, target="/", **kw):
    with gw.client() as c:
        return c.ask(target, **kw)


# ---------------------------------------------------------------------------------------- breakers

AI = {"failures": 5, "recover": "60s", "accept": "10%", "window": "5m"}


def test_the_fifth_failure_in_a_row_opens(proxy):
    """S1-002: failureThreshold 5, consecutive."""
    gw, origin = proxy(answer=lambda req: status(500), service={"breaker": "ai"}, breakers={"ai": AI})
    with gw.client() as c:
        assert [c.ask("/").status for _ in range(5)] == [500] * 5
        refused = c.ask("/")
    assert refused.status == 503
    assert b'"reason":"breaker_open"' in refused.body
    assert 50 <= int(refused.get("Retry-After")) <= 60
    assert len(origin.requests) == 5
    gw.books_balance()


def test_a_success_in_between_starts_the_count_anew(proxy):
    answers = iter([500] * 4 + [200] + [500] * 4 + [200])
    gw, origin = proxy(answer=lambda req: status(next(answers)), service={"breaker": "ai"},
                       breakers={"ai": {"failures": 5, "recover": "60s"}})
    with gw.client() as c:
        assert [c.ask("/").status for _ in range(10)] == [500] * 4 + [200] + [500] * 4 + [200]
    assert len(origin.requests) == 10


def test_half_open_sends_one_probe_and_a_good_one_closes(proxy):
    state = {"bad": True, "hold": 0.0}

    def answer(req):
        time.sleep(state["hold"])
        return status(500) if state["bad"] else ok()

    gw, origin = proxy(answer=answer, service={"breaker": "b"}, breakers={"b": {"failures": 1, "recover": "300ms"}})
    assert get(gw).status == 500
    assert get(gw).status == 503
    state.update(bad=False, hold=0.5)
    time.sleep(0.35)
    seen = len(origin.requests)
    results = []
    threads = [threading.Thread(target=lambda: results.append(get(gw).status)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [200] + [503] * 7
    assert len(origin.requests) == seen + 1
    state["hold"] = 0.0
    assert [get(gw).status for _ in range(5)] == [200] * 5


def test_a_bad_probe_opens_again(proxy):
    gw, origin = proxy(answer=lambda req: status(500), service={"breaker": "b"},
                       breakers={"b": {"failures": 1, "recover": "200ms"}})
    assert get(gw).status == 500
    time.sleep(0.3)
    assert get(gw).status == 500  # the probe
    assert get(gw).status == 503
    assert len(origin.requests) == 2


def test_client_errors_are_no_failures(proxy):
    gw, origin = proxy(answer=lambda req: status(404), service={"breaker": "b"}, breakers={"b": {"failures": 2}})
    with gw.client() as c:
        assert [c.ask("/").status for _ in range(6)] == [404] * 6


def test_a_refused_answer_takes_less_than_a_millisecond(proxy):
    gw, origin = proxy(answer=lambda req: status(500), service={"breaker": "b"}, breakers={"b": {"failures": 1}})
    get(gw)
    took = []
    with gw.client() as c:
        for _ in range(200):
            began = time.perf_counter()
            assert c.ask("/").status == 503
            took.append(time.perf_counter() - began)
    took.sort()
    if not harness.SANITIZER:
        assert took[100] < 0.001, f"median {took[100] * 1e3:.3f} ms"


def test_routes_share_the_breaker_of_their_service_and_a_route_may_have_its_own(gateway, origin):
    server = origin(answer=lambda req: status(500))
    gw = gateway({
        "services": {"app": {"servers": [server.url], "breaker": "a"}},
        "breakers": {"a": {"failures": 2}, "b": {"failures": 3}},
        "routes": [{"path": "/own/", "to": "app", "breaker": "b"}, {"path": "/x/", "to": "app"}, {"path": "/", "to": "app"}],
    })
    assert [get(gw, "/x/").status, get(gw, "/").status] == [500, 500]
    assert [get(gw, "/x/").status, get(gw, "/").status] == [503, 503]
    assert [get(gw, "/own/").status for _ in range(4)] == [500, 500, 500, 503]


def test_a_reload_keeps_an_open_breaker_open(proxy):
    gw, origin = proxy(answer=lambda req: status(500), service={"breaker": "b"}, breakers={"b": {"failures": 1}})
    get(gw)
    assert get(gw).status == 503
    gw.reload()
    assert get(gw).status == 503
    assert len(origin.requests) == 1


def test_a_failing_service_gets_only_probes_and_leaves_other_routes_alone(gateway, origin):
    bad = origin(answer=lambda req: status(500))
    good = origin()
    gw = gateway({
        "services": {"bad": {"servers": [bad.url], "breaker": "b"}, "good": [good.url]},
        "breakers": {"b": {"failures": 3, "recover": "200ms"}},
        "routes": [{"path": "/bad/", "to": "bad"}, {"path": "/", "to": "good"}],
    })
    until = time.monotonic() + 1.5
    asked = 0
    with gw.client() as c:
        while time.monotonic() < until:
            assert c.ask("/bad/").status in (500, 503)
            assert c.ask("/").status == 200
            asked += 1
    # 3 to open, then one probe per 200 ms
    assert len(bad.requests) <= 3 + 8, f"{len(bad.requests)} of {asked}"


# ----------------------------------------------------------------------------------------- retries


def two(gateway, origin, first, second, service=None, **config):
    a = origin(answer=first)
    b = origin(answer=second)
    entry = {"servers": [a.url, b.url], "balance": "round_robin", "max_fails": 0, "outlier": {"consecutive": 0}}
    entry.update(service or {})
    gw = gateway({"services": {"app": entry}, "routes": [{"path": "/", "to": "app"}], **config})
    return gw, a, b


def test_a_503_is_tried_elsewhere(gateway, origin):
    gw, a, b = two(gateway, origin, lambda r: status(503), lambda r: ok())
    with gw.client() as c:
        assert [c.ask("/").status for _ in range(10)] == [200] * 10
    assert len(a.requests) > 0
    gw.books_balance()


def test_a_post_is_not_tried_again_after_a_503(gateway, origin):
    gw, a, b = two(gateway, origin, lambda r: status(503), lambda r: ok())
    with gw.client() as c:
        seen = [c.ask("/", method="POST", body=b"x").status for _ in range(4)]
    assert 503 in seen and 200 in seen
    assert len(a.requests) + len(b.requests) == 4


def test_all_servers_say_503_and_the_last_answer_passes(gateway, origin):
    gw, a, b = two(gateway, origin, lambda r: status(503, b"first"), lambda r: status(503, b"second"))
    answer = get(gw)
    assert answer.status == 503 and answer.body in (b"first", b"second")
    assert len(a.requests) + len(b.requests) == 2


def test_a_single_server_s_503_passes_as_it_is(proxy):
    gw, origin = proxy(answer=lambda req: status(503, b"its own"))
    answer = get(gw)
    assert (answer.status, answer.body) == (503, b"its own")
    assert len(origin.requests) == 1


def test_what_is_tried_again_is_configured(gateway, origin):
    gw, a, b = two(gateway, origin, lambda r: status(503), lambda r: status(500),
                   service={"retries": {"max": 1, "when": ["500"]}})
    with gw.client() as c:
        seen = {c.ask("/").status for _ in range(8)}
    assert seen == {503}  # a 500 goes to the one that says 503, whose answer passes


def test_retries_stay_within_the_budget(gateway, origin):
    gw, a, b = two(gateway, origin, lambda r: status(503), lambda r: status(503),
                   service={"retries": {"max": 1, "budget": "20%", "floor": 0}})
    n = 200
    with gw.client() as c:
        for _ in range(n):
            assert c.ask("/").status == 503
    total = len(a.requests) + len(b.requests)
    assert n < total <= n * 1.2 + 1, total
    assert gw.metric("vivace_upstream_retries_total", reason="budget_empty") > 0


def test_a_first_byte_timeout_is_tried_again_only_when_asked_to(gateway, origin):
    def hang(req):
        time.sleep(1.5)
        return ok(b"late")

    service = {"first_byte_timeout": "150ms", "retries": {"max": 1, "when": ["timeout"]}}
    gw, a, b = two(gateway, origin, hang, lambda r: ok(), service=service)
    with gw.client() as c:
        assert [c.ask("/").status for _ in range(4)] == [200] * 4
    assert len(a.requests) >= 1


# ----------------------------------------------------------------------------------------- hedging


def learn(c):
    """The delay of a hedge is known a second after its first hundred answers."""
    until = time.monotonic() + 1.3
    while time.monotonic() < until:
        for _ in range(20):
            c.ask("/")
        time.sleep(0.02)


def test_a_hedge_answers_for_a_slow_server(gateway, origin):
    slow = {"now": False}

    def sometimes(req):
        time.sleep(0.8 if slow["now"] else 0.0)
        return ok(b"a")

    gw, a, b = two(gateway, origin, sometimes, lambda r: ok(b"b"),
                   service={"hedge": {"min": "20ms", "max": "50ms"}, "retries": {"budget": "100%", "floor": 50}})
    with gw.client() as c:
        learn(c)
        slow["now"] = True
        took = []
        for _ in range(10):
            began = time.monotonic()
            assert c.ask("/").status == 200
            took.append(time.monotonic() - began)
    assert max(took) < 0.6 * harness.SCALE
    assert gw.metric("vivace_upstream_hedges_total", result="won") >= 3
    slow["now"] = False
    gw.books_balance()


def test_posts_are_not_hedged(gateway, origin):
    def slow(req):
        time.sleep(0.1 if req.method == "POST" else 0)
        return ok()

    gw, a, b = two(gateway, origin, slow, slow,
                   service={"hedge": {"min": "1ms", "max": "5ms"}, "retries": {"budget": "100%", "floor": 50}})
    with gw.client() as c:
        learn(c)
        sent = gw.metric("vivace_upstream_hedges_total", result="sent")
        for _ in range(5):
            c.ask("/", method="POST", body=b"x")
    assert gw.metric("vivace_upstream_hedges_total", result="sent") == sent
    posts = [r for r in a.requests + b.requests if r.method == "POST"]
    assert len(posts) == 5


# --------------------------------------------------------------------------------------- deadlines


def test_the_time_left_is_passed_on(proxy):
    gw, origin = proxy(route={"timeout": "5s"}, deadline_header="X-Request-Timeout-Ms")
    get(gw, headers=[("X-Request-Timeout-Ms", "2000")])
    get(gw)
    told = [int(r.get("X-Request-Timeout-Ms")) for r in origin.requests]
    assert 1500 <= told[0] <= 2000 and 4500 <= told[1] <= 5000
    assert len(origin.requests[0].all("X-Request-Timeout-Ms")) == 1


def test_a_route_s_own_word_about_time_is_not_doubled(proxy):
    gw, origin = proxy(route={"timeout": "5s", "request_headers": {"X-Time": "77"}}, deadline_header="X-Time")
    assert get(gw, headers=[("X-Time", "2000")]).status == 200
    assert origin.requests[0].all("X-Time") == ["77"]


def test_a_client_s_deadline_is_kept(proxy):
    def hang(req):
        time.sleep(1)
        return ok()

    gw, origin = proxy(answer=hang, route={"timeout": "30s"}, deadline_header="X-Request-Timeout-Ms")
    began = time.monotonic()
    assert get(gw, headers=[("X-Request-Timeout-Ms", "200")]).status == 504
    assert 0.15 < time.monotonic() - began < 0.7 * harness.SCALE


# ------------------------------------------------------------------------------- places and queues


class Held:
    """An origin that answers when it is told to."""

    def __init__(self):
        self.open = threading.Event()
        self.inside = 0
        self.most = 0
        self.lock = threading.Lock()

    def __call__(self, req):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.open.wait(20)
        with self.lock:
            self.inside -= 1
        return ok()


def test_a_fixed_number_of_places_is_never_passed_and_the_rest_waits(proxy):
    held = Held()
    gw, origin = proxy(answer=held, service={"concurrency": {"limit": 4, "queue": 100, "wait": "20s", "target": "10s"}},
                       workers=2)
    results = []
    threads = [threading.Thread(target=lambda: results.append(get(gw).status)) for _ in range(24)]
    for t in threads:
        t.start()
    wait_for("four inside", lambda: held.inside == 4)
    time.sleep(0.2)
    assert held.inside == 4
    held.open.set()
    for t in threads:
        t.join()
    assert results == [200] * 24
    assert held.most == 4
    gw.books_balance()


def test_a_full_queue_refuses_at_once(proxy):
    held = Held()
    gw, origin = proxy(answer=held, service={"concurrency": {"limit": 1, "queue": 2, "wait": "20s", "target": "10s"}},
                       workers=1)
    results = []
    threads = [threading.Thread(target=lambda: results.append(get(gw).status)) for _ in range(3)]
    for t in threads:
        t.start()
    wait_for("one inside, two wait", lambda: held.inside == 1 and gw.metric("vivace_http_requests_in_flight") == 3)
    answer = get(gw)
    assert answer.status == 503 and b"queue_full" in answer.body and answer.has("Retry-After")
    held.open.set()
    for t in threads:
        t.join()
    assert results == [200] * 3


def test_nobody_waits_longer_than_allowed(proxy):
    held = Held()
    gw, origin = proxy(answer=held, service={"concurrency": {"limit": 1, "queue": 10, "wait": "200ms"}}, workers=1)
    first = threading.Thread(target=lambda: get(gw))
    first.start()
    wait_for("one inside", lambda: held.inside == 1)
    began = time.monotonic()
    assert get(gw).status == 503
    assert 0.1 < time.monotonic() - began < 1.0 * harness.SCALE
    held.open.set()
    first.join()


def test_who_leaves_the_queue_leaves_nothing_behind(proxy):
    held = Held()
    gw, origin = proxy(answer=held, service={"concurrency": {"limit": 1, "queue": 10, "wait": "20s", "target": "10s"}},
                       workers=1)
    first = threading.Thread(target=lambda: get(gw))
    first.start()
    wait_for("one inside", lambda: held.inside == 1)
    waiting = Client(gw.port)
    waiting.send(harness.request("/"))
    wait_for("two in flight", lambda: gw.metric("vivace_http_requests_in_flight") == 2)
    waiting.reset()
    wait_for("it has left", lambda: gw.metric("vivace_http_requests_in_flight") == 1)
    held.open.set()
    first.join()
    assert get(gw).status == 200
    assert len(origin.requests) == 2
    gw.books_balance()


def test_the_more_important_go_first(gateway, origin):
    held = Held()
    order = []

    def answer(req):
        order.append(req.target)
        return held(req)

    server = origin(answer=answer)
    gw = gateway({
        "workers": 1,
        "services": {"app": {"servers": [server.url],
                             "concurrency": {"limit": 1, "queue": 50, "wait": "20s", "target": "10s"}}},
        "routes": [{"path": "/low/", "to": "app", "priority": "low"},
                   {"path": "/high/", "to": "app", "priority": "high"}, {"path": "/", "to": "app"}],
    })
    threads = []
    for i, path in enumerate(["/0", "/low/1", "/low/2", "/3", "/4", "/high/5", "/high/6"]):
        t = threading.Thread(target=lambda p=path: get(gw, p))
        t.start()
        threads.append(t)
        wait_for("it is there", lambda n=i: gw.metric("vivace_http_requests_in_flight") == n + 1)
    held.open.set()
    for t in threads:
        t.join()
    assert order == ["/0", "/high/5", "/high/6", "/3", "/4", "/low/1", "/low/2"]


# ------------------------------------------------------------------------------- where guards meet


def test_a_race_is_not_won_by_a_failure(gateway, origin):
    state = {"now": False}

    def slow(req):
        time.sleep(0.3 if state["now"] else 0.0)
        return ok(b"good")

    gw, a, b = two(gateway, origin, slow, lambda r: status(500) if state["now"] else ok(b"good"),
                   service={"hedge": {"min": "20ms", "max": "30ms"}, "retries": {"budget": "100%", "floor": 50}})
    with gw.client() as c:
        learn(c)
        state["now"] = True
        seen = [c.ask("/").status for _ in range(8)]
    # Round robin: half of them ask the slow one first and the failing one as its hedge.
    assert seen.count(200) >= 3, seen
    assert gw.metric("vivace_upstream_hedges_total", result="sent") >= 3
    gw.books_balance()


def test_whoever_gets_a_place_finds_the_connection_free(proxy):
    """A place is passed on after the connection of who had it, not before."""
    gw, origin = proxy(answer=lambda req: (time.sleep(0.01), ok())[1], workers=1,
                       service={"connections": 1, "concurrency": {"limit": 1, "queue": 50, "wait": "20s", "target": "10s"}})
    results = []
    threads = [threading.Thread(target=lambda: results.append(get(gw).status)) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [200] * 12
    assert origin.connections == 1
    gw.books_balance()


def test_time_that_ends_in_the_queue_is_no_failure_of_the_service(proxy):
    held = Held()
    gw, origin = proxy(answer=held, service={"breaker": "b", "concurrency": {"limit": 1, "queue": 9, "wait": "20s", "target": "10s"}},
                       breakers={"b": {"failures": 1, "recover": "60s"}}, deadline_header="X-Time", workers=1)
    first = threading.Thread(target=lambda: get(gw))
    first.start()
    wait_for("one inside", lambda: held.inside == 1)
    assert get(gw, headers=[("X-Time", "100")]).status == 504
    held.open.set()
    first.join()
    assert get(gw).status == 200
    assert gw.metric("vivace_breaker_refused_total") == 0


def test_who_has_no_time_at_all_is_refused_before_anything_is_asked(proxy):
    gw, origin = proxy(deadline_header="X-Time")
    with gw.client() as c:
        assert c.ask("/", headers=[("X-Time", "0")]).status == 504
        for value in ("-1", "1.5", "soon", "9" * 30, ""):
            assert c.ask("/", headers=[("X-Time", value)]).status == 200, value
        assert c.ask("/", headers=[("X-Time", "60000"), ("X-Time", "70000")]).status == 200
    assert len(origin.requests) == 6
    gw.books_balance()


def test_a_fallback_without_servers_is_no_success(gateway, origin):
    bad = origin(answer=lambda r: status(500))
    gw = gateway({
        "services": {"app": [bad.url], "spare": {"servers": [{"url": bad.url, "drain": True}]}},
        "routes": [{"path": "/", "to": "app", "fallback": {"to": "spare"}}],
    })
    answer = get(gw)
    assert answer.status == 503 and b'"reason":"no_server"' in answer.body, (answer.line, answer.body)
    gw.books_balance()


def test_a_failure_passes_when_the_body_cannot_be_sent_again(gateway, origin):
    bad = origin(answer=lambda r: status(500, b"its own"))
    spare = origin()
    gw = gateway({
        "services": {"app": [bad.url], "spare": [spare.url]},
        "routes": [{"path": "/", "to": "app", "fallback": {"to": "spare"}}],
    })
    with gw.client() as c:
        answer = c.ask("/", method="POST", body=b"x" * harness.MIB)
        assert (answer.status, answer.body) == (500, b"its own")
        answer = c.ask("/", method="POST", body=b"x" * 100)
        assert (answer.status, answer.body) == (200, b"ok")
    assert [r.body for r in spare.requests] == [b"x" * 100]
    gw.books_balance()


def test_servers_that_refuse_at_once_are_tried_as_often_as_others(gateway, origin, tmp_path):
    """Connecting to a unix socket nobody listens on fails within the call."""
    good = origin()
    missing = f"unix:{tmp_path}/nobody"
    services = {
        name: {"servers": [missing, good.url], "balance": "round_robin", "max_fails": 0,
               "outlier": {"consecutive": 0}, "retries": retries}
        for name, retries in (("never", 0), ("once", 1), ("other", {"max": 1, "when": ["503"]}))
    }
    gw = gateway({"services": services, "routes": [{"path": f"/{name}/", "to": name} for name in services]})
    with gw.client() as c:
        for name, expected in (("never", {200, 502}), ("once", {200}), ("other", {200, 502})):
            assert {c.ask(f"/{name}/").status for _ in range(8)} == expected, name
    assert gw.metric("vivace_upstream_retries_total", service="once", reason="connect_failed") >= 3
    gw.books_balance()


def test_who_waits_is_answered_before_the_gateway_stops(gateway, origin):
    held = Held()
    server = origin(answer=held)
    gw = gateway({"services": {"app": {"servers": [server.url], "concurrency": {"limit": 1, "queue": 9, "wait": "20s", "target": "10s"}}},
                  "routes": [{"path": "/", "to": "app"}], "drain": "20s"})
    results = []
    threads = [threading.Thread(target=lambda: results.append(get(gw).status)) for _ in range(4)]
    for t in threads:
        t.start()
    wait_for("three wait", lambda: gw.metric("vivace_service_places", kind="waiting") == 3)
    stopping = threading.Thread(target=gw.stop)
    stopping.start()
    time.sleep(0.3)
    held.open.set()
    for t in [*threads, stopping]:
        t.join()
    assert results == [200] * 4


def test_a_stop_does_not_wait_for_who_waits_for_ever(gateway, origin):
    """Worker and guards end while somebody is in and somebody waits."""
    held = Held()
    server = origin(answer=held)
    gw = gateway({"services": {"app": {"servers": [server.url], "concurrency": {"limit": 1, "queue": 9, "wait": "60s", "target": "10s"}}},
                  "routes": [{"path": "/", "to": "app"}], "drain": "200ms"})
    clients = [gw.client() for _ in range(4)]
    for c in clients:
        c.send(harness.request("/"))
    wait_for("three wait", lambda: gw.metric("vivace_service_places", kind="waiting") == 3)
    gw.stop()
    held.open.set()
    for c in clients:
        c.close()


def test_places_survive_a_reload_that_changes_other_guards(proxy):
    held = Held()
    places = {"limit": 1, "queue": 9, "wait": "20s", "target": "10s"}
    gw, origin = proxy(answer=held, service={"concurrency": places})
    threads = [threading.Thread(target=lambda: get(gw)) for _ in range(3)]
    for t in threads:
        t.start()
    wait_for("two wait", lambda: gw.metric("vivace_service_places", kind="waiting") == 2)
    config = gw.config
    config["services"]["app"]["hedge"] = {"min": "5s", "max": "9s"}
    assert gw.reload(config).status == 200
    late = threading.Thread(target=lambda: get(gw))
    late.start()
    wait_for("three wait", lambda: gw.metric("vivace_service_places", kind="waiting") == 3)
    assert held.most == 1 and gw.metric("vivace_service_places", kind="used") == 1
    held.open.set()
    for t in [*threads, late]:
        t.join()
    assert held.most == 1
    gw.books_balance()
