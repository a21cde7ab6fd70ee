#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The source of dashboards/*.json. Run it after a change; tests compare the two.

usage: dashboards.py [FOLDER]
"""

import json
import pathlib
import sys

import panels as p

RATE = "[$__rate_interval]"
DAEMON = 'instance=~"$instance"'
POOL = DAEMON + ', pool=~"$pool"'
PATH = POOL + ', path=~"$path"'
METHOD = DAEMON + ', method=~"$method"'
FAULTS = 'code=~"INTERNAL|UNKNOWN|DATA_LOSS"'

INSTANCE = p.variable("instance", "Daemon", "label_values(leaseplane_pools, instance)")
POOL_NAMES = 'label_values(leaseplane_pool_slots{instance=~"$instance"}, pool)'
POOLS = p.variable("pool", "Pool", POOL_NAMES)
ONE_POOL = p.variable("pool", "Pool", POOL_NAMES, many=False)
ONE_PATH = p.variable("path", "Path", "label_values(leaseplane_pool_busy_slots, path)", many=False)
METHODS = p.variable("method", "Method",
                     'label_values(leaseplane_grpc_requests_total{instance=~"$instance"}, method)')

FULL = p.thresholds((0.8, p.YELLOW), (1, p.RED))
NONE_IS_GOOD = p.thresholds((1, p.RED))
FEW_ARE_GOOD = p.thresholds((1, p.YELLOW))
NEUTRAL = p.thresholds(base=p.BLUE)
LATE = p.thresholds((0.25, p.ORANGE), (0.5, p.RED))
CERTIFICATE_END = "leaseplane_tls_certificate_not_after_timestamp_seconds"
DAY_S = 86400


def quantile(q, metric, selector, by="pool, path"):
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket{{{selector}}}{RATE})))"


def buckets(metric, selector):
    return f"sum by (le) (increase({metric}_bucket{{{selector}}}{RATE}))"


def rate(metric, selector, by):
    return f"sum by ({by}) (rate({metric}{{{selector}}}{RATE}))"


def overview():
    pools = {
        "Slots": (f"sum by (instance, pool) (leaseplane_pool_slots{{{POOL}}})", "short", None),
        "Free": (f"sum by (instance, pool) (leaseplane_pool_free_slots{{{POOL}}})", "short", None),
        "Busy": (f"sum by (instance, pool) (leaseplane_pool_busy_slots{{{POOL}}})", "short", None),
        "Withheld": (f"sum by (instance, pool) (leaseplane_pool_withheld_slots{{{POOL}}})",
                     "short", FEW_ARE_GOOD),
        "In use": ("sum by (instance, pool) "
                   f"(pool:leaseplane_busy_slots:ratio{{{POOL}}})", "percentunit", FULL),
        "Waiters": (f"sum by (instance, pool) (leaseplane_pool_waiters{{{POOL}}})",
                    "short", FEW_ARE_GOOD),
        "First in queue waits": (
            f"sum by (instance, pool) (leaseplane_pool_first_wait_seconds{{{POOL}}})", "s",
            p.thresholds((60, p.YELLOW), (600, p.RED))),
        "Leases/s": (rate("leaseplane_leases_acquired_total", POOL, "instance, pool"), "ops", None),
    }
    to_pool = {"matcher": {"id": "byName", "options": "pool"}, "properties": [{
        "id": "links", "value": [{"title": "Pool ${__value.raw}", "targetBlank": False,
                                  "url": "/d/leaseplane-pool?var-pool=${__value.raw}"
                                         "&${instance:queryparam}&${datasource:queryparam}"}]}]}
    return p.dashboard("leaseplane-overview", "Leaseplane: overview",
                       "All daemons and pools: is everything served, and where does it press?",
                       [INSTANCE, POOLS], [
        [p.stat("Daemons up", "sum(up{job=\"leaseplane\", instance=~\"$instance\"})", width=2,
                steps=p.thresholds((1, p.GREEN), base=p.RED), links=["LeaseplaneDown"]),
         p.stat("Reasons for not serving", f"sum(leaseplane_unready{{{DAEMON}}})", width=3,
                steps=NONE_IS_GOOD, links=["LeaseplaneNotServing"],
                about="Daemons that recover, drain or have no store."),
         p.stat("Slots in use", f"sum(leaseplane_pool_busy_slots{{{POOL}}}) "
                f"/ sum(leaseplane_pool_slots{{{POOL}}})", unit="percentunit", steps=FULL,
                bounds=(0, 1), width=3),
         p.stat("Leases granted", f"sum(rate(leaseplane_leases_acquired_total{{{POOL}}}{RATE}))",
                unit="ops", steps=NEUTRAL),
         p.stat("Waiters", f"sum(leaseplane_pool_waiters{{{POOL}}})", steps=FEW_ARE_GOOD, width=3),
         p.stat("Integrity violations", "sum(increase(leaseplane_integrity_violations_total"
                f"{{{POOL}}}[$__range]))", steps=NONE_IS_GOOD, decimals=0, width=3,
                links=["LeaseplaneIntegrityViolations"],
                about="In the time shown. Anything but 0 needs a look."),
         p.stat("Damaged pools", f"sum(leaseplane_pool_damaged{{{POOL}}})", steps=NONE_IS_GOOD,
                width=3, links=["LeaseplanePoolDamaged"],
                about="They have lost shared memory and grant nothing."),
         p.stat("First certificate ends in", f"min({CERTIFICATE_END}{{{DAEMON}}} - time())",
                unit="s", decimals=0, width=3, bounds=(None, None),
                steps=p.thresholds((2 * DAY_S, p.YELLOW), (14 * DAY_S, p.GREEN), base=p.RED),
                links=["LeaseplaneCertificateExpires"],
                about="No data: no daemon has TLS. Certificates of a few days are always yellow.")],
        [p.table("Pools", pools, by=["instance", "pool"], height=7, overrides=[to_pool])],
        [p.lines("Slots in use, share of the pool",
                 p.target(f"pool:leaseplane_busy_slots:ratio{{{POOL}}}", "{{pool}}"),
                 unit="percentunit", bounds=(0, 1), steps=FULL, limit=True,
                 links=["LeaseplanePoolExhausted"]),
         p.lines("Waiters", p.target(f"pool:leaseplane_waiters:sum{{{POOL}}}", "{{pool}}"),
                 links=["LeaseplaneWaitersStarving", "LeaseplaneWaitsLong"])],
        [p.lines("Leases granted", p.target(rate("leaseplane_leases_acquired_total", POOL,
                                                 "pool, path"), "{{pool}}, {{path}}"),
                 unit="ops", stacked=True),
         p.lines("Leases that ended without a release",
                 p.target(rate("leaseplane_leases_ended_total", POOL + ', reason!="released"',
                               "pool, reason"), "{{pool}}, {{reason}}"), unit="ops",
                 links=["LeaseplaneLeasesExpiring"])],
        [p.lines("Tick lag", p.target(quantile(0.99, "leaseplane_tick_lag_seconds", DAEMON,
                                               "instance"), "{{instance}}, 99th percentile"),
                 p.target(quantile(0.5, "leaseplane_tick_lag_seconds", DAEMON, "instance"),
                          "{{instance}}, median"), unit="s", steps=LATE, limit=True, width=8,
                 about="How late the engine looks at the pools, against every 50 ms.",
                 links=["LeaseplaneTickLag"]),
         p.lines("Store lag", p.target(f"leaseplane_store_lag_seconds{{{DAEMON}}}", "{{instance}}"),
                 unit="s", width=8, steps=p.thresholds((10, p.RED)),
                 about="Age of the oldest change that is not in the store yet.",
                 links=["LeaseplaneStoreFailing"]),
         p.lines("Attached processes",
                 p.target(f"leaseplane_sessions{{{DAEMON}}}", "{{instance}}"), width=8,
                 about="Those that use shared memory.", links=["LeaseplaneSessionLeak"])],
    ])


def pool():
    busy = f"sum(leaseplane_pool_busy_slots{{{POOL}}})"
    return p.dashboard("leaseplane-pool", "Leaseplane: pool",
                       "One pool: its slots, who waits, how leases begin and end.",
                       [INSTANCE, ONE_POOL], [
        [p.stat("Slots", f"sum(leaseplane_pool_slots{{{POOL}}})", steps=NEUTRAL, width=3),
         p.stat("Free", f"sum(leaseplane_pool_free_slots{{{POOL}}})", width=3,
                steps=p.thresholds((1, p.GREEN), base=p.RED), links=["LeaseplanePoolExhausted"]),
         p.stat("Leased", busy, steps=NEUTRAL, width=3),
         p.stat("Waiters", f"sum(leaseplane_pool_waiters{{{POOL}}})", steps=FEW_ARE_GOOD, width=3),
         p.stat("First in queue waits", f"max(leaseplane_pool_first_wait_seconds{{{POOL}}})",
                unit="s", steps=p.thresholds((60, p.YELLOW), (600, p.RED)), decimals=1,
                links=["LeaseplaneWaitersStarving", "LeaseplaneWaitsLong"]),
         p.stat("Token epochs used", f"max(leaseplane_token_epoch_used_ratio{{{POOL}}})",
                unit="percentunit", decimals=1, bounds=(0, 1),
                steps=p.thresholds((0.8, p.YELLOW), (0.9, p.RED)),
                links=["LeaseplaneTokenEpochRunningOut"]),
         p.stat("Damaged", f"max(leaseplane_pool_damaged{{{POOL}}})", steps=NONE_IS_GOOD,
                links=["LeaseplanePoolDamaged"],
                about="1: it has lost shared memory and grants nothing.")],
        [p.lines("Slots", p.target(f"sum by (path) (leaseplane_pool_busy_slots{{{POOL}}})",
                                   "leased, {{path}}"),
                 p.target(f"sum by (reason) (leaseplane_pool_withheld_slots{{{POOL}}})",
                          "withheld, {{reason}}"),
                 p.target(f"sum(leaseplane_pool_free_slots{{{POOL}}})", "free"), stacked=True,
                 links=["LeaseplanePoolExhausted"]),
         p.lines("Waiters", p.target(f"sum by (path) (leaseplane_pool_waiters{{{POOL}}})",
                                     "{{path}}"), stacked=True)],
        [p.lines("Leases granted", p.target(rate("leaseplane_leases_acquired_total", POOL, "path"),
                                            "{{path}}"), unit="ops", stacked=True, width=8),
         p.lines("Leases ended", p.target(rate("leaseplane_leases_ended_total", POOL, "reason"),
                                          "{{reason}}"), unit="ops", width=8,
                 about="As far as the daemon sees it: local releases do not pass through it.",
                 links=["LeaseplaneLeasesExpiring"]),
         p.lines("Requests without a lease",
                 p.target(rate("leaseplane_acquire_refused_total", POOL, "reason"), "{{reason}}"),
                 unit="ops", width=8, about="no_free_slot answers a try; it is not a fault.")],
        [p.lines("Wait", p.target(quantile(0.5, "leaseplane_wait_seconds", POOL, "path"),
                                  "{{path}}, median"),
                 p.target(quantile(0.99, "leaseplane_wait_seconds", POOL, "path"),
                          "{{path}}, 99th percentile"), unit="s",
                 about="Of those that waited in the daemon's queue and were granted a slot."),
         p.heat("Waits", buckets("leaseplane_wait_seconds", POOL))],
        [p.lines("Hold", p.target(quantile(0.5, "leaseplane_hold_seconds", POOL, "path"),
                                  "{{path}}, median"),
                 p.target(quantile(0.99, "leaseplane_hold_seconds", POOL, "path"),
                          "{{path}}, 99th percentile"), unit="s",
                 about="Sampled every 50 ms: shorter holds are seldom seen."),
         p.heat("Holds", buckets("leaseplane_hold_seconds", POOL))],
        [p.lines("Renewals", p.target(rate("leaseplane_lease_renewals_total", POOL, "pool"),
                                      "renewals"), unit="ops", width=8),
         p.lines("Fast path closed", p.target(rate("leaseplane_gate_closings_total", POOL, "pool"),
                                              "closings"), unit="ops", width=8,
                 about="So that a waiter gets its turn. Much of it means much contention."),
         p.lines("Stale releases and damage",
                 p.target(rate("leaseplane_stale_releases_total", POOL, "pool"), "stale releases"),
                 p.target(rate("leaseplane_integrity_violations_total", POOL, "pool"),
                          "integrity violations"), unit="ops", width=8,
                 links=["LeaseplaneIntegrityViolations"])],
    ])


def group():
    return p.dashboard("leaseplane-group", "Leaseplane: process group",
                       "Those who use one pool by one path: attached processes (local) or gRPC "
                       "callers (remote), beside the others.",
                       [INSTANCE, ONE_POOL, ONE_PATH], [
        [p.stat("Slots leased", f"sum(leaseplane_pool_busy_slots{{{PATH}}})", width=6,
                steps=NEUTRAL),
         p.stat("Share of the pool", f"sum(leaseplane_pool_busy_slots{{{PATH}}}) "
                f"/ sum(leaseplane_pool_slots{{{POOL}}})", unit="percentunit", width=6,
                steps=NEUTRAL, bounds=(0, 1)),
         p.stat("Leases granted", f"sum(rate(leaseplane_leases_acquired_total{{{PATH}}}{RATE}))",
                unit="ops", width=6, steps=NEUTRAL),
         p.stat("Waiters", f"sum(leaseplane_pool_waiters{{{PATH}}})", width=6,
                steps=FEW_ARE_GOOD)],
        [p.lines("Slots leased", p.target(f"sum(leaseplane_pool_busy_slots{{{PATH}}})", "$path"),
                 p.target(f'sum(leaseplane_pool_busy_slots{{{POOL}, path!~"$path"}})', "others"),
                 p.target(f"sum(leaseplane_pool_free_slots{{{POOL}}})", "free"), stacked=True,
                 links=["LeaseplanePoolExhausted"]),
         p.lines("Leases granted", p.target(rate("leaseplane_leases_acquired_total", PATH, "path"),
                                            "$path"),
                 p.target(rate("leaseplane_leases_acquired_total", POOL + ', path!~"$path"',
                               "path"), "others"), unit="ops")],
        [p.lines("Waiters", p.target(f"sum(leaseplane_pool_waiters{{{PATH}}})", "$path"),
                 p.target(f'sum(leaseplane_pool_waiters{{{POOL}, path!~"$path"}})', "others"),
                 stacked=True),
         p.lines("Wait", *(p.target(quantile(q, "leaseplane_wait_seconds", PATH, "path"), name)
                           for q, name in ((0.5, "median"), (0.9, "90th percentile"),
                                           (0.99, "99th percentile"))), unit="s",
                 links=["LeaseplaneWaitsLong"])],
        [p.lines("Hold", *(p.target(quantile(q, "leaseplane_hold_seconds", PATH, "path"), name)
                           for q, name in ((0.5, "median"), (0.9, "90th percentile"),
                                           (0.99, "99th percentile"))), unit="s",
                 about="Sampled every 50 ms: shorter holds are seldom seen."),
         p.heat("Holds", buckets("leaseplane_hold_seconds", PATH))],
    ])


def grpc():
    faults = f"leaseplane_grpc_requests_total{{{METHOD}, {FAULTS}}}{RATE}"
    everything = f"leaseplane_grpc_requests_total{{{METHOD}}}{RATE}"
    codes = {"Now": (f"sum by (method, code) (rate({everything})) > 0", "reqps", None),
             "In the time shown": (
                 "sum by (method, code) (increase(leaseplane_grpc_requests_total"
                 f"{{{METHOD}}}[$__range])) > 0", "short", None)}
    return p.dashboard("leaseplane-grpc", "Leaseplane: gRPC",
                       "Calls by method and code, and how long the daemon took for them.",
                       [INSTANCE, METHODS], [
        [p.stat("Requests", f"sum(rate({everything}))", unit="reqps", width=6, steps=NEUTRAL),
         p.stat("Faults of the daemon", f"sum(rate({faults})) or vector(0)", unit="reqps", width=6,
                steps=p.thresholds((1e-9, p.RED)), links=["LeaseplaneCallsFailing"],
                about="INTERNAL, UNKNOWN, DATA_LOSS. No slot, or a lease that is over, is none."),
         p.stat("Slowest method, 99th percentile",
                "max(" + quantile(0.99, "leaseplane_grpc_request_seconds", METHOD, "method") + ")",
                unit="s", width=6, decimals=1,
                steps=p.thresholds((0.05, p.YELLOW), (0.5, p.RED))),
         p.stat("Answered: no slot", "sum(rate(leaseplane_acquire_refused_total"
                f"{{{DAEMON}}}{RATE}))", unit="reqps", width=6, steps=NEUTRAL)],
        [p.lines("Requests by method", p.target(f"sum by (method) (rate({everything}))",
                                                "{{method}}"), unit="reqps", stacked=True),
         p.lines("Requests by code", p.target(f"sum by (code) (rate({everything}))", "{{code}}"),
                 unit="reqps", stacked=True, links=["LeaseplaneCallsFailing"])],
        [p.lines("Time, median", p.target(
            quantile(0.5, "leaseplane_grpc_request_seconds", METHOD, "method"), "{{method}}"),
                 unit="s", about="Of calls that wait for nothing: streams and waits for a slot are "
                                 "not in it."),
         p.lines("Time, 99th percentile", p.target(
             quantile(0.99, "leaseplane_grpc_request_seconds", METHOD, "method"), "{{method}}"),
                 unit="s")],
        [p.heat("Times", buckets("leaseplane_grpc_request_seconds", METHOD),
                height=10),
         p.table("Answers", codes, by=["method", "code"], width=12, height=10)],
    ])


def files():
    """{name: text} of all dashboards."""
    return {f"{made['uid'].removeprefix('leaseplane-')}.json":
            json.dumps(made, indent=1, ensure_ascii=False) + "\n"
            for made in (overview(), pool(), group(), grpc())}


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1
                          else pathlib.Path(__file__).parent / "dashboards")
    for name, text in files().items():
        (folder / name).write_text(text)
