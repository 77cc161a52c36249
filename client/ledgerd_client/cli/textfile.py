"""Metrics as text, for node_exporter's textfile collector: gauges in Prometheus's own format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Family(NamedTuple):
    """A gauge: its samples by their labels."""

    name: str
    text: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def format_families(*families: Family) -> str:
    """As https://prometheus.io/docs/instrumenting/exposition_formats/ has it."""
    lines: list[str] = []
    for name, text, samples in families:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        lines += [f"{name}{{{_labels(labels)}}} {value}" for labels, value in samples]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
