"""
A link between two network namespaces that is as bad as it is told: a tun device at each end.

usage: tunlink.py NAMESPACE_A ADDRESS_A NAMESPACE_B ADDRESS_B

Packets are carried in this process. Each line of standard input, `DELAY_AB LOSS_AB DELAY_BA
LOSS_BA`, says for both directions by how many ms they are late and how many of a hundred are lost;
it is answered, when it holds, by the number of packets that were lost so far. Starts with a good link; ends when standard input does.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
DEVICE = "ledgerd0"
PACKET = 1 << 16


@dataclass
class Way:
    """One direction: what comes in at one device leaves by the other."""

    source: int
    target: int
    delay: float = 0.0
    loss: float = 0.0
    lost: int = 0
    # By when each is due.
    packets: list[tuple[float, int, bytes]] = field(default_factory=list)
    numbers: count[int] = field(default_factory=count)

    def take(self) -> None:
        packet = os.read(self.source, PACKET)
        if random.random() < self.loss:
            self.lost += 1
        else:
            heapq.heappush(
                self.packets, (time.monotonic() + self.delay, next(self.numbers), packet)
            )

    def deliver(self) -> None:
        while self.packets and self.packets[0][0] <= time.monotonic():
            os.write(self.target, heapq.heappop(self.packets)[2])

    def due(self) -> float:
        """Seconds until the next is to be delivered."""
        return max(0.0, self.packets[0][0] - time.monotonic()) if self.packets else 1.0


def open_device(namespace: str, address: str) -> int:
    """Make the device of an end; it is gone with its descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open() as ours, Path("/run/netns", namespace).open() as there:
        assert libc.setns(there.fileno(), 0) == 0
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        assert libc.setns(ours.fileno(), 0) == 0
    for command in (f"addr add {address}/24 dev {DEVICE}", f"link set {DEVICE} up"):
        subprocess.run(["ip", "-n", namespace, *command.split()], check=True)
    return device


def main() -> None:
    name_a, address_a, name_b, address_b = sys.argv[1:]
    a, b = open_device(name_a, address_a), open_device(name_b, address_b)
    ways = {a: Way(a, b), b: Way(b, a)}
    say("0")
    while True:
        wait = min(way.due() for way in ways.values())
        for ready in select.select([a, b, sys.stdin], [], [], wait)[0]:
            if ready is not sys.stdin:
                ways[ready].take()
            elif not (line := sys.stdin.readline()):
                return
            else:
                numbers = [float(word) for word in line.split()]
                for way, delay, loss in zip(
                    ways.values(), numbers[::2], numbers[1::2], strict=True
                ):
                    way.delay, way.loss = delay / 1000, loss / 100
                say(str(sum(way.lost for way in ways.values())))
        for way in ways.values():
            way.deliver()


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
