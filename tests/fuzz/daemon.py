"""As parsers.py: those of the daemon, for what is carried, sent and kept as files."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.parsers import (
    BODIES,
    CHECKPOINTS,
    HEADERS,
    HISTORY,
    MAINLAND,
    NOTES,
    READS,
    Parser,
    members,
    modules,
    takes,
)

import ledgerd
from ledgerd.backup.files import EntryFile, Manifest, read_entries
from ledgerd.ledger.high_water import HighWater
from ledgerd.ledger.peer_pages import read_page
from ledgerd.observe.results import AuditResult, BackupResult
from ledgerd.peer.answer import Answer
from ledgerd.peer.carried import Carried, Envelope
from ledgerd.peer.exchange import Outcome
from ledgerd.peer.notes import open_known, parse_known
from ledgerd_client._proto import service_pb2 as pb

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "carried.json").read_text())
NOTE = CHECKPOINTS[0]["note"].encode()
SIZE = parse_known(NOTE).size

ENVELOPE = Envelope(MAINLAND["origin"], "b.invalid/log", 0, SIZE, bytes(16))
ANSWER = Answer(
    *(bytes.fromhex(VECTOR["question"]), VECTOR["size"], bytes.fromhex(VECTOR["root"])),
    *(VECTOR["cosigned"].encode(), VECTOR["seen"].encode(), bytes.fromhex(VECTOR["signature"])),
)
PAGES = [
    pb.ListHeadersResponse(checkpoint=NOTE, headers=HEADERS[:2], bodies=[pb.SharedBody(body=BODIES[0])]),
    pb.ListHeadersResponse(first=2, headers=HEADERS[2:SIZE]),
]  # fmt: skip
OUTCOME = Outcome(bytes(32), bytes(16), "BAD_ROOT", "what", "do")
ENTRIES = pb.FollowResponse(
    entries=[pb.FollowedEntry(header=each) for each in HEADERS[:3]]
).SerializeToString()


def parse_entries(data: bytes) -> list[list[pb.FollowedEntry]]:
    with TemporaryDirectory() as directory:
        file = EntryFile.of(Path(directory), "own", 0, 3)
        file.path.write_bytes(data)
        return list(read_entries(file))


DAEMON = {
    "backup.files.Manifest.parse": Parser(
        Manifest.parse, [Manifest("a/log", NOTE, "b/log", b"", 1).format()]
    ),
    "backup.files.read_entries": Parser(
        parse_entries, [b"ledgerd-entries/v1\n" + len(ENTRIES).to_bytes(4, "big") + ENTRIES]
    ),
    "ledger.high_water.HighWater.parse": Parser(
        HighWater.parse, [HighWater(bytes(16), 7).format()], HighWater.format
    ),
    "ledger.peer_pages.read_page": Parser(
        partial(read_page, pb.ListHeadersResponse), [page.SerializeToString() for page in PAGES]
    ),
    "observe.results.AuditResult.parse": Parser(
        AuditResult.parse, [AuditResult(1, 2, 3, 4, 0, 1, "").format()]
    ),
    "observe.results.BackupResult.parse": Parser(
        BackupResult.parse, [BackupResult(1, 2, "there").format()]
    ),
    "peer.answer.Answer.parse": Parser(Answer.parse, [ANSWER.format()]),
    "peer.carried.Carried.parse": Parser(
        Carried.parse, [Carried(ENVELOPE, each, PAGES).format() for each in (None, ANSWER)]
    ),
    "peer.carried.Envelope.parse": Parser(Envelope.parse, [ENVELOPE.format()]),
    "peer.exchange.Outcome.parse": Parser(Outcome.parse, [OUTCOME.format()]),
    "peer.notes.open_known": Parser(partial(open_known, history=HISTORY), NOTES),
    "peer.notes.parse_known": Parser(parse_known, NOTES),
}

# Nobody but the node has written what these read, and the audit makes all of it anew.
OF_THE_STORE = {
    "ledger.law_plain.read_sent",
    "ledger.peer_log.AnchorState.parse",
    "ledger.verifying.read_own_facts",
}


def of_daemon() -> set[str]:
    """Public functions and class methods of the daemon that read bytes; of rows, none."""
    return {
        name
        for module in modules(ledgerd)
        if not module.__name__.startswith("ledgerd.projections")
        for name, each in members(module, ledgerd)
        if READS.match(name.rpartition(".")[2]) and takes(each, "bytes", "EntryFile")
    }
