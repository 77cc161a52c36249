from __future__ import annotations

from pathlib import Path

import pytest
from ledger.law_world import LawWorld, at
from mirror.served import Mirror, Served

from ledgerd_client._proto import body_pb2 as pb


@pytest.fixture
def law() -> LawWorld:
    """Both sides under the newest law, and a little of everything in their logs."""
    law = LawWorld()
    law.mainland.append(law.contract(expires_on=20260901), law.pipia())
    law.hong_kong.place(law.counterpart(expires_on=20260901))
    law.anchor()
    law.clock.advance(1)
    matched, wrong, silent = law.terms(), law.terms(), law.terms()
    law.mainland.append(law.transfer(matched), law.transfer(wrong))
    law.hong_kong.append(law.ack(matched), law.ack(wrong, outcome=pb.OUTCOME_REJECTED))
    law.clock.advance(1)
    law.anchor()
    law.mainland.append(law.transfer(silent))
    law.clock.now = at("2026-09-20")
    law.anchor()
    return law


@pytest.fixture
def mirror(law: LawWorld, tmp_path: Path) -> Mirror:
    """A mirror of the Mainland's node that holds nothing yet."""
    return Mirror(tmp_path / "mirror", law, Served(law))
