# SPDX-License-Identifier: Apache-2.0
"""LeaseStream of the running daemon, by a client made from the protos alone."""

import queue
import signal
import subprocess
import sys
import unittest

import grpc
import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import lease_pb2, lease_service_pb2 as pb


def seconds(value):
    return duration_pb2.Duration(seconds=value)


class Stream:
    """One LeaseStream: send() operations, take() their results by sequence."""

    def __init__(self, stub, timeout=60, **terms):
        self.outgoing = queue.Queue()
        self.call = stub.LeaseStream(iter(self.outgoing.get, None), timeout=timeout,
                                     wait_for_ready=True)
        self.results = {}
        self.next_sequence = 0
        self.outgoing.put(pb.LeaseStreamRequest(**terms))

    def send(self, *operations):
        """One message; the sequences of its operations."""
        request, sequences = pb.LeaseStreamRequest(), []
        for operation in operations:
            self.next_sequence += 1
            sequences.append(self.next_sequence)
            request.operations.add(sequence=self.next_sequence).MergeFrom(operation)
        self.outgoing.put(request)
        return sequences

    def take(self, sequence):
        while sequence not in self.results:
            for result in next(self.call).results:
                assert result.sequence not in self.results, "answered twice"
                self.results[result.sequence] = result
        return self.results[sequence]

    def do(self, *operations):
        return [self.take(sequence) for sequence in self.send(*operations)]

    def end(self):
        self.outgoing.put(None)
        for message in self.call:
            self.results.update((result.sequence, result) for result in message.results)
        return self.call.code()


def acquire(pool="gpu", **fields):
    return pb.LeaseStreamRequest.Operation(
        acquire=pb.AcquireLeaseRequest(parent=f"pools/{pool}", **fields))


def release(acquired):
    return pb.LeaseStreamRequest.Operation(release=pb.ReleaseLeaseRequest(
        name=acquired.name, fencing_token=acquired.fencing_token))


def renew(acquired, **fields):
    return pb.LeaseStreamRequest.Operation(renew=pb.RenewLeaseRequest(
        name=acquired.name, fencing_token=acquired.fencing_token, **fields))


# Another process: takes two slots with release_on_disconnect, says so, and waits to be killed.
HOLDER = """
import queue, sys, grpc
from leaseplane.v1 import lease_service_pb2 as pb, lease_service_pb2_grpc
stub = lease_service_pb2_grpc.LeaseServiceStub(grpc.insecure_channel(sys.argv[1]))
request = pb.LeaseStreamRequest(release_on_disconnect=True)
for sequence in (1, 2):
    request.operations.add(sequence=sequence).acquire.parent = "pools/gpu"
outgoing = queue.Queue()
outgoing.put(request)
count = 0
for message in stub.LeaseStream(iter(outgoing.get, None)):
    count += sum(1 for result in message.results if result.HasField("acquired"))
    if count == 2:
        print("held", flush=True)
"""


class LeaseStream(unittest.TestCase):
    def setUp(self):
        self.daemon = testbed.Daemon(pools=("gpu=2", "big=1000")).start()
        self.addCleanup(self.daemon.close)

    def counts(self, pool="gpu"):
        return testbed.pool_counts(self.daemon, pool)["counts"]

    def await_busy(self, count):
        testbed.wait_until(lambda: self.counts()["busyCount"] == count,
                           f"{count} busy slots")

    def test_a_life_of_a_lease_on_both_transports(self):
        for unix in (False, True):
            with self.subTest(unix=unix):
                stub = self.daemon.leases(unix)
                stream = Stream(stub, client_id="py")
                [got] = stream.do(acquire(ttl=seconds(30), metadata={"job": "17"}))
                lease = got.acquired
                self.assertTrue(0 < lease.fencing_token < 2**53)
                self.assertTrue(29 < lease.remaining_duration.ToNanoseconds() / 1e9 <= 30)
                self.assertEqual(lease.renew_interval.ToNanoseconds(), 10 * 10**9)
                seen = stub.GetLease(pb.GetLeaseRequest(name=lease.name), timeout=10)
                self.assertEqual((seen.slot_index, seen.fencing_token, seen.client_id),
                                 (lease.slot_index, lease.fencing_token, "py"))
                self.assertEqual(dict(seen.metadata), {"job": "17"})
                renewed, released, again, late = stream.do(
                    renew(lease, ttl=seconds(60)), release(lease), release(lease), renew(lease))
                self.assertTrue(
                    59 < renewed.renewed.remaining_duration.ToNanoseconds() / 1e9 <= 60)
                self.assertTrue(released.HasField("released"))
                self.assertTrue(again.HasField("released"), "idempotent for its holder")
                self.assertEqual((late.error.code, late.error.reason),
                                 (grpc.StatusCode.FAILED_PRECONDITION.value[0],
                                  lease_pb2.LEASE_RELEASED))
                self.assertEqual(stream.end(), grpc.StatusCode.OK)

    def test_batches_take_and_give_every_slot_once(self):
        stream = Stream(self.daemon.leases(), client_id="py")
        for _ in range(3):
            sequences = [s for _ in range(4) for s in stream.send(*[acquire("big")] * 250)]
            leases = [stream.take(sequence).acquired for sequence in sequences]
            self.assertEqual(sorted(lease.slot_index for lease in leases), list(range(1000)))
            self.assertEqual(stream.do(acquire("big"))[0].error.reason, lease_pb2.NO_FREE_SLOT)
            for start in range(0, 1000, 250):
                for result in stream.do(*map(release, leases[start:start + 250])):
                    self.assertTrue(result.HasField("released"))
        self.assertEqual(stream.end(), grpc.StatusCode.OK)
        self.assertEqual(self.counts("big")["freeCount"], 1000)

    def test_a_wait_is_granted_by_a_release_behind_it_in_the_same_stream(self):
        stream = Stream(self.daemon.leases())
        first, _ = stream.do(acquire(), acquire())
        [waiting] = stream.send(acquire(max_wait_duration=seconds(50)))
        testbed.wait_until(lambda: self.counts()["waiterCount"] == 1, "the waiter")
        stream.send(release(first.acquired))
        got = stream.take(waiting).acquired
        self.assertEqual(got.slot_index, first.acquired.slot_index)
        self.assertGreater(got.fencing_token, first.acquired.fencing_token)

    def test_waits_end_with_the_stream(self):
        holder = Stream(self.daemon.leases())
        first, _ = holder.do(acquire(), acquire())
        waiter = Stream(self.daemon.leases())
        waiter.send(acquire(max_wait_duration=seconds(50)))
        testbed.wait_until(lambda: self.counts()["waiterCount"] == 1, "the waiter")
        waiter.call.cancel()
        testbed.wait_until(lambda: self.counts()["waiterCount"] == 0, "the end of the wait")
        holder.do(release(first.acquired))
        self.assertEqual(self.counts()["freeCount"], 1)

    def test_the_same_request_id_gets_the_same_lease_by_either_method(self):
        stub = self.daemon.leases()
        wish = dict(request_id="0f0e0d0c-0b0a-4908-8706-050403020100", client_id="py")
        [got] = Stream(stub, client_id="py").do(acquire(request_id=wish["request_id"]))
        again = stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu", **wish), timeout=10)
        self.assertEqual(again.lease.name, got.acquired.name)

    def test_leases_live_on_after_the_stream_unless_it_asked_otherwise(self):
        stream = Stream(self.daemon.leases())
        stream.do(acquire())
        self.assertEqual(stream.end(), grpc.StatusCode.OK)
        other = Stream(self.daemon.leases(), release_on_disconnect=True)
        other.do(acquire())
        self.await_busy(2)
        self.assertEqual(other.end(), grpc.StatusCode.OK)
        self.await_busy(1)

    def test_a_killed_client_gives_its_slots_back(self):
        process = subprocess.Popen([sys.executable, "-c", HOLDER, self.daemon.grpc_address],
                                   stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), b"held\n")
        self.assertEqual(self.counts()["busyCount"], 2)
        process.send_signal(signal.SIGKILL)
        process.wait(testbed.WATCHDOG_S)
        self.await_busy(0)

    def test_a_restarted_worker_keeps_what_a_stream_was_told(self):
        stream = Stream(self.daemon.leases(unix=True))
        [got] = stream.do(acquire(ttl=seconds(600)))
        self.daemon.kill_worker()
        with self.assertRaises(grpc.RpcError) as caught:
            stream.take(-1)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

        def seen():
            try:
                return self.daemon.leases(unix=True).GetLease(
                    pb.GetLeaseRequest(name=got.acquired.name), timeout=10)
            except grpc.RpcError:
                return None
        lease = testbed.wait_until(seen, "the next worker")
        self.assertEqual((lease.state, lease.fencing_token),
                         (lease_pb2.Lease.STATE_ACTIVE, got.acquired.fencing_token))

    def test_a_drain_is_told_and_ends_the_stream(self):
        stream = Stream(self.daemon.leases(), release_on_disconnect=True)
        stream.do(acquire())
        self.daemon.process.send_signal(signal.SIGTERM)
        messages = []
        with self.assertRaises(grpc.RpcError) as caught:
            for message in stream.call:
                messages.append(message)
        self.assertEqual(testbed.reason_of(caught.exception)[:2], ("UNAVAILABLE", "DRAINING"))
        self.assertTrue(any(message.HasField("draining") for message in messages))
        self.assertEqual(self.daemon.process.wait(testbed.WATCHDOG_S), 0)
        self.daemon.start()
        self.assertEqual(self.counts()["busyCount"], 1, "kept, not released")


if __name__ == "__main__":
    unittest.main()
