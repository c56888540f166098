# tests/integration/test_redis_topologies.py - real clusters and sentinels break under a stream of operations.
"""The stream is tests/unit/store/redis_drive of the same build ($VIVACE_REDIS_DRIVE names another one): half of
it reads, half writes, each with 50 ms. What fails, and for how long, is printed (pytest -s)."""
import json
import os
import subprocess
import threading
import time

import pytest

from harness import SCALE, binary, wait_for
from redis_servers import SERVER, slot_of

DRIVE = os.environ.get("VIVACE_REDIS_DRIVE",
                       os.path.join(os.path.dirname(binary()), "tests", "unit", "store", "redis_drive"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SERVER, reason="needs redis-server"),
              pytest.mark.skipif(not os.path.exists(DRIVE), reason="needs redis_drive of the build")]

READS, READS_FAILED, WRITES, WRITES_FAILED, SLOWEST_US, SLOW = range(6)
CALL_MS = 50
AT_ONCE_US = 30_000 * SCALE  # far below the deadline, far above what a busy machine adds


class Drive:
    """The stream; .lines is one (time, [counts of each group]) for every 50 ms."""

    def __init__(self, url, *keys, **options):
        words = [k if v is True else f"{k}={v}" for k, v in options.items()]
        self.process = subprocess.Popen([DRIVE, *words, url, *keys], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines, self.summary = [], None
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        wait_for("operations succeed", lambda: len(self.lines) > 2 and self.fine(len(self.lines) - 2), 20)
        self.warm = len(self.lines)  # from here on failures count

    def _read(self):
        for text in self.process.stdout:
            line = json.loads(text)
            if "end" in line:
                self.summary = line
            else:
                self.lines.append((time.monotonic(), line["groups"]))

    def fine(self, i):
        return all(g[READS_FAILED] + g[WRITES_FAILED] == 0 and g[READS] + g[WRITES] > 0 for g in self.lines[i][1])

    def total(self, group, what):
        return sum(groups[group][what] for _, groups in self.lines[self.warm:])

    def failed(self, group):
        return self.total(group, READS_FAILED) + self.total(group, WRITES_FAILED)

    def since(self, moment, group, what):
        return [groups[group][what] for t, groups in self.lines if t >= moment]

    def wait_fine(self, seconds=15):
        """Until a whole second from now on went without a failure; the moment at which the last one had passed."""
        begun = len(self.lines)
        wait_for("the stream is fine again", lambda: len(self.lines) >= begun + 20 and
                 all(self.fine(i) for i in range(len(self.lines) - 20, len(self.lines))), seconds)
        bad = [i for i in range(self.warm, len(self.lines)) if not self.fine(i)]
        return self.lines[bad[-1] if bad else self.warm][0]

    def end(self):
        self.process.stdin.close()
        self.reader.join()
        assert self.process.wait() == 0
        assert self.summary["wrong"] == 0, self.summary
        return self.summary

    def close(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()


long = pytest.mark.skipif("VIVACE_LONG" not in os.environ, reason="takes its time: set VIVACE_LONG=1")


@pytest.fixture
def drive(stack):
    def make(url, *keys, **options):
        stream = Drive(url, *keys, **options)
        stack.append(stream)
        return stream
    return make


@pytest.mark.parametrize("watch_writes", [False, True])
def test_slots_move_under_load_and_nothing_fails(redis, drive, watch_writes):
    six = redis.cluster()
    a, b, _ = six.masters()
    key = six.key_at(a)
    stream = drive(six.url, f"{{{key}}}*200", six.key_at(b), tracking=True,
                   **({"watch_writes": True} if watch_writes else {}))
    for to in (b, a):
        six.move(slot_of(key), to, pause=0.03)
    stream.wait_fine()
    end = stream.end()
    assert stream.failed(0) == stream.failed(1) == 0, end
    assert end["redirects"] > 0
    assert end["losts"] >= 1, "what was read at the old owner is not watched any more"
    print(f"\n{end['ops']} operations, {end['redirects']} redirections, {end['refreshes']} refreshes, 0 failures")


# How long a kept answer may outlive a confirmed write: an invalidation takes a round trip, a lost connection is
# found by a ping (250 ms and 50 ms), a slot that left by a refresh (at most every 1.4 s with six nodes).
STALE_MS = 500
MOVED_STALE_MS = 1600


@long
def test_kept_answers_stay_true_while_slots_move(redis, drive):
    six = redis.cluster()
    a, b, _ = six.masters()
    key = six.key_at(a)
    # Most keys do not exist when they are first read: nobody tells when they come into being elsewhere.
    stream = drive(six.url, f"{{{key}}}*256", f"{{{six.key_at(b)}}}*50", tracking=True, keep=True, writes=2)
    for to in (b, a):
        six.move(slot_of(key), to, pause=0.02)
        time.sleep(3)  # as long as answers could be stale if nobody looked
    end = stream.end()
    print(f"\n{end['hits']} kept answers, {end['ops']} operations, {end['redirects']} redirections, "
          f"stale for {end['stale_ms']} ms at most")
    assert end["hits"] > 1000 and stream.failed(0) == stream.failed(1) == 0, end
    assert end["stale_ms"] < MOVED_STALE_MS * SCALE


@pytest.mark.parametrize("replicas", [False, pytest.param(True, marks=long)])
@pytest.mark.parametrize("how", ["kill", pytest.param("pause", marks=long)])
def test_kept_answers_stay_true_when_a_master_goes(redis, drive, how, replicas):
    six = redis.cluster()
    a, b, _ = six.masters()
    options = {"replicas": True} if replicas else {}
    stream = drive(six.url, f"{{{six.key_at(a)}}}*50", f"{{{six.key_at(b)}}}*50", tracking=True, keep=True, writes=5,
                   **options)
    time.sleep(0.5)
    getattr(a, how)()
    six.wait_failed_over(a)
    stream.wait_fine()
    a.start() if how == "kill" else a.resume()
    time.sleep(1)
    end = stream.end()
    print(f"\n{end['hits']} kept answers, {end['losts']} shares lost, stale for {end['stale_ms']} ms at most")
    assert end["hits"] > 1000 and end["losts"] >= 1
    assert end["stale_ms"] < STALE_MS * SCALE


@long
def test_kept_answers_stay_true_when_sentinels_change_the_master(redis, drive):
    group = redis.sentinel()
    stream = drive(group.url, "k*50", tracking=True, keep=True, writes=5)
    time.sleep(0.5)
    group.fail_over()
    stream.wait_fine()
    end = stream.end()
    print(f"\n{end['hits']} kept answers, {end['losts']} shares lost, stale for {end['stale_ms']} ms at most")
    assert end["hits"] > 500 and end["losts"] >= 1
    assert end["stale_ms"] < STALE_MS * SCALE


def test_a_master_of_a_cluster_is_killed(redis, drive):
    six = redis.cluster()
    a, b, _ = six.masters()
    stream = drive(six.url, six.key_at(a), six.key_at(b), rate=500)
    killed = time.monotonic()
    a.kill()
    six.wait_failed_over(a)
    covered = time.monotonic()
    fine = stream.wait_fine()
    end = stream.end()
    print(f"\ncluster covered {covered - killed:.2f} s after the kill, stream fine after {fine - killed:.2f} s; "
          f"failed: {stream.failed(0)} of the killed master's keys, {stream.failed(1)} of others (CLUSTERDOWN); "
          f"{end['errors']}, {end['refreshes']} refreshes")
    assert fine - covered < 1.0 * SCALE, "the new master is found soon"
    # All refused at once but those that were under way: neither a lost server nor CLUSTERDOWN costs waits.
    for group in (0, 1):
        slow = stream.since(killed, group, SLOW)
        assert sum(slow) <= 60 * SCALE, slow
    assert end["refreshes"] <= 12 * (fine - killed) + 12


def test_reads_go_on_at_replicas_while_a_master_is_missing(redis, drive):
    six = redis.cluster(cluster_allow_reads_when_down=True)
    a, b, _ = six.masters()
    stream = drive(six.url, six.key_at(a), six.key_at(b), rate=500, replicas=True)
    a.kill()
    six.wait_failed_over(a)
    stream.wait_fine()
    stream.end()
    assert stream.total(0, READS) > 0
    assert stream.total(0, READS_FAILED) == stream.total(1, READS_FAILED) == 0


@long
def test_a_replica_takes_over_in_peace(redis, drive):
    six = redis.cluster()
    a, b, _ = six.masters()
    stream = drive(six.url, six.key_at(a), six.key_at(b), rate=500, call_ms=1000)
    six.replicas_of(a)[0]("CLUSTER", "FAILOVER")
    wait_for("the replica serves", lambda: a not in six.masters(), 20)
    stream.wait_fine()
    end = stream.end()
    assert stream.failed(0) == stream.failed(1) == 0, end


def test_a_master_hangs_and_only_its_keys_suffer(redis, drive):
    six = redis.cluster(node_timeout_ms=60000)  # nobody is elected
    a, b, _ = six.masters()
    stream = drive(six.url, six.key_at(a), six.key_at(b), rate=500)
    a.pause()
    hung = time.monotonic()
    time.sleep(2)
    a.resume()
    fine = stream.wait_fine()
    end = stream.end()
    slow = stream.since(hung, 0, SLOW)
    print(f"\nhung for 2 s: {stream.failed(0)} failed, {sum(slow)} of them had waited ({CALL_MS} ms each at most), "
          f"fine {fine - hung - 2:.2f} s after its return; {end['errors']}")
    assert stream.failed(1) == 0, end
    assert max(stream.since(hung, 0, SLOWEST_US)) < (CALL_MS * 1000 + AT_ONCE_US)
    # What was begun before the first deadline waits for it, then the breaker is open; a probe each second.
    assert sum(slow) <= 500 * (2 * CALL_MS / 1000) * SCALE + 5, slow
    assert sum(stream.since(hung + 0.5 * SCALE, 0, SLOW)) <= 4


@long
def test_a_master_hangs_and_is_replaced(redis, drive):
    six = redis.cluster()
    a, b, _ = six.masters()
    stream = drive(six.url, six.key_at(a), six.key_at(b), rate=500, tracking=True)
    a.pause()
    hung = time.monotonic()
    six.wait_failed_over(a)
    covered = time.monotonic()
    fine = stream.wait_fine()
    a.resume()  # it comes back and is a replica
    wait_for("it is a replica", lambda: a.info("replication")["role"] == "slave")
    lines = len(stream.lines)
    wait_for("the stream has gone on for a second", lambda: len(stream.lines) > lines + 20)
    end = stream.end()
    print(f"\ncovered {covered - hung:.2f} s after the hang, fine after {fine - hung:.2f} s; "
          f"{stream.failed(0)} and {stream.failed(1)} failed; {end['errors']}, {end['losts']} shares lost")
    assert fine - covered < 1.0 * SCALE and end["losts"] >= 1
    assert sum(g[READS_FAILED] + g[WRITES_FAILED] for t, groups in stream.lines if t > fine for g in groups) == 0


def test_sentinels_name_another_master(redis, drive):
    group = redis.sentinel()
    stream = drive(group.url, "k", rate=500)
    old = group.master()
    old.kill()
    killed = time.monotonic()
    group.wait_moved(old.port)
    named = time.monotonic()
    fine = stream.wait_fine()
    end = stream.end()
    print(f"\nnamed {named - killed:.2f} s after the kill, stream fine after {fine - killed:.2f} s; "
          f"{stream.failed(0)} failed; {end['errors']}")
    assert fine - named < 1.0 * SCALE
    assert sum(stream.since(killed, 0, SLOW)) <= 60 * SCALE


@long
def test_reads_go_on_at_replicas_until_sentinels_agree(redis, drive):
    group = redis.sentinel(password="pw", sentinel_password="sp")
    stream = drive(group.url, "k", rate=500, replicas=True, password="sp")
    old = group.master()
    old.kill()
    group.wait_moved(old.port)
    stream.wait_fine()
    end = stream.end()
    assert stream.total(0, READS) > 0 and stream.total(0, READS_FAILED) == 0, end


@long
def test_sentinels_fail_over_in_peace(redis, drive):
    group = redis.sentinel()
    stream = drive(group.url, "k", rate=500)
    group.fail_over()
    stream.wait_fine()
    end = stream.end()
    print(f"\n{stream.failed(0)} failed; {end['errors']}")
    # Between the promotion and the word of it writes to the old master are refused (READONLY) or cut off.
    assert stream.failed(0) <= 50 * SCALE, end


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_over_tls(redis, drive, kind):
    group = getattr(redis, kind)(tls=True, password="pw")
    stream = drive(group.url, "k*20", rate=200, ca=group.certs.ca, tracking=True)
    end = stream.end()
    assert {s["role"] for s in end["servers"]} <= {"master", "sentinel"}
    assert all(s["tracking"] for s in end["servers"] if s["role"] == "master" and s["state"] == "ready")
