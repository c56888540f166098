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

# What the project promises, as (scenario, sentence, check). A check takes the medians of one
# scenario, {server: {column: value}}, and returns (figure, kept) or None when a server is missing.


def _against(column, server, reference, limit):
    def check(medians):
        ours, theirs = medians.get(server), medians.get(reference)
        if not ours or not theirs or not ours.get(column) or not theirs.get(column):
            return None
        ratio = ours[column] / theirs[column]
        return "%.2f" % ratio, limit(ratio)
    return check


def _figure(column, server, shown, limit):
    def check(medians):
        value = medians.get(server, {}).get(column)
        return None if value is None else (shown % value, limit(value))
    return check


PROMISES = [
    ("proxy1k", "CPU per request at most 1.20 times the proxy floor's",
     _against("cpu_ms_per_1k", "vivace", "floor-proxy", lambda r: r <= 1.20)),
    ("proxy1k", "requests/s at least 0.90 of the floor's",
     _against("req_s", "vivace", "floor-proxy", lambda r: r >= 0.90)),
    ("proxy1k", "p99 no worse than HAProxy's",
     _against("p99_us", "vivace", "haproxy", lambda r: r <= 1.0)),
    ("newconn", "CPU per request at most 1.20 times the deferring floor's",
     _against("cpu_ms_per_1k", "vivace", "floor-epoll-defer", lambda r: r <= 1.20)),
    ("newconn", "CPU per request below nginx's",
     _against("cpu_ms_per_1k", "vivace", "nginx", lambda r: r < 1.0)),
    ("conns10k", "no errors", _figure("errors", "vivace", "%d", lambda n: n == 0)),
    ("conns10k", "at most 4,096 bytes of user memory per idle connection",
     _figure("conn_bytes", "vivace", "%d", lambda n: n <= 4096)),
]
