"""Two nodes that no link connects: files are carried between them, and both logs are matched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from border import LEDGERD, Border, Node, audit, run
from institutions import STATEMENT, client, until

from ledgerd.peer.carried import Carried
from ledgerd_client.core.errors import NotReadyError

PAYLOAD = b"name;score\nA;700\n"
OURS, THEIRS = "sz-hospital", "hk-clinic"


def unlink(node: Node) -> None:
    """Have a node reach its peer by files alone, and hold nothing of it yet."""
    lines = node.config.read_text().splitlines(keepends=True)
    place = lines.index("[peer]\n")
    end = next(i for i in range(place, len(lines)) if lines[i].startswith("endpoint"))
    lines[end] = 'exchange = "exchange"\n'
    node.config.write_text("".join(lines))


@dataclass
class Courier:
    """Carries files; has them all."""

    border: Border
    home: Path
    files: list[Path] = field(default_factory=list)

    def take(self, node: Node) -> Path:
        """What a node has to say."""
        file = self.home / f"{len(self.files)}.carried"
        self.files.append(file)
        run(LEDGERD, "peer", "export", str(file), "--config", str(node.config))
        return file

    def bring(self, file: Path, node: Node) -> Path:
        """Hand it over, and wait for the answer with the cosignature."""
        answer = self.home / f"{len(self.files)}.carried"
        self.files.append(answer)
        run(
            LEDGERD, "peer", "import", str(file), "--config", str(node.config), "--out", str(answer)
        )
        return answer

    def answer_by_hand(self, old: Path, question: Path) -> Path:
        """An old file of the peer's, with a newer question written over the one that it answers."""
        file, asked = (Carried.parse(each.read_bytes()) for each in (old, question))
        assert file.answer is not None
        forged = replace(file.answer, question=asked.envelope.asks)
        path = self.home / f"{len(self.files)}.carried"
        self.files.append(path)
        path.write_bytes(file._replace(answer=forged).format())
        return path

    def go_round(self) -> None:
        """There, back, and there again."""
        mainland, hongkong = self.border.mainland, self.border.hongkong
        answer = self.bring(self.take(mainland), hongkong)
        self.bring(self.bring(answer, mainland), hongkong)


@pytest.fixture(scope="module")
def courier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Courier]:
    scratch = tmp_path_factory.mktemp("carried")
    border = Border(scratch / "border")
    try:
        for node in (border.mainland, border.hongkong):
            unlink(node)
            node.start()
        yield Courier(border, scratch)
    finally:
        border.close()


class TestNoLink:
    def test_a_transfer_is_matched_on_both_sides(self, courier: Courier) -> None:
        border = courier.border
        with client(border, OURS) as us, client(border, THEIRS) as them:
            # Whoever acknowledges needs the keys of the other side.
            courier.bring(courier.take(border.mainland), border.hongkong)
            declared = us.declare(payload=PAYLOAD, **STATEMENT)
            them.acknowledge(declared.ticket, PAYLOAD)
            courier.go_round()
            for ledger in (us, them):
                until(lambda: ledger.transfer(declared.ref).state, lambda s: s == "matched")  # noqa: B023 - at once

    def test_a_receipt_comes_to_be_cosigned(self, courier: Courier) -> None:
        with client(courier.border, OURS) as us:
            declared = us.declare(payload=PAYLOAD, **STATEMENT)
            courier.go_round()
            assert us.wait_cosigned(declared.record_id).index == declared.index

    def test_a_file_that_was_changed_is_cosigned_by_nobody(self, courier: Courier) -> None:
        border = courier.border
        with client(border, OURS) as us:
            us.declare(payload=PAYLOAD, **STATEMENT)
        file = courier.take(border.mainland)
        data = bytearray(file.read_bytes())
        # In the last header, which nothing but its root and signature vouch for.
        data[-100] ^= 1
        changed = file.with_suffix(".changed")
        changed.write_bytes(data)
        config = str(border.hongkong.config)
        answer = str(file.with_suffix(".answer"))
        done = run(LEDGERD, "peer", "import", str(changed), "--config", config, "--out", answer,
                   code=1)  # fmt: skip
        assert "carry it again" in done.stderr
        courier.bring(file, border.hongkong)

    def test_a_file_for_somebody_else_is_not_taken(self, courier: Courier) -> None:
        border = courier.border
        done = run(LEDGERD, "peer", "import", str(courier.take(border.mainland)), "--config",
                   str(border.mainland.config), code=2)  # fmt: skip
        assert "WRONG_ORIGIN" in done.stderr

    def test_a_file_goes_on_where_the_one_before_it_ended(self, courier: Courier) -> None:
        file, config = courier.home / "from-2.carried", courier.border.mainland.config
        run(LEDGERD, "peer", "export", str(file), "--config", str(config), "--start", "2")
        assert Carried.parse(file.read_bytes()).start == 2

    def test_an_answer_is_written_over_no_file_and_nothing_is_handed_over(
        self, courier: Courier
    ) -> None:
        file, config = courier.take(courier.border.hongkong), courier.border.mainland.config
        exchange = config.parent / "exchange" / "from-peer"
        before = exchange.read_bytes()
        done = run(LEDGERD, "peer", "import", str(file), "--config", str(config), "--out",
                   str(file), code=2)  # fmt: skip
        assert ("FILE_EXISTS" in done.stderr, exchange.read_bytes() == before) == (True, True)

    def test_an_old_answer_confirms_no_node_that_was_restored(self, courier: Courier) -> None:
        """What the peer said before the disk was lost is not what it knows now."""
        border, node = courier.border, courier.border.mainland
        config, backups = str(node.config), str(courier.home / "backups")
        courier.bring(courier.take(node), border.hongkong)
        # The peer's first: it begins at 0, as one for a node that has lost everything must.
        old = courier.files[1]
        run(LEDGERD, "backup", "--config", config, "--to", backups)
        assert node.stop() == 0
        shutil.rmtree(node.config.parent / "data" / "store")
        run(LEDGERD, "restore", "--config", config, "--from", backups)
        node.start()
        run(LEDGERD, "peer", "import", str(old), "--config", config)
        with client(border, OURS) as us:
            until(node.tail, lambda said: "NOT_CARRIED" in said)
            question = courier.take(node)
            spliced = courier.answer_by_hand(old, question)
            run(LEDGERD, "peer", "import", str(spliced), "--config", config)
            with pytest.raises(NotReadyError):
                us.declare(payload=PAYLOAD, **STATEMENT)
            answer = courier.bring(question, border.hongkong)
            run(LEDGERD, "peer", "import", str(answer), "--config", config)
            until(node.tail, lambda said: said.count("appends_taken"))
            assert us.declare(payload=PAYLOAD, **STATEMENT).receipt

    def test_both_nodes_pass_the_audit(self, courier: Courier) -> None:
        for node in (courier.border.hongkong, courier.border.mainland):
            assert node.stop() == 0
        audit(courier.border.hongkong.config)
