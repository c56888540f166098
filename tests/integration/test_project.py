# tests/integration/test_project.py - the project's own tools: ./dev, the checks of tools/, the demo.
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

import harness

ROOT = harness.ROOT


def run(*words, **kw):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60, **kw)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def house(tmp_path):
    """A repository with two folders: low, and high above it."""
    write(tmp_path / "src/LAYERS", "low\nside\nhigh: low\n")
    write(tmp_path / "src/low/low.h", "struct low;\n")
    write(tmp_path / "src/side/side.h", "struct side;\n")
    write(tmp_path / "src/high/high.c", '#include "low/low.h"\n#include <stdio.h>\n')
    run("git", "init", "-q", str(tmp_path))
    return tmp_path


def test_layers_lets_an_include_point_down(house):
    assert run(f"{ROOT}/tools/layers", str(house)).returncode == 0


@pytest.mark.parametrize("include, why", [
    ("high/high.h", "may include only: low"),       # up
    ("side/side.h", "high may include only"),       # down, but not in the list of high
    ("low/low_int.h", "internal to low"),           # another folder's inside
    ("nowhere/x.h", "no folder nowhere"),
])
def test_layers_names_the_include_that_breaks_the_order(house, include, why):
    user = "low/low.c" if include.startswith("high") else "high/bad.c"
    write(house / "src" / user, f'/* a */\n#include "{include}"\n')
    got = run(f"{ROOT}/tools/layers", str(house))
    assert got.returncode == 1
    assert f"src/{user}:2:" in got.stdout and why in got.stdout


@pytest.mark.parametrize("lines, status", [(70, 0), (71, 1)])
def test_a_function_may_have_seventy_lines(house, lines, status):
    write(house / "src/low/f.c", "void f(void)\n{\n" + "    f();\n" * lines + "}\n")
    got = run(f"{ROOT}/tools/sizes", str(house))
    assert got.returncode == status
    assert ("src/low/f.c:2: a function of 71 lines" in got.stdout) == (status == 1)


@pytest.mark.parametrize("lines, status", [(1000, 0), (1001, 1)])
def test_a_file_may_have_a_thousand_lines(house, lines, status):
    write(house / "src/low/long.h", "\n" * lines)
    assert run(f"{ROOT}/tools/sizes", str(house)).returncode == status


def test_a_link_must_lead_to_a_file(house):
    write(house / "docs/page.md", "[a](page.md#top) [b](https://example.org/x) [c](../gone.md)\n")
    got = run(f"{ROOT}/tools/links", str(house))
    assert got.returncode == 1
    assert got.stdout == "docs/page.md:1: nothing is at ../gone.md\n"


def test_results_of_all_kinds_are_summed(tmp_path):
    cmocka = "[==========] 5 test(s) run.\n[  PASSED  ] 3 test(s).\n[  FAILED  ] tests: 2 test(s)\n"
    rows = [
        {"result": "OK", "stdout": "", "stderr": "[  PASSED  ] 7 test(s).\n"},  # 7 passed
        {"result": "FAIL", "stdout": cmocka},                                   # 3 and 2
        {"result": "OK", "stdout": "12 inputs replayed\n"},                     # 1, not cmocka
        {"result": "FAIL", "stdout": "Segmentation fault\n"},                   # 1 failed
        {"result": "SKIP", "stdout": ""},
    ]
    write(tmp_path / "testlog.json", "".join(json.dumps(row) + "\n" for row in rows))
    write(tmp_path / "junit.xml", '<testsuites><testsuite tests="9" failures="2" errors="1" '
                                  'skipped="1"/></testsuites>')
    count = f"{ROOT}/tools/count-tests"
    assert run(count, "meson", str(tmp_path / "testlog.json")).stdout == "11 3\n"
    assert run(count, "junit", str(tmp_path / "junit.xml")).stdout == "5 3\n"
    assert run(count, "junit", str(tmp_path / "absent.xml")).stdout == "0 1\n"


def test_dev_works_from_any_folder_and_refuses_unknown_verbs(tmp_path):
    assert "usage: ./dev" in run(f"{ROOT}/dev", "help", cwd=tmp_path).stdout
    got = run(f"{ROOT}/dev", "biuld", cwd=tmp_path)
    assert got.returncode == 1 and 'no verb "biuld"' in got.stderr
    got = run(f"{ROOT}/dev", "test", "--asan", "--tsan", cwd=tmp_path)
    assert got.returncode == 1 and "only one of" in got.stderr


# ------------------------------------------------------------------------------------- the demo

@pytest.fixture
def build(tmp_path):
    """A build folder with the binary under test: the demonstration writes beside it."""
    os.symlink(harness.binary(), tmp_path / "vivace")
    if not shutil.which("gcc"):
        pytest.skip("the demonstration's applications need gcc")
    return tmp_path


def left_over(folder):
    """Processes whose command line names this folder."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                if str(folder) in f.read():
                    out.append(pid)
        except OSError:
            pass
    return out


def test_the_demo_carries_traffic_and_ends_by_itself(build):
    got = run(f"{ROOT}/examples/demo/run", str(build), "--for", "3s")
    assert got.returncode == 0, got.stderr
    assert re.search(r"the shop +http://127.0.0.1:\d+/", got.stdout)
    answers, failed = map(int, re.search(r"traffic: (\d+) answers, (\d+) failed", got.stdout).groups())
    assert answers >= 10 and failed == 0  # 20 a second are sent, less the slow ones
    statuses = set(re.findall(r", (\d{3}): ", got.stdout))
    assert statuses <= {"200", "201", "404"}  # 404: a book that is not there, asked for on purpose
    assert left_over(build) == []


def test_ctrl_c_ends_the_demo_and_all_it_started(build):
    demo = subprocess.Popen([f"{ROOT}/examples/demo/run", str(build)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    try:
        for line in demo.stdout:
            if "Ctrl-C ends everything" in line:
                break
        else:
            raise AssertionError("the demonstration did not start")
        assert len(left_over(build)) >= 5  # the script, two applications, the gateway, the traffic
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20 * harness.SCALE) == 0
        assert left_over(build) == []
    finally:
        demo.terminate()  # does nothing when it has ended
        demo.wait(20 * harness.SCALE)
        demo.stdout.close()
