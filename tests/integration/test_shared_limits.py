# tests/integration/test_shared_limits.py - one count over several gateways, kept in a real redis-server.
import os
import threading
import time

from harness import Gateway, kill_group, ok, wait_for

LONG = os.environ.get("VIVACE_LONG") == "1"
HI = {"status": 200, "body": "hi"}
KEY = [("X-Api-User", "someone@example.org")]


def shared(store, limit, **root):
    return dict({
        "workers": 2,
        "stores": {"local": store.url},
        "defaults": {"share": "local"},
        "routes": [{"path": "/", "respond": HI, "limit": dict({"per": "$header.x-api-user"}, **limit)}],
    }, **root)


def together(gateways, count=3):
    """Until each of them knows of so many."""
    for gw in gateways:
        wait_for("shared", lambda gw=gw: gw.metric("vivace_limit_shared", store="local") == 1)
        wait_for(f"{count} gateways", lambda gw=gw: gw.metric("vivace_limit_gateways", store="local") == count)


class Demand:
    """So many requests per second at one gateway, on connections of their own, until it is stopped."""

    def __init__(self, gw, rate, connections=2):
        self.gw, self.gap, self.ends = gw, connections / rate, threading.Event()
        self.statuses, self.broken, self.lock = {}, 0, threading.Lock()
        self.threads = [threading.Thread(target=self.one, args=(i,)) for i in range(connections)]
        for t in self.threads:
            t.start()

    def one(self, index):
        mine, due = {}, time.monotonic() + self.gap * index / len(self.threads)
        try:
            with self.gw.client() as c:
                while not self.ends.is_set():
                    due += self.gap
                    time.sleep(max(0.0, due - time.monotonic()))
                    status = c.ask("/", headers=KEY).status
                    mine[status] = mine.get(status, 0) + 1
        except Exception:  # the gateway was killed
            self.broken += 1
        with self.lock:
            for status, n in mine.items():
                self.statuses[status] = self.statuses.get(status, 0) + n

    def end(self):
        self.ends.set()
        for t in self.threads:
            t.join()
        return self.statuses


def admitted(demands):
    return sum(d.statuses.get(200, 0) for d in demands)


def only(demands, *statuses):
    for d in demands:
        assert set(d.statuses) <= set(statuses), d.statuses


def test_three_gateways_admit_one_plan(gateway, redis):
    seconds = 60 if LONG else 15
    store = redis.server()
    gateways = [gateway(shared(store, {"rate": "50/s", "burst": 50})) for _ in range(3)]
    together(gateways)
    began = time.monotonic()
    demands = [Demand(gw, rate) for gw, rate in zip(gateways, (200, 60, 15))]
    time.sleep(seconds)
    for d in demands:
        d.ends.set()
    took = time.monotonic() - began
    for d in demands:
        d.end()
    plan = 51 + 50 * took
    print(f"\nadmitted {admitted(demands)} of {plan:.0f} in {took:.1f} s: {100 * admitted(demands) / plan:.2f} %, "
          f"by gateway {[d.statuses.get(200, 0) for d in demands]}")
    only(demands, 200, 429)
    assert abs(admitted(demands) - plan) <= 0.02 * plan
    assert all(d.statuses.get(200, 0) > 0 for d in demands)
    names = store("KEYS", "*")
    assert any(n.startswith(b"vz:limit:{") for n in names)
    assert not any(b"someone" in n for n in names), names  # a digest, never the key
    for n in names:
        assert 0 < store("PTTL", n) <= 86_400_000


def test_a_killed_gateway_costs_less_than_a_burst(gateway, redis, stack):
    seconds = 20 if LONG else 8
    store = redis.server()
    config = shared(store, {"rate": "50/s", "burst": 50})
    gateways = [gateway(config) for _ in range(2)]
    victim = Gateway(config)  # not of the fixture: it wants a clean end
    try:
        together(gateways + [victim])
        began = time.monotonic()
        demands = [Demand(gw, rate) for gw, rate in zip([victim, *gateways], (200, 60, 15))]
        time.sleep(seconds)
        kill_group(victim.process.pid)  # supervisor and worker, kill -9
        together(gateways, 2)
        time.sleep(seconds)
        for d in demands:
            d.ends.set()
        took = time.monotonic() - began
        for d in demands:
            d.end()
    finally:
        kill_group(victim.process.pid)
        victim.process.wait()
        victim.remove()
    plan = 51 + 50 * took
    print(f"\nadmitted {admitted(demands)} of {plan:.0f}, one of three gateways killed")
    assert abs(admitted(demands) - plan) <= 51
    only(demands, 200, 429)


def test_without_the_store_each_counts_alone_and_says_so(gateway, redis):
    store = redis.server()
    gateways = [gateway(shared(store, {"rate": "20/s", "burst": 20})) for _ in range(2)]
    together(gateways, 2)
    demands = [Demand(gw, 100) for gw in gateways]
    time.sleep(2)
    for fault, mend in ((store.pause, store.resume), (store.kill, store.start)):
        fault()
        for gw in gateways:
            wait_for("alone", lambda gw=gw: gw.metric("vivace_limit_shared", store="local") == 0)
            assert gw.api("/status")["limits_alone"] == 1
        before = admitted_now(gateways)
        began = time.monotonic()
        time.sleep(2)
        rate = (admitted_now(gateways) - before) / (time.monotonic() - began)
        assert 30 <= rate <= 50, rate  # 20/s each
        mend()
        together(gateways, 2)
    time.sleep(2)
    before, began = admitted_now(gateways), time.monotonic()
    time.sleep(4)
    rate = (admitted_now(gateways) - before) / (time.monotonic() - began)
    for d in demands:
        d.end()
    print(f"\n{rate:.1f}/s of 20/s after the store came back")
    assert 17 <= rate <= 23, rate
    only(demands, 200, 429)  # never anything else, whatever the store did
    for gw in gateways:
        assert gw.log().count("limits are counted by this gateway alone") == 2  # once for each time it went


def admitted_now(gateways):
    return sum(gw.metric("vivace_limit_decisions_total", result="allowed") for gw in gateways)


def test_a_plan_is_one_for_all_gateways(gateway, redis, tmp_path):
    store = redis.server()
    gateways = [gateway(shared(store, {"quota": "30/h"})) for _ in range(2)]
    together(gateways, 2)
    got = []
    for _ in range(8):  # 80 in all, at both in turn
        for gw in gateways:
            with gw.client() as c:
                got += [c.ask("/", headers=KEY).status for _ in range(5)]
        time.sleep(0.2)
    assert set(got) == {200, 429}
    assert 30 <= got.count(200) <= 35  # what one of them may let pass before it hears of the other: 5
    answer = gateways[0].ask("/", headers=KEY)
    assert answer.status == 429 and answer.has("Retry-After") and ";r=0" in answer.get("RateLimit")


def test_a_store_full_of_other_things_is_no_fault(gateway, redis):
    store = redis.server()
    gw = gateway(shared(store, {"rate": "5/s", "burst": 4}))
    together([gw], 1)
    with gw.client() as c:
        assert c.ask("/", headers=KEY).status == 200
        wait_for("a key", lambda: any(b":limit:{" in n and n.count(b":") == 4 for n in store("KEYS", "*")))
        for n in store("KEYS", "*"):
            store("DEL", n)
            store("SET", n, "what is this")
        for _ in range(10):
            assert c.ask("/", headers=KEY).status in (200, 429)
            time.sleep(0.05)
        store("SCRIPT", "FLUSH")  # NOSCRIPT: told again, whole
        for _ in range(10):
            assert c.ask("/", headers=KEY).status in (200, 429)
            time.sleep(0.05)
    assert gw.metric("vivace_limit_shared", store="local") == 1
    assert gw.log().count("alone") == 0


# What a hash looks like to a store whose clock is an hour behind: of a replica that became the master, or put right.
AHEAD = """for _, key in ipairs(KEYS) do local h = redis.call('HGETALL', key)
for n = 1, #h, 2 do
  local d, at, q = string.match(h[n + 1], '^(%d+) (%d+) (%d+)$')
  if h[n] == 't' then redis.call('HSET', key, 't', string.format('%.1f', h[n + 1] + 3600000000))
  elseif d then redis.call('HSET', key, h[n], string.format('%s %.0f %s', d, at + 3600000000, q)) end
end end return #KEYS"""


def test_a_store_whose_clock_goes_back_refuses_nobody_for_long(gateway, redis):
    store = redis.server()
    gateways = [gateway(shared(store, {"rate": "20/s", "burst": 4})) for _ in range(2)]
    together(gateways, 2)
    demands = [Demand(gw, 20) for gw in gateways]
    time.sleep(1)
    keys = [n for n in store("KEYS", "*") if b":limit:{" in n and n.count(b":") == 4]
    assert store("EVAL", AHEAD, len(keys), *keys) == 1
    time.sleep(0.5)
    for d in demands:
        d.end()
    later = [Demand(gw, 20) for gw in gateways]
    time.sleep(2)
    for d in later:
        d.end()
    only(demands + later, 200, 429)
    assert 20 <= admitted(later) <= 60, (demands[0].statuses, [d.statuses for d in later])


def test_a_cluster_keeps_the_count_too(gateway, redis):
    cluster = redis.cluster()
    gateways = [gateway(shared(cluster, {"rate": "20/s", "burst": 20})) for _ in range(2)]
    together(gateways, 2)
    began = time.monotonic()
    demands = [Demand(gw, 100) for gw in gateways]
    time.sleep(5)
    for d in demands:
        d.end()
    plan = 21 + 20 * (time.monotonic() - began)
    only(demands, 200, 429)
    assert abs(admitted(demands) - plan) <= 0.1 * plan, (admitted(demands), plan)
    for gw in gateways:  # every key of a script was in one slot
        assert gw.metric("vivace_limit_shared", store="local") == 1
        assert gw.metric("vivace_limit_exchanges_total", result="lost") <= 3


def test_a_reload_moves_the_count_to_another_store(gateway, redis):
    first, second = redis.server(), redis.server()
    gw = gateway(shared(first, {"rate": "1/h", "burst": 4}))
    together([gw], 1)
    for _ in range(3):
        assert gw.ask("/", headers=KEY).status == 200
    wait_for("a key", lambda: any(n.count(b":") == 4 for n in first("KEYS", "*")))
    gw.reload(shared(second, {"rate": "1/h", "burst": 4}))
    wait_for("gateways there", lambda: second("KEYS", "vz:limit:{0}:gateways"))
    together([gw], 1)
    got = [gw.ask("/", headers=KEY).status for _ in range(4)]
    assert got == [200, 200, 429, 429]  # what was used stays used: 5 in all
    wait_for("the key there", lambda: any(n.count(b":") == 4 for n in second("KEYS", "*")))
    gw.reload(shared(second, {"rate": "1/h", "burst": 4}, defaults={}))
    assert gw.ask("/", headers=KEY).status == 429
    assert gw.metric("vivace_limit_shared", store="local") == 0  # none such
    first.kill()
    second.kill()
    assert gw.ask("/", headers=KEY).status == 429


def test_a_breaker_that_opens_warns_the_others(gateway, redis, origin):
    store = redis.server()
    sick = [True]

    def handler(req):
        return ok(b"no", status="503 Service Unavailable") if sick[0] else ok(b"yes")

    server = origin(answer=handler)
    config = {
        "stores": {"local": store.url},
        "breakers": {"b": {"failures": 5, "recover": "30s", "share": "local"}},
        "services": {"s": {"servers": [server.name], "breaker": "b", "retries": 0}},
        "routes": [{"path": "/", "to": "s"}],
    }
    one, other = gateway(config), gateway(config)
    together([one, other], 2)

    def breaker(gw):
        return gw.api("/guards")["breakers"][0]

    assert other.ask("/").status == 503 and breaker(other)["state"] == "closed"
    for _ in range(5):
        one.ask("/")
    assert breaker(one)["state"] == "open"
    wait_for("the warning", lambda: breaker(other)["warned_for_s"] > 0)
    sick[0] = False
    assert other.ask("/").status == 200 and breaker(other)["state"] == "closed"  # its own way is fine
    sick[0] = True
    assert other.ask("/").status == 503
    assert breaker(other)["state"] == "open"  # at the first failure, not the fifth
