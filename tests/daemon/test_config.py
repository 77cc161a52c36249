"""The configuration file: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledgerd.config import Config
from ledgerd_client.core.errors import InputError

WHOLE = """\
origin = "gba.example/mainland"
id = "mainland"
trust_domain = "mainland.invalid"
data = "data"
trust = "/etc/ledgerd/trust.txt"

[keys]
log = "keys/log.key"
entry = "keys/entry.key"
cosigner = "keys/cosigner.key"

[tls]
certificate = "tls.crt"
key = "tls.key"

[peer]
endpoint = "hongkong.example:7443"
id = "hongkong"
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "ledgerd.toml"
    path.write_text(WHOLE)
    return path


def load(toml: Path, *changes: tuple[str, str]) -> Config:
    """Load the file after some of its words were replaced; "" stands for its first line."""
    text = WHOLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    toml.write_text(text)
    return Config.load(toml)


class TestAFileThatIsWhole:
    def test_gives_paths_relative_to_itself(self, toml: Path) -> None:
        assert Config.load(toml).data == toml.parent / "data"

    def test_gives_absolute_paths_as_they_are(self, toml: Path) -> None:
        assert Config.load(toml).trust == Path("/etc/ledgerd/trust.txt")

    def test_listens_on_loopback_unless_told_otherwise(self, toml: Path) -> None:
        assert Config.load(toml).listen == "127.0.0.1:7443"

    def test_takes_the_peer_to_be_of_the_same_trust_domain(self, toml: Path) -> None:
        assert Config.load(toml).peer_spiffe_id.uri == "spiffe://mainland.invalid/peer/hongkong"

    def test_names_another_trust_domain_of_the_peer(self, toml: Path) -> None:
        config = load(toml, ("[peer]", '[peer]\ntrust_domain = "hongkong.invalid"'))
        assert config.peer_spiffe_id.uri == "spiffe://hongkong.invalid/peer/hongkong"


class TestHowLongThePeerMayBeSilent:
    """A courier comes once a day; over a link somebody is woken after minutes."""

    @pytest.mark.parametrize(
        ("change", "seconds"),
        [
            (("", ""), 300),
            (('endpoint = "hongkong.example:7443"', 'exchange = "files"'), 172_800),
            (("[peer]", "[peer]\nsilent_after_s = 3600"), 3600),
        ],
        ids=["link", "files", "said"],
    )
    def test_is_as_the_operator_says_or_by_how_it_is_reached(
        self, toml: Path, change: tuple[str, str], seconds: int
    ) -> None:
        assert load(toml, change).peer.silence_s == seconds


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("", "listn = 1\n"), "'listn' is not a setting"),
            (("[peer]", '[peer]\nendpont = ""'), "'peer.endpont' is not a setting"),
            (('id = "mainland"', ""), "id is missing"),
            (('id = "hongkong"', ""), "peer.id is missing"),
            (('[tls]\ncertificate = "tls.crt"\nkey = "tls.key"', ""), "tls is missing"),
            (
                ("hongkong.example:7443", "hongkong.example"),
                ": peer.endpoint: 'hongkong.example' is",
            ),
            (("hongkong.example:7443", "hongkong.example"), "is not host:port"),
            (("hongkong.example:7443", "hongkong.example:70000"), "is not host:port"),
            (("gba.example/mainland", "two words"), "an origin is"),
            (("mainland.invalid", "Not A Domain"), "is no trust domain"),
            (('id = "mainland"', 'id = "main/land"'), "id: String should match"),
            (('"data"', "7"), "data: a path is text in quotes"),
            (("", 'log_level = "loud"\n'), "log_level: Input should be"),
            (("", 'operators = ["o p"]\n'), "operators.0:"),
            (("[peer]", "[limits]\nworkers = 0\n[peer]"), "limits.workers:"),
            (("[peer]", '[limits]\nworkers = "2"\n[peer]'), "limits.workers:"),
            (("[peer]", "[timing]\npoll_interval_s = -1\n[peer]"), "timing.poll_interval_s:"),
            (("[peer]", "[peer\n"), "is not TOML"),
        ],
    )
    def test_is_named_with_its_file(
        self, toml: Path, change: tuple[str, str], message: str
    ) -> None:
        with pytest.raises(InputError) as caught:
            load(toml, change)
        assert caught.value.message.startswith(str(toml))
        assert message in caught.value.message

    def test_an_unknown_key_is_answered_with_the_known_ones(self, toml: Path) -> None:
        with pytest.raises(InputError) as caught:
            load(toml, ("[peer]", '[peer]\nendpont = ""'))
        assert (
            caught.value.action
            == "in [peer] use endpoint, exchange, id, trust_domain, silent_after_s"
        )

    def test_a_missing_key_is_answered_with_what_it_is_for(self, toml: Path) -> None:
        with pytest.raises(InputError) as caught:
            load(toml, ('data = "data"', ""))
        assert caught.value.action == "add it: directory of everything that the node keeps"

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"cannot read .*nowhere\.toml"):
            Config.load(tmp_path / "nowhere.toml")


class TestLoopback:
    @pytest.mark.parametrize(
        ("listen", "only_here"),
        [
            ("127.0.0.1:1", True),
            ("127.1.2.3:1", True),
            ("localhost:1", True),
            ("[::1]:1", True),
            ("0.0.0.0:1", False),
            ("[::]:1", False),
            ("10.0.0.1:1", False),
            ("ledger.example:1", False),
        ],
    )
    def test_is_what_no_other_machine_can_reach(
        self, toml: Path, listen: str, only_here: bool
    ) -> None:
        assert load(toml, ("", f'listen = "{listen}"\n')).listens_on_loopback is only_here


class TestDocumentation:
    def test_every_setting_says_what_it_is_for(self) -> None:
        assert [name for name, field in Config.settings() if not field.description] == []
