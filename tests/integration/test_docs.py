# tests/integration/test_docs.py - the pages tell the truth: configurations load, verbs exist.
import json
import os
import pathlib
import re
import subprocess

import jsonschema
import pytest
import yaml

import harness

ROOT = pathlib.Path(harness.ROOT)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml")) + \
    sorted((ROOT / "bench/peers/vivace").glob("*.yaml"))


def configurations():
    """Every YAML block of a page that is a whole file: one with routes."""
    for page in PAGES:
        text = page.read_text()
        for found in re.finditer(r"^```yaml\n(.*?)^```", text, re.S | re.M):
            if re.search(r"^routes:", found.group(1), re.M):
                line = text.count("\n", 0, found.start()) + 1
                yield pytest.param(found.group(1), id="%s:%d" % (page.relative_to(ROOT), line))


def check(path):
    return subprocess.run([harness.binary(), "check", str(path)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=30 * harness.SCALE)


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A key and a certificate in one file: whatever a page calls such a file."""
    path = tmp_path_factory.mktemp("pem") / "both.pem"
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                           "-subj", "/CN=localhost", "-days", "30", "-keyout", "-"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=True)
    path.write_bytes(made.stdout)
    return path


@pytest.mark.parametrize("text", configurations())
def test_a_configuration_of_a_page_is_right(text, tmp_path, pem):
    for name in re.findall(r"[\w-]+\.(?:pem|key)\b", text):
        (tmp_path / name).write_bytes(pem.read_bytes())
    for folder in ("public", "site"):  # what the pages say one has
        (tmp_path / folder).mkdir()
    (tmp_path / "vivace.yaml").write_text(text)
    got = check(tmp_path / "vivace.yaml")
    assert got.returncode == 0 and "warning" not in got.stdout, got.stdout


@pytest.mark.parametrize("path", [p for p in EXAMPLES], ids=lambda p: str(p.relative_to(ROOT)))
def test_an_example_is_right(path, tmp_path, pem):
    words = {"CERT": str(pem), "KEY": str(pem), "PORT": "8080", "ORIGIN_PORT": "3000", "WORKERS": "1", "BODY1K": "x" * 1024}
    text = re.sub(r"@@(\w+)@@", lambda m: words[m.group(1)], path.read_text())
    (tmp_path / "site").mkdir()
    (tmp_path / path.name).write_text(text)
    got = check(tmp_path / path.name)
    assert got.returncode == 0, got.stdout


def schema():
    return jsonschema.Draft7Validator(json.loads(subprocess.run(
        [harness.binary(), "config", "schema"], stdout=subprocess.PIPE, text=True).stdout))


@pytest.mark.parametrize("path", [p for p in EXAMPLES if "bench" not in p.parts],
                         ids=lambda p: str(p.relative_to(ROOT)))
def test_an_example_fits_the_schema(path):
    """What an editor would say of it."""
    wrong = [(list(e.path), e.message) for e in schema().iter_errors(yaml.safe_load(path.read_text()))]
    assert wrong == []


@pytest.mark.parametrize("route, fits", [
    ({"limit": "100/s"}, True),
    ({"limit": [{"per": "all", "rate": "5/s"}, "7/min"]}, True),
    ({"limit": {"rat": "5/s"}}, False),
    ({"fallback": {"any": [1.5, None, {"deep": True}]}}, True),
    ({"access": ["bearer", "basic"]}, True),
    ({"priority": "urgent"}, False),
    ({"compose": {"parts": {"a": {"to": "b", "fallback": []}}}}, True),
    ({"compose": {"timeout": "5s"}}, False),
    ({"canary": {"to": "b", "share": "5%"}, "mirror": "b"}, True),
    ({"canary": {"to": "b", "share": 5}}, False),
])
def test_the_schema_knows_guards(route, fits):
    assert schema().is_valid({"listen": 80, "routes": [route]}) is fits


def test_every_verb_of_the_pages_exists():
    known = set(re.findall(r"^  (\w+) ", subprocess.run(
        [harness.binary(), "help"], stdout=subprocess.PIPE, text=True).stdout, re.M))
    assert "run" in known
    used = set()
    for page in PAGES:
        if "reference" in page.parts:
            continue
        used |= set(re.findall(r"(?:^ +(?:build/)?|`(?:build/)?)vivace ([a-z]+)", page.read_text(), re.M))
        used |= set(re.findall(r"^ {4}v ([a-z]+)", page.read_text(), re.M))
    assert {"check", "run", "top", "reload", "server"} <= used
    assert used <= known


def test_every_verb_of_dev_in_the_pages_exists():
    out = subprocess.run([os.path.join(harness.ROOT, "dev"), "help"], stdout=subprocess.PIPE,
                         text=True).stdout
    known = set(re.findall(r"^  ([a-z-]+)", out, re.M))
    for page in PAGES + [ROOT / "bench/README.md"]:
        used = set(re.findall(r"\./dev ([a-z-]+)", page.read_text()))
        assert used <= known, page
