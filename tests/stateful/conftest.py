from __future__ import annotations

import pytest
from stateful.node import counted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tried = ", ".join(f"{count} {what}" for what, count in counted.items())
    terminalreporter.write_line(f"tried: {tried}")
