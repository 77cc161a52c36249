"""Check digits of organisations' ids: USCC (GB 32100-2015), LEI (ISO 17442) and Hong Kong's BRN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ledgerd_client.core.errors import FieldError

# GB 32100-2015 4.1: digits and letters without I, O, S, V and Z.
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_LENGTH, _LEI_LENGTH, _HKBR_LENGTH = 18, 20, 8


def check_org_id(field: str, name: str) -> None:
    """Refuse an institution's id whose check digits fail; raises FieldError."""
    if fails_check_digits(name):
        raise FieldError(
            f"{field}: the check digits of {name!r} fail",
            action="compare the number with the organisation's registration",
        )


def fails_check_digits(name: str) -> bool:
    """Whether an id uscc.…, lei.… or hkbr.… can't be one. Of other schemes nothing is known."""
    scheme, _, number = name.partition(".")
    passes = _PASSES.get(scheme)
    return passes is not None and not passes(number)


def _is_uscc(number: str) -> bool:
    """MOD 31 with weights 3^i, GB 32100-2015 annex B."""
    if len(number) != _USCC_LENGTH or not set(number) <= set(_USCC_ALPHABET):
        return False
    *rest, check = (_USCC_ALPHABET.index(c) for c in number)
    return (sum(v * pow(3, i, 31) for i, v in enumerate(rest)) + check) % 31 == 0


def _is_lei(number: str) -> bool:
    """ISO/IEC 7064 MOD 97-10, with A as 10 to Z as 35."""
    if len(number) != _LEI_LENGTH or not (number.isascii() and number.isalnum()):
        return False
    return int("".join(str(int(c, 36)) for c in number)) % 97 == 1


def _is_hkbr(number: str) -> bool:
    """Eight digits; they have no check digit."""
    return len(number) == _HKBR_LENGTH and number.isascii() and number.isdigit()


_PASSES: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {"uscc": _is_uscc, "lei": _is_lei, "hkbr": _is_hkbr}
)
