# tests/integration/cache_origin.py - a server that answers by a row of the cache table, and keeps what came.
"""The origin of test_cache_rules.py.

Model:     the second segment of the path names the case; the case's thread says what the origin would
           answer from now on, and reads afterwards what it was asked. Every answer has a body of its
           own ("name 1", "name 2", ...) unless the row gives one, so a stored body is known by its
           bytes. Date is added unless the row has one or says `date: none`.
An answer: a list [status, "Name: value", ...] (without a number: 200), or a mapping with `status`,
           `fields`, and of: body (text), bytes (that many), framing (length, chunked, close,
           cut-length, cut-chunked), trailers, interim (statuses), version, delay (seconds), ranges
           (honours Range and If-Range), drop (closes without an answer), date, otherwise (the answer to
           a request without a condition).
Instants:  {now}, {now-100}, {now+60|rfc850}, {now|asctime} in a value become HTTP dates;
           {base} is the path of the case.
"""

import re
import threading
import time

import harness

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
INSTANT = re.compile(r"\{now(?:([+-])(\d+))?(?:\|(\w+))?\}")


def http_date(seconds, form="imf"):
    """The three forms of RFC 9110 section 5.6.7, in English whatever the locale."""
    t = time.gmtime(seconds)
    day, month, clock = DAYS[t.tm_wday], MONTHS[t.tm_mon - 1], time.strftime("%H:%M:%S", t)
    if form == "rfc850":
        return f"{day}, {t.tm_mday:02}-{month}-{t.tm_year % 100:02} {clock} GMT"
    if form == "asctime":
        return f"{day[:3]} {month} {t.tm_mday:2} {clock} {t.tm_year}"
    return f"{day[:3]}, {t.tm_mday:02} {month} {t.tm_year} {clock} GMT"


def fill_in(text, now):
    """Replaces the instants of a value; `now` is one second for a whole case."""

    def one(m):
        away = int(m[2] or 0) * (-1 if m[1] == "-" else 1)
        return http_date(now + away, m[3] or "imf")

    return INSTANT.sub(one, text)


def fields_of(lines, now):
    """["Name: value", ...] as pairs."""
    pairs = []
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon, f"no field: {line!r}"
        pairs.append((name, fill_in(value.strip(), now)))
    return pairs


class Plan:
    """An answer as a row writes it, made plain."""

    def __init__(self, written, now, base=""):
        made = dict(written) if isinstance(written, dict) else {"fields": list(written or [])}
        lines = list(made.get("fields", []))
        if lines and isinstance(lines[0], int):
            made["status"] = lines.pop(0)
        self.status = made.pop("status", 200)
        self.fields = fields_of([line.replace("{base}", base) for line in lines], now)
        made.pop("fields", None)
        self.body = made.pop("body", None)
        size = made.pop("bytes", None)
        if size is not None:
            self.body = ("0123456789" * (size // 10 + 1))[:size]
        self.framing = made.pop("framing", "length")
        self.trailers = made.pop("trailers", [])
        self.interim = made.pop("interim", [])
        self.version = made.pop("version", "HTTP/1.1")
        self.delay = made.pop("delay", 0)
        self.ranges = made.pop("ranges", False)
        self.drop = made.pop("drop", False)
        self.dated = made.pop("date", "") != "none" and not self.has("Date")
        other = made.pop("otherwise", None)
        self.otherwise = Plan(other, now, base) if other is not None else None
        assert not made, f"unknown keys of an answer: {sorted(made)}"

    def has(self, name):
        return self.value(name) is not None

    def value(self, name):
        return next((v for n, v in self.fields if n.lower() == name.lower()), None)


class Seen:
    """One request as the origin got it, with the answer it gave."""

    def __init__(self, request, plan, body):
        self.request = request
        self.status = plan.status
        self.body = body

    @property
    def conditional(self):
        return self.request.has("If-None-Match") or self.request.has("If-Modified-Since")


class Case:
    """What the origin knows about one case: the plan of this moment and what came so far."""

    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()
        self.plan = Plan([], 0)
        self.seen = []

    def set(self, plan):
        with self.lock:
            self.plan = plan

    def take(self, request):
        with self.lock:
            plan = self.plan
            if plan.otherwise and not (request.has("If-None-Match") or request.has("If-Modified-Since")):
                plan = plan.otherwise
            body = plan.body if plan.body is not None else f"{self.name} {len(self.seen) + 1}"
            seen = Seen(request, plan, body.encode())
            self.seen.append(seen)
            return plan, seen

    def count(self):
        with self.lock:
            return len(self.seen)


class CacheOrigin:
    """One server for all cases."""

    def __init__(self):
        self.lock = threading.Lock()
        self.cases = {}
        self.strays = []
        self.server = harness.Origin(self.handle)

    def case(self, name):
        with self.lock:
            return self.cases.setdefault(name, Case(name))

    def handle(self, conn):
        while True:
            req = conn.read_request()
            path = re.sub(r"^http://[^/]*", "", req.target).split("?")[0]
            segments = path.split("/")
            with self.lock:
                case = self.cases.get(segments[2] if len(segments) > 2 else "")
                if case is None:
                    self.strays.append(req.line)
            if case is None:
                conn.send(harness.ok(b"stray", "404 Not Found", {"Cache-Control": "no-store"}))
                continue
            plan, seen = case.take(req)
            if not self.answer(conn, req, plan, seen):
                return

    def answer(self, conn, req, plan, seen):
        """Sends it; False ends the connection."""
        if plan.delay:
            conn.sleep(plan.delay)
        if plan.drop:
            return False
        for status in plan.interim:
            conn.send(b"HTTP/1.1 %d Hint\r\nLink: </a.css>; rel=preload\r\n\r\n" % status)
        status, fields, body = plan.status, list(plan.fields), seen.body
        if plan.dated:
            fields.append(("Date", http_date(time.time())))
        if plan.ranges and req.method == "GET":
            status, fields, body = cut_range(req, plan, fields, body)
        seen.status = status
        lines = [f"{plan.version} {status} Scripted"] + [f"{n}: {v}" for n, v in fields]
        bodiless = req.method == "HEAD" or status in (204, 304)
        data, go_on = self.framed(plan, lines, body, bodiless, status)
        conn.send(data)
        return go_on and req.get("Connection", "").lower() != "close" and plan.version == "HTTP/1.1"

    @staticmethod
    def framed(plan, lines, body, bodiless, status):
        def head(*more):
            return ("\r\n".join([*lines, *more]) + "\r\n\r\n").encode("latin-1")

        if bodiless:
            length = [] if status in (204, 304) or plan.has("Content-Length") else [f"Content-Length: {len(body)}"]
            return head(*length), True
        half = len(body) // 2
        if plan.framing == "chunked":
            trailers = "".join(f"{t}\r\n" for t in plan.trailers).encode()
            parts = [p for p in (body[:half], body[half:]) if p]
            return head("Transfer-Encoding: chunked") + harness.chunks(*parts, trailers=trailers), True
        if plan.framing == "cut-chunked":
            return head("Transfer-Encoding: chunked") + harness.chunks(body)[:-5], False
        if plan.framing == "cut-length":
            return head(f"Content-Length: {len(body)}") + body[:half], False
        if plan.framing == "close":
            return head("Connection: close") + body, False
        assert plan.framing == "length", plan.framing
        return head(f"Content-Length: {len(body)}") + body, True

    def close(self):
        self.server.close()


def cut_range(req, plan, fields, body):
    """What a server does with bytes=a-b (one range), and with If-Range."""
    m = re.fullmatch(r"bytes=(\d*)-(\d*)", req.get("Range", ""))
    condition = req.get("If-Range")
    current = (plan.value("ETag"), plan.value("Last-Modified"))
    if not m or m[0] == "bytes=-" or (condition is not None and condition not in current):
        return 200, fields, body
    first = int(m[1]) if m[1] else max(0, len(body) - int(m[2]))
    last = min(int(m[2]), len(body) - 1) if m[1] and m[2] else len(body) - 1
    if first > last:
        return 416, fields + [("Content-Range", f"bytes */{len(body)}")], b""
    part = ("Content-Range", f"bytes {first}-{last}/{len(body)}")
    return 206, fields + [part], body[first : last + 1]
