# tests/integration/test_access.py - keys, Basic, signed tokens, plans and required headers on the wire.
import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from harness import ROOT, binary, ok, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests", "data", "access"))
import make  # noqa: E402 - keys and tokens are made as for the unit tests

GOLD = "vk_gold-0123456789abcdef"
PLAIN = "vk_plain-0123456789abcdef"
OLD = "vk_old-0123456789abcdef"
PLANS = {"standard": {"rate": "10000/h", "burst": 500, "concurrent": 100},
         "premium": {"rate": "50000/h", "burst": 2000, "concurrent": 500}}


def line(key, plan, name, more=""):
    return f"{hashlib.sha256(key.encode()).hexdigest()} {plan} {name} 2026-01-01T00:00:00Z{more}\n"


def keys_file(folder):
    path = os.path.join(folder, "keys.txt")
    with open(path, "w") as f:
        f.write("# partners\n" + line(GOLD, "premium", "gold") + line(PLAIN, "standard", "plain") +
                line(OLD, "premium", "old", " expires=2026-01-02T00:00:00Z"))
    return path


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def cli(*args, data=None):
    return subprocess.run([binary(), *args], input=data, capture_output=True, text=True, timeout=60)


@pytest.fixture
def folder(tmp_path):
    keys_file(tmp_path)
    return str(tmp_path)


def start(gateway, folder, routes, access=None, **more):
    return gateway({"access": {"keys": "keys.txt", "plans": PLANS} | (access or {}), "routes": routes} | more,
                   folder=folder)


# ---------------------------------------------------------------------------------------------- keys


def test_a_good_key_passes_and_the_service_hears_whose_it_is(gateway, origin, folder):
    service = origin()
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "to": service.url}])
    spoofed = bearer(GOLD) | {"X-Authenticated-User": "root", "x_authenticated_plan": "all"}
    assert gw.ask(headers=spoofed).status == 200
    seen = service.requests[-1]
    assert seen.all("X-Authenticated-User") == ["gold"]
    assert seen.all("X-Authenticated-Plan") == ["premium"]
    assert not seen.has("x_authenticated_plan")


def test_a_client_cannot_say_who_it_is_on_an_open_route_either(gateway, origin, folder):
    service = origin()
    gw = start(gateway, folder, [{"path": "/", "to": service.url}])
    assert gw.ask(headers={"X-Authenticated-User": "root"}).status == 200
    assert not service.requests[-1].has("X-Authenticated-User")


def test_no_key_a_wrong_one_and_an_old_one_get_401(gateway, folder):
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "$user $plan"}}])
    none = gw.ask()
    assert none.status == 401 and none.get("WWW-Authenticate") == 'Bearer realm="vivace"'
    for key in (GOLD + "x", OLD, "", "x" * 600):
        wrong = gw.ask(headers=bearer(key))
        assert wrong.status == 401
        assert 'error="invalid_token"' in wrong.get("WWW-Authenticate")
        assert json.loads(wrong.body)["reason"] == "unauthorized"
    assert gw.ask(headers=bearer(GOLD)).body == b"gold premium"
    twice = gw.ask(headers=[("Authorization", f"Bearer {GOLD}"), ("Authorization", "Bearer x")])
    assert twice.status == 400  # the service could read the other one


def test_a_key_may_stand_in_its_own_header_where_the_route_says_so(gateway, folder):
    gw = start(gateway, folder, [{"path": "/k", "access": "key", "respond": {"body": "$user"}},
                                 {"path": "/b", "access": "bearer", "respond": {"body": "$user"}}])
    assert gw.ask("/k", headers={"X-API-Key": PLAIN}).body == b"plain"
    assert gw.ask("/k", headers=bearer(PLAIN)).status == 401
    assert gw.ask("/b", headers={"X-API-Key": PLAIN}).status == 401


def test_a_plan_that_is_not_allowed_gets_403(gateway, folder):
    gw = start(gateway, folder,
               [{"path": "/", "access": {"by": ["bearer"], "plans": ["premium"]}, "respond": {"body": "in"}}])
    assert gw.ask(headers=bearer(GOLD)).status == 200
    refused = gw.ask(headers=bearer(PLAIN))
    assert refused.status == 403 and 'error="insufficient_scope"' in refused.get("WWW-Authenticate")
    gw.wait_metric("vivace_access_total", 1, result="forbidden")
    gw.wait_metric("vivace_plan_requests_total", 1, plan="standard", result="refused")
    gw.wait_metric("vivace_plan_requests_total", 1, plan="premium", result="passed")


def test_unknown_keys_and_callers_without_one_may_have_plans_of_their_own(gateway, folder):
    gw = start(gateway, folder,
               [{"path": "/", "access": ["bearer", "optional"], "respond": {"body": "$user/$plan"}}],
               access={"unknown": "standard", "anonymous": "premium"})
    assert gw.ask(headers=bearer("random-key-of-a-load-test")).body == b"/standard"
    assert gw.ask().body == b"/premium"
    assert gw.ask(headers=bearer(OLD)).status == 401  # known, and no longer good


# ------------------------------------------------------------------------------------- run-time changes


def test_a_key_is_added_and_revoked_at_once_on_every_worker(gateway, folder):
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "$user"}}])
    added = cli("key", "add", "fresh", "--plan", "premium", "--expires", "90d", gw.file)
    assert added.returncode == 0, added.stderr
    key = added.stdout.strip()
    for _ in range(20):  # new connections: both workers
        assert gw.ask(headers=bearer(key)).body == b"fresh"
    revoked = cli("key", "revoke", "fresh", gw.file)
    assert revoked.returncode == 0, revoked.stderr
    for _ in range(20):
        assert gw.ask(headers=bearer(key)).status == 401
    with open(os.path.join(folder, "keys.txt")) as f:
        text = f.read()
    assert key not in text and text.startswith("# partners\n") and " revoked=" in text
    assert os.stat(os.path.join(folder, "keys.txt")).st_mode & 0o777 == 0o600
    assert cli("key", "add", "gold", gw.file).returncode == 1  # the name is taken
    assert "no plan" in cli("key", "add", "other", "--plan", "nope", gw.file).stderr


def test_usage_is_counted_by_key_and_outlives_changes_of_the_table(gateway, folder):
    gw = start(gateway, folder,
               [{"path": "/", "access": {"by": ["bearer"], "plans": ["premium"]}, "respond": {"body": "in"}}])
    for _ in range(3):
        gw.ask(headers=bearer(GOLD))
    gw.ask(headers=bearer(PLAIN))
    gw.api("/keys", "POST", {"name": "more", "key": "given-key-0123456789"}, status=201)
    gw.reload()
    usage = {k["name"]: k for k in gw.api("/keys")["keys"]}
    assert (usage["gold"]["requests"], usage["gold"]["refused"]) == (3, 0)
    assert (usage["plain"]["requests"], usage["plain"]["refused"]) == (1, 1)
    assert usage["more"]["requests"] == 0 and usage["more"]["last_used"] is None
    assert usage["gold"]["last_used"].startswith("20")
    table = cli("key", "usage", gw.file).stdout
    assert "gold" in table and "given-key" not in table


def test_the_file_is_edited_when_no_gateway_runs_and_read_when_one_does(gateway, folder):
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "$user"}}])
    gw.stop()
    made = cli("key", "add", "later", "--plan", "standard", "--json", gw.file)
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["key"]
    assert cli("key", "revoke", "plain", gw.file).returncode == 0
    assert "later" in cli("key", "list", gw.file).stdout
    gw.start()
    assert gw.ask(headers=bearer(key)).body == b"later"
    assert gw.ask(headers=bearer(PLAIN)).status == 401
    with open(os.path.join(folder, "keys.txt"), "a") as f:  # by hand, under a running gateway
        f.write(line("by-hand-0123456789abcdef", "-", "hand"))
    wait_for("the file is read again",
             lambda: gw.ask(headers=bearer("by-hand-0123456789abcdef")).status == 200)
    with open(os.path.join(folder, "keys.txt"), "a") as f:
        f.write("broken\n")
    wait_for("the mistake is said", lambda: "stay in force" in gw.log())
    assert gw.ask(headers=bearer(GOLD)).status == 200


def test_a_broken_file_of_keys_stops_the_start_and_the_reload(gateway, folder):
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "in"}}])
    with open(os.path.join(folder, "keys.txt"), "a") as f:
        f.write("abc premium x\n")
    again = cli("reload", gw.file)
    assert again.returncode != 0
    assert "keys.txt:5:1: a line begins with" in gw.log()
    assert gw.ask(headers=bearer(GOLD)).status == 200


def test_adding_and_revoking_under_load_loses_nothing(gateway, folder):
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "$user"}}],
               access={"plans": {"premium": {"rate": "1000000/s", "burst": 1000000},
                                 "standard": {"rate": "1000000/s", "burst": 1000000}}})
    answers, stop = [], threading.Event()

    def ask():
        with gw.client() as c:
            while not stop.is_set():
                answers.append(c.ask(headers=bearer(GOLD)).body)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(30):
        gw.api("/keys", "POST", {"name": f"k{i}", "plan": "standard"}, status=201)
        gw.api(f"/keys/k{i}", "DELETE")
    stop.set()
    for t in threads:
        t.join()
    assert answers and set(answers) == {b"gold"}
    used = {k["name"]: k for k in gw.api("/keys")["keys"]}
    assert used["gold"]["requests"] == len(answers)


# ---------------------------------------------------------------------------------------------- Basic


def test_basic_asks_for_name_and_password(gateway, folder):
    made = cli("key", "user", "ann", "--plan", "premium", data="sesame\n")
    assert made.returncode == 0 and "sesame" not in made.stdout
    with open(os.path.join(folder, "users.txt"), "w") as f:
        f.write(made.stdout)
    gw = start(gateway, folder, [{"path": "/", "access": "basic", "respond": {"body": "$user $plan"}}],
               access={"basic": "users.txt"})

    def basic(text):
        return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    assert 'Basic realm="vivace"' in gw.ask().get("WWW-Authenticate")
    with gw.client() as c:
        assert c.ask(headers=basic("ann:sesame")).body == b"ann premium"
        assert c.ask(headers=basic("ann:wrong")).status == 401
        assert c.ask(headers=basic("bob:sesame")).status == 401
        assert c.ask(headers=basic("no colon")).status == 401
        assert c.ask(headers={"Authorization": "Basic !!!"}).status == 401
        assert c.ask(headers=basic("ann:sesame")).body == b"ann premium"
    with gw.client() as c:  # whoever leaves while its password is checked harms nobody
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: " + basic("ann:other")["Authorization"].encode() +
               b"\r\n\r\n")
    assert gw.ask(headers=basic("ann:sesame")).status == 200


# ---------------------------------------------------------------------------------------- signed tokens


@pytest.fixture
def signers(tmp_path):
    return [make.Key(str(tmp_path), n, a) for n, a in (("r1", "RS256"), ("e1", "ES256"), ("d1", "EdDSA"))]


def fresh(key, claims=None, **more):
    now = int(time.time())
    return make.token(key, {"exp": now + 300, "iat": now} | (claims or {}), **more)


JWT = {"issuer": "https://id.example.org", "audience": ["api"], "plan": "plan"}


def test_tokens_of_all_three_kinds_pass_and_others_do_not(gateway, folder, signers):
    with open(os.path.join(folder, "jwks.json"), "w") as f:
        json.dump({"keys": [k.jwk() for k in signers]}, f)
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "$user $plan"}}],
               access={"jwt": JWT | {"jwks": "jwks.json"}})
    for key in signers:
        token = fresh(key)
        for _ in range(3):  # checked, then remembered
            assert gw.ask(headers=bearer(token)).body == b"ann premium", key.alg
    ec = signers[1]
    for token, why in (
            (fresh(ec, {"exp": int(time.time()) - 61}), "expired"),
            (fresh(ec, {"aud": "shop"}), "somebody else"),
            (fresh(ec, header={"alg": "none"}, signature=lambda data: b"\0"), "algorithm"),
            (fresh(ec)[:-4] + "AAAA", "signature"),
            (fresh(ec, header={"kid": "zz"}), "not known")):
        answer = gw.ask(headers=bearer(token))
        assert answer.status == 401 and why in answer.get("WWW-Authenticate"), answer.raw_head
    assert gw.ask(headers=bearer(GOLD)).body == b"gold premium"  # keys go on beside them


def test_a_remembered_token_ends_when_it_says_so(gateway, folder, signers):
    with open(os.path.join(folder, "jwks.json"), "w") as f:
        json.dump({"keys": [signers[1].jwk()]}, f)
    gw = start(gateway, folder, [{"path": "/", "access": "jwt", "respond": {"body": "in"}}],
               access={"jwt": JWT | {"jwks": "jwks.json", "skew": "1s"}})
    token = fresh(signers[1], {"exp": int(time.time()) + 2})
    with gw.client() as c:
        assert c.ask(headers=bearer(token)).status == 200
        wait_for("the token ends", lambda: c.ask(headers=bearer(token)).status == 401)


def test_public_keys_from_a_url_are_rotated(gateway, origin, folder, signers):
    sets = [[signers[0]]]
    server = origin(answer=lambda req: ok(json.dumps({"keys": [k.jwk() for k in sets[0]]}).encode())
                    if sets[0] else ok(b"oops", "500 Internal Server Error"))
    gw = start(gateway, folder, [{"path": "/", "access": "jwt", "respond": {"body": "in"}}],
               access={"jwt": JWT | {"jwks": server.url + "/jwks", "refresh": "1s"}})
    first, second = fresh(signers[0]), fresh(signers[1])
    wait_for("the keys are fetched", lambda: gw.ask(headers=bearer(first)).status == 200)
    assert gw.ask(headers=bearer(second)).status == 401
    sets[0] = [signers[1]]
    wait_for("the new key counts", lambda: gw.ask(headers=bearer(second)).status == 200)
    assert gw.ask(headers=bearer(first)).status == 401
    sets[0] = []
    gw.wait_metric("vivace_jwks_fetches_total", 1, result="error")
    assert gw.ask(headers=bearer(second)).status == 200  # a failed fetch takes nothing away
    assert gw.metric("vivace_jwks_keys") == 1


def test_before_any_public_key_is_known_tokens_cannot_be_judged(gateway, folder, signers):
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "in"}}],
               access={"jwt": JWT | {"jwks": "http://127.0.0.1:1/jwks"}})
    answer = gw.ask(headers=bearer(fresh(signers[0])))
    assert answer.status == 503 and answer.get("Retry-After") == "1"
    assert gw.ask(headers=bearer(GOLD)).status == 200


def test_an_unknown_key_id_is_fetched_before_its_time(gateway, origin, folder, signers):
    sets = [[signers[0]]]
    server = origin(answer=lambda req: ok(json.dumps({"keys": [k.jwk() for k in sets[0]]}).encode()))
    gw = start(gateway, folder, [{"path": "/", "access": "jwt", "respond": {"body": "in"}}],
               access={"jwt": JWT | {"jwks": server.url, "refresh": "7d"}})
    wait_for("the keys are fetched", lambda: gw.ask(headers=bearer(fresh(signers[0]))).status == 200)
    sets[0] = signers
    for _ in range(20):
        assert gw.ask(headers=bearer(fresh(signers[1]))).status == 401
    assert len(server.requests) == 1  # at most once in ten seconds, whoever asks how often
    wait_for("the new key counts", lambda: gw.ask(headers=bearer(fresh(signers[1]))).status == 200, 20)
    assert len(server.requests) == 2


# ---------------------------------------------------------------------------------------------- require


def test_required_headers_are_named_with_what_they_must_be(gateway, folder):
    gw = start(gateway, folder,
               [{"path": "/", "respond": {"body": "in"},
                 "require": {"X-API-Version": "1.0", "Content-Type": "application/json"}}])
    version = {"X-API-Version": "1.0"}
    for headers in ({}, {"X-API-Version": "2.0"}):
        answer = gw.ask(headers=headers)
        assert answer.status == 400
        assert json.loads(answer.body)["detail"] == "X-API-Version must be 1.0."
    assert gw.ask(headers=version).status == 200  # without a body there is no type to be right
    answer = gw.ask("/", "POST", version | {"Content-Type": "text/plain"}, b"{}")
    assert answer.status == 415
    assert answer.get("Accept") == answer.get("Accept-Post") == "application/json"
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        assert gw.ask("/", "POST", version | {"Content-Type": kind}, b"{}").status == 200
    assert gw.ask("/", "POST", version, b"{}").status == 415


# ---------------------------------------------------------------------------------------------- caches


def test_an_answer_for_one_key_is_not_given_to_another(gateway, origin, folder):
    service = origin(answer=lambda req: ok(req.get("X-Authenticated-User", "none").encode(),
                                           headers={"Cache-Control": "max-age=60"}))
    routes = [{"path": "/own", "access": "key", "to": service.url, "cache": {"authorized": True, "ttl": "1m"}},
              {"path": "/", "access": "key", "to": service.url, "cache": "1m"}]
    gw = start(gateway, folder, routes)
    for path in ("/own", "/plain"):
        for _ in range(2):
            assert gw.ask(path, headers={"X-API-Key": GOLD}).body == b"gold"
            assert gw.ask(path, headers={"X-API-Key": PLAIN}).body == b"plain"
        assert gw.ask(path).status == 401  # also of what is stored
    assert len([r for r in service.requests if r.target == "/own"]) == 2  # one for each caller
    assert len([r for r in service.requests if r.target == "/plain"]) == 4  # nothing kept


def test_what_is_renewed_behind_is_asked_for_by_the_same_caller(gateway, origin, folder):
    service = origin(answer=lambda req: ok(req.get("X-Authenticated-User", "none").encode(),
                                           headers={"Cache-Control": "max-age=1, stale-while-revalidate=60"}))
    gw = start(gateway, folder, [{"path": "/", "access": "key", "to": service.url, "cache": {"authorized": True}}])

    def ask():
        answer = gw.ask(headers={"X-API-Key": GOLD})
        assert answer.body == b"gold"
        return answer

    ask()
    wait_for("the answer is renewed behind", lambda: ask() and len(service.requests) > 1)
    assert {r.get("X-Authenticated-User") for r in service.requests} == {"gold"}
    assert ask().status == 200


# --------------------------------------------------------------------------------------------- secrets


def test_no_secret_is_said_anywhere(gateway, folder, signers):
    with open(os.path.join(folder, "jwks.json"), "w") as f:
        json.dump({"keys": [signers[1].jwk()]}, f)
    gw = start(gateway, folder, [{"path": "/", "access": "bearer", "respond": {"body": "in"}}],
               access={"jwt": JWT | {"jwks": "jwks.json"}}, access_log="access.log")
    token = fresh(signers[1])
    bad = "wrong-key-that-nobody-knows"
    made = gw.api("/keys", "POST", {"name": "once", "plan": "premium"}, status=201)["key"]
    for secret in (GOLD, token, bad, made):
        gw.ask(headers=bearer(secret))
    said = gw.metrics().text if hasattr(gw.metrics(), "text") else gw.admin("/metrics").body.decode()
    for target in ("/api/v1/config?form=long", "/api/v1/keys", "/api/v1/status", "/health"):
        said += gw.admin(target).body.decode()
    gw.stop()
    said += gw.log()
    for name in ("access.log", "keys.txt"):
        with open(os.path.join(folder, name)) as f:
            said += f.read()
    assert "once" in said
    for secret in (GOLD, token, bad, made):
        assert secret not in said
