"""What is to be thought of what was measured. Pure: the machine was asked by others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from ledgerd.doctor.result import Result, unknown, well, wrong
from ledgerd_client.pki import Validity

# An entry that is five minutes ahead is refused; well before that, NTP has failed.
CLOCK_BOUND_S: Final = 60.0
# A commit on a disk that is good for it takes a hundredth of that.
FSYNC_BOUND_S: Final = 0.1
# For callers, the peer, and files that are opened for a moment.
SPARE_DESCRIPTORS: Final = 256
RENEW_BEFORE: Final = timedelta(days=30)

_MIB: Final = 1 << 20


class Listener(Enum):
    """Who listens at an address of this machine's."""

    NOBODY = auto()
    THIS_NODE = auto()
    ANOTHER = auto()
    NOT_HERE = auto()
    """The address is another machine's."""


class Owned(NamedTuple):
    """A file or directory, its permissions (st_mode & 0o777) and its owner's name."""

    path: Path
    mode: int
    owner: str


def dates(validity: Validity, now: datetime) -> Result:
    if now < validity.not_before:
        return wrong(
            f"valid from {_day(validity.not_before)} on, and this machine says {_day(now)}",
            "correct this machine's clock; else wait",
        )
    if now > validity.not_after:
        return wrong(
            f"ended on {_day(validity.not_after)}, and this machine says {_day(now)}",
            "`ledgerd rotate --key tls --request FILE`, and have the authority certify it",
        )
    left = validity.not_after - now
    found = f"until {_day(validity.not_after)}, {left.days} days"
    renew = "; renew it soon: `ledgerd rotate --key tls`" if left < RENEW_BEFORE else ""
    return well(found + renew)


def clock(ahead_s: float, round_trip_s: float) -> Result:
    """ahead_s: of the peer's clock, as far as half of round_trip_s lets one know."""
    certain = max(abs(ahead_s) - round_trip_s / 2, 0.0)
    if certain > CLOCK_BOUND_S:
        return wrong(
            f"the peer's clock is {certain:.0f} s {'ahead of' if ahead_s > 0 else 'behind'} ours",
            "see which of the two is wrong, and why NTP does not correct it",
        )
    return well(f"the peer's is {certain:.1f} s from ours, at least")


def fsync(seconds: Sequence[float]) -> Result:
    usual = median(seconds)
    found = f"{usual * 1000:.1f} ms, at worst {max(seconds) * 1000:.1f} ms, of {len(seconds)}"
    if usual > FSYNC_BOUND_S:
        return wrong(
            found, "see what else writes to this disk, and whether it fails: each append waits"
        )
    return well(found)


def room(free: int, reserve: int, free_inodes: int, inodes: int) -> Result:
    """free, reserve: bytes; inodes: 0 on a file system that has no fixed number of them."""
    found = (
        f"{free // _MIB} MiB are free, {reserve // _MIB} MiB of them kept (limits.reserve_bytes)"
    )
    if free < reserve:
        return wrong(found, "make room: nothing is appended before")
    if inodes and not free_inodes:
        return wrong("there is no inode left", "delete files on this file system")
    return well(found)


def descriptors(used: int, limit: int) -> Result:
    found = f"{used} of {limit} are in use"
    if used + SPARE_DESCRIPTORS > limit:
        return wrong(
            f"{found}: fewer than {SPARE_DESCRIPTORS} are left",
            "raise LimitNOFILE of the unit (`ulimit -n` without one), or see who has so many"
            " connections",
        )
    return well(found)


def ownership(data: Owned, others: Iterable[Owned]) -> Result:
    """The node's user, whichever of two it is, must own the data directory and all else."""
    if data.mode & 0o077:
        return wrong(f"{data.path} is open to others than its owner", f"chmod 700 {data.path}")
    for each in others:
        if each.owner != data.owner:
            return wrong(
                f"{each.path} is of user {each.owner}, {data.path} of user {data.owner}",
                f"if the node runs as {data.owner}: chown {data.owner} {each.path}; if as"
                f" {each.owner}: chown -R {each.owner} {data.path}",
            )
    return well(f"all of user {data.owner}")


def port(listener: Listener, address: str, setting: str) -> Result:
    if listener is Listener.NOT_HERE:
        return wrong(f"{address} is no address of this machine", f"correct {setting}")
    if listener is Listener.ANOTHER:
        number = address.rpartition(":")[2]
        return wrong(
            f"another program listens at {address}",
            f"find it with `ss -ltnp sport = :{number}`, and stop it, or choose another {setting}",
        )
    free = listener is Listener.NOBODY
    return well(f"{address} is free" if free else f"this node answers at {address}")


def lock(holder: str | None, listener: Listener, data: Path) -> Result:
    """holder: number of the process that holds the data directory; None for nobody."""
    if holder is None and listener is Listener.THIS_NODE:
        return wrong(
            f"this node runs, and not on {data}",
            "correct data: name the directory that it runs on",
        )
    if holder is None:
        return well("nobody serves it: the node does not run")
    if listener is Listener.THIS_NODE:
        return well(f"this node serves it, as process {holder}")
    return wrong(
        f"process {holder} has it, and no node answers as this one",
        f"wait until it serves or ends; else see what it is: `ps -fp {holder}`",
    )


def origin(held: str, configured: str) -> Result:
    if held == configured:
        return well(held)
    return wrong(
        f"the store is of {held}, the configuration of {configured}",
        "correct data or origin: a store serves one log for ever",
    )


def not_before(needed: str) -> Result:
    return unknown(f"not before this is well: {needed}")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
