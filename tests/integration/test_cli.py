# tests/integration/test_cli.py - the command line: exit codes, help, offline and online verbs.
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import harness
from harness import PATIENCE, SCALE, Closed, free_port, wait_for

VERBS = (
    "run proxy check reload upgrade stop status top logs explain config server load import health metrics "
    "completion version help"
).split()

SHOP = """\
# prices and orders
listen: {port}
admin: none
services:
  # two of them
  shop: [127.0.0.1:3001, 127.0.0.1:3002]
  users:
    balance: round_robin
    servers:
      - 127.0.0.1:4001   # old
    keepalive: 7
routes:
  - {{path: /users/, to: users}}
  - {{path: /, to: shop}}
"""


def cli(*args, **kw):
    kw.setdefault("timeout", 60 * SCALE)
    return subprocess.run([harness.binary(), *args], capture_output=True, text=True, **kw)


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text(SHOP.format(port=free_port()))
    return path


# -------------------------------------------------------------------------------------------- words


def test_every_verb_has_a_help_page_with_an_example():
    assert cli().returncode == 2
    overview = cli("help")
    assert overview.returncode == 0
    for verb in VERBS:
        assert re.search(rf"^  {verb}\b", overview.stdout, re.M), verb
        page = cli(verb, "--help")
        assert page.returncode == 0 and "example: vivace" in page.stdout, verb
        assert cli("help", verb).stdout == page.stdout


def test_a_wrong_word_gets_a_suggestion_and_exit_code_two():
    run = cli("statsu")
    assert run.returncode == 2 and 'did you mean "status"' in run.stderr
    run = cli("status", "--soket", "x")
    assert run.returncode == 2 and "--socket" in run.stderr
    run = cli("check", "--profile")
    assert run.returncode == 2 and "needs a value" in run.stderr


def test_version_is_printed_also_as_json():
    assert cli("--version").stdout.startswith("vivace ")
    one = json.loads(cli("version", "--json").stdout)
    assert re.fullmatch(r"\d+\.\d+\.\d+", one["version"]) and one["compiler"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_name_every_verb(shell):
    out = cli("completion", shell).stdout
    for verb in VERBS:
        assert verb in out


def test_bash_completes_verbs_and_options():
    script = (
        'source <("$1" completion bash); COMP_WORDS=(vivace st); COMP_CWORD=1; _vivace; '
        'echo "${COMPREPLY[*]}"; COMP_WORDS=(vivace check --st); COMP_CWORD=2; _vivace; '
        'echo "${COMPREPLY[*]}"'
    )
    run = subprocess.run(["bash", "-c", script, "bash", harness.binary()], capture_output=True, text=True)
    assert run.stdout.splitlines() == ["stop status store", "--strict"], run.stderr


# ------------------------------------------------------------------------------------------ offline


def test_check_says_what_is_in_the_file(shop):
    run = cli("check", str(shop))
    assert run.returncode == 0 and "2 services, 2 routes" in run.stdout
    assert cli("check", "--quiet", str(shop)).stdout == ""


def test_check_points_at_the_mistake_and_exits_with_two(shop):
    shop.write_text(shop.read_text().replace("to: users", "to: user"))
    run = cli("check", str(shop))
    assert run.returncode == 2
    assert f"{shop}:13:" in run.stderr and 'did you mean "users"' in run.stderr and "^" in run.stderr
    found = json.loads(cli("check", "--json", str(shop)).stdout)
    assert found["errors"] >= 1 and found["problems"][0]["line"] == 13


def test_check_of_a_missing_file_fails():
    run = cli("check", "/nowhere/vivace.yaml")
    assert run.returncode in (1, 2) and "/nowhere/vivace.yaml" in run.stderr


def test_strict_makes_warnings_count(shop):
    shop.write_text(shop.read_text().replace("{path: /users/, to: users}", "{path: /x, to: shop}"))
    assert cli("check", str(shop)).returncode == 0, "an unused service is a warning"
    assert cli("check", "--strict", str(shop)).returncode == 1


def test_variables_come_from_the_env_file_first(shop, tmp_path):
    shop.write_text(shop.read_text().replace("127.0.0.1:4001", "${USERS}"))
    assert cli("check", str(shop)).returncode == 2
    env = tmp_path / "env"
    env.write_text("# where\nexport USERS='127.0.0.1:4009'\n")
    run = cli("config", "show", "--env-file", str(env), str(shop), env={**os.environ, "USERS": "127.0.0.1:1"})
    assert run.returncode == 0 and "127.0.0.1:4009" in run.stdout


def test_config_prints_long_form_origins_schema_and_reference(shop):
    assert "balance" not in cli("config", "show", str(shop)).stdout.split("users:")[0]
    long = cli("config", "show", "--long", "--origin", str(shop)).stdout
    assert "# default" in long and re.search(r"shop\.yaml:8", long)
    assert json.loads(cli("config", "schema").stdout)["$schema"]
    assert cli("config", "reference").stdout.startswith("#")
    sample = cli("config", "sample").stdout
    assert "listen" in sample
    assert cli("config", "shw").returncode == 2


def test_explain_works_from_a_file_alone(shop):
    run = cli("explain", "--config", str(shop), "GET", "http://a/users/7", "--json")
    assert run.returncode == 0, run.stderr
    assert "users" in run.stdout
    text = cli("explain", "--config", str(shop), "GET", "/users/7").stdout
    assert "127.0.0.1:4001" in text
    assert cli("explain", "--config", str(shop), "GET").returncode == 2


# ------------------------------------------------------------------------------- overlay into file


def overlay(shop, services):
    path = shop.with_name("shop.overlay.yaml")
    path.write_text("# changes\n" + json.dumps({"services": services}))
    return path


def test_diff_shows_and_accept_writes_what_the_overlay_changes(shop):
    assert "no run-time changes" in cli("config", "diff", str(shop)).stdout
    path = overlay(
        shop,
        {
            "shop": {"servers": [{"url": "127.0.0.1:3001", "weight": 3}, {"url": "127.0.0.1:3002"}]},
            "users": {"servers": [{"url": "127.0.0.1:4001", "drain": True}, {"url": "127.0.0.1:4002"}]},
        },
    )
    diff = cli("config", "diff", str(shop)).stdout
    assert re.search(r"^\+ .*weight: 3", diff, re.M) and re.search(r"^\+ .*4002", diff, re.M)
    before = shop.read_text()
    meant = cli("config", "show", "--long", str(shop)).stdout
    run = cli("config", "accept", str(shop))
    assert run.returncode == 0, run.stderr
    assert not path.exists() and shop.with_name("shop.yaml.bak").read_text() == before
    assert cli("config", "show", "--long", str(shop)).stdout == meant, "it means the same without overlay"
    text = shop.read_text()
    assert "# prices and orders" in text and "# two of them" in text and "keepalive: 7" in text


def test_accept_leaves_a_file_alone_that_it_cannot_edit(shop):
    shop.write_text(shop.read_text().replace("  shop: [127.0.0.1:3001, 127.0.0.1:3002]",
                                             "  shop: {servers: [127.0.0.1:3001], retries: 2}"))
    path = overlay(shop, {"shop": {"servers": [{"url": "127.0.0.1:3009"}]}})
    before = shop.read_text()
    run = cli("config", "accept", str(shop))
    assert run.returncode == 1 and "cannot edit" in run.stderr
    assert shop.read_text() == before and path.exists()


# ------------------------------------------------------------------------------------------- online


@pytest.fixture
def live(proxy):
    gw, server = proxy(access_log="access.log")
    return gw, server


def test_nothing_running_is_said_plainly(shop):
    for verb in ("status", "reload", "stop", "top", "logs", "health", "metrics", "upgrade"):
        run = cli(verb, str(shop))
        assert run.returncode == 1, verb
        assert "no gateway runs with" in run.stderr, verb


def test_status_and_top_without_a_terminal_print_one_picture(live):
    gw, server = live
    for _ in range(5):
        gw.ask("/")
    for verb in ("status", "top"):
        run = cli(verb, gw.file)
        assert run.returncode == 0, run.stderr
        assert server.name in run.stdout and "app" in run.stdout and "\033" not in run.stdout
    one = json.loads(cli("status", "--json", gw.file).stdout)
    assert one["pid"] == gw.pid and one["services"][0]["servers"][0]["state"] == "up"
    coloured = cli("status", "--color", "always", gw.file).stdout
    assert "\033[1m" in coloured


def test_the_gateway_of_the_current_folder_is_found(live):
    gw, _ = live
    assert cli("health", cwd=gw.folder).stdout == "ready\n"
    assert cli("health", "--socket", gw.config["socket"]).returncode == 0
    assert cli("health", env={**os.environ, "VIVACE_SOCKET": gw.config["socket"]}).returncode == 0


def test_health_waits_for_a_gateway_to_come(gateway):
    gw = gateway({"routes": [{"path": "/", "respond": {"body": "ok"}}]}, start=False)
    waiting = subprocess.Popen([harness.binary(), "health", "--wait", "30", gw.file])
    time.sleep(0.2)
    assert waiting.poll() is None
    gw.start()
    assert waiting.wait(20 * SCALE) == 0


def test_reload_brings_the_problems_to_the_terminal(live):
    gw, _ = live
    assert cli("reload", gw.file).stdout == "reloaded\n"
    with open(gw.file, "a") as f:
        f.write("lisen: 1\n")
    run = cli("reload", gw.file)
    assert run.returncode == 2
    assert 'unknown key "lisen"' in run.stderr and 'did you mean "listen"' in run.stderr
    assert gw.ask("/").status == 200


def test_explain_asks_the_running_gateway(live):
    gw, server = live
    run = cli("explain", "--socket", gw.config["socket"], "GET", "/x?y=1", "-H", "X-A: b", "--json")
    assert run.returncode == 0, run.stderr
    assert server.name in run.stdout
    assert cli("explain", "--socket", gw.config["socket"], "GET", "/").returncode == 0


def test_metrics_are_printed(live):
    gw, _ = live
    assert "vivace_build_info{" in cli("metrics", gw.file).stdout
    json.loads(cli("metrics", "--json", gw.file).stdout)


def test_logs_follow_and_filter(live):
    gw, _ = live
    with subprocess.Popen(
        [harness.binary(), "logs", "-f", "--grep", "/wanted", "-n", "2", gw.file],
        stdout=subprocess.PIPE,
        text=True,
    ) as follow:
        def asked():
            gw.ask("/other")
            gw.ask("/wanted")
            return follow.poll() is not None

        wait_for("two lines", asked)
        lines = follow.stdout.read().splitlines()
    assert len(lines) == 2 and all(json.loads(one)["path"] == "/wanted" for one in lines)


def test_servers_are_changed_by_command_and_kept(live, origin):
    gw, server = live
    other = origin()
    done = cli("server", "add", "app", other.name, "--weight", "2", gw.file)
    assert done.returncode == 0 and "kept in" in done.stdout, done.stderr
    assert cli("server", "drain", "app", server.name, gw.file).returncode == 0
    wait_for("the new one answers alone", lambda: gw.ask("/") and len(other.requests) > 3)
    assert cli("server", "drain", "app", "127.0.0.1:1", gw.file).returncode == 1
    assert cli("server", "paint", "app", server.name, gw.file).returncode == 2
    assert gw.reload().status == 200
    states = {s["name"]: s["state"] for s in gw.api("/services")["services"][0]["servers"]}
    assert states == {server.name: "draining", other.name: "up"}, "the overlay survives a reload"


def test_proxy_needs_no_file(origin, stack):
    server = origin()
    port = free_port()
    process = subprocess.Popen(
        [harness.binary(), "proxy", str(port), server.url, "--admin", "none", "--quiet"],
        stdout=subprocess.DEVNULL,
    )
    try:
        def answer():
            try:
                with harness.Client(port) as c:
                    return c.ask("/").body
            except (OSError, Closed):
                return None

        assert wait_for("it proxies", answer) == b"ok"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10 * SCALE) == 0
    assert cli("proxy", "8080").returncode == 2


# ---------------------------------------------------------------------------------------- live view


class Terminal:
    """A process on a pseudo terminal of a given size."""

    def __init__(self, args, rows=30, columns=100):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            args, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text):
        limit = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < limit, (text, self.seen[-2000:])
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
        return self.seen

    def type(self, keys):
        self.seen = b""
        os.write(self.master, keys)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


def test_top_is_a_full_screen_that_sorts_resizes_and_quits(live, stack):
    gw, server = live
    gw.ask("/")
    t = Terminal([harness.binary(), "top", gw.file])
    stack.append(t)
    t.until(b"\033[?1049h")
    t.until(b"by file order")
    t.until(server.name.encode())
    t.type(b"\033[C")
    t.until(b"by name")
    t.type(b"\033[D")
    t.until(b"by file order")
    t.resize(12, 60)
    t.seen = b""
    os.kill(t.process.pid, signal.SIGWINCH)
    t.until(b"\033[12;1H")
    t.type(b"q")
    t.until(b"\033[?1049l")
    assert t.process.wait(5 * SCALE) == 0
    assert termios.tcgetattr(t.slave) == t.before, "the terminal is as it was"


def test_top_says_when_the_gateway_has_gone(live, stack):
    gw, _ = live
    t = Terminal([harness.binary(), "top", gw.file])
    stack.append(t)
    t.until(b"by file order")
    gw.stop()
    t.until(b"does not answer")
    t.process.send_signal(signal.SIGINT)
    assert t.process.wait(5 * SCALE) == 0
