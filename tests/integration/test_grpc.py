# tests/integration/test_grpc.py - real gRPC clients and servers with the gateway between them.
import threading
import time
from concurrent import futures

import pytest

from h2_origin import H2Origin
from harness import PATIENCE, free_port, wait_for

grpc = pytest.importorskip("grpc")


class Server:
    """A gRPC server without generated code: messages are bytes."""

    def __init__(self, port=0):
        self.seen = []
        self.cancelled = threading.Event()
        rpc = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
        }
        self.server = grpc.server(
            futures.ThreadPoolExecutor(40),
            options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        self.rpc = grpc.method_handlers_generic_handler("test.Echo", rpc)
        self.server.add_generic_rpc_handlers(tuple(self.methods()))
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.server.start()

    def methods(self):
        return [self.rpc]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def unary(self, message, context):
        self.seen.append((dict(context.invocation_metadata()), context.time_remaining(), context.peer()))
        context.send_initial_metadata((("x-early", "1"),))
        context.set_trailing_metadata((("x-late", "2"), ("x-late-bin", b"\x00\xff")))
        return message[::-1]

    def fail(self, message, context):
        context.set_trailing_metadata((("x-late", "2"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not ready: 100% \u00fc")

    def fail_late(self, message, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "gone")

    def slow(self, message, context):
        self.seen.append((dict(context.invocation_metadata()), context.time_remaining(), context.peer()))
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(PATIENCE)
        return message

    def count(self, message, context):
        for i in range(int(message)):
            yield b"%d" % i

    def sum(self, messages, context):
        return b"%d" % sum(len(m) for m in messages)

    def chat(self, messages, context):
        context.add_callback(self.cancelled.set)
        for m in messages:
            yield m + b"!"

    def close(self):
        self.server.stop(0)


@pytest.fixture
def server(stack):
    s = Server()
    stack.append(s)
    return s


@pytest.fixture
def through(gateway, stack):
    """through(urls, route={...}, service={...}) -> gateway, channel."""

    def make(urls, route=None, service=None, **config):
        whole = {
            "services": {"echo": dict({"servers": urls, "http2": True}, **(service or {}))},
            "routes": [dict({"path": "/test.Echo/", "to": "echo"}, **(route or {}))],
        }
        whole.update(config)
        gw = gateway(whole)
        channel = grpc.insecure_channel(
            f"127.0.0.1:{gw.port}",
            options=[("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)],
        )
        stack.append(channel)
        return gw, channel

    return make


def unary(channel, method):
    return channel.unary_unary(f"/test.Echo/{method}")


def fails(code, call):
    with pytest.raises(grpc.RpcError) as e:
        call()
    assert e.value.code() == code, (e.value.code(), e.value.details())
    return e.value


# ------------------------------------------------------------------------------------- the four kinds


def test_a_unary_call_with_metadata_both_ways(through, server):
    _, channel = through([server.url])
    answer, call = unary(channel, "Unary").with_call(
        b"abc", timeout=30, metadata=(("x-mine", "yes"), ("x-mine-bin", b"\x01\x02"))
    )
    assert answer == b"cba"
    assert ("x-early", "1") in call.initial_metadata()
    late = dict(call.trailing_metadata())
    assert late["x-late"] == "2" and late["x-late-bin"] == b"\x00\xff"
    seen, left, _ = server.seen[0]
    assert seen["x-mine"] == "yes" and seen["x-mine-bin"] == b"\x01\x02"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert 1 < left <= 31, "the deadline is passed on (clients round it up)"


@pytest.mark.parametrize("size", [0, 1, 70000, 3_000_000])
def test_messages_of_any_size(through, server, size):
    _, channel = through([server.url])
    message = bytes(i % 251 for i in range(size))
    assert unary(channel, "Unary")(message, timeout=PATIENCE) == message[::-1]


def test_many_messages_from_the_server(through, server):
    _, channel = through([server.url])
    answers = list(channel.unary_stream("/test.Echo/Count")(b"500", timeout=PATIENCE))
    assert answers == [b"%d" % i for i in range(500)]


def test_many_messages_from_the_client(through, server):
    _, channel = through([server.url])
    messages = (b"x" * i for i in range(300))
    assert channel.stream_unary("/test.Echo/Sum")(messages, timeout=PATIENCE) == b"%d" % sum(range(300))


def test_a_conversation_where_each_waits_for_the_other(through, server):
    _, channel = through([server.url])
    turn, said = threading.Semaphore(1), []

    def talk():
        for i in range(50):
            turn.acquire(timeout=PATIENCE)
            yield b"%d" % i

    for answer in channel.stream_stream("/test.Echo/Chat")(talk(), timeout=PATIENCE):
        said.append(answer)
        turn.release()
    assert said == [b"%d!" % i for i in range(50)]


def test_calls_share_a_connection_to_the_server(through, server):
    gw, channel = through([server.url], workers=1)
    unary(channel, "Unary")(b"first", timeout=PATIENCE)
    calls = [unary(channel, "Unary").future(b"%d" % i, timeout=PATIENCE) for i in range(100)]
    assert [c.result() for c in calls] == [(b"%d" % i)[::-1] for i in range(100)]
    assert len({peer for _, _, peer in server.seen}) == 1
    assert gw.metrics().sum("vivace_upstream_connects_total") == 1


# --------------------------------------------------------------------------------------------- errors


def test_the_servers_errors_pass(through, server):
    _, channel = through([server.url])
    e = fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: unary(channel, "Fail")(b"", timeout=PATIENCE))
    assert e.details() == "not ready: 100% \u00fc"
    assert dict(e.trailing_metadata())["x-late"] == "2"


def test_an_error_after_some_messages_passes(through, server):
    _, channel = through([server.url])
    answers = channel.unary_stream("/test.Echo/FailLate")(b"", timeout=PATIENCE)
    assert next(answers) == b"one"
    e = fails(grpc.StatusCode.DATA_LOSS, lambda: next(answers))
    assert e.details() == "gone"


def test_a_method_the_server_does_not_have(through, server):
    _, channel = through([server.url])
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: unary(channel, "Nothing")(b"", timeout=PATIENCE))


def test_our_own_errors_are_those_of_grpc(through, server):
    dead = f"http://127.0.0.1:{free_port()}"
    _, channel = through([dead])
    e = fails(grpc.StatusCode.UNAVAILABLE, lambda: unary(channel, "Unary")(b"", timeout=PATIENCE))
    assert "connect_failed" in e.details()
    e = fails(grpc.StatusCode.UNIMPLEMENTED,
              lambda: channel.unary_unary("/other.Service/Do")(b"", timeout=PATIENCE))
    assert "no_route" in e.details()


def test_limits_are_told_as_grpc_does(through, server):
    gw, channel = through([server.url], route={"limit": {"per": "client", "rate": "1/h", "burst": 0}})
    unary(channel, "Unary")(b"", timeout=PATIENCE)
    fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: unary(channel, "Unary")(b"", timeout=PATIENCE))


def test_a_server_that_dies_is_unavailable(through, server):
    _, channel = through([server.url], service={"retries": 0})
    call = unary(channel, "Slow").future(b"", timeout=PATIENCE)
    wait_for("it is being worked on", lambda: server.seen)
    server.server.stop(0)
    with pytest.raises(grpc.RpcError) as e:
        call.result()
    assert e.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


# ------------------------------------------------------------------------------ deadlines, giving up


def test_a_deadline_ends_the_call_everywhere(through, server):
    gw, channel = through([server.url])
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: unary(channel, "Slow")(b"", timeout=0.4))
    assert server.cancelled.wait(PATIENCE), "the server is told"
    gw.books_balance()


def test_the_gateway_keeps_the_deadline_by_itself(through, stack):
    """Neither the client nor the server looks at the clock."""

    def never(stream):
        stream.body()
        stream.events.get(timeout=PATIENCE)

    origin = H2Origin(never)
    stack.append(origin)
    gw, _ = through([origin.url])
    began = time.monotonic()
    answer = gw.ask("/test.Echo/Slow", method="POST", body=b"\0\0\0\0\0", headers=[
        ("Content-Type", "application/grpc+proto"), ("TE", "trailers"), ("grpc-timeout", "300m")])
    assert 0.3 <= time.monotonic() - began < PATIENCE
    assert (answer.status, answer.get("grpc-status"), answer.body) == (200, "4", b"")
    assert answer.get("content-type") == "application/grpc" and "(timeout)" in answer.get("grpc-message")
    assert origin.requests[0].get("te") == "trailers" and origin.requests[0].get("grpc-timeout") == "300m"
    wait_for("the server is told", lambda: origin.requests[0].reset_code is not None)


def test_trailers_reach_a_client_of_http1_that_takes_them(through, server):
    gw, _ = through([server.url])
    with gw.client() as c:
        c.send(b"POST /test.Echo/Unary HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n"
               b"Content-Type: application/grpc\r\nContent-Length: 8\r\n\r\n\0\0\0\0\3abc")
        assert b" 200 " in c.head()
        whole = c.until(b"\r\n0\r\n") + c.until(b"\r\n\r\n")
    assert b"\0\0\0\0\3cba" in whole
    assert b"grpc-status: 0\r\n" in whole and b"x-late: 2\r\n" in whole


def test_who_cancels_ends_the_call_at_the_server(through, server):
    gw, channel = through([server.url])
    call = unary(channel, "Slow").future(b"")
    wait_for("it is being worked on", lambda: server.seen)
    call.cancel()
    assert server.cancelled.wait(PATIENCE)
    assert unary(channel, "Unary")(b"ab", timeout=PATIENCE) == b"ba"


def test_a_conversation_that_is_cancelled(through, server):
    _, channel = through([server.url])
    hold = threading.Event()

    def talk():
        yield b"one"
        hold.wait(PATIENCE)

    call = channel.stream_stream("/test.Echo/Chat")(talk())
    assert next(call) == b"one!"
    call.cancel()
    assert server.cancelled.wait(PATIENCE)
    hold.set()


# --------------------------------------------------------------------------------------------- probes


class Health(Server):
    """Speaks the health protocol: {1: 1} is SERVING, {1: 2} NOT_SERVING."""

    def __init__(self):
        self.word = 1
        super().__init__()

    def methods(self):
        health = grpc.unary_unary_rpc_method_handler(lambda message, context: bytes([8, self.word]))
        return [*super().methods(), grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": health})]


def test_a_server_that_is_not_serving_is_taken_out(through, server, stack):
    """One of the two says that it does not serve; the other does not know the protocol."""
    well = Health()
    stack.append(well)
    probe = {"type": "grpc", "every": "200ms", "fails": 1, "timeout": "150ms"}
    gw, channel = through([well.url, server.url], service={"check": probe})

    def up():
        return {s["name"]: s["state"] == "up" for s in gw.api("/services/echo/servers")["servers"]}

    names = [f"127.0.0.1:{s.port}" for s in (well, server)]
    wait_for("the one without the protocol is out", lambda: up() == {names[0]: True, names[1]: False})
    assert [unary(channel, "Unary")(b"ab", timeout=PATIENCE) for _ in range(4)] == [b"ba"] * 4
    well.word = 2
    wait_for("both are out", lambda: not any(up().values()))
    well.word = 1
    wait_for("it is back", lambda: up()[names[0]])
