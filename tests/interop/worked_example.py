"""
Print the worked example of docs/format.md from tests/vectors/format.json.

cd tests && python -m interop.worked_example
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent.parent / "vectors" / "format.json"
LAYOUT = {
    "version": 1,
    "index": 8,
    "recorded_at": 8,
    "previous_leaf_hash": 32,
    "kind": 1,
    "body_digest": 32,
    "key_index": 8,
    "key_id": 33,
    "signature's length": 2,
    "signature": 64,
    "has_halves": 1,
    "ref": 32,
    "terms_digest": 32,
    "outcome": 1,
    "origin's length": 1,
    "counterparty_origin": 20,
}
INTRODUCTION = """\
Entry 3 of `gba.example/mainland`, a TRANSFER, as the vectors have it. Hexadecimal is wrapped for the
page. The four blocks marked † are whole files; saved under the names in brackets they verify with
`verify_receipt.py receipt --trust trust --keys mainland --keys hongkong --require-cosignature`.
"""


def block(*lines: str) -> str:
    return "```text\n" + "\n".join(lines) + "\n```\n"


def wrapped(value: str, width: int = 96) -> list[str]:
    return [value[at : at + width] for at in range(0, len(value), width)]


def header_table(header: str) -> list[str]:
    lines, at = [], 0
    for name, size in LAYOUT.items():
        first, *rest = wrapped(header[2 * at : 2 * (at + size)], 66)
        lines += [f"{at:3} {name:19} {first}", *(" " * 24 + more for more in rest)]
        at += size
    assert header[2 * at :] == ""
    return lines


def files(vectors: dict[str, Any]) -> dict[str, str]:
    """The four files that verify together: key histories as they were at size 4."""
    histories = {
        log["origin"].split("/")[1]: "".join(log["key_history"].splitlines(keepends=True)[:4])
        for log in vectors["logs"]
    }
    cosigned = (item for item in vectors["receipts"] if item["size"] == 4 and item["cosigned"])
    return {"trust": vectors["trust"]["file"], **histories, "receipt": next(cosigned)["file"]}


def example(vectors: dict[str, Any]) -> str:
    """The section as Markdown, without its heading."""
    shown = {name: block(*file[:-1].split("\n")) for name, file in files(vectors).items()}
    fingerprint = vectors["trust"]["fingerprint"]
    sections = {
        "": INTRODUCTION,
        "**Trust file** † (`trust`), with throw-away certificates:": shown["trust"],
        f"Its fingerprint is `{fingerprint}`.": "",
        "**Key history of the origin** † (`mainland`), as it was then:": shown["mainland"],
        "**Key history of the peer** † (`hongkong`):": shown["hongkong"],
        **entry_sections(vectors),
        "**Receipt** † (`receipt`), cosigned. The proof is the leaf hash of entry 2, then the root of"
        " entries 0 and 1:": shown["receipt"],
        "**Leaf hash and root**, and the bytes that the peer signed:": tree_block(vectors),
    }
    return "\n".join(f"{say}\n\n{what}".strip("\n") + "\n" for say, what in sections.items())


def entry_sections(vectors: dict[str, Any]) -> dict[str, str]:
    entry, deal = vectors["logs"][0]["entries"][3], vectors["deals"]["single"]
    payload = bytes.fromhex(deal["payload"]).decode()
    derived = {name: deal[name] for name in ("salt", "commitment", "ref", "terms_digest")}
    values = {"nonce": deal["fields"]["nonce"], **derived}
    terms = [*wrapped(deal["terms"]), "", *(f"{name:13} {value}" for name, value in values.items())]
    body = [*wrapped(entry["body"]), "", *wrapped(entry["signed_bytes"])]
    return {
        f"**Terms**, over a payload of {len(payload)} bytes, `{json.dumps(payload)[1:-1]}`:": block(
            *terms
        ),
        "**Body**, and the signed bytes:": block(*body),
        f"**Header**, by offset. The signer's public key is `{entry['signer_key']}`.": block(
            *header_table(entry["header"])
        ),
    }


def tree_block(vectors: dict[str, Any]) -> str:
    log = vectors["logs"][0]
    checkpoint = log["checkpoints"][3]
    said = f"cosignature/v1\ntime {checkpoint['cosigned_at']}\n{checkpoint['text']}"
    hashes = {"leaf hash": log["entries"][3]["leaf_hash"], "root": log["roots"][4]}
    lines = [f"{name:13} {value}" for name, value in hashes.items()]
    return block(*lines, "", *wrapped(said.encode().hex()))


if __name__ == "__main__":
    sys.stdout.write(example(json.loads(VECTORS.read_text(encoding="utf-8"))))
