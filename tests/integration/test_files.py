# tests/integration/test_files.py - the files action: ranges, validators, siblings, and no way out.
import email.utils
import gzip
import hashlib
import os
import time

import pytest

from harness import MIB, SANITIZER, request, wait_for

BODY = bytes(range(256)) * 40  # 10,240 bytes, every position tells where it is


@pytest.fixture
def site(tmp_path):
    root = tmp_path / "public"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<h1>home</h1>")
    (root / "sub" / "index.html").write_text("<h1>sub</h1>")
    (root / "sub" / "page.html").write_text("page")
    (root / "data.bin").write_bytes(BODY)
    (root / "a b.txt").write_text("with a space")
    (root / "\u00e9.txt").write_text("accent")
    (root / "empty.txt").write_text("")
    (root / ".secret").write_text("hidden")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("hidden")
    (root / "app.js").write_text("x" * 5000)
    (root / "app.js.gz").write_bytes(gzip.compress(b"x" * 5000))
    (root / "app.js.br").write_bytes(b"not really brotli")
    (tmp_path / "outside.txt").write_text("outside")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "linkdir").symlink_to(tmp_path)
    (root / "inside-link.txt").symlink_to("data.bin")
    (root / "noindex").mkdir()
    (root / "noindex" / "file.txt").write_text("f")
    return root


@pytest.fixture
def web(gateway, site):
    def make(route=None, **files):
        return gateway({"routes": [dict({"path": "/", "files": dict({"root": str(site)}, **files)}, **(route or {}))]})

    return make


def test_files_are_served_with_their_type(web):
    gw = web()
    wanted = {
        "/data.bin": ("application/octet-stream", BODY),
        "/sub/page.html": ("text/html", b"page"),
        "/a%20b.txt": ("text/plain", b"with a space"),
        "/%C3%A9.txt": ("text/plain", b"accent"),
        "/empty.txt": ("text/plain", b""),
        "/": ("text/html", b"<h1>home</h1>"),
        "/sub/": ("text/html", b"<h1>sub</h1>"),
        "/data.bin?v=1": ("application/octet-stream", BODY),
    }
    with gw.client() as c:
        for path, (kind, body) in wanted.items():
            answer = c.ask(path)
            assert answer.status == 200, path
            assert answer.body == body, path
            assert answer.get("Content-Type").startswith(kind), path
            assert answer.get("Content-Length") == str(len(body))
            assert answer.has("ETag") and answer.has("Last-Modified")
            assert answer.get("Accept-Ranges") == "bytes"
        assert c.ask("/app.js").get("Content-Type").startswith(("text/javascript", "application/javascript"))


def test_what_is_not_there_is_404(web):
    gw = web()
    with gw.client() as c:
        for path in ("/none", "/sub/none.html", "/data.bin/x", "/noindex/"):
            assert c.ask(path).status in (403, 404), path
        assert c.ask("/data.bin").status == 200


def test_a_directory_redirects_to_its_slash(web):
    gw = web()
    with gw.client() as c:
        answer = c.ask("/sub?a=b", host="h.example")
        assert answer.status in (301, 302, 307, 308)
        assert answer.get("Location").endswith("/sub/?a=b")
        assert "//sub" not in answer.get("Location").replace("http://", "")


def test_only_get_and_head_read_files(web):
    gw = web()
    with gw.client() as c:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = c.ask("/data.bin", method, body=b"x")
            assert answer.status == 405 and "GET" in answer.get("Allow"), method
        head = c.ask("/data.bin", "HEAD")
        assert head.status == 200 and head.get("Content-Length") == str(len(BODY))
        assert c.ask("/data.bin").body == BODY


@pytest.mark.parametrize(
    "spec, first, last",
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-9", 0, 9),
        ("bytes=100-199", 100, 199),
        ("bytes=10000-", 10000, 10239),
        ("bytes=-5", 10235, 10239),
        ("bytes=10239-99999", 10239, 10239),
        ("bytes=-99999", 0, 10239),
    ],
)
def test_one_range(web, spec, first, last):
    gw = web()
    with gw.client() as c:
        answer = c.ask("/data.bin", headers={"Range": spec})
        assert answer.status == 206
        assert answer.get("Content-Range") == f"bytes {first}-{last}/{len(BODY)}"
        assert answer.body == BODY[first : last + 1]
        head = c.ask("/data.bin", "HEAD", headers={"Range": spec})
        assert head.status in (200, 206)
        assert c.ask("/").status == 200


@pytest.mark.parametrize("spec", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_outside_is_416(web, spec):
    gw = web()
    answer = gw.ask("/data.bin", headers={"Range": spec})
    assert answer.status == 416
    assert answer.get("Content-Range") == f"bytes */{len(BODY)}"


@pytest.mark.parametrize("spec", ["lines=1-2", "bytes", "bytes=", "bytes=a-b", "bytes=9-5", "bytes=1", "bytes=--5"])
def test_a_range_that_does_not_parse_is_ignored(web, spec):
    gw = web()
    answer = gw.ask("/data.bin", headers={"Range": spec})
    assert answer.status in (200, 416) and (answer.status == 416 or answer.body == BODY)


def test_several_ranges(web):
    """RFC 9110 14.2: a server may answer several ranges in parts, or ignore the field."""
    gw = web()
    answer = gw.ask("/data.bin", headers={"Range": "bytes=0-9,100-109"})
    if answer.status == 206:
        kind = answer.get("Content-Type")
        assert kind.startswith("multipart/byteranges; boundary=")
        mark = b"--" + kind.split("boundary=")[1].strip('"').encode()
        parts = answer.body.split(mark)[1:-1]
        assert [p.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for p in parts] == [BODY[0:10], BODY[100:110]]
    else:
        assert answer.status == 200 and answer.body == BODY


def test_if_range(web):
    gw = web()
    with gw.client() as c:
        whole = c.ask("/data.bin")
        tag, date = whole.get("ETag"), whole.get("Last-Modified")
        ranged = {"Range": "bytes=0-4"}
        assert c.ask("/data.bin", headers={**ranged, "If-Range": '"other"'}).status == 200
        if not tag.startswith("W/"):
            assert c.ask("/data.bin", headers={**ranged, "If-Range": tag}).status == 206
        old = email.utils.formatdate(time.time() - 10**6, usegmt=True)
        assert c.ask("/data.bin", headers={**ranged, "If-Range": old}).status == 200
        assert c.ask("/data.bin", headers={**ranged, "If-Range": date}).status in (200, 206)


def test_conditions(web):
    gw = web()
    past = email.utils.formatdate(time.time() - 10**6, usegmt=True)
    with gw.client() as c:
        whole = c.ask("/data.bin")
        tag, date = whole.get("ETag"), whole.get("Last-Modified")
        for headers, status in (
            ({"If-None-Match": tag}, 304),
            ({"If-None-Match": f'"x", {tag}'}, 304),
            ({"If-None-Match": f"W/{tag}" if not tag.startswith("W/") else tag[2:]}, 304),
            ({"If-None-Match": "*"}, 304),
            ({"If-None-Match": '"x"'}, 200),
            ({"If-Modified-Since": date}, 304),
            ({"If-Modified-Since": past}, 200),
            ({"If-Modified-Since": "garbage"}, 200),
            ({"If-None-Match": '"x"', "If-Modified-Since": date}, 200),
            ({"If-Match": '"x"'}, 412),
            ({"If-Match": "*"}, 200),
            ({"If-Unmodified-Since": past}, 412),
            ({"If-Unmodified-Since": date}, 200),
        ):
            answer = c.ask("/data.bin", headers=headers)
            assert answer.status == status, (headers, answer.status)
            if status == 304:
                assert answer.get("ETag") == tag
                assert answer.body == b"" and not answer.has("Content-Type")


def test_the_tag_changes_with_the_file(web, site):
    gw = web()
    before = gw.ask("/data.bin").get("ETag")
    (site / "data.bin").write_bytes(BODY[::-1] + b"more")
    # A file is asked once in a turn of the loop: the turn that sent the first answer may still run.
    after = wait_for("the new content", lambda: [a for a in [gw.ask("/data.bin")] if a.body == BODY[::-1] + b"more"])
    assert after[0].get("ETag") != before


def test_a_compressed_sibling_is_sent_to_who_accepts_it(web):
    gw = web()
    with gw.client() as c:
        plain = c.ask("/app.js")
        assert not plain.has("Content-Encoding") and plain.body == b"x" * 5000
        assert "accept-encoding" in plain.get("Vary", "").lower()
        zipped = c.ask("/app.js", headers={"Accept-Encoding": "gzip"})
        assert zipped.get("Content-Encoding") == "gzip"
        assert gzip.decompress(zipped.body) == b"x" * 5000
        assert zipped.get("Content-Type") == plain.get("Content-Type")
        assert zipped.get("ETag") != plain.get("ETag")
        best = c.ask("/app.js", headers={"Accept-Encoding": "gzip, deflate, br"})
        assert best.get("Content-Encoding") == "br" and best.body == b"not really brotli"
        refused = c.ask("/app.js", headers={"Accept-Encoding": "gzip;q=0, br;q=0"})
        assert not refused.has("Content-Encoding")
        lone = c.ask("/data.bin", headers={"Accept-Encoding": "gzip"})
        assert not lone.has("Content-Encoding")
        answer = c.ask("/app.js", headers={"Accept-Encoding": "gzip", "If-None-Match": zipped.get("ETag")})
        assert answer.status == 304


def test_precompressed_can_be_switched_off(web):
    gw = web(precompressed=False)
    assert not gw.ask("/app.js", headers={"Accept-Encoding": "gzip"}).has("Content-Encoding")


def test_fallback_serves_single_page_apps(web):
    gw = web({"fallback": "index.html"})
    with gw.client() as c:
        answer = c.ask("/deep/app/route")
        assert answer.status == 200 and answer.body == b"<h1>home</h1>"
        assert c.ask("/data.bin").body == BODY


def test_a_prefix_is_taken_off(gateway, site):
    gw = gateway({"routes": [{"path": "/static/", "files": str(site)}, {"path": "/", "respond": {"body": "x"}}]})
    with gw.client() as c:
        assert c.ask("/static/data.bin").body == BODY
        assert c.ask("/static/sub/page.html").body == b"page"
        assert c.ask("/data.bin").body == b"x"


ESCAPES = [
    "/../outside.txt",
    "/sub/../../outside.txt",
    "/%2e%2e/outside.txt",
    "/%2E%2E%2Foutside.txt",
    "/..%2foutside.txt",
    "/sub/..%2f..%2foutside.txt",
    "/..%5coutside.txt",
    "/....//outside.txt",
    "/%252e%252e/outside.txt",
    "/.%2e/outside.txt",
    "/sub/%2e%2e/%2e%2e/outside.txt",
    "//outside.txt",
    "/../public/../outside.txt",
    "/%00/outside.txt",
    "/outside.txt%00.html",
    "/data.bin%00",
    "/%c0%ae%c0%ae/outside.txt",
    "/link.txt",
    "/linkdir/outside.txt",
    "/linkdir/public/data.bin",
    "/..;/outside.txt",
    "/./../outside.txt",
    "/sub/.../outside.txt",
    "http://h/../outside.txt",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_no_way_out_of_the_root(web, path):
    gw = web()
    with gw.client() as c:
        c.send(request(path))
        answer = c.answer()
        assert answer.status in (400, 403, 404), (path, answer.status, answer.body[:50])
        assert b"outside" not in answer.body


@pytest.mark.parametrize("path", ["/.secret", "/.git/config", "/.git/", "/sub/../.secret", "/%2esecret"])
def test_hidden_files_stay_hidden(web, path):
    gw = web()
    answer = gw.ask(path)
    assert answer.status in (400, 403, 404) and b"hidden" not in answer.body


def test_hidden_files_can_be_shown(web):
    gw = web(hidden=True)
    assert gw.ask("/.secret").body == b"hidden"


def test_a_link_inside_the_root_is_fine(web):
    gw = web()
    assert gw.ask("/inside-link.txt").body == BODY


def test_special_files_are_not_read(web, site):
    os.mkfifo(site / "pipe")
    gw = web()
    assert gw.ask("/pipe").status in (403, 404)
    assert gw.ask("/data.bin").status == 200, "nobody waits for the pipe"


def test_an_unreadable_file_is_refused(web, site):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (site / "locked.txt").write_text("x")
    (site / "locked.txt").chmod(0)
    gw = web()
    assert gw.ask("/locked.txt").status in (403, 404)


@pytest.mark.slow
def test_a_big_file_arrives_whole(web, site):
    size = (512 if not SANITIZER else 64) * MIB
    block = os.urandom(MIB)
    with open(site / "big.bin", "wb") as f:
        f.truncate(size)
        for at in (0, size // 2, size - MIB):
            f.seek(at)
            f.write(block)
    gw = web()
    seen, got = hashlib.sha1(), 0
    with gw.client() as c:
        c.send(request("/big.bin"))
        c.head()
        seen.update(c.buf)
        got = len(c.buf)
        space = bytearray(MIB)
        while got < size:
            n = c.sock.recv_into(space)
            assert n > 0
            seen.update(memoryview(space)[:n])
            got += n
        c.buf = b""
        assert c.ask("/data.bin").body == BODY
        part = c.ask("/big.bin", headers={"Range": f"bytes={size - 10}-"})
        assert part.body == block[-10:]
    want = hashlib.sha1()
    with open(site / "big.bin", "rb") as f:
        while data := f.read(MIB):
            want.update(data)
    assert seen.digest() == want.digest()


def test_pipelined_files_keep_their_order(web):
    gw = web()
    paths = ["/data.bin", "/sub/page.html", "/none", "/a%20b.txt", "/empty.txt", "/data.bin"] * 3
    with gw.client() as c:
        c.send(b"".join(request(p) for p in paths))
        got = [c.answer() for _ in paths]
    assert [a.status for a in got] == [200, 200, 404, 200, 200, 200] * 3
    assert got[0].body == BODY and got[1].body == b"page" and got[-1].body == BODY


def test_expires_sets_cache_control(web):
    gw = web({"expires": "30d"})
    assert "max-age=2592000" in gw.ask("/data.bin").get("Cache-Control")


def test_expires_and_cache_control_are_one_field(web):
    """S0-134: one merged field; what is not there must not be kept as long."""
    gw = web({"expires": "30d", "headers": {"Cache-Control": "public, immutable"}})
    assert gw.ask("/data.bin").all("Cache-Control") == ["public, max-age=2592000, immutable"]
    assert gw.ask("/nothing").all("Cache-Control") == ["no-store"]


# ---- files that stay open ----


def test_every_change_of_a_file_shows(web, site):
    gw = web()
    page = site / "sub" / "page.html"
    with gw.client() as c:
        seen = set()
        for i in range(20):
            text = f"page {i:03}"
            if i % 2:
                page.write_text(text)
            else:
                (site / "new").write_text(text)
                (site / "new").rename(page)
            for _ in range(3):  # the third may come out of memory
                answer = c.ask("/sub/page.html")
                assert answer.body == text.encode()
            seen.add(answer.get("ETag"))
        assert len(seen) >= 10, "replacing makes a new tag each time"
        page.unlink()
        assert c.ask("/sub/page.html").status == 404
        page.write_text("back")
        wait_for("the new name", lambda: c.ask("/sub/page.html").status == 200)
        assert c.ask("/sub/page.html").body == b"back"


def test_what_is_kept_of_files_is_counted(web):
    gw = web()
    with gw.client() as c:

        def contents():
            assert c.ask("/data.bin").body == BODY
            return gw.metric("vivace_files_cached_bytes") == len(BODY)

        wait_for("contents in memory", contents)  # what was just written is not kept
    assert gw.metric("vivace_files_open") == 1


def test_a_renamed_folder_shows(web, site):
    gw = web()
    with gw.client() as c:
        assert c.ask("/sub/page.html").body == b"page"
        (site / "sub").rename(site / "old")
        (site / "sub").mkdir()
        (site / "sub" / "page.html").write_text("other")
        wait_for("the other folder", lambda: c.ask("/sub/page.html").body == b"other")
        assert c.ask("/old/page.html").body == b"page"


def test_a_hot_file_answers_ranges_conditions_and_head(web):
    gw = web()
    with gw.client() as c:
        for _ in range(4):
            whole = c.ask("/data.bin")
            assert whole.body == BODY
            part = c.ask("/data.bin", headers={"Range": "bytes=5000-5009"})
            assert part.status == 206 and part.body == BODY[5000:5010]
            parts = c.ask("/data.bin", headers={"Range": "bytes=0-4,10-14"})
            assert parts.status == 206 and BODY[10:15] in parts.body
            head = c.ask("/data.bin", "HEAD")
            assert head.status == 200 and head.get("Content-Length") == str(len(BODY)) and head.body == b""
            same = c.ask("/data.bin", headers={"If-None-Match": whole.get("ETag")})
            assert same.status == 304 and same.body == b""
            assert c.ask("/data.bin", headers={"Range": "bytes=99999-"}).status == 416


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def worker_pid(gw):
    """The child that carries traffic, or the process itself."""
    with open(f"/proc/{gw.pid}/task/{gw.pid}/children") as f:
        children = f.read().split()
    return int(children[0]) if children else gw.pid


def test_descriptors_stay_bounded(gateway, site):
    many = 1500  # the bound is 1024 for each worker
    for i in range(many):
        (site / f"m{i}.txt").write_text(str(i))
    gw = gateway({"workers": 1, "routes": [{"path": "/", "files": str(site)}]})
    with gw.client() as c:
        c.ask("/data.bin")
        before = descriptors(worker_pid(gw))
        for at in range(0, many, 50):
            c.send(b"".join(request(f"/m{i}.txt") for i in range(at, at + 50)))
            assert [c.answer().body for _ in range(50)] == [str(i).encode() for i in range(at, at + 50)]
        assert descriptors(worker_pid(gw)) - before <= 1024
        assert c.ask("/m0.txt").body == b"0"


def test_a_process_without_descriptors_still_serves_files(gateway, site):
    import resource

    for i in range(60):
        (site / f"m{i}.txt").write_text(str(i))
    gw = gateway({"workers": 1, "routes": [{"path": "/", "files": str(site)}]})
    pid = worker_pid(gw)
    with gw.client() as c:
        assert c.ask("/m0.txt").body == b"0"
        highest = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 10, 20000))
        for i in range(60):
            answer = c.ask(f"/m{i}.txt")
            assert answer.status == 200 and answer.body == str(i).encode(), i


def test_a_reload_takes_the_swapped_root(gateway, site, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "data.bin").write_bytes(b"other")
    link = tmp_path / "current"
    link.symlink_to(site)
    gw = gateway({"routes": [{"path": "/", "files": str(link)}]})
    with gw.client() as c:
        assert c.ask("/data.bin").body == BODY
        (tmp_path / "next").symlink_to(other)
        (tmp_path / "next").rename(link)
        assert c.ask("/data.bin").body == BODY, "the opened folder stays until the reload"
        gw.reload()
        assert c.ask("/data.bin").body == b"other"
        assert c.ask("/sub/page.html").status == 404


# ---- compressed copies that the gateway makes ----


def text(size, seed=1):
    """Text that compresses well."""
    return (b"%d the quick brown fox; " % seed * (size // 20 + 1))[:size]


@pytest.fixture
def compressing(gateway, site):
    def make(**compress):
        route = {"path": "/", "files": {"root": str(site)}, "compress": compress}
        return gateway({"workers": 1, "routes": [route]})

    return make


AGO = time.time() - 3600


def settled(path, data):
    """Writes a file. What is younger than a tenth of a second is never compressed."""
    path.write_bytes(data)
    os.utime(path, (AGO, AGO))


def zipped(c, path, seconds=None):
    """The gzip answer, once it is there."""
    return wait_for(
        "a gzip copy of " + path,
        lambda: (a := c.ask(path, headers={"Accept-Encoding": "gzip"})).get("Content-Encoding") == "gzip" and a,
        seconds,
    )


def test_files_are_compressed_ahead_from_the_minimum_on(compressing, site):
    """S0-113: js, css, html, svg; from 8192 bytes on; at most 0.8 of the file."""
    for name, size in (("a.js", 8192), ("b.js", 8191), ("c.svg", 9000), ("d.html", 9000), ("e.bin", 9000)):
        settled(site / name, text(size))
    settled(site / "noise.css", os.urandom(9000))
    gw = compressing(ahead=True, min=8192, max_ratio="80%", encodings=["gzip"])
    with gw.client() as c:
        for name, size in (("a.js", 8192), ("c.svg", 9000), ("d.html", 9000)):
            plain = c.ask("/" + name)
            assert plain.body == text(size) and plain.get("Vary") == "Accept-Encoding"
            answer = zipped(c, "/" + name)
            assert gzip.decompress(answer.body) == text(size)
            assert len(answer.body) <= 0.8 * size
            assert answer.get("Vary") == "Accept-Encoding"
            assert answer.get("Content-Type") == plain.get("Content-Type")
            assert answer.get("ETag") != plain.get("ETag")
            assert c.ask("/" + name).body == text(size), "others still get the file"
            tag = answer.get("ETag")
            same = c.ask("/" + name, headers={"Accept-Encoding": "gzip", "If-None-Match": tag})
            assert same.status == 304 and same.get("ETag") == tag
            head = c.ask("/" + name, "HEAD", headers={"Accept-Encoding": "gzip"})
            assert head.get("Content-Length") == str(len(answer.body)) and head.body == b""
            part = c.ask("/" + name, headers={"Accept-Encoding": "gzip", "Range": "bytes=10-19"})
            assert part.status == 206 and part.body == answer.body[10:20]
        for name in ("b.js", "e.bin", "noise.css"):
            for _ in range(5):
                answer = c.ask("/" + name, headers={"Accept-Encoding": "gzip"})
                assert not answer.has("Content-Encoding"), name
                assert answer.body == (site / name).read_bytes()
                time.sleep(0.02)


def test_a_sibling_comes_before_a_copy_of_ours(compressing, site):
    settled(site / "s.js", text(9000))
    settled(site / "s.js.gz", gzip.compress(b"sibling"))
    gw = compressing(ahead=True, encodings=["gzip"])
    with gw.client() as c:
        answer = c.ask("/s.js", headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(answer.body) == b"sibling"


def test_without_ahead_the_first_answer_is_compressed(compressing, site):
    settled(site / "w.js", text(100000))
    settled(site / "small.js", text(999))
    settled(site / "just.js", text(1000))
    gw = compressing(min=1000, encodings=["gzip"])
    time.sleep(0.2)  # so that nothing counts as just written
    with gw.client() as c:
        c.send(request("/data.bin") + request("/w.js", headers={"Accept-Encoding": "gzip"}) + request("/sub/page.html"))
        first, answer, last = c.answer(), c.answer(), c.answer()
        assert first.body == BODY and last.body == b"page"
        assert answer.get("Content-Encoding") == "gzip"
        assert gzip.decompress(answer.body) == text(100000)
        assert not c.ask("/small.js", headers={"Accept-Encoding": "gzip"}).has("Content-Encoding")
        assert c.ask("/just.js", headers={"Accept-Encoding": "gzip"}).get("Content-Encoding") == "gzip"
    clients = [gw.client() for _ in range(8)]
    settled(site / "w.js", text(200000, 2))
    time.sleep(0.2)
    for c in clients:
        c.send(request("/w.js", headers={"Accept-Encoding": "gzip"}))
    clients[0].close()
    for c in clients[1:]:
        answer = c.answer()
        assert answer.get("Content-Encoding") == "gzip"
        assert gzip.decompress(answer.body) == text(200000, 2)
        c.close()


def test_a_changed_file_gets_a_new_copy(compressing, site):
    settled(site / "v.js", text(9000))
    gw = compressing(ahead=True, encodings=["gzip"])
    with gw.client() as c:
        before = zipped(c, "/v.js")
        settled(site / "v.js", text(9500, 7))
        assert c.ask("/v.js", headers={"Accept-Encoding": "gzip"}).body != before.body
        after = zipped(c, "/v.js")
        assert gzip.decompress(after.body) == text(9500, 7)
        assert after.get("ETag") != before.get("ETag")
