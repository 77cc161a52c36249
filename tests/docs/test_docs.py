"""What README and docs/ say is true: links lead somewhere, snippets parse, commands exist."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from cli.tool import made
from typer.core import TyperGroup

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for place in (".", "client", "deploy", "docs", "docs/adr")
    for path in (ROOT / place).glob("*.md")
)
APPS = {"ledgerd": "ledgerd.__main__", "ledgerctl": "ledgerd_client.cli.program"}
SHELL = frozenset(("sh", "console"))

# In a list it is indented.
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

pytestmark = pytest.mark.parametrize("page", PAGES)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    return FENCE.sub("", read(page))


def snippets(page: str, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(read(page)) if language in languages]


def shell_lines(page: str) -> Iterator[str]:
    for snippet in snippets(page, *SHELL):
        for line in snippet.replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix("$ ")


def commands(page: str) -> list[str]:
    """Every command line of ours: lines of shell snippets, and spans in the text."""
    lines = (*shell_lines(page), *SPAN.findall(prose(page)))
    return [line for line in lines if line.startswith(tuple(f"{name} " for name in APPS))]


def program(name: str) -> Any:
    app = importlib.import_module(APPS[name]).app
    return typer.main.get_command(app) if isinstance(app, typer.Typer) else app


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def anchors(page: str) -> set[str]:
    """What headings are called in links, where Markdown is shown."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


class TestPages:
    def test_every_link_within_the_project_leads_somewhere(self, page: str) -> None:
        for target in LINK.findall(prose(page)):
            if target.startswith(("https://", "mailto:")):
                continue
            name, _, anchor = target.partition("#")
            linked = ((ROOT / page).parent / name).resolve() if name else ROOT / page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(str(linked.relative_to(ROOT))), target

    def test_every_toml_and_json_snippet_parses(self, page: str) -> None:
        for snippet in snippets(page, "toml"):
            tomllib.loads(snippet)
        for snippet in snippets(page, "json"):
            json.loads(snippet)

    def test_every_python_snippet_compiles_and_imports_what_there_is(self, page: str) -> None:
        for snippet in snippets(page, "python"):
            compile(snippet, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            for node in ast.walk(ast.parse(snippet)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    module = importlib.import_module(node.module)
                    assert [
                        name.name for name in node.names if not hasattr(module, name.name)
                    ] == []

    def test_every_make_target_exists(self, page: str) -> None:
        targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
        lines = (*shell_lines(page), *SPAN.findall(prose(page)))
        for line in lines:
            words = shlex.split(line, comments=True) if line.startswith("make ") else []
            assert set(words[1:]) <= targets, line

    def test_every_command_line_uses_subcommands_and_options_that_exist(self, page: str) -> None:
        for line in commands(page):
            name, *words = shlex.split(re.sub(r"[\[\]|]", " ", line), comments=True)
            command = program(name)
            known = {"--help", *options(command)}
            while isinstance(command, TyperGroup) and words and words[0] != "--help":
                if words[0].startswith("-"):  # of the program itself
                    assert words.pop(0) in known, line
                    while words and words[0] not in command.commands:  # its values
                        del words[0]
                    continue
                assert words[0] in command.commands, line
                command = made(command.commands[words.pop(0)])
                known |= options(command)
            assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known, line
