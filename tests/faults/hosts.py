"""Two hosts: network namespaces with a bad link between them, and a good way to each from here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import pytest
from border import Border, Node

from ledgerd.config import Config
from ledgerd.rotating import install_certificate, request_certificate
from ledgerd_client.authority_directory import load_authority
from ledgerd_client.keyfile import FILE_HEAD, THROWAWAY_HEAD
from ledgerd_client.pki import CertificateRequest

PROGRAM = Path(__file__).with_name("tunlink.py")
# Of the link between the hosts, and from here to each.
LINK, HERE, THERE = "10.98.77.{}", "10.98.{}.1", "10.98.{}.2"


def missing() -> str:
    """Why there can be no two hosts here; empty when there can."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    return "" if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


needs_hosts = pytest.mark.skipif(bool(missing()), reason=missing())


class Host:
    """One namespace; its number tells it, and its addresses, from the other's."""

    def __init__(self, number: int) -> None:
        self.name = f"ledgerd-faults-{os.getpid()}-{number}"
        self.address, self.link = THERE.format(77 + number), LINK.format(number)
        self._number = number

    def __enter__(self) -> Self:
        ip("netns", "add", self.name)
        device, here = f"faults{self._number}", HERE.format(77 + self._number)
        ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("addr", "add", f"{here}/24", "dev", device)
        ip("link", "set", device, "up")
        for command in (
            f"addr add {self.address}/24 dev eth0", "link set eth0 up", "link set lo up",
        ):  # fmt: skip
            ip("-n", self.name, *command.split())
        return self

    def __exit__(self, *_: object) -> None:
        ip("link", "del", f"faults{self._number}")
        ip("netns", "del", self.name)

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What runs a command there."""
        return ("ip", "netns", "exec", self.name)


class Hosts:
    """Both of them, and the link; gone when the block ends."""

    def __init__(self) -> None:
        self.both = (Host(1), Host(2))
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            ends = [
                word for host in self.both for word in (stack.enter_context(host).name, host.link)
            ]
            self._process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(PROGRAM), *ends],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            self._heard()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._stack.close()

    def link(self, *, delay: int = 0, loss: tuple[int, int] = (0, 0)) -> int:
        """
        Say how bad the link is, from now on; a good one by default. Returns lost().

        delay: ms, either way; loss: of a hundred packets from the first host, and from the second.
        """
        self._says = f"{delay} {loss[0]} {delay} {loss[1]}\n"
        return self.lost()

    def lost(self) -> int:
        """How many packets were lost so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(self._says)
        self._process.stdin.flush()
        return self._heard()

    def _heard(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the link ended"
        return int(line)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def settle(border: Border, hosts: Hosts) -> None:
    """Put each node of a border on a host of its own, with a certificate for it."""
    nodes = {"mainland": border.mainland, "hongkong": border.hongkong}
    ports = {side: _port(node) for side, node in nodes.items()}
    for (side, node), host, other in zip(
        nodes.items(), hosts.both, reversed(hosts.both), strict=True
    ):
        (peer,) = nodes.keys() - {side}
        _change(node.config, {
            f'listen = "127.0.0.1:{ports[side]}"': f'listen = "0.0.0.0:{ports[side]}"',
            f'endpoint = "127.0.0.1:{ports[peer]}"': f'endpoint = "{other.link}:{ports[peer]}"',
            '"127.0.0.1"]': f'"{host.address}", "{host.link}"]',
            "[timing]": "[timing]\ncall_timeout_s = 2\nfetch_timeout_s = 2",
        })  # fmt: skip
        _certify(border.directory / side / "authority", node.config)
        # Throw-away keys are for loopback only.
        for name in ("log", "entry", "cosigner"):
            _change(node.config.with_name(f"{name}.key"), {THROWAWAY_HEAD: FILE_HEAD})
        for settings in border.directory.glob("*/client.toml"):
            _change(settings, {f"127.0.0.1:{ports[side]}": f"{host.address}:{ports[side]}"})


def _port(node: Node) -> str:
    (port,) = re.findall(r'^listen = "127\.0\.0\.1:(\d+)"$', node.config.read_text(), re.MULTILINE)
    return str(port)


def _change(file: Path, changes: dict[str, str]) -> None:
    text = file.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    file.write_text(text)


def _certify(authority: Path, node: Path) -> None:
    request, config = node.with_name("tls.csr"), Config.load(node)
    request_certificate(config, request)
    asked = CertificateRequest.parse(request.read_bytes())
    now, life = datetime.now(UTC), timedelta(days=30)
    install_certificate(config, load_authority(authority).certify_node(asked, now=now, life=life))
