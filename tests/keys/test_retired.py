"""Receipts under keys that were replaced: whoever steals one of these can't make old receipts."""

from __future__ import annotations

import pytest
from builders import Border, new_border

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import TrustError
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.receipt import Receipt, verify_receipt

LOG, COSIGNER = pb.ROLE_LOG, pb.ROLE_COSIGNER


@pytest.fixture
def border() -> Border:
    border = new_border()
    border.mainland.record(border.exporter, transfer=border.transfer())
    return border


def receipt(border: Border, *, cosigned: bool) -> Receipt:
    return border.mainland.receipt(2, cosigner=border.hong_kong if cosigned else None)


def reason(border: Border, shown: Receipt) -> str:
    """Why it is not believed; empty if it is."""
    try:
        verify_receipt(shown, border.mainland.history(), border.hong_kong.history())
    except TrustError as error:
        return error.reason
    return ""


class TestAReceiptUnderARetiredKey:
    def test_is_not_believed_by_itself(self, border: Border) -> None:
        shown = receipt(border, cosigned=False)
        border.mainland.rotate(LOG)
        assert reason(border, shown) == "RETIRED_KEY"

    def test_is_not_believed_behind_a_loss_either(self, border: Border) -> None:
        shown = receipt(border, cosigned=False)
        border.mainland.lose()
        assert reason(border, shown) == "RETIRED_KEY"

    def test_is_believed_with_the_peers_cosignature(self, border: Border) -> None:
        shown = receipt(border, cosigned=True)
        border.mainland.rotate(LOG)
        assert reason(border, shown) == ""

    def test_is_not_if_that_key_was_replaced_too(self, border: Border) -> None:
        shown = receipt(border, cosigned=True)
        border.mainland.rotate(LOG)
        border.hong_kong.rotate(COSIGNER)
        assert reason(border, shown) == "RETIRED_KEY"

    def test_is_not_without_the_peers_keys(self, border: Border) -> None:
        shown = receipt(border, cosigned=False)
        border.mainland.rotate(LOG)
        with pytest.raises(TrustError):
            verify_receipt(shown, border.mainland.history())

    def test_is_told(self, border: Border) -> None:
        shown = receipt(border, cosigned=False)
        border.mainland.rotate(LOG)
        assert open_log_checkpoint(shown.checkpoint, border.mainland.history()).retired


class TestAReceiptMadeLater:
    def test_under_the_present_key_is_believed(self, border: Border) -> None:
        border.mainland.rotate(LOG)
        assert reason(border, receipt(border, cosigned=False)) == ""

    def test_by_the_replaced_key_is_not(self, border: Border) -> None:
        stolen = border.mainland.log_key
        border.mainland.rotate(LOG)
        present, border.mainland.log_key = border.mainland.log_key, stolen
        shown = receipt(border, cosigned=True)
        border.mainland.log_key = present
        assert reason(border, shown) == "NOT_TRUSTED"


class TestACosignature:
    def test_by_a_replaced_key_counts_for_none(self, border: Border) -> None:
        shown = receipt(border, cosigned=True)
        border.hong_kong.rotate(COSIGNER)
        verified = verify_receipt(shown, border.mainland.history(), border.hong_kong.history())
        assert verified.cosigned_at is None

    def test_by_the_present_one_counts(self, border: Border) -> None:
        border.hong_kong.rotate(COSIGNER)
        shown = receipt(border, cosigned=True)
        verified = verify_receipt(shown, border.mainland.history(), border.hong_kong.history())
        assert verified.cosigned_at is not None
