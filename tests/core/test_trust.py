"""Trust files: what is pinned, its one spelling, and the fingerprint that is read aloud."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

import pytest
from builders import HONG_KONG, MAINLAND, new_key
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.errors import LedgerError, MalformedError, TrustError
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Verifier
from ledgerd_client.core.trust import OriginTrust, Trust

KEYS = {origin: new_key().public for origin in (MAINLAND, HONG_KONG)}
CERTIFICATE = bytes(range(200))


def vkey(name: str, public: bytes, algorithm: int = 1) -> str:
    """By hand, from C2SP signed-note."""
    typed = bytes([algorithm]) + public
    key_id = sha256(name.encode() + b"\n" + typed).hexdigest()[:8]
    return f"{name}+{key_id}+{b64encode(typed).decode()}"


def block(origin: str, *certificates: bytes) -> str:
    authority = vkey(f"{origin}/authority", KEYS[origin])
    lines = [f"ca {b64encode(der).decode()}\n" for der in certificates]
    return f"origin {origin}\nauthority {authority}\n" + "".join(lines)


HEAD = "ledgerd-trust/v1\n"
OURS, THEIRS = block(MAINLAND, CERTIFICATE), block(HONG_KONG, CERTIFICATE, b"another")
FILE = HEAD + THEIRS + OURS

SPOILED: dict[str, Callable[[str], str]] = {
    "nothing": lambda _: "",
    "the first line alone": lambda _: HEAD,
    "the first line cut": lambda _: HEAD[:-1],
    "another version": lambda file: file.replace("v1", "v2", 1),
    "no first line": lambda file: file.removeprefix(HEAD),
    "an empty line at the start": lambda file: "\n" + file,
    "an empty line after the first": lambda file: file.replace(HEAD, HEAD + "\n"),
    "an empty line at the end": lambda file: file + "\n",
    "no newline at the end": lambda file: file[:-1],
    "carriage returns": lambda file: file.replace("\n", "\r\n"),
    "a byte order mark": lambda file: "\ufeff" + file,
    "a comment": lambda file: file.replace(HEAD, HEAD + "# ours\n"),
    "an unknown line": lambda file: file + "peer hongkong\n",
    "two spaces": lambda file: file.replace("origin ", "origin  "),
    "a tab": lambda file: file.replace("origin ", "origin\t"),
    "a space at an end": lambda file: file.replace("\nauthority", " \nauthority"),
    "upper case": lambda file: file.replace("origin ", "Origin "),
    "origins not ascending": lambda _: HEAD + OURS + THEIRS,
    "an origin twice": lambda _: HEAD + OURS + OURS,
    "no origin line": lambda file: file.replace(f"origin {HONG_KONG}\n", ""),
    "an empty origin": lambda file: file.replace(f"origin {HONG_KONG}", "origin "),
    "an origin with a space": lambda file: file.replace(f"origin {MAINLAND}", "origin gba x"),
    "no authority": lambda _: HEAD + "\n".join(OURS.split("\n")[::2]),
    "two authorities": lambda _: HEAD + OURS.replace("authority", OURS.split("\n")[1] + "\nauthority", 1),
    "authority before origin": lambda _: HEAD + "\n".join([*OURS.split("\n")[1::-1], OURS.split("\n")[2], ""]),
    "no certificate": lambda _: HEAD + block(MAINLAND),
    "an empty certificate": lambda _: HEAD + block(MAINLAND, b""),
    "a ca line without a value": lambda _: HEAD + block(MAINLAND) + "ca\n",
    "a certificate before the authority": lambda _: HEAD + "\n".join([OURS.split("\n")[i] for i in (0, 2, 1)]) + "\n",
    "a certificate that is not base64": lambda file: file.replace("ca ", "ca *"),
    "a certificate with stray bits": lambda _: HEAD + block(MAINLAND, b"f").replace("Zg==", "Zh=="),
    "an authority under another name": lambda _: HEAD + OURS.replace(
        vkey(f"{MAINLAND}/authority", KEYS[MAINLAND]), vkey(MAINLAND, KEYS[MAINLAND])
    ),
    "the other side's authority": lambda _: HEAD + OURS.replace(
        vkey(f"{MAINLAND}/authority", KEYS[MAINLAND]), vkey(f"{HONG_KONG}/authority", KEYS[HONG_KONG])
    ),
    "a cosigner key": lambda _: HEAD + OURS.replace(
        vkey(f"{MAINLAND}/authority", KEYS[MAINLAND]), vkey(f"{MAINLAND}/authority", KEYS[MAINLAND], 4)
    ),
    "an authority's key of low order": lambda _: HEAD + OURS.replace(
        vkey(f"{MAINLAND}/authority", KEYS[MAINLAND]), vkey(f"{MAINLAND}/authority", bytes(32))
    ),
    "a key id that is not the key's": lambda _: HEAD + OURS.replace(
        vkey(f"{MAINLAND}/authority", KEYS[MAINLAND]),
        f"{MAINLAND}/authority+00000000+" + b64encode(b"\x01" + KEYS[MAINLAND]).decode(),
    ),
}  # fmt: skip


class TestAFile:
    def test_is_read(self) -> None:
        trust = Trust.parse(FILE.encode())
        assert [(one.origin, one.certificates) for one in trust.origins] == [
            (HONG_KONG, (CERTIFICATE, b"another")),
            (MAINLAND, (CERTIFICATE,)),
        ]

    def test_pins_the_key_of_each_authority(self) -> None:
        trust = Trust.parse(FILE.encode())
        assert {origin: trust.authority(origin) for origin in KEYS} == KEYS

    def test_pins_nothing_for_another_origin(self) -> None:
        with pytest.raises(TrustError):
            Trust.parse(FILE.encode()).authority("gba.example/macao")

    def test_is_written_as_it_was_read(self) -> None:
        assert Trust.parse(FILE.encode()).format() == FILE.encode()

    def test_is_written_in_the_order_of_origins(self) -> None:
        read = Trust.parse(FILE.encode())
        assert Trust.of(reversed(read.origins)).format() == FILE.encode()

    def test_may_be_of_one_origin(self) -> None:
        assert Trust.parse((HEAD + OURS).encode()).origins[0].origin == MAINLAND

    @pytest.mark.parametrize("what", SPOILED)
    def test_in_another_spelling_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError):
            Trust.parse(SPOILED[what](FILE).encode())

    @pytest.mark.parametrize("data", [b"\xff", FILE.encode()[:-1] + b"\xff\n"])
    def test_that_is_not_text_is_refused(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            Trust.parse(data)

    @given(st.binary(max_size=100))
    def test_no_bytes_raise_anything_but_our_errors(self, data: bytes) -> None:
        with pytest.raises(LedgerError):
            Trust.parse(data)

    @given(st.lists(st.sampled_from(FILE.split("\n")), max_size=8))
    def test_what_is_read_of_its_lines_is_written_the_same(self, lines: list[str]) -> None:
        data = "".join(line + "\n" for line in lines).encode()
        try:
            trust = Trust.parse(data)
        except LedgerError:
            return
        assert trust.format() == data

    @given(
        st.dictionaries(
            st.from_regex(r"[!-*,-~]{1,40}", fullmatch=True),
            st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=3),
            min_size=1,
            max_size=4,
        )
    )
    def test_what_is_written_is_read(self, certificates: dict[str, list[bytes]]) -> None:
        trust = Trust.of(
            OriginTrust(
                origin, Verifier(f"{origin}/authority", ED25519, KEYS[MAINLAND]), tuple(ders)
            )
            for origin, ders in certificates.items()
        )
        assert Trust.parse(trust.format()) == trust


class TestFingerprint:
    def test_is_16_bytes_of_the_files_digest_in_8_groups(self) -> None:
        digits = sha256(FILE.encode()).hexdigest()
        by_hand = " ".join(digits[at : at + 4] for at in (0, 4, 8, 12, 16, 20, 24, 28))
        assert Trust.parse(FILE.encode()).fingerprint == by_hand

    def test_does_not_survive_a_changed_bit_of_the_file(self) -> None:
        # Most are refused by the reader already; the rest are what the telephone call is for.
        fingerprint = Trust.parse(FILE.encode()).fingerprint
        survived = []
        for bit in range(len(FILE) * 8):
            changed = bytearray(FILE.encode())
            changed[bit // 8] ^= 1 << bit % 8
            try:
                trust = Trust.parse(bytes(changed))
            except LedgerError:
                continue
            if trust.fingerprint == fingerprint:
                survived.append(bit)
        assert survived == []

    def test_no_changed_bit_of_an_authoritys_key_is_even_read(self) -> None:
        key = b64encode(b"\x01" + KEYS[MAINLAND])
        start = FILE.encode().index(key)
        read = []
        for bit in range(start * 8, (start + len(key)) * 8):
            changed = bytearray(FILE.encode())
            changed[bit // 8] ^= 1 << bit % 8
            try:
                Trust.parse(bytes(changed))
            except LedgerError:
                continue
            read.append(bit)
        assert read == []


class TestWhatIsPinned:
    def test_a_cosigner_key_is_no_authority(self) -> None:
        key = Verifier(f"{MAINLAND}/authority", COSIGNATURE_V1, KEYS[MAINLAND])
        trust = Trust.of([OriginTrust(MAINLAND, key, (os.urandom(9),))])
        with pytest.raises(MalformedError):
            Trust.parse(trust.format())
