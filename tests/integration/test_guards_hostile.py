# tests/integration/test_guards_hostile.py - clients, services and files that mean harm to access, limits and parts.
import json
import os
import socket
import time

from harness import binary, ok, wait_for  # noqa: F401
from test_access import GOLD, JWT, PLAIN, bearer, cli, folder, fresh, signers, start  # noqa: F401


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
