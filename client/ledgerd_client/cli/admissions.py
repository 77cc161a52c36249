"""What an authority's directory keeps of the keys that it let in, and of those that it revoked."""

from __future__ import annotations

from pathlib import Path

from ledgerd_client.approval import Approval
from ledgerd_client.cli.authority import make_directory
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.keys import key_id
from ledgerd_client.identity import REGULATOR
from ledgerd_client.keyfile import read_file, write_new

_ADMITTED = "admitted"


def keep_admission(directory: Path, public_key: bytes, approval: Approval) -> None:
    """Keep the approval that admits a key: that happens once. Raises InputError KEY_KNOWN."""
    path = _admission(directory, public_key)
    if path.exists():
        raise InputError(
            "you let this key in before, and the log takes it once",
            reason="KEY_KNOWN",
            action=f"use the approval at {path}, or --renewal for a new certificate",
        )
    make_directory(path.parent)
    write_new(path, approval.format(), mode=0o644)


def kept_admission(directory: Path, public_key: bytes) -> Approval:
    """The approval that admitted a key; raises InputError."""
    path = _admission(directory, public_key)
    if not path.exists():
        raise InputError(
            "this authority's directory holds no approval of that key",
            action=f"check the key, or put the approval that admitted it at {path}",
        )
    return Approval.parse(read_file(path))


def keep_revocation(directory: Path, public_key: bytes, revocation: Approval) -> None:
    """Keep the first revocation of a key: the log takes one."""
    path = _revocation(directory, key_id(public_key))
    if not path.exists():
        make_directory(path.parent)
        write_new(path, revocation.format(), mode=0o644)


def check_first_grant(directory: Path, regulator: str, public_key: bytes) -> None:
    """
    Refuse a regulator's key a grant beside another's, which would be in force again after it.

    Raises FieldError while another that was let in for it is neither replaced nor revoked.
    """
    kept = [Approval.parse(read_file(path)) for path in (directory / _ADMITTED).glob("*.json")]
    events = [
        each.read_body().key_event
        for each in kept
        if (each.role, each.id) == (REGULATOR, regulator)
    ]
    replaced = {event.previous_key_id for event in events}
    for event in events:
        known = key_id(event.public_key)
        gone = _revocation(directory, known)
        if known != key_id(public_key) and known not in replaced and not gone.exists():
            key = encode_base64(event.public_key)
            raise FieldError(
                f"{regulator} has a key already, whose grant this one would stand beside: {key}",
                action=f"say --replaces {key}; or, if it was revoked, put its revocation at {gone}",
            )


def _admission(directory: Path, public_key: bytes) -> Path:
    return directory / _ADMITTED / f"{key_id(public_key).hex()}.json"


def _revocation(directory: Path, revoked: bytes) -> Path:
    return directory / "revoked" / f"{revoked.hex()}.json"
