"""What a check finds."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "could not tell"


class Result(NamedTuple):
    """found is for people; action says what to do, where there is anything to be done."""

    verdict: Verdict
    found: str
    action: str = ""


def well(found: str) -> Result:
    return Result(Verdict.OK, found)


def wrong(found: str, action: str) -> Result:
    return Result(Verdict.WRONG, found, action)


def unknown(found: str, action: str = "") -> Result:
    return Result(Verdict.UNKNOWN, found, action)
