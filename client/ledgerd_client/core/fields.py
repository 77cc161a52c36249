"""What a single field of a body may be: sizes, times, counts, names and texts."""

from __future__ import annotations

import re
from functools import lru_cache

from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.header import MAX_INSTITUTION_BYTES
from ledgerd_client.core.personal import check_free_text

SALT_SIZE = 16
RECORD_ID_SIZE = 16
DIGEST_SIZE = 32
# 2100-01-01T00:00:00Z; a time beyond it is a unit mistaken, not a time.
MAX_TIME = 4_102_444_800_000_000
MAX_COUNT = 10_000_000_000

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# What takes no room or turns the reading direction: one text would be shown as another, or two
# different ids as one. Variation selectors are none of them: names in Chinese have them.
_UNSEEN = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)

# What an id that people compare is written with: ASCII, Latin letters, Chinese characters and their
# punctuation, whatever the version of Unicode; single spaces between. All of it is seen.
_ID_CHARACTERS = (
    "!-~\u00aa\u00b7\u00ba\u00c0-\u024f\u2010-\u2015\u2018-\u201d\u2116\u3001-\u3011\u3014-\u301b"
    "\u3400-\u4dbf\u4e00-\u9fff\uff01-\uff5e"
)
_ID = re.compile(f"(?:[{_ID_CHARACTERS}]+(?: [{_ID_CHARACTERS}]+)*)?")


@lru_cache(maxsize=4096)
def check_institution(field: str, name: str) -> None:
    """Refuse what is no institution's id: a scheme, a dot, then capital letters and digits."""
    scheme, dot, number = name.partition(".")
    well_formed = dot and scheme.isascii() and scheme.islower() and scheme.isalpha()
    alphabet = number.isascii() and number.isalnum() and number == number.upper()
    if not (well_formed and alphabet and len(name) <= MAX_INSTITUTION_BYTES):
        raise FieldError(
            f"{field}: {name!r} is no institution's id",
            action="write it as uscc.…, hkbr.… or lei.… followed by capitals and digits",
        )


def check_record_id(field: str, value: bytes) -> None:
    """Refuse what is not a UUIDv7 (RFC 9562 section 5.7)."""
    check_size(field, value, RECORD_ID_SIZE)
    if value[6] >> 4 != 7 or value[8] >> 6 != 2:
        raise FieldError(f"{field} is not a UUIDv7")


def check_size(field: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise FieldError(f"{field} is {size} bytes, not {len(value)}")


def check_time(field: str, value: int) -> None:
    if not 0 < value < MAX_TIME:
        raise FieldError(f"{field}: {value} is no time in µs since 1970, UTC")


@lru_cache(maxsize=4096)
def check_text(field: str, text: str, limit: int) -> None:
    """
    Refuse text over limit bytes of UTF-8, with characters that are not seen, or with a person's
    number in it; raises FieldError or PersonalDataError.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise FieldError(f"{field} holds half a character (a surrogate)") from None
    if size > limit or _CONTROL.search(text):
        raise FieldError(f"{field} is at most {limit} bytes of plain text")
    if unseen := _UNSEEN.search(text):
        raise FieldError(
            f"{field} holds U+{ord(unseen[0]):04X}, which is not seen or turns the text around it",
            action="type the text anew instead of pasting it",
        )
    check_free_text(field, text)


# Contract numbers and versions come again and again.
@lru_cache(maxsize=4096)
def check_id(field: str, text: str, limit: int) -> None:
    """
    As check_text(), of an id that others have to write alike: letters, digits, punctuation, and
    single spaces between them.
    """
    check_text(field, text, limit)
    if not _ID.fullmatch(text):
        strange = [char for char in text if not re.fullmatch(f"[ {_ID_CHARACTERS}]", char)]
        what = f"U+{ord(strange[0]):04X}" if strange else "a space too many"
        raise FieldError(
            f"{field} holds {what}",
            action="write it with letters, digits, punctuation and single spaces",
        )


def check_count(field: str, value: int) -> None:
    if value > MAX_COUNT:
        raise FieldError(f"{field}: {value} is more people than there are")
