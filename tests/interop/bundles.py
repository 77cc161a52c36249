"""Dispute bundles of the two logs of scenario.py, and files that are none."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from interop import reference as ref
from interop.scenario import (
    EXPORTER,
    GENESIS,
    INSTITUTION,
    KEY,
    LOSS,
    RECIPIENT,
    Entry,
    Log,
    Scenario,
)

# Of each deal: its halves and findings in the mainland's log and in Hong Kong's, and what they come to.
DEALS: Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int], str]] = {
    "single": ([3], [], [3], "matched"),
    "parts": ([6, 7], [10], [6], "refused"),
    "viewing": ([8, 9], [], [], "cancelled"),
}
RULES = 2


def bundles(world: Scenario) -> Iterator[tuple[str, str, str]]:
    """(what, state, file) of what verifies."""
    for name, (own, findings, other, state) in DEALS.items():
        made = bundle(world, name, own, findings, other, state)
        yield f"{name}, by both sides" if other else f"{name}, by one side", state, dumps(made)
    own = bundle(world, "single", [3], [], [], "one_sided")
    yield "single, by the exporter's side alone", "one_sided", dumps(own)
    kept = bundle(world, "single", [3], [], [3], "matched")
    for side in kept["sides"]:
        for half in side["halves"]:
            half["body"] = ""
    yield "single, without the halves' bodies", "matched", dumps(kept)


def bundle(
    world: Scenario,
    name: str,
    own: Sequence[int],
    findings: Sequence[int],
    other: Sequence[int],
    state: str,
) -> dict[str, Any]:
    mainland, hongkong = world.mainland, world.hongkong
    sides = [side(mainland, hongkong, own, findings)]
    if other:
        sides.insert(0, side(hongkong, mainland, other, []))
    ref_ = world.deals[name].ref.hex()
    return {"format": "ledgerd-bundle/v1", "ref": ref_, "state": state, "sides": sides}


def side(log: Log, peer: Log, halves: Sequence[int], findings: Sequence[int]) -> dict[str, Any]:
    def items(indexes: Sequence[int]) -> list[dict[str, str]]:
        return [item(log, peer, log.entries[index]) for index in indexes]

    party = EXPORTER if log.origin.endswith("mainland") else RECIPIENT
    return {
        "origin": log.origin,
        "keys": [item(log, peer, entry) for entry in picked(log, {3, 4, 5, 6}, party)],
        "peer_keys": [decision(entry) for entry in picked(peer, {5, 6})],
        "rule_sets": items([RULES]),
        "halves": items(halves),
        "findings": items(findings),
    }


def picked(log: Log, roles: Collection[int], institution: str = "") -> list[Entry]:
    """GENESIS, LOSS, events of roles and of an institution; all up to the authority's last one."""
    events = [entry for entry in log.entries if entry.header.kind in {GENESIS, KEY, LOSS}]
    signed = [at for at, entry in enumerate(events) if entry.fields.get("role") == 6]
    return [
        entry
        for at, entry in enumerate(events)
        if at <= max(signed, default=0)
        or entry.header.kind != KEY
        or entry.fields["role"] in roles
        or (entry.fields["role"], entry.fields["subject"]) == (INSTITUTION, institution)
    ]


def decision(entry: Entry) -> dict[str, Any]:
    signed = {"signature": ref.b64(entry.header.signature), "body": ref.b64(entry.body)}
    return {"index": entry.header.index, **signed}


def item(log: Log, peer: Log, entry: Entry) -> dict[str, str]:
    receipt = log.receipt(entry.header.index, len(log.entries), peer)
    return {"receipt": receipt, "body": ref.b64(entry.body)}


def dumps(made: Mapping[str, Any]) -> str:
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def bad_bundles(world: Scenario) -> Iterator[tuple[str, str]]:
    def good(**more: Any) -> dict[str, Any]:
        return {**bundle(world, "parts", [6, 7], [10], [], "one_sided"), **more}

    both = bundle(world, "parts", [6, 7], [10], [6], "refused")
    whole = dumps(good())
    mainland, hongkong = world.mainland, world.hongkong
    yield "no newline at the end", whole[:-1]
    yield "a byte left over", whole + "\n"
    yield "without indentation", json.dumps(good(), ensure_ascii=False) + "\n"
    yield "an unknown field", dumps(good(note="hello"))
    yield "another format", dumps(good(format="ledgerd-bundle/v2"))
    yield "fields in another order", dumps(dict(reversed(good().items())))
    yield "a ref in upper case", whole.replace(good()["ref"], good()["ref"].upper(), 1)
    yield "another state", dumps(good(state="matched"))
    yield "no side", dumps(good(sides=[]))
    yield "sides in the wrong order", dumps({**both, "sides": both["sides"][::-1]})
    yield "a side twice", dumps(good(sides=good()["sides"] * 2))

    def changed(name: str, value: Any) -> str:
        made = good()
        made["sides"][0][name] = value
        return dumps(made)

    halves = side(mainland, hongkong, [6, 7], [])["halves"]
    yield "no half of a side", changed("halves", [])
    yield "halves not in log order", changed("halves", halves[::-1])
    yield "a half twice", changed("halves", [halves[0], *halves])
    yield (
        "a half of another transfer",
        changed("halves", side(mainland, hongkong, [3], [])["halves"]),
    )
    yield "no rule set that a finding names", changed("rule_sets", [])
    yield "a rule set that is none", changed("rule_sets", halves)
    yield "a finding that is none", changed("findings", side(mainland, hongkong, [6], [])["halves"])
    yield "another origin", changed("origin", "gba.example/other")
    keys, peer_keys = good()["sides"][0]["keys"], good()["sides"][0]["peer_keys"]
    yield "the keys of the other log", changed("keys", side(hongkong, mainland, [], [])["keys"])
    yield "no GENESIS", changed("keys", keys[1:])
    yield "no key of whose half it is", changed("keys", keys[:1])
    yield "keys not in log order", changed("keys", [keys[0], *keys[:0:-1]])
    bare = mainland.receipt(1, len(mainland.entries))
    yield (
        "a key event that is not cosigned",
        changed("keys", [keys[0], {**keys[1], "receipt": bare}]),
    )
    yield "no keys of the other log", changed("peer_keys", [])
    own = [decision(mainland.entries[0])]
    yield "one's own GENESIS for the other log's", changed("peer_keys", own)
    unsigned = [{**peer_keys[0], "signature": ref.b64(bytes(64))}]
    yield "a GENESIS of the other log that nobody signed", changed("peer_keys", unsigned)
    yield "another body", changed("halves", [{**halves[0], "body": halves[1]["body"]}, halves[1]])
    bare = {**item(mainland, hongkong, mainland.entries[10]), "body": ""}
    yield "a finding without its body", changed("findings", [bare])
    last = len(mainland.entries)
    uncosigned = {**halves[0], "receipt": mainland.receipt(6, last)}
    yield "a half that is not cosigned", changed("halves", [uncosigned, halves[1]])
    assessed = next(e for e in mainland.entries if e.record == "pipia")
    yield "an entry that is no half", changed("halves", [item(mainland, hongkong, assessed)])
