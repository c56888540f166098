# tests/integration/test_redis_servers.py - the real servers of redis_servers.py do what tests expect of them.
import pytest

from harness import wait_for
from redis_servers import RedisError, slot_of


def test_a_server_is_killed_started_paused_and_locked(redis):
    one = redis.server(password="pw", users=["app on >secret ~vz:* &* +@all"], maxmemory="8mb")
    c = one.client()
    assert c("SET", "k", b"\r\n") == b"OK" and c("GET", "k") == b"\r\n" and c("GET", "none") is None
    assert [getattr(a, "word", a) for a in c.many([("INCR", "n"), ("LPUSH", "n", 1), ("PING",)])] == \
        [1, "WRONGTYPE", b"PONG"]
    with pytest.raises(RedisError, match="NOPERM"):
        one.client(user="app", password="secret")("GET", "k")
    three = one.client(version=3)
    three("CLIENT", "TRACKING", "ON")
    three("GET", "k")
    c("SET", "k", "v")
    assert three.push() == [b"invalidate", [b"k"]]
    one.pause()
    with pytest.raises(TimeoutError):
        one.client(timeout=0.05)
    one.resume()
    assert c("PING") == b"PONG"
    one.kill()
    with pytest.raises(OSError):
        c("PING")
    assert one.start()("GET", "k") is None


def test_a_server_with_tls_has_a_replica_in_step(redis):
    one = redis.server(tls=True)
    two = redis.replica(one)
    one("SET", "k", "v")
    wait_for("the replica has it", lambda: two("GET", "k") == b"v")


def test_sentinels_name_another_master(redis):
    group = redis.sentinel(password="pw", sentinel_password="sp")
    old = group.master()
    assert len(group.replicas()) == 2
    old.kill()
    assert group.wait_moved(old.port) is not old
    old.start()
    wait_for("the old master is a replica", lambda: old.info("replication")["role"] == "slave")


def test_a_cluster_moves_a_slot_and_fails_over(redis):
    six = redis.cluster(password="pw")
    a, b, _ = six.masters()
    key = six.key_at(a)
    slot = slot_of(key)
    a("SET", key, "v")
    six.move_begin(slot, b)
    assert a("GET", key) == b"v"
    with pytest.raises(RedisError, match=f"ASK {slot} 127.0.0.1:{b.port}"):
        a("GET", "{%s}other" % key)
    assert six.move_keys(slot, a, b) == 1
    six.move_end(slot, b)
    assert six.owner(key) is b and b("GET", key) == b"v"
    with pytest.raises(RedisError, match="MOVED"):
        a("GET", key)
    replicas = six.replicas_of(b)
    b.kill()
    six.wait_failed_over(b)
    assert six.owner(key) in replicas and six.owner(key)("GET", key) == b"v"


def test_a_cluster_speaks_tls(redis):
    six = redis.cluster(tls=True)
    assert len(six.masters()) == 3 and six.url.startswith("rediss+cluster://127.0.0.1:")
