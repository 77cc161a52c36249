"""Who may call what, and see what: the table of roles, then the registry in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from ledgerd.api.identity import STANDBY, Caller
from ledgerd.ledger.keyring import Keyring
from ledgerd.projections.transfer_row import Half
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ForbiddenError
from ledgerd_client.core.grant import check_term
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.identity import INSTITUTION, OPERATOR, PEER, REGULATOR, ROLES

_LEDGER = "/ledger.v1.LedgerService/"
_REGULATOR = "/ledger.v1.RegulatorService/"
_ANYONE = frozenset(ROLES)
_INSTITUTIONS = frozenset((INSTITUTION,))
_PEER = frozenset((PEER,))
_REGULATORS = frozenset((REGULATOR,))
_OPERATORS = frozenset((OPERATOR,))
_STANDBY = frozenset((STANDBY,))

# The one table of it; what is not in it nobody may call (docs/protocol.md, "Roles").
ALLOWED: Mapping[str, frozenset[str]] = MappingProxyType({
    _LEDGER + "Append": _INSTITUTIONS,
    _LEDGER + "GetReceipt": _INSTITUTIONS,
    _LEDGER + "GetEntry": _INSTITUTIONS,
    _LEDGER + "GetTransfer": _INSTITUTIONS,
    _LEDGER + "GetCheckpoint": _ANYONE,
    _LEDGER + "GetInclusionProof": _ANYONE,
    _LEDGER + "GetConsistencyProof": _ANYONE,
    _LEDGER + "GetKeyHistory": _ANYONE,
    _LEDGER + "GetInfo": _ANYONE,
    _LEDGER + "Check": _INSTITUTIONS,
    _LEDGER + "GetContract": _INSTITUTIONS,
    _LEDGER + "ListFindings": _INSTITUTIONS,
    _LEDGER + "TailFindings": _INSTITUTIONS,
    "/ledger.v1.PeerService/AddCheckpoint": _PEER,
    "/ledger.v1.PeerService/ListHeaders": _PEER,
    "/ledger.v1.PeerService/GetCosigned": _PEER,
    "/ledger.v1.PeerService/ListReplica": _PEER,
    _REGULATOR + "ListEntries": _REGULATORS,
    _REGULATOR + "Tail": _REGULATORS,
    _REGULATOR + "GetTransfer": _REGULATORS,
    _REGULATOR + "GetContract": _REGULATORS,
    _REGULATOR + "Summarize": _REGULATORS,
    _REGULATOR + "Follow": _REGULATORS,
    "/ledger.v1.AdminService/SubmitKeyEvent": _OPERATORS,
    "/ledger.v1.AdminService/CheckErasure": _OPERATORS,
    "/ledger.v1.AdminService/SubmitErasure": _OPERATORS,
    "/ledger.v1.AdminService/ListEvidence": _OPERATORS,
    "/ledger.v1.AdminService/GetEvidence": _OPERATORS,
    "/ledger.v1.AdminService/AcknowledgeEvidence": _OPERATORS,
    "/ledger.v1.AdminService/GetStatus": _OPERATORS,
    "/ledger.v1.StandbyService/Replicate": _STANDBY,
    "/ledger.v1.RecoveryService/ListMissing": _INSTITUTIONS,
    "/ledger.v1.RecoveryService/ReturnBodies": _INSTITUTIONS,
    "/grpc.health.v1.Health/Check": _ANYONE,
    "/grpc.health.v1.Health/List": _ANYONE,
    "/grpc.health.v1.Health/Watch": _ANYONE,
})  # fmt: skip


class Access:
    """Decides for each call, by the table and by whom the log has admitted until now."""

    def __init__(
        self,
        keyring: Keyring,
        *,
        operators: Iterable[str],
        peer: str,
        clock: Callable[[], int],
        last_time: Callable[[], int],
        peer_keys: Callable[[], KeyHistory],
    ) -> None:
        """
        operators, peer: the ids in their certificates; peer_keys: the peer's key history.

        clock: the machine's; last_time: when the log's newest entry was recorded. Both are µs.
        """
        self._keyring = keyring
        self._clock = clock
        self._last_time = last_time
        self._operators = frozenset(operators)
        self._peer = peer
        self._peer_keys = peer_keys

    def check(self, method: str, caller: Caller) -> None:
        """Refuse a call that the caller may not make; raises ForbiddenError."""
        if caller.role not in ALLOWED.get(method, ()):
            roles = " or ".join(sorted(ALLOWED.get(method, ()))) or "nobody"
            raise ForbiddenError(
                f"{method} is for the role {roles}, not for {caller.role}",
                reason="WRONG_ROLE",
                action="ask with a certificate of that role",
            )
        if caller.role == REGULATOR:
            self.grant(caller)
        elif not self._is_known(caller):
            raise _not_admitted(caller)

    def is_revoked(self, caller: Caller, certificate: bytes) -> bool:
        """Whether a caller's certificate, by its digest, is revoked by the side that may."""
        if self._keyring.history.is_revoked(certificate):
            return True
        # The other side's authority has a say about its own node, and about nobody of ours.
        return caller.role == PEER and self._peer_keys().is_revoked(certificate)

    def grant(self, caller: Caller) -> pb.Grant:
        """
        What a regulator may read at this time.

        Raises ForbiddenError NOT_ADMITTED, GRANT_NOT_YET or GRANT_EXPIRED.
        """
        grant = self._keyring.grant_of(caller.id)
        if grant is None:
            raise _not_admitted(caller)
        # A clock that is set back opens nothing again.
        check_term(grant, max(self._clock(), self._last_time()))
        return grant

    def is_own(self, caller: Caller, header: Header) -> bool:
        """Whether an entry is the institution's own: signed by a key admitted for it."""
        return header.key_id in self._keyring.institution_keys(caller.id)

    def is_party(self, caller: Caller, halves: Iterable[Half]) -> bool:
        """
        Whether a half in this log is the institution's own.

        Whom halves name is across the border: there the same id may be somebody else.
        """
        return any(half.own and half.institution == caller.id for half in halves)

    def _is_known(self, caller: Caller) -> bool:
        match caller.role:
            case "institution":
                return bool(self._keyring.institution_keys(caller.id))
            case "operator":
                return caller.id in self._operators
            case "standby":  # by its name, which is this node's
                return True
            case _:
                return caller.id == self._peer


def _not_admitted(caller: Caller) -> ForbiddenError:
    return ForbiddenError(
        f"{caller.role} {caller.id} is not admitted here",
        reason="NOT_ADMITTED",
        action="enrol with the authority of this side",
    )
