"""Bodies, key histories and trust files that a reader must refuse, each with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from interop import reference as ref
from interop.bad_receipts import Case
from interop.protobuf import encode, encode_field, varint
from interop.reference import Signer
from interop.scenario import (
    ADMIT,
    EXPORTER,
    GENESIS,
    INSTITUTION,
    KEY,
    REVOKE,
    ROTATE,
    Entry,
    Log,
    Scenario,
)

# Bodies and terms: the bytes say what they say, but in a second spelling, or too little.


def bodies(world: Scenario) -> Iterator[Case]:
    """Bodies of a TRANSFER."""
    entry = world.mainland.entries[3]
    common, transfer = dict(entry.common), encode("transfer", entry.fields)
    good = encode("body", {**common, "transfer": transfer})
    fields = [
        encode_field(at, common[name])
        for at, name in enumerate(("salt", "origin", "author", "record_id", "occurred_at"), 1)
    ]
    record = encode_field(18, transfer)
    assert b"".join(fields) + record == good
    yield "empty", b""
    yield "cut short", good[:-1]
    yield "fields out of order", fields[1] + fields[0] + b"".join(fields[2:]) + record
    yield "a field twice", fields[0] + good
    yield "an unknown field", good + encode_field(99, 1)
    yield (
        "an unknown field inside the record",
        b"".join(fields) + encode_field(18, transfer + encode_field(99, 1)),
    )
    yield "a default written out", b"".join(fields[:4]) + varint(5 << 3) + b"\x00" + record
    padded = varint(2 << 3 | 2) + bytes([len(world.mainland.origin) | 128, 0])
    origin = padded + world.mainland.origin.encode()
    yield "a length that is not minimal", fields[0] + origin + b"".join(fields[2:]) + record
    yield (
        "text that is not UTF-8",
        b"".join([*fields[:2], encode_field(3, b"uscc.\xff"), *fields[3:], record]),
    )
    yield "no record", b"".join(fields)
    yield "two records", good + encode_field(20, encode("cancel", {"terms": b"x"}))
    for reason, change in {
        "a salt of 15 bytes": {"salt": bytes(range(15))},
        "no salt": {"salt": b""},
        "no origin": {"origin": ""},
        "no author": {"author": ""},
        "a record_id of 15 bytes": {"record_id": common["record_id"][:15]},
        "a record_id of UUID version 4": {"record_id": _nibble(common["record_id"], 6, 0x40)},
        "a record_id of another variant": {"record_id": _nibble(common["record_id"], 8, 0xC0)},
    }.items():
        yield reason, encode("body", {**common, **change, "transfer": transfer})


def _nibble(record_id: bytes, at: int, value: int) -> bytes:
    changed = bytes([record_id[at] & 0x0F | value])
    return record_id[:at] + changed + record_id[at + 1 :]


def terms(world: Scenario) -> Iterator[Case]:
    deal = world.deals["single"]
    good, fields = deal.terms, deal.fields
    assert encode_field(11, [2, 7]) in good
    unpacked = b"".join(varint(11 << 3) + varint(code) for code in (2, 7))
    yield "empty", b""
    yield "codes not packed", good.replace(encode_field(11, [2, 7]), unpacked)
    yield "codes not ascending", replace(deal, fields={**fields, "purposes": [7, 2]}).terms
    yield "a code twice", replace(deal, fields={**fields, "purposes": [2, 2]}).terms
    yield "a nonce of 15 bytes", replace(deal, fields={**fields, "nonce": bytes(15)}).terms
    yield "an unknown field", good + encode_field(99, 1)


def manifests(world: Scenario) -> Iterator[Case]:
    part = {"size": 1, "digest": ref.digest(b"a")}
    a, b = (encode("part", {"name": name, **part}) for name in "ab")
    yield "parts not ascending by name", encode("manifest", {"parts": [b, a]})
    yield "a name twice", encode("manifest", {"parts": [a, a]})
    unnamed = encode("part", part)
    yield "a part without a name", encode("manifest", {"parts": [unnamed]})
    short = encode("part", {**part, "name": "a", "digest": bytes(31)})
    yield "a digest of 31 bytes", encode("manifest", {"parts": [short]})


# Key histories


def key_histories(world: Scenario) -> Iterator[Case]:
    log = world.mainland
    good = log.key_history()
    first, origin, genesis, admit, rotate, revoke, _ = good[:-1].split("\n")

    def history(*lines: str) -> str:
        return "".join(line + "\n" for line in (first, origin, *lines))

    yield "another first line", good.replace("keys/v1", "keys/v2")
    yield "no entry", history()
    yield "no newline at the end", good[:-1]
    yield "an empty line at the end", good + "\n"
    yield "CRLF", good.replace("\n", "\r\n")
    yield "two spaces between header and body", good.replace(" ", "  ")
    yield "no body", history(genesis.split(" ")[0])
    yield "GENESIS is missing", history(admit, rotate, revoke)
    yield "GENESIS twice", history(genesis, genesis, admit)
    yield "not in log order", history(genesis, rotate, admit)
    yield (
        "the body of another entry",
        history(genesis, f"{admit.split(' ')[0]} {rotate.split(' ')[1]}"),
    )
    yield "an entry of another kind", history(genesis, admit, line(log.entries[2]))
    yield "the other log's entries", history(*world.hongkong.key_history()[:-1].split("\n")[2:])
    yield "an origin that is not trusted", good.replace(origin, origin + "2", 1)
    event = {"action": ADMIT, **log.admission(INSTITUTION, EXPORTER, Signer())}
    misnamed = log.make(KEY, "key_event", event, "node", log.authority, index=13)
    yield "a body that names another author", history(genesis, admit, line(misnamed))
    stranger = Log(origin, log.start)
    mine = stranger.make(GENESIS, "genesis", log.entries[0].fields, "authority", stranger.authority)
    yield "GENESIS signed by another authority", history(line(mine))
    yield from decisions(world, history, [genesis, admit, rotate, revoke])


def line(entry: Entry) -> str:
    return f"{ref.b64(entry.raw)} {ref.b64(entry.body)}"


def decisions(world: Scenario, history: Any, lines: list[str]) -> Iterator[Case]:
    """Signed by the right authority, and against the rules."""
    log = world.mainland

    def then(event: dict[str, Any], signer: Signer = log.authority, until: int = 2) -> str:
        entry = log.make(KEY, "key_event", event, "authority", signer, index=13)
        return history(*lines[:until], line(entry))

    fresh, old = Signer(), world.exporter
    admission = log.admission(INSTITUTION, EXPORTER, fresh)
    by_node = log.make(KEY, "key_event", {"action": ADMIT, **admission}, "node", log.entry)
    yield "KEY signed by the node", history(*lines[:2], line(by_node))
    yield "no action", then(admission)
    yield "no role", then({"action": ADMIT, **admission, "role": 0})
    yield "no subject", then({"action": ADMIT, **log.admission(INSTITUTION, "", fresh)})
    yield "no possession", then({"action": ADMIT, **admission, "possession": b""})
    other = fresh.sign(ref.digest(b"another digest"))
    yield (
        "possession proves something else",
        then({"action": ADMIT, **admission, "possession": other}),
    )
    elsewhere = log.admission(INSTITUTION, "lei.ANOTHER", fresh)
    yield (
        "possession is for another subject",
        then({"action": ADMIT, **elsewhere, "subject": EXPORTER}),
    )
    again = {"action": ADMIT, **log.admission(INSTITUTION, EXPORTER, old)}
    yield "a key is admitted again", then(again)
    yield "a revoked key is admitted again", then(again, until=3)
    taken = log.admission(INSTITUTION, "lei.ANOTHER", old)
    yield "a key is admitted for a second institution", then({"action": ADMIT, **taken})
    yield (
        "the node's key is admitted for an institution",
        then({"action": ADMIT, **log.admission(INSTITUTION, EXPORTER, log.entry)}),
    )
    low = bytes(32)
    yield "a public key of low order", then({"action": ADMIT, **admission, "public_key": low})
    unknown = {"action": ROTATE, **admission, "previous_key_id": Signer().key_id}
    yield "ROTATE of a key that was never admitted", then(unknown)
    gone = {"action": ROTATE, **admission, "previous_key_id": old.key_id}
    yield "ROTATE of a revoked key", then(gone, until=3)
    foreign = log.admission(INSTITUTION, "lei.ANOTHER", fresh)
    yield (
        "ROTATE to another institution",
        then({"action": ROTATE, **foreign, "previous_key_id": old.key_id}),
    )
    named = {"role": INSTITUTION, "subject": EXPORTER}
    stop = {"action": REVOKE, **named, "public_key": fresh.public}
    yield "REVOKE of a key that was never admitted", then(stop)
    stop = {"action": REVOKE, **named, "public_key": old.public}
    yield "REVOKE of a revoked key", then(stop, until=3)


# Trust files


def trust_files(world: Scenario) -> Iterator[Case]:
    good = world.trust()
    hongkong, mainland = (
        f"origin {part}" for part in good.removeprefix("ledgerd-trust/v1\n").split("origin ")[1:]
    )
    head, key, ca, _ = hongkong.split("\n")
    log = world.hongkong
    yield "another first line", good.replace("trust/v1", "trust/v2")
    yield "no origin", "ledgerd-trust/v1\n"
    yield "origins not ascending", f"ledgerd-trust/v1\n{mainland}{hongkong}"
    yield "an origin twice", f"ledgerd-trust/v1\n{hongkong}{hongkong}"
    yield "no authority", good.replace(key + "\n", "")
    yield "two authorities", good.replace(key, f"{key}\n{key}")
    yield "no certificate", good.replace(ca + "\n", "")
    yield "certificate before authority", good.replace(f"{key}\n{ca}", f"{ca}\n{key}")
    yield "an empty line at the end", good + "\n"
    yield "no newline at the end", good[:-1]
    yield "CRLF", good.replace("\n", "\r\n")
    yield "a comment", good.replace(head, f"# ours\n{head}")
    yield "two spaces", good.replace("origin ", "origin  ")
    yield "a certificate that is not base64", good.replace(ca, ca[:-4] + "*")
    public = log.authority.public
    named = ref.vkey(log.origin, ref.LOG, public)
    yield "an authority under another name", good.replace(key, f"authority {named}")
    name = log.origin + "/authority"
    cosigner = ref.vkey(name, ref.COSIGNER, public)
    yield "an authority key of type 04", good.replace(key, f"authority {cosigner}")
    wrong = ref.vkey(name, ref.LOG, os.urandom(32)).split("+")[1]
    yield "a key id that is not the key's", good.replace(key.split("+")[1], wrong)
    upper = key.split("+")[1].upper()
    if upper != key.split("+")[1]:
        yield "a key id in upper case", good.replace(key.split("+")[1], upper)
