"""A contract's life by commands: recorded by both parties from files, checked, and shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli.enrolled import EXPORTER, RECIPIENT, Border
from cli.tool import Ran, Tool

from ledgerd_client import Contract, Finding, FindingEntry
from ledgerd_client.cli.findings import emit_finding, show_entry
from ledgerd_client.cli.output import speak
from ledgerd_client.core.contract import parse_contract_terms
from ledgerd_client.testing import HONG_KONG, MAINLAND

CONTRACT = f"""
record = "contract"
exporter = {{ origin = "{MAINLAND}", institution = "{EXPORTER}" }}
recipient = {{ origin = "{HONG_KONG}", institution = "{RECIPIENT}" }}
contract_id = "SCC-2026-001"
document = "signed.pdf"
mechanism = "GBA_SC_HK"
direction = "CN_HK"
exporter_place = "Shenzhen"
recipient_place = 810000
exporter_sector = "HOSPITAL"
recipient_sector = "HOSPITAL"
signed_on = 2026-02-05
effective_on = 2026-02-06
purposes = ["ReferralManagement", 12]
categories = ["health and physiology"]
subject_types = ["patient"]
planned_scale = 5000
retention_days = 365
storage_places = ["Hong Kong"]
transmissions = ["sftp"]

[own]
ciio = false
hgr_ref = "HGR-7"
"""
FILING = """
record = "filing"
contract = "scc.contract"
authority = "CAC_GD"
filed_on = 2026-02-27
filing_no = "GD-2026-118"
documents = ["signed.pdf"]
"""


def write(border: Border, **files: str) -> None:
    for name, text in files.items():
        border.tool.path(f"{name}.toml").write_text(text, encoding="utf-8")


@pytest.fixture
def recorded(border: Border) -> Ran:
    """The exporter has recorded the contract."""
    border.tool.path("signed.pdf").write_bytes(b"signed by both")
    write(border, contract=CONTRACT)
    return border.exporter("record", "contract.toml", "--out", "scc.contract", "--json")


class TestAContract:
    def test_is_recorded_and_its_file_made(self, border: Border, recorded: Ran) -> None:
        contract = Contract.parse(border.tool.path("scc.contract").read_bytes())
        assert (recorded.code, recorded.data["ref"]) == (0, contract.ref.hex())

    def test_has_the_fields_of_the_file(self, border: Border, recorded: Ran) -> None:
        terms = parse_contract_terms(border.tool.path("scc.contract").read_bytes())
        assert (terms.effective_on, list(terms.purposes), terms.recipient_place) == (
            20260206, [11, 12], 810000,
        )  # fmt: skip

    def test_recorded_from_its_file_by_the_other_party_it_is_agreed(
        self, border: Border, recorded: Ran
    ) -> None:
        write(border, theirs='record = "contract"\nfile = "scc.contract"')
        assert border.recipient("record", "theirs.toml").code == 0
        shown = border.exporter("contract", "SCC-2026-001", "--json").data
        assert (shown["state"], len(shown["halves"])) == ("agreed", 2)

    def test_its_nonce_is_not_lost(self, border: Border) -> None:
        write(border, contract=CONTRACT.replace('"signed.pdf"', f'"{"ab" * 32}"'))
        ran = border.exporter("record", "contract.toml")
        assert (ran.code, "--out" in ran.err) == (2, True)

    def test_recorded_again_with_its_file_it_is_the_same_contract(
        self, border: Border, recorded: Ran
    ) -> None:
        again = border.exporter("record", "contract.toml", "--out", "scc.contract", "--json")
        assert again.data["ref"] == recorded.data["ref"]

    def test_another_one_does_not_take_its_file(self, border: Border, recorded: Ran) -> None:
        write(border, contract=CONTRACT.replace("5000", "6000"))
        ran = border.exporter("record", "contract.toml", "--out", "scc.contract")
        assert (ran.code, "FILE_EXISTS" in ran.err) == (2, True)

    def test_a_supplement_changes_it(self, border: Border, recorded: Ran) -> None:
        write(
            border,
            supplement="""
record = "supplement"
reason = "more patients"
[contract]
file = "scc.contract"
changes = { planned_scale = 9000, document = "signed.pdf" }
""",
        )
        ran = border.exporter("record", "supplement.toml", "--out", "scc-1.contract")
        terms = parse_contract_terms(border.tool.path("scc-1.contract").read_bytes())
        assert (ran.code, terms.version, terms.planned_scale) == (0, 1, 9000)

    def test_a_filing_names_its_file(self, border: Border, recorded: Ran) -> None:
        write(border, filing=FILING)
        filed = border.exporter("record", "filing.toml", "--json").data
        shown = border.exporter("contract", "SCC-2026-001", "--json").data
        assert [(one["statement"], one["own"]) for one in shown["statements"]] == [
            ("contract", recorded.data["index"]),
            ("filing", filed["index"]),
        ]


EVENTS = {
    "termination": """
contract = "scc.contract"
terminated_on = 2026-12-31
cause = "agreed"
method = "return"
""",
    "disposal": """
contract = "scc.contract"
method = 2
done_at = 2026-05-08T09:00:00+08:00
certificate = "signed.pdf"
transfers = 3
subjects = 40
due_by = 2026-05-01
""",
    "pipia": """
contract_id = "SCC-2026-001"
report = "signed.pdf"
completed_on = 2026-02-01
conclusion = "go with measures"
keep_until = 2029-02-01
""",
    "suspend": """
contract_id = "SCC-2026-001"
at = 2026-05-01T00:00:00Z
cause = "order of an authority"
""",
    "resume": """
contract_id = "SCC-2026-001"
at = 2026-05-04T00:00:00+08:00
""",
    "onward": f"""
contract_id = "SCC-2026-001"
ref = "{"0" * 64}"
third_party = "hkbr.12345678"
third_party_place = "Hong Kong"
needed = true
told = true
consented = true
listed = false
agreement = "signed.pdf"
purposes = ["ReferralManagement"]
""",
    "incident": """
discovered_at = 2026-05-01T00:00:00Z
grade = "larger"
cause = "leak"
affected_subjects = 12
contract_ids = ["SCC-2026-001"]
notices = [["CAC_GD", 2026-05-01T03:59:00Z]]
""",
    "gov_access": """
contract_id = "SCC-2026-001"
requester = "court"
territory = "Hong Kong"
received_at = 2026-05-01T00:00:00Z
disclosed = false
""",
    "consent_change": """
contract_id = "SCC-2026-001"
change = "withdrawn"
subjects = 2
from_date = 2026-05-01
""",
}


class TestEvents:
    @pytest.mark.parametrize("kind", EVENTS)
    def test_every_kind_is_recorded_from_a_file(
        self, border: Border, recorded: Ran, kind: str
    ) -> None:
        write(border, event=f'record = "{kind}"\n{EVENTS[kind]}')
        ran = border.exporter("record", "event.toml", "--json")
        assert (ran.code, ran.data["status"]) == (0, "recorded")

    def test_a_matter_is_named_so_that_it_can_be_said_again(
        self, border: Border, recorded: Ran
    ) -> None:
        write(border, event='record = "incident"\n' + EVENTS["incident"])
        matter = border.exporter("record", "event.toml", "--json").data["matter"]
        write(border, event=f'record = "incident"\nmatter = "{matter}"\n' + EVENTS["incident"])
        assert border.exporter("record", "event.toml", "--json").data["matter"] == matter

    def test_a_transfer_is_corrected_from_its_ticket(self, border: Border) -> None:
        declared = border.declare("batch.csv").data
        write(
            border,
            correction=f"""
record = "correction"
ticket = "a.ticket"
corrects = "{declared["record_id"]}"
cause = "mistake"
changes = {{ subjects = 1199, delete_by = 2027-01-01 }}
""",
        )
        ran = border.exporter("record", "correction.toml", "--json")
        assert (ran.code, ran.data["ref"]) == (0, declared["ref"])


PIPIA = """
contract_id = "SCC-2026-001"
completed_on = 2026-02-01
conclusion = "go"
keep_until = 2029-02-01
"""
CONSENT = """
record = "consent_change"
contract_id = "SCC-2026-001"
change = 1
from_date = 2026-05-01
"""


class TestWhatAFileMayNotSay:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("record = ", "is not TOML"),
            ("x = " + "[" * 5000, "nested too deeply"),
            ('record = "gossip"', "no kind of record"),
            ("contract_id = 'C'", "no kind of record"),
            ('record = "pipia"\nopinion = 1', "no field 'opinion'"),
            ('record = "resume"\ncontract_id = "C"', "at is missing"),
            (
                'record = "resume"\ncontract_id = 7\nat = 2026-05-01T00:00:00Z',
                "contract_id is text",
            ),
            ('record = "resume"\ncontract_id = "C"\nat = 2026-05-01', "at is a time"),
            ('record = "resume"\ncontract_id = "C"\nat = 2026-05-01T00:00:00', "no time zone"),
            ('record = "filing"\ncontract = 3', "contract is a table"),
            ('record = "filing"\ncontract = "nowhere.contract"', "nowhere.contract"),
            ('record = "incident"\ngrade = 2\nmatter = "xyz"', "matter is hex"),
            ('record = "incident"\ngrade = 2\nnotices = ["CAC_GD"]', "notices[0] is a pair"),
            (
                'record = "incident"\nnotices = [["CAC_GD", 2026-05-01T00:00:00Z], ["CAC_GD", 7]]',
                "notices[1] is a time",
            ),
            ('record = "incident"\ngrade = 2\ncontract_ids = "C"', "contract_ids is a list"),
            ('record = "incident"\ngrade = 2\ncontract_ids = ["C", 7]', "contract_ids[1] is text"),
            ('record = "contract"\ncontract = "x.contract"', "file = "),
            ('record = "contract"\ncontract_id = "C"', "--out FILE"),
            ('record = "contract"\nown = { ciio = 1 }\nfile = "x"', "own.ciio is true or false"),
            ('record = "contract"\nown = { rich = 1 }\nfile = "x"', "no field 'rich' in own"),
            ('record = "contract"\nfile = "bad.toml"', "file: "),
            ('record = "contract"\nfile = "x"\npurposes = [3]', "use file, own, changes"),
            ('record = "contract"\nnonce = ""\nexporter = { origin = 1 }', "exporter has"),
            ('record = "filing"\ncontract = "a\\u0000b"', "contract: "),
            (f'record = "pipia"\n{PIPIA}report = "a\\u0000b"', "report: cannot read"),
            (f'record = "pipia"\n{PIPIA}report = "."', "report: "),
            (CONSENT + "subjects = -1", "subjects cannot be -1"),
            (CONSENT + f"subjects = {2**70}", "subjects cannot be"),
            (CONSENT + 'subjects = 1\nmatter = ""', "matter is 16 bytes"),
        ],
    )
    def test_is_said_in_one_line(self, border: Border, text: str, says: str) -> None:
        write(border, bad=text)
        ran = border.exporter("record", "bad.toml")
        assert (ran.code, says in ran.err, ran.err.count("\n")) == (2, True, 1)

    def test_an_out_of_something_else_is_refused(self, border: Border, recorded: Ran) -> None:
        write(border, filing=FILING)
        assert border.exporter("record", "filing.toml", "--out", "x.contract").code == 2


class TestCheck:
    def test_nothing_is_recorded(self, border: Border) -> None:
        border.tool.path("signed.pdf").write_bytes(b"signed by both")
        write(border, contract=CONTRACT)
        ran = border.exporter("check", "contract.toml")
        assert (ran.code, "it would open or close no finding" in ran.err) == (0, True)
        assert border.exporter("contract", "SCC-2026-001").code == 3

    def test_a_transfer_is_checked_before_it_is_declared(self, border: Border) -> None:
        write(border, transfer=TRANSFER)
        assert border.exporter("check", "transfer.toml").code == 0

    def test_a_transfer_is_stated_whole(self, border: Border) -> None:
        write(border, transfer=TRANSFER.replace("subjects = 1200", ""))
        ran = border.exporter("check", "transfer.toml")
        assert (ran.code, "subjects is missing" in ran.err) == (2, True)

    def test_a_transfer_is_not_recorded_from_a_file(self, border: Border) -> None:
        write(border, transfer=TRANSFER)
        assert border.exporter("record", "transfer.toml").code == 2


TRANSFER = f"""
record = "transfer"
recipient = "{RECIPIENT}"
contract_id = "SCC-2026-001"
subjects = 1200
purposes = ["ReferralManagement"]
categories = ["health and physiology"]
legal_basis = "CN13_1 consent"
delete_by = 2027-01-01
"""


class TestFindings:
    def test_an_operator_is_told_which_role_they_are_for(self, border: Border) -> None:
        settings = border.tool.path("hospital/client.toml").read_text(encoding="utf-8")
        own = ("institution", "signing_key", "outbox")
        kept = [line for line in settings.splitlines() if not line.startswith(own)]
        border.tool.path("hospital/operator.toml").write_text("\n".join(kept), encoding="utf-8")
        ran = border.tool("findings", "--config", "hospital/operator.toml")
        assert (ran.code, "is for the role institution" in ran.err) == (2, True)

    def test_where_none_stand_it_says_so(self, border: Border) -> None:
        ran = border.exporter("findings")
        assert (ran.code, ran.out, "Nothing stands" in ran.err) == (0, "", True)

    def test_in_chinese_too(self, border: Border) -> None:
        ran = border.tool("--lang", "zh-Hant", "findings", "--config", "hospital/client.toml")
        assert (ran.code, "未見本節點可見的提示" in ran.err) == (0, True)


OVERDUE = Finding(
    b"\1" * 32, "K4.overdue", 3, ((MAINLAND, 7),), closed=False,
    institution=EXPORTER, contract_id="SCC-2026-001", numbers={"deadline_on": 20260227},
)  # fmt: skip


class TestAFindingAsItIsPrinted:
    def printed(self, capsys: pytest.CaptureFixture[str], lang: str, **how: Any) -> str:
        speak(lang)
        try:
            emit_finding(OVERDUE, how.pop("place", None), **how)
        finally:
            speak("en")
        return capsys.readouterr().out

    def test_to_people_it_says_what_and_what_cures_it(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = self.printed(capsys, "zh-Hans", as_json=False)
        assert "未见本合同的备案记录；备案期限为 2026-02-27。" in out  # noqa: RUF001 -- Chinese
        assert "向所在地主管部门备案" in out

    def test_of_one_that_is_cured_it_says_when(self, capsys: pytest.CaptureFixture[str]) -> None:
        entry = FindingEntry(7, 1_772_000_000_000_000, OVERDUE, 9, 1_772_207_999_999_999)
        show_entry(entry, as_json=False)
        out = capsys.readouterr().out
        assert ("2026-02-27T15:59:59.999999Z" in out, "2026-02-27;" in out) == (True, False)

    def test_of_one_that_is_cured_no_cure_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        out = self.printed(capsys, "en", place={"closed_by": 9}, as_json=False)
        assert ("closed" in out, "cure" in out) == (True, False)

    def test_to_programs_it_has_codes_and_numbers(self, capsys: pytest.CaptureFixture[str]) -> None:
        data = json.loads(self.printed(capsys, "zh-Hans", as_json=True))
        assert (data["rule"], data["severity"], data["numbers"]) == (
            "K4.overdue", 3, {"deadline_on": 20260227},
        )  # fmt: skip


class TestCodes:
    def test_a_table_is_headed_by_the_fields_that_take_its_codes(self, tool: Tool) -> None:
        head = tool.ok("codes", "transmission").out.splitlines()[0]
        assert head == "transmission: codes of transmission, transmissions"

    def test_a_table_is_listed_with_source_and_dates(self, tool: Tool) -> None:
        lines = tool.ok("codes", "mechanism").out.splitlines()
        assert lines[1].split("  ")[-1] == "CAC and ITIB announcement 2023 No. 3, 2023-12-10/.."

    def test_every_table_is_of_some_field(self, tool: Tool) -> None:
        rows = map(json.loads, tool.ok("codes", "--json").out.splitlines())
        assert not [row for row in rows if not row["fields"]]

    def test_a_table_that_there_is_not_is_not_found(self, tool: Tool) -> None:
        assert tool("codes", "colour").code == 3

    def test_programs_get_every_field(self, tool: Tool) -> None:
        first = json.loads(tool.ok("codes", "mechanism", "--json").out.splitlines()[0])
        assert (first["table"], first["number"], first["name"], first["valid_from"]) == (
            "mechanism", 1, "GBA_SC_HK", 20231210,
        )  # fmt: skip
