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


def test_scaling_is_work_for_one_cpu_second_against_one_worker_times_the_workers(report):
    # 4.0 ms against 4.4 ms: 2 x 4.0 / 4.4 = 1.82; with 5.0 ms it is 2 x 4.0 / 5.0 = 1.60.
    rows = [row("vivace", 0, 4.0, 1000, scenario="hit1kw1"),
            row("vivace", 0, 4.4, 1900, scenario="hit1kw2", workers=2),
            row("nginx", 0, 4.0, 1000, scenario="hit1kw1"),
            row("nginx", 0, 5.0, 1500, scenario="hit1kw2", workers=2)]
    page = report(rows, "--markdown")
    assert [x.split(" | ")[2:] for x in page.splitlines() if x.startswith("| hit1kw2 | ")] \
        == [["1.82", "kept |"]]
    two = page[page.index("(`hit1kw2`"):]
    assert (cells(two, "vivace")[-1], cells(two, "nginx")[-1]) == ("1.82", "1.60")
    assert "scaling" not in page[:page.index("(`hit1kw2`")].split("## Cache hit")[-1]


def test_the_best_peer_is_the_one_that_makes_a_promise_hardest_to_keep(report):
    # CPU: 20 / 22 = 0.91 against nginx, 20 / 19 = 1.05 against varnish. Rate: 1000 / 900 and
    # 1000 / 1100, so 0.91. The floor is no peer, however cheap.
    rows = [row("floor-epoll", 0, 10, 2000, scenario="hit100k"),
            row("vivace", 0, 20, 1000, scenario="hit100k"),
            row("nginx", 0, 22, 1100, scenario="hit100k"),
            row("varnish", 0, 19, 900, scenario="hit100k")]
    page = report(rows, "--markdown")
    assert [x.split(" | ")[2:] for x in page.splitlines() if x.startswith("| hit100k | ")] \
        == [["1.05 (varnish)", "NOT kept |"], ["0.91 (nginx)", "NOT kept |"]]


def test_gzip_has_no_floor_and_shows_sizes(report):
    rows = [row("vivace", 0, 150, 1000, scenario="gzip64k", body_bytes=17000, wire_bytes=17300),
            row("haproxy", 0, 200, 900, scenario="gzip64k", body_bytes=23000, wire_bytes=23400),
            row("nginx", 0, 400, 500, scenario="gzip64k", body_bytes=17100, wire_bytes=17400)]
    page = report(rows, "--markdown")
    assert "ratios to haproxy" in page
    assert cells(page, "vivace")[5] == "0.75"                      # 150 / 200
    assert cells(page, "vivace")[-2:] == ["17000", "17300"]
    assert [x.split(" | ")[2:] for x in page.splitlines() if x.startswith("| gzip64k | ")] \
        == [["0.75", "kept |"], ["0.99", "kept |"]]                # 17000 / 17100


PROBE = """
import gzip, socket, sys, threading
sys.path.insert(0, sys.argv[1])
from harness.machine import Failed
from harness.scenarios import BODIES, SCENARIOS
from harness.server import Server

def server(scenario, **peer):
    s = object.__new__(Server)
    s.run, s.sc, s.peer = "/nonexistent", SCENARIOS[scenario], peer
    return s

def said(what, *words):
    try:
        what(*words)
        return "right"
    except Failed as e:
        return str(e).split(":")[0]
"""


def probe(text):
    return subprocess.run([harness.PYTHON, "-c", PROBE + text, f"{harness.ROOT}/bench"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.splitlines()


def test_a_wrong_answer_is_never_timed():
    assert probe("""
one, doc = BODIES["/c/1k"], BODIES["/p/64k.json"]
s = server("hit1k", hit="X-Cache-Status: HIT")
print(said(s._judge, 200, "X-Cache-Status: HIT\\n", one))
print(said(s._judge, 200, "X-Cache-Status: MISS\\n", one, True))
print(said(s._judge, 200, "X-Cache-Status: MISS\\n", one))
print(said(s._judge, 200, "X-Cache-Status: HIT\\n", one[:-1]))
print(said(s._judge, 404, "X-Cache-Status: HIT\\n", one))
s = server("gzip64k")
print(said(s._judge, 200, "Content-Encoding: gzip\\n", gzip.compress(doc)))
print(said(s._judge, 200, "Content-Type: application/json\\n", doc))
print(said(s._judge, 200, "Content-Encoding: gzip\\n", gzip.compress(doc)[:-9]))
print(said(s._judge, 200, "Content-Encoding: gzip\\n", gzip.compress(doc[1:])))
""") == ["right", "right", "no cache hit (X-Cache-Status", "wrong body", "status 404",
         "right", "not compressed", "wrong gzip", "wrong body"]


@pytest.mark.parametrize("answers", [16, 15])
def test_pipelined_answers_are_counted(answers):
    # The server here reads all sixteen requests, so that closing sends no reset.
    got = probe(f"answers = {answers}" + """
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    conn, _ = listener.accept()
    asked = b""
    while asked.count(b"\\r\\n\\r\\n") < 16:
        asked += conn.recv(65536)
    conn.sendall((b"HTTP/1.1 200 OK\\r\\nContent-Length: 1024\\r\\n\\r\\n" + BODIES["/c/1k"]) * answers)
    conn.close()
threading.Thread(target=serve, daemon=True).start()
s = server("hitpipe16")
s.port = listener.getsockname()[1]
print(said(s._check_pipeline))
""")
    assert got == ["right" if answers == 16 else "15 of 16 pipelined answers"]


def test_overload_is_reported_against_the_calmest_round(tmp_path):
    # Ratio: median of 16, 20, 18 is 18 ms, to the least of 10, 9, 12 ms: 2.00. Goodput: median 990 of
    # 1,000/s. The slowest recovery counts, and one that was not seen counts as none.
    def line(turn, factor, calm, p99, goodput, recovered):
        return dict(server="vivace", factor=factor, service="even", round=turn, calm_p99_ms=calm, calm_errors=1,
                    goodput=goodput, steady_goodput=goodput, onset_p99_ms=80, p50_ms=8, p99_ms=p99, refused=5,
                    recovered_s=recovered)

    rows = [line(0, 2, 10, 16, 980, 0), line(1, 2, 9, 20, 990, 1), line(2, 2, 12, 18, 1000, 0),
            line(0, 4, 10, None, 300, None), line(1, 4, 10, None, 310, 0)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in [{"machine": MACHINE}] + rows))
    page = subprocess.run([harness.PYTHON, f"{harness.ROOT}/bench/bench.py", "overload", "--markdown", "--report",
                           str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout
    got = [[x.strip() for x in line.strip("|").split("|")] for line in page.splitlines()
           if line.startswith("| vivace |")]
    assert got == [["vivace", "2x", "990", "99 %", "9.0 ms", "18.0 ms", "2.00", "80.0 ms", "3", "1 s"],
                   ["vivace", "4x", "305", "30 %", "9.0 ms", "-", "-", "80.0 ms", "2", "> 3 s"]]


def test_recovery_is_the_end_of_the_first_second_that_stays_good():
    # Second 1 is good but second 2 is slow again, so it has recovered after 3; failing to the end: never.
    assert probe("""
sys.path.insert(0, sys.argv[1])
import overload
def after(*seconds):
    each = [dict(offered=500, failed=failed, p99=p99) for failed, p99 in seconds]
    return overload.recovered_after(dict(each=each + [dict(offered=0, failed=1, p99=900)]), 16)
print(after((0, 9), (0, 9)), after((3, 9), (0, 9), (0, 17), (0, 16)), after((0, 9), (1, 9)))
""") == ["0 3 None"]
