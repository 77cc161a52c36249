"""
Man pages of both programs and of node.toml, made of what the programs say of themselves.

Run by the package's build: `python deploy/manpages.py DIRECTORY`. Pages bear the date of
SOURCE_DATE_EPOCH, so that two builds make the same bytes.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer.main
from pydantic.fields import FieldInfo

import ledgerd.__main__
from ledgerd.config import Config
from ledgerd_client.cli import program
from ledgerd_client.cli.deferred import Deferred

_CODE = re.compile(r"`([^`]+)`")
_EXIT_CODES = "Exit codes: "
_NODE_TOML = """
One TOML file, /etc/ledgerd/node.toml unless `ledgerd` is told another. Paths are relative to it; a
key that is not listed here is refused. `ledgerd check` names everything that is wrong with it. An
example is in /usr/share/doc/ledgerd/examples.
"""


def main(directory: Path) -> None:
    """Write the pages, made anew, into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    pages = {
        "ledgerd.8": program_page("ledgerd", 8, typer.main.get_command(ledgerd.__main__.app)),
        "ledgerctl.1": program_page("ledgerctl", 1, program.app),
        "node.toml.5": configuration_page(),
    }
    for name, lines in pages.items():
        (directory / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def program_page(name: str, section: int, command: Any) -> Iterator[str]:
    said = paragraphs(command.help)
    first, *more = [part for part in said if not part.startswith(_EXIT_CODES)]
    yield from _head(name, section, first)
    yield from (".SH SYNOPSIS", f".B {name}", ".I COMMAND", r"[\fIOPTIONS\fR] [\fIARGUMENTS\fR]")
    yield ".SH DESCRIPTION"
    yield from _prose([first, *more])
    yield ".SH OPTIONS"
    yield from _options(command, name)
    yield ".SH COMMANDS"
    for words, leaf in _leaves(command, name):
        yield f".SS {_quoted(words)}"
        yield from _prose(paragraphs(leaf.help))
        yield from _options(leaf, words)
    for part in said:
        if part.startswith(_EXIT_CODES):
            yield ".SH EXIT STATUS"
            yield from _exit_codes(part.removeprefix(_EXIT_CODES))
    yield from (".SH FILES", ".TP", r".I /etc/ledgerd/node.toml", "The node's configuration.")
    if name == "ledgerd":
        yield ".SH UNITS"
        yield from _units(Path(__file__).parent)
    others = {"ledgerd": "ledgerctl (1)", "ledgerctl": "ledgerd (8)"}
    yield from (".SH SEE ALSO", f".BR {others[name]},", ".BR node.toml (5)")


def configuration_page() -> Iterator[str]:
    yield from _head("node.toml", 5, "configuration of a ledgerd node.")
    yield ".SH DESCRIPTION"
    yield from _prose(paragraphs(_NODE_TOML))
    table = ""
    yield ".SH SETTINGS"
    # TOML's order: what stands in no table comes first.
    for place, field in sorted(Config.settings(), key=lambda setting: "." in setting[0]):
        head, _, _ = place.rpartition(".")
        if head != table:
            table = head
            yield f".SS {_quoted(f'[{table}]')}"
        yield from (".TP", rf"\fB{_text(place)}\fR{_default(field)}")
        yield _marked(f"{field.description}.")
    yield from (".SH SEE ALSO", ".BR ledgerd (8)")


def paragraphs(words: str | None) -> list[str]:
    """The paragraphs of a help text, each on one line."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", (words or "").strip())]


def _head(name: str, section: int, purpose: str) -> Iterator[str]:
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0"))))
    yield f'.TH {_quoted(name.upper())} {section} {day} "ledgerd {version("ledgerd")}"'
    yield from (".SH NAME", rf"{_text(name)} \- {_text(purpose.partition('. ')[0].rstrip('.'))}")


def _prose(parts: list[str]) -> Iterator[str]:
    for part in parts:
        yield ".PP"
        yield _marked(part)


def _exit_codes(words: str) -> Iterator[str]:
    """From `0 done; 1 failed.`"""
    for each in words.split("; "):
        code, _, meaning = each.partition(" ")
        yield from (".TP", rf"\fB{code}\fR", _marked(f"{meaning.rstrip('.')}."))


def _leaves(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Each command that does something, with what is typed for it."""
    command = command.command if isinstance(command, Deferred) else command
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, each in command.commands.items():
        if not each.hidden:
            yield from _leaves(each, f"{words} {name}")


def _options(command: Any, words: str) -> Iterator[str]:
    context = command.context_class(command, info_name=words)
    for parameter in command.get_params(context):
        if (record := parameter.get_help_record(context)) is not None:
            yield from (".TP", rf"\fB{_text(record[0])}\fR", _marked(record[1]) or r"\&")


def _units(directory: Path) -> Iterator[str]:
    """What systemd is given, with what each says of itself."""
    for unit in sorted((*directory.glob("*.service"), *directory.glob("*.timer"))):
        (said,) = re.findall(r"^Description=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
        yield from (".TP", rf"\fB{_text(unit.name)}\fR", _text(said))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return " (required)"
    value = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
    return "" if value in {None, ""} else f" (default: {_text(str(value))})"


def _quoted(words: str) -> str:
    return f'"{_text(words)}"'


def _marked(words: str) -> str:
    """Text in which what stands between backticks is bold."""
    return _CODE.sub(r"\\fB\1\\fR", _text(words))


def _text(words: str) -> str:
    """Text as roff takes it: a hyphen that can be copied, and no line that is a request."""
    escaped = words.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main(Path(sys.argv[1]))
