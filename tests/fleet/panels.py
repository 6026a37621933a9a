# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draws what the dashboard's panels show, of the answers of the Prometheus at 127.0.0.1:9090:

    python3 panels.py MINUTES FLEET.svg VM VM.svg

All that is open when it is opened, and the row of one VM.  It is no Grafana: of a panel it knows its place, title,
unit, thresholds, stacking and legend.
"""
import math
import sys
import time
from xml.sax.saxutils import escape

import prometheus

UNIT_WIDTH, UNIT_HEIGHT, GAP = 50, 30, 8
BACK, PANEL, GRID, TEXT, DIM = "#111217", "#181b1f", "#2a2e34", "#d5d9de", "#8e96a0"
LINES = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#37c8ab", "#e0b400", "#8ab8ff", "#ff7383"]
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}
STEP = 4


def scaled(value, base, units):
    for unit in units:
        if abs(value) < base or unit == units[-1]:
            return "%s %s" % (("%.1f" % value).rstrip("0").rstrip(".") if abs(value) < 100 else "%.0f" % value, unit)
        value /= base
    return None


def text_of(value, unit):
    if unit == "percentunit":
        return "%.3g%%" % (value * 100)
    if unit == "Bps":
        return scaled(value, 1000, ("B/s", "kB/s", "MB/s", "GB/s"))
    if unit == "bytes":
        return scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    if unit == "s":
        return scaled(value * 1e6, 1000, ("µs", "ms", "s"))
    if unit == "iops":
        return "%.4g io/s" % value
    assert unit == "short", unit
    return "%.4g" % value


def ticks_of(top, unit):
    """Round steps up to what is highest."""
    base = 1024 ** int(math.log(top, 1024)) if unit == "bytes" and top >= 1 else 1
    rough = top / base / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * f for f in (1, 2, 2.5, 5, 10) if size * f >= rough) * base
    return [step * i for i in range(math.ceil(top / step - 1e-9) + 1)]


class Picture:
    def __init__(self, title, width, height):
        self.width, self.height = width, height
        self.out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" '
                    'font-family="Inter,Helvetica,Arial,DejaVu Sans,sans-serif" font-size="12">'
                    % ((width, height) * 2),
                    "<title>%s</title>" % escape(title)]
        self.box(0, 0, width, height, BACK)

    def box(self, x, y, width, height, fill, radius=0):
        self.out.append('<rect x="%g" y="%g" width="%g" height="%g" fill="%s"%s/>'
                        % (x, y, width, height, fill, ' rx="%g"' % radius if radius else ""))

    def text(self, x, y, words, fill=TEXT, anchor="start", size=12, weight=""):
        self.out.append('<text x="%.1f" y="%.1f" fill="%s"%s%s%s>%s</text>' % (
            x, y, fill, ' text-anchor="%s"' % anchor if anchor != "start" else "",
            ' font-size="%g"' % size if size != 12 else "", ' font-weight="%s"' % weight if weight else "",
            escape(words)))

    def line(self, points, colour):
        path = " ".join("%.1f,%.1f" % p for p in points)
        self.out.append('<path d="M%s" fill="none" stroke="%s" stroke-width="1.4"/>' % (path, colour))

    def area(self, points, bottom, colour, opacity):
        path = " ".join("%.1f,%.1f" % p for p in points + [(points[-1][0], bottom), (points[0][0], bottom)])
        self.out.append('<path d="M%sz" fill="%s" fill-opacity="%g"/>' % (path, colour, opacity))

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(self.out + ["</svg>\n"]))


def draw_stat(picture, panel, targets, at, _):
    x, y, width, height = at
    defaults = panel["fieldConfig"]["defaults"]
    value = float(prometheus.query(targets[0][0])[0]["value"][1])
    colour = [s["color"] for s in defaults["thresholds"]["steps"] if s["value"] is None or value >= s["value"]][-1]
    words = text_of(value, defaults["unit"])
    picture.text(x + width / 2, y + height / 2 + 26, words, NAMED[colour], "middle", 40, "600")


def series_of(targets, start, end):
    """Return: of each series its legend, and its values by time."""
    found = []
    for expr, legend in targets:
        answer = prometheus.query_range(expr, start, end, STEP)
        assert answer, expr
        for one in answer:
            name = legend
            for label, value in one["metric"].items():
                name = name.replace("{{%s}}" % label, value)
            found.append((name, {float(t): float(v) for t, v in one["values"] if v != "NaN"}))
    return sorted(found, key=lambda s: -max(s[1].values()))[:len(LINES)]


def draw_lines(picture, panel, targets, at, times):
    x, y, width, height = at
    defaults = panel["fieldConfig"]["defaults"]
    start, end = times
    series = series_of(targets, start, end)
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    if stacked:
        # the first is at the bottom
        sums, below = [], {}
        for name, values in series:
            below = {t: below.get(t, 0) + v for t, v in values.items()}
            sums.append((name, below))
        series = sums
    top = max(max(values.values()) for _, values in series) * 1.02
    ticks = ticks_of(min(top, defaults.get("max", top)) or 1, defaults["unit"])
    left, right, up, down = x + 62, x + width - 12, y + 34, y + height - 62
    def place(t, v):
        return left + (right - left) * (t - start) / (end - start), down - (down - up) * v / ticks[-1]
    for tick in ticks:
        at_y = place(start, tick)[1]
        picture.box(left, at_y, right - left, 1, GRID)
        picture.text(left - 6, at_y + 4, text_of(tick, defaults["unit"]), DIM, "end", 11)
    minute = math.ceil(start / 60) * 60
    while minute < end - (end - start) / 20:
        picture.text(place(minute, 0)[0], down + 15, time.strftime("%H:%M", time.gmtime(minute)), DIM, "middle", 11)
        minute += 60
    for i, (name, values) in reversed(list(enumerate(series))):
        parts, last = [], None
        for t, v in sorted(values.items()):
            # where there was none, the line ends
            if last is None or t - last > STEP * 1.5:
                parts.append([])
            parts[-1].append(place(t, v))
            last = t
        for part in parts:
            picture.line(part, LINES[i])
            if stacked:
                picture.area(part, down, LINES[i], defaults["custom"]["fillOpacity"] / 100)
    at_x, at_y = x + 12, down + 34
    for i, (name, _) in enumerate(series):
        wide = 24 + 6.3 * len(name)
        if at_x + wide > x + width - 8:
            if at_y > down + 40:
                picture.text(at_x, at_y + 4, "…", DIM)
                break
            at_x, at_y = x + 12, at_y + 16
        picture.box(at_x, at_y - 2, 12, 3, LINES[i])
        picture.text(at_x + 16, at_y + 3, name, TEXT, size=11)
        at_x += wide


def draw(path, title, panels, rows, times):
    """Panels with their queries, and titles of rows, as they are on the dashboard."""
    first = min([p["gridPos"]["y"] for p, _ in panels] + [r["gridPos"]["y"] for r in rows])
    last = max([p["gridPos"]["y"] + p["gridPos"]["h"] for p, _ in panels] + [r["gridPos"]["y"] + 1 for r in rows])
    picture = Picture(title, 24 * UNIT_WIDTH + GAP, (last - first) * UNIT_HEIGHT + GAP)
    def at(pos):
        return (pos["x"] * UNIT_WIDTH + GAP, (pos["y"] - first) * UNIT_HEIGHT + GAP,
                pos["w"] * UNIT_WIDTH - GAP, pos["h"] * UNIT_HEIGHT - GAP)
    for row in rows:
        x, y, _, _ = at(row["gridPos"])
        mark = "› " if row["collapsed"] else "⌄ "
        picture.text(x + 4, y + 17, mark + row["title"], TEXT, size=14, weight="600")
    for panel, targets in panels:
        place = at(panel["gridPos"])
        picture.box(*place, PANEL, 3)
        picture.text(place[0] + 10, place[1] + 20, panel["title"], TEXT, size=13, weight="600")
        {"stat": draw_stat, "timeseries": draw_lines}[panel["type"]](picture, panel, targets, place, times)
    picture.save(path)


def main(minutes, fleet, vm, one):
    end = math.floor(time.time() / STEP) * STEP
    times = end - 60 * int(minutes), end
    rows = [p for p in prometheus.dashboard()["panels"] if p["type"] == "row"]
    closed = {p["id"] for r in rows for p in r["panels"]}
    all_of = list(prometheus.panels(vm, rate_interval="30s"))
    for row in rows:
        row["title"] = row["title"].replace("$vm", vm)
    draw(fleet, "The dashboard: hosts, and the VMs with most of something",
         [p for p in all_of if p[0]["id"] not in closed], rows, times)
    draw(one, "The dashboard's row of one VM", [p for p in all_of if p[0]["id"] in closed],
         [dict(r, collapsed=False) for r in rows if r["panels"]], times)


main(*sys.argv[1:])
