# tests/integration/test_cache_control.py - caches in an operator's hands: look, purge, trim, warm, keep.
import os
import subprocess
import time
import urllib.parse

import pytest

from harness import SCALE, binary, ok, wait_for


def answer(req):
    """The path says what the answer looks like: /tag/red, /size/20000, anything else is plain."""
    headers = [("Cache-Control", "max-age=600")]
    body = b"body of " + req.target.encode()
    parts = req.target.split("?")[0].strip("/").split("/")
    if parts[0] == "tag":
        headers.append(("Surrogate-Key", " ".join(parts[1:])))
    if parts[0] == "size":
        body = b"x" * int(parts[1])
    if parts[0] == "vary":
        headers.append(("Vary", "X-Kind"))
    return ok(body, headers=headers)


@pytest.fixture
def site(gateway, origin):
    """site(cache settings) -> gateway, origin; the route keeps what it can in the cache `api`."""

    def make(**settings):
        server = origin(answer=answer)
        cache = {"levels": [{"memory": "16MB"}], "show": "X-Cache", **settings}
        gw = gateway(
            {
                "caches": {"api": cache, "other": {"levels": [{"memory": "4MB"}], "show": "X-Cache"}},
                "routes": [
                    {"path": "/other/", "to": server.url, "cache": "other"},
                    {"path": "/", "to": server.url, "cache": "api"},
                ],
            }
        )
        return gw, server

    return make


def state(gw, target, **kw):
    got = gw.ask(target, **kw)
    assert got.status == 200
    return got.get("X-Cache")


def fetch(gw, *targets):
    for target in targets:
        assert state(gw, target) == "MISS"
    for target in targets:
        wait_for("it is kept", lambda t=target: state(gw, t) == "HIT")


def url(gw, target):
    return f"http://test{target}"


def purge(gw, **body):
    got = gw.api("/cache/purge", "POST", body)
    assert got["ok"]
    return got


def stats(gw, name="api"):
    return next(c for c in gw.api("/cache")["caches"] if c["name"] == name)


def keys(gw, name="api", query=""):
    return sorted(o["key"] for o in gw.api(f"/cache/{name}/objects{query}")["objects"])


# ------------------------------------------------------------------------------------------ purge


def test_a_url_is_purged_and_nothing_else(site):
    gw, _ = site()
    fetch(gw, "/a", "/ab", "/a?x=1")
    assert purge(gw, url=url(gw, "/a"))["objects"] == 1
    assert state(gw, "/ab") == "HIT" and state(gw, "/a?x=1") == "HIT"
    assert state(gw, "/a") == "MISS"
    assert purge(gw, url=url(gw, "/nowhere"))["objects"] == 0


def test_a_url_is_purged_however_it_is_spelled(site):
    gw, _ = site(sort_query=True, drop_query=["utm_*"])
    fetch(gw, "/p?a=1&b=2")
    assert purge(gw, url="HTTP://TEST:80/x/../p?b=2&utm_source=mail&a=1")["objects"] == 1
    assert state(gw, "/p?a=1&b=2") == "MISS"


def test_a_url_is_purged_with_all_its_variants(site):
    gw, _ = site()
    for kind in "abc":
        assert state(gw, "/vary", headers={"X-Kind": kind}) == "MISS"
    wait_for("all are kept", lambda: stats(gw)["entries"] == 3)
    assert purge(gw, url=url(gw, "/vary"))["objects"] == 3
    assert state(gw, "/vary", headers={"X-Kind": "b"}) == "MISS"


def test_a_url_is_purged_under_the_key_of_a_template(site):
    gw, _ = site(key="$host-$path")
    fetch(gw, "/a")
    assert purge(gw, url=url(gw, "/a"))["objects"] == 1
    assert state(gw, "/a") == "MISS"
    wait_for("it is kept", lambda: state(gw, "/a") == "HIT")
    assert purge(gw, url="http://TEST:8080/a")["objects"] == 1  # a port is no part of $host


def test_a_url_is_purged_with_every_body_and_every_identity(site):
    gw, server = site(methods=["GET", "POST"], authorized=True)

    def post(body):
        return state(gw, "/p", method="POST", body=body)

    def get(user):
        return state(gw, "/p", headers={"Authorization": user})

    assert [post(b"one"), post(b"two"), get("a"), get("b")] == ["MISS"] * 4
    wait_for("all are kept", lambda: stats(gw)["entries"] == 4)
    assert [post(b"one"), post(b"two"), get("a"), get("b")] == ["HIT"] * 4
    purge(gw, url=url(gw, "/p"))
    assert [post(b"one"), post(b"two"), get("a"), get("b")] == ["MISS"] * 4


def test_a_softly_purged_answer_is_renewed_at_its_next_use(site):
    gw, server = site()
    fetch(gw, "/a")
    assert purge(gw, url=url(gw, "/a"), soft=True)["soft"]
    asked = len(server.requests)
    assert state(gw, "/a") in ("EXPIRED", "REVALIDATED")
    assert len(server.requests) == asked + 1
    wait_for("it is fresh again", lambda: state(gw, "/a") == "HIT")


def test_a_tag_is_purged_hard_and_softly(site):
    gw, _ = site()
    fetch(gw, "/tag/red/1", "/tag/red/2", "/tag/blue/3", "/plain")
    purge(gw, tag="red")
    assert state(gw, "/tag/blue/3") == "HIT" and state(gw, "/plain") == "HIT"
    assert state(gw, "/tag/red/1") == "MISS" and state(gw, "/tag/red/2") == "MISS"
    purge(gw, tag="blue", soft=True)
    assert state(gw, "/tag/blue/3") in ("EXPIRED", "REVALIDATED")


def test_a_pattern_is_purged_on_one_host_or_on_every_host(site):
    gw, _ = site()
    fetch(gw, "/img/1", "/img/2", "/css/1")
    assert state(gw, "/img/1", host="else") == "MISS"
    wait_for("it is kept", lambda: state(gw, "/img/1", host="else") == "HIT")
    purge(gw, pattern="http://test/img/*")
    assert state(gw, "/css/1") == "HIT" and state(gw, "/img/1", host="else") == "HIT"
    assert state(gw, "/img/2") == "MISS"
    purge(gw, pattern="/img/*")
    assert state(gw, "/img/1", host="else") == "MISS"


def test_everything_is_purged_from_one_cache_or_from_all(site):
    gw, _ = site()
    fetch(gw, "/a", "/other/a")
    purge(gw, all=True, cache="api")
    assert state(gw, "/other/a") == "HIT"
    assert state(gw, "/a") == "MISS"
    wait_for("it is kept", lambda: state(gw, "/a") == "HIT")
    purge(gw, all=True)
    assert state(gw, "/a") == "MISS" and state(gw, "/other/a") == "MISS"


def test_purged_memory_comes_back_without_being_asked_for(site):
    gw, _ = site()
    fetch(gw, *[f"/size/{20000 + i}" for i in range(20)])
    used = stats(gw)["bytes"]
    purge(gw, all=True)
    wait_for("the sweeper has been there", lambda: stats(gw)["entries"] == 0)
    assert stats(gw)["bytes"] < used - 20 * 20000


@pytest.mark.parametrize(
    "body",
    [{}, {"soft": True}, {"url": "http://a/", "tag": "b"}, {"al": True}, {"all": False}, {"tag": ""}, []],
)
def test_an_order_that_is_not_clear_changes_nothing(site, body):
    gw, _ = site()
    fetch(gw, "/a")
    assert "error" in gw.api("/cache/purge", "POST", body, status=400)
    assert state(gw, "/a") == "HIT"


def test_an_unknown_cache_is_named(site):
    gw, _ = site()
    for target, body in (
        ("purge", {"all": True, "cache": "nope"}),
        ("trim", {"to": "1MB", "cache": "nope"}),
        ("warm", {"pattern": "*", "cache": "nope"}),
    ):
        assert "nope" in gw.api("/cache/" + target, "POST", body, status=404)["error"]
    assert "nope" in gw.api("/cache/nope/objects", status=404)["error"]
    assert "nope" in gw.api("/cache/nope/object?url=a", status=404)["error"]


# ------------------------------------------------------------------------------- look, trim, count


def test_objects_are_listed_by_prefix_and_limit(site):
    gw, _ = site()
    fetch(gw, "/l/1", "/l/2", "/l/3", "/m/1")
    assert keys(gw) == [url(gw, t) for t in ("/l/1", "/l/2", "/l/3", "/m/1")]
    assert keys(gw, query="?prefix=http://test/m") == [url(gw, "/m/1")]
    assert len(keys(gw, query="?limit=2")) == 2
    one = gw.api("/cache/api/objects?prefix=http://test/m")["objects"][0]
    assert one["status"] == 200 and one["body_bytes"] == len("body of /m/1") and one["hits"] >= 1
    assert 590 < one["ttl_seconds"] <= 600


def test_one_object_is_shown_with_its_head(site):
    gw, _ = site()
    fetch(gw, "/tag/red/blue")
    got = gw.api("/cache/api/object?url=http://TEST/tag/red/blue")["variants"]
    assert len(got) == 1 and got[0]["tags"] == 2
    assert got[0]["head"].startswith("HTTP/1.1 200 OK\r\n") and "Surrogate-Key: red blue" in got[0]["head"]
    assert gw.api("/cache/api/object?url=http://test/none", status=404) == {"variants": []}
    assert "error" in gw.api("/cache/api/object", status=400)


def test_trimming_evicts_down_to_a_size_or_a_share(site):
    gw, _ = site()
    fetch(gw, *[f"/size/{30000 + i}" for i in range(40)])
    assert stats(gw)["bytes"] > 1200000
    gw.api("/cache/trim", "POST", {"to": "600KB", "cache": "api"})
    assert 5 < stats(gw)["entries"] <= 20  # 614,400 / 30,000 = 20
    gw.api("/cache/trim", "POST", {"to": "0%"})
    assert stats(gw)["entries"] == 0
    for wrong in ("", "101%", "64", "-1MB", None):
        assert "error" in gw.api("/cache/trim", "POST", {"to": wrong}, status=400)


def test_requests_are_counted_by_result(site):
    gw, _ = site()
    fetch(gw, "/a")  # a miss and a hit
    state(gw, "/a")
    one = stats(gw)
    assert one["requests"]["miss"] == 1 and one["requests"]["hit"] >= 2
    assert one["hit_ratio"] == one["requests"]["hit"] / (one["requests"]["hit"] + 1)
    m = gw.metrics()
    assert m.sum("vivace_cache_requests_total", cache="api", result="miss") == 1
    assert m.sum("vivace_cache_entries", cache="api") == 1
    assert m.sum("vivace_cache_bytes", cache="api", kind="budget") == 16 << 20
    assert m.sum("vivace_cache_stored_total", cache="api") == 1
    purge(gw, all=True)
    gw.wait_metric("vivace_cache_evicted_total", 1, cache="api", reason="purged")


# ------------------------------------------------------------------------------------ warm, keep


def test_urls_are_warmed_before_anybody_asks(site):
    gw, server = site()
    targets = [f"/w/{i}?q={i}" for i in range(10)]
    got = gw.api("/cache/warm", "POST", {"urls": [url(gw, t) for t in targets], "rate": "500/s"})
    assert got["queued"] == 10
    wait_for("all are kept", lambda: stats(gw)["entries"] == 10)
    assert [state(gw, t) for t in targets] == ["HIT"] * 10
    assert sorted(r.target for r in server.requests) == sorted(targets)
    assert all(r.get("Host") for r in server.requests)


def test_warming_keeps_to_its_rate(site):
    gw, server = site()
    began = time.monotonic()
    gw.api("/cache/warm", "POST", {"urls": [url(gw, f"/r/{i}") for i in range(20)], "rate": "20/s"})
    server.wait_requests(20)
    assert time.monotonic() - began > 0.8  # 19 pauses of 50 ms, the timer's 100 ms less
    assert gw.api("/cache")["warming"] == 0


def test_what_is_stored_and_matches_is_renewed(site):
    gw, server = site()
    fetch(gw, "/n/1", "/n/2", "/o/1")
    before = len(server.requests)
    assert gw.api("/cache/warm", "POST", {"pattern": "/n/*", "rate": "100/s"})["queued"] == 2
    server.wait_requests(before + 2)
    assert sorted(r.target for r in server.requests[before:]) == ["/n/1", "/n/2"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"urls": []},
        {"urls": ["/relative"]},
        {"urls": ["http://a/ b"]},
        {"urls": ["http://a/\r\nX: 1"]},
        {"urls": [5]},
        {"urls": ["http://a/"], "rate": "fast"},
        {"urls": ["http://a/"], "rate": "0/s"},
        {"urls": ["http://a/"], "rate": "1000000/s"},
    ],
)
def test_what_cannot_be_warmed_is_refused(site, body):
    gw, server = site()
    assert "error" in gw.api("/cache/warm", "POST", body, status=400)
    assert server.requests == []


def test_a_snapshot_carries_the_content_over_a_restart(site, tmp_path):
    path = str(tmp_path / "api.snapshot")
    gw, server = site(snapshot=path)
    fetch(gw, "/s/1", "/tag/red", "/size/200000")
    gw.stop()
    assert os.path.exists(path)
    asked = len(server.requests)
    gw.start()
    assert not os.path.exists(path)  # used up: what is purged from now on stays purged
    assert state(gw, "/s/1") == "HIT" and len(server.requests) == asked
    assert gw.ask("/size/200000").body == b"x" * 200000
    purge(gw, tag="red")
    assert state(gw, "/tag/red") == "MISS"


def test_a_damaged_snapshot_costs_what_is_damaged(site, tmp_path):
    path = str(tmp_path / "api.snapshot")
    gw, _ = site(snapshot=path)
    fetch(gw, "/size/5001", "/size/5002")
    gw.stop()
    with open(path, "r+b") as f:
        f.truncate(os.path.getsize(path) - 100)
    gw.start()
    assert stats(gw)["entries"] == 1
    assert "damaged=1" in gw.log()


def test_a_reload_changes_sizes_and_keeps_content(site):
    gw, _ = site()
    fetch(gw, *[f"/size/{30000 + i}" for i in range(60)])
    config = dict(gw.config)
    config["caches"]["api"]["levels"][0]["memory"] = "1MB"
    assert gw.reload(config).status == 200
    wait_for("it is smaller", lambda: stats(gw)["budget_bytes"] == 1 << 20)
    wait_for("it fits", lambda: stats(gw)["bytes"] <= 1 << 20)  # evicted in short steps
    assert 0 < stats(gw)["entries"] < 40
    config["caches"]["api"]["levels"][0]["memory"] = "32MB"
    kept = stats(gw)["entries"]
    assert gw.reload(config).status == 200
    assert stats(gw)["budget_bytes"] == 32 << 20 and stats(gw)["entries"] == kept


# -------------------------------------------------------------------------------------------- CLI


def cli(gw, *words, code=0, text=None):
    got = subprocess.run(
        [binary(), "cache", *words, "--socket", gw.config["socket"]],
        input=text,
        capture_output=True,
        text=True,
        timeout=30 * SCALE,
    )
    assert got.returncode == code, (words, got.returncode, got.stdout, got.stderr)
    return got.stdout + got.stderr


def test_the_command_line_does_all_of_it(site, tmp_path):
    gw, server = site()
    fetch(gw, "/a", "/tag/red", "/img/1")
    assert "api" in cli(gw, "stats") and '"caches"' in cli(gw, "stats", "--json")
    assert url(gw, "/img/1") in cli(gw, "list", "--prefix", "http://test/img")
    assert "Surrogate-Key: red" in cli(gw, "get", url(gw, "/tag/red"))
    assert "nothing is stored" in cli(gw, "get", url(gw, "/zz"), code=1)
    assert "purged 1 " in cli(gw, "purge", url(gw, "/a"))
    cli(gw, "purge", "--tag", "red", "--soft")
    cli(gw, "purge", "--pattern", "/img/*", "--cache", "api")
    assert "(purged softly)" in cli(gw, "list") and len(keys(gw)) == 1
    cli(gw, "purge", "--all")
    assert keys(gw) == []
    urls = tmp_path / "urls"
    urls.write_text(f"# a list\n\n{url(gw, '/w/1')}\n{url(gw, '/w/2')}\n")
    assert cli(gw, "warm", str(urls), "--rate", "100/s").startswith("2 ")
    assert cli(gw, "warm", "-", text=url(gw, "/w/3")).startswith("1 ")
    wait_for("three are kept", lambda: len(keys(gw)) == 3)
    cli(gw, "trim", "0%", "--cache", "api")
    assert keys(gw) == []


@pytest.mark.parametrize(
    "words", [[], ["shake"], ["purge"], ["purge", "--all", "--tag", "x"], ["get"], ["trim"], ["warm"], ["list", "-n", "x"]]
)
def test_wrong_use_is_exit_code_2(site, words):
    gw, _ = site()
    assert "say " in cli(gw, *words, code=2) or "wants" in cli(gw, *words, code=2)


def test_failures_are_exit_code_1(site):
    gw, _ = site()
    assert "nope" in cli(gw, "purge", "--all", "--cache", "nope", code=1)
    assert "nope" in cli(gw, "list", "--cache", "nope", code=1)
    assert "absolute" in cli(gw, "warm", "-", text="/relative", code=1)
    assert cli(gw, "warm", "/no/such/file", code=1)
    assert cli(gw, "trim", "much", code=1)


def test_status_and_page_show_the_caches(site):
    gw, _ = site()
    fetch(gw, "/a")
    assert [c["name"] for c in gw.api("/status")["caches"]] == ["api", "other"] or len(gw.api("/status")["caches"]) == 2
    got = subprocess.run([binary(), "status", "--socket", gw.config["socket"]], capture_output=True, text=True)
    assert "CACHE" in got.stdout and "other" in got.stdout
    assert b"<h2>Caches</h2>" in gw.admin("/").body


# ---------------------------------------------------------------------------------- invalidates


@pytest.fixture
def modules(gateway, origin):
    """modules(cache settings) -> gateway; /modules/{id} is read, and written with the same cache."""

    def make(status="200 OK", **settings):
        server = origin(answer=lambda r: answer(r) if r.method == "GET" else ok(status=status))
        cache = {"show": "X-Cache", "levels": [{"memory": "4MB"}], **settings}
        return gateway(
            {
                "caches": {"api": cache},
                "routes": [
                    {"path": "/modules/{id}", "to": server.url, "cache": {"use": "api", "invalidates": ["/modules", "/lists/{id}/*"]}},
                    {"path": "/", "to": server.url, "cache": "api"},
                ],
            }
        )

    return make


@pytest.mark.parametrize("settings", [{}, {"key": "$scheme $method $host $uri"}])
def test_a_write_forgets_the_paths_that_the_route_names(modules, settings):
    """S4-028: a write to /modules/7 drops /modules and /modules/7, and nothing else."""
    gw = modules(**settings)
    gone = ["/modules", "/modules/7", "/lists/7/a", "/lists/7/b?page=2"]
    stays = ["/modules/8", "/modules?page=2", "/lists/77/a", "/lists/8/a"]
    fetch(gw, *gone, *stays)
    assert gw.ask("/modules/7", "DELETE").status == 200
    for target in stays:
        assert state(gw, target) == "HIT", target
    for target in gone:
        assert state(gw, target) == "MISS", target


def test_a_write_that_failed_forgets_nothing(modules):
    gw = modules(status="409 Conflict")
    fetch(gw, "/modules", "/modules/7", "/lists/7/a")
    assert gw.ask("/modules/7", "DELETE").status == 409
    assert [state(gw, t) for t in ("/modules", "/modules/7", "/lists/7/a")] == ["HIT"] * 3


def test_a_star_of_a_client_stands_for_one_byte(modules):
    gw = modules()
    fetch(gw, "/lists/7/a", "/lists/77/a", "/lists/xx/a")
    assert gw.ask("/modules/*", "DELETE").status == 200
    assert [state(gw, t) for t in ("/lists/77/a", "/lists/xx/a")] == ["HIT"] * 2


def test_a_write_forgets_what_every_identity_was_given(modules):
    gw = modules(authorized=True)
    for who in ("Basic YTph", "Basic Yjpi"):
        assert state(gw, "/modules", headers={"Authorization": who}) == "MISS"
        wait_for("it is kept", lambda: state(gw, "/modules", headers={"Authorization": who}) == "HIT")
    assert gw.ask("/modules/7", "DELETE", headers={"Authorization": "Basic Yzpj"}).status == 200
    for who in ("Basic YTph", "Basic Yjpi"):
        assert state(gw, "/modules", headers={"Authorization": who}) == "MISS"


# -------------------------------------------------------------------------------------- explain


def explain(gw, target, *headers, method="GET"):
    query = [("method", method), ("url", url(gw, target))] + [("header", h) for h in headers]
    return gw.api("/explain?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote))["cache"]


def test_explain_tells_what_would_come_out_of_the_cache(site):
    gw, origin = site()
    said = explain(gw, "/a")
    assert said["name"] == "api" and said["key"] == url(gw, "/a") and said["stored"] == []
    assert said["outcome"].startswith("miss") and "nothing is stored" in said["why"]
    fetch(gw, "/a")
    said = explain(gw, "/a")
    assert said["outcome"].startswith("hit")
    (stored,) = said["stored"]
    assert stored["for_this_request"] and stored["state"] == "fresh" and stored["status"] == 200
    assert stored["body_bytes"] == len("body of /a") and 500 < stored["ttl_seconds"] <= 600
    assert explain(gw, "/a", "Cache-Control: no-cache")["why"].startswith("the request says no-cache")
    purge(gw, url=url(gw, "/a"), soft=True)
    assert explain(gw, "/a")["stored"][0]["state"] == "purged"
    assert len(origin.requests) == 1, "nothing was sent for an explanation"


def test_explain_shows_variants_and_whose_they_are(site):
    gw, _ = site()
    for kind in ("x", "y"):
        assert gw.ask("/vary", headers={"X-Kind": kind}).status == 200
        wait_for("it is kept", lambda: state(gw, "/vary", headers={"X-Kind": kind}) == "HIT")
    said = explain(gw, "/vary", "X-Kind: y")
    assert said["outcome"].startswith("hit") and [o["for_this_request"] for o in said["stored"]].count(True) == 1
    said = explain(gw, "/vary", "X-Kind: z")
    assert said["outcome"].startswith("miss") and "other headers" in said["why"] and len(said["stored"]) == 2
