# tests/integration/test_compression.py - answers compressed on their way, and stored in codings.
"""Every coded body is decoded by the library of its format and compared byte for byte."""

import ctypes
import random
import threading
import time
import zlib

import pytest

from harness import (
    MIB,
    PATIENCE,
    SANITIZER,
    Answer,
    Closed,
    chunks,
    memory_kib,
    ok,
    request,
    wait_for,
)

TEXT = {"Content-Type": "text/plain"}
CODINGS = ["gzip", "br", "zstd"]
PAGE = "".join(f"line {i} of a page that repeats itself {i % 7}\n" for i in range(3000)).encode()


def _brotli(data, size):
    lib = ctypes.CDLL("libbrotlidec.so.1")
    out = ctypes.create_string_buffer(size + 1)
    n = ctypes.c_size_t(size + 1)
    assert lib.BrotliDecoderDecompress(ctypes.c_size_t(len(data)), data, ctypes.byref(n), out) == 1
    return out.raw[: n.value]


def _zstd(data, size):
    lib = ctypes.CDLL("libzstd.so.1")
    lib.ZSTD_decompress.restype = ctypes.c_size_t
    out = ctypes.create_string_buffer(size + 1)
    n = lib.ZSTD_decompress(out, ctypes.c_size_t(size + 1), data, ctypes.c_size_t(len(data)))
    assert not lib.ZSTD_isError(ctypes.c_size_t(n))
    return out.raw[:n]


def decode(answer, size):
    """The body without its coding; a cut or lengthened stream fails."""
    coding = answer.get("Content-Encoding")
    if coding == "gzip":
        d = zlib.decompressobj(31)
        body = d.decompress(answer.body)
        assert d.eof and not d.unused_data
        return body
    return {"br": _brotli, "zstd": _zstd}[coding](answer.body, size)


def accept(value):
    return {"Accept-Encoding": value}


@pytest.fixture
def site(proxy):
    """site(body, fields..., compress={...}): one answer behind a route that compresses."""

    def make(body=PAGE, fields=None, compress=None, answer=None, **config):
        fields = dict(TEXT, **(fields or {}))
        route = {"compress": compress or {"encodings": CODINGS}}
        route.update(config.pop("route", {}))
        gw, server = proxy(answer=answer or (lambda req: ok(body, headers=fields)), route=route, **config)
        return gw, server

    return make


# ------------------------------------------------------------------------------------ what is sent


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [1024, 16384, 65536, len(PAGE)])
def test_a_body_survives_its_coding(site, coding, size):
    gw, _ = site(PAGE[:size])
    with gw.client() as c:
        for _ in range(3):  # on one connection: contexts are used again
            a = c.ask(headers=accept(coding))
            assert a.status == 200 and a.get("Content-Encoding") == coding
            assert decode(a, size) == PAGE[:size]
            assert not a.has("Content-Length")
            assert a.get("Vary") == "Accept-Encoding"
            assert len(a.body) < size / 2


@pytest.mark.parametrize("coding", CODINGS)
def test_chunks_of_any_size_survive(site, coding):
    parts = [PAGE[i : i + n] for i, n in ((0, 1), (1, 7), (8, 4000), (4008, 30000), (34008, 50000))]
    body = b"".join(parts)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked\r\n\r\n"
    gw, _ = site(answer=lambda req: head + chunks(*parts))
    with gw.client() as c:
        for _ in range(3):
            assert decode(c.ask(headers=accept(coding)), len(body)) == body


@pytest.mark.parametrize(
    "wish,coding",
    [
        ("gzip, br, zstd", "gzip"),  # of equal weight the first of the route's list
        ("gzip;q=0.5, br;q=0.9", "br"),
        ("gzip;q=0, *;q=0.1", "br"),
        ("*", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=0", None),
        ("", None),
        (None, None),
    ],
)
def test_the_client_chooses(site, wish, coding):
    gw, _ = site()
    with gw.client() as c:
        a = c.ask(headers={} if wish is None else accept(wish))
        assert a.get("Content-Encoding") == coding
        assert a.get("Vary") == "Accept-Encoding", "the choice depended on it, whatever it was"
        assert (decode(a, len(PAGE)) if coding else a.body) == PAGE


@pytest.mark.parametrize(
    "why,fields,size",
    [
        ("never twice", {"Content-Encoding": "gzip"}, 5000),
        ("no-transform", {"Cache-Control": "public, no-transform"}, 5000),
        ("a digest", {"Repr-Digest": "sha-256=:AAAA:"}, 5000),
        ("an image", {"Content-Type": "image/png"}, 5000),
        ("too small", {}, 1023),
        ("empty", {}, 0),
    ],
)
def test_what_is_left_as_it_is(site, why, fields, size):
    gw, _ = site(PAGE[:size], dict({"ETag": '"v1"'}, **fields))
    with gw.client() as c:
        a = c.ask(headers=accept("gzip"))
        assert a.body == PAGE[:size], why
        assert a.get("Content-Encoding") == fields.get("Content-Encoding")
        assert a.get("ETag") == '"v1"' and not a.has("Vary")
        assert a.get("Content-Length") == str(size)


@pytest.mark.parametrize("status", ["206 Partial Content", "416 Range Not Satisfiable"])
def test_parts_stay_parts(site, status):
    fields = {**TEXT, "Content-Range": "bytes 0-4999/9000"}
    gw, _ = site(answer=lambda req: ok(PAGE[:5000], status, fields))
    with gw.client() as c:
        a = c.ask(headers={"Range": "bytes=0-4999", **accept("gzip")})
        assert a.body == PAGE[:5000] and not a.has("Content-Encoding")


def test_error_pages_are_pages(site):
    gw, _ = site(answer=lambda req: ok(PAGE, "404 Not Found", TEXT))
    with gw.client() as c:
        a = c.ask(headers=accept("gzip"))
        assert a.status == 404 and decode(a, len(PAGE)) == PAGE


def test_a_route_may_refuse(site):
    gw, _ = site(compress=False, route={"compress": False})
    with gw.client() as c:
        a = c.ask(headers=accept("gzip"))
        assert a.body == PAGE and not a.has("Vary")


# ------------------------------------------------------------------------------------ the head says


@pytest.mark.parametrize(
    "vary,merged",
    [
        ("Origin", "Origin, Accept-Encoding"),
        ("accept-encoding", "accept-encoding"),
        ("*", "*"),
    ],
)
def test_vary_is_merged(site, vary, merged):
    gw, _ = site(fields={"Vary": vary})
    with gw.client() as c:
        assert c.ask(headers=accept("gzip")).all("Vary") == [merged]


def test_ranges_are_not_offered_for_coded_bytes(site):
    gw, _ = site(fields={"Accept-Ranges": "bytes"})
    with gw.client() as c:
        assert not c.ask(headers=accept("gzip")).has("Accept-Ranges")
        assert c.ask().get("Accept-Ranges") == "bytes"


@pytest.mark.parametrize("tag,coded", [('"a"', 'W/"a"'), ('W/"a"', 'W/"a"')])
def test_the_tag_of_coded_bytes_is_weak(site, tag, coded):
    gw, _ = site(fields={"ETag": tag})
    with gw.client() as c:
        assert c.ask(headers=accept("gzip")).get("ETag") == coded
        assert c.ask().get("ETag") == tag


@pytest.mark.parametrize("sent,back", [('W/"a"', 'W/"a"'), ('"a"', '"a"'), ('W/"b", "a"', '"a"')])
def test_a_304_has_the_tag_in_the_clients_form(site, sent, back):
    def answer(req):
        assert '"a"' in req.get("If-None-Match")
        return ok(b"", "304 Not Modified", {"ETag": '"a"', "Vary": "Origin"}, length=False)

    gw, _ = site(answer=answer)
    with gw.client() as c:
        a = c.ask(headers={"If-None-Match": sent, **accept("gzip")})
        assert a.status == 304 and a.get("ETag") == back
        assert a.get("Vary") == "Origin, Accept-Encoding"
        assert not a.has("Content-Encoding")


def test_head_says_what_get_would(site):
    def answer(req):
        whole = ok(PAGE, headers={**TEXT, "ETag": '"a"'})
        return whole[: -len(PAGE)] if req.method == "HEAD" else whole

    gw, _ = site(answer=answer)
    with gw.client() as c:
        get = c.ask(headers=accept("gzip"))
        head = c.ask(method="HEAD", headers=accept("gzip"))
        for name in ("Content-Encoding", "Vary", "ETag", "Content-Type"):
            assert head.get(name) == get.get(name), name
        assert not head.has("Content-Length")
        assert c.ask(method="HEAD").get("Content-Length") == str(len(PAGE))


def test_edits_of_the_route_count(site):
    """What the route says of the answer is what is judged: type, coding and Vary."""
    gw, _ = site(
        fields={"Content-Type": "application/x-unknown", "Vary": "Cookie"},
        route={"headers": {"Content-Type": "text/html", "Vary": "Origin"}},
    )
    with gw.client() as c:
        a = c.ask(headers=accept("gzip"))
        assert decode(a, len(PAGE)) == PAGE
        assert sorted(a.all("Vary")) == ["Accept-Encoding", "Origin"]


def test_an_edit_can_forbid(site):
    gw, _ = site(route={"headers": {"Cache-Control": "no-transform"}})
    with gw.client() as c:
        assert c.ask(headers=accept("gzip")).body == PAGE


def test_http_1_0_is_not_coded(site):
    gw, _ = site()
    with gw.client() as c:
        a = c.ask(version="HTTP/1.0", headers=accept("gzip"))
        assert a.body == PAGE and not a.has("Content-Encoding")


def test_pipelined_answers_keep_their_order(site):
    gw, _ = site(answer=lambda req: ok(PAGE[:2000] + req.target.encode(), headers=TEXT))
    with gw.client() as c:
        c.send(b"".join(request(f"/{i}", headers=accept("gzip" if i % 2 else "identity")) for i in range(10)))
        for i in range(10):
            a = c.answer()
            body = decode(a, 4000) if i % 2 else a.body
            assert body == PAGE[:2000] + b"/%d" % i


# -------------------------------------------------------------------------------------- on the way


def test_an_event_is_not_held_up(proxy):
    """Each event of a stream is decodable before the next is sent."""
    gate = threading.Semaphore(0)

    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(5):
            gate.acquire(timeout=PATIENCE)
            event = b"data: %d\n\n" % i
            conn.send(b"%x\r\n%s\r\n" % (len(event), event))
        gate.acquire(timeout=PATIENCE)
        conn.send(b"0\r\n\r\n")

    gw, _ = proxy(handler, route={"compress": {"encodings": ["gzip"], "types": ["text/event-stream"]}})
    with gw.client() as c:
        c.send(request(headers=accept("gzip")))
        head = c.head()  # before any event
        assert b"Content-Encoding: gzip" in head
        d = zlib.decompressobj(31)
        slowest = 0.0
        for i in range(5):
            begin = time.monotonic()
            gate.release()
            want, got = b"data: %d\n\n" % i, b""
            while got != want:
                size = int(c.until(b"\r\n"), 16)
                got += d.decompress(c.take(size + 2)[:-2])
                assert want.startswith(got)
            slowest = max(slowest, time.monotonic() - begin)
        gate.release()
        rest = c.chunked()
        d.decompress(rest)
        assert d.eof
        print(f"slowest event: {slowest * 1000:.1f} ms")


def test_a_known_length_that_stalls_is_sent_on(proxy):
    gate = threading.Event()

    def handler(conn):
        conn.read_request()
        whole = ok(PAGE, headers=TEXT)
        conn.send(whole[:-1000])
        gate.wait(PATIENCE)
        conn.send(whole[-1000:])

    gw, _ = proxy(handler, route={"compress": {"encodings": ["gzip"]}})
    with gw.client() as c:
        c.send(request(headers=accept("gzip")))
        c.head()
        d = zlib.decompressobj(31)
        got = b""
        while len(got) < len(PAGE) - 1000:
            size = int(c.until(b"\r\n"), 16)
            got += d.decompress(c.take(size + 2)[:-2])
        gate.set()
        got += d.decompress(c.chunked())
        assert got == PAGE and d.eof


@pytest.mark.parametrize("coding", CODINGS)
def test_a_slow_client_holds_back_its_server(proxy, coding):
    """Bytes that do not compress, for a client that reads nothing at first: memory stays bounded."""
    block = random.Random(1).randbytes(65536)
    total = 100 * MIB
    sent = [0]

    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % total)
        try:
            while sent[0] < total:
                sent[0] += conn.sock.send(block)
        except OSError:
            pass

    gw, _ = proxy(handler, workers=1, route={"compress": {"encodings": CODINGS}})
    before = memory_kib(gw.worker(), "RssAnon")
    with gw.client(recv_buffer=4096) as c:
        c.send(request(headers=accept(coding)))
        time.sleep(0.5)
        last = -1
        while last != sent[0]:
            last = sent[0]
            time.sleep(0.3)
        held = memory_kib(gw.worker(), "RssAnon") - before
        print(f"{coding}: server sent {sent[0]}, gateway grew {held} KiB")
        assert sent[0] < 16 * MIB
        if not SANITIZER:
            assert held < 4096


@pytest.mark.parametrize("coding,mib", [("gzip", 100), ("br", 24), ("zstd", 24)])
def test_a_long_stream_in_bounded_memory(proxy, coding, mib):
    """Longer than a turn, dearer than a late flush waits: neither stops the other."""
    total = mib * MIB

    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % total)
        block = (PAGE * 10)[:MIB]
        for _ in range(mib):
            conn.send(block)

    gw, _ = proxy(handler, workers=1, route={"compress": {"encodings": CODINGS}})
    before = memory_kib(gw.worker(), "RssAnon")
    peak, parts = 0, []
    with gw.client() as c:
        c.send(request(headers=accept(coding)))
        a = Answer(c.head())
        while True:
            size = int(c.until(b"\r\n"), 16)
            if size == 0:
                break
            parts.append(c.take(size + 2)[:-2])
            peak = max(peak, memory_kib(gw.worker(), "RssAnon") - before)
    a.body = b"".join(parts)
    assert decode(a, total) == (PAGE * 10)[:MIB] * mib
    print(f"gateway grew {peak} KiB")
    if not SANITIZER:
        assert peak < 4096


def test_a_client_that_leaves_gives_its_encoder_back(site):
    """Far more aborted answers than the pool has room for encoders."""

    def handler(conn):
        try:
            while True:
                conn.read_request()
                conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked\r\n\r\n")
                conn.send(b"%x\r\n%s\r\n" % (len(PAGE), PAGE))
                conn.more()
        except (Closed, OSError):
            pass

    gw, server = site()
    server.handler = handler
    for _ in range(120):  # 64 MiB hold 32 encoders of brotli
        with gw.client() as c:
            c.send(request(headers=accept("br")))
            c.head()
            c.until(b"\r\n")
            c.reset()
    with gw.client() as c:
        c.send(request(headers=accept("br")))
        assert b"Content-Encoding: br" in c.head()


def test_an_origin_that_breaks_off_leaves_a_stream_without_end(proxy):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked\r\n\r\n")
        conn.send(b"%x\r\n%s\r\n" % (len(PAGE), PAGE))
        conn.sleep(0.1)
        conn.reset()

    gw, _ = proxy(handler, route={"compress": {"encodings": ["gzip"]}})
    with gw.client() as c:
        c.send(request(headers=accept("gzip")))
        c.head()
        with pytest.raises(Closed):
            c.chunked()


def test_what_went_in_and_came_out_is_counted(site):
    gw, _ = site()
    with gw.client() as c:
        a = c.ask(headers=accept("gzip"))
    gw.wait_metric("vivace_compress_input_bytes_total", len(PAGE), encoding="gzip")
    assert gw.metric("vivace_compress_output_bytes_total", encoding="gzip") == len(a.body)


# ---------------------------------------------------------------------------------- stored answers

CACHED = {"cache": "1h", "compress": {"encodings": CODINGS}}


@pytest.fixture
def shelf(site):
    """shelf(fields, ...): a cached answer of PAGE; .asked counts the origin's requests."""

    def make(fields=None, answer=None, **config):
        gw, server = site(fields=dict({"ETag": '"v1"'}, **(fields or {})), answer=answer, route=CACHED, **config)
        return gw, server

    return make


def variant_is_there(c, coding, target="/"):
    """Asks until the answer comes from a stored variant, which alone knows its length."""

    def there():
        a = c.ask(target, headers=accept(coding))
        assert a.get("Content-Encoding") == coding and decode(a, len(PAGE) + 100).startswith(PAGE[:100])
        return a if a.has("Content-Length") else None

    return wait_for(f"a variant in {coding}", there)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_hot_object_gets_a_variant(shelf, coding):
    gw, server = shelf()
    with gw.client() as c:
        passing = c.ask(headers=accept(coding))
        assert decode(passing, len(PAGE)) == PAGE
        a = variant_is_there(c, coding)
        assert decode(a, len(PAGE)) == PAGE
        assert a.get("ETag") == 'W/"v1"' and a.all("Vary") == ["Accept-Encoding"]
        assert "hit" in a.get("Cache-Status")
        assert len(a.body) < len(PAGE) / 2
        plain = c.ask()
        assert plain.body == PAGE and plain.get("ETag") == '"v1"'
        assert plain.all("Vary") == ["Accept-Encoding"] and "hit" in plain.get("Cache-Status")
        head = c.ask(method="HEAD", headers=accept(coding))
        assert head.get("Content-Length") == str(len(a.body)) and head.get("ETag") == 'W/"v1"'
        same = c.ask(headers={"If-None-Match": 'W/"v1"', **accept(coding)})
        assert same.status == 304 and same.get("ETag") == 'W/"v1"'
        assert same.all("Vary") == ["Accept-Encoding"]
        part = c.ask(headers={"Range": "bytes=10-19", **accept(coding)})
        assert part.status == 206 and part.body == PAGE[10:20] and not part.has("Content-Encoding")
    assert len(server.requests) == 1


def test_a_renewed_head_is_the_variants_too(shelf):
    """A 304 with new fields: the variant's body stays, its head is the new one."""
    turn = [0]

    def answer(req):
        turn[0] += 1
        fields = {**TEXT, "ETag": '"v1"', "Cache-Control": "max-age=1", "X-Turn": str(turn[0])}
        if req.has("If-None-Match"):
            return ok(b"", "304 Not Modified", fields, length=False)
        return ok(PAGE, headers=fields)

    gw, _ = shelf(answer=answer)
    with gw.client() as c:
        variant_is_there(c, "gzip")

        def renewed():
            a = c.ask(headers=accept("gzip"))
            assert decode(a, len(PAGE)) == PAGE
            return a.has("Content-Length") and int(a.get("X-Turn")) > 1

        wait_for("a variant under a renewed head", renewed)


def test_a_new_answer_is_never_sent_as_the_old_variant(shelf):
    page = [PAGE]
    gw, _ = shelf(answer=lambda req: ok(page[0], headers={**TEXT, "Cache-Control": "max-age=1"}))
    with gw.client() as c:
        variant_is_there(c, "gzip")
        page[0] = PAGE[:100] + b"changed" * 2000
        wait_for("the new answer", lambda: c.ask().body == page[0])
        for _ in range(20):
            assert decode(c.ask(headers=accept("gzip")), len(PAGE)) == page[0]


def test_what_does_not_shrink_gets_no_variant(shelf):
    noise = random.Random(3).randbytes(20000)
    gw, _ = shelf(answer=lambda req: ok(noise, headers=TEXT))
    with gw.client() as c:
        for _ in range(10):
            a = c.ask(headers=accept("gzip"))
            assert decode(a, len(noise)) == noise and not a.has("Content-Length")
            time.sleep(0.02)


def test_a_large_object_is_made_once_too(shelf):
    body = PAGE * 20  # 2.4 MB: lies in chunks
    gw, server = shelf(answer=lambda req: ok(body, headers=TEXT))
    with gw.client() as c:
        def there():
            a = c.ask(headers=accept("gzip"))
            assert decode(a, len(body)) == body
            return a.has("Content-Length")

        wait_for("a variant", there)
    assert len(server.requests) == 1


def test_every_answer_names_what_it_varies_by(shelf):
    """The fetch itself, those who follow it, and hits: with and without a wish."""
    gw, _ = shelf(fields={"Vary": "Origin"})
    for number, wish in enumerate([{}, accept("gzip"), accept("identity"), {"If-None-Match": '"v1"'}]):
        for _ in range(3):
            with gw.client() as c:
                a = c.ask(f"/{number}", headers=wish)
                names = sorted(n.strip() for v in a.all("Vary") for n in v.split(","))
                assert names == ["Accept-Encoding", "Origin"], (wish, a.raw_head)
