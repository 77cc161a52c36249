from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from ledgerd_client import InputError, Settings

MINIMAL = """
endpoint = "node.example:7443"
origin = "mainland.example/ledger"
trust = "trust.txt"
tls_certificate = "tls.pem"
tls_key = "tls.key"
"""
INSTITUTION = (
    MINIMAL
    + """
institution = "uscc.BANK"
signing_key = "signing.key"
outbox = "state/outbox.sqlite"
"""
)


def load(directory: Path, text: str, **environ: str) -> Settings:
    path = directory / "client.toml"
    path.write_text(text)
    return Settings.from_file(path, environ)


class TestAFile:
    def test_its_paths_are_relative_to_it(self, tmp_path: Path) -> None:
        settings = load(tmp_path, INSTITUTION)
        assert (settings.trust, settings.outbox) == (
            tmp_path / "trust.txt", tmp_path / "state" / "outbox.sqlite",
        )  # fmt: skip

    def test_absolute_paths_stay_what_they_are(self, tmp_path: Path) -> None:
        text = MINIMAL.replace('"trust.txt"', '"/etc/ledgerd/trust.txt"')
        assert load(tmp_path, text).trust == Path("/etc/ledgerd/trust.txt")

    def test_a_byte_order_mark_before_it_is_no_matter(self, tmp_path: Path) -> None:
        assert load(tmp_path, "\ufeff" + MINIMAL) == load(tmp_path, MINIMAL)

    def test_a_tool_needs_no_institution(self, tmp_path: Path) -> None:
        assert load(tmp_path, MINIMAL).institution is None

    def test_no_proxy_is_used_and_a_call_takes_ten_seconds_at_most(self, tmp_path: Path) -> None:
        settings = load(tmp_path, MINIMAL)
        assert (settings.use_proxy, settings.timeout_s) == (False, 10.0)

    def test_keys_are_kept_beside_the_outbox(self, tmp_path: Path) -> None:
        assert load(tmp_path, INSTITUTION).keys_directory == tmp_path / "state" / "keys"

    def test_without_an_outbox_beside_the_trust_file(self, tmp_path: Path) -> None:
        assert load(tmp_path, MINIMAL).keys_directory == tmp_path / "keys"

    def test_or_where_it_says(self, tmp_path: Path) -> None:
        settings = load(tmp_path, INSTITUTION + 'keys = "histories"')
        assert settings.keys_directory == tmp_path / "histories"

    def test_whole_seconds_are_seconds(self, tmp_path: Path) -> None:
        assert load(tmp_path, MINIMAL + "timeout_s = 3").timeout_s == 3.0

    def test_it_does_not_change(self, tmp_path: Path) -> None:
        with pytest.raises(FrozenInstanceError):
            load(tmp_path, MINIMAL).origin = "other"  # type: ignore[misc]


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("text", "named"),
        [
            (MINIMAL + "tiemout_s = 3", "tiemout_s"),
            (MINIMAL + "[tls]\nkey = 1", "tls"),
            (MINIMAL.replace("origin", "orign"), "orign"),
            (MINIMAL.replace('trust = "trust.txt"', ""), "trust is missing"),
            (MINIMAL.replace('"trust.txt"', "7"), "trust is a path"),
            (MINIMAL.replace('"trust.txt"', '""'), "trust is a path"),
            (MINIMAL + "use_proxy = 1", "use_proxy is a bool"),
            (MINIMAL + 'use_proxy = "true"', "use_proxy is a bool"),
            (MINIMAL + 'timeout_s = "3"', "timeout_s is a float"),
            (MINIMAL + "timeout_s = true", "timeout_s is a float"),
            (MINIMAL + "timeout_s = 0", "timeout_s"),
            (MINIMAL + "timeout_s = nan", "timeout_s"),
            (MINIMAL + "timeout_s = inf", "timeout_s"),
            (MINIMAL.replace("node.example:7443", "node.example"), "host:port"),
            (MINIMAL.replace("node.example:7443", "https://node.example:7443"), "host:port"),
            (MINIMAL.replace("node.example:7443", "unix:"), "host:port"),
            (MINIMAL.replace("node.example:7443", "unix:/run/a\\nb"), "host:port"),
            (MINIMAL.replace("node.example:7443", f"unix:/{'a' * 100}"), "host:port"),
            (MINIMAL.replace("mainland.example/ledger", "two words"), "origin"),
            (MINIMAL + 'peer_origin = ""', "origin"),
            (MINIMAL + 'institution = "uscc.BANK"', "all three"),
            (INSTITUTION.replace("uscc.BANK", "BANK"), "institution"),
            ("endpoint = ", "TOML"),
        ],
    )
    def test_it_is_named(self, tmp_path: Path, text: str, named: str) -> None:
        with pytest.raises(InputError, match=named):
            load(tmp_path, text)

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nowhere"):
            Settings.from_file(tmp_path / "nowhere.toml", {})

    def test_a_file_in_another_encoding_is_no_toml(self, tmp_path: Path) -> None:
        (tmp_path / "client.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(InputError, match="TOML"):
            Settings.from_file(tmp_path / "client.toml", {})

    def test_a_file_that_is_nested_too_deeply(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nested too deeply"):
            load(tmp_path, "x = " + "[" * 5000)


class TestTheEnvironment:
    def test_it_overrides_a_value(self, tmp_path: Path) -> None:
        settings = load(tmp_path, MINIMAL, LEDGERD_ENDPOINT="[::1]:7443")
        assert settings.endpoint == "[::1]:7443"

    def test_a_mirrors_socket_is_an_endpoint(self, tmp_path: Path) -> None:
        settings = load(tmp_path, MINIMAL, LEDGERD_ENDPOINT="unix:/run/mirror.sock")
        assert settings.endpoint == "unix:/run/mirror.sock"

    def test_it_may_give_what_the_file_leaves_out(self, tmp_path: Path) -> None:
        text = MINIMAL.replace('endpoint = "node.example:7443"', "")
        assert load(tmp_path, text, LEDGERD_ENDPOINT="a:1").endpoint == "a:1"

    def test_its_paths_are_relative_to_the_file_too(self, tmp_path: Path) -> None:
        settings = load(tmp_path, MINIMAL, LEDGERD_TRUST="other.txt")
        assert settings.trust == tmp_path / "other.txt"

    @pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
    def test_a_choice_is_true_or_false(self, tmp_path: Path, text: str, value: bool) -> None:
        assert load(tmp_path, MINIMAL, LEDGERD_USE_PROXY=text).use_proxy is value

    def test_seconds_are_a_decimal(self, tmp_path: Path) -> None:
        assert load(tmp_path, MINIMAL, LEDGERD_TIMEOUT_S="2.5").timeout_s == 2.5

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("USE_PROXY", "yes"), ("USE_PROXY", "True"), ("USE_PROXY", ""),
            ("TIMEOUT_S", "1e1"), ("TIMEOUT_S", "nan"), ("TIMEOUT_S", " 3"), ("TRUST", ""),
        ],
    )  # fmt: skip
    def test_anything_else_is_refused(self, tmp_path: Path, name: str, text: str) -> None:
        with pytest.raises(InputError, match=name.lower()):
            load(tmp_path, MINIMAL, **{f"LEDGERD_{name}": text})

    def test_variables_of_other_programs_are_left_alone(self, tmp_path: Path) -> None:
        assert load(tmp_path, MINIMAL, LEDGERD_CONFIG="x", ENDPOINT="y").endpoint.endswith("7443")
