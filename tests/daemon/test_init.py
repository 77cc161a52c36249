"""How a ledger comes to be, and that it never comes to be by accident."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nodes import Side, make_sides, now

from ledgerd.init import found, request_genesis
from ledgerd.ledger.high_water import MARK_FILE, HighWater
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.standing import SHOWN_FILE
from ledgerd.rules.law import newest_law
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2
from ledgerd_client.approval import Approval
from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    NotReadyError,
    StoreError,
    TrustError,
)
from ledgerd_client.enrolment import GenesisRequest
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import read_file
from ledgerd_client.pki import TlsKey

HOUR = 3_600_000_000


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    return make_sides(tmp_path)


def make(side: Side, approval: Approval) -> None:
    found(side.config, approval, clock=now, random=os.urandom)


class TestTheRequest:
    def test_names_the_keys_that_were_made_for_it(self, sides: tuple[Side, Side]) -> None:
        out = sides[0].directory / "request.json"
        request_genesis(sides[0].config, out, os.urandom)
        keys = [sides[0].config.keys.log, sides[0].config.keys.entry, sides[0].config.keys.cosigner]
        assert all(key.stat().st_mode & 0o777 == 0o600 for key in keys)
        assert GenesisRequest.parse(read_file(out)).origin == sides[0].origin

    def test_gives_the_fingerprint_that_the_authority_sees(self, sides: tuple[Side, Side]) -> None:
        out = sides[0].directory / "request.json"
        assert request_genesis(sides[0].config, out, os.urandom) == fingerprint(read_file(out))

    def test_leaves_keys_alone_that_are_there(self, sides: tuple[Side, Side]) -> None:
        one, two = (sides[0].directory / name for name in ("one.json", "two.json"))
        request_genesis(sides[0].config, one, os.urandom)
        request_genesis(sides[0].config, two, os.urandom)
        first, second = (GenesisRequest.parse(read_file(path)) for path in (one, two))
        assert (first.log_key, first.entry_key, first.cosigner_key) == (
            second.log_key, second.entry_key, second.cosigner_key,
        )  # fmt: skip

    def test_writes_over_no_file(self, sides: tuple[Side, Side]) -> None:
        out = sides[0].directory / "request.json"
        out.write_text("something else")
        with pytest.raises(InputError):
            request_genesis(sides[0].config, out, os.urandom)

    def test_is_refused_where_a_ledger_is(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        side.found(peer)
        with pytest.raises(StoreError) as caught:
            request_genesis(side.config, side.directory / "again.json", os.urandom)
        assert caught.value.reason == "STORE_EXISTS"


class TestTheFounding:
    def test_makes_a_log_of_genesis_and_rules(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        side.found(peer)
        store = LmdbStore.open(side.config.store, readonly=True)
        entries = Reader(store).page(0).entries
        store.close()
        records = [body_pb2.Body.FromString(body).WhichOneof("record") for _, body in entries]
        assert records == ["genesis", "rule_set"]

    def test_puts_the_configured_rules_in_force(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        side.toml.write_text(side.toml.read_text() + "acknowledge_within_s = 7200\n")
        make(side, side.approve_genesis(peer))
        store = LmdbStore.open(side.config.store, readonly=True)
        rules = body_pb2.Body.FromString(Reader(store).entry(1)[1]).rule_set
        store.close()
        assert rules.acknowledge_within == 2 * HOUR

    @pytest.mark.parametrize(("law", "in_force"), [("", ""), ("newest", newest_law())])
    def test_puts_the_configured_law_in_force(
        self, sides: tuple[Side, Side], law: str, in_force: str
    ) -> None:
        side, peer = sides
        side.configure(peer, law=law)
        make(side, side.approve_genesis(peer))
        store = LmdbStore.open(side.config.store, readonly=True)
        rules = body_pb2.Body.FromString(Reader(store).entry(1)[1]).rule_set
        store.close()
        assert rules.law == in_force

    def test_by_a_law_that_this_program_does_not_hold_is_refused(
        self, sides: tuple[Side, Side]
    ) -> None:
        side, peer = sides
        side.configure(peer, law="1999.1")
        with pytest.raises(NotReadyError) as caught:
            make(side, side.approve_genesis(peer))
        assert caught.value.reason == "NO_SUCH_LAW"

    def test_marks_the_store_as_its_own(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        side.found(peer)
        store = LmdbStore.open(side.config.store, readonly=True)
        mark = HighWater.parse((side.config.data / MARK_FILE).read_bytes())
        store.close()
        assert mark == HighWater(store.instance, 2)

    def test_keeps_the_certificate(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        approval = side.approve_genesis(peer)
        make(side, approval)
        assert side.config.tls.certificate.read_bytes() == approval.tls_certificate.pem

    def test_goes_on_after_an_attempt_that_was_cut_short(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        approval = side.approve_genesis(peer)
        side.config.data.mkdir()
        LmdbStore.create(side.config.data / "founding", instance=bytes(16)).close()
        make(side, approval)
        assert side.config.store.exists()


class TestWhatIsRefused:
    def test_a_ledger_where_one_is(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        approval = side.approve_genesis(peer)
        make(side, approval)
        before = (side.config.store / "data.mdb").read_bytes()
        with pytest.raises(StoreError) as caught:
            make(side, approval)
        assert caught.value.reason == "STORE_EXISTS"
        assert (side.config.store / "data.mdb").read_bytes() == before

    @pytest.mark.parametrize("name", [MARK_FILE, SHOWN_FILE, "peer", "evidence"])
    def test_a_ledger_where_one_was(self, sides: tuple[Side, Side], name: str) -> None:
        """Its store is lost; founded a second time, its log would be forked."""
        side, peer = sides
        approval = side.approve_genesis(peer)
        (side.config.data / name).mkdir(parents=True)
        with pytest.raises(StoreError, match=name) as caught:
            make(side, approval)
        assert caught.value.reason == "STORE_LOST"
        assert not side.config.store.exists()

    def test_an_approval_by_another_authority(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        approval = side.approve_genesis(peer)
        stranger = Side(side.directory / "stranger", side.origin, side.name)
        stranger.configure(peer)
        side.config.trust.write_bytes((stranger.directory / "trust.txt").read_bytes())
        with pytest.raises(TrustError):
            make(side, approval)

    def test_an_approval_of_another_request(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        approval = side.approve_genesis(peer)
        side.config.keys.entry.unlink()
        request_genesis(side.config, side.directory / "again.json", os.urandom)
        with pytest.raises(FieldError) as caught:
            make(side, approval)
        assert caught.value.reason == "WRONG_KEYS"

    def test_a_certificate_for_another_key(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        approval = side.approve_genesis(peer)
        side.config.tls.key.write_bytes(TlsKey.generate().pem)
        with pytest.raises(FieldError) as caught:
            make(side, approval)
        assert caught.value.reason == "WRONG_CERTIFICATE"

    def test_a_certificate_of_another_node(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        approval = side.approve_genesis(peer)
        text = side.toml.read_text()
        side.toml.write_text(text.replace('id = "mainland"', 'id = "macao"'))
        with pytest.raises(FieldError) as caught:
            make(side, approval)
        assert caught.value.reason == "WRONG_CERTIFICATE"

    def test_a_peer_whose_authority_is_not_the_trust_files(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        other = Side(side.directory / "other", peer.origin, peer.name)
        approval = side.approve_genesis(peer, peer_authority=other.authority.verifier.public)
        with pytest.raises(TrustError, match="another authority"):
            make(side, approval)

    def test_a_peer_that_the_trust_file_does_not_know(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        approval = side.approve_genesis(peer, peer_origin="macao.example/log")
        with pytest.raises(TrustError, match=r"macao\.example/log"):
            make(side, approval)

    def test_whatever_was_refused_leaves_no_ledger(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        approval = side.approve_genesis(peer, peer_origin="macao.example/log")
        with pytest.raises(TrustError):
            make(side, approval)
        assert not side.config.store.exists()
