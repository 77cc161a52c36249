"""SIGHUP: what a node takes over while it runs, and what it says that it could not take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import structlog
from pydantic import BaseModel

from ledgerd.config import Config
from ledgerd.init import rule_set_of
from ledgerd.ledger.call import Call
from ledgerd.node.running import Node
from ledgerd.observe.logs import set_level
from ledgerd.observe.notify import Notifier
from ledgerd_client.core.errors import LedgerError

# Settings, and tables of them, that are taken over.
_TAKEN: Final = ("log_level", "rules.", "tls.")

_log = structlog.get_logger()


class Reloader:
    """
    Takes over certificate, rules and log level, and names what else has changed.

    load reads the configuration. Belongs to the node's event loop, and drops no call of it.
    """

    def __init__(self, node: Node, notifier: Notifier, load: Callable[[], Config]) -> None:
        self._node = node
        self._notifier = notifier
        self._load = load

    async def run(self, asked: asyncio.Event) -> None:
        """Reload whenever asked is set, until cancelled."""
        while True:
            await asked.wait()
            asked.clear()
            self._notifier.reloading()
            self._node.not_taken = await self._reload()
            self._notifier.ready(self._node.status)

    async def _reload(self) -> list[str]:
        """Take over what can be; return what can't, with the reason."""
        try:
            config = self._load()
        except LedgerError as error:
            return [_said("configuration", error)]
        left = [each async for each in self._take(config)]
        _log.info("reloaded", not_taken=left)
        return left

    async def _take(self, config: Config) -> AsyncIterator[str]:
        set_level(config.log_level)
        for what, take in (("certificate", self._take_certificate), ("rules", self._adopt)):
            try:
                await take(config)
            except LedgerError as error:
                yield _said(what, error)
        for setting in _changed(self._node.config, config):
            _log.warning("not_reloaded", what=setting, action="restart the node")
            yield f"{setting}: needs a restart"

    async def _take_certificate(self, config: Config) -> None:
        await self._node.renewal.take(config.tls)

    async def _adopt(self, config: Config) -> None:
        """Put the configured rules in force, from the log's next entry on, if others are."""
        rules = rule_set_of(config.rules)
        if rules == self._node.opened.reader.rule_set():
            return
        entry = self._node.opened.own_entries.sign(rule_set=rules)
        (outcome,) = (await self._node.parts.sequencer.append(Call.of([entry]))).outcomes
        if isinstance(outcome, LedgerError):
            raise outcome
        _log.info("rules_adopted", entry=outcome, law=rules.law)


def _said(what: str, error: LedgerError) -> str:
    _log.warning(
        "not_reloaded", what=what, reason=error.reason, message=error.message, action=error.action
    )
    return f"{what}: {error.message}"


def _changed(old: BaseModel, new: BaseModel, prefix: str = "") -> Iterator[str]:
    """Names of settings that differ and are not taken over."""
    for field in type(old).model_fields:
        before, after, name = getattr(old, field), getattr(new, field), prefix + field
        if isinstance(before, BaseModel):
            yield from _changed(before, after, f"{name}.")
        elif before != after and not name.startswith(_TAKEN):
            yield name
