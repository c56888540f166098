# tests/integration/test_load_engine.py - the load generator's clocks: honest when the server stops, on
# time when it can be, and loud when it cannot.
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import threading
import time

import pytest

import harness


def load(url, tmp_path, *args, check=None):
    """Runs `vivace load` to its end; returns (exit code, its JSON report)."""
    out = tmp_path / "report.json"
    command = [harness.binary(), "load", url, "-q", "-o", str(out), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120 * harness.SCALE)
    assert out.exists(), done.stdout + done.stderr
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done.returncode, json.loads(out.read_text())


def milliseconds(report, metric, quantile):
    return report["aggregate"]["summaries"][metric][quantile]


@pytest.mark.skipif(harness.SANITIZER is not None, reason="compares times")
def test_a_frozen_server_shows_in_the_corrected_latency(app, tmp_path):
    """2 s frozen within 20 s at 100/s: 200 of 2,000 starts wait, uniformly 2 s down to 0. The slowest
    hundredth are 20 of them, 0.2 s of starts, so p99 is 1.8 s: the time it was really frozen less 0.2 s,
    because a sleep may take longer on a crowded machine."""
    server = app()
    frozen = []

    def freeze():
        time.sleep(8)
        server.pause()
        frozen.append(time.monotonic())
        time.sleep(2)
        server.resume()
        frozen.append(time.monotonic())

    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        _, report = load(server.url + "/", tmp_path, "--rate", "100", "--for", "20s", "--allow-late")
    finally:
        thread.join()
    assert report["vivace"]["offered"] == 2000
    assert report["aggregate"]["counters"]["http.responses"] == 2000
    p99 = milliseconds(report, "vivace.latency", "p99")
    theory = 1000 * (frozen[1] - frozen[0] - 0.2)
    assert theory * 0.95 <= p99 <= theory * 1.05, (p99, theory)
    assert milliseconds(report, "vivace.service", "p99") > 0  # shown beside it


def test_full_seconds_keep_the_rate_or_the_run_says_so(app, tmp_path):
    """Within 1 % in every second, or marked invalid with a reason and a failing exit code."""
    server = app()
    for rate in (10, 200, 1000):
        code, report = load(server.url + "/", tmp_path, "--rate", str(rate), "--for", "3s")
        assert report["vivace"]["offered"] == 3 * rate
        seconds = report["vivace"]["seconds"][:3]
        kept = all(w["started"] >= 0.99 * w["offered"] for w in seconds)
        assert [w["offered"] for w in seconds] == [rate] * 3
        if kept:
            assert report["vivace"]["invalid"] is None
        else:
            assert "late" in report["vivace"]["invalid"]
            assert code != 0


def test_a_stopped_generator_is_marked_invalid(app, tmp_path):
    """The generator itself stands still for more than a second: that is no measurement."""
    server = app()
    out = tmp_path / "report.json"
    command = [harness.binary(), "load", server.url + "/", "-q", "-o", str(out), "--rate", "50",
               "--for", "5s"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(1.5)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    text, _ = process.communicate(timeout=60 * harness.SCALE)
    report = json.loads(out.read_text())
    assert process.returncode != 0, text
    assert "late" in report["vivace"]["invalid"]
    assert report["vivace"]["late_starts"] > 50
    # All were sent after all, and their waiting counts: nothing is hidden.
    assert report["aggregate"]["counters"]["http.requests"] == 250
    assert milliseconds(report, "vivace.latency", "max") > 1000


def test_ten_thousand_connections_fit_in_tens_of_mebibytes(app, tmp_path):
    if harness.SANITIZER is not None:
        pytest.skip("a sanitizer's own memory")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    users = min(10000, hard - 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the server inherits it
    try:
        server = app()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    out = tmp_path / "report.json"
    process = subprocess.Popen([harness.binary(), "load", server.url + "/", "-q", "-o", str(out),
                                "--users", str(users), "--for", "3s", "--allow-late"])
    peak = 0  # of this program: the rusage of a child begins with the memory of its parent
    while process.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        found = re.search(r"VmHWM:\s+(\d+)", status)
        peak = max(peak, int(found[1]) if found else 0)
        time.sleep(0.1)
    process.wait()
    report = json.loads(out.read_text())
    assert report["vivace"]["connections"] >= users * 0.9
    assert 0 < peak * 1024 < 100 * harness.MIB, peak
