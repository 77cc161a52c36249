"""With what a node ends: systemd tries again what ends with 1, and nothing else."""

from __future__ import annotations

import pytest

from ledgerd.commands.exits import node_exit
from ledgerd_client.core import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.UnavailableError("the port is taken", reason="CANNOT_LISTEN"),
        errors.BusyError("the disk is nearly full", reason="DISK_FULL"),
        errors.NotReadyError("another serves", reason="ALREADY_SERVED"),
        errors.NotReadyError("another follows", reason="SECOND_STANDBY"),
        errors.StoreError("the writer was killed", reason="WRITER_KILLED"),
    ],
    ids=lambda error: error.reason,
)
def test_what_may_pass_ends_with_1(error: errors.LedgerError) -> None:
    assert node_exit(error) == 1


@pytest.mark.parametrize(
    "error",
    [
        errors.FieldError("no such law", reason="NO_SUCH_LAW"),
        errors.InputError("open to others", reason="KEY_EXPOSED"),
    ],
    ids=lambda error: error.reason,
)
def test_what_was_given_wrongly_ends_with_2(error: errors.LedgerError) -> None:
    assert node_exit(error) == 2


@pytest.mark.parametrize(
    "error",
    [
        errors.StoreError("of a newer format", reason="STORE_TOO_NEW"),
        errors.StoreError("none", reason="NO_STORE"),
        errors.StoreError("the writer died", reason="WRITER_DIED"),
        errors.NotReadyError("it follows another", reason="STANDBY"),
        errors.NotReadyError("a LOSS was taken", reason="PROMOTION_BEGUN"),
        errors.TrustError("by another authority"),
        errors.ChainError("not what was signed"),
    ],
    ids=lambda error: error.reason,
)
def test_what_somebody_must_look_at_ends_with_70(error: errors.LedgerError) -> None:
    assert node_exit(error) == 70
