"""An authority's order to erase bodies, signed offline and sent by file to the node's operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import make
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.remains import open_order, order_digest
from ledgerd_client.core.supervision import check_order
from ledgerd_client.core.trust import OriginTrust
from ledgerd_client.jsonfile import JsonFile


@dataclass(frozen=True, slots=True)
class SignedOrder(JsonFile):
    """An encoded ErasureOrder for origin's log, and the authority's signature."""

    FORMAT: ClassVar = "ledgerd-erasure/v1"

    origin: str
    order: bytes
    signature: bytes = field(repr=False)

    @classmethod
    def make(
        cls,
        origin: str,
        key: SigningKey,
        *,
        order_id: bytes,
        institution: str,
        indexes: Iterable[int],
        reason: str,
        now: int,
    ) -> Self:
        """
        Order the bodies of an institution's entries to be erased; key is the authority's.

        order_id: 16 random bytes; now: µs. Raises FieldError or PersonalDataError.
        """
        order = make(
            pb.ErasureOrder,
            origin=origin,
            order_id=order_id,
            institution=institution,
            indexes=sorted(set(indexes)),
            reason=reason,
            ordered_at=now,
        )
        check_order(order)
        encoded = encode_message(order)
        return cls(origin, encoded, key.sign(order_digest(origin, encoded)))

    def open(self, trust: OriginTrust) -> pb.ErasureOrder:
        """
        The order, if the authority of trust signed it.

        Raises SignatureError NOT_ORDERED, FieldError (WRONG_ORIGIN for one of another log), or
        MalformedError.
        """
        if trust.origin != self.origin:
            raise FieldError(
                f"the order is for {self.origin}, not for {trust.origin}",
                reason="WRONG_ORIGIN",
                action="submit it with the settings of an operator of that side",
            )
        authority = trust.authority.public
        return open_order(self.order, self.signature, origin=self.origin, authority=authority)
