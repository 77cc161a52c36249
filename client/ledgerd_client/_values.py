"""What callers state, as the numbers and bytes of a message: codes, dates, times, digests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone
from hashlib import file_digest
from pathlib import Path
from typing import TypeAlias, TypeVar

from google.protobuf.message import Message

from ledgerd_client.core import codes
from ledgerd_client.core.body import DIGEST_SIZE
from ledgerd_client.core.errors import FieldError, InputError

# A number of core/codes.py, or its name there.
Code: TypeAlias = int | str
# SHA-256, 32 bytes, or the file to hash.
Digest: TypeAlias = bytes | Path

M = TypeVar("M", bound=Message)

# Of the days and years of the law, on both sides.
LOCAL = timezone(timedelta(hours=8))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def code_of(field: str, table: str, value: object) -> int:
    """A code's number; 0 says nothing and stays 0. Raises FieldError UNKNOWN_CODE."""
    if value == 0 and not isinstance(value, bool):
        return 0
    for number, code in codes.TABLES[table].items():
        if value in (number, code.name) and not isinstance(value, bool):
            return number
    known = ", ".join(f"{number} {code.name!r}" for number, code in codes.TABLES[table].items())
    raise FieldError(
        f"{field}: {value!r} is not a known code",
        reason="UNKNOWN_CODE",
        action=f"use one of {known}",
    )


def codes_of(field: str, table: str, values: object) -> list[int]:
    """The numbers of a list of codes, ascending; raises as code_of does."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise FieldError(f"{field} is a list of codes, not {values!r}")
    return sorted({code_of(field, table, value) for value in values})


def date_of(value: date | None) -> int:
    """A date as yyyymmdd; 0 for none."""
    return 0 if value is None else value.year * 10_000 + value.month * 100 + value.day


def to_date(value: int) -> date | None:
    """The inverse of date_of, of a date that was checked."""
    return date(value // 10_000, value // 100 % 100, value % 100) if value else None


def to_micros(moment: datetime) -> int:
    """µs since the epoch; raises FieldError for a time without its zone."""
    if moment.tzinfo is None:
        raise FieldError(
            f"{moment.isoformat()} says no time zone", action="give datetime.now(UTC), say"
        )
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The time of µs since the epoch, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def day_of(micros: int) -> date:
    """The day, in UTC+8, of a time of µs since the epoch."""
    return from_micros(micros).astimezone(LOCAL).date()


def time_of(moment: datetime | None) -> int:
    """µs since the epoch, 0 for none; raises as to_micros does."""
    return 0 if moment is None else to_micros(moment)


def digest_of(field: str, value: Digest) -> bytes:
    """SHA-256 as given, or of a file; raises FieldError, and InputError for a file."""
    if isinstance(value, Path):
        if value.exists() and not value.is_file():
            raise InputError(f"{value} is no regular file")
        try:
            with value.open("rb") as file:
                return file_digest(file, "sha256").digest()
        except OSError as error:
            raise InputError(f"cannot read {value}: {error.strerror}") from error
    if len(value) != DIGEST_SIZE:
        raise FieldError(f"{field} is a SHA-256 of {DIGEST_SIZE} bytes, or the Path of a file")
    return bytes(value)


def make(cls: type[M], **fields: object) -> M:
    """A message; raises FieldError for a value of another type or size."""
    try:
        return cls(**fields)
    except (TypeError, ValueError) as error:  # protobuf's way to say so
        raise FieldError(f"a field is of another type or size: {error}") from None
