# tests/integration/test_load_artillery.py - the same files through `vivace load` and the real Artillery.
"""Each case is one scenario file. Both tools send it at a low rate to an origin of their own that
records everything; then requests, their order within a user, and the counters must be the same.

Artillery: $VIVACE_ARTILLERY, or `artillery` in PATH (version 2 from npm, which is too large to come
with the tests: npm install --ignore-scripts artillery). Without it the tests skip.
Shapes:    what is random by nature is replaced by a name of its form before requests are compared
           (`shapes` of a case); what is drawn from few values stays, and how often each was drawn
           is compared instead: two binomial samples that differ by more than 4.5 standard
           deviations fail (7 in a million by chance, each).
By nature: user-agent and connection differ; host holds the port. See docs/reference/load.md.
"""

import collections
import difflib
import json
import math
import os
import re
import shutil
import subprocess
import threading

import pytest
import yaml

import harness
from harness import PATIENCE, ROOT, SCALE, Origin, ok

ARTILLERY = os.environ.get("VIVACE_ARTILLERY") or shutil.which("artillery")
pytestmark = [
    pytest.mark.skipif(
        not ARTILLERY, reason="Artillery is not here: set VIVACE_ARTILLERY to its program"),
    pytest.mark.timeout(300 * SCALE),
]

WORD = r"[a-zA-Z0-9]{10}"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
BY_NATURE = {"user-agent", "connection", "host"}
SIGMAS = 4.5
NOT_COUNTED = r"^http\.downloaded_bytes$"  # Artillery adds up the lengths that answers name, we what came


# ------------------------------------------------------------------------------------------- origin


def answer(req):
    """What both tools are answered: the same for the same request."""
    path = req.target.split("?")[0]
    status = re.match(r"/status/(\d+)", path)
    if status:
        return ok(b"{}", f"{status[1]} Some Text", {"Content-Type": "application/json"})
    if req.method == "HEAD":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n"
    if path == "/login":
        body = {"token": "t-81", "user": {"id": 17, "name": "Zoe \"Z\"", "tags": ["a", "b"]},
                "list": [{"n": 5}, {"n": 6}], "on": True, "none": None, "half": 0.5}
        return ok(json.dumps(body).encode(), headers={
            "Content-Type": "application/json; charset=utf-8", "X-Ticket": "tick 9",
            "Set-Cookie": "sid=abc; Path=/"})
    if path == "/page":
        return ok(b"<html><a href='/p/42'>one</a> <a href='/p/43'>two</a></html>",
                  headers={"Content-Type": "text/html"})
    if path == "/moved":
        return ok(b"", "302 Found", {"Location": "/there?x=1"})
    if path == "/see":
        return ok(b"", "303 See Other", {"Location": "/there"})
    if path == "/kept":
        return ok(b"", "307 Temporary Redirect", {"Location": "/there"})
    return ok(b'{"fine":true}', headers={"Content-Type": "application/json"})


# -------------------------------------------------------------------------------------------- tools


class Run:
    """What one tool sent, counted and said."""

    def __init__(self, origin, code, report, said):
        self.code, self.report, self.said = code, report, said
        self.counters = report["aggregate"]["counters"]
        self.summaries = report["aggregate"]["summaries"]
        self.requests = list(origin.requests)
        self.port = origin.port

    def users(self):
        """Requests of each user in order: both tools open one connection for each user."""
        users = collections.defaultdict(list)
        for req in self.requests:
            users[req.connection].append(req)
        return list(users.values())


def send(tool, folder, text, extra):
    origin = Origin(answer=answer)
    try:
        path = os.path.join(folder, "scenario.yml")
        out = os.path.join(folder, f"{os.path.basename(tool[0])}.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        env = {**os.environ, "ARTILLERY_DISABLE_TELEMETRY": "true", "SHOP": "north",
               "PATH": "/usr/bin:/bin:" + os.environ.get("PATH", "")}
        got = subprocess.run([*tool, "-o", out, "-t", origin.url, *extra, path], env=env, cwd=folder,
                             capture_output=True, text=True, timeout=1200 * SCALE)
        said = got.stdout + got.stderr
        assert os.path.exists(out), said
        with open(out, encoding="utf-8") as f:
            return Run(origin, got.returncode, json.load(f), said)
    finally:
        origin.close()


def both(tmp_path, text, extra=(), files=()):
    """Runs both tools at the same time, each in a folder of its own."""
    tools = {"ours": [harness.binary(), "load", "--allow-late"], "theirs": [ARTILLERY, "run"]}
    runs, broken = {}, []

    def one(name, tool):
        folder = tmp_path / name
        folder.mkdir()
        for file, content in files:
            (folder / file).write_text(content)
        try:
            runs[name] = send(tool, str(folder), text, extra)
        except Exception as e:  # noqa: BLE001 - shown by the test
            broken.append(f"{name}: {e!r}")

    threads = [threading.Thread(target=one, args=item) for item in tools.items()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not broken, "\n".join(broken)
    return runs["ours"], runs["theirs"]


# --------------------------------------------------------------------------------------- comparison


def shape(text, shapes):
    for pattern, name in shapes:
        text = re.sub(pattern, name, text)
    return text


def print_of(req, shapes, port):
    """A request as a text that is the same for both tools."""
    fields = sorted(
        f"{n.lower()}: {v}" for n, v in req.headers if n.lower() not in BY_NATURE)
    fields = [f for f in fields if not re.match(r"content-length: \d\d", f) or not shapes]
    # A user that looks into an answer asks for no brotli: what it cannot read.
    fields = [re.sub("^(accept-encoding: gzip, deflate), br$", r"\1", f) for f in fields]
    text = "\n".join([f"{req.method} {req.target}", *fields, "", req.body.decode("utf-8")])
    return shape(text.replace(f"127.0.0.1:{port}", "HOST"), shapes)


def same_shares(what, ours, theirs):
    """Two samples of the same draws: the same values, each about as often."""
    a, b = sum(ours.values()), sum(theirs.values())
    for value in sorted(set(ours) | set(theirs)):
        share = (ours[value] + theirs[value]) / (a + b)
        sigma = math.sqrt(share * (1 - share) * (1 / a + 1 / b))
        differ = abs(ours[value] / a - theirs[value] / b)
        if differ > SIGMAS * sigma + 1e-9:
            other = (theirs if ours[value] > theirs[value] else ours).most_common(1)[0][0]
            diff = "\n".join(difflib.ndiff(value.splitlines(), other.splitlines()))
            pytest.fail(f"{what}: {ours[value]} of {a} here, {theirs[value]} of {b} in Artillery; "
                        f"beside the other's most frequent:\n{diff}", pytrace=False)


def same_requests(ours, theirs, shapes=()):
    """What each user sent, in its order."""
    def texts(run):
        return collections.Counter("\n\n".join(print_of(q, shapes, run.port) for q in user)
                                   for user in run.users())
    same_shares("a user's requests", texts(ours), texts(theirs))


def same_counters(ours, theirs, fixed=()):
    """Names are all there; counters with a fixed value are equal, the others about so."""
    for name, value in theirs.counters.items():
        if re.search(NOT_COUNTED, name):
            continue
        assert name in ours.counters, f"{name} is missing: {sorted(ours.counters)}"
        here = ours.counters[name]
        if name in fixed:
            assert here == value, (name, here, value)
        else:
            assert abs(here - value) <= SIGMAS * math.sqrt(here + value), (name, here, value)
    mine = set(ours.counters) - set(theirs.counters)
    assert all(ours.counters[n] == 0 for n in mine), mine


FIXED = ("vusers.created", "http.requests", "http.responses", "vusers.completed", "vusers.failed")


def scenario(flow, arrivals=40, seconds=2, **config):
    """A file with one scenario and one phase."""
    config = {"phases": [{"duration": seconds, "arrivalCount": arrivals}], **config}
    config.setdefault("target", "http://127.0.0.1:1")
    return yaml.safe_dump({"config": config, "scenarios": [{"name": "one", "flow": flow}]},
                          sort_keys=False)


def check(tmp_path, text, shapes=(), fixed=FIXED, **kw):
    ours, theirs = both(tmp_path, text, **kw)
    same_requests(ours, theirs, shapes)
    same_counters(ours, theirs, fixed)
    assert (ours.code == 0) == (theirs.code == 0), ours.said + theirs.said
    return ours, theirs


# -------------------------------------------------------------------------------------------- cases


def test_the_file_of_the_seed_is_the_same_load(tmp_path):
    """A hundredth of its rates; a twentieth of its time unless VIVACE_ARTILLERY_WHOLE is set."""
    with open(os.path.join(ROOT, "examples/load/us-load-test.yml"), encoding="utf-8") as f:
        text = f.read()
    phases = yaml.safe_load(text)["config"]["phases"]
    shrink = 1 if os.environ.get("VIVACE_ARTILLERY_WHOLE") else 20
    for phase in phases:
        phase["arrivalRate"] //= 100
        phase["duration"] //= shrink
    total = sum(p["arrivalRate"] * p["duration"] for p in phases)
    ours, theirs = check(tmp_path, text, [(f"Bearer {WORD}", "Bearer WORD")],
                         extra=["--overrides", json.dumps({"config": {"phases": phases}})])
    assert total == 7560 // shrink == ours.counters["vusers.created"]
    tokens = [q.get("authorization") for q in ours.requests if q.has("authorization")]
    assert len(set(tokens)) == len(tokens)
    assert ours.summaries["http.response_time"]["count"] == total


def test_scenarios_come_by_their_weight(tmp_path):
    text = """
config:
  target: http://127.0.0.1:1
  phases: [{duration: 6, arrivalRate: 50}]
scenarios:
  - {name: often, weight: 6, flow: [{get: {url: /often}}]}
  - {name: seldom, weight: 3, flow: [{get: {url: /seldom}}, {get: {url: /then}}]}
  - {flow: [{delete: {url: /rare}}]}
"""
    fixed = [n for n in FIXED if n not in ("http.requests", "http.responses")]
    check(tmp_path, text, fixed=fixed)


def test_steps_and_their_texts(tmp_path):
    text = """
config:
  target: http://127.0.0.1:1
  phases: [{duration: 4, arrivalRate: 50}]
  variables:
    fruit: [apple, pear, plum]
    size: 7
    thing: {a: 1, b: [true, null, "x"]}
    word: blue
    flag: true
    half: 0.5
    digits: "0042"
scenarios:
  - name: texts
    flow:
      - get: {url: "/a/{{ fruit }}/{{ $randomNumber(1,3) }}"}
      - get: {url: "/b/{{ $randomString() }}/{{ $randomString(4) }}?x={{$randomString(2)}}"}
      - post:
          url: /c
          json:
            size: "{{ size }}"
            mixed: "{{ size }} of {{ fruit }}"
            thing: "{{ thing }}"
            inside: "got {{ thing }}"
            flag: "{{ flag }}"
            half: "{{half}}"
            digits: "{{ digits }}"
            gone: "{{ nothing }}"
            said: "none: {{ nothing }}"
            number: "{{ $randomNumber(5, 6) }}"
            list: ["{{ word }}", "{{ nothing }}", {deep: "{{ thing.b[2] }}"}]
            env: "{{ $env.SHOP }} {{ $processEnvironment.SHOP }}"
            where: "in {{ $environment }}"
            target: "{{ target }}"
            plain: "a } b { c"
            unicode: "zoë ☃"
            quote: "say \\"hi\\"\\n"
            none: null
            big: 330000000
            real: 1.50
            exp: 1e3
            yes: yes
            "{{ word }}-key": 1
      - get: {url: "/{{ thing.a }}/{{thing.b[0]}}/{{ word }}", headers: {x-one: "{{ word }} {{ size }}"}}
"""
    check(tmp_path, text, [(rf"/b/{WORD}/[a-zA-Z0-9]{{4}}\?x=[a-zA-Z0-9]{{2}}", "/b/RANDOM")])


def test_the_id_of_a_user_and_of_a_run(tmp_path):
    text = scenario([
        {"get": {"url": "/{{ $uuid }}", "headers": {"x-id": "{{ $uuid }}"}}},
        {"get": {"url": "/{{ $uuid }}/{{ $testId }}"}}])
    ours, theirs = check(tmp_path, text, [(UUID, "UUID"), ("/t[a-z0-9_]{10,}", "/TEST")])
    for run in (ours, theirs):
        ids = []
        for first, second in run.users():
            assert first.target[1:] == first.get("x-id") == second.target.split("/")[1]
            ids.append(first.target)
        assert len(set(ids)) == len(ids)


def test_captures_carry_values_on(tmp_path):
    text = """
config: {target: "http://127.0.0.1:1", phases: [{duration: 2, arrivalRate: 20}]}
scenarios:
  - name: captures
    flow:
      - get:
          url: /login
          capture:
            - {json: $.token, as: token}
            - {json: $.user, as: user}
            - {json: $.user.id, as: id}
            - {json: "$.list[1].n", as: n}
            - {json: "$.list[*].n", as: any}
            - {json: "$..id", as: deep}
            - {json: $.on, as: on}
            - {json: $.half, as: half}
            - {header: x-ticket, as: ticket}
            - {json: $.missing, as: missing, strict: false}
      - get:
          url: /page
          capture: {regexp: "/p/(\\\\d+)", group: 1, as: page}
      - post:
          url: "/next/{{ id }}/{{ page }}/{{ any }}"
          headers: {authorization: "Bearer {{ token }}", x-ticket: "{{ ticket }}"}
          json: {id: "{{ id }}", n: "{{ n }}", user: "{{ user }}", name: "{{ user.name }}",
                 tag: "{{ user.tags[1] }}", on: "{{ on }}", half: "{{ half }}", deep: "{{ deep }}",
                 missing: "{{ missing }}", text: "n={{ n }} {{ on }}"}
"""
    check(tmp_path, text)


def test_a_missing_capture_ends_the_user(tmp_path):
    ours, theirs = both(tmp_path, scenario([
        {"get": {"url": "/login", "capture": {"json": "$.nothing", "as": "x"}}},
        {"get": {"url": "/never"}}]))
    same_requests(ours, theirs)
    same_counters(ours, theirs, FIXED)
    assert theirs.code == 0 and ours.code == 1  # Artillery is content with a run without a success


def test_loops_go_round(tmp_path):
    text = """
config:
  target: http://127.0.0.1:1
  phases: [{duration: 3, arrivalRate: 30}]
  variables: {two: 2, names: [[ann, bob]]}
scenarios:
  - name: loops
    flow:
      - loop: [{get: {url: "/count/{{ $loopCount }}"}}]
        count: 3
      - loop: [{get: {url: "/over/{{ $loopElement }}/{{ $loopCount }}"}}]
        over: [red, green]
      - loop: [{get: {url: "/range"}}]
        count: "1-2"
      - loop: [{get: {url: "/named/{{ who }}"}}]
        over: names
        loopElement: who
      - loop:
          - get: {url: "/outer/{{ i }}"}
          - loop: [{get: {url: "/inner/{{ $loopCount }}"}}]
            count: 2
        count: 2
        loopValue: i
      - loop: [{get: {url: "/variable"}}]
        count: "{{ two }}"
"""
    fixed = [n for n in FIXED if n not in ("http.requests", "http.responses")]
    check(tmp_path, text, fixed=fixed)


def test_thinking_takes_its_time(tmp_path):
    ours, theirs = check(tmp_path, scenario([
        {"get": {"url": "/one"}}, {"think": 1}, {"get": {"url": "/two"}}, {"think": "500ms"}]))
    for run in (ours, theirs):
        assert 1450 <= run.summaries["vusers.session_length"]["median"] <= 1500 + 500 * SCALE


def test_rows_of_a_file(tmp_path):
    csv = 'name,number,note\nann,1,"a, b"\nbob,02,\ncarl,3.5,"say ""hi"""\n'
    text = """
config:
  target: http://127.0.0.1:1
  phases: [{duration: 3, arrivalRate: 50}]
  payload:
    - {path: a.csv, fields: [name, number, note], skipHeader: true}
    - {path: b.csv, fields: [x], order: sequence}
    - {path: c.csv, fields: [left, right], delimiter: ";"}
scenarios:
  - flow:
      - post: {url: "/{{ name }}/{{ x }}", json: {name: "{{ name }}", number: "{{ number }}", note: "{{ note }}",
               left: "{{ left }}", right: "{{ right }}"}}
"""
    ours, theirs = check(tmp_path, text, files=[
        ("a.csv", csv), ("b.csv", "first\nsecond\n"), ("c.csv", "l1;r 1\nl2;true\n")])
    for run in (ours, theirs):
        counts = collections.Counter(q.target.split("/")[2] for q in run.requests)
        assert counts == {"first": 75, "second": 75}


def test_headers_of_defaults_and_requests(tmp_path):
    for number, defaults in enumerate(({"headers": {"X-Shop": "north", "Accept": "text/html"}},
                                       {"headers": {"user-agent": "mine/1"}})):
        folder = tmp_path / str(number)
        folder.mkdir()
        ours, theirs = check(folder, scenario([
            {"get": {"url": "/", "headers": {"x-shop": "south", "X-Empty": "", "Accept-Encoding": "br"}}},
            {"get": {"url": "/no", "gzip": False}},
            {"post": {"url": "/typed", "json": {"a": 1}, "headers": {"Content-Type": "application/x"}}},
            {"get": {"url": "/host", "headers": {"host": "shop.example"}}},
        ], http={"defaults": defaults}))
        agents = [{q.get("user-agent") for q in run.requests} for run in (ours, theirs)]
        if number == 1:
            assert agents[0] == agents[1] == {"mine/1"}
        hosts = [{q.get("host") for q in run.requests if q.target == "/host"} for run in (ours, theirs)]
        assert hosts[0] == hosts[1] == {"shop.example"}


def test_bodies_of_all_kinds(tmp_path):
    check(tmp_path, scenario([
        {"post": {"url": "/none"}},
        {"post": {"url": "/text", "body": "a b&c=ü {{ word }}"}},
        {"put": {"url": "/json", "json": [1, {"a": None}, "x"]}},
        {"patch": {"url": "/both", "json": {"a": 1}, "body": "not this"}},
        {"post": {"url": "/form", "form": {"a": "1 2", "b": "x&y=ü*~!'()", "n": 5, "w": "{{ word }}"}}},
        {"get": {"url": "/qs?z=0", "qs": {"q": "a b/ü&", "n": 7, "w": "{{ word }}"}}},
        {"get": {"url": "/qs", "qs": {"only": "one"}}},
        {"delete": {"url": "/delete", "json": {"id": 1}}},
        {"post": {"url": "/empty", "json": {}}},
        {"post": {"url": "/string", "json": "just text"}},
        {"options": {"url": "/options"}},
        {"head": {"url": "/head"}},
    ], variables={"word": "blue"}))


def test_credentials_and_cookies(tmp_path):
    check(tmp_path, scenario([
        {"get": {"url": "/auth", "auth": {"user": "ann", "pass": "se:cret {{ word }}"}}},
        {"get": {"url": "/cookie", "cookie": {"a": "1", "b": "{{ word }}"}}},
        {"get": {"url": "/login"}},
        {"get": {"url": "/after"}},
        {"get": {"url": "/after", "cookie": {"c": "3"}}},
    ], variables={"word": "blue"}))


def test_redirects_are_followed(tmp_path):
    ours, theirs = both(tmp_path, scenario([
        {"get": {"url": "/moved"}},
        {"get": {"url": "/moved", "followRedirect": False}},
        {"post": {"url": "/see", "body": "a"}},
        {"post": {"url": "/moved", "json": {"a": 1}}},
        {"post": {"url": "/kept", "json": {"a": 1}}},
    ]))
    same_requests(ours, theirs)
    for run in (ours, theirs):  # by endpoint, Artillery counts the last answer only
        run.counters = {n: v for n, v in run.counters.items() if not n.startswith("plugins.")}
    same_counters(ours, theirs, FIXED)


def test_answers_are_counted(tmp_path):
    ours, _ = check(tmp_path, scenario(
        [{"get": {"url": f"/status/{code}"}} for code in (200, 201, 404, 418, 429, 500, 503)]))
    assert ours.counters["http.codes.418"] == 40


def test_some_requests_are_left_out(tmp_path):
    fixed = [n for n in FIXED if n not in ("http.requests", "http.responses")]
    check(tmp_path, scenario([
        {"get": {"url": "/maybe", "probability": 30}},
        {"get": {"url": "/yes", "ifTrue": "size > 5"}},
        {"get": {"url": "/no", "ifTrue": "size < 5"}},
        {"get": {"url": "/known", "ifTrue": "size"}},
    ], arrivals=150, seconds=3, variables={"size": 7}), fixed=fixed)


def test_expectations_find_the_same(tmp_path):
    """Every expectation is a request of its own; it fails here exactly when it fails there."""
    holds = [{"statusCode": 200}, {"statusCode": [201, 200]}, {"contentType": "json"},
             {"hasProperty": "user.name"}, {"hasHeader": "x-ticket"}, {"notHasProperty": "nothing"},
             {"equals": ["{{ word }}", "blue"]}, {"matchesRegexp": "/p/4[0-9]"}]
    misses = [{"statusCode": 201}, {"statusCode": [201, 404]}, {"contentType": "text/html"},
              {"hasProperty": "user.nam"}, {"hasHeader": "x-tickets"}, {"notHasProperty": "user"},
              {"equals": ["{{ word }}", "red"]}, {"matchesRegexp": "/p/5[0-9]"}]
    # A regular expression looks at texts only: Artillery holds JSON as an object by then.
    flow = [{"get": {"url": "/page" if "matchesRegexp" in e else "/login", "name": f"{i}", "expect": e}}
            for i, e in enumerate(holds + misses)]
    ours, theirs = both(tmp_path, scenario(flow, arrivals=3, seconds=1, plugins={"expect": {}},
                                           variables={"word": "blue"}))
    failed = {e["name"]: e["failed"] for e in ours.report["vivace"]["state"]["endpoints"]}
    assert failed == {str(i): 0 if i < len(holds) else 3 for i in range(len(flow))}
    counted = [{n: v for n, v in run.counters.items() if n.startswith("plugins.")} for run in (ours, theirs)]
    assert counted[0] == counted[1]  # by kind, and endpoints by URL and name
    assert counted[0]["plugins.expect.ok"] == 3 * len(holds)
    assert counted[0]["plugins.expect.failed"] == 3 * len(misses)
    assert counted[0]["plugins.metrics-by-endpoint./login (0).codes.200"] == 3


@pytest.mark.parametrize("options", [
    {}, {"stripQueryString": True}, {"useOnlyRequestNames": True}], ids=lambda o: json.dumps(o))
def test_endpoints_have_the_same_names(tmp_path, options):
    check(tmp_path, scenario([
        {"get": {"url": "/a?b=1", "name": "first"}}, {"get": {"url": "/a?b=2", "name": "first"}},
        {"get": {"url": "/a?b=1"}}, {"get": {"url": "/{{ word }}?x={{ word }}", "name": "tem plate"}},
    ], arrivals=5, seconds=1, variables={"word": "blue"}, plugins={"metrics-by-endpoint": options}))


def test_all_expectations_of_an_answer_count(tmp_path):
    ours, theirs = both(tmp_path, scenario([
        {"get": {"url": "/login", "expect": [
            {"statusCode": 201}, {"statusCode": 200}, {"hasProperty": "nothing"}, {"contentType": "json"},
            {"headerEquals": ["x-ticket", "tick 9"]}, {"headerEquals": ["x-ticket", "tick 8"]}]}},
        {"get": {"url": "/login", "capture": {"json": "$.nothing", "as": "x"},
                 "expect": [{"statusCode": 200}, {"hasHeader": "x-tickets"}]}},
        {"get": {"url": "/never", "expect": {"statusCode": 200}}},
    ], arrivals=4, seconds=1, plugins={"expect": {}}))
    same_requests(ours, theirs)
    counted = [{n: v for n, v in run.counters.items() if n.startswith("plugins.")} for run in (ours, theirs)]
    assert counted[0] == counted[1]
    assert counted[0]["plugins.expect.failed.header x-ticket values equals"] == 4


@pytest.mark.parametrize("ensure", [
    {"thresholds": [{"http.response_time.p95": 5000}, {"vusers.created": 11}]},
    {"thresholds": [{"http.response_time.p95": 5000}, {"vusers.created": 10}]},
    {"conditions": [{"expression": "http.response_time.p99 < 5000 and http.codes.200 == 10"}]},
    {"conditions": [{"expression": "http.requests > 10"}]},
    {"conditions": [{"expression": "http.requests > 10", "strict": False}]},
    {"maxErrorRate": 1, "p99": 5000, "max": 9000},
    {"median": 0},
], ids=lambda e: json.dumps(e))
def test_gates_hold_and_miss_alike(tmp_path, ensure):
    text = scenario([{"get": {"url": "/"}}], arrivals=10, seconds=1, ensure=ensure, plugins={"ensure": {}})
    ours, theirs = both(tmp_path, text)
    assert (ours.code == 0) == (theirs.code == 0), (ours.code, ours.said, theirs.code, theirs.said)


def test_failures_are_named_alike(tmp_path):
    text = scenario([{"get": {"url": f"http://127.0.0.1:{harness.free_port()}/"}},
                     {"get": {"url": "/never"}}])
    ours, theirs = both(tmp_path, text)
    same_counters(ours, theirs, FIXED)
    assert ours.counters["errors.ECONNREFUSED"] == 40
    assert theirs.code == 0 and ours.code == 1  # Artillery is content with a run without a success


def test_ramps_and_pauses_make_the_same_arrivals(tmp_path):
    text = scenario([{"get": {"url": "/"}}])
    phases = [{"duration": 3, "arrivalRate": 1, "rampTo": 5}, {"pause": 1},
              {"duration": "2s", "arrivalRate": 4, "name": "end"}, {"duration": 1, "arrivalCount": 3}]
    check(tmp_path, text, extra=["--overrides", json.dumps({"config": {"phases": phases}})])


def test_reports_have_the_same_keys(tmp_path):
    ours, theirs = check(tmp_path, scenario(
        [{"get": {"url": "/status/404"}}, {"get": {"url": "/"}}], arrivals=60, seconds=12))
    assert set(theirs.report) <= set(ours.report)
    parts = [(ours.report["aggregate"], theirs.report["aggregate"])]
    starts = [[int(i["period"]) for i in run.report["intermediate"]] for run in (ours, theirs)]
    assert all(t % 10000 == 0 for t in starts[0] + starts[1]), starts
    assert abs(len(starts[0]) - len(starts[1])) <= 1, starts  # a start just before a tenth second
    both_have = sorted(set(starts[0]) & set(starts[1]))
    assert both_have
    for start in both_have:
        parts.append([next(i for i in run.report["intermediate"] if int(i["period"]) == start)
                      for run in (ours, theirs)])
    for here, there in parts:
        assert set(there) - {"http.request_rate"} <= set(here), set(there) - set(here)
        for kind in ("counters", "rates", "summaries", "histograms"):
            assert set(there[kind]) <= set(here[kind]), (kind, set(there[kind]) - set(here[kind]))
        for name, summary in there["summaries"].items():
            assert set(summary) == set(here["summaries"][name]) == set(here["histograms"][name])
        assert {type(here[k]) for k in here if k.endswith("At")} == {int}
        assert type(here["period"]) is type(there["period"])
    for run in (ours, theirs):  # they do not begin at the same second: only the sums are the same
        for kind in ("vusers.created", "http.codes.404", "vusers.completed"):
            assert sum(i["counters"].get(kind, 0) for i in run.report["intermediate"]) == 60, kind
        for name in ("http.response_time.2xx", "vusers.session_length"):
            assert sum(i["summaries"][name]["count"] for i in run.report["intermediate"]
                       if name in i["summaries"]) == 60, name
