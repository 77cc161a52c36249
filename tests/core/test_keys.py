"""Ed25519 keys: published answers, names of keys, and keys and signatures that are refused."""

from __future__ import annotations

import os
from hashlib import sha512

import pytest
from builders import new_key
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from ledgerd_client.core.errors import LedgerError, MalformedError, SignatureError
from ledgerd_client.core.keys import SigningKey, check_public_key, key_id, verify

# RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]

# The 8 points whose order divides 8, in every encoding that decodes to one of them. Source:
# libsodium's ge25519_has_small_order; computed anew below from the curve of RFC 8032 section 5.1.
LOW_ORDER = {
    "order 1": "0100000000000000000000000000000000000000000000000000000000000000",
    "order 2": "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "order 4": "0000000000000000000000000000000000000000000000000000000000000000",
    "order 4, negated": "0000000000000000000000000000000000000000000000000000000000000080",
    "order 8": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "order 8, negated": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "order 8, other": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "order 8, other negated": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
}
LOW_ORDER_NOT_CANONICAL = {
    "order 1, sign of zero": "0100000000000000000000000000000000000000000000000000000000000080",
    "order 1, y = p + 1": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "order 1, both": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "order 2, sign of zero": "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "order 4, y = p": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "order 4, y = p, negated": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}
TORSION_OF_ORDER_8 = bytes.fromhex(LOW_ORDER["order 8"])

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def y_of(encoded: bytes) -> int:
    return int.from_bytes(encoded, "little") % 2**255


def is_torsion(y: int) -> bool:
    """Whether 8·(x, y) is the identity, by the doubling of RFC 8032 in y alone."""
    for _ in range(3):
        xx = (y * y - 1) * pow(D * y * y + 1, -1, P)
        # y of the double: (y² + x²) / (1 - d·x²·y²), on -x² + y² = 1 + d·x²·y².
        y = (y * y + xx) * pow(1 - D * xx * y * y, -1, P) % P
    return y == 1


def secret_scalar(seed: bytes) -> int:
    """RFC 8032 section 5.1.5, steps 1 to 3."""
    number = int.from_bytes(sha512(seed).digest()[:32], "little")
    return number & (1 << 254) - 8 | 1 << 254


def challenge(r: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(r + public + message).digest(), "little") % ORDER


class TestPublishedAnswers:
    @pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
    def test_the_public_key_is_derived(
        self, seed: str, public: str, message: str, signature: str
    ) -> None:
        assert SigningKey(bytes.fromhex(seed)).public.hex() == public

    @pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
    def test_the_message_is_signed(
        self, seed: str, public: str, message: str, signature: str
    ) -> None:
        assert SigningKey(bytes.fromhex(seed)).sign(bytes.fromhex(message)).hex() == signature

    @pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
    def test_the_signature_verifies(
        self, seed: str, public: str, message: str, signature: str
    ) -> None:
        verify(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


class TestSigningKey:
    @pytest.mark.parametrize("size", [0, 31, 33, 64])
    def test_a_seed_of_another_size_is_refused(self, size: int) -> None:
        with pytest.raises(MalformedError):
            SigningKey(bytes(size))

    def test_it_gives_its_seed_back(self) -> None:
        seed = os.urandom(32)
        assert SigningKey(seed).seed == seed

    def test_it_prints_no_secret(self) -> None:
        key = new_key()
        assert key.seed.hex() not in repr(key)

    def test_it_prints_its_public_half(self) -> None:
        key = new_key()
        assert key.public.hex() in repr(key)


class TestKeyId:
    def test_is_the_algorithm_and_a_digest(self) -> None:
        # printf 'ledgerd/key/v1\n\001' with the key of RFC 8032 test 1 behind it | sha256sum
        public = bytes.fromhex(RFC_8032[0][1])
        digest = "7dfd914e33cc190b48b149c77f10887ef6216653899a231e474428bd3c18743e"
        assert key_id(public).hex() == "01" + digest

    def test_of_a_signing_key_is_that_of_its_public_half(self) -> None:
        key = new_key()
        assert key.key_id == key_id(key.public)


class TestSignatures:
    def test_over_another_message_is_refused(self) -> None:
        key = new_key()
        with pytest.raises(SignatureError):
            verify(key.public, b"said", key.sign(b"not said"))

    def test_by_another_key_is_refused(self) -> None:
        with pytest.raises(SignatureError):
            verify(new_key().public, b"said", new_key().sign(b"said"))

    @pytest.mark.parametrize("size", [0, 32, 63])
    def test_that_is_cut_is_refused(self, size: int) -> None:
        # What is missing of the signature stands before the message.
        key = new_key()
        signed = key.sign(b"said") + b"said"
        with pytest.raises(SignatureError):
            verify(key.public, signed[size:], signed[:size])

    @pytest.mark.parametrize("size", [65, 67, 68])
    def test_that_takes_from_the_message_is_refused(self, size: int) -> None:
        key = new_key()
        signed = key.sign(b"said") + b"said"
        with pytest.raises(SignatureError):
            verify(key.public, signed[size:], signed[:size])

    def test_by_a_key_with_a_byte_left_over_is_refused(self) -> None:
        key = new_key()
        with pytest.raises(SignatureError):
            verify(key.public + b"\0", b"said", key.sign(b"said"))

    def test_by_a_key_that_is_cut_is_refused(self) -> None:
        key = next(key for key in iter(new_key, None) if key.public[-1] == 0)
        with pytest.raises(SignatureError):
            verify(key.public[:-1], b"said", key.sign(b"said"))

    def test_does_not_survive_a_changed_bit(self) -> None:
        key = new_key()
        signature = key.sign(b"said")
        survivors = []
        for bit in range(len(signature) * 8):
            changed = bytearray(signature)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                verify(key.public, b"said", bytes(changed))
            except SignatureError:
                continue
            survivors.append(bit)
        assert survivors == []

    def test_with_s_plus_the_group_order_is_refused(self) -> None:
        # RFC 8032 section 5.1.7: S is below the order, or a second signature could be made.
        key = new_key()
        signature = key.sign(b"said")
        s = int.from_bytes(signature[32:], "little") + ORDER
        with pytest.raises(SignatureError):
            verify(key.public, b"said", signature[:32] + s.to_bytes(32, "little"))

    def test_whose_r_is_the_identity_is_refused(self) -> None:
        # It satisfies the equation S·B = R + k·A; docs/format.md section 1 refuses it.
        seed, r = os.urandom(32), bytes.fromhex(LOW_ORDER["order 1"])
        public = SigningKey(seed).public
        s = challenge(r, public, b"said") * secret_scalar(seed) % ORDER
        with pytest.raises(SignatureError):
            verify(public, b"said", r + s.to_bytes(32, "little"))

    @pytest.mark.parametrize("key", [*LOW_ORDER.values(), *LOW_ORDER_NOT_CANONICAL.values()])
    def test_by_a_key_of_low_order_is_refused(self, key: str) -> None:
        # R = S·B for S = 1 fits any message for which k·A is the identity: all, or one in 8.
        one = (1).to_bytes(32, "little")
        r = bindings.crypto_scalarmult_ed25519_base_noclamp(one)
        public = bytes.fromhex(key)
        fits = next(n for n in range(1000) if challenge(r, public, bytes([n])) % 8 == 0)
        with pytest.raises(SignatureError):
            verify(public, bytes([fits]), r + one)

    @given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=130))
    def test_no_bytes_raise_anything_else(
        self, public: bytes, message: bytes, signature: bytes
    ) -> None:
        with pytest.raises(SignatureError):
            verify(public, message, signature)


class TestPublicKeys:
    def test_one_that_was_generated_is_taken(self) -> None:
        check_public_key(new_key().public)

    def test_the_list_holds_only_points_of_low_order(self) -> None:
        listed = [*LOW_ORDER.values(), *LOW_ORDER_NOT_CANONICAL.values()]
        assert all(is_torsion(y_of(bytes.fromhex(encoded)) % P) for encoded in listed)

    def test_the_list_holds_all_five_of_their_y(self) -> None:
        # Order 1, 2 and 4 (two points) have one y each, order 8 (four points) has two.
        assert len({y_of(bytes.fromhex(encoded)) for encoded in LOW_ORDER.values()}) == 5

    @pytest.mark.parametrize("what", LOW_ORDER)
    def test_one_of_low_order_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError) as refused:
            check_public_key(bytes.fromhex(LOW_ORDER[what]))
        assert refused.value.reason == "BAD_KEY"

    @pytest.mark.parametrize("what", LOW_ORDER_NOT_CANONICAL)
    def test_a_second_spelling_of_one_of_low_order_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError):
            check_public_key(bytes.fromhex(LOW_ORDER_NOT_CANONICAL[what]))

    @pytest.mark.parametrize("sign", [0, 1 << 255])
    @pytest.mark.parametrize("y", range(P, 2**255))
    def test_none_with_y_of_the_prime_or_above_is_taken(self, y: int, sign: int) -> None:
        with pytest.raises(MalformedError):
            check_public_key((y | sign).to_bytes(32, "little"))

    def test_one_with_a_part_of_low_order_is_refused(self) -> None:
        # One message in eight verifies under it, so it is a key that signs by chance.
        mixed = bindings.crypto_core_ed25519_add(new_key().public, TORSION_OF_ORDER_8)
        with pytest.raises(MalformedError):
            check_public_key(mixed)

    def test_one_that_is_no_point_is_refused(self) -> None:
        # RFC 8032 section 5.1.3: x² = (y² - 1) / (d·y² + 1) has no root for y = 2.
        assert pow((4 - 1) * pow(D * 4 + 1, -1, P), (P - 1) // 2, P) == P - 1
        with pytest.raises(MalformedError):
            check_public_key((2).to_bytes(32, "little"))

    @pytest.mark.parametrize("size", [0, 31, 33, 64])
    def test_one_of_another_size_is_refused(self, size: int) -> None:
        with pytest.raises(MalformedError):
            check_public_key(new_key().public[:1] * size)

    @given(st.binary(max_size=64))
    def test_no_bytes_raise_anything_else(self, public: bytes) -> None:
        try:
            check_public_key(public)
        except LedgerError:
            return
