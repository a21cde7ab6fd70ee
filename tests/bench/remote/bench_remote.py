# SPDX-License-Identifier: Apache-2.0
"""The remote path beside its floor and its peers.

All servers run at once and are measured in turn, again and again, so that a ratio is of figures
taken seconds apart. A pair is an acquire and its release. CPU is of the server's processes alone.

  bench_remote.py --bin build/bench/bin --out build/bench/remote.json [--quick]
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import results  # noqa: E402
import servers  # noqa: E402

METRICS = {"pairs_per_s": "1/s", "p50_us": "us", "p99_us": "us", "cpu_us_per_pair": "us"}


class Row:
    """One system in one way of use: what to run, for a number of messages in flight."""

    def __init__(self, name, server, command, in_flights=(1, 8, 64), **params):
        self.name, self.server, self.command = name, server, command
        self.in_flights, self.params = in_flights, params
        self.samples = {n: [] for n in in_flights}  # in flight -> one dict a repetition

    def run(self, in_flight, seconds):
        command = [*self.command, "--in-flight", in_flight, "--seconds", seconds, "--server-pid",
                   self.server.pid]
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, timeout=120,
                              check=True)
        self.samples[in_flight].append(json.loads(done.stdout))


class Bench:
    def __init__(self, bin_dir, folder):
        self.bin, self.folder = pathlib.Path(bin_dir), pathlib.Path(folder)
        self.servers, self.rows = [], []

    def start(self, name, start, *args):
        """The started server, or None with a word if its package is not installed."""
        folder = self.folder / name
        folder.mkdir(mode=0o755)
        try:
            server = start(folder, *args)
        except (FileNotFoundError, RuntimeError) as error:
            print(f"skipped {name}: {error}", flush=True)
            return None
        self.servers.append(server)
        return server

    def stop(self):
        for server in self.servers:
            server.stop()

    def add_leases(self, server, prefix, target, transport, pool="bench", **params):
        load = [self.bin / "lease_load", "--target", target, "--pool", pool]
        params = {"transport": transport, **params}
        self.rows.append(Row(f"{prefix} unary", server, load, **params))
        if transport == "tcp" or pool != "bench":
            return
        stream = [*load, "--stream"]
        self.rows.append(Row(f"{prefix} stream", server, stream, **params))
        for batch in (16, 64):
            self.rows.append(Row(f"{prefix} stream of {batch}", server,
                                 [*stream, "--batch", batch], in_flights=(1, 8), batch=batch,
                                 **params))

    def start_all(self):
        echo = self.bin / "echo_server"
        for api in ("callback", "async"):
            server = self.start(f"echo-{api}", servers.start_echo, echo, api)
            self.add_leases(server, f"echo {api}", server.unix, "unix")
        tcp = self.start("echo-tcp", servers.start_echo_tcp, echo, "callback")
        self.add_leases(tcp, "echo callback", tcp.tcp, "tcp")
        own = self.start("leaseplaned", servers.start_leaseplaned, self.bin / "leaseplaned")
        self.add_leases(own, "leaseplaned", own.unix, "unix", durability="ASYNC")
        self.add_leases(own, "leaseplaned", own.unix, "unix", pool="none", durability="NONE")
        self.add_leases(own, "leaseplaned", own.tcp, "tcp", durability="ASYNC")
        self.start_peers()

    def start_peers(self):
        text = self.bin / "text_load"
        if redis := self.start("redis", servers.start_redis):
            for transport, address in (("unix", redis.unix), ("tcp", redis.tcp)):
                self.rows.append(Row("redis", redis, [text, "--system", "redis", "--address",
                                                      address], transport=transport))
        if memcached := self.start("memcached", servers.start_memcached):
            self.rows.append(Row("memcached", memcached, [text, "--system", "memcached",
                                                          "--address", memcached.tcp],
                                 transport="tcp"))
        if etcd := self.start("etcd", servers.start_etcd):
            for method in ("lock", "txn"):
                self.rows.append(Row(f"etcd {method}", etcd,
                                     [self.bin / "etcd_load", "--method", method, "--address",
                                      etcd.tcp], transport="tcp"))
        load = self.bin / "postgres_load"
        if load.exists() and (postgres := self.start("postgres", servers.start_postgres)):
            for method in ("advisory", "skip-locked"):
                self.rows.append(Row(f"postgres {method}", postgres,
                                     [load, "--method", method, "--connect", postgres.options],
                                     transport="unix"))

    def run(self, repetitions, seconds):
        for repetition in range(repetitions):
            for in_flight in (1, 8, 64):
                for row in self.rows:
                    if in_flight in row.in_flights:
                        row.run(in_flight, seconds)
            print(f"repetition {repetition + 1} of {repetitions} done", flush=True)

    def find(self, name, **params):
        for row in self.rows:
            if row.name == name and all(row.params.get(k) == v for k, v in params.items()):
                return row
        return None


def add_ratios(bench, out):
    """The figures that targets are set for; each a ratio within one repetition."""
    def values(row, in_flight, metric):
        return [sample[metric] for sample in row.samples[in_flight]]

    def ratio(name, above, below, metric, in_flights=(64, 64)):
        if above is None or below is None:
            return
        pairs = zip(values(above, in_flights[0], metric), values(below, in_flights[1], metric))
        out.add(name, {"in_flight": in_flights[0]}, f"ratio of {metric}", "1",
                [a / b for a, b in pairs if b])

    own = {d: bench.find("leaseplaned unary", transport="unix", durability=d)
           for d in ("ASYNC", "NONE")}
    tcp = bench.find("leaseplaned unary", transport="tcp")
    stream = bench.find("leaseplaned stream")
    for durability, row in own.items():
        for metric in ("pairs_per_s", "cpu_us_per_pair"):
            ratio(f"unary {durability} / echo callback", row,
                  bench.find("echo callback unary", transport="unix"), metric)
            ratio(f"unary {durability} / echo async", row, bench.find("echo async unary"), metric)
    ratio("unary tcp / echo callback tcp", tcp, bench.find("echo callback unary", transport="tcp"),
          "cpu_us_per_pair")
    ratio("echo async / echo callback", bench.find("echo async unary"),
          bench.find("echo callback unary", transport="unix"), "cpu_us_per_pair")
    ratio("stream / echo stream", stream, bench.find("echo callback stream"), "cpu_us_per_pair")
    ratio("unary / stream", own["ASYNC"], stream, "cpu_us_per_pair")
    for batch in (16, 64):
        ratio(f"unary / stream of {batch}", own["ASYNC"],
              bench.find(f"leaseplaned stream of {batch}"), "cpu_us_per_pair", (64, 8))
    ratio("stream / redis unix", stream, bench.find("redis", transport="unix"), "cpu_us_per_pair")
    ratio("unary / redis tcp", own["ASYNC"], bench.find("redis", transport="tcp"),
          "cpu_us_per_pair")
    ratio("unary tcp / redis tcp", tcp, bench.find("redis", transport="tcp"), "cpu_us_per_pair")
    ratio("unary / etcd lock", own["ASYNC"], bench.find("etcd lock"), "cpu_us_per_pair")
    ratio("unary / postgres skip-locked", own["ASYNC"], bench.find("postgres skip-locked"),
          "cpu_us_per_pair")


def report(bench):
    out = results.Results("remote")
    for row in bench.rows:
        for in_flight, samples in row.samples.items():
            medians = [out.add(row.name, {**row.params, "in_flight": in_flight}, metric, unit,
                               [sample[metric] for sample in samples])
                       for metric, unit in METRICS.items()]
            print(f"{row.name:28} {row.params.get('transport', ''):5} "
                  f"{row.params.get('durability', ''):6} {in_flight:3} in flight  "
                  f"{medians[0]:10.0f} pairs/s  p50 {medians[1]:8.1f}  p99 {medians[2]:8.1f} us  "
                  f"CPU {medians[3]:8.2f} us/pair")
    first = len(out.entries)
    add_ratios(bench, out)
    for entry in out.entries[first:]:
        print(f"{entry['name']:40} {entry['metric']:26} {entry['median']:6.3f} "
              f"[{entry['spread'][0]:.3f} .. {entry['spread'][1]:.3f}]")
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--quick", action="store_true", help="at most two minutes")
    parser.add_argument("--only", default="", help="rows whose name has this text")
    arguments = parser.parse_args()
    repetitions, seconds = (1, 0.5) if arguments.quick else (5, 1.2)
    # Short paths: a Unix socket's may have 107 bytes.
    folder = tempfile.mkdtemp(prefix="lpb-")
    os.chmod(folder, 0o755)
    bench = Bench(arguments.bin, folder)
    try:
        bench.start_all()
        bench.rows = [row for row in bench.rows if arguments.only in row.name]
        bench.run(repetitions, seconds)
        report(bench).write(arguments.out)
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
