# SPDX-License-Identifier: LGPL-2.1-or-later
"""The histogram of VMs' waits, as it is scraped.

waits.py FOLDER FILE VM...
    Scrapes FILE until each VM has waited between two publications, one after the other: what was
    counted in between is what delay.p99 of the second is of, and Prometheus' histogram_quantile()
    finds it in the same bucket.  The first scrape of a call that comes later has no less of anything
    than the last one before: FOLDER keeps that.
"""
import json
import os
import pickle
import subprocess
import sys
import time

from prometheus_client.parser import text_string_to_metric_families

FAMILY = "vhostmd_vm_delay_seconds"
folder, file, vms = sys.argv[1], sys.argv[2], sys.argv[3:]


class Histogram:
    def __init__(self):
        self.buckets = {}
        self.sum = self.count = self.p99 = self.generation = None

    def check(self):
        counts = list(self.buckets.values())
        assert len(counts) == 15 and list(self.buckets)[-1] == float("inf"), self.buckets
        assert list(self.buckets) == sorted(self.buckets) and counts == sorted(counts), self.buckets
        assert counts[-1] == self.count, (counts, self.count)
        return self

    def falls(self, before):
        return self.sum < before.sum or any(n < before.buckets[le] for le, n in self.buckets.items())

    def bounds(self):
        """Of the bucket that p99 is in."""
        low = 0.0
        for le in self.buckets:
            if self.p99 < le:
                return low, le
            low = le
        return None


def scrape():
    with open(file, encoding="utf-8") as f:
        families = list(text_string_to_metric_families(f.read()))
    found = {}
    for s in (s for family in families for s in family.samples):
        if s.labels.get("name") not in vms:
            continue
        h = found.setdefault(s.labels["name"], Histogram())
        if s.name == FAMILY + "_bucket":
            h.buckets[float(s.labels["le"])] = s.value
        elif s.name in (FAMILY + "_sum", FAMILY + "_count"):
            setattr(h, s.name[len(FAMILY) + 1:], s.value)
        elif s.name == "vhostmd_vm_delay_p99_seconds":
            h.p99 = s.value
        elif s.name == "vhostmd_vm_sample_generation_total":
            h.generation = s.value
    return {name: h.check() for name, h in found.items() if h.count is not None}


def never_falls(before, after):
    for name, h in after.items():
        assert not (name in before and h.falls(before[name])), (name, vars(before[name]), vars(h))


def two_scrapes(name, last):
    """Of two publications, one after the other, before the second of which the VM waited."""
    until = time.monotonic() + 30
    before = last
    while time.monotonic() < until:
        now = scrape()
        never_falls(before, now)
        if name in before and name in now and now[name].count > before[name].count and \
                now[name].generation == before[name].generation + 1:
            return before, now
        before = now
        time.sleep(0.02)
    sys.exit(f"{name} does not wait")


def quantile_is_right(name, before, after):
    low, high = after.bounds()
    series = [{"series": '%s_bucket{le="%s"}' % (FAMILY, "+Inf" if le == float("inf") else repr(le)),
               "values": "%d %d" % (before.buckets[le], n)} for le, n in after.buckets.items()]
    grown = "(%s_bucket - %s_bucket offset 1m)" % (FAMILY, FAMILY)
    quantile = "histogram_quantile(0.99, %s)" % grown
    tests = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [
        {"expr": "count(%s >= %r <= %r)" % (quantile, low, high), "eval_time": "1m",
         "exp_samples": [{"labels": "{}", "value": 1}]}]}]}
    path = os.path.join(folder, "quantile.yml")
    with open(path, "w", encoding="ascii") as f:
        json.dump(tests, f)
    subprocess.run(["promtool", "test", "rules", path], check=True)
    print("%s: p99 is %g, of %d waits, in the bucket from %g to %g" %
          (name, after.p99, after.count - before.count, low, high))


kept = os.path.join(folder, "kept")
last = {}
if os.path.exists(kept):
    with open(kept, "rb") as f:
        last = pickle.load(f)
for vm in vms:
    earlier, later = two_scrapes(vm, last)
    quantile_is_right(vm, earlier[vm], later[vm])
    last = later
with open(kept, "wb") as f:
    pickle.dump(last, f)
