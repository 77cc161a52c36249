"""Keys under a passphrase: the file alone is of no use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import new_key
from cli.tool import Tool
from nodes import found_one, serve

from ledgerd.rotating import request_rotation
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import InputError, MalformedError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.keyfile import KeyFile, public_key, read_key_file, write_key_file, write_new
from ledgerd_client.sealing import Cost, SealedKey

# The least that the library takes: what a guess costs is not what is tested here.
CHEAP = Cost(1, 8192)
PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def key() -> SigningKey:
    return new_key()


def sealed_file(path: Path, key: SigningKey, passphrase: bytes = PASSPHRASE) -> Path:
    write_new(path, SealedKey.seal(key, passphrase, CHEAP).format(), mode=0o600)
    return path


def secret(path: Path, content: bytes) -> Path:
    write_new(path, content, mode=0o600)
    return path


class TestASealedKey:
    def test_is_opened_by_its_passphrase(self, key: SigningKey) -> None:
        assert SealedKey.seal(key, PASSPHRASE, CHEAP).open(PASSPHRASE).seed == key.seed

    @pytest.mark.parametrize("passphrase", [b"", b"another", PASSPHRASE + b" ", PASSPHRASE[:-1]])
    def test_is_opened_by_no_other(self, key: SigningKey, passphrase: bytes) -> None:
        with pytest.raises(InputError) as refused:
            SealedKey.seal(key, PASSPHRASE, CHEAP).open(passphrase)
        assert refused.value.reason == "WRONG_PASSPHRASE"

    def test_is_another_each_time(self, key: SigningKey) -> None:
        one, other = (SealedKey.seal(key, PASSPHRASE, CHEAP).format() for _ in range(2))
        assert one != other

    def test_holds_no_secret_in_clear(self, key: SigningKey) -> None:
        data = SealedKey.seal(key, PASSPHRASE, CHEAP).format()
        assert encode_base64(key.seed).encode() not in data

    def test_names_its_public_half(self, key: SigningKey) -> None:
        assert public_key(SealedKey.seal(key, PASSPHRASE, CHEAP).format()) == key.public

    def test_that_names_another_public_half_is_refused(self, key: SigningKey) -> None:
        made = SealedKey.seal(key, PASSPHRASE, CHEAP)
        with pytest.raises(MalformedError):
            SealedKey(new_key().public, made.cost, made.salt, made.box).open(PASSPHRASE)

    def test_costs_what_is_asked_of_it_by_default(self, key: SigningKey) -> None:
        assert SealedKey.seal(key, PASSPHRASE).cost == Cost(3, 256 << 20)


SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut short": lambda data: data[:-1],
    "with more after it": lambda data: data + b"\n",
    "of another version": lambda data: data.replace(b"/v1", b"/v2"),
    "with another function": lambda data: data.replace(b"argon2id", b"argon2i"),
    "with a word more": lambda data: data.replace(b"ed25519 ", b"ed25519 x "),
    "without a cost": lambda data: data.replace(b" 1 8192 ", b" 0 8192 "),
    "with a cost spelled otherwise": lambda data: data.replace(b" 1 8192 ", b" 01 8192 "),
    "that takes too long": lambda data: data.replace(b" 1 8192 ", b" 11 8192 "),
    "that takes too much": lambda data: data.replace(b" 1 8192 ", b" 1 1073741825 "),
    "that takes too little": lambda data: data.replace(b" 1 8192 ", b" 1 8191 "),
    "not text": lambda data: data.replace(b"ed", b"\xff\xff"),
}


class TestAFile:
    def test_is_written_as_it_is_read(self, key: SigningKey) -> None:
        data = SealedKey.seal(key, PASSPHRASE, CHEAP).format()
        assert SealedKey.parse(data).format() == data

    @pytest.mark.parametrize("spoil", SPOILS)
    def test_that_is_not_as_it_should_be_is_refused(self, key: SigningKey, spoil: str) -> None:
        data = SealedKey.seal(key, PASSPHRASE, CHEAP).format()
        with pytest.raises(MalformedError):
            SealedKey.parse(SPOILS[spoil](data))

    def test_is_opened_by_the_passphrase_in_another(self, tmp_path: Path, key: SigningKey) -> None:
        file = sealed_file(tmp_path / "a.key", key)
        passphrase = secret(tmp_path / "passphrase", PASSPHRASE + b"\n")
        assert read_key_file(file, passphrase).key.seed == key.seed

    def test_is_opened_by_the_one_in_the_environment(
        self, tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = sealed_file(tmp_path / "a.key", key)
        passphrase = secret(tmp_path / "passphrase", PASSPHRASE)
        monkeypatch.setenv("LEDGER_PASSPHRASE_FILE", str(passphrase))
        assert read_key_file(file).key.seed == key.seed

    def test_without_a_passphrase_is_refused(self, tmp_path: Path, key: SigningKey) -> None:
        with pytest.raises(InputError) as refused:
            read_key_file(sealed_file(tmp_path / "a.key", key))
        assert refused.value.reason == "KEY_SEALED"

    def test_of_a_passphrase_that_others_may_read_is_refused(
        self, tmp_path: Path, key: SigningKey
    ) -> None:
        passphrase = secret(tmp_path / "passphrase", PASSPHRASE)
        passphrase.chmod(0o640)
        with pytest.raises(InputError) as refused:
            read_key_file(sealed_file(tmp_path / "a.key", key), passphrase)
        assert refused.value.reason == "KEY_EXPOSED"

    def test_of_a_credential_of_the_service_is_read(
        self, tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To which the service manager has given us access, so that the group seems to have it."""
        passphrase = secret(tmp_path / "passphrase", PASSPHRASE)
        passphrase.chmod(0o440)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        assert read_key_file(sealed_file(tmp_path / "a.key", key), passphrase).key.seed == key.seed

    def test_of_no_passphrase_is_refused(self, tmp_path: Path, key: SigningKey) -> None:
        passphrase = secret(tmp_path / "passphrase", b"\n")
        with pytest.raises(InputError):
            read_key_file(sealed_file(tmp_path / "a.key", key), passphrase)


class TestTheTool:
    def test_seals_and_unseals(self, tool: Tool, key: SigningKey) -> None:
        write_key_file(tool.path("plain.key"), KeyFile(key))
        secret(tool.path("passphrase"), PASSPHRASE)
        for command, file, out in (
            ("seal", "plain.key", "sealed.key"), ("unseal", "sealed.key", "again.key"),
        ):  # fmt: skip
            tool.ok("key", command, file, "--out", out, "--passphrase-file", "passphrase")
        assert read_key_file(tool.path("again.key")).key.seed == key.seed

    def test_seals_no_key_of_a_trial(self, tool: Tool, key: SigningKey) -> None:
        write_key_file(tool.path("plain.key"), KeyFile(key, throwaway=True))
        secret(tool.path("passphrase"), PASSPHRASE)
        arguments = ("--out", "sealed.key", "--passphrase-file", "passphrase")
        assert tool("key", "seal", "plain.key", *arguments).code == 2


class TestAKeyThatReplacesASealedOne:
    async def test_is_sealed_as_well(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        side, _ = found_one(tmp_path)
        path = side.config.keys.log
        opened = read_key_file(path).key
        path.unlink()
        sealed_file(path, opened)
        passphrase = secret(side.directory / "passphrase", PASSPHRASE)
        monkeypatch.setenv("LEDGER_PASSPHRASE_FILE", str(passphrase))
        request_rotation(
            side.config, "log", side.directory / "request.json", lost=False, random=os.urandom
        )
        following = path.with_name(path.name + ".next")
        assert SealedKey.parse(following.read_bytes()).open(PASSPHRASE).public != opened.public


class TestANode:
    async def test_serves_with_sealed_keys(self, tmp_path: Path) -> None:
        side, peer = found_one(tmp_path)
        for path in (side.config.keys.log, side.config.keys.entry, side.config.keys.cosigner):
            opened = read_key_file(path).key
            path.unlink()
            sealed_file(path, opened)
        secret(side.directory / "passphrase", PASSPHRASE)
        text = side.toml.read_text().replace("[keys]", '[keys]\npassphrase = "passphrase"')
        side.toml.write_text(text)
        async with serve(side, peer) as node:
            client = await node.institution()
            assert await client.place(client.transfer()) > 0
