# SPDX-License-Identifier: Apache-2.0
"""A thread that leases over gRPC while the daemon is killed, under the eyes of a guard file."""

import random
import threading
import time
import uuid

import grpc

import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import lease_service_pb2 as pb

RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class RemoteHolder(threading.Thread):
    """Acquires, renews and releases with retries; every answer must stay true.

    `guard` is its own object of the guard file. Ends after `done` is set; then `leases` and
    `faults` may be read.
    """

    def __init__(self, daemon, guard, index, seed, hold_s=0.02):
        super().__init__(daemon=True)
        self.daemon_under_test, self.guard = daemon, guard
        self.index, self.who, self.hold_s = index, 10**9 + index, hold_s
        self.rng = random.Random(seed + index)
        self.done, self.leases, self.faults = threading.Event(), 0, []
        self.connect()

    def connect(self):
        # A new channel: an old one would wait for seconds before it tries the address again.
        self.stub = self.daemon_under_test.leases(unix=self.index % 2 == 0)

    def call(self, name, request):
        """The answer, or the error that is one; repeats what failed because no worker was there."""
        while True:
            try:
                return getattr(self.stub, name)(request, timeout=5)
            except grpc.RpcError as error:
                if error.code() not in RETRIED:
                    return error
            time.sleep(0.005)
            self.connect()

    def fault(self, text):
        if text:
            self.faults.append(f"remote {self.index}: {text}")

    def run(self):
        while not self.done.is_set():
            got = self.call("AcquireLease", pb.AcquireLeaseRequest(
                parent="pools/p", ttl=duration_pb2.Duration(seconds=60),
                max_wait_duration=duration_pb2.Duration(seconds=2),
                request_id=str(uuid.UUID(int=self.rng.getrandbits(128), version=4))))
            if not isinstance(got, grpc.RpcError):
                self.leases += 1
                self.hold(got.lease)
            elif testbed.reason_of(got)[1] not in ("WAIT_TIMEOUT", "NO_FREE_SLOT"):
                self.fault(f"acquire: {testbed.reason_of(got)} {got.details()}")

    def hold(self, lease):
        self.fault(self.guard.enter(lease.slot_index, lease.fencing_token, self.who))
        time.sleep(self.rng.random() * self.hold_s)
        renewed = self.call("RenewLease", pb.RenewLeaseRequest(
            name=lease.name, fencing_token=lease.fencing_token))
        if isinstance(renewed, grpc.RpcError):
            self.fault(f"renew of {lease.name}: {testbed.reason_of(renewed)}")
        elif renewed.lease.slot_index != lease.slot_index:
            self.fault(f"{lease.name} moved to slot {renewed.lease.slot_index}")
        self.fault(self.guard.leave(lease.slot_index, self.who))
        released = self.call("ReleaseLease", pb.ReleaseLeaseRequest(
            name=lease.name, fencing_token=lease.fencing_token))
        if isinstance(released, grpc.RpcError):
            self.fault(f"release of {lease.name}: {testbed.reason_of(released)}")
