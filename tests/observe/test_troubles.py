"""What is wrong with a node, as operators and health checks are told it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledgerd.observe import troubles as judging
from ledgerd.observe.troubles import APPEND, FRESH, PEER, alert, troubles
from ledgerd.observe.vitals import OPEN, CertificateEnd, Vitals

ROOT = Path(__file__).resolve().parents[2]
SECOND = 1_000_000
DAY = 86_400 * SECOND
NOW = 20_000 * DAY
RESERVE = 1_000

WELL = Vitals(
    at=NOW,
    state=OPEN,
    why_not="",
    size=10,
    recorded_at=NOW,
    waiting_records=0,
    in_flight_bytes=0,
    stalled_s=0,
    cosigned_size=10,
    cosign_lag_s=0,
    shown_size=5,
    replayed_size=5,
    witnessed_size=5,
    anchored_size=5,
    standby_size=0,
    standby_lag_s=0,
    standby_away_s=0,
    fetched_at=NOW,
    anchored_at=NOW,
    silence_s=300,
    overdue_s=0,
    failures=0,
    failing="",
    replica_full=False,
    latched=False,
    spent=False,
    backed_up_at=NOW,
    audit_ok=True,
    audited_at=NOW,
    disk_free=8 * RESERVE,
    disk_reserve=RESERVE,
    certificates=(CertificateEnd("node", "ab" * 8, NOW + 30 * DAY),),
)


def ends_in(days: float) -> tuple[CertificateEnd, ...]:
    return (CertificateEnd("node", "ab" * 8, NOW + round(days * DAY)),)


# What is otherwise, the trouble that it is, and the part that it hurts.
TROUBLES: list[tuple[dict[str, Any], str, str]] = [
    ({"state": "UNCONFIRMED", "why_not": "wait"}, "APPENDS_REFUSED", APPEND),
    ({"state": "MARK_FAILED", "why_not": "wait"}, "APPENDS_REFUSED", APPEND),
    ({"state": "ROLLED_BACK", "why_not": "older"}, "ROLLED_BACK", APPEND),
    ({"state": "REPLACED", "why_not": "elsewhere"}, "REPLACED", APPEND),
    ({"state": "STANDBY_AWAY", "why_not": "away", "standby_away_s": 61}, "STANDBY_AWAY", APPEND),
    ({"standby_away_s": 61, "standby_lag_s": 301}, "STANDBY_AWAY", ""),
    ({"standby_size": 9, "standby_lag_s": 301}, "STANDBY_BEHIND", ""),
    ({"disk_free": RESERVE - 1}, "DISK_FULL", APPEND),
    ({"disk_free": 2 * RESERVE - 1}, "DISK_FULL", PEER),
    ({"stalled_s": 11}, "STALLED", FRESH),
    ({"recorded_at": NOW + 6 * SECOND}, "CLOCK_JUMPED", FRESH),
    ({"latched": True}, "EVIDENCE", PEER),
    ({"latched": True, "failing": "FORK", "fetched_at": 0}, "EVIDENCE", PEER),
    ({"failing": "BAD_CHAIN"}, "PEER_DISAGREES", PEER),
    ({"failing": "BAD_ROOT", "fetched_at": 0}, "PEER_DISAGREES", PEER),
    ({"failing": "EVIDENCE"}, "PEER_DISAGREES", PEER),
    ({"spent": True}, "COSIGNER_SPENT", PEER),
    ({"replica_full": True}, "REPLICA_FULL", PEER),
    ({"fetched_at": NOW - 301 * SECOND}, "PEER_SILENT", PEER),
    ({"fetched_at": 0}, "PEER_SILENT", PEER),
    ({"fetched_at": NOW - 2 * DAY - SECOND, "silence_s": 172_800}, "PEER_SILENT", PEER),
    ({"failing": "PEER_CLOCK_AHEAD"}, "PEER_SILENT", PEER),
    ({"cosigned_size": 9, "cosign_lag_s": 601}, "NOT_COSIGNED", PEER),
    ({"cosigned_size": 9, "cosign_lag_s": 172_801, "silence_s": 172_800}, "NOT_COSIGNED", PEER),
    ({"overdue_s": 1801}, "ANCHOR_LATE", ""),
    ({"overdue_s": 172_801, "silence_s": 172_800}, "ANCHOR_LATE", ""),
    ({"certificates": ends_in(13)}, "CERTIFICATE_ENDS_SOON", ""),
    ({"certificates": ends_in(1)}, "CERTIFICATE_ENDS", ""),
    ({"certificates": ends_in(-1)}, "CERTIFICATE_ENDS", ""),
    ({"disk_free": 8 * RESERVE - 1}, "DISK_LOW", ""),
    ({"backed_up_at": NOW - 2 * DAY}, "BACKUP_OLD", ""),
    ({"audit_ok": False}, "AUDIT_FAILED", ""),
    ({"audited_at": NOW - 4 * DAY}, "AUDIT_OLD", ""),
]
# What is still well.
EDGES: list[dict[str, Any]] = [
    {"disk_free": 8 * RESERVE},
    {"stalled_s": 10},
    {"recorded_at": NOW + 5 * SECOND},
    {"fetched_at": NOW - 300 * SECOND},
    {"fetched_at": NOW - 2 * DAY, "silence_s": 172_800},
    {"cosigned_size": 9, "cosign_lag_s": 172_800, "silence_s": 172_800},
    {"overdue_s": 172_800, "silence_s": 172_800},
    {"cosigned_size": 9, "cosign_lag_s": 600},
    {"overdue_s": 1800},
    {"standby_away_s": 60},
    {"standby_size": 9, "standby_lag_s": 300},
    {"standby_away_s": 60, "standby_size": 9, "standby_lag_s": 301},
    {"certificates": ends_in(14)},
    {"backed_up_at": NOW - 36 * 3600 * SECOND},
    {"backed_up_at": 0},
    {"audited_at": NOW - 3 * DAY},
    {"audited_at": 0},
    {"failures": 99, "failing": "UNAVAILABLE"},
]


@pytest.mark.parametrize(
    ("changes", "code", "part"),
    TROUBLES,
    ids=[f"{n}-{code}" for n, (_, code, _) in enumerate(TROUBLES)],
)
class TestATrouble:
    def test_is_told_alone(self, changes: dict[str, Any], code: str, part: str) -> None:
        told = troubles(replace(WELL, **changes))
        assert [(one.code, one.part) for one in told] == [(code, part)]

    def test_says_something_of_it(self, changes: dict[str, Any], code: str, part: str) -> None:
        (told,) = troubles(replace(WELL, **changes))
        assert told.says

    def test_says_what_to_do_first(self, changes: dict[str, Any], code: str, part: str) -> None:
        (told,) = troubles(replace(WELL, **changes))
        assert told.do


class TestANodeThatIsWell:
    def test_has_none(self) -> None:
        assert troubles(WELL) == []

    @pytest.mark.parametrize("changes", EDGES, ids=str)
    def test_up_to_the_edge(self, changes: dict[str, Any]) -> None:
        assert troubles(replace(WELL, **changes)) == []


class TestADiskWithoutRoomForRecords:
    def test_has_none_for_the_peers_log(self) -> None:
        (told,) = troubles(replace(WELL, disk_free=RESERVE - 1))
        assert set(told.parts) == {APPEND, PEER}


class TestEveryCode:
    def test_is_tried_here(self) -> None:
        source = Path(judging.__file__).read_text(encoding="utf-8")
        given = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)*)"', source)) - {OPEN}
        assert given == {code for _, code, _ in TROUBLES}

    @pytest.mark.parametrize("code", sorted({code for _, code, _ in TROUBLES}))
    def test_has_its_section_in_the_runbook(self, code: str) -> None:
        runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
        assert f"\n## {alert(code)}\n" in runbook

    def test_is_told_with_all_others_the_worst_first(self) -> None:
        everything = {key: value for changes, *_ in TROUBLES for key, value in changes.items()}
        told = [one.part for one in troubles(replace(WELL, **everything))]
        assert told == sorted(told, key=[APPEND, FRESH, PEER, ""].index)
