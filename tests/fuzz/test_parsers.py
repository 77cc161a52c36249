"""
Whatever bytes come, a parser of what strangers send returns a value or raises an error of ours.

What is taken has one spelling. A parser that stands in no table fails.
"""

from __future__ import annotations

import pytest
from fuzz.daemon import DAEMON, OF_THE_STORE, of_daemon
from fuzz.near import anything
from fuzz.parsers import CORE, Parser, of_core, of_sdk, sdk
from fuzz.profile import PROFILE
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd_client.core.errors import LedgerError

SDK = sdk()
PARSERS = {**CORE, **SDK, **DAEMON}


class TestTheTables:
    def test_hold_every_parser_of_the_core(self) -> None:
        assert CORE.keys() == of_core()

    def test_hold_every_parser_of_the_sdk(self) -> None:
        assert SDK.keys() == of_sdk()

    def test_hold_every_parser_of_the_daemon(self) -> None:
        assert DAEMON.keys() | OF_THE_STORE == of_daemon()

    @pytest.mark.parametrize(
        "name", [n for n, each in PARSERS.items() if each.write or n in DAEMON]
    )
    def test_begin_with_what_is_taken(self, name: str) -> None:
        """Else nothing that comes near to it is, either."""
        parser = PARSERS[name]
        taken = [sample for sample in parser.samples if written(parser, sample) is not None]
        assert taken


def written(parser: Parser, data: bytes) -> bytes | None:
    """What bytes are when they were read and written again; None when they are refused."""
    try:
        value = parser.read(data)
    except LedgerError:
        return None
    return parser.write(value) if parser.write else data


@pytest.mark.parametrize("name", PARSERS)
@settings(PROFILE)
@given(data=st.data())
def test_takes_bytes_in_their_one_spelling_or_refuses_them(name: str, data: st.DataObject) -> None:
    raw = data.draw(anything(PARSERS[name].samples))
    assert written(PARSERS[name], raw) in {None, raw}
