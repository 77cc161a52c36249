"""Values of TOML, each read as one type; what is of another raises FieldError naming the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, TypeVar

from ledgerd_client._values import Code
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.transfer import Side

_SPELLINGS: Mapping[type, str] = MappingProxyType({
    bool: "true or false", int: "a whole number", str: "text", date: "a date, say 2027-12-31",
    datetime: "a time, say 2027-12-31T18:00:00+08:00",
})  # fmt: skip

T = TypeVar("T")


def as_it_is(_: str, value: Any) -> Any:
    return value


def typed(wanted: type[T]) -> Callable[[str, Any], T]:
    def read(name: str, value: Any) -> T:
        # Not isinstance: a bool is an int, and a datetime a date.
        if type(value) is not wanted:
            raise FieldError(f"{name} is {_SPELLINGS[wanted]}, not {value!r:.80}")
        return value

    return read


def each(read: Callable[[str, Any], T]) -> Callable[[str, Any], tuple[T, ...]]:
    def read_all(name: str, value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise FieldError(f"{name} is a list, not {value!r:.80}")
        return tuple(read(f"{name}[{at}]", item) for at, item in enumerate(value))

    return read_all


def table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FieldError(f"{name} is a table, not {value!r:.80}")
    return value


def hex_bytes(name: str, value: Any) -> bytes:
    try:
        return bytes.fromhex(typed(str)(name, value))
    except ValueError:
        raise FieldError(f"{name} is hex digits, not {value!r:.80}") from None


def side(name: str, value: Any) -> Side:
    parts = table(name, value)
    if parts.keys() != {"origin", "institution"}:
        raise FieldError(f"{name} has an origin and an institution")
    return Side(*(typed(str)(f"{name}.{part}", parts[part]) for part in Side._fields))


def notice(name: str, value: Any) -> tuple[Code, datetime]:
    if not isinstance(value, list) or len(value) != 2:
        raise FieldError(f"{name} is a pair of an authority and a time")
    return value[0], typed(datetime)(name, value[1])
