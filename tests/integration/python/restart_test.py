# SPDX-License-Identifier: Apache-2.0
"""What a restart keeps: of the worker, of the keeper, of the host."""

import subprocess
import threading
import time
import unittest

import grpc

import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import lease_service_pb2 as pb

D = duration_pb2.Duration


class Restart(unittest.TestCase):
    def setUp(self):
        self.daemon = testbed.Daemon(pools=("gpu=3",)).start()
        self.addCleanup(self.daemon.close)

    def acquire(self, **fields):
        # After a restart the daemon may say RECOVERING for as long as local holders may declare.
        def granted():
            try:
                return self.daemon.leases().AcquireLease(
                    pb.AcquireLeaseRequest(parent="pools/gpu", **fields), timeout=10).lease
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error)
                return None
        return testbed.wait_until(granted, "a grant")

    def answered(self, call, request):
        def done():
            try:
                return call(request, timeout=10)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                return None
        return testbed.wait_until(done, "an answer")

    def check_kept(self, lease):
        stub = self.daemon.leases()
        got = self.answered(stub.GetLease, pb.GetLeaseRequest(name=lease.name))
        self.assertEqual((got.slot_index, got.fencing_token, got.client_id, dict(got.metadata)),
                         (lease.slot_index, lease.fencing_token, lease.client_id,
                          dict(lease.metadata)))
        self.answered(stub.RenewLease, pb.RenewLeaseRequest(
            name=lease.name, fencing_token=lease.fencing_token))

    def check_released_answers_stay(self, lease):
        with self.assertRaises(grpc.RpcError) as caught:
            self.daemon.leases().RenewLease(pb.RenewLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token), timeout=10)
        self.assertEqual(testbed.reason_of(caught.exception)[1], "LEASE_RELEASED")

    def start_over(self, how):
        held = self.acquire(ttl=D(seconds=60), client_id="c", metadata={"job": "1"})
        gone = self.acquire(ttl=D(seconds=60))
        self.daemon.leases().ReleaseLease(pb.ReleaseLeaseRequest(
            name=gone.name, fencing_token=gone.fencing_token), timeout=10)
        how()
        self.check_kept(held)
        self.check_released_answers_stay(gone)
        tokens = {held.slot_index: held.fencing_token, gone.slot_index: gone.fencing_token}
        for _ in range(2):
            fresh = self.acquire()
            self.assertNotEqual(fresh.slot_index, held.slot_index)
            self.assertGreater(fresh.fencing_token, tokens.get(fresh.slot_index, 0))

    def test_the_worker_is_killed(self):
        def kill():
            old = self.daemon.kill_worker()
            testbed.wait_until(lambda: self.daemon.worker_pid() not in (None, old), "a worker")
        self.start_over(kill)

    def test_the_keeper_is_killed(self):
        def kill():
            self.daemon.kill()
            self.daemon.start()
        self.start_over(kill)

    def test_a_clean_stop(self):
        def stop():
            self.assertEqual(self.daemon.stop(), 0)
            self.daemon.start()
        self.start_over(stop)

    def test_the_ledger_is_lost_and_the_store_is_kept(self):
        def lose():
            self.assertEqual(self.daemon.stop(), 0)
            for path in (self.daemon.root / "state" / "ledger").iterdir():
                path.unlink()
            self.daemon.start()
        self.start_over(lose)

    def test_a_request_id_finds_its_lease_again(self):
        request = dict(ttl=D(seconds=60), request_id="0f0e0d0c-0b0a-4908-8706-050403020100")
        first = self.acquire(**request)
        self.daemon.kill_worker()
        self.assertEqual(self.acquire(**request).name, first.name)
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.acquire(**request).name, first.name)

    def test_the_grace_after_a_restart_is_the_configured_one(self):
        self.daemon.close()
        self.daemon = testbed.Daemon("--restart-grace", "10m", pools=("gpu=3",)).start()
        self.addCleanup(self.daemon.close)
        lease = self.acquire(ttl=D(seconds=60))

        def look():
            return self.answered(self.daemon.leases().GetLease, pb.GetLeaseRequest(name=lease.name))

        before = lease.expire_time.ToNanoseconds()
        # Half a second of the minute is used up, so that giving all of it again can be seen.
        end = time.monotonic() + 0.5
        testbed.wait_until(lambda: time.monotonic() > end, "half a second")
        self.assertLess(abs(look().expire_time.ToNanoseconds() - before), 250_000_000)
        old = self.daemon.kill_worker()
        testbed.wait_until(lambda: self.daemon.worker_pid() not in (None, old), "a worker")
        self.assertGreater(look().expire_time.ToNanoseconds() - before, 400_000_000)

    def test_a_local_holder_lives_through_the_death_of_worker_and_keeper(self):
        holder = subprocess.Popen(
            [str(testbed.BIN / "lease_holder"), f"unix:{self.daemon.socket}", "gpu"],
            stdout=subprocess.PIPE)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        slot, token = map(int, holder.stdout.readline().split())
        for how in ("worker", "keeper"):
            with self.subTest(how):
                if how == "worker":
                    self.daemon.kill_worker()
                else:
                    self.daemon.kill()
                    self.daemon.start()
                name = f"pools/gpu/leases/local-{slot}-{token}"
                stub = self.daemon.leases()

                def seen():
                    try:
                        return stub.GetLease(pb.GetLeaseRequest(name=name), timeout=10)
                    except grpc.RpcError:
                        return None

                testbed.wait_until(seen, f"the holder's lease after the end of the {how}")
                others = {self.acquire().slot_index for _ in range(2)}
                self.assertNotIn(slot, others)
                for lease in self.daemon.leases().ListLeases(
                        pb.ListLeasesRequest(parent="pools/gpu"), timeout=10).leases:
                    if lease.slot_index != slot:
                        self.daemon.leases().ReleaseLease(pb.ReleaseLeaseRequest(
                            name=lease.name, fencing_token=lease.fencing_token), timeout=10)
        holder.kill()
        holder.wait()
        testbed.wait_until(
            lambda: testbed.pool_counts(self.daemon, "gpu")["counts"]["freeCount"] == 3,
            "the slot of the dead holder")

    def test_a_waiter_with_a_request_id_keeps_its_place_over_a_worker_restart(self):
        held = [self.acquire(ttl=D(seconds=60)) for _ in range(3)]
        got = []
        request = pb.AcquireLeaseRequest(
            parent="pools/gpu", max_wait_duration=D(seconds=30), ttl=D(seconds=60),
            request_id="1f0e0d0c-0b0a-4908-8706-050403020100")
        waiter = threading.Thread(target=lambda: got.append(
            self.answered(self.daemon.leases().AcquireLease, request)))
        waiter.start()
        testbed.wait_until(
            lambda: testbed.pool_counts(self.daemon, "gpu")["counts"]["waiterCount"] == 1,
            "the waiter")
        self.daemon.kill_worker()
        self.answered(self.daemon.leases().ReleaseLease, pb.ReleaseLeaseRequest(
            name=held[0].name, fencing_token=held[0].fencing_token))
        waiter.join(testbed.WATCHDOG_S)
        self.assertEqual(got[0].lease.slot_index, held[0].slot_index)


if __name__ == "__main__":
    unittest.main()
