"""What is measured: one row per scenario."""
import collections
import json
import random

# kind      which configuration of a peer; see [PEER.config] in peers.toml
# load      wrk: closed loop, as fast as answers come; h2load: the same over HTTP/2, `streams` requests at
#           once on each connection; tlsload: a TLS connection for each; openload: at a fixed rate
# tls       over TLS 1.3
# resume    with sessions resumed
# origin    every request must reach the origin; without it, none may
# gzip      asks for gzip, and every answer must have it
# pipeline  so many requests are sent at once
# workers   instead of --workers; the server and the loader then share their cores
# base      the scenario to compare with for the column `scaling`
# extra     not in the usual set
# against   the server that ratios are to, where there is no floor
SCENARIOS = collections.OrderedDict([
    ("proxy1k", dict(
        kind="proxy", path="/p/1k", load="wrk", conns=64, origin=True,
        what="Proxy, 1 KiB answers, 64 kept-alive connections, as fast as they go")),
    ("proxyfixed", dict(
        kind="proxy", path="/p/1k", load="openload", conns=64, rate=8000, origin=True,
        what="Proxy, 1 KiB answers at a fixed 8,000 requests/s: latency below saturation")),
    ("conns10k", dict(
        kind="proxy", path="/p/1k", load="openload", conns=10000, rate=1000, prime=True,
        origin=True, seconds_min=10,
        what="Proxy, 10,000 kept-alive connections, 1,000 requests/s in all")),
    ("answer1k", dict(
        kind="answer", path="/c/1k", load="wrk", conns=64,
        what="1 KiB answered by the server itself, 64 kept-alive connections")),
    ("newconn", dict(
        kind="answer", path="/c/1k", load="wrk", conns=64, close=True,
        what="1 KiB answered by the server itself, a new connection for every request")),
    ("hit1k", dict(
        kind="cache", path="/c/1k", load="wrk", conns=64,
        what="Cache hit, 1 KiB, 64 kept-alive connections")),
    ("hit1kfixed", dict(
        kind="cache", path="/c/1k", load="openload", conns=64, rate=20000, extra=True,
        what="Cache hit, 1 KiB at a fixed 20,000 requests/s: latency below saturation")),
    ("hit100k", dict(
        kind="cache", path="/c/100k", load="wrk", conns=64,
        what="Cache hit, 100 KiB, 64 kept-alive connections")),
    ("hit1m", dict(
        kind="cache", path="/c/1m", load="wrk", conns=16, extra=True,
        what="Cache hit, 1 MiB, 16 kept-alive connections")),
    ("hitpipe16", dict(
        kind="cache", path="/c/1k", load="wrk", conns=64, pipeline=16,
        what="Cache hit, 1 KiB, 64 kept-alive connections, 16 requests pipelined")),
    ("hitnewconn", dict(
        kind="cache", path="/c/1k", load="wrk", conns=64, close=True,
        what="Cache hit, 1 KiB, a new connection for every request")),
    ("hit1kw1", dict(
        kind="cache", path="/c/1k", load="wrk", conns=64, workers=1,
        what="Cache hit, 1 KiB, 1 worker on two cores that the loader shares")),
    ("hit1kw2", dict(
        kind="cache", path="/c/1k", load="wrk", conns=64, workers=2, base="hit1kw1",
        what="Cache hit, 1 KiB, 2 workers on two cores that the loader shares")),
    ("gzip64k", dict(
        kind="gzip", path="/p/64k.json", load="wrk", conns=32, origin=True, gzip=True,
        against="haproxy", what="Proxy, 64 KiB of JSON compressed with gzip on the way")),
    ("tlskeep", dict(
        kind="tls", path="/c/1k", load="wrk", conns=64, tls=True,
        what="TLS 1.3, cache hit, 1 KiB, 64 kept-alive connections")),
    ("tlsfull", dict(
        kind="tls", path="/c/1k", load="tlsload", conns=32, tls=True,
        what="TLS 1.3, cache hit, 1 KiB, a full handshake for every request")),
    ("tlsresumed", dict(
        kind="tls", path="/c/1k", load="tlsload", conns=32, tls=True, resume=True,
        what="TLS 1.3, cache hit, 1 KiB, a resumed handshake for every request")),
    ("h2hit", dict(
        kind="h2", path="/c/1k", load="h2load", conns=16, streams=32, tls=True, against="h2o",
        what="HTTP/2 over TLS 1.3, cache hit, 1 KiB, 16 connections, 32 requests at once on each")),
    ("h2chit", dict(
        kind="h2c", path="/c/1k", load="h2load", conns=16, streams=32, against="h2o",
        what="HTTP/2 without TLS, cache hit, 1 KiB, 16 connections, 32 requests at once on each")),
])
TLS = ["tlskeep", "tlsfull", "tlsresumed", "h2hit", "h2chit"]
USUAL = [name for name, scenario in SCENARIOS.items() if not scenario.get("extra")]


def body_bytes(count):
    """The body every program here serves; body_byte() in src/util.h computes the same."""
    return bytes(97 + (i * 7 + i // 26) % 26 for i in range(count))


def json_body(count):
    """A list of records much like an API's answer, the same in every run."""
    rng = random.Random(7)
    words = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike".split()
    rows, size = [], 2
    while True:
        row = json.dumps({"id": len(rows) + 1, "name": " ".join(rng.sample(words, 2)),
                          "price": round(rng.uniform(1, 999), 2), "active": rng.random() < 0.7,
                          "tags": rng.sample(words, 3), "token": "%016x" % rng.getrandbits(64)})
        if size + len(row) + 2 > count - 2:
            text = "[" + ",\n".join(rows)
            return (text + " " * (count - len(text) - 1) + "]").encode()
        rows.append(row)
        size += len(row) + 2


BODIES = {"/c/1k": body_bytes(1024), "/c/100k": body_bytes(102400), "/c/1m": body_bytes(1048576),
          "/p/1k": body_bytes(1024), "/p/64k.json": json_body(65536)}

# What the project promises: scenario, sentence, column, limit, and the server the column is divided
# by ("" for none, "best peer" for the one that makes the promise hardest to keep; the ratio is the
# median of the ratios within a round). "below" is strict.
PROMISES = [
    ("proxy1k", "CPU per request at most 1.20 times the proxy floor's",
     "cpu_ms_per_1k", "at most", 1.20, "floor-proxy"),
    ("proxy1k", "requests/s at least 0.90 of the floor's",
     "req_s", "at least", 0.90, "floor-proxy"),
    ("proxy1k", "p99 no worse than HAProxy's", "p99_us", "at most", 1.0, "haproxy"),
    ("newconn", "CPU per request at most 1.20 times the deferring floor's",
     "cpu_ms_per_1k", "at most", 1.20, "floor-epoll-defer"),
    ("newconn", "CPU per request below nginx's", "cpu_ms_per_1k", "below", 1.0, "nginx"),
    ("conns10k", "no errors", "errors", "at most", 0, ""),
    ("conns10k", "at most 4,096 bytes of user memory per idle connection",
     "conn_bytes", "at most", 4096, ""),
    ("hit1k", "CPU per request at most 1.15 times the floor's",
     "cpu_ms_per_1k", "at most", 1.15, "floor-epoll"),
    ("hit1k", "requests/s at least 0.90 of the floor's",
     "req_s", "at least", 0.90, "floor-epoll"),
    ("hit1k", "CPU per request below the best peer's", "cpu_ms_per_1k", "below", 1.0, "best peer"),
    ("hit100k", "CPU per request no worse than the best peer's",
     "cpu_ms_per_1k", "at most", 1.0, "best peer"),
    ("hit100k", "requests/s no worse than the best peer's",
     "req_s", "at least", 1.0, "best peer"),
    ("hit1kw2", "two workers do at least 1.80 times the work for the CPU they have",
     "scaling", "at least", 1.80, ""),
    ("gzip64k", "CPU per request at most HAProxy's", "cpu_ms_per_1k", "at most", 1.0, "haproxy"),
    ("gzip64k", "compressed size at most that of nginx's level 1",
     "body_bytes", "at most", 1.0, "nginx"),
    ("tlskeep", "CPU per request at most 1.20 times the TLS floor's",
     "cpu_ms_per_1k", "at most", 1.20, "floor-tls"),
    ("tlsfull", "CPU per request at most 1.10 times the TLS floor's",
     "cpu_ms_per_1k", "at most", 1.10, "floor-tls"),
    ("tlsresumed", "CPU per request no worse than nginx's", "cpu_ms_per_1k", "at most", 1.0, "nginx"),
    ("h2hit", "CPU per request at most H2O's", "cpu_ms_per_1k", "at most", 1.0, "h2o"),
]
