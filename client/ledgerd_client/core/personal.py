"""
Numbers that identify a person, found in free text by their check digits.

A record holds counts, codes and digests; a person's number in it would itself be an export of
personal data (PIPL 4, 73). Text is folded to NFKC first, so that full-width digits do not pass.
"""

from __future__ import annotations

import re
import unicodedata

from ledgerd_client.core.errors import PersonalDataError

# A number may be written in groups: 6222 0200 …, 440301-19900101-….
_GAP = r"[ \-]?"
_DIGIT = re.compile(r"\d")
_MAINLAND = re.compile(rf"(?<![0-9A-Za-z])(?:[0-9]{_GAP}){{17}}[0-9Xx](?![0-9A-Za-z])")
_HONG_KONG = re.compile(
    r"(?<![0-9A-Za-z])([A-Za-z]{1,2})[ ]?([0-9]{6})[ ]?\(?([0-9Aa])\)?(?![0-9A-Za-z])"
)
_CARD = re.compile(rf"(?<![0-9A-Za-z])[3-6](?:{_GAP}[0-9]){{12,18}}(?![0-9A-Za-z])")

_MAINLAND_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_MAINLAND_CHECK = "10X98765432"


def check_free_text(field: str, text: str) -> None:
    """Refuse text that holds a valid identity or card number; raises PersonalDataError."""
    # The cheapest necessary condition first: each of these numbers has six digits or more.
    if len(_DIGIT.findall(text)) < 6:
        return
    folded = unicodedata.normalize("NFKC", text)
    for what, found in (
        ("a Mainland identity number", any(map(_is_mainland, _MAINLAND.findall(folded)))),
        ("a Hong Kong identity card number", any(_is_hkid(*m) for m in _HONG_KONG.findall(folded))),
        ("a card number", any(map(_is_card, _CARD.findall(folded)))),
    ):
        if found:
            raise PersonalDataError(f"{field} holds {what}")


def _is_mainland(text: str) -> bool:
    """GB 11643: a birth date, and ISO 7064 MOD 11-2 over seventeen digits."""
    number = re.sub(_GAP[:-1], "", text).upper()
    month, day = int(number[10:12]), int(number[12:14])
    total = sum(int(d) * w for d, w in zip(number[:17], _MAINLAND_WEIGHTS, strict=True))
    return 1 <= month <= 12 and 1 <= day <= 31 and _MAINLAND_CHECK[total % 11] == number[17]


def _is_hkid(letters: str, digits: str, check: str) -> bool:
    """Weights 9 to 2 and 1 for the check; a missing first letter is 36, A is 10; sum 0 mod 11."""
    values = [36] * (2 - len(letters)) + [ord(c) - ord("A") + 10 for c in letters.upper()]
    values += [int(d) for d in digits]
    total = sum(v * w for v, w in zip(values, range(9, 1, -1), strict=True))
    return (total + int(check, 16)) % 11 == 0


def _is_card(text: str) -> bool:
    """ISO/IEC 7812-1 annex B (Luhn)."""
    digits = [int(c) for c in text if c.isdigit()][::-1]
    doubled = (sum(divmod(2 * d, 10)) for d in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
