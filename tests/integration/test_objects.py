# tests/integration/test_objects.py - keys and values for applications: a real Redis first, memory as fallback.
import json
import random
import subprocess
import threading
import time

from harness import binary, wait_for

PATH = "/api/v1/cache/"


def config(store, name="local", **more):
    return dict({"stores": {name: store}, "routes": [{"path": PATH, "objects": name}]}, **more)


class Objects:
    """One connection to one gateway."""

    def __init__(self, gw):
        self.client = gw.client()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def put(self, key, value=b"v", **headers):
        return self.ask("PUT", key, value, **headers)

    def get(self, key, **headers):
        return self.ask("GET", key, **headers)

    def delete(self, key, **headers):
        return self.ask("DELETE", key, **headers)

    def ask(self, method, key, body=None, **headers):
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        return self.client.ask(PATH + key, method, named, body)

    def purge(self, query):
        answer = self.ask("POST", "?" + query)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)


def level(answer):
    return answer.get("X-Cache-Level")


# ------------------------------------------------------------------------------------- one object

def test_an_object_is_put_read_and_deleted_in_redis(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        made = o.put("user/7", b'{"a":1}', Content_Type="application/json", Cache_Control="max-age=60",
                     Cache_Tag="users, u7")
        assert made.status == 201 and level(made) == "redis", made.body
        got = o.get("user/7")
        assert got.status == 200 and got.body == b'{"a":1}' and level(got) == "redis"
        assert got.get("Content-Type") == "application/json"
        assert got.get("ETag") == made.get("ETag")
        assert got.get("Age") == "0" and got.get("Cache-Control") in ("max-age=59", "max-age=60")
        assert got.get("Cache-Tag") == "users, u7"
        head = o.ask("HEAD", "user/7")
        assert head.status == 200 and head.get("Content-Length") == "7"
        assert 0 < int(server("PTTL", "vz:kv:local:o:user/7")) <= 60000
        assert o.put("user/7", b"2").status == 204
        assert o.get("user/7").body == b"2"
        assert o.delete("user/7").status == 204
        assert o.get("user/7").status == 404
        again = o.delete("user/7")
        assert again.status == 404 and json.loads(again.body)["reason"] == "not_found"
        assert o.put("empty", b"").status == 201
        assert o.get("empty").body == b""
    m = gw.metrics()
    assert m.sum("vivace_objects_total", store="local", operation="put", result="stored", level="redis") == 3
    assert m.sum("vivace_objects_total", operation="get", result="hit", level="redis") == 4
    assert m.sum("vivace_objects_total", operation="get", result="miss", level="redis") == 1
    assert m.sum("vivace_objects_total", operation="delete", result="absent", level="redis") == 1


def test_every_object_has_its_own_lifetime(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        assert o.put("short", X_TTL="300ms").status == 201
        assert o.put("short2?ttl=1").status == 201
        assert o.put("long", X_TTL="1h").status == 201
        assert o.put("ever").status == 201
        assert o.get("short").status == 200
        assert o.get("ever").get("Cache-Control") == "no-cache"
        assert server("PTTL", "vz:kv:local:o:ever") == -1
        assert 3599000 < server("PTTL", "vz:kv:local:o:long") <= 3600000
        assert server("PTTL", "vz:kv:local:o:short2") <= 1000
        wait_for("its end", lambda: o.get("short").status == 404)
        assert o.get("long").status == 200
        for bad in ("x", "-1", "10 parsecs"):
            answer = o.put("bad", X_TTL=bad)
            assert answer.status == 400 and json.loads(answer.body)["reason"] == "bad_ttl", bad
        assert o.put("bad", Cache_Control="max-age=0").status == 400
        assert o.get("bad").status == 404


def test_conditions_are_judged_with_the_write(gateway, redis):
    gw = gateway(config(redis.server().url))
    with Objects(gw) as o:
        one = o.put("k", b"1", If_None_Match="*")
        assert one.status == 201
        assert o.put("k", b"x", If_None_Match="*").status == 412
        etag = one.get("ETag")
        assert o.get("k", If_None_Match=etag).status == 304
        assert o.get("k", If_None_Match='"0123456789abcdef"').status == 200
        assert o.put("k", b"x", If_Match='"0123456789abcdef"').status == 412
        assert o.put("k", b"x", If_Match='"other"').status == 412
        assert o.put("k", b"x", If_None_Match=etag).status == 412
        two = o.put("k", b"2", If_Match=f'"0123456789abcdef", {etag}')
        assert two.status == 204 and o.get("k").body == b"2"
        gone = o.delete("k", If_Match=etag)
        assert gone.status == 412 and json.loads(gone.body)["reason"] == "condition_failed"
        assert o.delete("k", If_Match=two.get("ETag")).status == 204
        assert o.put("k", b"3", If_Match="*").status == 412
    with Objects(gw) as o:  # of many who create one key at the same time, one does
        got, lock = [], threading.Lock()

        def create():
            with Objects(gw) as mine:
                status = mine.put("race", b"v", If_None_Match="*").status
                with lock:
                    got.append(status)

        threads = [threading.Thread(target=create) for _ in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(got) == [201] + [412] * 11


def test_what_is_too_large_or_malformed_is_refused(gateway, redis):
    gw = gateway(config({"url": redis.server().url, "fallback": {"max_object": "4KB"}}))
    with Objects(gw) as o:
        assert o.put("fits", b"x" * 4096).status == 201
        assert len(o.get("fits").body) == 4096
        over = o.put("over", b"x" * 4097)
        assert over.status == 413 and json.loads(over.body)["reason"] == "body_too_large"
    with Objects(gw) as o:
        chunked = o.client.ask(PATH + "over", "PUT", {"Transfer-Encoding": "chunked"},
                               b"1001\r\n" + b"x" * 4097 + b"\r\n0\r\n\r\n")
        assert chunked.status == 413
    with Objects(gw) as o:
        o.client.send(f"PUT {PATH}slow HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n"
                      "Content-Length: 4\r\n\r\n".encode())
        assert o.client.head().startswith(b"HTTP/1.1 100 ")
        o.client.send(b"body")
        assert o.client.answer("PUT").status == 201
        assert o.get("slow").body == b"body"
        assert o.get("k" * 512).status == 404
        assert o.get("k" * 513).status == 400
        assert o.get("").status == 400
        assert o.put("t", Cache_Tag=",".join(f"t{i}" for i in range(33))).status == 400
        assert o.ask("PATCH", "x").status == 405
        post = o.ask("POST", "x")
        assert post.status == 405 and "PUT" in post.get("Allow")
        assert o.put("a%2Fb%20c%00").status == 400
        assert o.put("a%2Fb%20%C3%A4").status == 201
        assert o.get("a%2fb%20%c3%a4").status == 200


def test_a_large_value_passes_whole(gateway, redis):
    gw = gateway(config(redis.server().url))
    value = bytes(range(256)) * 4096  # 1 MiB
    with Objects(gw) as o:
        assert o.put("big", value).status == 201
        got = o.get("big")
        assert got.body == value and level(got) == "redis"


# ---------------------------------------------------------------------------------------- many

def fill(o):
    for i in range(40):
        assert o.put(f"user:{i}", Cache_Tag=f"users, n{i % 2}").status == 201
    for i in range(10):
        assert o.put(f"item:{i}", Cache_Tag=f"items, n{i % 2}").status == 201


def count(o, prefix, n):
    return sum(o.get(f"{prefix}:{i}").status == 200 for i in range(n))


def check_purges(o):
    fill(o)
    assert o.purge("pattern=user:1*") == {"removed": 11, "level": level(o.get("user:0"))}  # 1, 10 to 19
    assert count(o, "user", 40) == 29
    assert o.purge("tag=n1")["removed"] == 19  # user: 20 odd ones less 1, 11, 13, 15, 17, 19; 5 items
    assert (count(o, "user", 40), count(o, "item", 10)) == (15, 5)
    assert o.purge("purge=item:?")["removed"] == 5
    deleted = o.ask("DELETE", "?tag=users")
    assert deleted.status == 200 and json.loads(deleted.body)["removed"] == 15
    assert o.purge("pattern=*")["removed"] == 0
    assert o.purge("tag=never")["removed"] == 0


def test_patterns_and_tags_remove_groups(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    server("SET", "vz:kv:local:o-not-ours", "1")
    server("SET", "user:1", "1")
    with Objects(gw) as o:
        check_purges(o)
        # A key that lost its tag is none of the tag's any more.
        assert o.put("k", Cache_Tag="old").status == 201
        assert o.put("k", Cache_Tag="new").status == 204
        assert o.purge("tag=old")["removed"] == 0
        assert o.get("k").status == 200
        assert o.purge("tag=new")["removed"] == 1
    assert server("EXISTS", "vz:kv:local:o-not-ours", "user:1") == 2
    assert server("ZCARD", "vz:kv:local:t:users") == 0


def test_a_set_of_a_tag_lives_as_long_as_its_longest_member(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        o.put("a", X_TTL="100s", Cache_Tag="t")
        o.put("b", X_TTL="10s", Cache_Tag="t")
        assert 90000 < server("PTTL", "vz:kv:local:t:t") <= 100000
        o.put("c", X_TTL="100ms", Cache_Tag="t")
        assert server("ZCARD", "vz:kv:local:t:t") == 3
        time.sleep(0.2)
        o.put("d", X_TTL="10s", Cache_Tag="t")  # c is over: its place goes with the next put
        assert sorted(server("ZRANGE", "vz:kv:local:t:t", "0", "-1")) == [b"a", b"b", b"d"]


def test_patterns_and_tags_reach_every_node_of_a_cluster(gateway, redis):
    cluster = redis.cluster(masters=3, replicas=0)
    gw = gateway(config(cluster.url))
    with Objects(gw) as o:
        check_purges(o)
        assert level(o.get("user:0")) is None
        assert o.put("user:0").status == 201 and level(o.get("user:0")) == "redis"
    assert gw.metric("vivace_objects_total", level="memory") == 0


# ------------------------------------------------------------------------------------- gateways

def test_two_gateways_see_each_others_objects(gateway, redis):
    server = redis.server()
    one, two = gateway(config(server.url)), gateway(config(server.url))
    with Objects(one) as a, Objects(two) as b:
        etag = a.put("k", b"1", Cache_Tag="t").get("ETag")
        got = b.get("k")
        assert got.body == b"1" and got.get("ETag") == etag and got.get("Cache-Tag") == "t"
        b.put("k", b"2")
        assert a.get("k").body == b"2"
        b.put("k", b"3", Cache_Tag="t")
        assert a.purge("tag=t")["removed"] == 1
        assert b.get("k").status == 404
        a.put("x:1", b"1")
        assert b.get("x:1").status == 200
        assert a.purge("pattern=x:*")["removed"] == 1
        assert b.get("x:1").status == 404
        server.kill()  # what was seen to be gone does not come back from memory
        assert b.get("x:1").status == 404 and b.get("k").status == 404


# ------------------------------------------------------------------------------------- fallback

def back(gw, o):
    """Waits until the store has heard all and answers."""
    wait_for("the store", lambda: level(o.get("probe")) == "redis" or o.put("probe") is None)


def test_memory_serves_while_redis_is_away_and_tells_it_later(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        assert o.put("probe").status == 201
        for i in range(20):
            assert o.put(f"k{i}", f"old{i}".encode(), Cache_Tag="t").status == 201
        server.kill()
        got = o.get("k0")
        assert got.status == 200 and got.body == b"old0" and level(got) == "memory"
        assert o.put("k1", b"new1").status == 204
        assert o.put("fresh", b"f", X_TTL="1h").status == 201
        assert o.delete("k2").status == 204
        assert o.put("k3", b"x").status == 204 and o.delete("k3").status == 204
        assert o.delete("k4").status == 204 and o.put("k4", b"again").status == 201
        assert o.get("k1").body == b"new1" and o.get("k2").status == 404
        assert o.put("cond", If_Match="*").status == 412
        assert o.put("other:1", b"1").status == 201
        assert o.purge("pattern=k1?")["level"] == "memory"  # k10 to k19
        assert o.put("k15", b"after").status == 201
        assert o.get("k11").status == 404
        # k1, fresh, k2, k3, k4, other:1, k15 and the pattern
        assert gw.metric("vivace_objects_noted", store="local") == 8
        server.start()
        back(gw, o)
        for key, value in {"k1": b"new1", "fresh": b"f", "k4": b"again", "k15": b"after"}.items():
            wait_for(f"{key} in redis", lambda: level(o.get(key)) == "redis")
            assert o.get(key).body == value, key
        for key in ("k0", "k2", "k3", "k10", "k19", "cond"):  # k0: redis came back empty, and it is the truth
            assert o.get(key).status == 404, key
        assert 3500000 < server("PTTL", "vz:kv:local:o:fresh") <= 3600000
        assert server("EXISTS", "vz:kv:local:o:k2", "vz:kv:local:o:k3", "vz:kv:local:o:k11") == 0
    gw.wait_metric("vivace_objects_noted", 0, store="local")
    assert gw.metric("vivace_objects_memory_entries", store="local") > 0
    assert gw.metric("vivace_objects_total", operation="repeat", result="stored") >= 4
    assert gw.metric("vivace_objects_total", level="memory", operation="get", result="hit") >= 2


def test_what_redis_kept_over_an_outage_does_not_undo_a_delete(gateway, redis):
    server = redis.server(appendonly=True, appendfsync="always")
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        for key in ("probe", "gone", "tagged", "changed"):
            assert o.put(key, b"old", Cache_Tag="t" if key == "tagged" else "u").status == 201
        server.kill()
        assert o.delete("gone").status == 204
        assert o.put("changed", b"new").status == 204
        assert o.purge("tag=t")["level"] == "memory"
        server.start()
        assert server("EXISTS", "vz:kv:local:o:probe") == 1  # it did keep them
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and level(o.get("changed")) != "redis":
            assert o.get("gone").status == 404
            assert o.get("tagged").status == 404
            assert o.get("changed").body == b"new"
        assert level(o.get("changed")) == "redis"
        assert server("EXISTS", "vz:kv:local:o:gone", "vz:kv:local:o:tagged") == 0
        assert o.get("gone").status == 404 and o.get("changed").body == b"new"


def test_redis_stopped_under_load_costs_no_error(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    wrong, slow, stop = [], [], threading.Event()
    levels = {"redis": 0, "memory": 0}

    def work(n):
        with Objects(gw) as o:
            i = 0
            while not stop.is_set():
                i += 1
                key = f"w{n}:{i % 20}"
                began = time.monotonic()
                put = o.put(key, str(i).encode())
                got = o.get(key)
                took = time.monotonic() - began
                if put.status not in (201, 204) or got.status != 200 or got.body != str(i).encode():
                    wrong.append((key, put.status, got.status, got.body, i))
                else:
                    levels[level(got)] += 1
                if took > 0.5:
                    slow.append(took)
                time.sleep(0.002)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    time.sleep(1)
    server.kill()
    time.sleep(1.5)
    assert levels["memory"] > 0
    server.start()
    with Objects(gw) as o:
        o.put("probe")
        back(gw, o)
    before = levels["redis"]
    wait_for("answers of redis", lambda: levels["redis"] > before + 50)
    server.pause()  # it hangs: no answer and no refusal
    time.sleep(1.5)
    server.resume()
    before = levels["redis"]
    wait_for("answers of redis again", lambda: levels["redis"] > before + 50)
    stop.set()
    for t in threads:
        t.join()
    assert not wrong, wrong[:5]
    assert len(slow) <= 8, slow
    gw.books_balance()


def test_no_old_value_comes_back_over_many_outages(gateway, redis):
    """Each thread has keys of its own and knows what they must be: puts, deletes and purges while Redis, which
    keeps everything on disk, is killed, started, paused and resumed."""
    server = redis.server(appendonly=True, appendfsync="always")
    gw = gateway(config(server.url))
    wrong, done, stop = [], [0], threading.Event()

    def work(n):
        rng, model = random.Random(n), {}
        with Objects(gw) as o:
            while not stop.is_set() and not wrong:
                key = f"w{n}:{rng.randrange(30)}"
                dice = rng.random()
                if dice < 0.4:
                    value = str(rng.random()).encode()
                    put = o.put(key, value, Cache_Tag=f"w{n}, odd" if dice < 0.1 else f"w{n}")
                    assert put.status == (204 if key in model else 201) or level(put) == "memory"
                    model[key] = value
                elif dice < 0.55:
                    assert o.delete(key).status in (204, 404)
                    model.pop(key, None)
                elif dice < 0.56:
                    o.purge(f"tag=w{n}")
                    model.clear()
                elif dice < 0.57:
                    o.purge(f"pattern=w{n}:1*")
                    model = {k: v for k, v in model.items() if not k.startswith(f"w{n}:1")}
                else:
                    got = o.get(key)
                    value = got.body if got.status == 200 else None
                    if value != model.get(key):
                        wrong.append((key, got.status, level(got), value, model.get(key)))
                done[0] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for _ in range(3):
        time.sleep(0.4)
        server.kill()
        time.sleep(0.3)
        server.start()
        time.sleep(0.6)
        server.pause()
        time.sleep(0.3)
        server.resume()
    time.sleep(1)
    gw.wait_metric("vivace_objects_noted", 0, store="local")
    stop.set()
    for t in threads:
        t.join()
    assert not wrong, wrong
    assert done[0] > 1000
    assert gw.metric("vivace_objects_total", operation="repeat", level="redis", result="stored") > 0
    gw.books_balance()


def test_a_client_that_leaves_does_not_take_its_write_along(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        assert o.put("probe").status == 201
        server.pause()
        with gw.client() as c:
            c.send(f"PUT {PATH}left HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc".encode())
            time.sleep(0.01)
        with gw.client() as c:
            c.send(f"GET {PATH}probe HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            time.sleep(0.01)
        wait_for("the write", lambda: o.get("left").body == b"abc")
        server.resume()
        wait_for("redis", lambda: server("EXISTS", "vz:kv:local:o:left") == 1)
        assert o.get("left").body == b"abc"
    gw.books_balance()


def test_a_cluster_that_lost_a_master_costs_no_error(gateway, redis):
    cluster = redis.cluster(masters=3, replicas=0, cluster_require_full_coverage=False)
    gw = gateway(config(cluster.url))
    with Objects(gw) as o:
        for i in range(30):
            assert o.put(f"k{i}", b"1", Cache_Tag="t").status == 201
        lost = cluster.masters()[1]
        lost.kill()
        for i in range(30):
            assert o.put(f"k{i}", b"2", Cache_Tag="t").status in (201, 204)
            assert o.get(f"k{i}").body == b"2", i
        assert o.delete("k7").status == 204
        levels = {level(o.get(f"k{i}")) for i in range(30) if i != 7}
        assert "memory" in levels
        assert o.purge("pattern=k1?")["level"] == "memory"
        assert o.get("k15").status == 404
        lost.start()
        cluster.wait_covered()
        left = [i for i in range(30) if i != 7 and not 10 <= i < 20]
        wait_for("all in redis", lambda: all(level(o.get(f"k{i}")) == "redis" for i in left), 20)
        assert all(o.get(f"k{i}").body == b"2" for i in left)
        assert all(o.get(f"k{i}").status == 404 for i in [7, *range(10, 20)])


def test_a_lying_redis_is_not_believed(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        assert o.put("k", b"true").status == 201
        raw = server("GET", "vz:kv:local:o:k")
        server("SET", "vz:kv:local:o:k", raw[:-1] + b"X")
        got = o.get("k")
        assert got.body == b"true" and level(got) == "memory"
        server("DEL", "vz:kv:local:o:k")
        server("LPUSH", "vz:kv:local:o:k", "a")
        assert o.get("k").body == b"true"
        server("SET", "vz:kv:local:o:j", "junk")
        assert o.get("j").status == 404
        assert o.put("j", b"now").status in (201, 204)
        assert o.get("j").body == b"now"


def test_a_full_redis_leaves_objects_in_memory(gateway, redis):
    server = redis.server(maxmemory_policy="noeviction")
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        assert o.put("k", b"1").status == 201
        server("CONFIG", "SET", "maxmemory", "1")
        assert o.put("k", b"2").status == 204
        assert o.get("k").body == b"2" and level(o.get("k")) == "memory"
        server("CONFIG", "SET", "maxmemory", "0")
        wait_for("redis", lambda: level(o.get("k")) == "redis")
        assert o.get("k").body == b"2"


# ------------------------------------------------------------------------------------- memory only

def test_a_store_without_a_server_is_memory_only_and_a_warning(gateway, tmp_path):
    gw = gateway(config({"fallback": {"entries": 1000, "trim": "20%"}}))
    with Objects(gw) as o:
        for i in range(1000):
            assert o.put(f"k{i}", str(i).encode()).status == 201
        assert o.get("k0").status == 200 and level(o.get("k0")) == "memory"
        assert o.put("k1000").status == 201
        there = [i for i in range(1001) if o.get(f"k{i}").status == 200]
        assert there == list(range(200, 1001))  # the oldest 200 are gone
        o.purge("pattern=*")
        check_purges(o)
        assert o.put("t", X_TTL="200ms").status == 201
        wait_for("its end", lambda: o.get("t").status == 404)
        assert o.put("c", If_None_Match="*").status == 201
        assert o.put("c", If_None_Match="*").status == 412
    said = subprocess.run([binary(), "check", gw.file], capture_output=True, text=True)
    assert said.returncode == 0 and "memory of this process only" in said.stdout + said.stderr


def test_mistakes_in_the_file_are_told(gateway, tmp_path):
    def check(text):
        path = tmp_path / "v.yaml"
        path.write_text(text)
        done = subprocess.run([binary(), "check", str(path)], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    store = "stores: {local: 'redis://127.0.0.1:1'}\nlisten: 127.0.0.1:1\n"
    assert check(store + "routes: [{path: /c/, objects: local}]\n")[0] == 0
    code, said = check(store + "routes: [{path: /c/, objects: lokal}]\n")
    assert code != 0 and 'store named "lokal"' in said and "local" in said
    code, said = check(store + "routes: [{path: /c, objects: local}]\n")
    assert code != 0 and "write /c/" in said
    code, said = check(store + "routes: [{path: /c/, objects: local, respond: x}]\n")
    assert code != 0 and '"objects" and "respond"' in said


def test_access_and_limits_apply_as_to_any_route(gateway):
    gw = gateway({
        "stores": {"m": {"fallback": {"entries": 10}}},
        "routes": [{"path": PATH, "objects": "m", "limit": {"rate": "2/m", "burst": 2}}],
    })
    with Objects(gw) as o:
        got = [o.get("x").status for _ in range(5)]
        assert got[:2] == [404, 404] and 429 in got[2:], got


def test_a_reload_keeps_what_is_in_memory(gateway):
    gw = gateway(config({"fallback": {"entries": 100}}))
    with Objects(gw) as o:
        assert o.put("k").status == 201
        assert gw.reload().status == 200
        wait_for("the reload", lambda: o.get("k").status == 200)
