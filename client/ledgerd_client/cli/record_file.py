"""What `ledgerctl record` and `check` read: TOML with a record's fields by their names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from ledgerd_client import events
from ledgerd_client._terms import Restated, Statement
from ledgerd_client._values import Code, Digest
from ledgerd_client.contracts import (
    Contract,
    ContractChanges,
    Disposal,
    Filing,
    OwnSide,
    Supplement,
    Termination,
)
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.transfer import Side, Ticket
from ledgerd_client.events import Recordable
from ledgerd_client.keyfile import read_file

_KINDS: Mapping[str, type[Any]] = MappingProxyType({
    kind.KIND: kind
    for kind in (
        Contract, Supplement, Filing, Termination, Disposal, events.Pipia, events.Suspend,
        events.Resume, events.Onward, events.Incident, events.GovAccess, events.ConsentChange,
        events.Correction,
    )
})  # fmt: skip

# Of codes there is nothing to read.
_RESTATED: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(Restated.__annotations__, "Code") | {"notice_digest": "bytes"}
)
_SHA256 = re.compile("[0-9a-f]{64}")
_SPELLINGS: Mapping[type, str] = MappingProxyType({
    bool: "true or false", int: "a whole number", str: "text", date: "a date, say 2027-12-31",
    datetime: "a time, say 2027-12-31T18:00:00+08:00",
})  # fmt: skip

T = TypeVar("T")


def read_record(path: Path, *, keeps_nonce: bool) -> Recordable:
    """
    Read a record; raises InputError.

    `record` says its kind. `contract` is the path of a contract's file, or a table of `file`,
    `changes` (a supplement's) and `own`; a record of kind contract has its fields, or `file` and
    `own`. A digest is the path of the file to hash, or 64 hex digits; other bytes are hex; times
    have an offset. Paths are relative to the file. Unless the caller keeps a new contract's
    nonce, the file must say it.
    """
    kind, values = _load(path)
    if kind not in _KINDS:
        raise FieldError(
            f"{path}: record = {kind!r} is no kind of record",
            reason="UNKNOWN_CODE",
            action=f"use one of {', '.join(_KINDS)}",
        )
    reader = _Reader(path.parent)
    if kind == Contract.KIND:
        if not (keeps_nonce or values.keys() & {"file", "nonce"}):
            raise FieldError(
                "a new contract's nonce would be lost, and the other party needs it",
                action="say --out FILE, and give that file to the other party",
            )
        return reader.contract("contract", values)
    record: Recordable = reader.fields(_KINDS[kind], values)
    return record


def read_planned(path: Path) -> Statement | None:
    """
    What is stated of a transfer, if that is the file's kind (`record = "transfer"`).

    Raises InputError, also for a transfer that is not stated whole.
    """
    kind, values = _load(path)
    if kind != "transfer":
        return None
    kinds = dict.fromkeys(Statement.__annotations__, "Code")
    read = _Reader(path.parent).values(kinds | {"notice_digest": "Digest"}, values)
    if missing := Statement.__required_keys__ - read.keys():
        raise FieldError(f"{min(missing)} is missing", reason="MISSING_FIELD")
    return cast(Statement, read)


def _load(path: Path) -> tuple[str, dict[str, Any]]:
    """The kind of a record, and its fields."""
    try:
        values = tomllib.loads(read_file(path).decode())
    except RecursionError:
        raise InputError(f"{path} is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise InputError(f"{path} is not TOML: {error}") from None
    return str(values.pop("record", "")), values


class _Reader:
    """Turns values of TOML into those of a record's fields, as their types say."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._readers: Mapping[str, Callable[[str, Any], Any]] = {
            "bool": _typed(bool),
            "int": _typed(int),
            "str": _typed(str),
            "Sequence[str]": _each(_typed(str)),
            "bytes": _hex,
            "Sequence[bytes]": _each(_hex),
            "date": _typed(date),
            "datetime": _typed(datetime),
            "Digest": self._digest,
            "Sequence[Digest]": _each(self._digest),
            "Sequence[tuple[Code, datetime]]": _each(_notice),
            "Side": _side,
            "OwnSide": lambda name, value: self.fields(OwnSide, _table(name, value)),
            "Contract": self.contract,
            "Ticket": lambda name, value: Ticket.parse(read_file(self._path(name, value))),
            "Restated": lambda name, value: self.values(_RESTATED, _table(name, value)),
        }

    def fields(self, cls: type[Any], values: Mapping[str, Any]) -> Any:
        """A value of a dataclass from its fields; those that are left out have their defaults."""
        kinds = _kinds_of(cls)
        read = self.values(kinds, values)
        for field in fields(cls):
            if field.name not in read and field.default is field.default_factory is MISSING:
                raise FieldError(f"{field.name} is missing", reason="MISSING_FIELD")
        return cls(**read)

    def contract(self, name: str, value: Any) -> Contract:
        """A contract from the path of its file, its file and what is beside it, or its fields."""
        if isinstance(value, str):
            return Contract.parse(read_file(self._path(name, value)))
        table = dict(_table(name, value))
        if "file" not in table:
            made: Contract = self.fields(Contract, table)
            return made
        contract = Contract.parse(read_file(self._path("file", table.pop("file"))))
        if "own" in table:
            own = self.fields(OwnSide, _table("own", table.pop("own")))
            contract = replace(contract, own=own)
        if "changes" in table:
            changes = _table("changes", table.pop("changes"))
            kinds = {name: _kinds_of(Contract)[name] for name in ContractChanges.__annotations__}
            contract = contract.amended(**self.values(kinds, changes))
        self.values({}, table)
        return contract

    def values(self, kinds: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by field, each read as its kind says."""
        for name in values:
            if name not in kinds:
                raise FieldError(
                    f"there is no field {name!r} here",
                    reason="UNKNOWN_FIELD",
                    action=f"use {', '.join(kinds)}",
                )
        # What has no reader is a code or a list of them: those are checked with their tables.
        return {
            name: self._readers.get(kinds[name], _as_it_is)(name, value)
            for name, value in values.items()
        }

    def _path(self, name: str, value: Any) -> Path:
        return self._directory / _typed(str)(name, value)

    def _digest(self, name: str, value: Any) -> Digest:
        text = _typed(str)(name, value)
        return bytes.fromhex(text) if _SHA256.fullmatch(text) else self._path(name, text)


def _kinds_of(cls: type[Any]) -> dict[str, str]:
    return {field.name: str(field.type).removesuffix(" | None") for field in fields(cls)}


def _as_it_is(_: str, value: Any) -> Any:
    return value


def _typed(wanted: type[T]) -> Callable[[str, Any], T]:
    def read(name: str, value: Any) -> T:
        # Not isinstance: a bool is an int, and a datetime a date.
        if type(value) is not wanted:
            raise FieldError(f"{name} is {_SPELLINGS[wanted]}, not {value!r}")
        return value

    return read


def _each(read: Callable[[str, Any], T]) -> Callable[[str, Any], tuple[T, ...]]:
    def read_all(name: str, value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise FieldError(f"{name} is a list, not {value!r}")
        return tuple(read(name, item) for item in value)

    return read_all


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FieldError(f"{name} is a table, not {value!r}")
    return value


def _hex(name: str, value: Any) -> bytes:
    try:
        return bytes.fromhex(_typed(str)(name, value))
    except ValueError:
        raise FieldError(f"{name} is hex digits, not {value!r}") from None


def _side(name: str, value: Any) -> Side:
    table = _table(name, value)
    if table.keys() != {"origin", "institution"}:
        raise FieldError(f"{name} has an origin and an institution")
    return Side(_typed(str)("origin", table["origin"]), _typed(str)(name, table["institution"]))


def _notice(name: str, value: Any) -> tuple[Code, datetime]:
    if not isinstance(value, list) or len(value) != 2:
        raise FieldError(f"{name} are pairs of an authority and a time")
    return value[0], _typed(datetime)(name, value[1])
