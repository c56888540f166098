# tests/integration/test_system.py - what the gateway says of the machine is what /proc says.
import ctypes
import os
import re
import socket
import struct
import time

import pytest

from harness import ROOT, ok, wait_for

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return None


def words(path):
    """{name: number} of a file of lines "name[:] number ..."."""
    return {
        line.split()[0].rstrip(":"): int(line.split()[1])
        for line in read(path).splitlines()
        if len(line.split()) > 1 and line.split()[1].isdigit()
    }


def snmp(path, title):
    names, values = [line.split()[1:] for line in read(path).splitlines() if line.startswith(title + ":")]
    return dict(zip(names, map(int, values)))


def columns(path, key, behind):
    """{device: numbers} of a table."""
    table = {}
    for line in read(path).replace(":", " ").splitlines():
        cells = line.split()
        if len(cells) > behind + 1 and all(c.isdigit() for c in cells[behind:]):
            table[cells[key]] = list(map(int, cells[behind:]))
    return table


@pytest.fixture
def gw(proxy):
    gw, _ = proxy(answer=lambda req: ok(b"x"))
    return gw


def between(low, value, high, what):
    assert low - 1e-6 <= value <= high + 1e-6, f"{what}: {low} <= {value} <= {high}"


def test_counters_lie_between_two_readings(gw):
    def look():
        cpu = [int(w) * TICK for w in read("/proc/stat").split()[1:9]]
        return cpu, words("/proc/stat"), snmp("/proc/net/snmp", "Tcp"), snmp("/proc/net/netstat", "TcpExt")

    before = look()
    m = gw.metrics()
    after = look()
    for mode, low, high in zip(MODES, before[0], after[0]):
        slack = 1.0 if mode in ("idle", "iowait") else 0.0  # the kernel lets these two step back a little
        between(low - slack, m.sum("vivace_system_cpu_seconds_total", mode=mode), high + slack, mode)
    for name, key in (("context_switches", "ctxt"), ("forks", "processes")):
        between(before[1][key], m.sum(f"vivace_system_{name}_total"), after[1][key], key)
    for name, key in (
        ("active_opens", "ActiveOpens"),
        ("passive_opens", "PassiveOpens"),
        ("segments_received", "InSegs"),
        ("segments_sent", "OutSegs"),
        ("segments_retransmitted", "RetransSegs"),
        ("resets_sent", "OutRsts"),
    ):
        between(before[2][key], m.sum(f"vivace_system_tcp_{name}_total"), after[2][key], key)
    for name, key in (("listen_overflows", "ListenOverflows"), ("timeouts", "TCPTimeouts")):
        between(before[3][key], m.sum(f"vivace_system_tcp_{name}_total"), after[3][key], key)


def test_gauges_are_those_of_the_kernel(gw):
    mem = words("/proc/meminfo")
    m = gw.metrics()
    assert m.sum("vivace_system_memory_total_bytes") == mem["MemTotal"] * 1024
    assert m.sum("vivace_system_swap_total_bytes") == mem["SwapTotal"] * 1024
    for name, key in (("available", "MemAvailable"), ("free", "MemFree"), ("cached", "Cached")):
        # within 2 % of the memory: other programs run meanwhile
        assert abs(m.sum(f"vivace_system_memory_{name}_bytes") / 1024 - mem[key]) < 0.02 * mem["MemTotal"], key
    assert m.sum("vivace_system_boot_time_seconds") == words("/proc/stat")["btime"]
    processors = len(re.findall(r"^cpu\d", read("/proc/stat"), re.M))
    assert m.sum("vivace_system_processors") == processors


def test_disks_and_interfaces_are_named(gw):
    low_nic, low_disk = columns("/proc/net/dev", 0, 1), columns("/proc/diskstats", 2, 3)
    m = gw.metrics()
    high_nic, high_disk = columns("/proc/net/dev", 0, 1), columns("/proc/diskstats", 2, 3)
    assert {x["device"] for x in m.labels("vivace_system_network_receive_bytes_total")} == set(high_nic)
    for nic, low in low_nic.items():
        for name, column in (("receive_bytes", 0), ("receive_packets", 1), ("transmit_bytes", 8), ("transmit_drop", 11)):
            value = m.sum(f"vivace_system_network_{name}_total", device=nic)
            between(low[column], value, high_nic[nic][column], f"{nic} {name}")
    disks = {x["device"] for x in m.labels("vivace_system_disk_reads_completed_total")}
    assert disks <= set(high_disk) and not any(d.startswith(("loop", "zram", "ram")) for d in disks)
    for disk in disks:
        for name, column, unit in (
            ("reads_completed", 0, 1),
            ("read_bytes", 2, 512),
            ("written_bytes", 6, 512),
            ("io_time_seconds", 9, 0.001),
        ):
            value = m.sum(f"vivace_system_disk_{name}_total", device=disk)
            between(low_disk[disk][column] * unit, value, high_disk[disk][column] * unit, f"{disk} {name}")


def test_pressure_is_there_where_the_kernel_tells_it(gw):
    for resource in ("cpu", "memory", "io"):
        text = read(f"/proc/pressure/{resource}")
        m = gw.metrics()
        names = [x for x in m.labels("vivace_system_pressure_waiting_seconds_total") if x["resource"] == resource]
        if text is None:
            assert names == []
            continue
        later = read(f"/proc/pressure/{resource}")
        low, high = (int(re.search(r"some .*total=(\d+)", t)[1]) / 1e6 for t in (text, later))
        between(low, m.sum("vivace_system_pressure_waiting_seconds_total", resource=resource), high, resource)


def test_the_process_is_the_worker(gw):
    pid = gw.api("/status")["worker_pid"]
    m = gw.metrics()
    threads = int(re.search(r"Threads:\s+(\d+)", read(f"/proc/{pid}/status"))[1])
    peak = int(re.search(r"VmHWM:\s+(\d+)", read(f"/proc/{pid}/status"))[1]) * 1024
    assert m.sum("vivace_system_process_threads") == threads
    assert 0.5 * peak <= m.sum("vivace_system_process_resident_peak_bytes") <= peak


def test_a_scrape_stays_cheap(gw):
    """Everything of /proc and the control groups: on this path nobody may wait for a disk."""
    gw.metrics()
    took = []
    for _ in range(20):
        start = time.monotonic()
        gw.admin("/metrics")
        took.append(time.monotonic() - start)
    assert sorted(took)[len(took) // 2] < 0.1, took


def test_round_trips_of_clients_and_servers_are_sampled(gw):
    with gw.client() as a, gw.client() as b:
        for c in (a, b):
            assert c.ask("/").status == 200

        def looks(side):
            return gw.metric("vivace_tcp_rtt_seconds_count", side=side)

        wait_for("connections were looked at", lambda: looks("client") >= 4 and looks("upstream") >= 2, 6)
        m = gw.metrics()
        for side in ("client", "upstream"):
            mean = m.sum("vivace_tcp_rtt_seconds_sum", side=side) / m.sum("vivace_tcp_rtt_seconds_count", side=side)
            assert 0 < mean < 0.1, f"{side}: {mean} s on this host"  # loopback
            assert {x["side"] for x in m.labels("vivace_tcp_retransmits_total")} >= {side}
        seen = looks("client")
        started = time.monotonic()
        wait_for("they are looked at again", lambda: looks("client") >= seen + 2, 6)
    # two connections, each looked at once a second and no oftener
    assert looks("client") - seen <= 2 * (time.monotonic() - started + 2)


def test_a_connection_that_is_shared_is_looked_at_too(gateway, stack):
    h2_origin = pytest.importorskip("h2_origin")
    origin = h2_origin.H2Origin()
    stack.append(origin)
    gw = gateway(
        {
            "workers": 1,
            "services": {"app": {"servers": [origin.url], "http2": True}},
            "routes": [{"path": "/", "to": "app"}],
        }
    )
    with gw.client() as c:
        assert c.ask("/").status == 200
        wait_for("it was looked at", lambda: gw.metric("vivace_tcp_rtt_seconds_count", side="upstream") >= 1, 6)


def test_what_is_sent_again_is_counted(gw):
    """A filter of the kernel drops what comes to the client's socket: the gateway's answer is sent again."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0 bytes
    program = struct.pack("HL", 1, ctypes.addressof(drop_all))
    with socket.create_connection(("127.0.0.1", gw.port)) as c:
        c.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
        c.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

        def again():
            return gw.metric("vivace_tcp_retransmits_total", side="client")

        wait_for("segments sent again are counted", lambda: again() >= 2, 8)
        kernel = snmp("/proc/net/snmp", "Tcp")["RetransSegs"]
        assert again() <= kernel


def test_the_sample_is_bounded_and_everybody_has_a_turn(gw):
    many = [gw.client() for _ in range(80)]  # more than 32
    try:
        for c in many:
            assert c.ask("/").status == 200
        before, started = gw.metric("vivace_tcp_rtt_seconds_count", side="client"), time.monotonic()
        time.sleep(3)
        looks = gw.metric("vivace_tcp_rtt_seconds_count", side="client") - before  # of two workers
        assert 32 <= looks <= 32 * 2 * (time.monotonic() - started + 1), looks
    finally:
        for c in many:
            c.close()


def test_the_page_of_metrics_names_them():
    page = read(os.path.join(ROOT, "docs/reference/metrics.md"))
    for name in ("cpu_seconds_total", "memory_available_bytes", "pressure_stalled_seconds_total"):
        assert f"`vivace_system_{name}`" in page
