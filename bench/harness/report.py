"""Result files in, tables out: text for a terminal, or the whole Markdown page."""
import collections
import json
import statistics
import sys
import time

from .scenarios import PROMISES, SCENARIOS

COLUMNS = ["server", "runs", "req/s", "CPU ms/1,000", "(min-max)", "CPU ratio", "rate ratio",
           "p50 us", "p99 us", "p99.9 us", "util", "loader", "others", "peak RSS MiB", "errors"]

# Only in the tables that have them: head, key of a row, format.
MORE_COLUMNS = [("bytes/connection", "conn_bytes", "%.0f"), ("scaling", "scaling", "%.2f"),
                ("body bytes", "body_bytes", "%.0f"), ("bytes/answer", "wire_bytes", "%.0f")]


def disturbance(row):
    """Cores taken by others, or by the hypervisor, during the run."""
    return row.get("others_util", 9) + row.get("steal_util", 0)


def fmt(value, spec="%.0f"):
    return "-" if value is None else spec % value


def middle(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def show(row, out=sys.stderr):
    """One line for one result, while the run goes on."""
    head = "%-18s %-10s" % (row["server"], row["scenario"])
    if not row["ok"]:
        print(head, "FAILED", row.get("error", "")[:300], file=out, flush=True)
        return
    print(head, "r%-2d %8.0f req/s  cpu/1k %7.2f ms (util %.2f, load %.2f, orig %.2f, others %.2f)"
          "  p50 %s p99 %s us%s"
          % (row["round"], row["req_s"], row["cpu_ms_per_1k"], row["server_util"],
             row["loader_util"], row["origin_util"], disturbance(row), fmt(row["p50_us"]),
             fmt(row["p99_us"]),
             "".join("  %s " % head + spec % row[key] for head, key, spec in MORE_COLUMNS
                     if key in row)),
          file=out, flush=True)


def load(paths):
    """(sessions, rows) of result files: a session line says machine and command."""
    sessions, rows = [], []
    for path in paths:
        with open(path) as f:
            for line in f:
                if line.strip():
                    row = json.loads(line)
                    (sessions if "machine" in row else rows).append(row)
    return sessions, rows


def medians(rows):
    """{column: median} of one server in one scenario; errors are summed."""
    out = {key: middle([r.get(key) for r in rows])
           for key in ("req_s", "cpu_ms_per_1k", "p50_us", "p99_us", "p999_us", "server_util",
                       "loader_util", "rss_peak_kib", "conn_bytes", "body_bytes", "wire_bytes",
                       "scaling")}
    out["errors"] = sum(r["errors"] for r in rows)
    return out


def add_scaling(groups):
    """Gives each row of a scenario with a base its figure `scaling`: the work for one CPU second,
    against that of the base in the same session and round, times how many more workers it has.
    Two workers that cost no more CPU for a request than one have 2.00."""
    for scenario, servers in groups.items():
        for name, rows in servers.items():
            base = {(r["session"], r["round"]): r
                    for r in groups.get(SCENARIOS[scenario].get("base"), {}).get(name, [])}
            for r in rows:
                one = base.get((r["session"], r["round"]))
                if one and r["cpu_ms_per_1k"]:
                    r["scaling"] = (one["cpu_ms_per_1k"] / r["cpu_ms_per_1k"]
                                    * r["workers"] / one["workers"])


def ratio(servers, name, reference, column):
    """Median of the ratios between neighbours: the same session and round. None without any."""
    base = {(r["session"], r["round"]): r.get(column) for r in servers.get(reference, [])}
    pairs = [(r.get(column), base.get((r["session"], r["round"]))) for r in servers.get(name, [])]
    return middle([ours / theirs for ours, theirs in pairs if ours is not None and theirs])


def scenario_table(servers, reference):
    """(head, rows of text) for {server: [row]}; ratios are paired within a round."""
    table = []
    more = [(head, key, spec) for head, key, spec in MORE_COLUMNS
            if any(key in r for rows in servers.values() for r in rows)]
    for name, rows in servers.items():
        m = medians(rows)
        cpu = [r["cpu_ms_per_1k"] for r in rows]
        table.append([
            name, str(len(rows)), fmt(m["req_s"]), fmt(m["cpu_ms_per_1k"], "%.2f"),
            "%.2f-%.2f" % (min(cpu), max(cpu)),
            fmt(ratio(servers, name, reference, "cpu_ms_per_1k"), "%.2f"),
            fmt(ratio(servers, name, reference, "req_s"), "%.2f"),
            fmt(m["p50_us"]), fmt(m["p99_us"]), fmt(m["p999_us"]), fmt(m["server_util"], "%.2f"),
            fmt(m["loader_util"], "%.2f"), fmt(middle([disturbance(r) for r in rows]), "%.2f"),
            fmt(m["rss_peak_kib"] / 1024, "%.1f"), str(m["errors"])])
        table[-1] += [fmt(m[key], spec) for _, key, spec in more]
    return COLUMNS + [head for head, _, _ in more], table


def print_table(head, table, markdown, left=1):
    """The first `left` columns are text, the others figures."""
    if markdown:
        print("\n| " + " | ".join(head) + " |\n" + "|---" * left + "|--:" * (len(head) - left) + "|")
        for row in table:
            print("| " + " | ".join(row) + " |")
        return
    width = [max(map(len, column)) for column in zip(head, *table)]
    for row in [head] + table:
        print("  ".join(x.ljust(n) if i < left else x.rjust(n)
                        for i, (x, n) in enumerate(zip(row, width))))


def judge(servers, column, word, limit, reference):
    """(figure as text, kept) of a promise, or None when it was not measured."""
    if reference == "best peer":
        found = [(ratio(servers, "vivace", name, column), name) for name in servers
                 if name != "vivace" and not name.startswith("floor")]
        found = [pair for pair in found if pair[0] is not None]
        # The peer that makes it hardest: of "at least" the smallest ratio, else the largest.
        value, name = (min if word == "at least" else max)(found, default=(None, ""))
    elif reference:
        value, name = ratio(servers, "vivace", reference, column), ""
    else:
        value, name = medians(servers["vivace"])[column] if "vivace" in servers else None, ""
    if value is None:
        return None
    kept = {"at most": value <= limit, "at least": value >= limit, "below": value < limit}[word]
    digits = "%.2f" if reference or isinstance(limit, float) else "%.0f"
    return fmt(value, digits) + (" (%s)" % name if name else ""), kept


def print_promises(groups, markdown):
    table = []
    for scenario, sentence, *rule in PROMISES:
        found = judge(groups.get(scenario, {}), *rule)
        if found:
            table.append([scenario, sentence, found[0], "kept" if found[1] else "NOT kept"])
    if table:
        print("\n%sWhat was promised" % ("## " if markdown else ""))
        print_table(["scenario", "promise", "measured", ""], table, markdown, left=2)


def print_page_head(sessions, rows):
    print("# Performance\n\nMade by `bench/bench.py report --markdown`; "
          "[bench/README.md](../bench/README.md) says how each figure is taken.")
    for s in sessions:
        m = s["machine"]
        versions = sorted({"%s %s" % (r["server"], r["version"]) for r in rows
                           if r["session"] == s["session"] and r["version"]})
        print("\n- When: %s, at commit %s" % (time.strftime("%Y-%m-%d %H:%M UTC",
                                                            time.gmtime(s["time"])), s["commit"]))
        print("- Machine: %s, %d cores, %d GiB; %s, Linux %s"
              % (m["cpu"], m["cores"], m["memory_gib"], m["system"], m["kernel"]))
        print("- Command: `%s`" % s["command"])
        print("- Server on cores %s, loader on %s, origin on %s; %d worker(s)"
              % (s["server_cpus"] or "any", s["loader_cpus"] or "any", s["origin_cpus"] or "any",
                 s["workers"]))
        print("- Versions: " + ", ".join(versions))
        if s.get("missing"):
            print("- Not installed, left out: " + ", ".join(s["missing"]))


def report(sessions, rows, markdown=False):
    """Medians; ratios are against the floor of the scenario, in the same round."""
    groups = collections.OrderedDict((name, collections.OrderedDict()) for name in SCENARIOS)
    for r in rows:
        if r["ok"] and r["scenario"] in groups:
            groups[r["scenario"]].setdefault(r["server"], []).append(r)
    add_scaling(groups)
    if markdown:
        print_page_head(sessions, rows)
    print_promises(groups, markdown)
    for scenario, servers in groups.items():
        if not servers:
            continue
        reference = next((s for s in servers if s.startswith("floor")),
                         SCENARIOS[scenario].get("against"))
        print("\n%s%s (`%s`%s)" % ("## " if markdown else "", SCENARIOS[scenario]["what"], scenario,
                                   ", ratios to %s" % reference if reference else ""))
        print_table(*scenario_table(servers, reference), markdown)
    failed = [r for r in rows if not r["ok"]]
    if failed:
        print("\n%sWhat failed\n" % ("## " if markdown else ""))
        for r in failed:
            print("- %s, %s: %s" % (r["server"], r["scenario"], r.get("error", "")[:200]))
