# tests/integration/test_life.py - the life of the process: start, crash, reload guard, upgrade, end.
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

import harness
from harness import Closed, PATIENCE, SANITIZER, SCALE, free_port, wait_for

SIMPLE = {"routes": [{"path": "/", "respond": {"body": "ok"}}]}


def cli(*args, **kw):
    return subprocess.run(
        [harness.binary(), *args], capture_output=True, text=True, timeout=60 * SCALE, **kw
    )


def serves(gw):
    try:
        return gw.ask("/").status == 200
    except (OSError, Closed):
        return False


# ------------------------------------------------------------------------------------------- start


def test_a_busy_port_is_named_and_nothing_starts(gateway):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        gw = gateway(dict(SIMPLE, listen={"web": {"address": f"127.0.0.1:{port}"}}), start=False)
        gw.start(wait=False)
        assert gw.process.wait(20 * SCALE) == 1
        assert f"127.0.0.1:{port}" in gw.log() and "in use" in gw.log()
        gw.process = None


def test_a_port_that_a_stranger_took_is_chosen_again_by_the_harness(gateway):
    gw = gateway(SIMPLE, start=False)
    taken = {gw.port, gw.admin_port}
    with socket.socket() as web, socket.socket() as admin:
        for s, port in ((web, gw.port), (admin, gw.admin_port)):
            s.bind(("127.0.0.1", port))
            s.listen()
        gw.start()
        assert gw.ask("/").body == b"ok"
    assert not taken & {gw.port, gw.admin_port}


def test_a_second_gateway_on_the_same_reuseport_address_is_refused(gateway):
    first = gateway(SIMPLE)
    second = gateway(dict(SIMPLE, listen={"web": {"address": f"127.0.0.1:{first.port}"}}), start=False)
    second.start(wait=False)
    assert second.process.wait(20 * SCALE) == 1, "SO_REUSEPORT must not let it share the port"
    second.process = None
    assert first.ask("/").body == b"ok"


def test_a_file_can_have_one_gateway_only(gateway):
    gw = gateway(SIMPLE)
    again = cli("run", gw.file)
    assert again.returncode == 1 and "already" in again.stderr


def test_a_configuration_with_errors_exits_with_two(gateway):
    gw = gateway({"routes": [{"path": "/", "to": "nobody"}]}, start=False)
    run = cli("run", gw.file)
    assert run.returncode == 2
    assert "nobody" in run.stderr and "Nothing was started." in run.stderr


def test_the_welcome_says_where_it_listens(gateway):
    gw = gateway(SIMPLE)
    text = wait_for("the welcome", lambda: "Ctrl-C" in gw.log() and gw.log())
    assert f"http://127.0.0.1:{gw.port}" in text and f"http://127.0.0.1:{gw.admin_port}" in text
    assert gw.file in text


def test_the_admin_socket_is_for_its_owner_only(gateway):
    gw = gateway(SIMPLE)
    mode = os.stat(gw.config["socket"]).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


# ------------------------------------------------------------------------------------------- crash


def test_a_crash_is_counted_and_the_settings_in_use_come_back(gateway):
    gw = gateway(SIMPLE)
    with open(gw.file, "a") as f:
        f.write("this is: [not yaml\n")  # a half-edited file must not keep the gateway down
    victim = gw.worker()
    os.kill(victim, signal.SIGKILL)
    wait_for("another worker", lambda: [w for w in gw.workers() if w != victim])
    wait_for("it serves", lambda: serves(gw))
    wait_for("it is counted", lambda: gw.metric("vivace_worker_restarts_total") == 1)


def test_connections_wait_in_the_backlog_while_the_worker_is_gone(gateway):
    gw = gateway(SIMPLE)
    for _ in range(3):
        victim = gw.worker()
        os.kill(victim, signal.SIGKILL)
        # no retry here: a refused or reset connection fails the test
        assert gw.ask("/").body == b"ok"
        wait_for("the next worker", lambda: [w for w in gw.workers() if w != victim])


def test_many_quick_crashes_slow_the_restart_down(gateway):
    gw = gateway(SIMPLE)
    for _ in range(6):
        victim = wait_for("a worker", gw.workers)[0]
        os.kill(victim, signal.SIGKILL)
        wait_for("it is gone", lambda: victim not in gw.workers())
    wait_for("it serves again", lambda: serves(gw))
    assert "now" in gw.log() and "soon" in gw.log(), "the sixth crash in a row waits"


def test_term_to_a_worker_drains_it_and_starts_the_next(gateway):
    gw = gateway(SIMPLE)
    old = gw.worker()
    os.kill(old, signal.SIGTERM)
    wait_for("another worker", lambda: [w for w in gw.workers() if w != old])
    wait_for("it serves", lambda: serves(gw))


def test_a_worker_without_supervisor_drains_and_ends(gateway):
    gw = gateway(SIMPLE)
    worker = gw.worker()
    os.kill(gw.pid, signal.SIGKILL)
    gw.process.wait()
    gw.process = None
    wait_for("the worker has ended", lambda: harness.proc_state(worker) in ("Z", None))


# -------------------------------------------------------------------------------------------- stop


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_finishes_requests_then_ends_with_zero(gateway, origin, signo):
    server = origin(lambda conn: (conn.read_head(), conn.sleep(0.5), conn.send(harness.ok(b"late"))))
    gw = gateway({"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}]})
    with gw.client() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_requests(1)
        gw.process.send_signal(signo)
        assert c.answer().body == b"late"
    assert gw.process.wait(10 * SCALE) == 0
    assert not os.path.exists(gw.config["socket"]), "the socket is removed"


def test_while_draining_readyz_says_so_and_new_connections_are_refused(gateway, origin):
    seen = threading.Event()
    server = origin(lambda conn: (conn.read_head(), seen.wait(PATIENCE), conn.send(harness.ok(b"late"))))
    gw = gateway(
        {"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}], "drain": "60s"}
    )
    with gw.client() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_requests(1)
        gw.process.send_signal(signal.SIGTERM)
        wait_for("readyz says draining", lambda: gw.admin("/readyz").status == 503)
        assert gw.admin("/livez").status == 200
        seen.set()
        assert c.answer().body == b"late"


def test_the_drain_time_is_a_limit(gateway, origin):
    server = origin(lambda conn: (conn.read_head(), conn.sleep(60)))
    gw = gateway(
        {"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}], "drain": "1s"}
    )
    with gw.client() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_requests(1)
        begin = time.monotonic()
        gw.process.send_signal(signal.SIGTERM)
        assert gw.process.wait(10 * SCALE) == 0
        assert time.monotonic() - begin >= 0.9


def test_a_second_interrupt_ends_at_once(gateway, origin):
    server = origin(lambda conn: (conn.read_head(), conn.sleep(60)))
    gw = gateway(
        {"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}], "drain": "60s"}
    )
    with gw.client() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_requests(1)
        gw.process.send_signal(signal.SIGINT)
        wait_for("it drains", lambda: "draining" in gw.log())
        gw.process.send_signal(signal.SIGINT)
        gw.process.wait(5 * SCALE)
    gw.process = None


def test_stop_returns_when_the_process_has_gone(gateway):
    gw = gateway(SIMPLE)
    stop = cli("stop", gw.file)
    assert stop.returncode == 0 and "stopped" in stop.stdout
    assert gw.process.wait(5 * SCALE) == 0


# --------------------------------------------------------------------------------- reload and guard


def test_a_reload_that_makes_errors_goes_back_by_itself(gateway):
    gw = gateway(dict(SIMPLE, guard="20s"))
    for _ in range(60):
        assert gw.ask("/").status == 200
    bad = {"routes": [{"path": "/", "respond": {"status": 503, "body": "bad"}}], "guard": "20s"}
    assert gw.reload(bad).status == 200
    seen = set()

    def back():
        for _ in range(20):
            seen.add(gw.ask("/").body)
        return gw.metric("vivace_config_reloads_total", result="reverted") == 1

    wait_for("it went back", back, 15)
    assert b"bad" in seen, "the new rules were in use"
    wait_for("the old rules hold", lambda: gw.ask("/").body == b"ok")
    status = gw.api("/status")
    assert status["reload"]["last"] == "reverted" and "5xx" in status["reload"]["reason"]


def test_a_crash_after_a_reload_comes_back_with_the_new_rules(gateway):
    gw = gateway(SIMPLE)
    assert gw.reload({"routes": [{"path": "/", "respond": {"body": "new"}}]}).status == 200
    victim = gw.worker()
    os.kill(victim, signal.SIGKILL)
    wait_for("another worker", lambda: [w for w in gw.workers() if w != victim])
    wait_for("the new rules", lambda: serves(gw) and gw.ask("/").body == b"new")


def test_a_reload_that_cannot_bind_is_refused_whole(gateway):
    gw = gateway(SIMPLE)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        busy = s.getsockname()[1]
        config = dict(gw.config, routes=[{"path": "/", "respond": {"body": "new"}}])
        config["listen"] = dict(config["listen"], more={"address": f"127.0.0.1:{busy}"})
        answer = gw.reload(config)
        assert answer.status == 409 and str(busy).encode() in answer.body
    assert gw.ask("/").body == b"ok"


def test_the_admin_listener_moves_with_a_reload(gateway):
    gw = gateway(SIMPLE)
    other = free_port()
    old = gw.admin_port
    config = dict(gw.config, admin=f"127.0.0.1:{other}")
    assert gw.reload(config).status == 200
    gw.admin_port = other
    wait_for("the new address answers", lambda: gw.admin("/readyz").status == 200)

    def closed():
        try:
            socket.create_connection(("127.0.0.1", old), 1).close()
            return False
        except ConnectionRefusedError:
            return True

    wait_for("the old one refuses", closed)


@pytest.mark.parametrize("before, after", [(3, 1), (1, 3)])
def test_another_number_of_threads_leaves_no_socket_without_a_reader(gateway, before, after):
    gw = gateway(dict(SIMPLE, workers=before))
    assert gw.reload(dict(gw.config, workers=after)).status == 200
    victim = gw.worker()
    os.kill(victim, signal.SIGKILL)  # threads change with the process
    wait_for("another worker", lambda: [w for w in gw.workers() if w != victim])
    wait_for("it has the new number", lambda: serves(gw) and gw.api("/status")["workers"] == after)
    for _ in range(40):  # the kernel spreads them: with a deaf socket among three, 1 in 3 would hang
        assert gw.ask("/").body == b"ok"


# ----------------------------------------------------------------------------------------- upgrade


@pytest.fixture
def own_binary(gateway, monkeypatch, tmp_path):
    """A copy of the binary that a test may replace while it runs."""
    path = tmp_path / "vivace"
    shutil.copy(harness.binary(), path)
    monkeypatch.setenv("VIVACE", str(path))
    return path


def replace(path, text):
    """Puts a script in place of the binary, as a package manager does: by rename."""
    new = path.with_name("new")
    new.write_text(text)
    new.chmod(0o755)
    new.rename(path)


@pytest.mark.slow
def test_a_binary_that_refuses_the_file_changes_nothing(own_binary, gateway):
    gw = gateway(SIMPLE)
    before = gw.workers()
    original = own_binary.read_bytes()
    replace(own_binary, "#!/bin/sh\nexit 2\n")
    gw.process.send_signal(signal.SIGUSR2)
    wait_for("it is refused", lambda: gw.api("/status")["upgrade"]["failed"])
    assert gw.workers() == before and gw.ask("/").body == b"ok"
    own_binary.write_bytes(original)


@pytest.mark.slow
def test_a_program_that_is_no_gateway_is_not_started(own_binary, gateway):
    gw = gateway(SIMPLE)
    before = gw.workers()
    original = own_binary.read_bytes()
    replace(own_binary, "#!/bin/sh\nexit 0\n")
    gw.process.send_signal(signal.SIGUSR2)
    failed = wait_for("it is refused", lambda: gw.api("/status")["upgrade"]["failed"])
    assert "take over" in failed
    assert gw.workers() == before and gw.ask("/").body == b"ok"
    own_binary.write_bytes(original)


@pytest.mark.slow
def test_a_binary_whose_worker_does_not_start_hands_back(own_binary, gateway, tmp_path):
    gw = gateway(SIMPLE)
    before = gw.workers()
    good = tmp_path / "good"
    good.write_bytes(own_binary.read_bytes())
    good.chmod(0o755)
    # checks well, but as a gateway it cannot read its configuration
    replace(
        own_binary,
        f'#!/bin/sh\n[ "$1" = check ] && exec {good} "$@"\nexec {good} run /nowhere/at-all.yaml\n',
    )
    gw.process.send_signal(signal.SIGUSR2)
    failed = wait_for("it is refused", lambda: gw.api("/status")["upgrade"]["failed"])
    assert "configuration" in failed
    assert gw.workers() == before, "the old worker never stopped"
    assert gw.process.poll() is None and gw.ask("/").body == b"ok"
    shutil.copy(good, own_binary)


@pytest.mark.slow
def test_an_upgrade_by_command_says_what_runs_now(own_binary, gateway):
    gw = gateway(SIMPLE)
    old = gw.worker()
    done = cli("upgrade", gw.file)
    assert done.returncode == 0, done.stderr
    assert "upgraded" in done.stdout
    wait_for("the old worker is gone", lambda: old not in gw.workers())
    assert gw.ask("/").body == b"ok"
    # a crash afterwards is still seen and mended
    victim = gw.worker()
    os.kill(victim, signal.SIGKILL)
    wait_for("another worker", lambda: [w for w in gw.workers() if w != victim])
    wait_for("it serves", lambda: serves(gw))


@pytest.mark.slow
def test_an_upgrade_lets_the_old_worker_finish_its_request(own_binary, gateway, origin):
    seen = threading.Event()
    server = origin(lambda conn: (conn.read_head(), seen.wait(PATIENCE), conn.send(harness.ok(b"late"))))
    gw = gateway(
        {"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}], "drain": "60s"}
    )
    with gw.client() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_requests(1)
        gw.process.send_signal(signal.SIGUSR2)
        wait_for("two generations", lambda: len(gw.workers()) == 2)
        seen.set()
        assert c.answer().body == b"late"
    wait_for("one generation", lambda: len(gw.workers()) == 1)


# --------------------------------------------------------------------------------- service manager


class Notify:
    """What a service manager hears on $NOTIFY_SOCKET."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        self.sock.setblocking(False)
        self.heard = []

    def has(self, text):
        while True:
            try:
                self.heard.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return any(text in h for h in self.heard)

    def close(self):
        self.sock.close()


def test_the_service_manager_hears_ready_reloading_watchdog_and_stopping(gateway, stack, tmp_path):
    path = str(tmp_path / "notify")
    notify = Notify(path)
    stack.append(notify)
    gw = gateway(SIMPLE, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"})
    wait_for("READY", lambda: notify.has("READY=1"))
    wait_for("WATCHDOG", lambda: notify.has("WATCHDOG=1"))
    wait_for("STATUS", lambda: notify.has("requests/s"))
    assert gw.reload().status == 200
    wait_for("RELOADING", lambda: notify.has("RELOADING=1\nMONOTONIC_USEC="))
    gw.process.send_signal(signal.SIGTERM)
    wait_for("STOPPING", lambda: notify.has("STOPPING=1"))


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="needs systemd-socket-activate")
def test_an_activated_socket_is_used_by_its_name(gateway):
    gw = gateway(SIMPLE, start=False)
    port = gw.port
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=web"]
    with open(gw.log_path, "ab") as log:
        gw.process = subprocess.Popen(
            [*command, harness.binary(), "run", gw.file], stdout=log, stderr=log, cwd=gw.folder
        )
    assert wait_for("it answers", lambda: serves(gw) and gw.ask("/").body) == b"ok"


# ------------------------------------------------------------------------------------------ rights


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give rights away")
def test_the_worker_runs_as_the_given_user(gateway):
    gw = gateway(dict(SIMPLE, user="nobody"))
    with open(f"/proc/{gw.worker()}/status") as f:
        uids = [line for line in f if line.startswith("Uid:")][0].split()[1:]
    assert "0" not in uids, uids
    with open(f"/proc/{gw.pid}/status") as f:
        assert [line for line in f if line.startswith("Uid:")][0].split()[1] == "0"
    assert gw.ask("/").body == b"ok"


@pytest.mark.skipif(SANITIZER is not None, reason="the sanitizer's own end uses ptrace")
def test_the_system_call_filter_is_on_and_in_nobodys_way(gateway, origin):
    server = origin()
    gw = gateway(
        {
            "seccomp": True,
            "services": {"a": [server.url]},
            "routes": [{"path": "/", "to": "a"}],
        }
    )
    with open(f"/proc/{gw.worker()}/status") as f:
        assert "Seccomp:\t2\n" in f.read()
    assert gw.ask("/").body == b"ok"
    assert gw.reload().status == 200
    assert gw.ask("/").body == b"ok"


def test_logs_are_reopened_by_signal(gateway):
    gw = gateway(SIMPLE, start=False)
    path = os.path.join(gw.folder, "access.log")
    gw.write(dict(gw.config, access_log=path))
    gw.start()
    gw.ask("/")
    wait_for("the line is there", lambda: os.path.exists(path) and os.path.getsize(path) > 0)
    os.rename(path, path + ".1")
    gw.process.send_signal(signal.SIGUSR1)

    def new_file():
        gw.ask("/")
        return os.path.exists(path) and os.path.getsize(path) > 0

    wait_for("a new file", new_file)
    assert json.loads(open(path).readline())["status"] == 200
