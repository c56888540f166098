# tests/integration/test_rules.py - our rule engine and a real Prometheus move alerts alike.
"""One incident, replayed. Prometheus evaluates the rules live, for half a minute of real time, over series
that this test writes second by second; then ours evaluates the same rules over the same samples at the very
times Prometheus did, and must write the same series: recorded ones, ALERTS and ALERTS_FOR_STATE, with the
same gaps where they ended. Texts of alerts must be equal too."""

import json
import os
import shutil
import subprocess
import time

import pytest
import requests

import harness
import test_promql

PROMETHEUS = shutil.which("prometheus")
DRIVER = os.environ.get(
    "RULES_DRIVER", os.path.join(os.path.dirname(harness.binary()), "tests/unit/watch/rules_driver"))

pytestmark = [
    pytest.mark.skipif(PROMETHEUS is None, reason="needs prometheus"),
    pytest.mark.skipif(not os.path.exists(DRIVER), reason="needs rules_driver beside the binary"),
]

# The same expressions and texts as common rule files have; times short enough to wait for.
LIVE = """
groups:
  - name: us.performance
    interval: 1s
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
        labels: {origin: rule}
      - alert: HighResponseTime
        expr: histogram_quantile(0.95, rate(http_request_duration_seconds_bucket{country="us"}[10s])) > 0.1
        for: 4s
        labels:
          severity: warning
          country: us
        annotations:
          summary: "High response time detected in US environment"
          description: "P95 response time is {{ $value }}s for 2 minutes"
      - alert: TechnicalAPIDown
        expr: up{job="api-technique"} == 0
        for: 3s
        labels: {severity: critical, country: us}
        annotations: {summary: "Technical API service is down, says {{ $labels.instance }}"}
      - alert: DatabaseConnectionPoolExhausted
        expr: mysql_connection_pool_active{instance="us_mysql"} / mysql_max_connections > 0.8
        for: 5s
        labels: {severity: "{{ if gt $value 0.9 }}critical{{ else }}warning{{ end }}", country: us}
        annotations: {description: "Connection pool usage is {{ $value | humanizePercentage }}"}
      - alert: HighErrorRate
        expr: rate(http_requests_total{status=~"5.."}[10s]) > 0.05
        for: 2s
        keep_firing_for: 4s
        labels: {severity: critical}
      - alert: Vanishing
        expr: vanishing > 0
        annotations:
          number: "{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizePercentage $value }}"
          times: "{{ $value | humanizeDuration }} {{ humanizeTimestamp 1435065584.5 }} {{ humanizeDuration 0.0021 }}"
          printf: '{{ printf "%.3f|%8.2f|%-9.1e|%g|%v|%5d|%q|%d" $value $value $value $value $value 7 $labels.zone $value }}'
          labels: "{{ $labels }} {{ .Labels.zone }} {{ $labels.none }} {{ toUpper $labels.zone }} {{ title \\"a bc\\" }}"
          if: "{{ if and (gt $value 100.0) $labels.zone -}} many {{- else if lt $value 5.0 }}few{{ else }}some{{ end }}."
          print: '{{ print 1 2 "x" 3 }} {{ stripPort "[::1]:80" }} {{ stripPort "a" }} {{ 1e6 }} {{ 123456.0 }} {{ 1e21 }}'
          odd: '{{ printf "%s %" 5 }} {{ printf "%d" }} {{ humanize "12345" }} {{ humanizeTimestamp 0.0 }} {{ 0.00001 }}'
      - alert: Flapping
        expr: flapping > 0
        for: 2s
      - alert: FiringTooLong
        expr: ALERTS{alertstate="firing",alertname!="FiringTooLong"}
        for: 3s
        labels: {alertstate: "", was: "{{ $labels.alertname }}"}
"""
SECONDS = 36
INCIDENT = (8, 20)  # seconds of it


long = pytest.mark.skipif("VIVACE_LONG" not in os.environ, reason="takes its time: set VIVACE_LONG=1")


def incident(second):
    """{labels: value} at one second."""
    bad = INCIDENT[0] <= second < INCIDENT[1]

    def key(name, **labels):
        return tuple(sorted([("__name__", name), *labels.items()]))

    seconds_bad = max(0, min(second, INCIDENT[1] - 1) - INCIDENT[0] + 1)
    out = {
        key("up", job="api-technique", instance="a:1"): 0.0 if bad else 1.0,
        key("up", job="api-technique", instance="b:1"): 1.0,
        key("up", job="web", instance="c:1"): 1.0,
        key("mysql_connection_pool_active", instance="us_mysql"): 85.0 + (second - 12) if bad else 30.0,
        key("mysql_max_connections", instance="us_mysql"): 100.0,
        key("http_requests_total", status="200"): 10.0 * second,
        key("http_requests_total", status="500"): 2.0 * seconds_bad,
        key("http_requests_total", status="503"): float(seconds_bad // 6),
        key("flapping", n="1"): float(second % 5 < 2),
        key("flapping", n="2"): float(second % 7 < 5),
    }
    for le, share in (("0.05", 0.3), ("0.1", 0.5), ("0.5", 0.9), ("+Inf", 1.0)):
        fast = 10 * (second + 1 - seconds_bad)
        out[key("http_request_duration_seconds_bucket", country="us", le=le)] = fast + 10 * seconds_bad * share
    if bad:
        out[key("vanishing", zone="x")] = 1.2345678 * 10 ** (2 * (second - INCIDENT[0]) - 4)
    elif second == INCIDENT[1]:
        out[key("vanishing", zone="x")] = test_promql.STALE
    return out


class Prometheus(test_promql.Prometheus):
    """The one of test_promql, with rules."""

    def __init__(self, folder, rules):
        self.url = "http://127.0.0.1:%d" % harness.free_port()
        with open(os.path.join(folder, "rules.yml"), "w", encoding="utf-8") as f:
            f.write(rules)
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as f:
            f.write("global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n")
        self.log = open(os.path.join(folder, "log"), "wb")
        self.process = subprocess.Popen(
            [PROMETHEUS, "--config.file=" + config, "--storage.tsdb.path=" + os.path.join(folder, "data"),
             "--web.listen-address=" + self.url[7:], "--web.enable-remote-write-receiver"],
            stdout=self.log, stderr=self.log)
        self.http = requests.Session()
        self.http.trust_env = False
        harness.wait_for("prometheus to be ready", self.ready, 30)

    def send(self, t_ms, values):
        body = test_promql.snappy(test_promql.write_request({k: [(t_ms, v)] for k, v in values.items()}))
        answer = self.http.post(self.url + "/api/v1/write", data=body, timeout=10, headers={
            "Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0"})
        assert answer.status_code == 204, answer.text

    def samples(self, selector, seconds):
        answer = self.http.get(self.url + "/api/v1/query", timeout=10,
                               params={"query": "%s[%ds]" % (selector, seconds)}).json()
        assert answer["status"] == "success", answer
        return {tuple(sorted(s["metric"].items())): {round(t * 1000): v for t, v in s["values"]}
                for s in answer["data"]["result"]}

    def alerts(self):
        return self.http.get(self.url + "/api/v1/alerts", timeout=10).json()["data"]["alerts"]


class Ours:
    def __init__(self, folder, rules):
        path = os.path.join(folder, "ours.yml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(rules)
        self.process = subprocess.Popen([DRIVER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        encoding="utf-8")

    def send(self, t_ms, values):
        for labels, v in values.items():
            self.process.stdin.write("series\t" + "\t".join(k + "\t" + x for k, x in labels) + "\n")
            self.process.stdin.write("sample\t%d\t%s\n" % (t_ms, "stale" if test_promql.is_stale(v) else repr(v)))

    def evaluate(self, t_ms):
        self.process.stdin.write("eval\t%d\n" % t_ms)
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["unwell"] == []
        return answer

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()


def live(prometheus, start_ms):
    """Writes the incident in real time, always a little before the second it belongs to ends."""
    sent, seen = [], {}
    for second in range(SECONDS):
        t_ms = start_ms + second * 1000
        time.sleep(max(0, t_ms / 1000 - time.time()))
        values = incident(second)
        prometheus.send(t_ms, values)
        sent.append((t_ms, values))
        for a in prometheus.alerts():
            seen[tuple(sorted(a["labels"].items())), a["state"], a["value"]] = a["annotations"]
    return sent, seen


def written_by(ours, sent, times):
    """{series: {time: value}} and the alerts' texts, with samples sent in between as they were then."""
    out, texts, at = {}, {}, 0
    for t in times:
        while at < len(sent) and sent[at][0] <= t:
            ours.send(*sent[at])
            at += 1
        answer = ours.evaluate(t)
        for w in answer["written"]:
            if w["value"] != "stale":
                out.setdefault(tuple(sorted(w["labels"].items())), {})[t] = float(w["value"])
        for a in answer["alerts"]:
            texts.setdefault((tuple(sorted(a["labels"].items())), a["state"]), set()).add(
                tuple(sorted(a["annotations"].items())))
    return out, texts


@long
def test_an_incident_moves_alerts_as_in_prometheus(tmp_path):
    theirs, ours = Prometheus(str(tmp_path), LIVE), Ours(str(tmp_path), LIVE)
    try:
        # Evaluations come at a fixed part of every second; samples half a second away from it.
        harness.wait_for("an evaluation", lambda: theirs.samples("job:up:sum", 60) or theirs.send(
            int(time.time() * 1000), {(("__name__", "up"), ("job", "start")): 1.0}), 20)
        phase = next(iter(next(iter(theirs.samples("job:up:sum", 60).values())))) % 1000
        start_ms = (int(time.time()) + 2) * 1000 + (phase + 500) % 1000
        sent, seen = live(theirs, start_ms)
        time.sleep(1.2)
        span = SECONDS + 10
        want = {}
        for selector in ("job:up:sum", "ALERTS", "ALERTS_FOR_STATE"):
            want.update(theirs.samples(selector, span))
        want = {k: {t: float(v) for t, v in s.items() if t > start_ms} for k, s in want.items()
                if ("job", "start") not in k}
        times = sorted({t for s in want.values() for t in s})
        assert len(times) >= SECONDS - 1
        got, texts = written_by(ours, sent, times)
    finally:
        theirs.close()
        ours.close()
    want = {k: s for k, s in want.items() if s}
    names = {dict(k).get("alertname") for k in want if ("alertstate", "firing") in k}
    assert names >= {"HighResponseTime", "TechnicalAPIDown", "DatabaseConnectionPoolExhausted", "HighErrorRate",
                     "Vanishing", "Flapping", "FiringTooLong"}
    assert sorted(got) == sorted(want)
    for labels, samples in want.items():
        assert got[labels] == samples, labels
    assert sum(bool(a) for a in seen.values()) >= 12
    for (labels, state, _), annotations in seen.items():
        if annotations:
            assert tuple(sorted(annotations.items())) in texts[labels, state], (labels, state, annotations, [
                t for t in texts[labels, state]][:4])
