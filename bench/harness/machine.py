"""Accounting: processes, their CPU time and memory, and how busy the machine is."""
import collections
import contextlib
import os
import platform
import re
import signal
import socket
import subprocess
import time

CLK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A server or a loader did not do what the scenario asks for."""


def stat_fields(pid):
    with open("/proc/%d/stat" % pid) as f:
        text = f.read()
    return text[text.rindex(")") + 2:].split()


def state_of(pid):
    try:
        return stat_fields(pid)[0]
    except (OSError, IndexError):
        return None


def tree(root):
    """root and all its descendants that are alive."""
    kids = collections.defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                kids[int(stat_fields(int(name))[1])].append(int(name))
    out, todo = [], [root]
    while todo:
        pid = todo.pop()
        if os.path.exists("/proc/%d" % pid):
            out.append(pid)
        todo += kids.get(pid, [])
    return out


def cpu_of(pids):
    """(user, system, total) seconds; total has nanosecond grain where the kernel has schedstat."""
    user = system = total = 0.0
    for pid in pids:
        try:
            fields = stat_fields(pid)
        except OSError:
            continue
        one_user, one_system = int(fields[11]) / CLK, int(fields[12]) / CLK
        user += one_user
        system += one_system
        ns = 0
        with contextlib.suppress(OSError):
            for task in os.listdir("/proc/%d/task" % pid):
                with contextlib.suppress(OSError):
                    with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                        ns += int(f.read().split()[0])
        # Threads that have ended count only in stat, which is coarse: take the larger.
        total += max(ns / 1e9, one_user + one_system - 0.02)
    return user, system, total


def memory_of(pids):
    """Peak RSS (sum of high-water marks) and present PSS, in KiB."""
    peak = pss = 0
    for pid in pids:
        with contextlib.suppress(OSError, AttributeError):
            with open("/proc/%d/status" % pid) as f:
                peak += int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))
        with contextlib.suppress(OSError, AttributeError):
            with open("/proc/%d/smaps_rollup" % pid) as f:
                pss += int(re.search(r"\nPss:\s+(\d+)", f.read()).group(1))
    return peak, pss


def machine_busy():
    """(busy, stolen) seconds of all processors since boot."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (v[0] + v[1] + v[2] + v[5] + v[6]) / CLK, v[7] / CLK


def wait_quiet(limit, seconds):
    """Waits until the machine uses less than limit cores, at most so many seconds."""
    end = time.time() + seconds
    while True:
        busy0, stolen0 = machine_busy()
        time.sleep(0.5)
        busy1, stolen1 = machine_busy()
        if (busy1 - busy0 + stolen1 - stolen0) / 0.5 < limit or time.time() > end:
            return


def pinner(cpus):
    """A preexec_fn that ties the new process to these cores; to none when cpus is empty."""
    def pin():
        if cpus:
            os.sched_setaffinity(0, cpus)
    return pin


def stop(proc):
    """Ends a process we started, and whatever it started, by pid."""
    if proc is None:
        return
    pids = tree(proc.pid)
    if proc.poll() is None:
        proc.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            proc.wait(5)
    end = time.time() + 2
    left = [pid for pid in pids if pid != proc.pid]
    while left and time.time() < end:
        time.sleep(0.05)
        left = [pid for pid in left if state_of(pid) not in (None, "Z")]
    for pid in left:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    if proc.poll() is None:
        proc.kill()
        proc.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, proc, seconds=15):
    end = time.time() + seconds
    while time.time() < end:
        if proc.poll() is not None:
            raise Failed("it ended at once (exit status %s)" % proc.returncode)
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        time.sleep(0.05)
    raise Failed("nothing listens on its port")


def describe():
    """What a result must say about the machine it was measured on."""
    model, system = "unknown processor", "unknown system"
    with contextlib.suppress(OSError, AttributeError):
        with open("/proc/cpuinfo") as f:
            model = re.search(r"model name\s*: (.*)", f.read()).group(1)
    with contextlib.suppress(OSError, AttributeError):
        with open("/etc/os-release") as f:
            system = re.search(r'PRETTY_NAME="(.*)"', f.read()).group(1)
    with open("/proc/meminfo") as f:
        kib = int(f.readline().split()[1])
    return dict(cpu=model, cores=len(os.sched_getaffinity(0)), memory_gib=round(kib / 2 ** 20),
                kernel=platform.release(), system=system)
