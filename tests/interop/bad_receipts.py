"""Headers and receipts that a reader must refuse: each breaks one rule, and says which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from interop import reference as ref
from interop.reference import Signer
from interop.scenario import (
    ACK,
    ADMIT,
    CANCEL,
    EXPORTER,
    GENESIS,
    INSTITUTION,
    KEY,
    NODE,
    RECIPIENT,
    TRANSFER,
    Entry,
    Log,
    Scenario,
)

Case = tuple[str, Any]


def headers(world: Scenario) -> Iterator[Case]:
    """Header bytes; none of them is a header."""
    plain = world.mainland.entries[2].header
    transfer = world.mainland.entries[3].header
    ack = world.hongkong.entries[3].header
    raw, with_halves = plain.encode(), transfer.encode()
    yield "empty", b""
    yield "cut before has_halves", raw[:-1]
    yield "cut inside the halves", with_halves[:-1]
    yield "a byte left over after has_halves = 0", raw + b"\x00"
    yield "a byte left over after the halves", with_halves + b"\x00"
    yield "version 0", b"\x00" + raw[1:]
    yield "version 2", b"\x02" + raw[1:]
    yield "kind 12 is not defined", replace(plain, kind=12).encode()
    yield "key algorithm 2 is not defined", raw[:90] + b"\x02" + raw[91:]
    yield "an Ed25519 signature of 63 bytes", replace(plain, signature=bytes(63)).encode()
    yield "an Ed25519 signature of 65 bytes", replace(plain, signature=bytes(65)).encode()
    yield "no signature", replace(plain, signature=b"").encode()
    yield "has_halves = 2", with_halves[:189] + b"\x02" + with_halves[190:]
    yield "has_halves = 2 and nothing after it", raw[:-1] + b"\x02"
    yield "a TRANSFER without halves", replace(transfer, halves=None).encode()
    yield "a NODE entry with halves", replace(plain, halves=transfer.halves).encode()
    yield "a KEY entry with halves", replace(transfer, kind=KEY).encode()
    yield from halves(transfer, ack)


def halves(transfer: ref.Header, ack: ref.Header) -> Iterator[Case]:
    def changed(header: ref.Header, **fields: Any) -> bytes:
        assert header.halves
        return replace(header, halves=replace(header.halves, **fields)).encode()

    yield "outcome 9 on an ACK", changed(ack, outcome=9)
    yield "outcome 0 on an ACK", changed(ack, outcome=0)
    yield "outcome 5 on an ACK", changed(ack, outcome=5)
    yield "outcome 1 on a TRANSFER", changed(transfer, outcome=1)
    yield "outcome 1 on a CANCEL", changed(replace(transfer, kind=CANCEL), outcome=1)
    yield "an empty counterparty origin", changed(ack, counterparty_origin="")
    yield "a counterparty origin of 201 bytes", changed(ack, counterparty_origin="a" * 201)
    yield "a space in the counterparty origin", changed(ack, counterparty_origin="gba example")
    yield "a plus sign in the counterparty origin", changed(ack, counterparty_origin="gba+example")
    yield "a newline in the counterparty origin", changed(ack, counterparty_origin="gba\n")
    name = changed(ack, counterparty_origin="gba.example/x")
    yield "a counterparty origin that is not UTF-8", name[:-1] + b"\xff"
    yield "a counterparty origin shorter than its length says", name[:-2]


def receipt_files(world: Scenario) -> Iterator[Case]:
    """Receipt files whose part above the checkpoint is malformed, made from a good one."""
    good = world.mainland.receipt(3, 13, world.hongkong)
    lines = good.split("\n")
    first = lines[3]
    yield "another first line", good.replace("proof@v1", "proof@v2")
    yield "a byte order mark", "\ufeff" + good
    yield "CRLF", good.replace("\n", "\r\n")
    yield "no extra line, so no header", good.replace(lines[1] + "\n", "")
    yield "two extra lines", good.replace(lines[1] + "\n", f"{lines[1]}\n{lines[1]}\n")
    yield "extra after index", good.replace(f"{lines[1]}\n{lines[2]}", f"{lines[2]}\n{lines[1]}")
    yield "extra is not base64", good.replace(lines[1], lines[1][:-1] + "*")
    yield "extra holds a header and one byte", good.replace(lines[1], lines[1] + "AA==")
    yield "no index line", good.replace("index 3\n", "")
    yield "an index that is not the header's", good.replace("index 3\n", "index 2\n")
    yield "an index with a leading zero", good.replace("index 3\n", "index 03\n")
    yield "an index with a sign", good.replace("index 3\n", "index +3\n")
    yield "an index with two spaces before it", good.replace("index 3\n", "index  3\n")
    yield "an index with a space after it", good.replace("index 3\n", "index 3 \n")
    yield "an index in Arabic-Indic digits", good.replace("index 3\n", "index \u0663\n")
    padded = first[:-2] + chr(ord(first[-2]) + 1) + "="
    yield "a hash whose padding bits are not zero", good.replace(first, padded)
    yield "a hash without its padding", good.replace(first, first[:-1])
    yield "a hash of 31 bytes", good.replace(first, ref.b64(bytes(31)))
    yield "a hash with a space before it", good.replace(first, " " + first)


def unproven_receipts(world: Scenario) -> Iterator[Case]:
    """Receipt files whose proof or signed note does not hold, made from a good one."""
    good = world.mainland.receipt(3, 13, world.hongkong)
    first, second, _, last, empty = good.split("\n")[3:8]
    assert empty == ""
    yield "one hash missing", good.replace(last + "\n", "")
    yield "one hash too many", good.replace(last, f"{last}\n{first}")
    exchanged = good.replace(f"{first}\n{second}", f"{second}\n{first}")
    yield "two hashes exchanged", exchanged
    yield "no empty line before the checkpoint", good.replace(f"{last}\n\n", f"{last}\n")
    yield "two empty lines before the checkpoint", good.replace(f"{last}\n\n", f"{last}\n\n\n")
    yield "an empty line at the end", good + "\n"
    yield "no newline at the end", good[:-1]
    yield from signature_lines(world, good)


def signature_lines(world: Scenario, good: str) -> Iterator[Case]:
    mainland, hongkong = world.mainland, world.hongkong
    head, text, lines = good.split("\n\n")
    text += "\n"
    of_log, of_peer = (line + "\n" for line in lines[:-1].split("\n"))

    def noted(*signatures: str, text: str = text) -> str:
        return f"{head}\n\n{text}\n{''.join(signatures)}"

    stranger = Log("gba.example/stranger", mainland.start)
    unknown = ref.cosignature_line(stranger.origin, stranger.cosigner, text, 1_785_719_580)
    again = ref.cosignature_line(hongkong.origin, hongkong.cosigner, text, 1_785_719_590)
    yield "no signature line", noted()
    yield "no signature of the log", noted(of_peer)
    yield "a signature line of a stranger", noted(of_log, of_peer, unknown)
    yield "the log's signature twice", noted(of_log, of_log)
    yield "two cosignatures by one key", noted(of_log, of_peer, again)
    yield "a hyphen for the dash", noted(of_log.replace("\u2014", "-"))
    yield "two spaces after the dash", noted(of_log.replace("\u2014 ", "\u2014  "))
    yield "no empty line before the signatures", noted(of_log).replace("\n\n\u2014", "\n\u2014")
    yield "two empty lines before the signatures", noted(of_log, text=text + "\n")
    yield (
        "the name of the log, the key of another",
        noted(ref.log_line(mainland.origin, stranger.log, text)),
    )
    yield (
        "the log key under the peer's name",
        noted(of_log, ref.log_line(hongkong.origin, hongkong.log, text)),
    )
    yield (
        "the peer's cosigner key signs as a log does",
        noted(of_log, ref.log_line(hongkong.origin, hongkong.cosigner, text)),
    )
    yield (
        "the log's own cosigner key",
        noted(
            of_log, ref.cosignature_line(mainland.origin, mainland.cosigner, text, 1_785_719_580)
        ),
    )
    yield from checkpoint_texts(mainland, text, noted)


def checkpoint_texts(log: Log, text: str, noted: Any) -> Iterator[Case]:
    """Checkpoints that the log has signed, and should not have."""
    origin, size, root, _ = text.split("\n")
    short = ref.b64(ref.digest()[:31])
    changes = {
        "a fourth line in the checkpoint": f"{text}extension\n",
        "a size with a leading zero": f"{origin}\n0{size}\n{root}\n",
        "a size that the proof does not fit": f"{origin}\n8\n{root}\n",
        "a size that does not hold the index": f"{origin}\n3\n{root}\n",
        "a root of 31 bytes": f"{origin}\n{size}\n{short}\n",
        "another root": f"{origin}\n{size}\n{ref.b64(ref.digest())}\n",
        "another origin": f"{log.origin}/2\n{size}\n{root}\n",
    }
    for reason, other in changes.items():
        yield reason, noted(ref.log_line(log.origin, log.log, other), text=other)


def dishonest_receipts(world: Scenario) -> Iterator[Case]:
    """Well-formed receipts, signed by the log's own key, over entries that prove nothing."""
    mainland, hongkong, deal = world.mainland, world.hongkong, world.deals["single"]
    outward = deal.halves(hongkong)

    def transfer(index: int, signer: Signer, key_index: int, **more: Any) -> str:
        fields = {"terms": deal.terms}
        options = {"key_index": key_index, "halves": outward, "index": index, **more}
        entry = mainland.make(TRANSFER, "transfer", fields, EXPORTER, signer, **options)
        return forged(mainland, entry)

    old, new = world.exporter, world.exporter_next
    yield "signed by a key that a rotation revoked one entry before", transfer(6, old, 1)
    yield "signed by a key revoked one entry before", transfer(13, new, 5)
    yield "signed by a key that is admitted only later", transfer(4, new, 5)
    yield "signed in the place where its key is admitted", transfer(5, new, 5)
    yield "key_index is of another key of the same institution", transfer(6, new, 1)
    yield "signed by a key that was never admitted", transfer(6, Signer(), 1)
    yield "a TRANSFER signed by the node", transfer(6, mainland.entry, 0)
    yield "a TRANSFER signed by the authority", transfer(6, mainland.authority, 0)
    yield "signed for the other origin", transfer(4, old, 1, signed_for=hongkong.origin)
    yield "signed by the log key", transfer(6, mainland.log, 0)
    rules = mainland.entries[2].fields
    by_key = mainland.make(NODE, "rule_set", rules, EXPORTER, old, key_index=1, index=4)
    yield "a NODE entry signed by an institution", forged(mainland, by_key)
    admission = mainland.admission(INSTITUTION, EXPORTER, Signer())
    event = {"action": ADMIT, **admission}
    by_node = mainland.make(KEY, "key_event", event, "node", mainland.entry, index=6)
    yield "a KEY entry signed by the node", forged(mainland, by_node)
    genesis = mainland.entries[0]
    again = mainland.make(GENESIS, "genesis", genesis.fields, "authority", mainland.authority)
    yield "GENESIS at another index than 0", forged(mainland, again)
    inward = {"key_index": 5, "halves": deal.halves(mainland, 1), "index": 6}
    fields = {"terms": deal.terms, "outcome": 1}
    ack = hongkong.make(ACK, "ack", fields, RECIPIENT, world.regulator, **inward)
    yield "an ACK signed by a regulator", forged(hongkong, ack)


def forged(log: Log, entry: Entry) -> str:
    """A receipt in a tree whose last entry is this one."""
    index = entry.header.index
    leaves = [*log.leaves[:index], ref.leaf_hash(entry.raw)]
    return ref.receipt_file(entry.raw, index, ref.inclusion(index, leaves), log.note(leaves))
