# tests/integration/test_reload.py - changes under load: reloads, upgrades and crashes lose nothing.
import os
import signal
import time

import pytest

from harness import SCALE, wait_for

CONNECTIONS = 16


@pytest.fixture
def busy(gateway, app, load):
    """A gateway under steady load: half its clients over kept-alive connections, half over new ones."""
    server = app()
    gw = gateway(
        {
            "services": {"a": [server.url]},
            "routes": [{"path": "/", "to": "a", "name": "all"}],
            "guard": "1s",
        }
    )
    kept = load(gw.port, connections=CONNECTIONS, rate=600, path="/size/1024")
    new = load(gw.port, connections=4, rate=100, path="/size/1024", new=True)
    time.sleep(0.3)
    return gw, server, (kept, new)


def nothing_lost(runs):
    for run in runs:
        report = run.finish()
        print(report)
        assert set(report["statuses"]) == {"200"}, report
        assert report["lost"] == 0, report
        assert report["stale"] == 0, report
        assert report["answered"] == report["sent"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_twenty_reloads_lose_nothing(busy):
    gw, server, runs = busy
    worker = gw.worker()
    for i in range(20):
        config = dict(gw.config)
        config["routes"] = [{"path": f"/only{i}", "respond": {"body": str(i)}}] + config["routes"][-1:]
        answer = gw.reload(config)
        assert answer.status == 200, answer.body
        assert gw.ask(f"/only{i}").body == str(i).encode(), "the new rules hold at once"
        time.sleep(0.1)
    kept = runs[0]
    nothing_lost(runs)
    assert kept.report["connects"] == CONNECTIONS, "no client connection was closed by a reload"
    assert gw.worker() == worker, "a reload keeps the process"
    m = gw.metrics()
    assert m.sum("vivace_config_reloads_total", result="applied") == 20
    assert m.sum("vivace_config_last_reload_successful") == 1
    # counters of the route that stayed went on through all reloads
    assert m.sum("http_requests_total", route="all") == sum(r.report["answered"] for r in runs)
    gw.books_balance()


@pytest.mark.slow
def test_a_hangup_signal_reloads(busy):
    gw, server, runs = busy
    for i in range(3):
        config = dict(gw.config)
        config["routes"] = [{"path": "/v", "respond": {"body": str(i)}}] + config["routes"][-1:]
        gw.write(config)
        gw.process.send_signal(signal.SIGHUP)
        wait_for("the new answer", lambda: gw.ask("/v").body == str(i).encode())
    nothing_lost(runs)


@pytest.mark.slow
def test_a_refused_reload_changes_nothing(busy):
    gw, server, runs = busy
    config = dict(gw.config)
    config["routes"] = [{"path": "/", "to": "nobody"}]
    answer = gw.reload(config)
    assert answer.status >= 400
    assert b"nobody" in answer.body
    assert gw.ask("/size/5").body == b"yyyyy"
    assert gw.metric("vivace_config_reloads_total", result="refused") == 1
    assert gw.metric("vivace_config_last_reload_successful") == 0
    nothing_lost(runs)


@pytest.mark.slow
def test_listeners_come_and_go_without_losing_requests(busy):
    gw, server, runs = busy
    first = dict(gw.config)
    second = dict(first)
    second["listen"] = dict(first["listen"], extra={})
    for _ in range(3):
        assert gw.reload(second).status == 200
        assert gw.ask("/size/3", listener="extra").body == b"yyy"
        port = gw.ports["extra"]
        assert gw.reload(first).status == 200

        def closed():
            try:
                gw.client("extra").close()
                return False
            except OSError:
                return True

        wait_for("the port is closed", closed)
        second["listen"]["extra"] = {"address": f"127.0.0.1:{port}"}
    nothing_lost(runs)


@pytest.mark.slow
def test_a_request_finishes_on_the_rules_it_began_with(gateway, app):
    server = app()
    gw = gateway({"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}]})
    with gw.client() as c:
        c.send(b"GET /delay/2000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for("it is under way", lambda: gw.metric("vivace_http_requests_in_flight") == 1)
        assert gw.reload({"routes": [{"path": "/", "respond": {"body": "new"}}]}).status == 200
        assert c.answer().body == b"y" * 1024
        assert c.ask("/").body == b"new", "the same connection, the new rules"


def generation(gw):
    """Worker pids that live now."""
    return set(gw.workers())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_three_upgrades_lose_nothing(busy):
    gw, server, runs = busy
    pid = gw.pid
    for _ in range(3):
        before = generation(gw)
        gw.process.send_signal(signal.SIGUSR2)
        wait_for("a new worker", lambda: generation(gw) - before, 10)
        wait_for("the old one is gone", lambda: not generation(gw) & before, 10)
        assert gw.process.poll() is None and gw.pid == pid, "the process id stays: good for supervisors"
        gw.wait_ready()
        time.sleep(0.2)
    nothing_lost(runs)
    assert gw.ask("/size/4").body == b"yyyy"


@pytest.mark.slow
def test_an_upgrade_to_a_broken_configuration_is_refused(busy):
    gw, server, runs = busy
    before = generation(gw)
    with open(gw.file, "a") as f:
        f.write("\nnonsense: true\n")
    gw.process.send_signal(signal.SIGUSR2)
    wait_for("it is refused", lambda: gw.api("/status")["upgrade"]["failed"])
    assert generation(gw) == before and gw.process.poll() is None
    nothing_lost(runs)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_five_crashes_lose_only_what_was_in_flight(gateway, app, load):
    server = app()
    gw = gateway({"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}]})
    kept = load(gw.port, connections=CONNECTIONS, rate=600, path="/delay/5")
    new = load(gw.port, connections=4, rate=100, path="/size/100", new=True)
    time.sleep(0.3)
    for i in range(5):
        victim = gw.worker()
        os.kill(victim, signal.SIGKILL)
        begin = time.monotonic()
        wait_for("a new worker", lambda: [w for w in gw.workers() if w != victim])

        def serves():
            try:
                return gw.ask("/size/3").body == b"yyy"
            except Exception:
                return False

        wait_for("it serves", serves)
        took = time.monotonic() - begin
        print(f"crash {i + 1}: back in {took * 1000:.0f} ms")
        assert took < 1.0 * SCALE
        time.sleep(0.4)
    reports = [r.finish() for r in (kept, new)]
    for report, lanes in zip(reports, (CONNECTIONS, 4)):
        print(report)
        errors = report["errors"]
        for kind in ("refused", "unreachable", "timeout", "garbled"):
            assert errors.get(kind, 0) == 0, report
        assert set(report["statuses"]) == {"200"}, report
        cut = errors.get("cut_fresh", 0) + errors.get("cut_answer", 0)
        assert cut <= 5 * lanes, "only requests in flight may be lost"
    gw.wait_ready()
    assert gw.metric("vivace_worker_restarts_total") == 5
    gw.books_balance()
