"""
Small files that people send each other: JSON of known fields, read strictly.

A value is a dataclass whose fields are str, int (unsigned, 64 bits) or bytes (as base64). The file
is one object: "format", then every field, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, fields
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from ledgerd_client.core.encoding import U64_MAX, encode_base64, parse_base64
from ledgerd_client.core.errors import MalformedError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_BYTES = 256 * 1024

T = TypeVar("T", bound="DataclassInstance")


class JsonFile:
    """What a dataclass is that is such a file; FORMAT says of what, and the version."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    FORMAT: ClassVar[str]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the file, believing nothing yet; raises MalformedError, or as check does."""
        value = parse_json(cls.FORMAT, cls, data)
        value.check()
        return value

    def format(self) -> bytes:
        return format_json(self.FORMAT, self)

    def check(self) -> None:
        """Raise unless what it says goes together."""


def format_json(form: str, value: DataclassInstance) -> bytes:
    """Write a value; form names what it is and the version, say `ledgerd-approval/v1`."""
    written = {
        name: encode_base64(data) if isinstance(data, bytes) else data
        for name, data in asdict(value).items()
    }
    return (json.dumps({"format": form, **written}, indent=2, ensure_ascii=False) + "\n").encode()


def parse_json(form: str, cls: type[T], data: bytes) -> T:
    """
    Read a value.

    Raises MalformedError for another format, a field unknown, missing, twice or of another type,
    and whatever cls raises.
    """
    found = _read_object(data, form)
    if found.pop("format", None) != form:
        raise MalformedError(f"not a {form} file")
    wanted = {field.name: str(field.type) for field in fields(cls)}
    if odd := sorted(found.keys() ^ wanted.keys()):
        unknown = odd[0] in found
        raise MalformedError(f"{form}: {odd[0]!r} is {'no field of it' if unknown else 'missing'}")
    try:
        return cls(**{name: _PARSERS[kind](found[name]) for name, kind in wanted.items()})
    except (TypeError, UnicodeEncodeError):
        raise MalformedError(f"{form}: a field is of another type") from None


def fingerprint(data: bytes) -> str:
    """128 bits of a file's digest, in groups that can be read aloud."""
    digits = sha256(data).hexdigest()[:32]
    return " ".join(digits[i : i + 4] for i in range(0, 32, 4))


def _read_object(data: bytes, form: str) -> dict[str, object]:
    try:
        if len(data) > MAX_BYTES:
            raise ValueError  # noqa: TRY301 -- one message for all that is no such file
        found = json.loads(data.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError):  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise MalformedError(f"not a {form} file") from None
    if not isinstance(found, dict):
        raise MalformedError(f"not a {form} file")
    return found


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands twice")
    return found


def json_text(value: object) -> str:
    """A string of a file; raises TypeError or UnicodeEncodeError for what is none."""
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # JSON can spell half a surrogate pair, which is no text
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= U64_MAX:  # a bool is an int
        raise TypeError
    return value


_PARSERS: Mapping[str, Callable[[object], object]] = MappingProxyType(
    {"str": json_text, "int": _number, "bytes": lambda value: parse_base64(json_text(value))}
)
