"""
Below gRPC: what somebody with a good certificate sends to keep a node busy, or to fill its memory.

That the frames of HTTP/2 are bounded is gRPC's doing, and here it is seen. Whatever comes, others are
answered meanwhile, by the same process.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import grpc
import pytest
from border import Border, Node
from e2e import raw

from ledgerd.api.guard import MAX_CALLS_OF_ONE
from ledgerd.api.server import MAX_STREAMS
from ledgerd_client.core.trust import Trust
from ledgerd_client.transport import MAX_REQUEST_BYTES

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_HEADERS, END_STREAM = 4, 1
MAX_CONCURRENT_STREAMS = 3
METHOD = "/ledger.v1.LedgerService/GetInfo"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, section 4.1."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """RFC 7541, section 6.2.2, of less than 127 bytes each."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


REQUEST = b"".join(
    literal(name, value)
    for name, value in (
        (b":method", b"POST"), (b":scheme", b"https"), (b":path", METHOD.encode()),
        (b":authority", b"localhost"), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
    )
)  # fmt: skip
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)
CANCEL = (8).to_bytes(4, "big")
RANDOM = Random(1)


def opened(number: int) -> bytes:
    return frame(HEADERS, END_HEADERS, 2 * number + 1, REQUEST)


def after(first: bytes, following: Callable[[int], bytes]) -> Callable[[int], bytes]:
    return lambda number: following(number) if number else first


# What is sent, by how often; the frames by their number.
FLOODS: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "streams opened": (20_000, opened),
    "streams opened and reset": (
        20_000, lambda number: opened(number) + frame(RESET, 0, 2 * number + 1, CANCEL),
    ),
    "calls without a request": (
        20_000, lambda number: frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, REQUEST),
    ),
    "settings": (100_000, lambda _: frame(SETTINGS, 0, 0)),
    "settings of everything": (5_000, lambda _: frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff" * 100)),
    "pings": (100_000, lambda _: frame(PING, 0, 0, bytes(8))),
    "headers without end": (
        100_000,
        after(
            frame(HEADERS, 0, 1, REQUEST),
            lambda number: frame(CONTINUATION, 0, 1, literal(b"a%d" % number, b"b" * 100)),
        ),
    ),
    "empty headers without end": (
        50_000, after(frame(HEADERS, 0, 1, REQUEST), lambda _: frame(CONTINUATION, 0, 1)),
    ),
    "a header of a quarter of a gigabyte": (
        500,
        after(
            frame(HEADERS, 0, 1, REQUEST),
            lambda number: frame(
                CONTINUATION, 0, 1, bytes(16_000) if number > 1 else b"\0\1a\x7f\x80\xff\xff\x7f"
            ),
        ),
    ),
    "a table of all memory": (
        10, lambda number: frame(HEADERS, END_HEADERS, 2 * number + 1, b"\x3f\xe1\xff\xff\7" + REQUEST),
    ),
    "empty data": (50_000, after(opened(0), lambda _: frame(DATA, 0, 1))),
    "windows": (100_000, lambda _: frame(WINDOW, 0, 0, b"\0\0\0\1")),
    "priorities": (100_000, lambda number: frame(PRIORITY, 0, 2 * number + 1, bytes(5))),
    "frames of no kind": (20_000, lambda _: frame(77, 0, 0, bytes(100))),
    "anything": (
        20_000,
        lambda _: frame(
            RANDOM.randrange(12), RANDOM.randrange(256), RANDOM.randrange(9), RANDOM.randbytes(9)
        ),
    ),
}  # fmt: skip


@dataclass
class Scene:
    """A node, somebody who floods it, and somebody else; anonymous: bytes of its memory before."""

    border: Border
    node: Node
    processes: list[int]
    anonymous: int

    def connect(self) -> ssl.SSLSocket:
        """Below gRPC, as the hospital."""
        of = raw.settings(self.border, "sz-hospital")
        tls = ssl.create_default_context(cadata=self._authorities().decode())
        home = self.border.directory / "sz-hospital"
        tls.load_cert_chain(home / "tls.crt", home / "tls.key")
        tls.set_alpn_protocols(["h2"])
        host, port = of.endpoint.rsplit(":", 1)
        made = tls.wrap_socket(
            socket.create_connection((host, int(port)), timeout=60), server_hostname=host
        )
        made.sendall(PREFACE)
        return made

    def channel(self, name: str) -> grpc.Channel:
        home = self.border.directory / name
        credentials = grpc.ssl_channel_credentials(
            self._authorities(), (home / "tls.key").read_bytes(), (home / "tls.crt").read_bytes()
        )
        options = (("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", -1))
        return grpc.secure_channel(raw.settings(self.border, name).endpoint, credentials, options)

    def _authorities(self) -> bytes:
        of = raw.settings(self.border, "sz-hospital")
        found = Trust.parse(of.trust.read_bytes())[of.origin].certificates
        return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode()


def anonymous(node: Node) -> int:
    lines = Path(f"/proc/{node.daemon()}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    border = Border(tmp_path_factory.mktemp("http2") / "border")
    try:
        border.mainland.start()
        node = border.mainland
        yield Scene(border, node, node.processes, anonymous(node))
    finally:
        border.close()


def announced(connection: ssl.SSLSocket) -> dict[int, int]:
    """What a server's first SETTINGS say."""
    stream = connection.makefile("rb")
    size, kind = int.from_bytes(stream.read(3), "big"), stream.read(1)[0]
    assert kind == SETTINGS
    payload = stream.read(5 + size)[5:]
    return {
        int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
        for at in range(0, size, 6)
    }


class TestAConnection:
    def test_has_so_many_streams_and_no_more(self, scene: Scene) -> None:
        with scene.connect() as connection:
            assert announced(connection)[MAX_CONCURRENT_STREAMS] == MAX_STREAMS

    def test_has_more_than_one_caller_may_use_who_is_told_so(self) -> None:
        assert MAX_STREAMS > MAX_CALLS_OF_ONE


class TestAFlood:
    @pytest.mark.parametrize("what", FLOODS)
    def test_keeps_nobody_else_from_being_answered(self, scene: Scene, what: str) -> None:
        count, make = FLOODS[what]
        with scene.connect() as connection, suppress(OSError):  # it may be cut
            for start in range(0, count, 500):
                connection.sendall(b"".join(map(make, range(start, min(start + 500, count)))))
        with scene.channel("gz-bank") as other:
            other.unary_unary(METHOD)(b"", timeout=60)

    @pytest.mark.parametrize("method", ["GetInfo", "Append"])
    def test_of_zeros_that_were_compressed_is_refused(self, scene: Scene, method: str) -> None:
        zeros = bytes(16 * MAX_REQUEST_BYTES)
        with scene.channel("sz-hospital") as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/ledger.v1.LedgerService/{method}")(
                zeros, compression=grpc.Compression.Gzip, timeout=60
            )
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


class TestAfterAllOfIt:
    """In the order in which they stand, at the end of the module."""

    def test_memory_has_stayed_within_bounds(self, scene: Scene) -> None:
        assert anonymous(scene.node) - scene.anonymous < 200 << 20

    def test_the_processes_are_those_that_were_started(self, scene: Scene) -> None:
        assert scene.node.processes == scene.processes

    def test_the_node_ends_in_order(self, scene: Scene) -> None:
        assert scene.node.stop() == 0
