"""What a standby tells its service manager, and when its watchdog is left to bite."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledgerd.observe.notify import Notifier
from ledgerd.standby.telling import Course
from ledgerd_client.core.errors import UnavailableError


@dataclass
class Held:
    """What a Follower says of itself."""

    size: int = 0
    behind: int = 0
    held: int = 0


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Scene:
    follower: Held
    course: Course
    listener: socket.socket
    clock: Clock

    def said(self) -> str:
        return self.listener.recv(4096).decode()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        follower, clock = Held(), Clock()
        course = Course(follower, notifier, clock=clock)  # type: ignore[arg-type] # all it asks
        yield Scene(follower, course, listener, clock)


def away() -> UnavailableError:
    return UnavailableError("the node\nis away", reason="AWAY")


class TestItsLine:
    def test_says_at_first_that_it_asks(self, scene: Scene) -> None:
        assert scene.course.status == "0 entries; asks the node for more"

    def test_says_how_far_behind_it_is(self, scene: Scene) -> None:
        scene.follower.size, scene.follower.behind = 300, 700
        assert scene.course.status == "300 entries, 700 behind the node"

    def test_says_that_it_is_in_step(self, scene: Scene) -> None:
        scene.follower.size = 1000
        scene.course.stepped()
        assert scene.course.status == "in step at 1000 entries"

    def test_says_in_one_line_why_it_does_not_follow(self, scene: Scene) -> None:
        scene.follower.size = 1000
        scene.course.stepped()
        scene.course.failed(away())
        assert re.fullmatch(
            r"1000 entries; not following since \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ:"
            r" the node is away \(AWAY\)",
            scene.course.status,
        )

    def test_says_so_until_it_follows_again(self, scene: Scene) -> None:
        scene.course.failed(away())
        scene.course.stepped()
        assert scene.course.status == "in step at 0 entries"


class TestReady:
    def test_is_said_when_it_is_in_step(self, scene: Scene) -> None:
        scene.follower.size = 7
        scene.course.stepped()
        assert scene.said() == "READY=1\nSTATUS=in step at 7 entries"

    def test_is_said_once(self, scene: Scene) -> None:
        scene.course.stepped()
        scene.said()
        scene.course.stepped()
        scene.listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            scene.said()

    async def test_is_not_said_before(self, scene: Scene) -> None:
        scene.course.failed(away())
        telling = scene.course.tell()
        telling.send(None)
        telling.close()
        assert scene.said().startswith("STATUS=0 entries; not following since ")


class TestItStalls:
    def test_while_nothing_comes_and_no_step_ends(self, scene: Scene) -> None:
        scene.clock.now = 60.0
        assert scene.course.stalled_s == 60.0

    def test_not_when_entries_come(self, scene: Scene) -> None:
        scene.clock.now, scene.follower.held = 60.0, 1
        assert scene.course.stalled_s == 0.0

    def test_not_when_it_is_in_step_with_an_idle_node(self, scene: Scene) -> None:
        scene.clock.now = 60.0
        scene.course.stepped()
        assert scene.course.stalled_s == 0.0

    def test_not_while_the_node_is_away(self, scene: Scene) -> None:
        """To be started again would not bring it back."""
        scene.clock.now = 60.0
        scene.course.failed(away())
        assert scene.course.stalled_s == 0.0
