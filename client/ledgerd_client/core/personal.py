"""
Numbers that identify a person, found in free text by their check digits.

A record holds counts, codes and digests; a person's number in it would itself be an export of
personal data (PIPL 4, 73). Text is folded to NFKC first, so that full-width digits do not pass, and
whatever stands between groups of digits to one separator.
This finds mistakes, not what somebody means to hide.
"""

from __future__ import annotations

import re
import unicodedata

from ledgerd_client.core.errors import PersonalDataError

_DIGIT = re.compile(r"[0-9]")
# Between the groups of a number people write spaces, dots, strokes and dashes. Folded, a gap of
# spaces, and the end of a sentence, is one space, and any other gap a hyphen.
_GAP = re.compile(
    r"[\s\u00ad\u200b-\u200f\u2060\ufeff._/\u00b7\u2010-\u2015\u2022\u2219\u2212\u3002\u30fb-]+"
)
_SPACES = re.compile(r"[.\u3002]?\s+")
_HONG_KONG = re.compile(r"(?<![0-9A-Z])([A-Z]{1,2}) ?([0-9]{6}) ?\(?([0-9A])\)?(?![0-9A-Z])")
# In other groups: by itself only, for A-123456-3 in GBA-A-123456-3 is a piece of a longer name; and
# not where a number by year and month would stand, A-202601-5.
_HONG_KONG_GROUPED = re.compile(
    r"(?<![0-9A-Z])(?<![0-9A-Z]-)([A-Z](?:[ -]|[A-Z])?)(?!20[0-9]{2}(?:0[1-9]|1[0-2]))"
    r"([0-9]{3}[ -]?[0-9]{3})[ -]?\(?([0-9A])\)?(?!-?[0-9A-Z])"
)
# The others are look-aheads: what stands before a number, say another one, does not hide it.
# A Mainland number may be in groups, 110101 19900101 123X, and follow letters, ID1101….
_MAINLAND = re.compile(r"(?<![0-9])(?=((?:[0-9][ -]?){17}[0-9X])(?![0-9A-Z]))")
# Cards in the groups in which they are printed: the check digit alone fits one number in ten. What
# follows two letters and two digits is the rest of an IBAN, DE89 3704 0044 ….
_CARDS = [
    re.compile(
        rf"(?<![0-9A-Z])(?<![A-Z]{{2}}[0-9]{{2}}[ -])(?=[3-6]|2[2-7])(?=({form})(?![0-9A-Z]))"
    )
    for form in (
        "[0-9]{13,19}",
        "[0-9]{4}(?:[ -][0-9]{4}){3}",
        "[0-9]{4}(?:[ -][0-9]{4}){3}[ -][0-9]{1,3}",
        "[0-9]{4}[ -][0-9]{6}[ -][0-9]{4,5}",
        "[0-9]{6}[ -][0-9]{10,13}",
    )
]

_MAINLAND_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_MAINLAND_CHECK = "10X98765432"


def check_free_text(field: str, text: str) -> None:
    """Refuse text that holds a valid identity or card number; raises PersonalDataError."""
    folded = unicodedata.normalize("NFKC", text).upper()
    # The cheapest necessary condition first: an HKID has six digits, the others thirteen.
    digits = len(_DIGIT.findall(folded))
    if digits < 6:
        return
    folded = _GAP.sub(_fold_gap, folded)
    found = (*_HONG_KONG.findall(folded), *_HONG_KONG_GROUPED.findall(folded))
    if any(_is_hkid(*map(_plain, parts)) for parts in found):
        raise PersonalDataError(f"{field} holds a Hong Kong identity card number")
    if digits < 13:
        return
    if any(map(_is_mainland, map(_plain, _MAINLAND.findall(folded)))):
        raise PersonalDataError(f"{field} holds a Mainland identity number")
    if any(_is_card(_plain(number)) for form in _CARDS for number in form.findall(folded)):
        raise PersonalDataError(f"{field} holds a card number")


def _fold_gap(gap: re.Match[str]) -> str:
    return " " if _SPACES.fullmatch(gap[0]) else "-"


def _plain(number: str) -> str:
    return number.replace(" ", "").replace("-", "")


def _is_mainland(number: str) -> bool:
    """GB 11643: a birth date, and ISO 7064 MOD 11-2 over seventeen digits."""
    century, month, day = number[6:8], int(number[10:12]), int(number[12:14])
    total = sum(int(d) * w for d, w in zip(number[:17], _MAINLAND_WEIGHTS, strict=True))
    dated = "18" <= century <= "20" and 1 <= month <= 12 and 1 <= day <= 31
    return dated and _MAINLAND_CHECK[total % 11] == number[17]


def _is_hkid(letters: str, digits: str, check: str) -> bool:
    """Weights 9 to 2 and 1 for the check; a missing first letter is 36, A is 10; sum 0 mod 11."""
    values = [36] * (2 - len(letters)) + [ord(c) - ord("A") + 10 for c in letters]
    values += [int(d) for d in digits]
    total = sum(v * w for v, w in zip(values, range(9, 1, -1), strict=True))
    return (total + int(check, 16)) % 11 == 0


def _is_card(number: str) -> bool:
    """ISO/IEC 7812-1 annex B (Luhn)."""
    digits = [int(c) for c in number[::-1]]
    doubled = (sum(divmod(2 * d, 10)) for d in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
