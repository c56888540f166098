#!/usr/bin/env python3
# tests/data/access/make.py - makes jwks.json and tokens.txt anew: keys and signatures by openssl(1).
"""Every token is signed at the time NOW for the rules of test_jwt.c: issuer https://id.example.org,
audience api, 60 s of skew. tokens.txt: one line each, NAME VERDICT TOKEN; the verdict follows from what
the line's call below changes. Private keys are made here and thrown away."""
import base64
import hashlib
import hmac
import json
import os
import subprocess
import tempfile

NOW = 1_800_000_000
HERE = os.path.dirname(os.path.abspath(__file__))


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def run(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


class Key:
    def __init__(self, folder, name, alg):
        self.path, self.alg, self.kid = os.path.join(folder, name), alg, name
        kind = {"RS256": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
                "ES256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "EdDSA": ["ED25519"]}[alg]
        run("genpkey", "-algorithm", *kind, "-out", self.path)
        self.der = run("pkey", "-in", self.path, "-pubout", "-outform", "DER")
        self.pem = run("pkey", "-in", self.path, "-pubout")

    def jwk(self, **more):
        if self.alg == "RS256":
            n = run("rsa", "-in", self.path, "-noout", "-modulus").split(b"=")[1].strip()
            key = {"kty": "RSA", "n": b64(bytes.fromhex(n.decode())), "e": "AQAB"}
        elif self.alg == "ES256":  # the DER ends with the point: 04, x, y
            key = {"kty": "EC", "crv": "P-256", "x": b64(self.der[-64:-32]), "y": b64(self.der[-32:])}
        else:  # and here with the 32 bytes of the key
            key = {"kty": "OKP", "crv": "Ed25519", "x": b64(self.der[-32:])}
        return key | {"kid": self.kid, "use": "sig", "alg": self.alg} | more

    def sign(self, data):
        if self.alg == "EdDSA":
            with tempfile.NamedTemporaryFile() as f:
                f.write(data)
                f.flush()
                return run("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", f.name)
        der = run("dgst", "-sha256", "-sign", self.path, data=data)
        if self.alg == "RS256":
            return der
        r_bytes = der[3]  # 30 n 02 r_bytes r 02 s_bytes s
        r, s = der[4:4 + r_bytes], der[6 + r_bytes:]
        return b"".join(int.from_bytes(v, "big").to_bytes(32, "big") for v in (r, s))


def token(key, claims=None, header=None, raw_header=None, signature=None):
    head = {"alg": key.alg, "kid": key.kid, "typ": "JWT"} | (header or {})
    head = {k: v for k, v in head.items() if v is not None}
    body = {"iss": "https://id.example.org", "aud": "api", "sub": "ann", "exp": NOW + 300,
            "iat": NOW, "plan": "premium"} | (claims or {})
    body = {k: v for k, v in body.items() if v is not None}
    part = b64((raw_header or json.dumps(head)).encode()) + "." + b64(json.dumps(body).encode())
    signed = key.sign(part.encode()) if signature is None else signature(part.encode())
    return part + "." + b64(signed)


def main():
    with tempfile.TemporaryDirectory() as folder:
        rsa, ec, ed, other = (Key(folder, n, a) for n, a in (
            ("r1", "RS256"), ("e1", "ES256"), ("d1", "EdDSA"), ("r2", "RS256")))
        keys = [rsa.jwk(), ec.jwk(), ed.jwk(), {"kty": "oct", "k": "AAAA", "kid": "secret"},
                other.jwk(use="enc", alg="RSA-OAEP")]
        good = token(rsa)
        head, body, sig = good.split(".")
        changed = b64(json.dumps({"sub": "eve", "exp": NOW + 300}).encode())
        lines = [
            ("rs256", "FINE", good),
            ("es256", "FINE", token(ec)),
            ("eddsa", "FINE", token(ed)),
            ("no_kid", "FINE", token(rsa, header={"kid": None})),
            ("audience_list", "FINE", token(ec, {"aud": ["x", "api"]})),
            ("inside_skew", "FINE", token(ec, {"exp": NOW - 59})),
            ("end_of_skew", "EXPIRED", token(ec, {"exp": NOW - 60})),
            ("begins_in_skew", "FINE", token(ec, {"nbf": NOW + 60})),
            ("begins_later", "EARLY", token(ec, {"nbf": NOW + 61})),
            ("made_later", "EARLY", token(ec, {"iat": NOW + 61})),
            ("no_end", "NO_END", token(ec, {"exp": None})),
            ("end_is_text", "MALFORMED", token(ec, {"exp": "tomorrow"})),
            ("wrong_audience", "AUDIENCE", token(ec, {"aud": "shop"})),
            ("no_audience", "AUDIENCE", token(ec, {"aud": None})),
            ("wrong_issuer", "ISSUER", token(ec, {"iss": "https://evil.example.org"})),
            ("no_subject", "SUBJECT", token(ec, {"sub": None})),
            ("subject_with_line_end", "SUBJECT", token(ec, {"sub": "a\r\nX-Admin: 1"})),
            ("alg_none", "ALGORITHM", token(rsa, header={"alg": "none"}, signature=lambda d: b"\0")),
            ("hs256_with_public_key", "ALGORITHM",
             token(rsa, header={"alg": "HS256"},
                   signature=lambda d: hmac.new(rsa.pem, d, hashlib.sha256).digest())),
            ("signed_by_other", "SIGNATURE", token(other, header={"kid": "r1"})),
            ("key_for_encryption", "KEY", token(other)),
            ("unknown_kid", "KEY", token(rsa, header={"kid": "r9"})),
            ("kid_of_other_kind", "KEY", token(ec, header={"kid": "r1"})),
            ("critical", "CRITICAL", token(rsa, header={"crit": ["exp"]})),
            ("changed_claims", "SIGNATURE", f"{head}.{changed}.{sig}"),
            ("header_twice", "MALFORMED",
             token(rsa, raw_header='{"alg":"none","alg":"RS256","kid":"r1"}')),
            ("no_signature", "MALFORMED", f"{head}.{body}."),
            ("two_parts", "MALFORMED", f"{head}.{body}"),
            ("padded", "MALFORMED", good + "="),
        ]
    with open(os.path.join(HERE, "jwks.json"), "w") as f:
        json.dump({"keys": keys}, f, indent=1)
        f.write("\n")
    with open(os.path.join(HERE, "tokens.txt"), "w") as f:
        f.writelines(" ".join(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
