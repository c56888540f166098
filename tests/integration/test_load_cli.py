# tests/integration/test_load_cli.py - `vivace load` as a user sees it: exit codes, reports, agents, searches.
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
import xml.etree.ElementTree as xml

import pytest

import harness
from harness import PATIENCE, SCALE, free_port, ok
from test_load_limit_exact import ExactPool

QUIET = ["--quiet", "--allow-late"]  # a crowded machine makes the generator late: not what is tested


long = pytest.mark.skipif("VIVACE_LONG" not in os.environ, reason="takes its time: set VIVACE_LONG=1")


def load(*args, **kw):
    kw.setdefault("timeout", 120 * SCALE)
    return subprocess.run([harness.binary(), "load", *args], capture_output=True, text=True, **kw)


@pytest.fixture
def shop(origin):
    """A server that answers 200, and 500 under /bad."""
    return origin(answer=lambda req: ok(b"no", "500 Internal Server Error")
                  if req.target.startswith("/bad") else ok(b"yes"))


@pytest.fixture
def pool(stack):
    """pool(slots, seconds): a server with a known capacity."""

    def make(slots, seconds):
        stack.append(Pool(slots, seconds))
        return stack[-1]

    return make


class Pool:
    """A server with a known capacity: so many slots, each taken for a fixed time."""

    def __init__(self, slots, seconds):
        self.slots, self.seconds = slots, seconds
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.free = asyncio.Semaphore(self.slots)
        server = self.loop.run_until_complete(
            asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096))
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()

    async def serve(self, reader, writer):
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                async with self.free:
                    await asyncio.sleep(self.seconds)
                writer.write(ok())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)


# --------------------------------------------------------------------------------------- exit codes


def test_a_run_that_holds_its_gates_ends_with_0(shop):
    got = load(f"{shop.url}/", "--rate", "50", "--for", "1s", "--gate", "p95 < 5s",
               "--gate", "error_rate < 1%", *QUIET)
    assert got.returncode == 0, got.stdout + got.stderr
    assert "Total Requests: 50\n" in got.stdout and "Load test passed!" in got.stdout
    assert re.search(r"\| \*\*Latency P95\*\* \| < 5000ms \| [\d.]+ms ✅ \|", got.stdout)
    assert len(shop.requests) == 50


def test_a_missed_gate_ends_with_99(shop):
    got = load(f"{shop.url}/", "--rate", "20", "--for", "1s", "--gate", "p95 < 0.0001", *QUIET)
    assert got.returncode == 99 and "❌" in got.stdout
    got = load(f"{shop.url}/", "--rate", "20", "--for", "1s", "--gate", "p59 < 1s", *QUIET)
    assert got.returncode == 99 and "unknown metric" in got.stdout


def test_a_run_without_a_success_ends_with_1(shop):
    got = load(f"{shop.url}/bad", "--rate", "20", "--for", "1s", *QUIET)
    assert got.returncode == 1 and "Not one request succeeded." in got.stdout
    got = load(f"http://127.0.0.1:{free_port()}/", "--rate", "20", "--for", "1s", *QUIET)
    assert got.returncode == 1 and "Error ECONNREFUSED: 20" in got.stdout


@pytest.mark.parametrize("args,said", [
    ((), "give a URL or a scenario file"),
    (("nothere.yml",), "nothere.yml: not found"),
    (("http://127.0.0.1:1/", "--gate", "p95 <"), "column 6"),
    (("http://127.0.0.1:1/", "--rate", "0"), "--rate takes a number"),
    (("http://127.0.0.1:1/", "--rate", "5", "--users", "5"), "choose"),
    (("http://127.0.0.1:1/", "--for", "5"), "--for takes a duration"),
    (("http://127.0.0.1:1/", "--json-body", "{"), "--json-body takes JSON"),
    (("http://127.0.0.1:1/", "--profile", "smok"), "no profile"),
    (("http://127.0.0.1:1/", "--agents", "x"), "no address"),
    (("agent", "--listen", "0.0.0.0:0"), "token"),
    (("compare", "a.json"), "two reports"),
    (("compare", "--run", "A=http://x/"), "give two"),
    (("limit",), "give one"),
])
def test_wrong_use_ends_with_2(args, said, tmp_path):
    got = load(*args, cwd=tmp_path)
    assert got.returncode in (1, 2) and said in got.stderr, got.stderr
    if args[:1] != ("http://127.0.0.1:1/",) or args[1] != "--agents":
        assert got.returncode == 2


def test_a_wrong_file_names_the_place(tmp_path):
    (tmp_path / "load.yml").write_text(
        "config:\n  target: http://127.0.0.1:1\n  phases:\n    - duration: 1\n      arivalRate: 5\n"
        "scenarios:\n  - flow:\n      - get: {url: /}\n")
    got = load("load.yml", cwd=tmp_path)
    assert got.returncode == 2 and "load.yml:" in got.stderr and "arivalRate" in got.stderr


def test_an_interrupt_ends_the_run_early_and_reports(shop):
    p = subprocess.Popen([harness.binary(), "load", f"{shop.url}/", "--rate", "50", "--for", "60s",
                          *QUIET], stdout=subprocess.PIPE, text=True)
    shop.wait_requests(10)
    p.send_signal(signal.SIGINT)
    out = p.communicate(timeout=PATIENCE)[0]
    assert p.returncode == 130 and "Interrupted" in out and "Total Requests: " in out


# ------------------------------------------------------------------------------------------- requests


def test_the_line_says_method_header_body_and_expectation(shop):
    got = load(f"{shop.url}/x?y=1", "--rate", "10", "--for", "1s", "-X", "PUT", "-H", "x-shop: 7",
               "--json-body", '{"a": 1}', "--expect", "200", *QUIET)
    assert got.returncode == 0, got.stderr
    req = shop.requests[0]
    assert (req.method, req.target, req.body) == ("PUT", "/x?y=1", b'{"a": 1}')
    assert req.get("x-shop") == "7" and req.get("content-type") == "application/json"
    got = load(f"{shop.url}/", "--rate", "10", "--for", "1s", "--expect", "201", *QUIET)
    assert got.returncode == 1


@pytest.mark.parametrize("profile,users", [("smoke", 5), ("load", 50), ("stress", 200), ("spike", 500)])
def test_profiles_are_users_with_gates(pool, profile, users):
    got = load(profile, f"{pool(1000, 0.05).url}/", "--for", "2s", "--json", *QUIET)
    report = json.loads(got.stdout)
    assert report["vivace"]["model"] == "closed" and report["vivace"]["users"] == users
    assert [g["expression"] for g in report["vivace"]["gates"]] == [
        "error_rate < 5%", "p95 < 2000ms", "p99 < 5000ms", "throughput > 10"]


def test_the_load_of_a_file_can_be_replaced(shop, tmp_path):
    (tmp_path / "a.yml").write_text(
        "config:\n  target: http://127.0.0.1:1\n  phases:\n    - {duration: 600, arrivalRate: 1}\n"
        "scenarios:\n  - flow:\n      - get: {url: /a}\n")
    got = load("a.yml", "-t", shop.url, "--rate", "30", "--for", "1s", *QUIET, cwd=tmp_path)
    assert got.returncode == 0 and "Total Requests: 30\n" in got.stdout
    phases = '{"config": {"phases": [{"duration": 1, "arrivalCount": 7}]}}'
    got = load("a.yml", "-t", shop.url, "--overrides", phases, *QUIET, cwd=tmp_path)
    assert got.returncode == 0 and "Total Requests: 7\n" in got.stdout


# -------------------------------------------------------------------------------------------- reports


def test_reports_are_written_and_parse(shop, tmp_path):
    got = load(f"{shop.url}/", "--rate", "40", "--for", "2s", "--gate", "p99 < 0.0001",
               "-o", "r.json", "--html", "r.html", "--junit", "r.xml", *QUIET, cwd=tmp_path)
    assert got.returncode == 99
    report = json.loads((tmp_path / "r.json").read_text())
    assert set(report) == {"aggregate", "intermediate", "vivace"}
    aggregate = report["aggregate"]
    assert {"counters", "rates", "summaries", "histograms", "firstCounterAt", "lastCounterAt",
            "firstHistogramAt", "lastHistogramAt", "firstMetricAt", "lastMetricAt",
            "period"} == set(aggregate)
    assert aggregate["counters"]["http.codes.200"] == 80
    assert set(aggregate["summaries"]["http.response_time"]) == {
        "min", "max", "count", "mean", "p50", "median", "p75", "p90", "p95", "p99", "p999"}
    assert sum(i["counters"]["http.responses"] for i in report["intermediate"]) == 80
    suite = xml.parse(tmp_path / "r.xml").getroot()
    cases = {c.get("name"): c for c in suite.iter("testcase")}
    assert cases["p99 < 0.0001"].find("failure") is not None
    assert cases["something succeeded"].find("failure") is None
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!doctype html>") and page.count("<svg") >= 5
    assert not re.search(r"(src|href)=|@import|url\(", page)


def test_progress_goes_to_standard_error_line_by_line(shop):
    got = load(f"{shop.url}/", "--rate", "20", "--for", "3s", "--allow-late")
    lines = got.stderr.splitlines()
    assert len(lines) >= 2 and re.match(r" +1s of 3s  offered 20/s  done ", lines[0]), got.stderr
    assert "\033" not in got.stderr and got.stdout.startswith("📊 Load Test Results:\n")


# --------------------------------------------------------------------------------------------- agents


class Agent:
    def __init__(self, env=None):
        self.process = subprocess.Popen(
            [harness.binary(), "load", "agent", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=env)
        self.address = self.process.stdout.readline().split()[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0


def test_two_agents_make_the_arrivals_of_one_run(shop, tmp_path):
    (tmp_path / "a.yml").write_text(
        f"config:\n  target: {shop.url}\n  phases:\n    - {{duration: 2, arrivalRate: 51}}\n"
        "scenarios:\n  - {name: one, flow: [{get: {url: /one}}]}\n")
    alone = load("a.yml", "--json", *QUIET, cwd=tmp_path)
    with Agent() as a, Agent() as b:
        both = load("a.yml", "--agents", f"{a.address},{b.address}", "--json", *QUIET, cwd=tmp_path)
        again = load("a.yml", "--agents", f"{b.address},{a.address}", "--json", *QUIET, cwd=tmp_path)
    assert both.returncode == again.returncode == alone.returncode == 0, both.stderr
    one, two = json.loads(alone.stdout), json.loads(both.stdout)
    for name in ("vusers.created", "http.requests", "http.codes.200", "vusers.created_by_name.one"):
        assert two["aggregate"]["counters"][name] == one["aggregate"]["counters"][name] == 102
    assert two["aggregate"]["summaries"]["http.response_time"]["count"] == 102
    assert two["vivace"]["threads"] == 2
    for report in (one, two):  # cut at ten seconds, and added up
        pieces = report["intermediate"]
        assert pieces and all(int(i["period"]) % 10000 == 0 for i in pieces)
        assert len({i["period"] for i in pieces}) == len(pieces)
        assert sum(i["counters"].get("http.codes.200", 0) for i in pieces) == 102
        assert sum(i["summaries"]["vusers.session_length"]["count"] for i in pieces
                   if "vusers.session_length" in i["summaries"]) == 102


def test_an_agent_wants_its_token(shop):
    env = {**os.environ, "VIVACE_LOAD_TOKEN": "correct horse battery"}
    with Agent(env) as a:
        args = [f"{shop.url}/", "--rate", "10", "--for", "1s", "--agents", a.address, *QUIET]
        got = load(*args, env={**env, "VIVACE_LOAD_TOKEN": "correct horse batterz"})
        assert got.returncode == 1 and "permission denied" in got.stderr
        assert not shop.requests
        assert load(*args, env=env).returncode == 0


def test_an_agent_that_is_not_there_is_named(shop):
    port = free_port()
    got = load(f"{shop.url}/", "--agents", f"127.0.0.1:{port}", *QUIET)
    assert got.returncode == 1 and f"agent 127.0.0.1:{port}: connection refused" in got.stderr


# ------------------------------------------------------------------------------- compare and limit


def test_compare_finds_the_slower_and_lets_the_same_pass(pool, tmp_path):
    fast, slow = pool(100, 0.010), pool(100, 0.020)  # what a crowded machine adds is not twice as much
    for name, server in (("a", fast), ("b", fast), ("c", slow)):
        got = load(f"{server.url}/", "--rate", "100", "--for", "12s",
                   "-o", f"{name}.json", *QUIET, cwd=tmp_path)
        assert got.returncode == 0, got.stderr
    got = load("compare", "a.json", "c.json", "--json", cwd=tmp_path)
    p50 = json.loads(got.stdout)["metrics"][0]
    assert got.returncode == 99 and p50["verdict"] == "worse" and p50["low"] > 0, got.stdout
    assert load("compare", "a.json", "c.json", "--tolerance", "900%", cwd=tmp_path).returncode in (0, 2)
    got = load("compare", "c.json", "a.json", cwd=tmp_path)
    assert "better" in got.stdout
    got = load("compare", "a.json", "b.json", "--tolerance", "20%", "--json", cwd=tmp_path)
    assert json.loads(got.stdout)["metrics"][0]["verdict"] == "same", got.stdout
    (tmp_path / "x.json").write_text("{}")
    assert load("compare", "a.json", "x.json", cwd=tmp_path).returncode == 2


def test_compare_runs_both_in_turn(pool):
    got = load("compare", "--run", f"A={pool(100, 0.010).url}/", f"B={pool(100, 0.015).url}/",
               "--rounds", "8", "--step", "1s", "--rate", "50", *QUIET)
    assert got.returncode == 99 and re.search(r"p50 .*worse", got.stdout), got.stdout + got.stderr


def limit(gw, *args):
    got = load("limit", f"http://127.0.0.1:{gw.ports['web']}/", "--step", "3s", "--json", "--quiet",
               "--admin", f"http://127.0.0.1:{gw.admin_port}", *args)
    assert got.returncode == 0, got.stdout + got.stderr
    return json.loads(got.stdout)


@pytest.mark.timeout(300 * SCALE)  # a dozen steps of 3 s, some of 6 s
def test_limit_finds_a_known_capacity_and_the_slow_dependency(gateway):
    server = ExactPool(8, 0.050)  # 160 a second
    try:
        gw = gateway({"routes": [{"path": "/", "to": f"http://127.0.0.1:{server.port}"}]})
        found = limit(gw, "--start", "60", "--precision", "4%", "--gate", "p95 < 1s")
    finally:
        server.stop()
    steps = [(s["rate"], s["held"], s["why"]) for s in found["steps"]]
    if harness.SANITIZER is None:
        assert 0.95 * 160 <= found["limit"] <= 1.05 * 160, steps
        assert found["missed"] <= 1.10 * 160 and found["sustained"] <= 1.05 * 160, found
    assert found["cause"] == "dependency", found
    assert found["usl"]["gamma"] > 0


def test_limit_warns_of_short_steps(shop):
    args = [f"{shop.url}/", "--start", "20", "--max", "20", "--quiet"]
    got = load("limit", *args, "--step", "1s")
    assert got.returncode == 0 and "--step below 3s: too short" in got.stderr, got.stderr
    assert "too short" not in load("limit", *args, "--step", "3s").stderr


@long
def test_limit_names_the_upstream_pool(pool, gateway):
    gw = gateway({"workers": 1, "routes": [{"path": "/", "to": "s"}],
                  "services": {"s": {"servers": [pool(100, 0.050).url], "connections": 4}}})
    found = limit(gw, "--start", "160", "--precision", "10%")
    assert found["cause"] == "upstream-pool" and found["limit"] < 90, found


@long
def test_limit_names_a_rate_limit(origin, gateway):
    times = []

    def answer(_):
        now = time.monotonic()
        times[:] = [t for t in times if t > now - 1] + [now]
        return ok() if len(times) <= 50 else ok(b"", "429 Too Many Requests")

    gw = gateway({"routes": [{"path": "/", "to": origin(answer=answer).url}]})
    found = limit(gw, "--start", "20", "--precision", "10%")
    assert found["cause"] == "rate-limit" and "servers behind" in found["why"], found
    assert 40 <= found["limit"] <= 56, found


@pytest.mark.timeout(300 * SCALE)  # up to two searches
def test_limit_names_the_cpu(origin, gateway):
    body = bytes(random.Random(1).choices(b"abcdefghijklmnop <>/=", k=1 << 18))
    server = origin(answer=lambda _: ok(body, headers={"Content-Type": "text/html"}))
    gw = gateway({"workers": 1,
                  "routes": [{"path": "/", "to": server.url, "compress": {"encodings": ["br"], "level": 8}}]})
    for _ in range(2):  # others may take the processor just then, and the worker waits for it
        found = limit(gw, "--start", "20", "--gate", "p95 < 500ms", "--gate", "errors < 2%", "--step", "2s",
                      "-H", "Accept-Encoding: br", "--precision", "100%", "--timeout", "1s")
        if found["cause"] == "cpu":
            break
    assert found["cause"] == "cpu", found


# --------------------------------------------------------------------------------------------- import


def test_import_makes_a_scenario_that_runs(shop, tmp_path):
    (tmp_path / "access.log").write_text("".join(
        f'127.0.0.1 - - [10/Oct/2025:13:55:3{i % 2} +0000] "GET /p{i} HTTP/1.1" 200 12 "-" "x"\n'
        for i in range(10)))
    got = subprocess.run([harness.binary(), "import", "access-log", "access.log", "-o", "l.yml"],
                         cwd=tmp_path, capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
    assert load("l.yml", "-t", shop.url, *QUIET, cwd=tmp_path).returncode == 0
    assert sorted(r.target for r in shop.requests) == [f"/p{i}" for i in range(10)]
    got = subprocess.run([harness.binary(), "import", "har", "access.log"], cwd=tmp_path,
                         capture_output=True, text=True)
    assert got.returncode == 2 and "no har file" in got.stderr
    assert subprocess.run([harness.binary(), "import", "jmeter", "x"], capture_output=True).returncode == 2
