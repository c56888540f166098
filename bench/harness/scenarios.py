"""What is measured: one row per scenario."""
import collections

# kind  which configuration of a peer; see [PEER.config] in peers.toml
# load  wrk: closed loop, as fast as answers come; openload: at a fixed rate
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
])


def body_bytes(count):
    """The body every program here serves; body_byte() in src/util.h computes the same."""
    return bytes(97 + (i * 7 + i // 26) % 26 for i in range(count))


BODIES = {"/c/1k": body_bytes(1024), "/p/1k": body_bytes(1024)}

# What the project promises: scenario, sentence, column, limit, and the server the column is divided
# by ("" for none; the ratio is the median of the ratios within a round). "below" is strict.
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
]
