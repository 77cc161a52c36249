"""How a node tells its standby from another one, and for how long it has been away."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from ledgerd.ledger.replicated import REST_S, Standby
from ledgerd_client.core.errors import NotReadyError

ONE, OTHER = b"one's certificate", b"another's"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ask(standby: Standby, who: bytes) -> None:
    with standby.asking(who):
        pass


class TestASecondStandby:
    def test_is_refused_while_the_first_one_asks(self, clock: Clock) -> None:
        standby = Standby(None, clock=clock)
        with standby.asking(ONE), pytest.raises(NotReadyError) as caught:
            ask(standby, OTHER)
        assert caught.value.reason == "SECOND_STANDBY"

    def test_is_refused_between_two_calls_of_the_first_one(self, clock: Clock) -> None:
        """While it writes what it got: else the two would take turns, and neither had it all."""
        standby = Standby(None, clock=clock)
        ask(standby, ONE)
        clock.now += REST_S / 2
        with pytest.raises(NotReadyError):
            ask(standby, OTHER)

    def test_takes_its_place_when_it_has_gone(self, clock: Clock) -> None:
        standby = Standby(None, clock=clock)
        ask(standby, ONE)
        clock.now += REST_S
        with standby.asking(OTHER), pytest.raises(NotReadyError):
            ask(standby, ONE)

    def test_is_not_the_first_one_in_a_call_beside_its_own(self, clock: Clock) -> None:
        """Of a connection that was cut the node may not know yet."""
        standby = Standby(None, clock=clock)
        with standby.asking(ONE), standby.asking(ONE):
            assert standby.is_here


class TestAStandbyThatNobodyExpects:
    """After the node's next start nobody would miss it."""

    def said(self, standby: Standby) -> list[str]:
        with capture_logs() as logs:
            ask(standby, ONE)
            ask(standby, ONE)
        return [line["event"] for line in logs]

    def test_is_said_once(self, clock: Clock) -> None:
        assert self.said(Standby(None, clock=clock)) == ["standby_not_expected"]

    def test_is_none_that_the_configuration_names(self, clock: Clock) -> None:
        assert self.said(Standby(None, expected=True, clock=clock)) == []


class TestAStandbyThatIsAway:
    def test_is_so_since_it_asked_last(self, clock: Clock) -> None:
        standby = Standby(None, clock=clock)
        ask(standby, ONE)
        clock.now += 60
        assert standby.away_s == 60

    def test_is_so_since_the_start_where_it_is_waited_for(self, clock: Clock) -> None:
        standby = Standby(5, clock=clock)
        clock.now += 60
        assert standby.away_s == 60

    def test_is_so_since_the_start_where_one_is_expected(self, clock: Clock) -> None:
        """Whatever was known of it before the node was started anew."""
        standby = Standby(None, expected=True, clock=clock)
        clock.now += 60
        assert standby.away_s == 60

    def test_is_not_missed_where_none_was_ever_seen(self, clock: Clock) -> None:
        standby = Standby(None, clock=clock)
        clock.now += 60
        assert standby.away_s == 0

    def test_is_back_when_it_asks(self, clock: Clock) -> None:
        standby = Standby(5, clock=clock)
        clock.now += 60
        with standby.asking(ONE):
            assert standby.away_s == 0
