"""What callers state, as the numbers and bytes of a message: codes, dates, times, digests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from hashlib import file_digest
from pathlib import Path
from typing import TypeAlias, TypeVar

from google.protobuf.message import Message

from ledgerd_client.core import codes
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.fields import DIGEST_SIZE

# A number of core/codes.py, or its name there.
Code: TypeAlias = int | str
# SHA-256, 32 bytes, or the file to hash.
Digest: TypeAlias = bytes | Path

M = TypeVar("M", bound=Message)

# Of the days and years of the law, on both sides.
LOCAL = timezone(timedelta(hours=8))
# What a spreadsheet would take for a formula, or skip to find one; full-width, too.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
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


def date_of(field: str, value: object) -> int:
    """A date as yyyymmdd, 0 for None; raises FieldError for what is none."""
    if value is None:
        return 0
    if not isinstance(value, date):
        raise FieldError(f"{field} is a date, not {value!r}")
    return value.year * 10_000 + value.month * 100 + value.day


def to_date(value: int) -> date | None:
    """The inverse of date_of, of a date that was checked."""
    return date(value // 10_000, value // 100 % 100, value % 100) if value else None


def to_micros(field: str, moment: object) -> int:
    """µs since the epoch; raises FieldError for what is no time, or has no zone."""
    if not isinstance(moment, datetime):
        raise FieldError(f"{field} is a time, not {moment!r}")
    if moment.utcoffset() is None:
        raise FieldError(
            f"{field}: {moment.isoformat()} has no time zone",
            action="give datetime.now(UTC), or in a file 2027-12-31T18:00:00+08:00, say",
        )
    micros = (moment - _EPOCH) // timedelta(microseconds=1)
    if micros < 0:
        raise FieldError(f"{field}: {moment.isoformat()} is before 1970")
    return micros


def from_micros(micros: int) -> datetime:
    """The time of µs since the epoch, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def day_of(micros: int) -> date:
    """The day, in UTC+8, of a time of µs since the epoch."""
    return from_micros(micros).astimezone(LOCAL).date()


def time_of(field: str, moment: object) -> int:
    """As to_micros; 0 for None."""
    return 0 if moment is None else to_micros(field, moment)


def digest_of(field: str, value: object) -> bytes:
    """SHA-256 as given, or of a file; raises FieldError, and InputError for a file."""
    if isinstance(value, Path):
        return _hash(field, value)
    if not isinstance(value, bytes) or len(value) != DIGEST_SIZE:
        raise FieldError(f"{field} is a SHA-256 of {DIGEST_SIZE} bytes, or the Path of a file")
    return value


def _hash(field: str, path: Path) -> bytes:
    # Not opened: a pipe would be waited for.
    if path.exists() and not path.is_file():
        raise InputError(f"{field}: {path} is no regular file")
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").digest()
    except (OSError, ValueError) as error:  # ValueError: a NUL, or half a character
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{field}: cannot read {path}: {why}") from error


def make(cls: type[M], **fields: object) -> M:
    """A message; raises FieldError for a value of another type or size, and names it."""
    try:
        return cls(**fields)
    except (TypeError, ValueError, OverflowError) as error:  # protobuf's way to say so
        raise FieldError(_misfit(cls, fields, error)) from None


def _misfit(cls: type[Message], fields: Mapping[str, object], error: Exception) -> str:
    for name, value in fields.items():
        try:
            cls(**{name: value})
        except (TypeError, ValueError, OverflowError):
            return f"{name} cannot be {value!r:.80}"
    return f"a field is of another type or size: {error}"


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
