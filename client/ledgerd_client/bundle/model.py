"""The bundle as a file: JSON in one spelling, with the formats that there are already inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from ledgerd_client.core.encoding import U64_MAX, encode_base64, parse_base64
from ledgerd_client.core.errors import FieldError, LedgerError, MalformedError
from ledgerd_client.core.fields import DIGEST_SIZE
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.keys import SIGNATURE_SIZE
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.jsonfile import json_text

FORM: Final = "ledgerd-bundle/v1"
MAX_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BundledEntry:
    """An entry of a log: its receipt, and its body; b"" where that was kept back, or erased."""

    receipt: Receipt
    body: bytes = field(default=b"", repr=False)

    def to_json(self) -> dict[str, str]:
        return {"receipt": self.receipt.format().decode(), "body": encode_base64(self.body)}

    @classmethod
    def read(cls, found: Any) -> Self:
        return cls(Receipt.parse(_text(found["receipt"])), parse_base64(found["body"]))


@dataclass(frozen=True, slots=True)
class BundledDecision:
    """Of an entry of the other log what its authority signed, and where it stands."""

    index: int
    signature: bytes
    body: bytes = field(repr=False)

    def to_json(self) -> dict[str, object]:
        signature, body = encode_base64(self.signature), encode_base64(self.body)
        return {"index": self.index, "signature": signature, "body": body}

    @classmethod
    def read(cls, found: Any) -> Self:
        index, signature = found["index"], parse_base64(found["signature"])
        if len(signature) != SIGNATURE_SIZE or type(index) is not int or not 0 <= index <= U64_MAX:
            raise ValueError
        return cls(index, signature, parse_base64(found["body"]))


@dataclass(frozen=True, slots=True)
class BundledSide:
    """
    What one log holds of the transfer; believed by nobody yet.

    keys: GENESIS, LOSS, and the key events of the node, the authority and the institutions whose
    halves these are. peer_keys: of the other log, whose node cosigned, GENESIS, LOSS, and those of
    cosigner and authority. Of both all up to the authority's last rotation, which is signed over
    them. rule_sets: those that the findings name. In log order.
    """

    origin: str
    keys: tuple[BundledEntry, ...]
    peer_keys: tuple[BundledDecision, ...]
    rule_sets: tuple[BundledEntry, ...]
    halves: tuple[BundledEntry, ...]
    findings: tuple[BundledEntry, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "origin": self.origin,
            "keys": [entry.to_json() for entry in self.keys],
            "peer_keys": [decision.to_json() for decision in self.peer_keys],
            "rule_sets": [entry.to_json() for entry in self.rule_sets],
            "halves": [entry.to_json() for entry in self.halves],
            "findings": [entry.to_json() for entry in self.findings],
        }

    @classmethod
    def read(cls, found: Any) -> Self:
        origin = found["origin"]
        check_origin(origin)
        keys, *others = (
            tuple(map(BundledEntry.read, found[name]))
            for name in ("keys", "rule_sets", "halves", "findings")
        )
        peer_keys = tuple(map(BundledDecision.read, found["peer_keys"]))
        return cls(origin, keys, peer_keys, *others)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A transfer, what its halves come to, and what each side added; believed by nobody yet."""

    ref: bytes
    state: str
    # One or two, ascending by origin.
    sides: tuple[BundledSide, ...]

    def with_side(self, side: BundledSide) -> Self:
        """With what a side has to add, in place of what it added before; raises FieldError."""
        others = [each for each in self.sides if each.origin != side.origin]
        if len(others) > 1:
            raise FieldError(
                f"the bundle is of {self.sides[0].origin} and {self.sides[1].origin}",
                reason="WRONG_ORIGIN",
                action="have it added to by a party of the transfer",
            )
        sides = sorted([*others, side], key=lambda each: each.origin)
        return replace(self, sides=tuple(sides))

    def format(self) -> bytes:
        content = {
            "format": FORM,
            "ref": self.ref.hex(),
            "state": self.state,
            "sides": [side.to_json() for side in self.sides],
        }
        return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a bundle; raises MalformedError unless data is its one spelling."""
        try:
            if len(data) > MAX_BYTES:
                raise ValueError  # noqa: TRY301 -- one message for all that is no bundle
            bundle = cls._read(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LedgerError):
            raise MalformedError("this is no ledgerd-bundle/v1 file") from None
        if bundle.format() != data:
            raise MalformedError(
                "the bundle is not as it was written",
                reason="NOT_CANONICAL",
                action="use the file that `ledgerctl bundle` wrote, untouched",
            )
        return bundle

    @classmethod
    def _read(cls, found: Mapping[str, Any]) -> Self:
        ref, sides = bytes.fromhex(found["ref"]), tuple(map(BundledSide.read, found["sides"]))
        origins = [side.origin for side in sides]
        if len(ref) != DIGEST_SIZE or not 1 <= len(sides) <= 2 or origins != sorted(set(origins)):
            raise ValueError
        return cls(ref, _text(found["state"]).decode(), sides)


def _text(value: Any) -> bytes:
    return json_text(value).encode()
