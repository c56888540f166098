# tests/integration/test_bench.py - the bench's arithmetic: medians, paired ratios, promises.
import json
import subprocess

import pytest

import harness

MACHINE = {"cpu": "A processor", "cores": 2, "memory_gib": 8, "kernel": "6.1", "system": "Debian"}


def row(server, turn, cpu, rate, p99=1000, scenario="proxy1k", **more):
    out = dict(session="s", server=server, scenario=scenario, version="1.0", round=turn, workers=1,
               ok=True, req_s=rate, cpu_ms_per_1k=cpu, p50_us=500, p99_us=p99, p999_us=2000,
               server_util=1, loader_util=0.5, others_util=0.0, steal_util=0, rss_peak_kib=2048,
               errors=0)
    out.update(more)
    return out


@pytest.fixture
def report(tmp_path):
    def make(rows, *words):
        path = tmp_path / "results.jsonl"
        session = dict(session="s", time=0, machine=MACHINE, commit="abc", command="./dev bench",
                       workers=1, server_cpus=[0], loader_cpus=[1], origin_cpus=[1])
        path.write_text("".join(json.dumps(r) + "\n" for r in [session] + rows))
        return subprocess.run([harness.PYTHON, f"{harness.ROOT}/bench/bench.py", "report", str(path),
                               *words], stdout=subprocess.PIPE, text=True, check=True).stdout
    return make


def cells(text, server):
    line = next(x for x in text.splitlines() if x.startswith(f"| {server} |"))
    return [x.strip() for x in line.strip("|").split("|")]


def test_ratios_are_paired_within_a_round_before_the_median(report):
    # Ratios by round: 12/10, 26/20, 33/30 = 1.20, 1.30, 1.10; their median is 1.20, whereas the
    # ratio of the medians would be 26/20 = 1.30.
    rows = [row("floor-proxy", i, cpu, 1000) for i, cpu in enumerate((10, 20, 30))]
    rows += [row("vivace", i, cpu, 900) for i, cpu in enumerate((12, 26, 33))]
    got = cells(report(rows, "--markdown"), "vivace")
    assert got[1:4] == ["3", "900", "26.00"]
    assert got[5:7] == ["1.20", "0.90"]


def test_promises_are_judged_with_the_same_figures(report):
    rows = [row("floor-proxy", 0, 10, 1000), row("vivace", 0, 12, 899, p99=700),
            row("haproxy", 0, 14, 800, p99=800)]
    page = report(rows, "--markdown")
    kept = dict(x.split(" | ")[1:4:2] for x in page.splitlines() if x.startswith("| proxy1k | "))
    assert kept == {
        "CPU per request at most 1.20 times the proxy floor's": "kept |",  # 12 / 10
        "requests/s at least 0.90 of the floor's": "NOT kept |",           # 899 / 1000
        "p99 no worse than HAProxy's": "kept |",                           # 700 / 800
    }


def test_the_page_says_machine_command_and_what_failed(report):
    rows = [row("vivace", 0, 12, 900),
            dict(row("nginx", 0, 0, 0), ok=False, error="Failed: wrong body")]
    page = report(rows, "--markdown")
    assert page.startswith("# Performance\n")
    assert "A processor, 2 cores, 8 GiB" in page and "`./dev bench`" in page and "abc" in page
    assert "- nginx, proxy1k: Failed: wrong body" in page


def test_disturbed_runs_can_be_left_out(report):
    rows = [row("vivace", 0, 12, 900), row("vivace", 1, 40, 300, others_util=0.9)]
    assert cells(report(rows, "--markdown", "--max-disturbance", "0.2"), "vivace")[1] == "1"
