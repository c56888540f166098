# tests/integration/test_stores.py - stores with real Redis servers: metrics, expectations, keys, being away.
"""What Redis says about itself is asked of it directly, beside the gateway."""

import json
import subprocess

import pytest
import yaml

import harness
from harness import wait_for

EXPECTED = {"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru", "tcp-keepalive": "60s", "timeout": 0, "save": "900 1"}
FITTING = {"maxmemory": "64mb", "maxmemory_policy": "allkeys-lru", "tcp_keepalive": 60, "timeout": 0, "save": "900 1"}


def config(stores, **more):
    return {"stores": stores, "routes": [{"respond": "hello"}], **more}


def vivace(gw, *words, code=0):
    """The command line against this gateway; (text, answer) with --json at its end."""
    done = subprocess.run([harness.binary(), "store", *words, "--socket", gw.config["socket"]], capture_output=True, text=True,
                          timeout=harness.PATIENCE * 3)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout + done.stderr


def check_file(tmp_path, text, env=None):
    path = tmp_path / "v.yaml"
    path.write_text(text)
    done = subprocess.run([harness.binary(), "check", str(path)], capture_output=True, text=True,
                          timeout=harness.PATIENCE, env=env)
    return done.returncode, done.stdout + done.stderr


def state(gw, name="local"):
    return {s["name"]: s for s in gw.api("/stores")["stores"]}[name]["state"]


def wait_state(gw, wanted, name="local"):
    wait_for(f"store {name} is {wanted}", lambda: state(gw, name) == wanted)


# ------------------------------------------------------------------------------------- what a file says

def test_a_wrong_url_is_told_with_its_place(tmp_path):
    for url, column in (("http://h:1", 11), ("redis://h:port", 11), ("redis://", 11)):
        code, text = check_file(tmp_path, f"stores:\n  local: {url}\nlisten: 80\nroutes: [{{respond: hi}}]\n".replace(
            f" {url}", f' "{url}"'))
        assert code == 2 and "the url of store \"local\" cannot be read" in text
        assert f"v.yaml:2:{column - 1}: error" in text, text


def test_without_a_url_it_is_a_warning(tmp_path):
    code, text = check_file(tmp_path, "stores: {local: \"${REDIS_URL:-}\"}\nlisten: 80\nroutes: [{respond: hi}]\n",
                            env={"PATH": "/usr/bin"})
    assert code == 0 and "warning: store \"local\" has no url" in text


def test_passwords_are_not_shown(gateway, redis):
    server = redis.server(password="s3cret-word")
    gw = gateway(config({"local": f"redis://:s3cret-word@{server.address}"}))
    wait_state(gw, "up")
    for form in ("", "?form=long", "?form=long&origin=true", "?json=true"):
        text = gw.admin("/api/v1/config" + form).body.decode()
        assert "s3cret" not in text and "[hidden]" in text
    assert "s3cret" not in gw.admin("/api/v1/stores").body.decode()
    assert "s3cret" not in gw.admin("/api/v1/stores/local/check").body.decode()
    assert "s3cret" not in gw.admin("/api/v1/stores/local/info").body.decode()
    with open(gw.log_path, encoding="utf-8") as f:
        assert "s3cret" not in f.read()


# -------------------------------------------------------------------------------------------- numbers

def test_metrics_are_what_info_says(gateway, redis):
    """S0-097."""
    server = redis.server(maxmemory="64mb")
    c = server.client()
    for i in range(30):
        c("SET", f"k{i}", "v", *(["EX", 1000] if i % 3 == 0 else []))
        c("GET", f"k{i}")
        c("GET", f"none{i % 7}")
    gw = gateway(config({"us_redis": server.url}))
    wait_state(gw, "up", "us_redis")
    vivace(gw, "info", "us_redis")  # asks now, not in 15 s
    stats = {**server.info("stats"), **server.info("memory")}
    of = {"instance": "us_redis", "server": server.address}
    assert gw.metric("redis_keyspace_hits_total", **of) == int(stats["keyspace_hits"]) == 30
    assert gw.metric("redis_keyspace_misses_total", **of) == int(stats["keyspace_misses"]) == 30
    assert gw.metric("redis_memory_max_bytes", **of) == 64 << 20
    assert gw.metric("redis_evicted_keys_total", **of) == int(stats["evicted_keys"])
    assert gw.metric("redis_up", **of) == 1
    assert gw.metric("redis_db_keys", db="db0", **of) == 30
    assert gw.metric("redis_db_keys_expiring", db="db0", **of) == 10
    assert gw.metric("vivace_store_up", store="us_redis") == 1
    info = vivace(gw, "info", "us_redis", "--json")
    assert info["servers"][0]["hits"] == 30 and info["servers"][0]["role"] == "master"
    assert info["address"].startswith("redis://")


def test_every_server_of_a_cluster_is_asked(gateway, redis):
    cluster = redis.cluster()
    gw = gateway(config({"cluster": cluster.url}))
    wait_for("all six servers are up", lambda: [s["up"] for s in vivace(gw, "info", "cluster", "--json")["servers"]] ==
             [True] * 6)
    info = vivace(gw, "info", "cluster", "--json")
    assert sorted(s["role"] for s in info["servers"]) == ["master"] * 3 + ["slave"] * 3
    assert state(gw, "cluster") == "up"
    with cluster.masters()[0].client() as c:
        c("SET", cluster.key_at(cluster.masters()[0], "vz:a"), "x", "EX", 100)
    with cluster.masters()[1].client() as c:
        c("SET", cluster.key_at(cluster.masters()[1], "vz:b"), "x")
    seen = vivace(gw, "expire", "cluster", "--json")
    assert (seen["keys"], seen["with_end"], seen["without_end"], seen["whole"]) == (2, 1, 1, True)


def test_a_master_that_moves_is_found_and_the_lost_one_is_told(gateway, redis):
    guarded = redis.sentinel()
    gw = gateway(config({"local": guarded.url}))
    wait_for("a master and two replicas",
             lambda: sorted(s.get("role", "") for s in vivace(gw, "info", "local", "--json")["servers"]) ==
             ["master", "slave", "slave"])
    wait_state(gw, "up")
    old = guarded.master()
    old.kill()
    guarded.wait_moved(old.port)
    new = guarded.master()
    wait_for("the new master is known", lambda: {s["server"]: s.get("role") for s in vivace(
        gw, "info", "local", "--json")["servers"]}.get(new.address) == "master")
    assert state(gw) in ("up", "degraded")  # whether sentinels still name the lost one
    old.start()
    wait_state(gw, "up")


# -------------------------------------------------------------------------------------- expectations

def test_what_is_as_expected_passes(gateway, redis):
    """S0-029, S0-030, S0-057."""
    server = redis.server(**FITTING)
    gw = gateway(config({"local": {"url": server.url, "expect": EXPECTED}}))
    answer = vivace(gw, "check", "local", "--json")
    assert answer["holds"] and [c["holds"] for c in answer["checks"]] == [True] * len(EXPECTED)
    assert "and as expected" in vivace(gw, "check")
    assert gw.metric("vivace_store_expectations_failed", store="local") == 0


@pytest.mark.parametrize("option, name, shown, mend", [
    ({"maxmemory": "32mb"}, "maxmemory", "33554432 (32MB), 64mb", "config set maxmemory 64mb"),
    ({"maxmemory_policy": "noeviction"}, "maxmemory-policy", "noeviction, allkeys-lru",
     "config set maxmemory-policy allkeys-lru"),
    ({"tcp_keepalive": 300}, "tcp-keepalive", "300, 60s", "config set tcp-keepalive 60"),
    ({"timeout": 30}, "timeout", "30, 0", "config set timeout 0"),
    ({"save": "300 10"}, "save", "300 10, 900 1", "config set save '900 1'"),
])
def test_what_is_not_as_expected_says_how_to_mend_it(gateway, redis, option, name, shown, mend):
    """S0-027 to S0-030, S2-015, S4-062: and the line that is printed does mend it."""
    server = redis.server(**{**FITTING, **option})
    gw = gateway(config({"local": {"url": server.url, "expect": EXPECTED}}))
    text = vivace(gw, "check", "local", code=1)
    assert f"{name} of {server.address} is {shown} was expected" in text
    line = next(l for l in text.splitlines() if l.startswith(f"{name} of")).split("expected: ")[1]
    assert line.endswith(mend)
    subprocess.run(line, shell=True, check=True, capture_output=True, timeout=harness.PATIENCE)
    vivace(gw, "check", "local")
    wait_for("the metric says so, too", lambda: gw.metric("vivace_store_expectations_failed", store="local") == 0)


def test_the_server_is_never_changed(gateway, redis):
    server = redis.server(maxmemory="32mb", save="300 10")
    before = server("CONFIG", "GET", "*")
    gw = gateway(config({"local": {"url": server.url, "expect": EXPECTED}}))
    vivace(gw, "check", "local", code=1)
    assert server("CONFIG", "GET", "*") == before


def test_an_unknown_parameter_is_told(gateway, redis):
    server = redis.server()
    gw = gateway(config({"local": {"url": server.url, "expect": {"maxmemry": "1gb"}}}))
    assert "maxmemry of" in vivace(gw, "check", "local", code=1)
    assert vivace(gw, "check", "local", "--json", code=1)["checks"][0]["holds"] is None


def test_a_server_that_is_open_to_all_is_a_warning(gateway, redis):
    """S2-016."""
    server = redis.server(bind="0.0.0.0", protected_mode=False)
    gw = gateway(config({"local": f"redis://127.0.0.1:{server.port}"}))
    text = vivace(gw, "check", "local")
    assert "without a password, anybody may read and change it" in text
    server("CONFIG", "SET", "bind", "127.0.0.1")
    assert "without a password" not in vivace(gw, "check", "local")


# ---------------------------------------------------------------------------------------------- keys

def test_keys_are_counted_by_prefix_and_the_soonest_come_first(gateway, redis):
    server = redis.server()
    c = server.client()
    for i in range(500):
        c("SET", f"vz:api:o:{i}", "x", "EX", 1000 + i)
    for i in range(20):
        c("SET", f"vz:kv:{i}", "x")
        c("SET", f"other:{i}", "x", "EX", 5)
    gw = gateway(config({"local": server.url}))
    wait_state(gw, "up")
    seen = vivace(gw, "expire", "local", "--json", "--soonest", "3")
    assert (seen["keys"], seen["with_end"], seen["without_end"], seen["whole"]) == (520, 500, 20, True)
    assert {g["prefix"]: (g["with_end"], g["without_end"]) for g in seen["groups"]} == {
        "vz:api:o:": (500, 0), "vz:kv:": (0, 20)}
    assert [k["key"] for k in seen["soonest"]] == ["vz:api:o:0", "vz:api:o:1", "vz:api:o:2"]
    assert 900 < seen["soonest"][0]["seconds"] <= 1000
    some = vivace(gw, "expire", "local", "--json", "--keys", "100")
    assert 100 <= some["keys"] < 520 and not some["whole"]
    assert vivace(gw, "expire", "local", "--json", "--prefix", "other:")["keys"] == 20
    assert vivace(gw, "expire", "local", "--json", "--prefix", "v*")["keys"] == 0  # no pattern
    assert "vz:kv:" in vivace(gw, "expire", "local")


# ------------------------------------------------------------------------------------------ being away

def test_a_store_that_is_away_is_told_once_and_comes_back(gateway, redis):
    server = redis.server()
    gw = gateway(config({"local": server.url}))
    wait_state(gw, "up")
    assert gw.api("/status")["stores"] == [
        {**gw.api("/status")["stores"][0], "name": "local", "state": "up"}]
    assert json.loads(gw.admin("/health").body)["status"] == "ok"
    server.kill()
    wait_state(gw, "away")
    health = json.loads(gw.admin("/health").body)
    assert health["status"] == "degraded" and health["stores"][0]["state"] == "away"
    status = subprocess.run([harness.binary(), "status", "--socket", gw.config["socket"]], capture_output=True, text=True,
                            timeout=harness.PATIENCE, check=True).stdout
    assert "degraded: 1 store is away" in status
    assert gw.ask("/").body == b"hello"
    assert gw.metric("vivace_store_up", store="local") == 0
    text = vivace(gw, "info", "local")
    assert "local is away" in text and "refused" in text
    vivace(gw, "check", "local")  # nothing is expected of it
    vivace(gw, "expire", "local", code=1)
    server.start()
    wait_state(gw, "up")
    assert json.loads(gw.admin("/health").body)["status"] == "ok"
    with open(gw.log_path, encoding="utf-8") as f:
        log = f.read()
    assert log.count("store is away") == 1 and log.count("store is back") == 1


def test_a_server_that_hangs_is_away_and_an_answer_does_not_wait_for_ever(gateway, redis):
    server = redis.server()
    gw = gateway(config({"local": server.url}))
    wait_state(gw, "up")
    server.pause()
    try:
        assert "local is away" in vivace(gw, "info", "local")
        assert gw.ask("/").body == b"hello"
    finally:
        server.resume()
    wait_state(gw, "up")


def test_a_reload_takes_another_server_and_forgets_a_store(gateway, redis):
    one, two = redis.server(), redis.server()
    gw = gateway(config({"local": one.url}))
    wait_state(gw, "up")
    assert gw.reload(config({"local": two.url}))
    wait_for("the other server is asked",
             lambda: [s["server"] for s in gw.api("/stores")["stores"][0]["servers"]] == [two.address])
    wait_state(gw, "up")
    wait_for("nobody is connected to the first", lambda: int(one.info("clients")["connected_clients"]) <= 1)
    assert gw.reload(config({}))
    assert gw.api("/stores")["stores"] == []
    assert gw.api("/stores/local/info", status=404)["error"] == 'there is no store "local"'


def test_a_store_in_memory_has_no_server_to_ask(gateway):
    gw = gateway(config({"local": {}}))
    assert state(gw) == "memory"
    assert "no server" in gw.api("/stores/local/info", status=409)["error"]
    assert "there are no stores with a server" in vivace(gw, "check")
    assert "memory" in vivace(gw, "list")


def test_the_file_of_the_design_is_read(tmp_path):
    conf = {"stores": {"local": {"url": "redis://us_redis:6379/0",
                                 "expect": {"maxmemory": "4gb", "maxmemory-policy": "allkeys-lru", "tcp-keepalive": 60,
                                            "timeout": 0, "save": "900 1"}},
                       "cluster": "redis+cluster://us_redis_cluster:7000"},
            "caches": {"api": {"levels": [{"memory": "256MB", "entries": 10000}, {"store": "local"},
                                          {"store": "cluster", "ttl": "x2"}]}},
            "listen": 80, "services": {"a": ["h:1"]}, "routes": [{"to": "a", "cache": "api"}]}
    code, text = check_file(tmp_path, yaml.safe_dump(conf))
    assert code == 0, text
