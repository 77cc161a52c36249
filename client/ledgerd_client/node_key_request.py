"""A node asks its authority for another key (docs/enrolment.md). Needs the extra [cli]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import check_size
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.key_events import SUBJECTS
from ledgerd_client.core.keys import KEY_ID_SIZE, SigningKey
from ledgerd_client.jsonfile import JsonFile
from ledgerd_client.possession import check_asker, node_key_digest

NODE_KEY_ROLES: Mapping[str, pb.Role.ValueType] = MappingProxyType(
    {"log": pb.ROLE_LOG, "entry": pb.ROLE_ENTRY, "cosigner": pb.ROLE_COSIGNER}
)


@dataclass(frozen=True, slots=True)
class NodeKeyRequest(JsonFile):
    """
    The next key of a node, which it holds, and the one that it is to replace.

    name: `log`, `entry` or `cosigner`; lost is 1 when the present key can't sign any more, else 0.
    """

    FORMAT: ClassVar = "ledgerd-node-key-request/v1"

    origin: str
    name: str
    public_key: bytes
    possession: bytes
    previous_key_id: bytes
    lost: int

    @classmethod
    def make(
        cls, *, origin: str, name: str, key: SigningKey, previous_key_id: bytes, lost: bool
    ) -> Self:
        """Ask for a key of one's own."""
        digest = node_key_digest(origin, NODE_KEY_ROLES[name], key.public)
        request = cls(origin, name, key.public, key.sign(digest), previous_key_id, int(lost))
        request.check()
        return request

    def key_event(self) -> pb.KeyEvent:
        """The ROTATE event that this asks for."""
        role = NODE_KEY_ROLES[self.name]
        return pb.KeyEvent(
            action=pb.KEY_ACTION_ROTATE,
            role=role,
            subject=SUBJECTS[role],
            public_key=self.public_key,
            possession=self.possession,
            previous_key_id=self.previous_key_id,
            lost=bool(self.lost),
        )

    def check(self) -> None:
        """Raise FieldError or MalformedError, or SignatureError when the key is not the asker's."""
        check_origin(self.origin)
        if self.name not in NODE_KEY_ROLES or self.lost not in {0, 1}:
            raise FieldError("a node asks for a log, entry or cosigner key")
        check_size("previous_key_id", self.previous_key_id, KEY_ID_SIZE)
        digest = node_key_digest(self.origin, NODE_KEY_ROLES[self.name], self.public_key)
        check_asker(self.public_key, digest, self.possession)
