# tests/integration/test_overload.py - too much load and failing servers, in short: the bench's scripts.
"""The figures of docs/performance.md in a form of seconds, with bounds that hold on a busy machine.

What is tested is the difference between standing and falling, which is large: without its guards the
gateway's goodput at twice the capacity is near nothing within two seconds, and a dead server of four
makes errors or waits of a second.
"""
import json
import os
import shutil
import subprocess

import pytest

import harness

pytestmark = [
    pytest.mark.skipif(harness.SANITIZER is not None, reason="the rates are those of a release build"),
    pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="builds bench/src/pool.c")]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return str(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def measured(build, tmp_path):
    def run(script, *words):
        out = tmp_path / "rows.jsonl"
        env = dict(os.environ, VIVACE=harness.binary(), BENCH_BUILD=build)
        p = subprocess.run([harness.PYTHON, f"{harness.ROOT}/bench/bench.py", script, "--rounds", "1",
                            "--out", str(out), *words], env=env, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=120)
        assert p.returncode == 0, p.stdout
        rows = [json.loads(line) for line in out.read_text().splitlines()[1:]]
        assert len(rows) == 1, p.stdout
        return rows[0]
    return run


def test_twice_the_capacity_costs_neither_goodput_nor_the_times_of_the_admitted(measured):
    """No figure of the service's capacity is in the configuration: `concurrency: auto`."""
    row = measured("overload", "--servers", "vivace", "--factors", "2", "--service", "even", "--seconds", "3")
    assert row["calm_errors"] == 0, row           # nothing is shed at 0.8 of the capacity
    assert row["steady_goodput"] >= 900, row      # of 1,000/s; 950 and more on a quiet machine
    assert row["p99_ms"] <= 40, row               # 8 ms unloaded; a queue would make it 1,000
    assert row["recovered_s"] in (0, 1), row      # the first or second whole second after the fall


@pytest.mark.parametrize("case", ["dead", "silent", "slow", "flapping", "flapping-silent"])
def test_one_bad_server_of_four_is_not_seen_by_clients(measured, case):
    row = measured("failing", "--servers", "vivace careful", "--cases", case, "--window", "3", "--seconds", "2")
    assert row["error_share"] < 0.001, row
    # Retries and hedges together: 20 % of the requests, and 3 a second beside.
    assert row["extra"] <= 0.2 + 3 / 1000 + 0.002, row
    assert row["p50"] < 40, row


def test_a_service_that_only_fails_gets_probes_only(measured):
    row = measured("failing", "--cases", "breaker", "--seconds", "4")
    assert row["probes"] <= 4 / 2 + 1, row        # one each 2 s, of 2,000 requests
    assert row["refused"] + row["probes"] == row["offered"], row
    assert row["errors"] == 0, row
