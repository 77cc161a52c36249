"""
What can go wrong, split by what the caller must do.

LedgerError
├── InputError             mend the call, then try again
│   ├── MalformedError       bytes that are not in their one spelling
│   ├── FieldError           a field out of range, or an unknown code
│   ├── PersonalDataError    free text that holds an identity or card number
│   └── TooLargeError        over a limit of size or number
├── VerificationError      keep what you were given: it does not prove what it claims
│   ├── SignatureError       a signature that fails
│   ├── ProofError           a Merkle proof that fails
│   ├── ChainError           a header that does not follow from the one before
│   ├── TrustError           signed by nobody that the trust file knows
│   └── ForkError            one origin signed two histories: evidence
├── RefusedError           asking again changes nothing until something else changes
│   ├── UnauthenticatedError no certificate, or not a valid one
│   ├── ForbiddenError       this caller may not do that
│   ├── NotFoundError        there is no such thing, or not for this caller
│   ├── ConflictError        it contradicts what is stored
│   └── NotReadyError        the node, or this record, is not in the state for it
├── UnavailableError       try again later
│   └── BusyError            a limit of the moment: too many in flight, disk nearly full
└── StoreError             the store is not what it should be; the daemon stops

Every error has a stable `reason` (upper case, sent as google.rpc.ErrorInfo), says whether the
same call may succeed later (`retryable`), and what to do (`action`).
"""

from __future__ import annotations

from typing import ClassVar


class LedgerError(Exception):
    """Base of all errors of ledgerd and its SDK."""

    default_reason: ClassVar[str] = "INTERNAL"
    default_action: ClassVar[str] = "report this to the operator of the node"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, reason: str | None = None, action: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.action = action or self.default_action

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross from worker processes; keyword arguments must survive pickling.
        return _rebuild, (type(self), self.message, self.reason, self.action)


def _rebuild(cls: type[LedgerError], message: str, reason: str, action: str) -> LedgerError:
    return cls(message, reason=reason, action=action)


class InputError(LedgerError):
    default_reason = "INVALID"
    default_action = "mend the call, then try again"


class MalformedError(InputError):
    default_reason = "MALFORMED"


class FieldError(InputError):
    default_reason = "FIELD_OUT_OF_RANGE"


class PersonalDataError(InputError):
    default_reason = "PERSONAL_DATA"
    default_action = "take the number out of the text: a record holds no personal data"


class TooLargeError(InputError):
    default_reason = "TOO_LARGE"
    default_action = "send less at once"


class VerificationError(LedgerError):
    default_reason = "NOT_VERIFIED"
    default_action = "keep what you were given and tell the authority: it does not verify"


class SignatureError(VerificationError):
    default_reason = "BAD_SIGNATURE"


class ProofError(VerificationError):
    default_reason = "BAD_PROOF"


class ChainError(VerificationError):
    default_reason = "BAD_CHAIN"


class TrustError(VerificationError):
    default_reason = "NOT_TRUSTED"
    default_action = "check the trust file, or fetch the key history anew"


class ForkError(VerificationError):
    default_reason = "FORK"


class RefusedError(LedgerError):
    default_reason = "REFUSED"
    default_action = "asking again will not help; the message says what is in the way"


class UnauthenticatedError(RefusedError):
    default_reason = "UNAUTHENTICATED"
    default_action = "use a valid certificate of this border's authority"


class ForbiddenError(RefusedError):
    default_reason = "FORBIDDEN"


class NotFoundError(RefusedError):
    default_reason = "NOT_FOUND"
    default_action = "check what you asked for: it is not there, or not yours to see"


class ConflictError(RefusedError):
    default_reason = "CONFLICT"


class NotReadyError(RefusedError):
    default_reason = "NOT_READY"
    default_action = "the message says what is in the way; try again once that has passed"


class UnavailableError(LedgerError):
    default_reason = "UNAVAILABLE"
    default_action = "try again later"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        action: str | None = None,
        retry_after_s: float = 0,
    ) -> None:
        """retry_after_s: how long to wait at least, as whoever raises it knows; s."""
        super().__init__(message, reason=reason, action=action)
        self.retry_after_s = retry_after_s


class BusyError(UnavailableError):
    default_reason = "BUSY"


class StoreError(LedgerError):
    default_reason = "STORE"
    default_action = "stop, keep the store as it is, and run `ledgerd audit`"
