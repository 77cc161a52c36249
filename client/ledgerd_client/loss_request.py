"""A node that lost the end of its log asks its authority to say so. Needs the extra [cli]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import parse_note
from ledgerd_client.jsonfile import JsonFile
from ledgerd_client.possession import check_asker, node_key_digest


@dataclass(frozen=True, slots=True)
class LossRequest(JsonFile):
    """
    Where the log is to end, and the keys that it goes on with; the node holds them.

    checkpoint: a note, with the peer's cosignature; missing: bodies below it that nobody returned.
    """

    FORMAT: ClassVar = "ledgerd-loss-request/v1"

    checkpoint: bytes
    log_key: bytes
    log_possession: bytes
    cosigner_key: bytes
    cosigner_possession: bytes
    missing: int

    @classmethod
    def make(
        cls, *, checkpoint: bytes, log_key: SigningKey, cosigner_key: SigningKey, missing: int
    ) -> Self:
        """Ask to end the log at a checkpoint."""
        origin = Checkpoint.parse(parse_note(checkpoint).text).origin
        keys = (pb.ROLE_LOG, log_key), (pb.ROLE_COSIGNER, cosigner_key)
        said = [key.sign(node_key_digest(origin, role, key.public)) for role, key in keys]
        return cls(checkpoint, log_key.public, said[0], cosigner_key.public, said[1], missing)

    @property
    def end(self) -> Checkpoint:
        """Where the log is to end."""
        return Checkpoint.parse(parse_note(self.checkpoint).text)

    @property
    def witnesses(self) -> list[str]:
        """Whose signatures the checkpoint carries, by name; none of them is verified here."""
        return [line.name for line in parse_note(self.checkpoint).signatures]

    def loss(self) -> pb.Loss:
        """The LOSS that this asks for."""
        return pb.Loss(
            size=self.end.size,
            root=self.end.root,
            log_key=self.log_key,
            log_possession=self.log_possession,
            cosigner_key=self.cosigner_key,
            cosigner_possession=self.cosigner_possession,
        )

    def check(self) -> None:
        """Raise FieldError or MalformedError, or SignatureError when a key is not the asker's."""
        if not self.end.size or self.missing < 0:
            raise FieldError("a log that has not begun has nothing to lose")
        for role, public, possession in (
            (pb.ROLE_LOG, self.log_key, self.log_possession),
            (pb.ROLE_COSIGNER, self.cosigner_key, self.cosigner_possession),
        ):
            check_asker(public, node_key_digest(self.end.origin, role, public), possession)
