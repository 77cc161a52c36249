"""A TOML file as a pydantic model, and what is wrong with it in the words of whoever edits it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.keyfile import file_too_large, read_file

# A configuration has a hundred lines.
_MOST_BYTES = 1 << 20


def _check_named(value: object) -> object:
    if not isinstance(value, str | Path):
        raise ValueError(f'a path is text in quotes, say "data", not {value!r:.40}')  # noqa: TRY004 - pydantic's way
    if value == "":
        raise ValueError("a path is not empty")
    return value


def _relative_to_file(path: Path, info: ValidationInfo) -> Path:
    if "\0" in str(path):
        raise ValueError("a path has no NUL in it")
    return Path(info.context["directory"], path) if info.context else path


FilePath = Annotated[
    Path, Field(strict=False), BeforeValidator(_check_named), AfterValidator(_relative_to_file)
]


class Table(BaseModel):
    """A table of the file: immutable, and without room for a key that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def settings(cls, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
        """Every setting of the file, those of tables with the table's name and a dot before."""
        for name, field in cls.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Table):
                yield from field.annotation.settings(f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", field


M = TypeVar("M", bound=Table)


def load(model: type[M], path: Path) -> M:
    """
    Read a file; values of type FilePath are relative to its directory.

    Raises InputError, which names file and key, for a file that cannot be read, a key that is
    unknown or missing, and a value that is not allowed.
    """
    try:
        return _validate(model, path)
    except ValidationError as error:
        raise _explain(model, path, error)[0] from None


def faults(model: type[Table], path: Path) -> list[InputError]:
    """
    Everything that is wrong with a file.

    Its validators are told that all is to be looked at (context "all"): what `load` leaves to
    whoever uses a value, too.
    """
    try:
        _validate(model, path, look_at_all=True)
    except ValidationError as error:
        return [*_explain(model, path, error)]
    except InputError as error:
        return [error]
    return []


def _validate(model: type[M], path: Path, *, look_at_all: bool = False) -> M:
    data = read_file(path)
    if len(data) > _MOST_BYTES:
        raise file_too_large(path, _MOST_BYTES)
    try:
        values = tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise _bad(path, "is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise _bad(path, f"is not TOML: {error}") from None
    context = {"directory": path.absolute().parent, "all": look_at_all}
    return model.model_validate(values, context=context)


def _bad(path: Path, why: str) -> InputError:
    return InputError(f"{path} {why}", reason="BAD_CONFIG", action=f"correct {path}")


def _explain(model: type[Table], path: Path, error: ValidationError) -> list[FieldError]:
    return [_explain_one(model, path, found) for found in error.errors(include_url=False)]


def _explain_one(model: type[Table], path: Path, found: ErrorDetails) -> FieldError:
    place, name = found["loc"], ".".join(map(str, found["loc"])) or "the file"
    if found["type"] == "extra_forbidden":
        where = f"in [{'.'.join(map(str, place[:-1]))}]" if len(place) > 1 else "at the top"
        return FieldError(
            f"{path}: {name!r} is not a setting",
            reason="UNKNOWN_SETTING",
            action=f"{where} use {', '.join(_table(model, place).model_fields)}",
        )
    if found["type"] == "missing":
        field = _table(model, place).model_fields[str(place[-1])]
        return FieldError(
            f"{path}: {name} is missing",
            reason="MISSING_SETTING",
            action=f"add it: {field.description or f'the table [{name}]'}",
        )
    message = str(found["msg"]).removeprefix("Value error, ")
    return FieldError(f"{path}: {name}: {message}", reason="BAD_SETTING", action="correct the file")


def _table(model: type[Table], place: tuple[Any, ...]) -> type[Table]:
    """The table that the last part of a place stands in."""
    for part in place[:-1]:
        nested = model.model_fields[part].annotation
        if isinstance(nested, type) and issubclass(nested, Table):
            model = nested
    return model
