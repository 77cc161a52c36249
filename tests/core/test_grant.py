"""When a grant holds. What it covers: tests/api/test_grants.py."""

from __future__ import annotations

import pytest

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ForbiddenError
from ledgerd_client.core.grant import check_term


class TestItsTime:
    GRANT = pb.Grant(valid_from=1000, valid_until=2000)

    @pytest.mark.parametrize("now", [1000, 1999])
    def test_is_from_its_first_to_its_last_microsecond(self, now: int) -> None:
        check_term(self.GRANT, now)

    @pytest.mark.parametrize(
        ("now", "reason"), [(999, "GRANT_NOT_YET"), (2000, "GRANT_EXPIRED"), (0, "GRANT_NOT_YET")]
    )
    def test_is_neither_before_nor_after(self, now: int, reason: str) -> None:
        with pytest.raises(ForbiddenError) as caught:
            check_term(self.GRANT, now)
        assert caught.value.reason == reason
