# SPDX-License-Identifier: Apache-2.0
"""What happened in the demo, proved from the logs that the jobs wrote while they held a slot."""

import dataclasses
import json
import time

SLOTS = 3


@dataclasses.dataclass
class Kill:
    job: int
    slot: int
    token: int
    at_ns: int
    what: str
    kept_by_job: bool | None  # local: was the lease valid after leasectl alone was dead?
    back_ns: int | None = None  # when the daemon was first seen not to count the lease any more


@dataclasses.dataclass
class Hold:
    """One job's time in a slot, as the job itself saw it."""
    job: int
    path: str
    slot: int
    resource: str
    token: int
    begin_ns: int
    end_ns: int
    result: str


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def read_events(path):
    """Events of one job by name; none if it has not begun."""
    if not path.exists():
        return {}
    lines = path.read_text().split("\n")[:-1]  # what has no line end is not written yet
    events = [json.loads(line) for line in lines]
    return {event["event"]: event for event in events}


def holds_of(logs, kills):
    killed = {kill.job: kill for kill in kills}
    holds = []
    for job, events in logs.items():
        begin, end = events.get("begin"), events.get("end")
        if begin is None:
            continue
        if job in killed:
            end_ns, result = killed[job].at_ns, "killed"
        elif end is not None:
            end_ns = end["t"]
            result = f"{end['bytes']} -> {end['packed']} {end['by']} {end['sha256'][:12]}"
        else:
            end_ns, result = begin["t"], "did not end"
        holds.append(Hold(job, "local" if job % 2 else "remote", begin["slot"], begin["resource"],
                          begin["token"], begin["t"], end_ns, result))
    return sorted(holds, key=lambda hold: hold.begin_ns)


def most_at_once(holds):
    changes = sorted([(hold.begin_ns, 1) for hold in holds] + [(hold.end_ns, -1) for hold in holds])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def by_slot(holds):
    slots = {}
    for hold in holds:
        slots.setdefault(hold.slot, []).append(hold)
    return slots


def next_hold(holds, kill):
    later = [h for h in holds if h.slot == kill.slot and h.token > kill.token]
    return min(later, key=lambda h: h.begin_ns, default=None)


def metric_lines(pool, text):
    return [line for line in text.splitlines()
            if not line.startswith("#") and f'pool="{pool}"' in line and "_bucket{" not in line]


def metric(lines, name, **labels):
    """Sum of the samples of a metric that have these labels; None if there is none."""
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{")
             and all(f'{key}="{value}"' in line for key, value in labels.items())]
    return sum(found) if found else None


def print_table(holds):
    start = holds[0].begin_ns
    print(f"\n{'JOB':>3}  {'PATH':<6}  {'SLOT':<10}  {'TOKEN':>16}  {'FROM':>7}  {'TO':>7}  "
          "BYTES -> PACKED, SHA-256")
    for hold in holds:
        slot = f"{hold.slot} {hold.resource}"
        print(f"{hold.job:>3}  {hold.path:<6}  {slot:<10}  {hold.token:>16}  "
              f"{(hold.begin_ns - start) / 1e9:>6.2f}s  {(hold.end_ns - start) / 1e9:>6.2f}s  "
              f"{hold.result}")


class Proof:
    def __init__(self):
        self.holds = True

    def claim(self, is_true, text):
        print(f"  {'yes' if is_true else 'NO '}  {text}")
        self.holds = self.holds and is_true


def print_report(pool, logs, exit_codes, kills, metrics):
    """Prints table, proof and metrics; true if all that is claimed holds."""
    holds = holds_of(logs, kills)
    print_table(holds)
    proof = Proof()
    print("\nProof, from the jobs' own clocks:")
    victims = {kill.job for kill in kills}
    failed = [job for job, code in exit_codes.items() if job not in victims and code != 0]
    proof.claim(not failed and len(holds) == len(logs) and
                all(hold.result != "did not end" for hold in holds),
                f"all {len(logs)} jobs had a slot, and all but the killed ones ended well" +
                (f" (failed: {failed})" if failed else ""))
    most = most_at_once(holds)
    proof.claim(most <= SLOTS, f"never more than {SLOTS} at once (most: {most})")
    slots = by_slot(holds)
    proof.claim(all(a.end_ns <= b.begin_ns for hold in slots.values()
                    for a, b in zip(hold, hold[1:])), "never two on one slot")
    proof.claim(all(a.token < b.token for hold in slots.values() for a, b in zip(hold, hold[1:])),
                "tokens strictly increase on each slot")
    print_kills(proof, holds, kills)
    print_metrics(proof, pool, holds, metrics)
    print(f"\n{'All of it holds.' if proof.holds else 'SOMETHING DOES NOT HOLD.'}", flush=True)
    return proof.holds


def print_kills(proof, holds, kills):
    print("\nKilled with -9 in the middle:")
    for kill in kills:
        path = "local" if kill.job % 2 else "remote"
        successor = next_hold(holds, kill)
        if kill.kept_by_job is not None:
            proof.claim(kill.kept_by_job, f"job {kill.job} ({path}) kept its lease while only its "
                                          "leasectl was dead")
        text = f"job {kill.job} ({path}; {kill.what}): slot {kill.slot} came back"
        seen_ns = [t for t in (kill.back_ns, successor and successor.begin_ns) if t]
        proof.claim(bool(seen_ns), text + (f" within {(min(seen_ns) - kill.at_ns) / 1e6:.0f} ms"
                                           if seen_ns else ": never") +
                    (f" (next: job {successor.job})" if successor else ""))


def print_metrics(proof, pool, holds, text):
    lines = metric_lines(pool, text)
    print("\nThe daemon counted:")
    for line in lines:
        if any(word in line for word in ("acquired_total", "ended_total", "recovered", "slots{")):
            print("  " + line)
    for path in ("local", "remote"):
        expected = sum(hold.path == path for hold in holds)
        counted = metric(lines, "leaseplane_leases_acquired_total", path=path)
        proof.claim(counted == expected,
                    f"{expected} {path} leases in the table, {counted or 0:.0f} in /metrics")
