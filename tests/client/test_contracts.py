"""What callers state of contracts becomes just that in a message, whatever way they state it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from client.contracts import DAY, DIGEST, MOMENT, a_contract, events
from client.sdk import PAYLOAD, STATEMENT, World

from ledgerd_client import (
    Contract,
    Correction,
    FieldError,
    Incident,
    InputError,
    MalformedError,
    OwnSide,
    PersonalDataError,
    Side,
    Suspend,
)
from ledgerd_client._values import to_micros
from ledgerd_client.core.contract import parse_contract_terms
from ledgerd_client.core.transfer import parse_terms
from ledgerd_client.testing import HONG_KONG, MAINLAND


@pytest.fixture
def contract() -> Contract:
    return a_contract(MAINLAND, HONG_KONG)


class TestAContractsFile:
    def test_read_again_it_is_the_same_file(self, contract: Contract) -> None:
        assert Contract.parse(contract.file()).file() == contract.file()

    def test_names_and_numbers_of_codes_make_the_same_file(self, contract: Contract) -> None:
        numbers = replace(contract, mechanism=1, purposes=[7, 3], exporter_place=440300)
        assert numbers.file() == contract.file()

    def test_lists_may_be_in_any_order(self, contract: Contract) -> None:
        terms = parse_contract_terms(contract.file())
        assert (list(terms.purposes), list(terms.categories)) == ([3, 7], [1, 7])

    def test_dates_are_yyyymmdd(self, contract: Contract) -> None:
        terms = parse_contract_terms(contract.file())
        assert (terms.effective_on, terms.expires_on) == (20260206, 0)

    def test_a_document_is_hashed(self, contract: Contract, tmp_path: Path) -> None:
        (tmp_path / "signed.pdf").write_bytes(b"signed")
        terms = parse_contract_terms(replace(contract, document=tmp_path / "signed.pdf").file())
        assert terms.document_digest == sha256(b"signed").digest()

    def test_what_a_party_states_of_itself_is_not_in_it(self, contract: Contract) -> None:
        assert replace(contract, own=OwnSide(ciio=True)).file() == contract.file()

    def test_the_other_party_states_its_own_side(self, contract: Contract) -> None:
        theirs = Contract.parse(contract.file(), own=OwnSide(group_id="G1"))
        assert theirs.message().side.group_id == "G1"

    def test_each_contract_has_a_nonce_of_its_own(self) -> None:
        assert a_contract(MAINLAND, HONG_KONG).ref != a_contract(MAINLAND, HONG_KONG).ref

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(MalformedError):
            Contract.parse(b"no contract")


class TestWhatCannotBeStated:
    def test_a_code_that_is_not_known(self, contract: Contract) -> None:
        with pytest.raises(FieldError, match="mechanism: 'GBA' is not a known code"):
            replace(contract, mechanism="GBA").file()

    def test_a_text_for_a_list_of_codes(self, contract: Contract) -> None:
        with pytest.raises(FieldError):
            replace(contract, purposes="CreditChecking").file()

    def test_an_end_before_the_beginning(self, contract: Contract) -> None:
        with pytest.raises(FieldError):
            replace(contract, expires_on=date(2026, 2, 5)).file()

    def test_a_document_that_is_not_there(self, contract: Contract) -> None:
        with pytest.raises(InputError, match="cannot read"):
            replace(contract, document=Path("nowhere.pdf")).file()

    def test_a_digest_of_another_size(self, contract: Contract) -> None:
        with pytest.raises(FieldError):
            replace(contract, document=b"short").file()

    def test_a_negative_number(self, contract: Contract) -> None:
        with pytest.raises(FieldError):
            replace(contract, planned_scale=-1).file()

    def test_a_time_without_its_zone(self) -> None:
        naive = datetime(2026, 7, 1)  # noqa: DTZ001 -- that is the point
        with pytest.raises(FieldError, match="no time zone"):
            Suspend(contract_id="C", at=naive, cause=1).message()

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"planned_scale": -1}, "planned_scale cannot be -1"),
            ({"retention_days": 2**40}, "retention_days cannot be"),
            ({"signed_on": "2026-02-06"}, "signed_on is a date"),
            ({"expires_on": DAY - timedelta(days=1)}, "expires_on is before effective_on"),
            ({"document": Path("a\0b")}, "document: cannot read"),
            ({"document": "signed.pdf"}, "document is a SHA-256"),
            ({"third_parties": "hkbr.12345678"}, "third_parties is a list"),
            ({"third_parties": [7, "hkbr.12345678"]}, "third_parties is a list of one type"),
            ({"list_ref": "\ud800"}, "list_ref cannot be"),
            ({"list_ref": "QH\u202e3"}, "list_ref holds U\\+202E"),
            ({"contract_id": "\u200b"}, "contract_id holds U\\+200B"),
            ({"nonce": "n" * 16}, "nonce cannot be"),
            ({"purposes": [99]}, "purposes: 99"),
            ({"exporter": "mainland.example/ledger"}, "exporter is a Side"),
            ({"recipient": Side("", "hkbr.50000002")}, "recipient.origin: an origin is"),
            ({"recipient": Side("hk.example", 7)}, "institution cannot be 7"),
        ],
    )
    def test_is_told_by_the_name_of_its_field(
        self, contract: Contract, fields: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(InputError, match=says):
            replace(contract, **fields).file()

    @pytest.mark.parametrize(
        ("notices", "says"),
        [
            ([("CAC_GD", MOMENT), ("CAC", None)], r"notices\[1\] is a time"),
            ([("CAC_GD", MOMENT), "CAC"], r"notices\[1\] is an authority and a time"),
            ("CAC_GD", "notices is a list"),
            ([("Nobody", MOMENT)], r"notices\[0\]: 'Nobody'"),
        ],
    )
    def test_of_several_notices_it_is_told_which(self, notices: Any, says: str) -> None:
        incident = Incident(discovered_at=MOMENT, grade=2, cause=1, affected_subjects=1)
        with pytest.raises(FieldError, match=says):
            replace(incident, notices=notices).message()

    async def test_half_a_character_in_an_id_that_is_asked_for(self, world: World) -> None:
        async with world.client() as ledger:
            with pytest.raises(FieldError, match="contract_id cannot be"):
                await ledger.contract("C\ud800")

    async def test_a_persons_number_in_a_text(self, world: World) -> None:
        async with world.client() as ledger:
            slip = Suspend(contract_id="C", at=MOMENT, cause=1, reason="of 110101199003077758")
            with pytest.raises(PersonalDataError):
                await ledger.record(slip)


class TestASupplement:
    def test_is_the_next_version_of_the_same_contract(self, contract: Contract) -> None:
        amended = contract.amended(purposes=[3, 17], document=bytes(32))
        terms = parse_contract_terms(amended.file())
        assert (terms.version, list(terms.purposes), amended.ref) == (1, [3, 17], contract.ref)

    def test_keeps_what_it_does_not_change(self, contract: Contract) -> None:
        assert contract.amended(planned_scale=5).categories == contract.categories


class TestEveryKind:
    def test_has_the_field_of_a_body_that_it_goes_into(self, contract: Contract) -> None:
        kinds = [type(what).KIND for what in (contract, *events(contract))]
        assert kinds == [
            "contract", "filing", "supplement", "termination", "disposal", "pipia", "suspend",
            "resume", "onward", "incident", "gov_access", "consent_change",
        ]  # fmt: skip

    def test_an_incident_has_its_notices_in_order(self) -> None:
        incident = Incident(
            discovered_at=MOMENT, grade=2, cause="leak", affected_subjects=1,
            notices=[("HK_PCPD", MOMENT), ("CAC_GD", MOMENT)],
        )  # fmt: skip
        notices = incident.message().notices
        assert [(one.authority, one.at) for one in notices] == [(4, MICROS), (1, MICROS)]

    def test_an_incident_said_again_is_the_same_matter(self) -> None:
        incident = Incident(discovered_at=MOMENT, grade=2, cause=1, affected_subjects=1)
        again = replace(incident, notices=[("CAC_GD", MOMENT)])
        assert again.message().matter == incident.message().matter

    def test_two_incidents_are_two_matters(self) -> None:
        one, two = (
            Incident(discovered_at=MOMENT, grade=2, cause=1, affected_subjects=1) for _ in range(2)
        )
        assert one.matter != two.matter


# 2026-07-01T09:30:00Z.
MICROS = 1_782_898_200_000_000


def test_micros_are_those_of_the_moment() -> None:
    assert to_micros("at", MOMENT) == MICROS


class TestACorrection:
    async def test_changes_what_it_names_and_nothing_else(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
        ticket = declared.ticket
        correction = Correction(
            ticket=ticket, corrects=declared.record_id,
            changes={"subjects": 1300, "consent_form": "written", "minors_present": True},
            cause="mistake",
        )  # fmt: skip
        message = correction.message()
        before, after = parse_terms(ticket.terms), parse_terms(message.terms)
        assert (after.subjects, after.consent_form, after.minors_present) == (1300, 4, True)
        after.subjects, after.consent_form, after.minors_present = 1200, 1, False
        assert (after, message.cause) == (before, 5)

    async def test_takes_back_what_it_names_as_nothing(self, world: World) -> None:
        async with world.client() as ledger:
            said = STATEMENT | {"delete_by": DAY, "protections": ["encrypted"]}
            declared = await ledger.declare(PAYLOAD, **said)
        correction = Correction(
            ticket=declared.ticket, corrects=declared.record_id, changes={"protections": []}
        )
        terms = parse_terms(correction.message().terms)
        assert (list(terms.protections), terms.delete_by) == ([], 20260206)

    async def test_does_not_change_the_parties(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
        other = Correction(
            ticket=declared.ticket,
            corrects=declared.record_id,
            changes={"recipient": "hkbr.1"},  # type: ignore[typeddict-unknown-key]
        )
        with pytest.raises(FieldError, match="recipient"):
            other.message()


class TestDeclaringUnderAContract:
    async def test_what_it_fixes_need_not_be_said(self, world: World, contract: Contract) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare_under(
                contract, PAYLOAD, subjects=3, legal_basis="CN13_1 consent", occurred_at=MOMENT
            )
        terms = parse_terms(declared.ticket.terms)
        assert (
            terms.recipient.institution, terms.contract_id, list(terms.purposes),
            list(terms.categories), list(terms.sensitive_categories), terms.transmission,
            terms.delete_by,
        ) == (contract.recipient.institution, "GBA-SC-2026-0117", [3, 7], [1, 7], [], 2, 20270701)  # fmt: skip

    async def test_the_day_of_deletion_is_counted_from_the_day_in_utc_8(
        self, world: World, contract: Contract
    ) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare_under(
                contract, PAYLOAD, subjects=3, legal_basis=1,
                occurred_at=datetime.fromisoformat("2026-06-30T16:00:00+00:00"),
            )  # fmt: skip
        assert parse_terms(declared.ticket.terms).delete_by == 20270701

    async def test_sensitive_subjects_bring_the_contracts_sensitive_categories(
        self, world: World, contract: Contract
    ) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare_under(
                contract, PAYLOAD, subjects=3, legal_basis=1, sensitive_subjects=2
            )
        assert list(parse_terms(declared.ticket.terms).sensitive_categories) == [5]

    async def test_said_again_on_another_day_it_is_the_first_transfer(
        self, world: World, contract: Contract
    ) -> None:
        async with world.client() as ledger:
            said = {"subjects": 3, "legal_basis": 1, "caller_ref": "export-7"}
            first = await ledger.declare_under(contract, PAYLOAD, **said)
            world.time.micros += 3 * 86_400_000_000
            again = await ledger.declare_under(contract, PAYLOAD, **said)
        assert again.ticket == first.ticket

    async def test_what_is_said_goes_before_the_contract(
        self, world: World, contract: Contract
    ) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare_under(
                contract, PAYLOAD, subjects=3, legal_basis=1, purposes=[3], transmission="api"
            )
        terms = parse_terms(declared.ticket.terms)
        assert (list(terms.purposes), terms.transmission) == ([3], 1)


def test_a_digest_is_not_of_a_device(contract: Contract) -> None:
    """It would never end."""
    with pytest.raises(InputError, match="no regular file"):
        replace(contract, document=Path("/dev/zero")).message()


def test_a_digest_is_taken_as_it_is(contract: Contract) -> None:
    assert parse_contract_terms(contract.file()).document_digest == DIGEST
