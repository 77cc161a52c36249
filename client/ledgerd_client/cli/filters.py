"""The options that say which entries: of `entries`, `summary` and `export`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, cast

import typer

from ledgerd_client._asking import moment_of
from ledgerd_client.cli.asking import parse_hex
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.regulator import Query

Texts = list[str] | None

# Errors whose message may begin with fields of the query; and the options of those.
_FIELDS = re.compile(r"\w+( and \w+)?(?=:| contradict )")
_OF_FIELDS = frozenset(("CONTRADICTION", "GRANT", "UNKNOWN_CODE"))
_OPTIONS = {
    "from": "--since", "until": "--until", "first": "--first", "end": "--end", "tail": "--tail",
    "checkpoint": "--at", "newest_first": "--newest-first", "standing": "--standing",
    "institutions": "--institution", "counterparties": "--counterparty", "kinds": "--kind",
    "contract_ids": "--contract", "directions": "--direction", "places": "--place",
    "sectors": "--sector", "categories": "--category", "sensitive_categories": "--sensitive",
    "purposes": "--purpose", "mechanisms": "--mechanism", "rules": "--rule",
    "severities": "--severity", "states": "--state", "refs": "--ref",
}  # fmt: skip


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """
    A command with these options where it has a parameter `query`, which is what they say.

    Each is there once for all commands: as a parameter of the function below.
    """
    own, ours = (signature(each, eval_str=True).parameters for each in (command, _query))
    options = [
        option.replace(kind=Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        for option in (ours.values() if name == "query" else (parameter,))
    ]

    @wraps(command)
    def call(**given: Any) -> None:
        query = _query(**{name: given.pop(name) for name in ours})
        with naming_options():
            command(query=query, **given)

    call.__signature__ = signature(command).replace(parameters=options)  # type: ignore[attr-defined] # what Typer reads
    return call


@contextmanager
def naming_options(*without: str) -> Iterator[None]:
    """
    What is wrong with a field of a query, as that of the option that it came from.

    without: fields that no option of the command is of.
    """

    def option(field: re.Match[str]) -> str:
        return field[0] if field[0] in without else _OPTIONS.get(field[0], field[0])

    try:
        yield
    except LedgerError as error:
        fields = _FIELDS.match(error.message) if error.reason in _OF_FIELDS else None
        if fields:
            named = re.sub(r"\w+", option, fields[0])
            error.message = named + error.message[fields.end() :]
        raise


def _query(
    institution: Annotated[
        Texts, typer.Option(help="By it; of findings: whom they concern.")
    ] = None,
    counterparty: Annotated[Texts, typer.Option(help="The other party.")] = None,
    contract: Annotated[Texts, typer.Option(help="A contract's id.")] = None,
    kind: Annotated[
        Texts, typer.Option(help="transfer, ack, contract, finding, incident, …")
    ] = None,
    direction: Annotated[Texts, typer.Option(help="CN_HK or HK_CN.")] = None,
    place: Annotated[Texts, typer.Option(help="Where the institution is registered.")] = None,
    sector: Annotated[Texts, typer.Option(help="Of the institution.")] = None,
    category: Annotated[Texts, typer.Option(help="Of the data.")] = None,
    sensitive: Annotated[Texts, typer.Option(help="Sensitive category of the data.")] = None,
    purpose: Annotated[Texts, typer.Option(help="Stated purpose.")] = None,
    mechanism: Annotated[Texts, typer.Option(help="Of the contract.")] = None,
    rule: Annotated[Texts, typer.Option(help="A finding's rule, or a family of them: K15.")] = None,
    severity: Annotated[
        Texts, typer.Option(help="Of a finding: information, medium, high.")
    ] = None,
    standing: Annotated[str, typer.Option(help="Of a finding: stands or closed.")] = "",
    state: Annotated[
        Texts, typer.Option(help="Of a transfer: open, matched, unacknowledged, …")
    ] = None,
    ref: Annotated[Texts, typer.Option(help="A transfer: its halves and findings.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Recorded from this day on, in UTC+8, or time.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Recorded before this day, or time.")] = None,
    first: Annotated[int, typer.Option(min=0, help="From this entry on.")] = 0,
    end: Annotated[int | None, typer.Option(min=1, help="Before this entry.")] = None,
) -> Query:
    return Query(
        first=first,
        end=end,
        since=moment_of("since", since) if since else None,
        until=moment_of("until", until) if until else None,
        institutions=institution or (),
        counterparties=counterparty or (),
        contract_ids=contract or (),
        kinds=kind or (),
        directions=_codes(direction),
        places=_codes(place),
        sectors=_codes(sector),
        categories=_codes(category),
        sensitive_categories=_codes(sensitive),
        purposes=_codes(purpose),
        mechanisms=_codes(mechanism),
        rules=rule or (),
        severities=severity or (),
        # Query says which there are.
        standing=cast(Literal["", "stands", "closed"], standing),
        states=state or (),
        refs=[parse_hex(text, 32, "ref") for text in ref or ()],
    )


def _codes(texts: Texts) -> Sequence[int | str]:
    return [int(text) if text.isascii() and text.isdigit() else text for text in texts or ()]
