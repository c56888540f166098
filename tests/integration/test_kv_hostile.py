# tests/integration/test_kv_hostile.py - the object API under those who mean it harm, and those who are just many.
import socket
import subprocess

from harness import PATIENCE, binary, wait_for
from test_objects import PATH, Objects, config, level


def keys_of(server):
    return sorted(server("KEYS", "*"))


def test_keys_name_what_they_say_and_nothing_else(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        for key, name in (("a%2Fb", b"a/b"), ("a%252Fb", b"a%2Fb"), ("x%00y", b"x\0y"), ("%0d%0aSET%20a%20b", b"\r\nSET a b"),
                          ("%2e%2e%2f..%2fvz:CACHE:o:1", b"../../vz:CACHE:o:1"), ("%ff%fe", b"\xff\xfe"),
                          ("a%3Fb", b"a?b"), ("a+b", b"a+b")):
            answer = o.put(key, b"v")
            if answer.status == 400:
                assert o.get(key).status == 400, key
                continue
            assert answer.status == 201, (key, answer.status, answer.body)
            assert server("EXISTS", b"vz:kv:local:o:" + name) == 1, (key, keys_of(server))
            assert o.get(key).body == b"v" and o.delete(key).status == 204, key
        for key in ("../../../etc", "..", ".", "a/../../b", "%2e%2e/x"):
            o.put(key, b"v")
        assert all(k.startswith(b"vz:kv:local:o:") for k in keys_of(server)), keys_of(server)


def test_lifetimes_that_overflow_are_long_ones(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        for ttl in ("18446744073709551615", "9223372036854775807", "315360000001", "36500d", "4294967297"):
            answer = o.put("k", b"v", X_TTL=ttl)
            assert answer.status in (201, 204), (ttl, answer.status)
            assert int(server("PTTL", "vz:kv:local:o:k")) > 86400000, ttl
        for ttl in ("18446744073709551616", "99999999999999999999999", "1e9", "-1", "", " ", "0x10", "1.5.2"):
            assert o.put("bad", b"v", X_TTL=ttl).status == 400, ttl
        assert o.get("bad").status == 404


def test_odd_tags_are_whole_or_refused(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url))
    with Objects(gw) as o:
        assert o.put("k", b"v", Cache_Tag="a\\*, [x]^-, %s%n, t{1}, \"q\"").status == 201
        for tag in ("a%5C*", "%5Bx%5D%5E-", "%25s%25n", "t%7B1%7D", "%22q%22"):
            o.put("k", b"v", Cache_Tag="a\\*, [x]^-, %s%n, t{1}, \"q\"")
            assert o.purge("tag=" + tag)["removed"] == 1, tag
            assert o.get("k").status == 404, tag
        assert o.ask("POST", "?tag=%0Aa%0A").status == 400
        assert o.ask("POST", "?tag=" + "x" * 200).status == 400
        assert o.put("k", b"v", Cache_Tag=", ".join("t%d" % i for i in range(200))).status == 400


def test_many_purges_at_once_remove_only_what_they_name(gateway, redis):
    server = redis.server()
    gw = gateway(config(dict(url=server.url, timeout="2s"), workers=1))
    with Objects(gw) as o:
        for i in range(2000):
            assert o.put("other/%d" % i, b"v", Cache_Tag="keep").status == 201
        clients = [socket.create_connection(("127.0.0.1", gw.port), 30) for _ in range(120)]
        for i, c in enumerate(clients):
            c.sendall(b"POST %s?pattern=mine/%d/* HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % (PATH.encode(), i))
        said = [c.recv(4096)[9:12] for c in clients]
        assert set(said) <= {b"200", b"503"} and b"200" in said, said
        wait_for("the end of purges", lambda: gw.metrics().sum("vivace_objects_noted", store="local") == 0)
        assert [i for i in range(2000) if o.get("other/%d" % i).status != 200] == []


def test_memory_forgets_what_it_has_no_room_for_the_successor_of(gateway, redis):
    server = redis.server()
    gw = gateway(config(dict(url=server.url, fallback={"memory": "64KB"})))
    with Objects(gw) as o:
        assert o.put("k", b"old").status == 201 and o.put("k", b"x" * 100000).status == 204
        assert o.put("r", b"old").status == 201 and o.get("r").body == b"old"
        server.stop()
        wait_for("memory", lambda: level(o.put("z", b"1")) == "memory")
        assert o.get("k").status == 404 and o.get("r").body == b"old"


def raw(gw, data, until=1.0):
    with socket.create_connection(("127.0.0.1", gw.port), 10) as s:
        s.sendall(data)
        s.settimeout(until)
        got = b""
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                got += piece
        except socket.timeout:
            pass
        return got


def test_who_waits_to_be_asked_for_a_body_is_asked_or_refused(gateway, redis):
    gw = gateway(config(redis.server().url))
    head = b"PUT " + PATH.encode() + b"k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n%s\r\n"
    assert raw(gw, head % (5, b"")).startswith(b"HTTP/1.1 100")
    assert raw(gw, head % (500000000, b"")).startswith(b"HTTP/1.1 413")
    assert raw(gw, head % (5, b"X-TTL: no\r\n")).startswith(b"HTTP/1.1 400")
    assert raw(gw, head % (5, b"") + b"hello").count(b"HTTP/1.1 201") == 1
    # Bodies that come in pieces, end early, or are longer than they may be.
    chunked = b"PUT " + PATH.encode() + b"c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 201 " in raw(gw, chunked + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    raw(gw, chunked + b"2\r\nxx\r\n", until=0.2)
    with Objects(gw) as o:
        assert o.get("c").body == b"abc"
        big = b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(40))
        assert b" 413 " in raw(gw, chunked + big + b"0\r\n\r\n")
        assert o.get("c").body == b"abc"
        # one after the other on one connection, and a body nobody wants
        pipelined = (b"GET %sc HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /DELETE %sc HTTP/1.1\r\nHost: x\r\n\r\n"
                     % (PATH.encode(), PATH.encode()))
        got = raw(gw, pipelined)
        assert got.count(b"HTTP/1.1 ") == 2 and b" 204 " in got, got


def test_what_is_asked_of_a_representation_is_answered(gateway, redis):
    gw = gateway(config(redis.server().url))
    with Objects(gw) as o:
        etag = o.put("k", b"0123456789").get("ETag")
        part = o.get("k", Range="bytes=0-3")
        assert part.status == 200 and part.body == b"0123456789"
        head = o.ask("HEAD", "k", Range="bytes=0-3")
        assert head.status == 200 and head.get("Content-Length") == "10" and head.body == b""
        same = o.ask("HEAD", "k", If_None_Match=etag)
        assert same.status == 304 and same.get("ETag") == etag
        assert o.get("k", If_None_Match="W/" + etag).status == 304
        assert o.get("k", If_None_Match="*").status == 304
        assert o.get("k", If_Match='"no"').status == 412
        assert o.ask("HEAD", "no").status == 404 and o.get("no", If_Match="*").status in (404, 412)
        assert o.put("k", b"x", If_Match="W/" + etag).status == 412  # weak ones are no match
        assert o.get("k").body == b"0123456789"


def test_clients_that_leave_do_not_spoil_others(gateway, redis):
    server = redis.server()
    gw = gateway(config(server.url, workers=2))
    path = PATH.encode()
    asks = [b"GET %sk HTTP/1.1\r\nHost: x\r\n\r\n", b"PUT %sk HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
            b"PUT %sk HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\nhello", b"DELETE %sk HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST %s?pattern=* HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            b"POST %s?tag=t HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"]
    with Objects(gw) as o:
        for turn in range(3):
            server.pause() if hasattr(server, "pause") and turn == 1 else None
            for ask in asks * 10:
                s = socket.create_connection(("127.0.0.1", gw.port))
                s.sendall(ask % path)
                s.close()
            server.resume() if hasattr(server, "resume") and turn == 1 else None
        wait_for("the store", lambda: level(o.put("z", b"1")) == "redis", 15)
        wait_for("it is there", lambda: o.get("z").body == b"1")


def test_names_of_keys_do_not_speak_to_the_operators_terminal(gateway, redis):
    gw = gateway(config(redis.server().url))
    with Objects(gw) as o:
        for key in ("%1b%5B31mred%1b%5D0;owned%07", "a%0a0.0%20s%20%20b", "%c2%9b31m", "%ff%fe", "caf%c3%a9"):
            assert o.put(key, b"v", X_TTL="60").status == 201, key
    done = subprocess.run([binary(), "store", "expire", "local", "--socket", gw.config["socket"]], capture_output=True,
                          timeout=PATIENCE)
    said = done.stdout.decode()
    assert done.returncode == 0 and "o:?[31mred?]0;owned?\n" in said and "caf\u00e9" in said, said
    assert not [c for c in said if (c < " " and c != "\n") or "\x7f" <= c < "\xa0"], said
