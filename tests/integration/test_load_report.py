# tests/integration/test_load_report.py - the HTML report of `vivace load`, opened in a real browser.
import re
import subprocess

import pytest

import harness
from browser import Browser
from harness import SCALE, ok

CHARTS = ["Latency over time", "Rate: offered and achieved", "Users in flight",
          "Distribution of latency"]

# Every chart with its lines: how many points, and how large they are drawn.
DRAWN = """[...document.querySelectorAll('svg[role=img]')].map(svg => ({
  label: svg.getAttribute('aria-label'), width: svg.getBoundingClientRect().width,
  lines: [...svg.querySelectorAll('polyline')].map(l => ({points: l.points.numberOfItems,
    width: l.getBBox().width, bottom: l.getBBox().y + l.getBBox().height, top: l.getBBox().y,
    colour: getComputedStyle(l).stroke})),
  bars: [...svg.querySelectorAll('rect')].map(b => ({height: b.getBBox().height,
    bottom: b.getBBox().y + b.getBBox().height, colour: getComputedStyle(b).fill})),
  texts: [...svg.querySelectorAll('text')].map(t => ({text: t.textContent,
    width: t.getBBox().width, colour: getComputedStyle(t).fill}))}))"""

COLOURS = """({back: getComputedStyle(document.body).backgroundColor,
  text: getComputedStyle(document.body).color,
  verdict: getComputedStyle(document.querySelector('#verdict')).color,
  table: getComputedStyle(document.querySelector('td')).color})"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a short run with several answers, a failed gate, and names that need escaping."""
    folder = tmp_path_factory.mktemp("report")
    server = harness.Origin(answer=lambda req: ok(b"no", "503 Service Unavailable")
                            if req.target.startswith("/busy") else ok())
    try:
        (folder / "load.yml").write_text(f"""
config:
  target: {server.url}
  phases: [{{duration: 4, arrivalRate: 30}}]
  ensure: {{thresholds: [{{http.response_time.p95: 5000}}], conditions: [{{expression: http.requests < 5}}]}}
scenarios:
  - flow:
      - get: {{url: /fine}}
      - get: {{url: /busy, name: "<script>alert('x')</script>&amp;"}}
""")
        got = subprocess.run([harness.binary(), "load", "load.yml", "--quiet", "--allow-late",
                              "--html", "report.html"], cwd=folder, capture_output=True, text=True,
                             timeout=60 * SCALE)
        assert got.returncode == 99, got.stdout + got.stderr
    finally:
        server.close()
    return f"file://{folder}/report.html"


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


def light(colour):
    """Relative luminance of "rgb(r, g, b)" (WCAG 2.1)."""
    parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a, b):
    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_report_opens_without_an_error_or_a_request(browser, report, dark):
    page = browser.page(report, dark)
    assert page.errors == []
    assert page.requests == [report]
    assert page.run("document.scripts.length") == 0
    assert page.run("document.querySelector('#verdict').textContent").endswith("Load test failed")
    assert page.run("document.body.innerText").count("<script>alert('x')</script>&amp;") == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_chart_is_drawn_from_the_run(browser, report, dark):
    charts = browser.page(report, dark).run(DRAWN)
    assert [c["label"] for c in charts] == CHARTS
    for chart in charts[:3]:
        assert chart["width"] > 500
        assert len(chart["lines"]) == (2 if chart["label"] == "Users in flight" else 3)
        for line in chart["lines"]:
            assert 4 <= line["points"] <= 7, chart["label"]  # one for each second of 4, and the rest
            assert line["width"] > 300
            assert 12 <= line["top"] <= line["bottom"] <= 210.5  # inside of the axes
        assert len({line["colour"] for line in chart["lines"]}) == len(chart["lines"])
        assert chart["texts"][0]["text"] and all(t["width"] > 0 for t in chart["texts"])
    rates = charts[1]["lines"]
    assert rates[1]["top"] < 200  # the offered rate is not the bottom line
    bars = charts[3]["bars"]
    assert bars and max(b["height"] for b in bars) == pytest.approx(198, abs=1)
    assert all(b["bottom"] == pytest.approx(210, abs=0.2) for b in bars)


@pytest.mark.parametrize("dark,media", [(False, "screen"), (True, "screen"), (True, "print")])
def test_it_can_be_read_in_light_in_dark_and_on_paper(browser, report, dark, media):
    page = browser.page(report, dark)
    page.media(media, dark)
    colours, charts = page.run(COLOURS), page.run(DRAWN)
    assert (light(colours["back"]) < 0.1) == (dark and media == "screen"), colours
    for name in ("text", "verdict", "table"):  # 4.5 is what WCAG 2.1 asks of text, 3 of lines
        assert contrast(colours[name], colours["back"]) >= 4.5, (name, colours)
    for chart in charts:
        for text in chart["texts"]:
            assert contrast(text["colour"], colours["back"]) >= 4.5, text
        for drawn in chart["lines"] + chart["bars"]:
            assert contrast(drawn["colour"], colours["back"]) >= 3, drawn
