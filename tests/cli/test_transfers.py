"""A transfer from enrolment to proof, by commands alone, against nodes behind mutual TLS."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli.enrolled import EXPORTER, TERMS, Border
from cli.tool import Ran, Tool
from prometheus_client.parser import text_string_to_metric_families

from ledgerd_client._time import system_now
from ledgerd_client.config import Settings
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.transfer import Ticket
from ledgerd_client.outbox import Outbox


def ticket(border: Border, name: str = "a.ticket") -> Ticket:
    return Ticket.parse(border.tool.path(name).read_bytes())


class TestSubmit:
    def test_an_admitted_key_is_in_the_nodes_log(self, border: Border) -> None:
        keys = border.mainland.node.log.keys_of(EXPORTER)
        request = json.loads(border.tool.path("hospital/request.json").read_bytes())
        assert [encode_base64(key.public) for key in keys.values()] == [request["public_key"]]

    def test_the_log_takes_an_approval_once(self, border: Border) -> None:
        config = ("--config", "mainland-ops/client.toml")
        ran = border.tool("enrol", "submit", "hospital.approval", *config)
        assert (ran.code, "KEY_KNOWN" in ran.err) == (3, True)

    def test_only_an_operator_submits(self, border: Border) -> None:
        config = ("--config", "hospital/client.toml")
        assert border.tool("enrol", "submit", "hospital.approval", *config).code == 3

    def test_an_operators_approval_is_nothing_to_submit(self, border: Border) -> None:
        config = ("--config", "mainland-ops/client.toml")
        ran = border.tool("enrol", "submit", "mainland-ops.approval", *config)
        assert (ran.code, "ledgerd rotate --approval" in ran.err) == (2, True)

    def test_an_approval_for_the_other_side_is_bad_input(self, border: Border) -> None:
        config = ("--config", "mainland-ops/client.toml")
        ran = border.tool("enrol", "submit", "clinic.approval", *config)
        assert (ran.code, "WRONG_ORIGIN" in ran.err) == (2, True)

    def test_a_node_that_is_not_there_is_not_asked(self, border: Border) -> None:
        path = border.tool.path("mainland-ops/client.toml")
        path.write_text(path.read_text().replace(border.mainland.endpoint, "localhost:1"))
        ran = border.tool("enrol", "submit", "hospital.approval", "--config", path)
        assert (ran.code, ran.out) == (3, "")

    def test_a_revoked_key_declares_nothing(self, border: Border) -> None:
        request = json.loads(border.tool.path("hospital/request.json").read_bytes())
        named = ("--id", EXPORTER, "--public-key", request["public_key"], "--dir", "mainland")
        border.tool.ok("enrol", "revoke", *named, "--out", "revocation", "--yes")
        config = ("--config", "mainland-ops/client.toml")
        border.tool.ok("enrol", "submit", "revocation", *config)
        ran = border.declare("batch.csv")
        assert (ran.code, "KEY_REVOKED" in ran.err) == (3, True)


class TestDeclare:
    def test_a_declaration_is_recorded(self, border: Border) -> None:
        declared = border.declare("batch.csv").data
        assert (declared["status"], declared["index"]) == ("recorded", 2)

    def test_the_ticket_is_for_its_owner_only(self, border: Border) -> None:
        border.declare("batch.csv")
        assert border.tool.path("a.ticket").stat().st_mode & 0o077 == 0

    def test_a_ticket_is_not_written_over(self, border: Border) -> None:
        border.tool.path("a.ticket").write_bytes(b"the only copy")
        assert border.declare("batch.csv").code == 2
        assert border.mainland.node.log.size == 2

    def test_nothing_is_declared_whose_ticket_has_no_place(self, border: Border) -> None:
        assert border.declare("batch.csv", ticket="absent/a.ticket").code == 2
        assert border.mainland.node.log.size == 2

    def test_several_files_are_parts_of_one_payload(self, border: Border) -> None:
        border.declare("batch.csv", "image.png")
        assert ticket(border).manifest != b""

    def test_two_parts_of_one_name_are_refused(self, border: Border) -> None:
        border.tool.path("other").mkdir()
        border.tool.path("other/batch.csv").write_bytes(b"")
        assert border.declare("batch.csv", "other/batch.csv").code == 2

    def test_nothing_is_sent_in_remote_viewing(self, border: Border) -> None:
        border.declare("--transmission", "remote_view")
        assert ticket(border).salt == b""

    @pytest.mark.parametrize(
        "args",
        [
            (),
            ("absent.csv",),
            ("batch.csv", "--purpose", "Curiosity"),
            ("batch.csv", "--category", "99"),
            ("batch.csv", "--to", "nobody"),
            ("batch.csv", "--subjects", "-1"),
            ("batch.csv", "--subjects", "99999999999"),
            ("batch.csv", "--delete-by", "31.12.2027"),
            ("batch.csv", "--notice", "absent"),
            ("batch.csv", "--config", "absent.toml"),
            ("batch.csv", "--config", "mainland-ops/client.toml"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_declared_is_bad_input(
        self, border: Border, args: tuple[str, ...]
    ) -> None:
        settings = ("--config", "hospital/client.toml")
        ran = border.tool("declare", *TERMS, "--ticket", "a.ticket", *settings, *args)
        assert (ran.code, ran.out) == (2, "")

    def test_a_caller_ref_gives_the_first_record_again(self, border: Border) -> None:
        first = border.declare("batch.csv", "--caller-ref", "order 7").data
        again = border.declare("batch.csv", "--caller-ref", "order 7").data
        assert again == first

    @pytest.mark.parametrize(
        "args", [("image.png",), ("batch.csv", "image.png"), ("batch.csv", "--subjects", "7")]
    )
    def test_a_caller_ref_stands_for_one_declaration(
        self, border: Border, args: tuple[str, ...]
    ) -> None:
        first = border.declare("batch.csv", "--caller-ref", "order 7").data
        ran = border.declare(*args, "--caller-ref", "order 7")
        assert (ran.code, ran.out, first["record_id"] in ran.err) == (2, "", True)

    def test_a_node_that_is_down_is_told_and_nothing_is_sent_later(self, border: Border) -> None:
        down(border)
        ran = border.declare("batch.csv")
        assert (ran.code, ran.out) == (3, "")
        assert outbox(border) == []


def down(border: Border) -> None:
    """Let the settings lead to a port where nobody listens."""
    path = border.tool.path("hospital/client.toml")
    path.with_name("up.toml").write_text(path.read_text())
    path.write_text(path.read_text().replace(border.mainland.endpoint, "localhost:1"))


def up(border: Border) -> None:
    border.tool.path("hospital/up.toml").rename(border.tool.path("hospital/client.toml"))


def outbox(border: Border, *args: object) -> list[dict[str, Any]]:
    ran = border.exporter("outbox", "list", "--json", *args)
    return [json.loads(line) for line in ran.out.splitlines()]


def revoke(border: Border) -> None:
    """The exporter's key is good no more."""
    log = border.mainland.node.log
    (key,) = log.keys_of(EXPORTER).values()
    log.revoke_key(EXPORTER, key.public)


def refused(border: Border) -> str:
    """A queued record, which the node will refuse at the next flush; its id."""
    down(border)
    record_id: str = border.declare("batch.csv", "--queue").data["record_id"]
    up(border)
    revoke(border)
    return record_id


class TestOutbox:
    def test_what_is_queued_shows(self, border: Border) -> None:
        down(border)
        queued = border.declare("batch.csv", "--queue").data
        (row,) = outbox(border)
        assert (row["record_id"], row["state"]) == (queued["record_id"], "queued")

    def test_status_says_how_much_waits_and_since_when(self, border: Border) -> None:
        down(border)
        border.declare("batch.csv", "--queue")
        status = border.exporter("outbox", "status", "--json").data
        (row,) = outbox(border)
        assert (status["queued"], status["oldest_queued_at"]) == (1, row["created_at"])

    def test_status_gives_the_same_as_metrics(self, border: Border) -> None:
        down(border)
        border.declare("batch.csv", "--queue")
        text = border.exporter("outbox", "status", "--prometheus").out
        counts, oldest, _ = text_string_to_metric_families(text)
        where = {"institution": EXPORTER, "state": "queued"}
        assert [each.value for each in counts.samples if each.labels == where] == [1]
        assert [each.labels for each in oldest.samples] == [where]

    @pytest.mark.parametrize(
        ("said", "within"), [((), 3_600), (("--cosigned-within", "172800"), 172_800)]
    )
    def test_one_says_how_long_a_receipt_may_wait_for_its_cosignature(
        self, border: Border, said: tuple[str, ...], within: int
    ) -> None:
        border.declare("batch.csv")
        text = border.exporter("outbox", "status", "--prometheus", *said).out
        *_, bound = text_string_to_metric_families(text)
        (sample,) = bound.samples
        assert (sample.labels, sample.value) == ({"institution": EXPORTER}, within)

    def test_flush_sends_what_is_queued(self, border: Border) -> None:
        down(border)
        border.declare("batch.csv", "--queue")
        up(border)
        counts = border.exporter("outbox", "flush", "--json").data
        assert counts == {"queued": 0, "recorded": 1, "refused": 0}

    def test_what_the_node_refuses_is_set_aside_with_its_reason(self, border: Border) -> None:
        down(border)
        border.declare("batch.csv", "--queue")
        up(border)
        revoke(border)
        assert border.exporter("outbox", "flush", "--json").data["refused"] == 1
        assert [row["last_reason"] for row in outbox(border)] == ["KEY_REVOKED"]

    def test_flush_names_what_is_refused_and_exits_3(self, border: Border) -> None:
        record_id = refused(border)
        ran = border.exporter("outbox", "flush")
        assert (ran.code, record_id in ran.err, "KEY_REVOKED" in ran.err) == (3, True, True)

    def test_as_long_as_nobody_has_seen_to_it(self, border: Border) -> None:
        record_id = refused(border)
        again = [border.exporter("outbox", "flush").code for _ in range(2)]
        border.exporter("outbox", "drop", record_id, "--reason", "enrolled anew")
        assert (again, border.exporter("outbox", "flush").code) == ([3, 3], 0)

    def test_whoever_declares_is_told_where_a_refused_record_is(self, border: Border) -> None:
        revoke(border)
        ran = border.declare("batch.csv")
        assert (ran.code, "`ledgerctl outbox list`" in ran.err) == (3, True)

    def test_the_ticket_gets_its_receipt_later(self, border: Border) -> None:
        down(border)
        record_id = border.declare("batch.csv", "--queue").data["record_id"]
        up(border)
        border.exporter("outbox", "flush")
        border.exporter("outbox", "ticket", record_id, "--out", "later.ticket")
        assert (ticket(border).queued, ticket(border, "later.ticket").queued) == (True, False)

    def test_a_dropped_record_is_not_sent(self, border: Border) -> None:
        down(border)
        record_id = border.declare("batch.csv", "--queue").data["record_id"]
        assert border.exporter("outbox", "drop", record_id, "--reason", "sent twice").code == 0
        up(border)
        border.exporter("outbox", "flush")
        assert border.mainland.node.log.size == 2

    @pytest.mark.parametrize("reason", ["half a \udcff character", "turned \u202e round", "a\x1b"])
    def test_a_reason_is_plain_text(self, border: Border, reason: str) -> None:
        down(border)
        record_id = border.declare("batch.csv", "--queue").data["record_id"]
        ran = border.exporter("outbox", "drop", record_id, "--reason", reason)
        assert (ran.code, ran.err.startswith("ledgerctl: reason ")) == (2, True)

    def test_a_dropped_record_says_why(self, border: Border) -> None:
        down(border)
        record_id = border.declare("batch.csv", "--queue").data["record_id"]
        border.exporter("outbox", "drop", record_id, "--reason", "sent twice")
        (row,) = outbox(border, "--all")
        assert (row["state"], row["last_message"]) == ("dropped", "sent twice")

    def test_what_is_not_refused_is_not_retried(self, border: Border) -> None:
        record_id = border.declare("batch.csv").data["record_id"]
        assert border.exporter("outbox", "retry", record_id).code == 3

    def test_a_refused_record_is_queued_again(self, border: Border) -> None:
        record_id = refused(border)
        border.exporter("outbox", "flush")
        assert border.exporter("outbox", "retry", record_id, "--json").data == {"queued": 1}

    def test_all_are_queued_again_only_if_that_is_said(self, border: Border) -> None:
        refused(border)
        border.exporter("outbox", "flush")
        assert border.exporter("outbox", "retry", "--all", "--json").data == {"queued": 1}

    @pytest.mark.parametrize("args", [(), ("--all", "00" * 16)], ids=["neither", "both"])
    def test_retry_asks_which(self, border: Border, args: tuple[str, ...]) -> None:
        border.declare("batch.csv")
        ran = border.exporter("outbox", "retry", *args)
        assert (ran.code, "--all" in ran.err) == (2, True)

    def test_what_is_in_the_log_is_not_dropped(self, border: Border) -> None:
        record_id = border.declare("batch.csv").data["record_id"]
        ran = border.exporter("outbox", "drop", record_id, "--reason", "sent twice")
        assert (ran.code, "is in the log" in ran.err) == (3, True)
        assert [row["state"] for row in outbox(border)] == ["recorded"]

    def test_whoever_drops_what_may_be_in_the_log_is_told(self, border: Border) -> None:
        down(border)
        record_id = border.declare("batch.csv", "--queue").data["record_id"]
        path = Settings.from_file(border.tool.path("hospital/client.toml")).outbox
        assert path is not None
        with closing(Outbox.open(path, now=system_now)) as opened:
            opened.failed(bytes.fromhex(record_id), "REPLY_LOST", "no answer", 0)
        ran = border.exporter("outbox", "drop", record_id, "--reason", "in haste")
        assert (ran.code, "an answer was lost" in ran.err) == (0, True)

    def test_a_list_of_nothing_says_so(self, border: Border) -> None:
        border.exporter("outbox", "flush")
        ran = border.exporter("outbox", "list")
        assert (ran.out, ran.err) == ("", "There is nothing to do.\n")

    @pytest.mark.parametrize("record_id", ["", "zz", "00", "00" * 17])
    def test_what_is_no_record_id_is_bad_input(self, border: Border, record_id: str) -> None:
        border.declare("batch.csv")
        assert border.exporter("outbox", "drop", record_id, "--reason", "x").code == 2

    def test_a_record_that_is_not_there_is_not_found(self, border: Border) -> None:
        border.declare("batch.csv")
        assert border.exporter("outbox", "drop", "00" * 16, "--reason", "x").code == 3

    def test_looking_makes_no_outbox(self, border: Border) -> None:
        assert border.exporter("outbox", "list").code == 2
        assert not border.tool.path("hospital/outbox.db").exists()


class TestAck:
    def test_the_payload_that_was_declared_is_accepted(self, border: Border) -> None:
        border.declare("batch.csv")
        assert border.acknowledge("--payload", "batch.csv").data["outcome"] == "accepted"

    def test_parts_are_accepted_in_any_order(self, border: Border) -> None:
        border.declare("batch.csv", "image.png")
        ran = border.acknowledge("--payload", "image.png", "--payload", "batch.csv")
        assert ran.data["outcome"] == "accepted"

    def test_another_payload_is_recorded_as_a_mismatch_and_exits_1(self, border: Border) -> None:
        border.declare("batch.csv")
        ran = border.acknowledge("--payload", "image.png")
        assert (ran.code, ran.data["outcome"]) == (1, "digest_mismatch")
        assert border.hongkong.node.log.size == 3

    def test_parts_that_differ_are_named(self, border: Border) -> None:
        border.declare("batch.csv", "image.png")
        border.tool.path("image.png").write_bytes(b"GIF89a")
        ran = border.acknowledge("--payload", "batch.csv", "--payload", "image.png")
        assert (ran.code, ran.data["outcome"]) == (1, "digest_mismatch")
        assert ran.data["differing_parts"] == ["image.png"]

    def test_a_part_that_is_missing_is_named_and_nothing_recorded(self, border: Border) -> None:
        border.declare("batch.csv", "image.png")
        ran = border.acknowledge("--payload", "batch.csv")
        assert (ran.code, "missing: 'image.png'" in ran.err) == (2, True)
        assert border.hongkong.node.log.size == 2

    def test_so_is_a_part_that_was_renamed(self, border: Border) -> None:
        border.declare("batch.csv", "image.png")
        border.tool.path("image.png").rename(border.tool.path("IMAGE~1.PNG"))
        ran = border.acknowledge("--payload", "batch.csv", "--payload", "IMAGE~1.PNG")
        assert (ran.code, "'IMAGE~1.PNG'" in ran.err, "--outcome" in ran.err) == (2, True, True)
        assert border.hongkong.node.log.size == 2

    def test_the_outcome_may_be_said_instead(self, border: Border) -> None:
        border.declare("batch.csv", "image.png")
        ran = border.acknowledge("--payload", "batch.csv", "--outcome", "digest_mismatch")
        assert (ran.code, ran.data["outcome"]) == (1, "digest_mismatch")

    def test_said_again_it_is_the_record_that_is_in_the_log(self, border: Border) -> None:
        border.declare("batch.csv")
        first, again = (border.acknowledge("--payload", "batch.csv").data for _ in range(2))
        assert again == first
        got = border.recipient("receipt", "get", again["record_id"], "--out", "a.tlog-proof")
        assert got.code == 0

    def test_a_count_beyond_all_people_is_bad_input(self, border: Border) -> None:
        border.declare("batch.csv")
        count = ("--received-subjects", "9" * 30)
        assert border.acknowledge("--payload", "batch.csv", *count).code == 2

    def test_a_rejection_is_recorded_as_said(self, border: Border) -> None:
        border.declare("batch.csv")
        ran = border.acknowledge("--outcome", "rejected", "--reason", "no contract")
        assert (ran.code, ran.data["outcome"]) == (0, "rejected")

    def test_an_outcome_that_is_none_is_bad_input(self, border: Border) -> None:
        border.declare("batch.csv")
        assert border.acknowledge("--payload", "batch.csv", "--outcome", "fine").code == 2

    def test_a_ticket_without_a_receipt_is_not_taken(self, border: Border) -> None:
        down(border)
        border.declare("batch.csv", "--queue")
        ran = border.acknowledge("--payload", "batch.csv")
        assert (ran.code, "--allow-queued" in ran.err) == (3, True)

    def test_a_ticket_for_somebody_else_is_refused(self, border: Border) -> None:
        border.declare("batch.csv")
        assert border.exporter("ack", "a.ticket", "--payload", "batch.csv").code == 3

    def test_what_is_no_ticket_is_bad_input(self, border: Border) -> None:
        border.tool.path("a.ticket").write_bytes(b"not a ticket")
        assert border.acknowledge("--payload", "batch.csv").code == 2


class TestShowAndCancel:
    def test_both_halves_show(self, border: Border) -> None:
        border.declare("batch.csv")
        border.acknowledge("--payload", "batch.csv")
        shown = border.exporter("show", "a.ticket", "--json").data
        assert shown["state"] == "matched"
        halves = [(half["kind"], half["outcome"]) for half in shown["halves"]]
        assert halves == [("transfer", ""), ("ack", "accepted")]

    def test_a_ref_does_for_a_ticket(self, border: Border) -> None:
        ref = border.declare("batch.csv").data["ref"]
        assert border.exporter("show", ref, "--json").data["ref"] == ref

    def test_people_read_one_line_a_half(self, border: Border) -> None:
        border.declare("batch.csv")
        shown = border.exporter("show", "a.ticket").out
        assert f"institution {EXPORTER}" in shown

    def test_a_transfer_that_is_not_there_is_not_found(self, border: Border) -> None:
        assert border.exporter("show", "00" * 32).code == 3

    def test_what_is_neither_ticket_nor_ref_is_bad_input(self, border: Border) -> None:
        assert border.exporter("show", "nothing").code == 2

    def test_a_cancelled_transfer_shows_so(self, border: Border) -> None:
        border.declare("batch.csv")
        border.exporter("cancel", "a.ticket", "--reason", "wrong file")
        assert border.exporter("show", "a.ticket", "--json").data["state"] == "cancelled"


class TestReceiptGet:
    def test_a_fetched_receipt_verifies_offline(self, border: Border) -> None:
        record_id = border.declare("batch.csv").data["record_id"]
        assert border.exporter("receipt", "get", record_id, "--out", "a.tlog-proof").code == 0
        proven = verify(border, "a.tlog-proof").data
        assert (proven["institution"], proven["kind"]) == (EXPORTER, "transfer")

    def test_a_cosigned_one_verifies_where_that_is_required(self, border: Border) -> None:
        record_id = border.declare("batch.csv").data["record_id"]
        border.mainland.node.cosign()
        border.exporter("receipt", "get", record_id, "--out", "a.tlog-proof", "--cosigned")
        assert verify(border, "a.tlog-proof", "--require-cosignature").code == 0

    def test_what_is_not_cosigned_yet_is_not_there(self, border: Border) -> None:
        record_id = border.declare("batch.csv").data["record_id"]
        ran = border.exporter("receipt", "get", record_id, "--out", "a.tlog-proof", "--cosigned")
        assert ran.code == 3
        assert not border.tool.path("a.tlog-proof").exists()

    def test_an_index_does_for_a_record_id(self, border: Border) -> None:
        index = border.declare("batch.csv").data["index"]
        border.exporter("receipt", "get", index, "--out", "a.tlog-proof")
        assert Receipt.parse(border.tool.path("a.tlog-proof").read_bytes()).index == index

    def test_waiting_is_for_a_record_id(self, border: Border) -> None:
        index = border.declare("batch.csv").data["index"]
        args = ("receipt", "get", index, "--wait", 9, "--out", "a.tlog-proof")
        assert border.exporter(*args).code == 2

    @pytest.mark.parametrize("index", ["\u0662", "+2", "2.0", "9" * 20])
    def test_an_index_has_one_spelling(self, border: Border, index: str) -> None:
        border.declare("batch.csv")
        assert border.exporter("receipt", "get", index, "--out", "a.tlog-proof").code == 2

    def test_the_checkpoint_is_the_signed_note(self, border: Border) -> None:
        shown = border.exporter("checkpoint").out
        assert shown.startswith(f"{border.mainland.authority.origin}\n")


def verify(border: Border, receipt: str, *args: object) -> Ran:
    options = ("--trust", "trust.txt", "--keys", "hospital/keys", "--json")
    return border.tool("receipt", "verify", receipt, *options, *args)


class TestOpen:
    """Years later, with the ticket alone or with all that is needed to prove it."""

    PROVING = ("--trust", "trust.txt", "--keys", "hospital/keys", "--json")

    def open(self, border: Border, *args: object) -> Ran:
        return border.exporter("open", *args)

    def test_the_file_that_was_declared_is_recognised(self, border: Border) -> None:
        border.declare("batch.csv")
        assert self.open(border, "a.ticket", "--payload", "batch.csv").code == 0

    def test_any_other_file_is_not(self, border: Border) -> None:
        border.declare("batch.csv")
        assert self.open(border, "a.ticket", "--payload", "image.png").code == 1

    def test_the_outbox_knows_the_ticket_of_a_ref(self, border: Border) -> None:
        ref = border.declare("batch.csv").data["ref"]
        assert self.open(border, ref, "--payload", "batch.csv").code == 0

    def test_a_ref_of_nobody_is_not_found(self, border: Border) -> None:
        border.declare("batch.csv")
        assert self.open(border, "00" * 32, "--payload", "batch.csv").code == 3

    def test_trust_and_key_histories_prove_that_it_was_recorded(self, border: Border) -> None:
        border.declare("batch.csv")
        proven = self.open(border, "a.ticket", "--payload", "batch.csv", *self.PROVING).data
        assert (proven["institution"], proven["index"]) == (EXPORTER, 2)

    def test_a_receipt_of_another_transfer_proves_nothing(self, border: Border) -> None:
        border.declare("batch.csv")
        border.declare("image.png", ticket="b.ticket")
        stolen = ticket(border, "b.ticket").receipt
        mixed = Ticket(ticket(border).terms, ticket(border).salt, receipt=stolen)
        border.tool.path("mixed.ticket").write_bytes(mixed.encode())
        ran = self.open(border, "mixed.ticket", "--payload", "batch.csv", *self.PROVING)
        assert (ran.code, "ask the exporter" in ran.err) == (1, True)

    def test_a_queued_ticket_proves_nothing(self, border: Border) -> None:
        down(border)
        border.declare("batch.csv", "--queue")
        assert self.open(border, "a.ticket", "--payload", "batch.csv", *self.PROVING).code == 3

    def test_one_part_of_several_is_recognised(self, border: Border) -> None:
        border.declare("batch.csv", "image.png")
        ran = self.open(border, "a.ticket", "--payload", "image.png")
        assert (ran.code, "1 more" in ran.err) == (0, True)

    def test_a_part_with_the_content_of_another_is_not(self, border: Border) -> None:
        border.declare("batch.csv", "image.png")
        border.tool.path("image.png").write_bytes(b"")
        assert self.open(border, "a.ticket", "--payload", "image.png").code == 1

    def test_a_part_that_was_not_declared_is_a_wrong_call(self, border: Border) -> None:
        border.declare("batch.csv", "image.png")
        border.tool.path("image.png").rename(border.tool.path("other.png"))
        ran = self.open(border, "a.ticket", "--payload", "other.png")
        assert (ran.code, "OTHER_PARTS" in ran.err) == (2, True)

    def test_remote_viewing_has_nothing_to_open(self, border: Border) -> None:
        border.declare("--transmission", "remote_view")
        assert self.open(border, "a.ticket", "--payload", "batch.csv").code == 2

    def test_trust_without_keys_is_bad_input(self, border: Border) -> None:
        border.declare("batch.csv")
        args = ("a.ticket", "--payload", "batch.csv", "--trust", "trust.txt")
        assert self.open(border, *args).code == 2


class TestProgram:
    def test_the_installed_program_declares_and_tells_queued_from_recorded(
        self, border: Border
    ) -> None:
        args = ("batch.csv", *TERMS, "--ticket", "a.ticket", "--config", "hospital/client.toml")
        ran = border.tool.program("declare", *args, "--json")
        assert (ran.code, ran.data["status"], ran.err) == (0, "recorded", "")

    def test_a_node_that_is_not_there_exits_3_with_one_line(self, border: Border) -> None:
        down(border)
        ran = border.tool.program("checkpoint", "--config", "hospital/client.toml")
        assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)


class TestTampering:
    def test_a_node_that_forgets_exits_1_with_both_signed_checkpoints(self, border: Border) -> None:
        border.declare("batch.csv")
        log = border.mainland.node.log
        for entries in (log.headers, log.bodies, log._leaves):
            entries.pop()
        ran = border.exporter("checkpoint")
        signatures = [line for line in ran.err.splitlines() if line.startswith("\u2014 ")]
        assert (ran.code, ran.out, len(signatures)) == (1, "", 2)


class TestWhatIsOursToMend:
    """None of it exits 1, which says that something proves tampering."""

    def test_a_damaged_checkpoint_of_ours(self, border: Border) -> None:
        border.declare("batch.csv")
        (kept,) = border.tool.path("hospital/keys").glob("*.checkpoint")
        kept.write_bytes(kept.read_bytes().replace(b"\n3\n", b"\n7\n"))
        ran = border.exporter("checkpoint")
        assert (ran.code, kept.name in ran.err, "from a copy" in ran.err) == (3, True, True)

    def test_a_trust_file_of_other_logs(self, border: Border) -> None:
        other = border.tool.path("hongkong/trust.txt").read_bytes()
        border.tool.path("hospital/trust.txt").write_bytes(other)
        ran = border.exporter("checkpoint")
        assert (ran.code, "hospital/trust.txt" in ran.err) == (2, True)

    def test_settings_that_are_not_there(self, border: Border) -> None:
        ran = border.tool("checkpoint")
        assert (ran.code, "--config" in ran.err) == (2, True)

    def test_a_certificate_of_another_side(self, border: Border) -> None:
        path = border.tool.path("hospital/client.toml")
        path.write_text(
            path.read_text().replace(border.mainland.endpoint, border.hongkong.endpoint)
        )
        ran = border.tool.program("checkpoint", "--config", path)
        assert (ran.code, ran.err.count("\n"), "certificate" in ran.err) == (3, 1, True)

    @pytest.mark.parametrize("command", [("show",), ("open", "--payload", "batch.csv")])
    def test_a_name_that_no_file_can_have(self, border: Border, command: tuple[str, ...]) -> None:
        ran = border.exporter(*command, "x" * 300)
        assert (ran.code, "File name too long" in ran.err) == (2, True)


def test_the_paths_in_the_settings_are_relative_to_the_file(border: Border) -> None:
    border.tool.path("elsewhere").mkdir()
    ran = Tool(border.tool.path("elsewhere")).program(
        "checkpoint", "--config", Path("..") / "hospital" / "client.toml"
    )
    assert ran.code == 0
