# SPDX-License-Identifier: Apache-2.0
"""Rubbish on the attach socket closes the connection, is counted, and harms nobody."""

import array
import os
import random
import socket
import struct
import unittest

import testbed
from leaseplane.v1 import lease_service_pb2 as pb

MESSAGE_BYTES = 128
MAGIC = 0x4C504131
K_HELLO, K_OPEN_POOL, K_ENQUEUE, K_WELCOME, K_REFUSED = 1, 2, 3, 64, 65


def message(kind, body=b""):
    return struct.pack("=II", kind, 0) + body.ljust(MESSAGE_BYTES - 8, b"\0")


def hello(abi=(1, 0)):
    return message(K_HELLO, struct.pack("=IHHII48s", MAGIC, *abi, 0, 0, b"test"))


class AttachAbuse(unittest.TestCase):
    def setUp(self):
        # Places are free again when a process ends, and this one attaches often.
        self.daemon = testbed.Daemon("--max-sessions-per-process", "10000").start()
        self.addCleanup(self.daemon.close)
        self.path = str(self.daemon.socket.parent / "attach.sock")

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(sock.close)
        sock.settimeout(testbed.WATCHDOG_S)
        sock.connect(self.path)
        return sock

    def attach(self):
        sock = self.connect()
        sock.send(hello())
        data, fds, _, _ = socket.recv_fds(sock, MESSAGE_BYTES, 8)
        for fd in fds:
            self.addCleanup(os.close, fd)
        self.assertEqual(struct.unpack_from("=I", data)[0], K_WELCOME)
        return sock

    def assert_closed(self, sock):
        try:
            while sock.recv(4096):
                pass
        except ConnectionError:
            pass

    def rejected(self):
        return sum(value for name, value in self.daemon.metrics().items()
                   if name.startswith("leaseplane_attach_rejected_total"))

    def assert_serving(self):
        stub = self.daemon.leases()
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu"), timeout=10).lease
        stub.ReleaseLease(pb.ReleaseLeaseRequest(name=lease.name,
                                                 fencing_token=lease.fencing_token), timeout=10)
        self.attach().close()

    def test_rubbish_is_closed_and_counted(self):
        cases = {
            "short": b"x", "empty kind": message(0), "long": b"y" * 4000,
            "wrong direction": message(K_WELCOME), "unknown kind": message(9999),
            "no hello first": message(K_OPEN_POOL, b"gpu"),
            "bad magic": message(K_HELLO, struct.pack("=IHH", 1, 1, 0)),
        }
        for name, data in cases.items():
            with self.subTest(name):
                before = self.rejected()
                sock = self.connect()
                sock.send(data)
                self.assert_closed(sock)
                testbed.wait_until(lambda: self.rejected() > before, "the count")
        self.assert_serving()

    def test_rubbish_of_an_attached_process_ends_its_session(self):
        for name, data in {
                "pool handle": message(K_ENQUEUE, struct.pack("=IIQqq", 70000, 0, 1, 0, 1)),
                "negative wait": message(K_ENQUEUE, struct.pack("=IIQqq", 2**32 - 1, 0, 1, -1, -1)),
                "unterminated name": message(K_OPEN_POOL, struct.pack("=II", 1, 0) + b"a" * 64),
                "short": b"z" * 127}.items():
            with self.subTest(name):
                sock = self.attach()
                sock.send(data)
                self.assert_closed(sock)
        self.assert_serving()

    def test_another_abi_is_refused_with_a_reason(self):
        sock = self.connect()
        sock.send(hello(abi=(2, 0)))
        data = sock.recv(MESSAGE_BYTES)
        kind, _, _, reason = struct.unpack_from("=IIII", data)
        self.assertEqual((kind, reason), (K_REFUSED, 1))

    def test_stray_descriptors_are_dropped(self):
        read_end, write_end = os.pipe()
        socks = []
        for _ in range(20):
            sock = self.attach()
            fds = array.array("i", [write_end] * 3)
            sock.sendmsg([message(K_OPEN_POOL, struct.pack("=II", 5, 0) + b"nope")],
                         [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            socks.append(sock)
        for sock in socks:
            sock.close()
        os.close(write_end)
        self.assertEqual(os.read(read_end, 1), b"", "nobody kept the descriptor")
        os.close(read_end)
        self.assert_serving()

    def test_random_messages(self):
        seed = 4711
        print("seed", seed)
        rng = random.Random(seed)
        for _ in range(2000):
            sock = self.attach() if rng.random() < 0.5 else self.connect()
            try:
                for _ in range(rng.randrange(1, 5)):
                    body = message(rng.randrange(0, 80), rng.randbytes(MESSAGE_BYTES - 8))
                    sock.send(body if rng.random() < 0.9 else body[:rng.randrange(1, 128)])
            except OSError:
                pass
            sock.close()
        self.assert_serving()

    def test_connections_that_say_nothing_do_not_block_others(self):
        silent = [self.connect() for _ in range(200)]
        self.assert_serving()
        for sock in silent:
            sock.close()


if __name__ == "__main__":
    unittest.main()
