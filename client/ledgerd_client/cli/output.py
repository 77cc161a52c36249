"""
What ledgerctl says, where, and with which exit code.

Data goes to standard output, for people as `name  value` lines or, with --json, as one JSON object
a line; words go to standard error. People read it in the language that they chose; programs read
the same keys and codes whatever it is.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ledgerd_client._values import LOCAL, from_micros
from ledgerd_client.catalogue import Catalogue
from ledgerd_client.core.errors import InputError, LedgerError, VerificationError

TAMPERED = 1
BAD_INPUT = 2
COULD_NOT_ASK = 3

# Of one message, and of one piece of advice, which may list codes.
_MAX_MESSAGE = 200
_MAX_ADVICE = 600
# Wrong usage; typer itself exports only this kind of it.
_UsageError: Any = typer.BadParameter.__base__
# Where the class alone misleads: what is not proven yet is not disproven, and a caller_ref that
# stands for something else, or for what was taken back, no later try will mend.
_CODES = {
    "TICKET_QUEUED": COULD_NOT_ASK,
    "CALLER_REF_REUSED": BAD_INPUT,
    "TRANSFER_CANCELLED": BAD_INPUT,
}

# What is printed for programs only.
_NOTHING = (None, "", b"")
_LANG = ContextVar("lang", default="en")

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before signing.")]


class Term(str):
    """A value of one's own vocabulary, say a state: for people in their language."""

    __slots__ = ()


def speak(lang: str) -> None:
    """Say everything in a language from now on; raises InputError UNKNOWN_LANGUAGE."""
    Catalogue.load(lang)
    _LANG.set(lang)


def words() -> Catalogue:
    """Those of the chosen language."""
    return Catalogue.load(_LANG.get())


class Program(TyperGroup):
    """The root command: errors become one line and an exit code."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _brief_usage():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _brief_usage():
                return super().invoke(ctx)
        except _UsageError as error:
            if words().lang == "en":
                raise
            say(f"ledgerctl: {words().word('usage')} ({error.format_message()})")
            raise typer.Exit(BAD_INPUT) from None
        except LedgerError as error:
            say_error(error)
            raise typer.Exit(exit_code(error)) from None
        except typer.Abort:
            say(f"ledgerctl: {words().word('not_confirmed')}")
            raise typer.Exit(COULD_NOT_ASK) from None
        except BrokenPipeError:
            # Whoever read our output went away; typer would exit 1, which says tampering.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(COULD_NOT_ASK) from None
        except OSError as error:
            # With a name it is of a path that was given, without one of our own output.
            where = shorten(str(error.filename or words().word("output")))
            say(f"ledgerctl: {where}: {error.strerror}.")
            raise typer.Exit(BAD_INPUT if error.filename else COULD_NOT_ASK) from None


@contextmanager
def _brief_usage() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        error.message = shorten(error.message)
        raise


def say_error(error: LedgerError) -> None:
    message, advice = shorten(error.message), shorten(error.action, _MAX_ADVICE)
    reason = shorten(error.reason)
    told = words().error(error.reason) if words().lang != "en" else None
    if told:
        # The details are in the message, which has no translation.
        said = "" if error.action == error.default_action else f" {advice}."
        say(f"ledgerctl: {told[0]}{told[1]} ({reason}: {message}.{said})")
    else:
        say(f"ledgerctl: {message} ({reason}). What to do: {advice}.")
    for evidence in getattr(error, "__notes__", ()):
        for line in evidence.splitlines():  # of signed notes, to be kept
            say(line)


def exit_code(error: LedgerError) -> int:
    if error.reason in _CODES:
        return _CODES[error.reason]
    if isinstance(error, VerificationError):
        return TAMPERED
    return BAD_INPUT if isinstance(error, InputError) else COULD_NOT_ASK


def emit(fields: Mapping[str, object], *, as_json: bool) -> None:
    """
    Print one result. A value is text, a number, bytes (shown as hex), or a list of such results.

    What is empty or None is printed in JSON only.
    """
    if as_json:
        text = json.dumps(_shown(fields), ensure_ascii=False)
        # As JSON spells it: half a character in the name of a file, and what steers a terminal.
        typer.echo("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))
        return
    labels = {name: words().label(name) for name in fields}
    wide = max(map(width, labels.values()))
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if item not in _NOTHING:
                typer.echo(printable(f"{pad(labels[name], wide)}  {_line(item)}"))


def _shown(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _shown(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _line(value: object) -> str:
    if isinstance(value, Mapping):
        parts = value.items()
        return ", ".join(
            f"{words().label(name)} {_line(item)}" for name, item in parts if item != ""
        )
    if isinstance(value, list):
        return words().word("and").join(map(_line, value))
    if isinstance(value, bool):
        return words().word("yes" if value else "no")
    return words().word(value) if isinstance(value, Term) else str(_shown(value))


def width(text: str) -> int:
    """How many cells of a terminal a text takes: a Chinese character two, a combining mark none."""
    wide = sum(unicodedata.east_asian_width(c) in {"W", "F"} for c in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def pad(text: str, cells: int) -> str:
    return text + " " * (cells - width(text))


def say(words: str) -> None:
    typer.echo(printable(words), err=True)


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the user agrees, or has said --yes; raises typer.Abort."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


def to_iso(micros: int) -> str:
    """
    A time of µs since the epoch, for people and programs: ISO 8601 with its offset.

    UTC, and in Chinese the time of both sides, UTC+8.
    """
    moment = from_micros(micros)
    if words().lang != "en":
        moment = moment.astimezone(LOCAL)
    return moment.isoformat().replace("+00:00", "Z")


def shorten(text: str, limit: int = _MAX_MESSAGE) -> str:
    """Text with its middle left out when it is long: it may quote what strangers wrote."""
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail]} … {text[-tail:]}"


def printable(text: str) -> str:
    """Without what could steer a terminal: names and messages come from strangers."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
