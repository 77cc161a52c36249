"""Two logs whose keys change: every role is rotated, and a tail is given up by LOSS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from interop import reference as ref
from interop.reference import Signer
from interop.scenario import (
    ACK,
    ADMIT,
    EXPORTER,
    INSTITUTION,
    KEY,
    LOSS,
    NODE,
    RECIPIENT,
    REVOKE,
    ROTATE,
    TRANSFER,
    Entry,
    Log,
    Scenario,
    certificate,
    deals,
    open_log,
)

LOG_ROLE, ENTRY_ROLE, COSIGNER_ROLE, AUTHORITY_ROLE, TLS_ROLE = 3, 4, 5, 6, 7
ROLES = {"log": LOG_ROLE, "entry": ENTRY_ROLE, "cosigner": COSIGNER_ROLE}


@dataclass(slots=True)
class RotatingLog(Log):
    """A log that knows where the keys that sign its entries were admitted, and keeps old ones."""

    admitted: dict[str, int] = field(default_factory=dict)
    old: dict[str, list[Signer]] = field(default_factory=dict)

    def by_authority(self, kind: int, record: str, fields: Mapping[str, Any]) -> Entry:
        at = self.admitted.get("authority", 0)
        return self.append(kind, record, fields, "authority", self.authority, key_index=at)

    def by_node(self, kind: int, record: str, fields: Mapping[str, Any]) -> Entry:
        at = self.admitted.get("entry", 0)
        return self.append(kind, record, fields, "node", self.entry, key_index=at)

    def key_entries(self) -> list[Entry]:
        return [e for e in self.entries if e.header.kind <= KEY or e.header.kind == LOSS]

    def placed(self) -> list[tuple[int, bytes]]:
        """Where each of them stands, and the digest of its body."""
        return [(entry.header.index, entry.header.body_digest) for entry in self.key_entries()]

    def key_history(self) -> str:
        pairs = [(entry.raw, entry.body) for entry in self.key_entries()]
        return ref.key_history_file(self.origin, pairs)

    def rotation(self, name: str, key: Signer, **more: Any) -> dict[str, Any]:
        """The fields of a KEY entry that puts a node's key in the place of the one in force."""
        replaced = {"previous_key_id": getattr(self, name).key_id}
        return {"action": ROTATE, **self.admission(ROLES[name], "node", key), **replaced, **more}

    def succession(self, key: Signer, history: bytes | None = None) -> dict[str, Any]:
        """The same of the authority's."""
        past = ref.history_digest(self.placed())
        previous = self.authority.key_id
        bound = ref.authority_digest(self.origin, previous, key.public, history or past)
        named = {"role": AUTHORITY_ROLE, "subject": "authority", "public_key": key.public}
        proof = {"possession": key.sign(bound), "history_digest": history or past}
        return {"action": ROTATE, **named, "previous_key_id": previous, **proof}

    def losing(self, log: Signer, cosigner: Signer, size: int | None = None) -> dict[str, Any]:
        """The fields of a LOSS."""
        keys = {"log": log, "cosigner": cosigner}
        proven = {name: self.admission(ROLES[name], "node", key) for name, key in keys.items()}
        return {
            "size": len(self.entries) if size is None else size,
            "log_key": log.public,
            "root": ref.root(self.leaves),
            "cosigner_key": cosigner.public,
            "log_possession": proven["log"]["possession"],
            "cosigner_possession": proven["cosigner"]["possession"],
        }

    def disowning(self, key: Signer, **more: Any) -> dict[str, Any]:
        """The fields of a KEY entry that says that others had a log key that was replaced."""
        named = {"action": REVOKE, "role": LOG_ROLE, "subject": "node", "public_key": key.public}
        return {**named, "compromised_since": self.time(1), **more}

    def replaced(self, name: str, key: Signer, at: int) -> None:
        self.old.setdefault(name, []).append(getattr(self, name))
        self.admitted[name] = at
        setattr(self, name, key)

    def rotate(self, name: str) -> None:
        key = Signer()
        entry = self.by_authority(KEY, "key_event", self.rotation(name, key))
        self.replaced(name, key, entry.header.index)

    def signed(self, size: int, *keys: Signer, cosigner: tuple[str, Signer] | None = None) -> str:
        """A checkpoint of a size, by log keys and perhaps a cosigner."""
        text = ref.checkpoint_text(self.origin, self.leaves[:size])
        lines = "".join(ref.log_line(self.origin, key, text) for key in keys)
        if cosigner:
            lines += ref.cosignature_line(*cosigner, text, self.cosigned_at(size))
        return f"{text}\n{lines}"

    def under(self, index: int, note: str) -> str:
        """The receipt of an entry under a checkpoint."""
        size = int(note.split("\n")[1])
        proof = ref.inclusion(index, self.leaves[:size])
        return ref.receipt_file(self.entries[index].raw, index, proof, note)


@dataclass(slots=True)
class Rotated:
    """
    mainland: 3 a TRANSFER, 4 to 8 rotations of log, entry (6 a tick by it), authority and cosigner,
    9 a certificate revoked, 10 LOSS, 11 a tick, 12 a rotation of log, 13 the key that it replaced
    said to be stolen. hongkong: 3 its cosigner rotated, 4 a tick, 5 ACK.
    """

    world: Scenario
    mainland: RotatingLog
    hongkong: RotatingLog
    first_authority: Signer

    @property
    def trust(self) -> str:
        """Pins the authority's second key on one side, its only one on the other."""
        return self.world.trust()


def build() -> Rotated:
    plain = Scenario()
    mainland, hongkong = (
        RotatingLog(log.origin, log.start) for log in (plain.mainland, plain.hongkong)
    )
    world = Scenario(mainland, hongkong)
    world.certificates = {log.origin: certificate(log) for log in (mainland, hongkong)}
    open_log(mainland, hongkong, world.exporter, {"subject": EXPORTER, "place": 440300})
    open_log(hongkong, mainland, world.recipient, {"subject": RECIPIENT, "place": 810000})
    deal = deals(world)["single"]
    signed = {"key_index": 1, "halves": deal.halves(hongkong)}
    mainland.append(TRANSFER, "transfer", {"terms": deal.terms}, EXPORTER, world.exporter, **signed)
    first = mainland.authority
    mainland.rotate("log")
    mainland.rotate("entry")
    mainland.by_node(NODE, "tick", {})
    heir = Signer()
    entry = mainland.by_authority(KEY, "key_event", mainland.succession(heir))
    mainland.replaced("authority", heir, entry.header.index)
    mainland.rotate("cosigner")
    stolen = {"role": TLS_ROLE, "subject": f"institution/{EXPORTER}"}
    stolen["public_key"] = ref.digest(b"a certificate in DER")
    mainland.by_authority(KEY, "key_event", {"action": REVOKE, **stolen})
    log, cosigner = Signer(), Signer()
    lost = mainland.by_authority(LOSS, "loss", mainland.losing(log, cosigner))
    mainland.replaced("log", log, lost.header.index)
    mainland.replaced("cosigner", cosigner, lost.header.index)
    mainland.by_node(NODE, "tick", {})
    mainland.rotate("log")
    mainland.by_authority(KEY, "key_event", mainland.disowning(log))
    hongkong.rotate("cosigner")
    hongkong.by_node(NODE, "tick", {})
    received = {"terms": deal.terms, "outcome": 1, "received_at": hongkong.time(4)}
    received |= {"received_subjects": 1200, "received_commitment": deal.commitment}
    answer = {"key_index": 1, "halves": deal.halves(mainland, 1)}
    hongkong.append(ACK, "ack", received, RECIPIENT, world.recipient, **answer)
    world.deals = {"single": deal}
    return Rotated(world, mainland, hongkong, first)


# What verifies, what does not, and why


def receipts(made: Rotated) -> Iterator[tuple[str, str]]:
    """Receipt files that verify under the second authority's key."""
    log, keys = made.mainland, [*made.mainland.old["log"], made.mainland.log]
    cosigner = (made.hongkong.origin, made.hongkong.cosigner)
    yield "under the first key, cosigned", log.under(3, log.signed(4, keys[0], cosigner=cosigner))
    yield (
        "the first checkpoint over a rotation, by both keys",
        log.under(4, log.signed(5, keys[1], keys[0], cosigner=cosigner)),
    )
    yield "by the node's second key", log.under(6, log.signed(10, keys[1], cosigner=cosigner))
    yield (
        "the LOSS itself, under the key that it names",
        log.under(10, log.signed(11, keys[2], cosigner=cosigner)),
    )
    yield "from before the LOSS, under the newest key", log.under(3, log.signed(14, keys[3]))
    yield (
        "under a key that was stolen since, cosigned",
        log.under(11, log.signed(12, keys[2], cosigner=cosigner)),
    )


def bad_receipts(made: Rotated) -> Iterator[tuple[str, str]]:
    log, keys = made.mainland, [*made.mainland.old["log"], made.mainland.log]
    cosigner = (made.hongkong.origin, made.hongkong.cosigner)
    retired = (made.hongkong.origin, made.hongkong.old["cosigner"][0])
    yield "under a retired key, and nobody cosigned", log.under(3, log.signed(4, keys[0]))
    yield (
        "under a retired key, cosigned by a retired key",
        log.under(3, log.signed(4, keys[0], cosigner=retired)),
    )
    yield (
        "by a key at a size at which another was in force",
        log.under(4, log.signed(5, keys[0], cosigner=cosigner)),
    )
    yield "by a key that was not in force yet", log.under(3, log.signed(4, keys[1], keys[0]))
    yield "by the key that a LOSS put an end to", log.under(11, log.signed(12, keys[1]))
    yield (
        "by both, after a LOSS",
        log.under(11, log.signed(12, keys[2], keys[1], cosigner=cosigner)),
    )
    by_old = log.make(NODE, "tick", {}, "node", log.old["entry"][0])
    yield "a NODE entry by a key that was rotated away", _ends_with(log, by_old)
    misplaced = log.make(NODE, "tick", {}, "node", log.entry, key_index=0)
    yield "key_index is not where the node's key was rotated to", _ends_with(log, misplaced)
    event = {"action": ADMIT, **log.admission(INSTITUTION, "lei.ANOTHER", Signer())}
    by_first = log.make(KEY, "key_event", event, "authority", made.first_authority)
    yield "a KEY entry by the authority's key that was rotated away", _ends_with(log, by_first)


def _ends_with(log: RotatingLog, entry: Entry) -> str:
    longer = replace(log, entries=[*log.entries, entry])
    return longer.under(entry.header.index, longer.signed(len(longer.entries), log.log))


def fork(log: RotatingLog, key: Signer, size: int) -> str:
    """Evidence: a key signed two trees of a size."""
    leaves = [*log.leaves[: size - 1], ref.digest(b"another entry")]
    text = ref.checkpoint_text(log.origin, leaves)
    other = f"{text}\n{ref.log_line(log.origin, key, text)}"
    return ref.fork_evidence_file(log.signed(size, key), other)


def evidence(made: Rotated) -> Iterator[tuple[str, str]]:
    log = made.mainland
    yield "by a key that was rotated away", fork(log, log.old["log"][0], 4)
    yield "by a key that a LOSS put an end to, below it", fork(log, log.old["log"][1], 8)
    yield "by the key in force", fork(log, log.log, 14)


def bad_evidence(made: Rotated) -> Iterator[tuple[str, str]]:
    log = made.mainland
    yield "by a key beyond the LOSS that put an end to it", fork(log, log.old["log"][1], 11)
    yield "by a key beyond its rotation", fork(log, log.old["log"][0], 8)
    yield "by a key that was stolen after its rotation", fork(log, log.old["log"][2], 12)


def bad_histories(made: Rotated) -> Iterator[tuple[str, str]]:
    """Key histories whose last entry may not stand there; the authority signed it."""
    log, fresh = made.mainland, Signer()

    def then(record: str, fields: Mapping[str, Any], kind: int = KEY) -> str:
        entry = log.make(
            kind, record, fields, "authority", log.authority,
            key_index=log.admitted["authority"],
        )  # fmt: skip
        return replace(log, entries=[*log.entries, entry]).key_history()

    good = log.rotation("log", fresh)
    yield (
        "a node's key is admitted, not rotated",
        then("key_event", {**good, "action": ADMIT, "previous_key_id": b""}),
    )
    revoked = {"action": REVOKE, "role": LOG_ROLE, "subject": "node", "public_key": log.log.public}
    yield "a node's key is revoked without another", then("key_event", revoked)
    yield (
        "a log key is said to be stolen, before it is replaced",
        then("key_event", log.disowning(log.log)),
    )
    yield "the same twice", then("key_event", log.disowning(log.old["log"][2]))
    retired, entry_key = log.old["log"][0], log.old["entry"][0]
    yield "the same, and no time", then("key_event", log.disowning(retired, compromised_since=0))
    of_entries = log.disowning(entry_key, role=ENTRY_ROLE)
    yield "the same of an entry key", then("key_event", of_entries)
    yield (
        "what a rotation ends is not in force",
        then("key_event", {**good, "previous_key_id": log.old["log"][0].key_id}),
    )
    yield "a node's key of another subject", then("key_event", {**good, "subject": EXPORTER})
    again = log.rotation("log", log.old["log"][0])
    yield "a log key that was there before", then("key_event", again)
    yield "the entry key becomes the log key", then("key_event", log.rotation("log", log.entry))
    stranger = {**good, "possession": Signer().sign(b"another")}
    yield "nobody shows that the node has the key", then("key_event", stranger)
    elsewhere = {**good, "possession": log.rotation("entry", fresh)["possession"]}
    yield "the possession is of another role", then("key_event", elsewhere)
    heir = log.succession(fresh, ref.digest(b"another history"))
    yield "the authority's next key is bound to another history", then("key_event", heir)
    bare = {**log.succession(fresh), "history_digest": b""}
    yield "the authority's next key is bound to no history", then("key_event", bare)
    admission = log.admission(AUTHORITY_ROLE, "authority", fresh)
    unbound = {**log.succession(fresh), "possession": admission["possession"]}
    yield "the authority's next key signed an admission only", then("key_event", unbound)
    certificate_ = {"role": TLS_ROLE, "subject": "peer/a", "public_key": ref.digest(b"DER")}
    admitted = {"action": ADMIT, **certificate_, "possession": bytes(64)}
    yield "a certificate is admitted", then("key_event", admitted)
    cosigner = Signer()
    yield (
        "a LOSS of a larger size than its place",
        then("loss", log.losing(fresh, cosigner, len(log.entries) + 1), LOSS),
    )
    yield (
        "a LOSS of a smaller size than its place",
        then("loss", log.losing(fresh, cosigner, 4), LOSS),
    )
    yield "a LOSS that keeps the log key", then("loss", log.losing(log.log, cosigner), LOSS)
    yield "a LOSS with one key for both", then("loss", log.losing(fresh, fresh), LOSS)
    forgotten = {**log.losing(fresh, cosigner), "log_possession": cosigner.sign(b"another")}
    yield "a LOSS whose log key nobody shows to have", then("loss", forgotten, LOSS)
