#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The memory of the container with many pools, slots and remote leases is within the formula of
docs/deploy.md. Counted as a kubelet does: what is charged, less file pages that were not used of
late."""

import concurrent.futures
import pathlib
import re
import unittest

import grpc

from container_test import Container
from leaseplane.v1 import lease_service_pb2 as pb, lease_service_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from manifests import memory_formula
from podman import first_pid, say

POOLS, SLOTS_OF_A_POOL, SLOTS_OF_THE_LARGE, LEASES = 20, 100, 100_000, 5_000
CGROUPS = pathlib.Path("/sys/fs/cgroup")


def working_set(pid):
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            folder, charged, unused = CGROUPS / "memory", "usage_in_bytes", "total_inactive_file"
        elif controllers == "" and (CGROUPS / "cgroup.controllers").exists():
            folder, charged, unused = CGROUPS, "current", "inactive_file"
        else:
            continue
        folder /= path.lstrip("/")
        stat = (folder / "memory.stat").read_text()
        return int((folder / f"memory.{charged}").read_text()) - \
            int(re.search(rf"^{unused} (\d+)$", stat, re.M).group(1))
    raise AssertionError("no cgroup counts memory")


class MemoryTest(unittest.TestCase):

    def test_many_pools_slots_and_leases(self):
        (daemon_bytes, a_pool, a_slot, a_lease, _), _ = memory_formula()
        pools = [f"--pool=small{i}={SLOTS_OF_A_POOL}" for i in range(POOLS)]
        with Container(*pools, f"--pool=large={SLOTS_OF_THE_LARGE}") as daemon:
            pid = first_pid(daemon.name)
            empty = working_set(pid)
            with grpc.insecure_channel(daemon.address()) as channel:
                stub = lease_service_pb2_grpc.LeaseServiceStub(channel)
                self.take(stub)
            used = working_set(pid)
        slots = POOLS * SLOTS_OF_A_POOL + SLOTS_OF_THE_LARGE
        allowed = daemon_bytes + (POOLS + 1) * a_pool + slots * a_slot + LEASES * a_lease
        say(f"{POOLS + 1} pools, {slots} slots: {empty / (1 << 20):.1f} MiB; with {LEASES} remote "
            f"leases {used / (1 << 20):.1f} MiB; the formula allows {allowed / (1 << 20):.1f} MiB")
        self.assertLessEqual(used, allowed)

    def take(self, stub):
        request = pb.AcquireLeaseRequest(parent="pools/large", ttl=Duration(seconds=300))
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            calls = [threads.submit(stub.AcquireLease, request, timeout=60) for _ in range(LEASES)]
            slots = {call.result().lease.slot_index for call in calls}
        self.assertEqual(len(slots), LEASES)


if __name__ == "__main__":
    unittest.main()
