"""Tasks beside the calls: when one of them fails, the node stops."""

from __future__ import annotations

import asyncio

import pytest

from ledgerd.background import Background
from ledgerd_client.core.errors import StoreError


@pytest.fixture
async def stop() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def background(stop: asyncio.Event) -> Background:
    return Background(stop)


async def broken() -> None:
    raise ZeroDivisionError


async def unable() -> None:
    raise StoreError("the mark cannot be written", reason="DISK")


async def endless() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_fails_stops_the_node(
    stop: asyncio.Event, background: Background
) -> None:
    background.start(broken())
    await stop.wait()
    with pytest.raises(StoreError, match="ZeroDivisionError"):
        background.raise_failure()


async def test_a_store_that_fails_is_named(stop: asyncio.Event, background: Background) -> None:
    background.start(unable())
    await stop.wait()
    with pytest.raises(StoreError) as caught:
        background.raise_failure()
    assert caught.value.reason == "DISK"


async def test_the_first_failure_is_the_one_that_counts(background: Background) -> None:
    for reason in ("FIRST", "SECOND"):
        background.fail(StoreError("it failed", reason=reason))
    with pytest.raises(StoreError) as caught:
        background.raise_failure()
    assert caught.value.reason == "FIRST"


async def test_to_be_stopped_is_no_failure(stop: asyncio.Event, background: Background) -> None:
    background.start(endless())
    await background.stop()
    background.raise_failure()
    assert not stop.is_set()
