# tests/integration/test_exposition.py - foreign readers understand our metrics and logs.
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse

import pytest

from harness import Client, free_port, ok, wait_for

PROMTOOL = shutil.which("promtool")
PROMETHEUS = shutil.which("prometheus")


@pytest.fixture
def used(proxy):
    """A gateway that has seen a bit of everything."""

    def answer(req):
        if req.target == "/500":
            return ok(b"no", "500 Oops")
        return ok(b"x" * 100)

    gw, origin = proxy(
        answer=answer,
        route={"name": 'odd "name"\\with escapes', "count_as": "technique"},
        labels={"country": "us"},
        listen={},
    )
    with gw.client() as c:
        for target, method in (("/", "GET"), ("/500", "GET"), ("/", "POST"), ("/", "BREW"), ("/", "HEAD")):
            c.ask(target, method, body=b"abc" if method == "POST" else None)
    with gw.client() as c:
        c.send(b"BAD\r\n\r\n")
        c.rest()
    gw.books_balance()
    return gw, origin


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")
def test_promtool_finds_nothing_wrong(used):
    gw, _ = used
    answer = gw.admin("/metrics")
    assert answer.get("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    p = subprocess.run([PROMTOOL, "check", "metrics"], input=answer.body, capture_output=True, timeout=60)
    assert p.returncode == 0, p.stdout.decode() + p.stderr.decode()


def test_counts_are_right(used):
    gw, _ = used
    m = gw.metrics()
    assert m.sum("http_requests_total", method="GET", status="200", country="us") == 1
    assert m.sum("http_requests_total", method="GET", status="500") == 1
    assert m.sum("http_requests_total", method="POST", status="200") == 1
    assert m.sum("http_requests_total", method="HEAD", status="200") == 1
    assert m.sum("http_requests_total", method="_OTHER", status="200") == 1
    assert m.sum("http_requests_total", service="app") == 5
    assert m.sum("vivace_counted_requests_total", name="technique") == 5
    assert m.sum("vivace_http_bad_requests_total") == 1
    assert m.sum("vivace_request_bytes_total") == 3
    assert m.sum("vivace_response_bytes_total") >= 100 * 3 + 2
    assert {x["route"] for x in m.labels("http_requests_total")} >= {'odd "name"\\with escapes'}
    assert m.sum("vivace_build_info") == 1
    # every series carries the constant label
    for name, samples in m.samples.items():
        if name.startswith(("http_", "vivace_")):
            assert all(labels.get("country") == "us" for labels, _ in samples), name


def test_a_histogram_adds_up(used):
    gw, _ = used
    m = gw.metrics()
    name = "http_request_duration_seconds"
    series = {}
    for labels, value in m.samples[name + "_bucket"]:
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        series.setdefault(key, []).append((float(labels["le"].replace("+Inf", "inf")), value))
    assert series
    for key, buckets in series.items():
        assert buckets == sorted(buckets), "bounds rise"
        counts = [v for _, v in buckets]
        assert counts == sorted(counts), "cumulative"
        assert [b for b, _ in buckets] == [
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0,
            float("inf"),
        ]  # fmt: skip
        assert m.sum(name + "_count", **dict(key)) == counts[-1]
    assert m.sum(name + "_count", service="app") == 5
    assert m.sum(name + "_sum", service="app") > 0


@pytest.mark.parametrize(
    "accept, kind",
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
            "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_negotiated(used, accept, kind):
    gw, _ = used
    answer = gw.admin("/metrics", headers={"Accept": accept} if accept else {})
    assert answer.get("Content-Type") == kind
    text = answer.body.decode()
    if kind.startswith("application/openmetrics"):
        assert text.endswith("\n# EOF\n")
        assert "# TYPE http_requests counter\n" in text and "http_requests_total{" in text
    else:
        assert "# EOF" not in text
        assert "# TYPE http_requests_total counter\n" in text


def test_metrics_come_compressed_when_asked(used):
    import gzip

    gw, _ = used
    answer = gw.admin("/metrics", headers={"Accept-Encoding": "gzip"})
    assert answer.get("Content-Encoding") == "gzip"
    assert b"http_requests_total{" in gzip.decompress(answer.body)


class Prometheus:
    """The real one, scraping one target five times a second."""

    def __init__(self, folder, target):
        self.port = free_port()
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w") as f:
            f.write(
                "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
                "scrape_configs:\n"
                "  - job_name: vivace\n"
                "    honor_labels: true\n"
                f"    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
            )
        self.log = open(os.path.join(folder, "prometheus.log"), "wb")
        self.process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self.log,
            stderr=self.log,
            cwd=folder,
        )

    def query(self, expr):
        try:
            with Client(self.port) as c:
                answer = c.ask("/api/v1/query?query=" + urllib.parse.quote(expr))
        except OSError:
            return []
        data = json.loads(answer.body) if answer.status == 200 else {}
        return data.get("data", {}).get("result", [])

    def value(self, expr):
        result = self.query(expr)
        return float(result[0]["value"][1]) if result else None

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.mark.slow
@pytest.mark.skipif(not PROMETHEUS, reason="prometheus is not installed")
def test_prometheus_scrapes_us(used, tmp_path, stack):
    gw, _ = used
    prom = Prometheus(str(tmp_path), gw.admin_port)
    stack.append(prom)
    wait_for("the target is up", lambda: prom.value('up{job="vivace"}') == 1, 30)
    assert prom.value("sum(http_requests_total)") == gw.metric("http_requests_total")
    assert prom.value('sum(http_requests_total{country="us",status=~"5.."})') == 1
    assert prom.value("vivace_config_last_reload_successful") in (0, 1)
    for _ in range(20):
        gw.ask("/")
    wait_for("the counters move", lambda: prom.value('sum(http_requests_total{status="200"})') == 24)
    wait_for("a rate", lambda: (prom.value("sum(rate(http_requests_total[5s]))") or 0) > 0)
    assert prom.value("histogram_quantile(0.95, sum by (le) (http_request_duration_seconds_bucket))") > 0
    assert prom.value('scrape_samples_scraped{job="vivace"}') > 50
    assert prom.query('process_resident_memory_bytes{job="vivace"}')
    assert prom.value('up{job="vivace"}') == 1


# ------------------------------------------------------------------------------------ access logs

COMBINED = re.compile(
    r'^(?P<ip>\S+) - (?P<user>\S+) \[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
    r'"(?P<request>(?:[^"\\]|\\x[0-9A-F]{2}|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+|-) '
    r'"(?P<referer>(?:[^"\\]|\\x[0-9A-F]{2}|\\.)*)" "(?P<agent>(?:[^"\\]|\\x[0-9A-F]{2}|\\.)*)"$'
)


def lines(path, n):
    def enough():
        try:
            with open(path, encoding="latin-1") as f:
                got = f.read().splitlines()
        except FileNotFoundError:
            return None
        return got if len(got) >= n else None

    return wait_for(f"{n} log lines", enough)


def test_the_combined_log_parses(proxy, tmp_path):
    path = str(tmp_path / "access.log")
    gw, _ = proxy(answer=lambda r: ok(b"y" * 77), workers=1, access_log={"path": path, "format": "combined"})
    agent = 'evil" "agent\\ \u00e9'
    with gw.client() as c:
        c.ask("/a?b=c", headers={"User-Agent": agent, "Referer": "http://r.example/"})
        c.ask("/none", "POST", body=b"x")
    gw.ask("/old", version="HTTP/1.0")
    got = [COMBINED.match(line) for line in lines(path, 3)]
    assert all(got)
    first = got[0]
    assert first["ip"] == "127.0.0.1"
    assert first["request"] == "GET /a?b=c HTTP/1.1"
    assert (first["status"], first["bytes"], first["referer"]) == ("200", "77", "http://r.example/")
    assert got[1]["request"].startswith("POST /none ")
    assert got[2]["request"] == "GET /old HTTP/1.0"
    parsed = time.strptime(first["time"], "%d/%b/%Y:%H:%M:%S %z")
    assert parsed.tm_year >= 2024


def test_the_json_log_parses(proxy, tmp_path):
    path = str(tmp_path / "access.json")
    gw, origin = proxy(
        answer=lambda r: ok(b"z" * 33), route={"name": "all"}, workers=1, access_log={"path": path, "format": "json"}
    )
    with gw.client() as c:
        c.ask("/p/a?secret=1", headers={"User-Agent": 'a"b\\c\u00e9', "Authorization": "Bearer s3cret", "Cookie": "k=s3cret"})
        answer = c.ask("/q", "POST", body=b"12345")
    rows = [json.loads(line) for line in lines(path, 2)]
    one, two = rows
    assert one["method"] == "GET" and one["path"].startswith("/p/a") and one["status"] == 200
    assert one["route"] == "all" and one["client_ip"] == "127.0.0.1" and one["bytes_out"] == 33
    assert one["host"] == "test"
    assert two["method"] == "POST" and two["bytes_in"] == 5
    assert two["request_id"] == answer.get("X-Request-Id")
    assert re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", one["ts"])
    for row in rows:
        assert row["duration_ms"] >= row["ttfb_ms"] >= 0
        assert "s3cret" not in json.dumps(row)
        assert origin.name in str(row["upstream"])


def test_the_log_says_what_the_cache_did(proxy, tmp_path):
    path = str(tmp_path / "access.json")
    gw, origin = proxy(
        answer=lambda r: ok(b"page"),
        routes=[{"path": "/kept", "to": "app", "cache": "1h"}, {"path": "/", "to": "app"}],
        workers=1,
        access_log={"path": path, "format": "json"},
    )
    with gw.client() as c:
        for target, method in (("/kept", "GET"), ("/kept", "GET"), ("/kept", "POST"), ("/other", "GET")):
            assert c.ask(target, method).status == 200
    rows = [json.loads(line) for line in lines(path, 4)]
    assert [row.get("cache") for row in rows] == ["MISS", "HIT", "BYPASS", None]


def test_every_request_is_logged_once(proxy, load, tmp_path):
    path = str(tmp_path / "access.json")
    gw, _ = proxy(access_log={"path": path, "format": "json"})
    report = load(gw.port, connections=8, seconds=1).wait()
    gw.books_balance()
    dropped = gw.metric("vivace_log_records_dropped_total")
    got = lines(path, report["answered"] - dropped)
    assert len(got) == report["answered"] - dropped
    ids = {json.loads(line)["request_id"] for line in got}
    assert len(ids) == len(got)


def test_logs_can_be_rotated(proxy, tmp_path):
    import signal

    path = str(tmp_path / "access.log")
    gw, _ = proxy(access_log={"path": path, "format": "combined"})
    gw.ask("/one")
    lines(path, 1)
    os.rename(path, path + ".1")
    gw.process.send_signal(signal.SIGUSR1)

    def reopened():
        gw.ask("/two")
        return os.path.exists(path) and os.path.getsize(path)

    wait_for("the new file", reopened)
    with open(path + ".1") as f:
        assert "/one" in f.read()
