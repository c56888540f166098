# tests/integration/test_load_examples.py - the load tests in examples/load, run as their users run them.
import collections
import json
import math
import os
import re
import socket
import subprocess
import time

import pytest

import harness
from harness import ROOT, SCALE, ok

FOLDER = os.path.join(ROOT, "examples", "load")
SHARES = {"/api/content-ideas/generate": 0.4, "/api/optimize/pricing": 0.3, "/api/health": 0.3}

with open(os.path.join(FOLDER, "package.json"), encoding="utf-8") as package:
    SCRIPTS = json.load(package)["scripts"]


@pytest.fixture
def npm_run(tmp_path):
    """npm_run(script, options...): what npm does with a script: a shell, a folder, the options behind."""
    os.symlink(harness.binary(), tmp_path / "vivace")
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(script, *options):
        command = " ".join([SCRIPTS[script], *options])
        return subprocess.run(["/bin/sh", "-c", command], cwd=FOLDER, env=env, capture_output=True,
                              text=True, timeout=60 * SCALE)

    return run


def slowly(req):
    time.sleep(0.02)  # keeps a closed model from being a contest of processors
    return ok(b"no", "500 Oops") if req.target == "/api/optimize/pricing" else ok(b"{}")


def test_the_scripts_are_the_four_profiles():
    assert list(SCRIPTS) == [f"load-test:{p}" for p in ("smoke", "load", "stress", "spike")]


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_runs_its_profile(origin, npm_run, script):
    server = origin(answer=lambda req: time.sleep(0.02) or ok(b"{}"))
    got = npm_run(script, "-t", server.url, "--users", "5", "--for", "2s", "--quiet", "--json")
    assert got.returncode == 0, got.stdout + got.stderr
    ours = json.loads(got.stdout)["vivace"]
    assert ours["model"] == "closed" and ours["users"] == 5
    assert [g["expression"] for g in ours["gates"]] == [
        "error_rate < 5%", "p95 < 2000ms", "p99 < 5000ms", "throughput > 10"]
    seen = collections.Counter(req.target for req in server.requests)
    assert set(seen) == set(SHARES)
    for path, share in SHARES.items():
        sigma = math.sqrt(len(server.requests) * share * (1 - share))
        assert abs(seen[path] - share * len(server.requests)) <= 4.5 * sigma, seen


def test_an_unexpected_status_is_an_error_with_its_reason(origin, npm_run):
    server = origin(answer=slowly)
    got = npm_run("load-test:smoke", "-t", server.url, "--for", "2s", "--quiet", "--json")
    assert got.returncode == 99, got.stdout + got.stderr  # 30 % of errors, 5 % are allowed
    counters = json.loads(got.stdout)["aggregate"]["counters"]
    wrong = sum(req.target == "/api/optimize/pricing" for req in server.requests)
    assert counters["errors.status"] == counters["http.codes.500"]
    assert abs(counters["errors.status"] - wrong) <= 5  # what was cut off at the end


def test_a_slow_answer_is_an_error_with_its_reason(origin, npm_run, tmp_path):
    with open(os.path.join(FOLDER, "load.yml"), encoding="utf-8") as f:
        text = f.read()
    assert "timeout: 15s" in text and "timeout: 10s" in text
    folder = tmp_path / "short"
    folder.mkdir()
    (folder / "load.yml").write_text(text.replace("timeout: 10s", "timeout: 100ms"))
    server = origin(answer=lambda req: time.sleep(0.3 if "pricing" in req.target else 0.02) or ok(b"{}"))
    got = subprocess.run([harness.binary(), "load", "smoke", "load.yml", "-t", server.url, "--for",
                          "2s", "--quiet", "--json"], cwd=folder, capture_output=True, text=True,
                         timeout=60 * SCALE)
    counters = json.loads(got.stdout)["aggregate"]["counters"]
    assert got.returncode == 99 and counters["errors.ETIMEDOUT"] > 0, counters
    assert set(n for n in counters if n.startswith("errors.")) == {"errors.ETIMEDOUT"}


# --------------------------------------------------------- the load test of the first specification


@pytest.fixture
def programs():
    """start(name, command, env): a program that is ended after the test; .kill(name) ends it at once."""
    running = {}

    def start(name, command, port, env=None):
        running[name] = subprocess.Popen(command, env={**os.environ, **(env or {})},
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        harness.wait_for(f"{name} on port {port}", lambda: connects(port))

    start.kill = lambda name: running[name].kill()
    yield start
    for p in reversed(list(running.values())):
        p.terminate()
    for p in running.values():
        p.communicate(timeout=harness.PATIENCE)


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(180 * SCALE)
def test_the_load_test_of_the_specification_in_a_sixteenth_of_its_time(programs, tmp_path):
    """Its file, its rates and its targets; one of three instances is killed half-way."""
    app, ports = str(tmp_path / "app"), [harness.free_port() for _ in range(5)]
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-pthread",
                    os.path.join(ROOT, "examples", "demo", "app.c"), "-o", app], check=True)
    env = {f"LOAD_{n}": str(p) for n, p in zip(("APP_A", "APP_B", "APP_C", "PORT", "ADMIN_PORT"), ports)}
    for name, port in zip("abc", ports):
        programs(name, [app, str(port), name], port)
    programs("gateway", [harness.binary(), "run", os.path.join(FOLDER, "vivace.yaml")], ports[3], env)
    phases = [{"duration": "3750ms", "arrivalRate": 100}, {"duration": "18750ms", "arrivalRate": 500},
              {"duration": "37500ms", "arrivalRate": 1000}]  # 375 + 9375 + 37500 arrivals
    slow = max(SCALE, 1)  # a sanitizer's binary is slow: the times grow with the patience
    gates = [f"p50 < {50 * slow:g}ms", f"p95 < {100 * slow:g}ms", f"p99 < {200 * slow:g}ms",
             "availability > 99.9%", "error_rate < 0.1%"]
    run = subprocess.Popen(
        [harness.binary(), "load", "us-load-test.yml", "-t", f"http://127.0.0.1:{ports[3]}", "--quiet",
         "--allow-late", "-o", str(tmp_path / "report.json"), "--overrides",
         json.dumps({"config": {"phases": phases}}), *[a for g in gates for a in ("--gate", g)]],
        cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        time.sleep(30)
        programs.kill("b")
        said = run.communicate(timeout=100 * SCALE)[0]
    finally:
        run.kill()
    assert run.returncode == 0, said
    for row in ("Latency P50", "Latency P95", "Latency P99", "Availability", "Error Rate"):
        assert re.search(rf"\| \*\*{row}\*\* \| [<>] [^|]+ \| [^|]+ ✅ \|", said), said
    counters = json.loads((tmp_path / "report.json").read_text())["aggregate"]["counters"]
    assert counters["vusers.created"] == 375 + 9375 + 37500
    for name, share in (("API Health Check", 0.2), ("Prediction Request", 0.6), ("Technical API", 0.2)):
        got = counters[f"vusers.created_by_name.{name}"] / counters["vusers.created"]
        assert abs(got - share) <= 0.01, (name, got)
