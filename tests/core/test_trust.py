"""Trust files: what is pinned, its one spelling, and the fingerprint that is read aloud."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from builders import HONG_KONG, MAINLAND, new_key
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.errors import LedgerError, MalformedError, TrustError
from ledgerd_client.core.note import ED25519, Verifier
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

ORIGIN_LINE, AUTHORITY_LINE, CA_LINE = OURS[:-1].split("\n")
NAME, KEY = f"{MAINLAND}/authority", KEYS[MAINLAND]


def of_lines(*lines: str) -> str:
    return HEAD + "".join(line + "\n" for line in lines)


def with_authority(verifier_key: str) -> str:
    return of_lines(ORIGIN_LINE, f"authority {verifier_key}", CA_LINE)


SPOILED = {
    "nothing": "",
    "the first line alone": HEAD,
    "the first line cut": HEAD[:-1],
    "another version": FILE.replace("v1", "v2", 1),
    "no first line": FILE.removeprefix(HEAD),
    "an empty line at the start": "\n" + FILE,
    "an empty line after the first": FILE.replace(HEAD, HEAD + "\n"),
    "an empty line at the end": FILE + "\n",
    "no newline at the end": FILE[:-1],
    "carriage returns": FILE.replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + FILE,
    "a comment": FILE.replace(HEAD, HEAD + "# ours\n"),
    "an unknown line": FILE + "peer hongkong\n",
    "two spaces": FILE.replace("origin ", "origin  "),
    "a tab": FILE.replace("origin ", "origin\t"),
    "a space at an end": FILE.replace("\nauthority", " \nauthority"),
    "upper case": FILE.replace("origin ", "Origin "),
    "origins not ascending": HEAD + OURS + THEIRS,
    "an origin twice": HEAD + OURS + OURS,
    "no origin line": of_lines(AUTHORITY_LINE, CA_LINE),
    **{
        f"an origin {what}": of_lines(
            f"origin {origin}", f"authority {vkey(origin + '/authority', KEY)}", CA_LINE
        )
        for what, origin in {
            "that is empty": "",
            "with a space": "gba x",
            "of 201 bytes": "a" * 201,
            "beyond ASCII": "gb\u0430.example",
        }.items()
    },
    "no authority": of_lines(ORIGIN_LINE, CA_LINE),
    "two authorities": of_lines(ORIGIN_LINE, AUTHORITY_LINE, AUTHORITY_LINE, CA_LINE),
    "authority before origin": of_lines(AUTHORITY_LINE, ORIGIN_LINE, CA_LINE),
    "no certificate": of_lines(ORIGIN_LINE, AUTHORITY_LINE),
    "a ca line without a value": of_lines(ORIGIN_LINE, AUTHORITY_LINE, "ca"),
    "an empty certificate": of_lines(ORIGIN_LINE, AUTHORITY_LINE, "ca "),
    "an empty certificate beside another": of_lines(ORIGIN_LINE, AUTHORITY_LINE, "ca Zg==", "ca "),
    "a certificate before the authority": of_lines(ORIGIN_LINE, CA_LINE, AUTHORITY_LINE),
    "a certificate that is not base64": of_lines(ORIGIN_LINE, AUTHORITY_LINE, "ca *"),
    "a certificate with stray bits": of_lines(ORIGIN_LINE, AUTHORITY_LINE, "ca Zh=="),
    "an authority under the log's name": with_authority(vkey(MAINLAND, KEY)),
    "the other side's authority": with_authority(vkey(f"{HONG_KONG}/authority", KEY)),
    "a cosigner key": with_authority(vkey(NAME, KEY, 4)),
    "a key of low order": with_authority(vkey(NAME, bytes(32))),
    "a key id that is not the key's": with_authority(
        vkey(NAME, KEY).replace(vkey(NAME, KEY).split("+")[1], "00000000")
    ),
}


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
            Trust.parse(SPOILED[what].encode())

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
        for at in range(len(FILE)):
            changed = bytearray(FILE.encode())
            changed[at] ^= 1 << at % 8
            try:
                trust = Trust.parse(bytes(changed))
            except LedgerError:
                continue
            if trust.fingerprint == fingerprint:
                survived.append(at)
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
