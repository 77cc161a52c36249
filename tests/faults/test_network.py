"""
P5, P9: two hosts, and a link between them that breaks in every way.

Institutions reach their own node all the while. Each transfer is declared and acknowledged while
the link is broken; once it is whole again all of them are matched, nobody is accused, and what each
node acknowledged to its institution is in its log. That it was broken shows in packets that were
lost, and in what was not cosigned.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from border import Border
from faults.hosts import Hosts, needs_hosts, settle
from faults.oracle import Tally
from faults.sides import TRANSFERS, Sides
from institutions import until

from ledgerd_client import Declared

pytestmark = [pytest.mark.timeout(300), needs_hosts]

ALL, NONE = 100, 0


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts() as made:
        yield made


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, hosts: Hosts) -> Iterator[Sides]:
    border = Border(tmp_path_factory.mktemp("network") / "border")
    settle(border, hosts)
    with closing(Sides(border, [host.wrapper for host in hosts.both])) as made:
        yield made


@pytest.fixture
def sides(apart: Sides, tally: Tally) -> Iterator[Sides]:
    """They run, over a good link; when the test is over they are judged."""
    apart.start()
    apart.settle(apart.exchange(1))
    yield apart
    apart.judge(tally)


def test_the_link_is_cut(sides: Sides, hosts: Hosts) -> None:
    lose(sides, hosts, ALL, ALL)


@pytest.mark.parametrize("loss", [(ALL, NONE), (NONE, ALL)])
def test_the_link_carries_one_way_only(sides: Sides, hosts: Hosts, loss: tuple[int, int]) -> None:
    lose(sides, hosts, *loss)


def test_the_link_loses_a_fifth_of_all_packets(sides: Sides, hosts: Hosts) -> None:
    lose(sides, hosts, 20, 20)


def lose(sides: Sides, hosts: Hosts, *loss: int) -> None:
    """Of a hundred packets so many are lost, each way; transfers go on, and then it is mended."""
    there, back = loss
    before = hosts.link(loss=(there, back))
    declared = sides.exchange()
    until(hosts.lost, lambda lost: lost > before)
    assert ALL not in loss or is_uncosigned(sides, declared[-1])
    hosts.link()
    sides.settle(declared)
    sides.hospital.wait_cosigned(declared[-1])


def is_uncosigned(sides: Sides, declared: Declared) -> bool:
    """A cosignature takes both ways."""
    assert declared.index is not None
    return sides.hospital.info().cosigned_size <= declared.index


def test_the_link_takes_200_ms_each_way(sides: Sides, hosts: Hosts) -> None:
    """It need not become better for everything to be settled."""
    hosts.link(delay=200)
    declared, began = sides.exchange(), time.monotonic()
    declared += sides.exchange(1)
    sides.hospital.wait_cosigned(declared[-1])
    assert time.monotonic() - began >= 2 * 0.2, "the link was too good"
    sides.settle(declared)
    hosts.link()


def test_the_link_flaps(sides: Sides, hosts: Hosts) -> None:
    declared, before = [], hosts.lost()
    for number in range(4 * TRANSFERS):
        hosts.link(loss=(ALL, ALL) if number % 2 else (NONE, NONE))
        declared += sides.exchange(1)
    until(hosts.lost, lambda lost: lost > before)
    hosts.link()
    sides.settle(declared)


def test_both_nodes_and_the_link_fail_together(sides: Sides, hosts: Hosts) -> None:
    declared = sides.exchange()
    hosts.link(loss=(ALL, ALL))
    for node in sides.nodes:
        node.kill()
    sides.start()
    declared += sides.exchange()
    assert is_uncosigned(sides, declared[-1])
    hosts.link()
    sides.settle(declared)
