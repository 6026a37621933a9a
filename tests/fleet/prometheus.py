# SPDX-License-Identifier: LGPL-2.1-or-later
"""Asks the Prometheus at 127.0.0.1:9090 what a fleet's tests want to know:

  ready           it answers
  panels VM       each query of the dashboard's panels, over the last minute, has an answer with values; of the
                  row of one VM, that one
  rules           each recording rule has results, and none has failed
  alerts          prints all alerts that ever fired: name, host, VM
  times MINUTES   how long each query of the dashboard takes over the last MINUTES, in steps of 15 s, as a browser
                  would have it asked: its name, ms, how often as long it takes without the recorded series, ms
  value QUERY     prints the value of each result, none for none; "name:QUERY" that label
  flat FILE       writes the recording rules there, none of which needs another
"""
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

CONTRIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../contrib")


def api(path, **parameters):
    url = "http://127.0.0.1:9090/api/v1/" + path
    data = urllib.parse.urlencode(parameters).encode() if parameters else None
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=300) as answer:
        return json.load(answer)["data"]


def query(expr):
    return api("query", query=expr)["result"]


def query_range(expr, start, end, step):
    return api("query_range", query=expr, start="%.3f" % start, end="%.3f" % end, step="%g" % step)["result"]


def dashboard():
    with open(CONTRIB + "/grafana/vhostmd.json", encoding="ascii") as f:
        return json.load(f)


def panels(vm=".*", instance=".*", rate_interval="5m"):
    """All panels that ask something, those of rows too: the panel, and of each target the query, its
    variables filled in as Grafana does, and what the legend is made of."""
    for row in dashboard()["panels"]:
        for panel in [row] + row.get("panels", []):
            if "targets" in panel:
                yield panel, [(t["expr"].replace("$__rate_interval", rate_interval).replace("$instance", instance)
                               .replace("$vm", vm), t["legendFormat"]) for t in panel["targets"]]


def check_panels(vm):
    now = time.time()
    empty = []
    for panel, targets in panels(vm, rate_interval="1m"):
        for expr, _ in targets:
            values = [float(v) for series in query_range(expr, now - 60, now, 5) for _, v in series["values"]]
            if not [v for v in values if v == v]:
                empty.append("%s: %s" % (panel["title"], expr))
    assert not empty, "no values: " + "; ".join(empty)


def check_rules():
    recorded = 0
    for group in api("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok" and not rule.get("lastError"), rule
            if rule["type"] == "recording":
                recorded += 1
                assert query(rule["name"]), rule["name"] + " is empty"
    assert recorded


def print_alerts():
    for series in query('count by (alertname, instance, name) (last_over_time(ALERTS{alertstate="firing"}[1d]))'):
        print(*(series["metric"][label] for label in ("alertname", "instance", "name") if label in series["metric"]))


def print_values(expr):
    label, _, rest = expr.partition(":")
    for series in query(rest if label == "name" else expr):
        print(series["metric"][label] if label == "name" else series["value"][1])


def recorded():
    """The recording rules: of each name the expression, without other rules' names."""
    found = {}
    for group in api("rules")["groups"]:
        for rule in group["rules"]:
            if rule["type"] == "recording":
                found[rule["name"]] = without(rule["query"], found)
    return found


def without(expr, rules):
    """The same without recorded series; which hosts are asked for is left out: all."""
    return re.sub(r"(vhostmd:[a-z0-9_:]+)(\{[^}]*\})?", lambda m: "(%s)" % rules[m.group(1)], expr)


def write_flat(path):
    rules = [{"record": name, "expr": expr} for name, expr in recorded().items()]
    with open(path, "w", encoding="ascii") as f:
        json.dump({"groups": [{"name": "flat", "rules": rules}]}, f)


def took(ask, n=3):
    """Median of so many, ms, and the answer."""
    times = []
    while len(times) < n:
        begin = time.monotonic()
        answer = ask()
        times.append(time.monotonic() - begin)
    return sorted(times)[len(times) // 2] * 1000, answer


def print_times(minutes):
    rules, end, start = recorded(), time.time(), time.time() - 60 * int(minutes)
    vm = query("topk(1, vhostmd:vm_cpu:topk_rate5m)")[0]["metric"]["name"]
    worst = plain_worst = 0
    for panel, targets in panels(vm):
        for n, (expr, _) in enumerate(targets):
            ms, answer = took(lambda: query_range(expr, start, end, 15))
            assert answer, expr
            name = "panel_%d_%s" % (panel["id"], "abc"[n])
            print("%s_ms %.1f ms" % (name, ms))
            worst = max(worst, ms)
            if "vhostmd:" not in expr:
                continue
            try:
                plain, answer = took(lambda: query_range(without(expr, rules), start, end, 15), 1)
                assert answer, expr
                print("%s_vs_plain %.4f ratio" % (name, ms / plain))
                plain_worst = max(plain, plain_worst)
            except urllib.error.HTTPError as e:
                print("# %s without recorded series: %s" % (name, json.load(e)["error"]))
    print("panel_worst_ms %.1f ms" % worst)
    print("panel_plain_worst_ms %.1f ms" % plain_worst)
    print("panels_all_vs_plain_worst %.4f ratio" % (worst / plain_worst))


def main(what, *arguments):
    {"ready": lambda: query("1"), "panels": check_panels, "rules": check_rules, "alerts": print_alerts,
     "times": print_times, "flat": write_flat, "value": print_values}[what](*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
