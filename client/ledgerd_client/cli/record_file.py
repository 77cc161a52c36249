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
from ledgerd_client._values import Digest
from ledgerd_client.cli.toml_values import as_it_is, each, hex_bytes, notice, side, table, typed
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
from ledgerd_client.core.transfer import Ticket
from ledgerd_client.events import Recordable
from ledgerd_client.keyfile import read_file

KINDS: Mapping[str, type[Any]] = MappingProxyType({
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
# Of a contract whose file is named, beside it.
_BESIDE_FILE: Mapping[str, str] = MappingProxyType(
    {"file": "Contract", "own": "OwnSide", "changes": "ContractChanges"}
)
_SHA256 = re.compile("[0-9a-f]{64}")
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
    if kind not in KINDS:
        raise FieldError(
            f"{path}: record = {kind!r} is no kind of record",
            reason="UNKNOWN_CODE",
            action=f"use one of {', '.join(KINDS)}",
        )
    reader = _Reader(path.parent)
    if kind == Contract.KIND:
        if "contract" in values:
            raise FieldError(
                'record = "contract" has no field "contract": its file goes by file = …',
                reason="UNKNOWN_FIELD",
                action='write file = "….contract", or the fields of the contract themselves',
            )
        if not (keeps_nonce or values.keys() & {"file", "nonce"}):
            raise FieldError(
                f"{path} states a new contract, and the nonce that it is given would be kept"
                " nowhere: the other party needs it",
                reason="MISSING_FIELD",
                action="say --out FILE, and give that file to the other party; if the other party"
                ' made the contract, write file = "….contract" in place of its fields',
            )
        return reader.contract("", values)
    record: Recordable = reader.fields(KINDS[kind], values)
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
        raise _missing(min(missing))
    return cast(Statement, read)


def _load(path: Path) -> tuple[str, dict[str, Any]]:
    """The kind of a record, and its fields."""
    try:
        values = tomllib.loads(read_file(path).decode("utf-8-sig"))
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
            "bool": typed(bool),
            "int": typed(int),
            "str": typed(str),
            "Sequence[str]": each(typed(str)),
            "bytes": hex_bytes,
            "Sequence[bytes]": each(hex_bytes),
            "date": typed(date),
            "datetime": typed(datetime),
            "Digest": self._digest,
            "Sequence[Digest]": each(self._digest),
            "Sequence[tuple[Code, datetime]]": each(notice),
            "Side": side,
            "OwnSide": lambda name, value: self.fields(OwnSide, table(name, value), name),
            "Contract": self.contract,
            "ContractChanges": self._changes,
            "Ticket": lambda name, value: self._parsed(name, value, Ticket.parse),
            "Restated": lambda name, value: self.values(_RESTATED, table(name, value), name),
        }

    def fields(self, cls: type[Any], values: Mapping[str, Any], within: str = "") -> Any:
        """A value of a dataclass from its fields; those that are left out have their defaults."""
        kinds = _kinds_of(cls)
        read = self.values(kinds, values, within)
        for field in fields(cls):
            if field.name not in read and field.default is field.default_factory is MISSING:
                raise _missing(_path_of(within, field.name))
        return cls(**read)

    def contract(self, within: str, value: Any) -> Contract:
        """A contract from the path of its file, its file and what is beside it, or its fields."""
        if isinstance(value, str):
            return self._parsed(within, value, Contract.parse)
        stated = table(within, value)
        if "file" not in stated:
            made: Contract = self.fields(Contract, stated, within)
            return made
        beside = self.values(_BESIDE_FILE, stated, within)
        contract: Contract = beside["file"]
        if "own" in beside:
            contract = replace(contract, own=beside["own"])
        if "changes" in beside:
            contract = contract.amended(**beside["changes"])
        return contract

    def values(
        self, kinds: Mapping[str, str], values: Mapping[str, Any], within: str = ""
    ) -> dict[str, Any]:
        """Values by field, each read as its kind says; within is the table that they stand in."""
        for name in values:
            if name not in kinds:
                raise FieldError(
                    f"there is no field {name!r} {f'in {within}' if within else 'here'}",
                    reason="UNKNOWN_FIELD",
                    action=f"use {', '.join(kinds)}",
                )
        # What has no reader is a code or a list of them: those are checked with their tables.
        return {
            name: self._readers.get(kinds[name], as_it_is)(_path_of(within, name), value)
            for name, value in values.items()
        }

    def _changes(self, name: str, value: Any) -> dict[str, Any]:
        of_contract = _kinds_of(Contract)
        kinds = {field: of_contract[field] for field in ContractChanges.__annotations__}
        return self.values(kinds, table(name, value), name)

    def _path(self, name: str, value: Any) -> Path:
        return self._directory / typed(str)(name, value)

    def _parsed(self, name: str, value: Any, parse: Callable[[bytes], T]) -> T:
        """What is in a file of its own; what is wrong with it names the field and the file."""
        path = self._path(name, value)
        try:
            return parse(read_file(path))
        except InputError as error:
            message = f"{name}: {path}: {error.message}"
            raise type(error)(message, reason=error.reason, action=error.action) from None

    def _digest(self, name: str, value: Any) -> Digest:
        text = typed(str)(name, value)
        return bytes.fromhex(text) if _SHA256.fullmatch(text) else self._path(name, text)


def _path_of(within: str, name: str) -> str:
    return f"{within}.{name}" if within else name


def _missing(name: str) -> FieldError:
    return FieldError(f"{name} is missing", reason="MISSING_FIELD")


def _kinds_of(cls: type[Any]) -> dict[str, str]:
    return {field.name: str(field.type).removesuffix(" | None") for field in fields(cls)}
