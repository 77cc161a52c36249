"""Entries that are wrong under a root that the log signed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from adversary.liar import LyingLog
from builders import Institution, new_body, new_key

from ledgerd_client._proto import body_pb2
from ledgerd_client.core.header import Halves, Header

# Makes a log wrong; what it claims then, evidence must prove.
Wrong = Callable[[LyingLog, Institution], None]


def change(log: LyingLog, **changes: Any) -> None:
    raw, body = log.entries[-1]
    log.entries[-1] = (replace(Header.parse(raw), **changes).encode(), body)


def tick(log: LyingLog) -> None:
    log.by_node(tick=body_pb2.Tick())


def transfer(log: LyingLog, author: Institution) -> Halves:
    """Append half of a transfer whose terms nobody else has seen."""
    halves = Halves(os.urandom(32), os.urandom(32), 0, "hongkong.dev.invalid/log")
    body = author.body(log.now, cancel=body_pb2.Cancel(reason="none"))
    header = log.header(2, body, author.key, key_index=author.admitted_at, halves=halves)
    log.append(header, body)
    return halves


def wrong_chain_link(log: LyingLog, author: Institution) -> None:
    tick(log)
    change(log, previous_leaf_hash=bytes(32))


def time_going_back(log: LyingLog, author: Institution) -> None:
    tick(log)
    change(log, recorded_at=1)


def index_wrong(log: LyingLog, author: Institution) -> None:
    tick(log)
    change(log, index=len(log.entries))


def no_header(log: LyingLog, author: Institution) -> None:
    tick(log)
    raw, body = log.entries[-1]
    log.entries[-1] = (raw + b"\0", body)


def genesis_again(log: LyingLog, author: Institution) -> None:
    log.add(log.entries[0][1], log.authority)


def body_digest_twice(log: LyingLog, author: Institution) -> None:
    transfer(log, author)
    raw, body = log.entries[-1]
    kind = Header.parse(raw)
    header = log.header(
        kind.kind, body, author.key, key_index=author.admitted_at, halves=kind.halves
    )
    log.append(header, body)


def signature_wrong(log: LyingLog, author: Institution) -> None:
    tick(log)
    change(log, signature=bytes(64))


def ref_wrong(log: LyingLog, author: Institution) -> None:
    halves = transfer(log, author)
    change(log, halves=halves._replace(ref=bytes(32)))


def terms_digest_wrong(log: LyingLog, author: Institution) -> None:
    halves = transfer(log, author)
    change(log, halves=halves._replace(terms_digest=bytes(32)))


def counterparty_wrong(log: LyingLog, author: Institution) -> None:
    halves = transfer(log, author)
    change(log, halves=halves._replace(counterparty_origin="a.example/log"))


def outcome_wrong(log: LyingLog, author: Institution) -> None:
    halves = Halves(os.urandom(32), os.urandom(32), 3, "hongkong.dev.invalid/log")
    body = author.body(log.now, cancel=body_pb2.Cancel(reason="none"))
    log.append(log.header(3, body, author.key, key_index=author.admitted_at, halves=halves), body)
    change(log, halves=halves._replace(outcome=1))


def key_never_admitted(log: LyingLog, author: Institution) -> None:
    transfer(log, replace(author, key=new_key()))


def key_before_its_admission(log: LyingLog, author: Institution) -> None:
    key, place = new_key(), len(log.entries)
    transfer(log, replace(author, key=key, admitted_at=place + 1))
    log.admit("uscc.91440300MA5EXMPLYY", key)


def key_after_its_revocation(log: LyingLog, author: Institution) -> None:
    late = log.admit("uscc.91440300MA5EXMPLXX")
    log.by_authority(key_event=log.revocation(late))
    transfer(log, late)


def old_admit_replayed_after_revoke(log: LyingLog, author: Institution) -> None:
    late = log.admit("uscc.91440300MA5EXMPLXX")
    log.by_authority(key_event=log.revocation(late))
    log.add(log.entries[late.admitted_at][1], log.authority)


def key_admitted_anew_after_revoke(log: LyingLog, author: Institution) -> None:
    late = log.admit("uscc.91440300MA5EXMPLXX")
    log.by_authority(key_event=log.revocation(late))
    log.by_authority(key_event=log.admission(late.id, late.key))


def key_without_possession(log: LyingLog, author: Institution) -> None:
    event = log.admission("uscc.91440300MA5EXMPLXX", new_key(), possession=bytes(64))
    log.by_authority(key_event=event)


def entry_of_another_origin(log: LyingLog, author: Institution) -> None:
    body = new_body("a.example/log", "node", log.now, tick=body_pb2.Tick())
    other = replace(log, origin="a.example/log", entries=[])
    signature = other.header(10, body, log.entry_key).signature
    log.append(log.header(10, body, log.entry_key, signature=signature), body)


WRONG_ENTRIES: Final[Mapping[str, tuple[str, Wrong]]] = MappingProxyType({
    "right_root_over_a_wrong_chain_link": ("chain", wrong_chain_link),
    "time_going_back": ("time", time_going_back),
    "index_wrong": ("place", index_wrong),
    "no_header": ("form", no_header),
    "genesis_again": ("place", genesis_again),
    "body_digest_twice": ("repeat", body_digest_twice),
    "signature_wrong": ("signature", signature_wrong),
    "ref_wrong": ("signature", ref_wrong),
    "terms_digest_wrong": ("signature", terms_digest_wrong),
    "outcome_wrong": ("signature", outcome_wrong),
    "counterparty_wrong": ("signature", counterparty_wrong),
    "header_of_another_origin": ("signature", entry_of_another_origin),
    "key_never_admitted": ("key", key_never_admitted),
    "key_before_its_admission": ("key", key_before_its_admission),
    "key_after_its_revocation": ("key", key_after_its_revocation),
    "old_admit_replayed_after_revoke": ("repeat", old_admit_replayed_after_revoke),
    "key_admitted_anew_after_revoke": ("body", key_admitted_anew_after_revoke),
    "key_without_possession": ("body", key_without_possession),
})  # fmt: skip
