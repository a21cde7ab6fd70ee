# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 by hand, as much as it takes to break its rules on purpose (RFC 9113)."""

import random
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x4, 0x8, 0x20


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field that is not indexed, without Huffman (RFC 7541, 6.2.2)."""
    def text(data):
        size = len(data)
        if size < 127:
            return bytes([size]) + data
        size, out = size - 127, b"\x7f"
        while size >= 128:
            out, size = out + bytes([size % 128 + 128]), size // 128
        return out + bytes([size]) + data
    return b"\x00" + text(name) + text(value)


def call_headers(path, extra=()):
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path),
              (b":authority", b"localhost"), (b"content-type", b"application/grpc"),
              (b"te", b"trailers"), *extra]
    return b"".join(literal(name, value) for name, value in fields)


def message(body):
    return struct.pack(">BI", 0, len(body)) + body


class Connection:
    """A connection that has said hello. Sending to one that was closed raises OSError."""

    def __init__(self, address, hello=True, timeout_s=60):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout_s)
        if hello:
            self.send(PREFACE + frame(SETTINGS))

    def send(self, data):
        self.socket.sendall(data)

    def drain(self):
        """What is there, without waiting; b"" if it was closed or there is nothing."""
        self.socket.setblocking(False)
        try:
            return self.socket.recv(1 << 20)
        except (BlockingIOError, ConnectionError):
            return b""
        finally:
            self.socket.settimeout(60)

    def close(self):
        self.socket.close()

    def end(self):
        """Closes it when the other side has, which has read everything by then."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(1 << 20):
                pass
        except TimeoutError:
            raise
        except OSError:
            pass  # closed already
        self.close()


def mutated(rng, path, body):
    """A stream of frames of which some are what they should be."""
    good = [frame(HEADERS, END_HEADERS, 1, call_headers(path)),
            frame(DATA, END_STREAM, 1, message(body)), frame(PING, 0, 0, b"12345678"),
            frame(WINDOW, 0, 0, struct.pack(">I", 65535)), frame(SETTINGS)]
    out = []
    for _ in range(rng.randrange(1, 12)):
        piece = bytearray(rng.choice(good))
        choice = rng.randrange(7)
        if choice == 0:
            piece[rng.randrange(len(piece))] ^= 1 << rng.randrange(8)
        elif choice == 1:
            piece = bytearray(frame(rng.randrange(256), rng.randrange(256),
                                    rng.getrandbits(32), rng.randbytes(rng.randrange(64))))
        elif choice == 2:
            piece = bytearray(frame(rng.randrange(10), rng.randrange(256), rng.randrange(8),
                                    rng.randbytes(rng.randrange(40)), rng.randrange(1 << 24)))
        elif choice == 3:
            del piece[rng.randrange(len(piece)):]
        elif choice == 4:
            piece = bytearray(frame(HEADERS, END_HEADERS, rng.randrange(1, 9, 2),
                                    rng.randbytes(rng.randrange(80))))
        elif choice == 5:
            piece = bytearray(frame(SETTINGS, 0, 0, struct.pack(
                ">HI", rng.randrange(8), rng.getrandbits(32)) * rng.randrange(4)))
        out.append(bytes(piece))
    return out


def rng_of(seed):
    return random.Random(seed)
