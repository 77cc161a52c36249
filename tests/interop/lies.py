"""Evidence: what a log's key signed and no honest log would; and files that prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from interop import reference as ref
from interop.reference import Signer
from interop.scenario import (
    ADMIT,
    EXPORTER,
    INSTITUTION,
    KEY,
    NODE,
    Entry,
    Log,
    Scenario,
)


class Liar:
    """A log whose operator signs what he likes; entries are those of an honest one, but for some."""

    def __init__(self, log: Log, changes: dict[int, bytes]) -> None:
        self._log = log
        self.headers = [changes.get(at, entry.raw) for at, entry in enumerate(log.entries)]
        self.leaves = [ref.leaf_hash(header) for header in self.headers]

    def note(self, size: int = 0) -> str:
        return self._log.note(self.leaves[: size or len(self.leaves)])

    def entry(self, at: int, body: bytes = b"") -> str:
        return ref.evidence_entry(at, self.headers[at], ref.inclusion(at, self.leaves), body)

    def claim(self, wrong: str, *entries: str) -> str:
        return ref.entry_evidence_file(wrong, entries, self.note())


def evidence(world: Scenario) -> Iterator[tuple[str, str]]:
    """(claim, file) of what verifies under the mainland log's keys."""
    log = world.mainland
    honest, liar = Liar(log, {}), Liar(log, {4: _rewritten(log.entries[4])})
    yield "fork", ref.fork_evidence_file(honest.note(), liar.note())
    for old in (5, 8):
        proof = ref.consistency(old, honest.leaves)
        root = ref.root(honest.leaves[:old])
        yield "fork", ref.fork_evidence_file(liar.note(old), honest.note(), root, proof)
    for claim, _, file in claims(world):
        yield claim, file


def claims(world: Scenario) -> Iterator[tuple[str, str, str]]:
    """(claim, what is wrong, file)."""
    log = world.mainland
    at = 6
    good = log.entries[at].header

    def lies(header: bytes | ref.Header, index: int = at) -> Liar:
        return Liar(log, {index: header if isinstance(header, bytes) else header.encode()})

    cut = lies(log.entries[at].raw[:-1])
    yield "form", "a byte is missing", cut.claim("form", cut.entry(at))
    moved = lies(replace(good, index=at + 1))
    yield "place", "an index that is not its position", moved.claim("place", moved.entry(at))
    again = lies(log.entries[0].raw)
    yield "place", "GENESIS again", again.claim("place", again.entry(at))
    unchained = lies(replace(good, previous_leaf_hash=ref.digest(b"nothing")))
    pair = (unchained.entry(at - 1), unchained.entry(at))
    yield "chain", "it does not follow the one before", unchained.claim("chain", *pair)
    first = lies(replace(log.entries[0].header, previous_leaf_hash=bytes(32)), 0)
    yield "chain", "the first begins no chain", first.claim("chain", first.entry(0))
    early = lies(replace(good, recorded_at=log.entries[at - 1].header.recorded_at - 1))
    yield "time", "it goes back", early.claim("time", early.entry(at - 1), early.entry(at))
    repeated = lies(replace(log.entries[3].header, index=at))
    yield "repeat", "a body again", repeated.claim("repeat", repeated.entry(3), repeated.entry(at))
    unsigned = lies(replace(good, signature=log.entries[3].header.signature))
    admitted = unsigned.entry(5, log.entries[5].body)
    yield "signature", "of another entry", unsigned.claim("signature", admitted, unsigned.entry(at))
    yield from key_claims(log, lies)
    yield from body_claims(world, log, lies)


def key_claims(log: Log, lies: Callable[..., Liar]) -> Iterator[tuple[str, str, str]]:
    good, at = log.entries[6].header, 6
    later = lies(replace(good, key_index=at))
    yield "key", "admitted where it is used", later.claim("key", later.entry(at))
    elsewhere = lies(replace(good, key_index=1))
    named = elsewhere.entry(1, log.entries[1].body)
    yield (
        "key",
        "not the one that is admitted there",
        elsewhere.claim("key", named, elsewhere.entry(at)),
    )
    old = lies(replace(good, key_index=1, key_id=log.entries[3].header.key_id))
    ended = old.entry(5, log.entries[5].body)
    yield "key", "rotated away before", old.claim("key", ended, old.entry(at))


def body_claims(
    world: Scenario, log: Log, lies: Callable[..., Liar]
) -> Iterator[tuple[str, str, str]]:
    at = 6

    def key_entry(fields: dict[str, Any]) -> Entry:
        public = {"place": 440300, "sector": 1}
        return log.make(
            KEY, "key_event", {**fields, **public}, "authority", log.authority, index=at
        )

    admission = log.admission(INSTITUTION, "lei.ANOTHER", Signer())
    unheld = key_entry({"action": ADMIT, **admission, "possession": bytes(64)})
    alone = lies(unheld.header)
    yield "body", "a key that nobody has", alone.claim("body", alone.entry(at, unheld.body))
    known = log.admission(INSTITUTION, EXPORTER, world.exporter)
    taken = key_entry({"action": ADMIT, **known})
    twice = lies(taken.header)
    before = twice.entry(1, log.entries[1].body)
    yield (
        "body",
        "a key is admitted again",
        twice.claim("body", before, twice.entry(at, taken.body)),
    )


def _rewritten(entry: Entry) -> bytes:
    return replace(entry.header, body_digest=ref.digest(b"another body")).encode()


def nothing(world: Scenario) -> Iterator[tuple[str, str]]:
    """(reason, file) of what proves nothing."""
    log = world.mainland
    honest, liar = Liar(log, {}), Liar(log, {4: _rewritten(log.entries[4])})
    old, new = honest.note(5), honest.note()
    proof, root = ref.consistency(5, honest.leaves), ref.root(honest.leaves[:5])
    yield "one checkpoint twice", ref.fork_evidence_file(new, new)
    yield "two checkpoints of one history", ref.fork_evidence_file(old, new, root, proof)
    yield (
        "an honest log of the other side",
        ref.fork_evidence_file(new, world.hongkong.note(world.hongkong.leaves)),
    )
    good = ref.fork_evidence_file(liar.note(5), new, root, proof)
    yield "a proof of another root", good.replace(ref.b64(root), ref.b64(ref.root(liar.leaves[:5])))
    yield "a proof with a hash too few", good.replace(f"hash {ref.b64(proof[-1])}\n", "")
    yield "a proof where none is due", ref.fork_evidence_file(new, liar.note(), root)
    yield "a byte left over", good + "\n"
    yield "another first line", good.replace("evidence/v1", "evidence/v2")
    first, second = _notes(good)
    yield "the larger checkpoint first", good.replace(first + second, second + first)
    same = ref.fork_evidence_file(new, liar.note())
    one, other = _notes(same)
    yield "of one size, in the wrong order", same.replace(one + other, other + one)
    yield "a note cut short", good[:-1]
    yield "a length with a leading zero", good.replace("note ", "note 0", 1)
    stranger = Log(log.origin, log.start)
    forged = stranger.note(liar.leaves)
    yield "a checkpoint that somebody else signed", ref.fork_evidence_file(new, forged)
    yield from untrue(world, honest)


def _notes(file: str) -> tuple[str, str]:
    first = file.index("note ")
    second = file.index("note ", first + 5)
    return file[first:second], file[second:]


def untrue(world: Scenario, honest: Liar) -> Iterator[tuple[str, str]]:
    """Claims of honest entries, and true ones that are not shown."""
    log = world.mainland
    pair: Sequence[str] = (honest.entry(5, log.entries[5].body), honest.entry(6))
    for claim in ("place", "chain", "time", "repeat", "signature", "key", "body"):
        yield f"an honest entry is said to be wrong: {claim}", honest.claim(claim, *pair)
    for claim in ("form", "place", "chain", "key"):
        yield f"an honest entry alone is said to be wrong: {claim}", honest.claim(claim, pair[1])
    yield "a claim that there is none of", honest.claim("temper", *pair)
    yield "no entry", honest.claim("chain")
    yield "entries in the wrong order", honest.claim("chain", *reversed(pair))
    yield "three entries", honest.claim("chain", honest.entry(4), *pair)
    lies = {name: file for name, _, file in claims(world)}
    yield (
        "a true claim under another log's checkpoint",
        lies["chain"].replace(log.origin + "\n", world.hongkong.origin + "\n"),
    )
    cut = lies["chain"]
    shorter = "".join(line for line in cut.splitlines(keepends=True) if not line.startswith("hash"))
    yield "a true claim without its inclusion proofs", shorter
    yield "a true claim of another kind", cut.replace("wrong chain", "wrong place")
    yield "a byte left over after a true claim", cut + "\n"
    wrong_body = honest.entry(5, log.entries[1].body)
    yield "the body of another entry", honest.claim("key", wrong_body, honest.entry(6))
    node = log.make(NODE, "tick", {}, "node", log.entry, index=6)
    liar = Liar(log, {6: node.raw})
    yield "a body that is not shared", liar.claim("body", liar.entry(6, node.body))
    unread = replace(log.entries[5].header, index=6, body_digest=ref.digest(b"\xff"))
    liar = Liar(log, {6: unread.encode()})
    yield "a body that says what nobody can read", liar.claim("body", liar.entry(6, b"\xff"))
    late = Liar(log, {6: replace(log.entries[6].header, recorded_at=2**62).encode()})
    yield "a time far ahead", late.claim("time", late.entry(5), late.entry(6))
    apart = Liar(log, {6: replace(log.entries[6].header, recorded_at=1).encode()})
    yield "two entries that are not neighbours", apart.claim("time", apart.entry(4), apart.entry(6))
