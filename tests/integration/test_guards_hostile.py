# tests/integration/test_guards_hostile.py - clients, services and files that mean harm to access, limits and parts.
import base64
import json
import os
import threading
import time

from harness import ok, wait_for
from test_access import GOLD, JWT, PLAIN, PLANS, bearer, cli, folder, fresh, line, signers, start  # noqa: F401


def write_jwks(folder, signers):
    with open(os.path.join(folder, "jwks.json"), "w") as f:
        json.dump({"keys": [k.jwk() for k in signers]}, f)


# --------------------------------------------------------------------------------------------- access


def test_a_token_that_held_is_no_password(gateway, folder, signers):
    write_jwks(folder, signers)
    with open(os.path.join(folder, "users.txt"), "w") as f:
        f.write(cli("key", "user", "bob", data="sesame\n").stdout)
    gw = start(gateway, folder, [{"path": "/token", "access": "jwt", "respond": {"body": "$user"}},
                                 {"path": "/basic", "access": "basic", "respond": {"body": "$user"}}],
               access={"jwt": JWT | {"jwks": "jwks.json"}, "basic": "users.txt"})
    token = fresh(signers[0])
    with gw.client() as c:  # one connection: the worker that remembers the token
        assert c.ask("/token", headers=bearer(token)).body == b"ann"
        assert c.ask("/basic", headers={"Authorization": f"Basic {token}"}).status == 401


def test_time_that_is_up_before_anybody_knows_who_asks_leads_to_no_fallback(gateway, origin, folder):
    service, other = origin(), origin()
    with open(os.path.join(folder, "users.txt"), "w") as f:
        f.write(cli("key", "user", "ann", data="sesame\n").stdout)
    gw = start(gateway, folder, [{"path": "/", "to": "a", "access": ["basic", "bearer"], "fallback": {"to": "b"}}],
               access={"basic": "users.txt"}, services={"a": [service.url], "b": [other.url]},
               deadline_header="X-Deadline-Ms")
    wrong = {"Authorization": "Basic " + base64.b64encode(b"ann:wrong").decode()}
    for who in ({}, wrong):
        for ms in ("0", "1", "5"):  # 5: in the middle of a check of some 40 ms
            assert gw.ask(headers=who | {"X-Deadline-Ms": ms}).status in (401, 504), (who, ms)
    assert not service.requests and not other.requests
    service.close()
    assert gw.ask(headers=bearer(GOLD)).get("Degraded") == "fallback" and len(other.requests) == 1


def test_a_plan_that_nobody_made_is_the_default_one(gateway, folder, signers):
    write_jwks(folder, signers)
    gw = start(gateway, folder, [{"path": "/", "access": "jwt", "respond": {"body": "$user/$plan"}}],
               access={"jwt": JWT | {"jwks": "jwks.json", "default_plan": "standard"}})
    for plan, is_ in (("premium", b"ann/premium"), ("no-limit", b"ann/standard"), (" premium", b"ann/standard"),
                      (7, b"ann/standard"), ("x" * 500, b"ann/standard")):
        for _ in range(2):  # checked, then remembered
            assert gw.ask(headers=bearer(fresh(signers[2], {"plan": plan}))).body == is_, plan


def test_a_name_with_blanks_around_it_is_none(gateway, folder, signers):
    write_jwks(folder, signers)
    gw = start(gateway, folder, [{"path": "/", "access": "jwt", "respond": {"body": "$user"}}],
               access={"jwt": JWT | {"jwks": "jwks.json"}})
    assert gw.ask(headers=bearer(fresh(signers[1], {"sub": "ann lee"}))).body == b"ann lee"
    for name in (" ann", "ann ", " ", ""):
        assert gw.ask(headers=bearer(fresh(signers[1], {"sub": name}))).status == 401, name


def test_an_answer_that_varies_by_the_caller_is_not_given_to_another(gateway, origin, folder):
    fields = {"/u": "X-Authenticated-User", "/p": "x-authenticated-plan"}
    service = origin(answer=lambda req: ok(req.get(fields[req.target]).encode(),
                                           headers={"Cache-Control": "public, max-age=60", "Vary": fields[req.target]}))
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "to": service.url, "cache": "1m"}])
    for path, answers in (("/u", (b"gold", b"plain")), ("/p", (b"premium", b"standard"))):
        assert (gw.ask(path, headers=bearer(GOLD)).body, gw.ask(path, headers=bearer(PLAIN)).body) == answers


def test_what_is_stored_for_a_caller_is_listed_without_its_secrets(gateway, origin, folder):
    service = origin(answer=lambda req: ok(b"mine", headers={"Vary": "Cookie, Accept-Language"}))
    gw = start(gateway, folder, [{"path": "/own", "to": service.url, "access": ["bearer", "key"],
                                  "cache": {"ttl": "1m", "authorized": True}},
                                 {"path": "/", "to": service.url, "cache": "1m"}])
    cookie = {"Cookie": "session=c00kie-0123456789", "Accept-Language": "fr"}
    for headers in ({"X-API-Key": GOLD} | cookie, bearer(PLAIN)):
        assert gw.ask("/own", headers=headers).status == 200
    assert gw.ask("/all", headers=cookie).status == 200
    listed = cli("cache", "list", "--json", gw.file).stdout
    got = cli("cache", "get", "--json", "http://test/all", gw.file).stdout
    assert listed.count("/own") == 2 and "accept-language:fr" in got and "cookie:..." in got
    for secret in (GOLD, PLAIN, "c00kie"):
        assert secret not in listed + got


def test_a_key_cannot_last_longer_than_time_itself(gateway, folder):
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "$user"}}])
    long = cli("key", "add", "long", "--expires", "36500d", gw.file)
    assert gw.ask(headers=bearer(long.stdout.strip())).body == b"long"
    for lasts in ("200000d", "36501d", "500ms", "0", "-1d", "x"):  # 200000d would wrap into the past
        assert cli("key", "add", "more", "--expires", lasts, gw.file).returncode == 2
        gw.api("/keys", "POST", {"name": "more", "expires": lasts}, status=400)
    gw.api("/keys", "POST", {"name": "more", "expires": ""}, status=400)
    gw.stop()
    assert cli("key", "add", "more", "--expires", "200000d", gw.file).returncode == 2
    assert "more" not in cli("key", "list", gw.file).stdout


def test_who_tries_keys_is_limited_by_address_and_costs_others_nothing(gateway, folder):
    limits = [{"name": "each", "rate": "1/h", "burst": 4}, {"name": "all", "per": "all", "rate": "1/h", "burst": 1}]
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "$user"}, "limit": limits}])
    tries = [gw.ask(headers=bearer(f"guess-{i}-0123456789abcdef")) for i in range(4)] + [gw.ask(), gw.ask()]
    assert [a.status for a in tries] == [401] * 5 + [429]  # a burst of 4 beyond the first
    assert tries[-1].get("Retry-After") and tries[0].get("RateLimit").startswith('"each";r=4')
    assert [gw.ask(headers=bearer(GOLD)).status for _ in range(3)] == [200, 200, 429]  # all of `all` was left


def test_a_stranger_with_a_whole_ipv6_network_is_one_caller(gateway, folder):
    gw = start(gateway, folder,
               [{"path": "/", "access": ["bearer", "optional"], "respond": {"body": "$plan"}}],
               access={"anonymous": "few", "plans": PLANS | {"few": {"rate": "1/h", "burst": 3}}},
               listen={"web": {"trust": ["127.0.0.0/8"]}})

    def ask(address):
        return gw.ask(headers={"X-Forwarded-For": address}).status

    assert [ask(f"2001:db8::{i:x}") for i in range(1, 6)] == [200] * 3 + [429] * 2
    assert ask("2001:db8:0:1::1") == 200


def test_keys_of_a_url_that_is_no_longer_named_do_not_count(gateway, origin, folder, signers):
    go = threading.Event()

    def late(req):
        go.wait(10)
        return ok(json.dumps({"keys": [signers[0].jwk()]}).encode())

    former, present = origin(answer=late), origin(answer=lambda req: ok(json.dumps({"keys": [signers[1].jwk()]}).encode()))
    routes = [{"path": "/", "access": "jwt", "respond": {"body": "in"}}]
    gw = start(gateway, folder, routes, access={"jwt": JWT | {"jwks": former.url, "refresh": "7d"}})
    wait_for("the former is asked", lambda: former.requests)
    gw.config["access"]["jwt"]["jwks"] = present.url
    gw.reload(gw.config)
    go.set()
    wait_for("the present one is asked", lambda: gw.ask(headers=bearer(fresh(signers[1]))).status == 200)
    assert gw.ask(headers=bearer(fresh(signers[0]))).status == 401


def test_keys_may_stand_in_any_header_but_that_of_other_credentials(gateway, folder):
    gw = start(gateway, folder, [{"path": "/", "access": "key", "respond": {"body": "$user"}}],
               access={"header": "From"})
    assert gw.ask(headers={"From": GOLD}).body == b"gold"
    assert gw.ask(headers=[("From", GOLD), ("from", PLAIN)]).status == 400
    gw.stop()
    for name in ("authorization", "Cache-Control"):
        gw.config["access"]["header"] = name
        gw.write(gw.config)
        assert (cli("check", gw.file).returncode == 0) == (name != "authorization")


def test_a_cache_key_with_authorization_tells_callers_by_other_keys_apart(gateway, origin, folder):
    service = origin(answer=lambda req: ok(req.get("X-Authenticated-User").encode()))
    gw = start(gateway, folder,
               [{"path": "/", "access": ["bearer", "key"], "to": service.url,
                 "cache": {"ttl": "1m", "authorized": True, "key": "$uri $header.authorization"}}])
    for _ in range(2):
        assert gw.ask(headers={"X-API-Key": GOLD}).body == b"gold"
        assert gw.ask(headers={"X-API-Key": PLAIN}).body == b"plain"
        assert gw.ask(headers=bearer(PLAIN)).body == b"plain"
    assert len(service.requests) == 3


def test_a_file_of_keys_stays_what_it_is_when_it_is_written(folder, tmp_path):
    with open(tmp_path / "vivace.yaml", "w") as f:
        f.write("{listen: 8080, access: {keys: keys.txt}, routes: [{respond: ok}]}")
    os.rename(tmp_path / "keys.txt", tmp_path / "real.txt")
    os.symlink("real.txt", tmp_path / "keys.txt")
    os.chmod(tmp_path / "real.txt", 0o664)
    mode = 0o600
    if os.geteuid() == 0:
        os.chown(tmp_path / "real.txt", 12345, 23456)  # the gateway reads it as somebody else
        mode = 0o660
    assert cli("key", "add", "more", str(tmp_path / "vivace.yaml")).returncode == 0
    assert os.path.islink(tmp_path / "keys.txt")
    now = os.stat(tmp_path / "real.txt")
    assert now.st_mode & 0o777 == mode
    assert os.geteuid() != 0 or (now.st_uid, now.st_gid) == (12345, 23456)
    assert sorted(os.listdir(tmp_path)) == ["keys.txt", "real.txt", "vivace.yaml"]


def test_check_looks_into_the_files_that_stop_a_start(folder, tmp_path):
    file = str(tmp_path / "vivace.yaml")
    for access, why in (({"keys": "keys.txt"}, None), ({"keys": "not-yet.txt"}, None),
                        ({"keys": "bad.txt"}, "bad.txt:1:1: a line begins with the SHA-256"),
                        ({"basic": "nobody.txt"}, "nobody.txt: "), ({"jwt": {"jwks": "bad.txt"}}, "bad.txt: no JSON")):
        (tmp_path / "bad.txt").write_text("bad\n")
        (tmp_path / "vivace.yaml").write_text(json.dumps(
            {"listen": 8080, "routes": [{"respond": "ok"}],
             "access": access | {"plans": {"premium": "1/s", "standard": "1/s"}}}))
        got = cli("check", file)
        assert got.returncode == (0 if why is None else 2), got.stderr
        assert why is None or why in got.stderr


def test_a_list_of_many_keys_says_that_it_is_not_all(folder, tmp_path):
    with open(tmp_path / "vivace.yaml", "w") as f:
        f.write("{listen: 8080, access: {keys: keys.txt}, routes: [{respond: ok}]}")
    with open(tmp_path / "keys.txt", "w") as f:
        f.write("".join(line(f"key-{i}", "-", f"key-{i}") for i in range(100000)))
    out = cli("key", "list", str(tmp_path / "vivace.yaml")).stdout.splitlines()
    assert len(out) == 4098 and out[-1] == "and 95904 more: --json has all"  # 4,096 of them and the titles


# --------------------------------------------------------------------------------------------- mirrors


def test_a_client_cannot_pass_its_request_off_as_a_copy(gateway, origin):
    service, other = origin(), origin()
    gw = gateway({"services": {"a": [service.url], "b": [other.url]},
                  "routes": [{"path": "/m", "to": "a", "mirror": "b"}, {"path": "/", "to": "a"}]})
    for path in ("/", "/m"):
        assert gw.ask(path, headers={"X-Mirror": "1", "x_mirror": "1"}).status == 200
        assert not service.requests[-1].has("X-Mirror") and not service.requests[-1].has("x_mirror")
    assert gw.ask("/m").status == 200
    wait_for("the copy", lambda: other.requests)
    assert other.requests[0].all("X-Mirror") == ["1"]
    trusted = gateway({"listen": {"web": {"trust": ["127.0.0.0/8"]}},
                       "routes": [{"path": "/", "to": service.url}]})
    assert trusted.ask(headers={"X-Mirror": "1"}).status == 200  # the copy of a gateway in front
    assert service.requests[-1].all("X-Mirror") == ["1"]


# -------------------------------------------------------------------------------------------- compose


def test_a_client_that_reads_slowly_gets_all_of_a_composed_answer(gateway, origin):
    service = origin(answer=lambda req: ok(b'"' + b"x" * 1000000 + b'"'))
    gw = gateway({"services": {"a": [service.url]},
                  "routes": [{"path": "/", "compose": {"timeout": "500ms",
                                                       "parts": {name: {"to": "a"} for name in "pqrs"}}}]})
    with gw.client(recv_buffer=4096) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        gw.wait_metric("vivace_http_requests_in_flight", 1)
        time.sleep(1)  # longer than the timeout of the whole
        body = json.loads(c.answer().body)
    assert [len(body[name]) for name in "pqrs"] == [1000000] * 4 and body["degraded"] == []


def test_a_composed_answer_has_a_size_with_its_escapes(gateway, origin):
    service = origin(answer=lambda req: ok(b"\x01" * 900000))  # no JSON: six bytes for each as a string
    gw = gateway({"services": {"a": [service.url]}, "routes": [{"path": "/", "compose": {"parts": {"p": "a"}}}]})
    answer = gw.ask()
    assert answer.status == 502 and json.loads(answer.body)["part"] == "p"


# ------------------------------------------------------------------------------------------- overload


def test_who_is_turned_away_gets_the_fallback_of_its_route(gateway, origin):
    service = origin()
    gw = gateway({"overload": {"memory_size": "1MB"},  # less than it needs for itself: it turns all away
                  "services": {"a": [service.url]},
                  "routes": [{"path": "/full", "to": "a", "fallback": {"json": {"items": []}}},
                             {"path": "/", "to": "a"}]})
    wait_for("all are turned away", lambda: gw.ask("/").status == 503)
    wait_for("the fallback", lambda: gw.ask("/full").get("Degraded") == "fallback")
    assert json.loads(gw.ask("/full").body) == {"items": []}
