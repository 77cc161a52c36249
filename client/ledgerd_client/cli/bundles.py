"""`ledgerctl bundle` and `dossier`: what is carried to court, as a file and on paper."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.bundle import (
    Bundle,
    BundledSide,
    VerifiedBundle,
    gather_as_institution,
    gather_as_regulator,
    verify_bundle,
    with_state,
)
from ledgerd_client.catalogue import Catalogue
from ledgerd_client.cli.asking import (
    DEFAULT_CONFIG,
    At,
    Config,
    Mirror,
    ask_as_regulator,
    checkpoint_at,
    parse_hex,
)
from ledgerd_client.cli.output import Json, Term, Yes, confirm, emit, say, to_iso, words
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.fields import DIGEST_SIZE
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import check_free, read_file, write_new, write_together
from ledgerd_client.regulator import RegulatorClient
from ledgerd_client.reports import default_checkpoint, make
from ledgerd_client.reports.model import Report

app = typer.Typer(no_args_is_help=True, help="One transfer with all its proofs, in one file.")

Bodies = Annotated[
    bool, typer.Option("--bodies", help="With the bodies: whoever gets the file reads the terms.")
]
File = Annotated[Path, typer.Argument(help="A bundle.")]


@app.command()
def create(
    transfer: Annotated[str, typer.Argument(help="The transfer's ref, in hex.")],
    out: Annotated[Path, typer.Option(help="The bundle to make.")],
    bodies: Bodies = False,
    config: Config = DEFAULT_CONFIG,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    Pack what your side's log holds of a transfer: halves, findings, proofs, keys, rules.

    As its party or as a regulator; the other side's adds its own with `bundle add`.
    """
    ref = parse_hex(transfer, DIGEST_SIZE, "ref")
    side, trust = _gather(ref, config, bodies=bodies, yes=yes)
    bundle = with_state(Bundle(ref, "", (side,)), trust)
    write_new(out, bundle.format(), mode=0o600)
    _emit(bundle, out, as_json=as_json)


@app.command()
def add(
    file: File,
    out: Annotated[Path, typer.Option(help="The bundle to make.")],
    bodies: Bodies = False,
    config: Config = DEFAULT_CONFIG,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make a bundle that has your side too, in place of what that added before."""
    bundle = Bundle.parse(read_file(file))
    side, trust = _gather(bundle.ref, config, bodies=bodies, yes=yes)
    bundle = with_state(bundle.with_side(side), trust)
    write_new(out, bundle.format(), mode=0o600)
    _emit(bundle, out, as_json=as_json)


@app.command()
def verify(
    file: File,
    trust: Annotated[Path, typer.Option(help="The trust file; compare its fingerprint first.")],
    uncosigned: Annotated[
        bool,
        typer.Option("--allow-uncosigned", help="Do with what the other side's node never saw."),
    ] = False,
    as_json: Json = False,
) -> None:
    """
    Verify a bundle with nothing but the keys of the two authorities; asks no node.

    Exit code 0: these halves stand in these logs and come to this state. 1: a part of it does not
    verify. 3: it does, but is not cosigned. What was left out of it, a mirror of the log shows.
    """
    bundle = Bundle.parse(read_file(file))
    verified = verify_bundle(bundle, Trust.parse(read_file(trust)), uncosigned=uncosigned)
    say(words().word("bundle_shows"))
    emit(
        {
            "verified": _in_words(verified),
            "ref": verified.ref,
            "state": Term(verified.state),
            "halves": list(_halves(verified)),
            "findings": list(_findings(verified)),
            "rule_sets": [
                {"origin": side.origin, "index": index, "version": rules.version}
                for side in verified.sides
                for index, rules in sorted(side.rule_sets.items())
            ],
        },
        as_json=as_json,
    )


def dossier(
    contract: Annotated[str, typer.Argument(help="The contract's id.")],
    pdf: Annotated[Path, typer.Option(help="The PDF to make; its report goes beside it as .json.")],
    font: Annotated[
        Path | None, typer.Option(help="A TrueType font; else one that is found here.")
    ] = None,
    at: At = None,
    mirror: Mirror = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Print what is recorded of a contract: tables, pictures, proofs, and a box to sign and seal in.

    The same contract at the same checkpoint is the same file, byte for byte. The report beside it
    is what `report verify` reads.
    """
    if not pdf.name:
        raise FieldError("--pdf names no file", action="name the file to write")
    render, side_file = _renderer(), pdf.with_suffix(".json")
    check_free(pdf, side_file)

    async def asked(client: RegulatorClient) -> Report:
        checkpoint = await checkpoint_at(client, at) or await default_checkpoint(client)
        return await make("dossier", client, {"contract": (contract,)}, checkpoint)

    report = ask_as_regulator(config, mirror, asked)
    printed = render(report, words(), font)
    write_together({side_file: report.to_json(), pdf: printed}, mode=0o600)
    emit(
        {"pdf": str(pdf), "report": str(side_file), "report_digest": report.digest},
        as_json=as_json,
    )


def _renderer() -> Callable[[Report, Catalogue, Path | None], bytes]:
    try:
        from ledgerd_client.dossier import render  # noqa: PLC0415 -- an extra
    except ImportError:
        raise InputError(
            "printing is an extra that is not installed",
            reason="NO_PRINTING",
            action="pip install 'ledgerd-client[reports]'",
        ) from None
    return render


def _gather(ref: bytes, config: Path, *, bodies: bool, yes: bool) -> tuple[BundledSide, Trust]:
    settings = Settings.from_file(config)
    trust = settings.read_trust()
    if bodies:
        confirm(
            "The bodies go wherever this file goes, across the border too. Put them in?", yes=yes
        )
    if settings.institution is None:
        side = ask_as_regulator(
            config, None, lambda client: gather_as_regulator(client, ref, bodies=bodies)
        )
    else:
        side = asyncio.run(gather_as_institution(settings, trust, ref, bodies=bodies))
    return side, trust


def _emit(bundle: Bundle, path: Path, *, as_json: bool) -> None:
    emit(
        {
            "ref": bundle.ref,
            "state": Term(bundle.state),
            "sides": [side.origin for side in bundle.sides],
            "bundle": str(path),
        },
        as_json=as_json,
    )


def _in_words(verified: VerifiedBundle) -> str:
    halves = [half for side in verified.sides for half in side.halves]
    cosigned = all(half.proven.cosigned_at is not None for half in halves)
    by = "cosigned" if cosigned else "not all cosigned"
    logs = " and ".join(side.origin for side in verified.sides)
    return f"{len(halves)} halves in {logs}, {by} by the other side's node"


def _halves(verified: VerifiedBundle) -> Iterator[dict[str, object]]:
    for side in verified.sides:
        for half in side.halves:
            header = half.proven.header
            yield {
                "origin": side.origin,
                "index": header.index,
                "kind": header.kind.name.lower(),
                "institution": half.institution,
                "recorded_at": to_iso(header.recorded_at),
                "terms_digest": half.terms_digest,
                "body": "with its body" if half.body is not None else "",
            }


def _findings(verified: VerifiedBundle) -> Iterator[dict[str, object]]:
    for side in verified.sides:
        for found in side.findings:
            yield {
                "origin": side.origin,
                "index": found.proven.header.index,
                "rule": found.finding.rule,
                "recorded_at": to_iso(found.proven.header.recorded_at),
                "closed": found.finding.closed,
            }
