"""The configuration: one TOML file, read strictly (docs/operations.md, "Configuration")."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator

from ledgerd.rules.law import load_law
from ledgerd.toml_file import FilePath, Table, faults, load
from ledgerd_client.core.errors import InputError, LedgerError
from ledgerd_client.core.header import check_origin
from ledgerd_client.identity import OPERATOR, PEER, SpiffeId

_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
# The law of [rules] that is the newest one this program holds.
NEWEST: Final = "newest"
# Of a Python program in memory, more would be a mistake in the unit.
_MAX_WORKERS = 64


def _check_endpoint(text: str) -> str:
    found = _ENDPOINT.fullmatch(text)
    if found is None or int(found[2]) > 65535:
        raise ValueError(f"{text!r} is not host:port")
    return text


def _check_reached(text: str) -> str:
    return _check_endpoint(text) if text else text


def _check_origin(text: str) -> str:
    try:
        check_origin(text)
    except LedgerError as error:
        raise ValueError(error.message) from None
    return text


def _check_law(version: str, info: ValidationInfo) -> str:
    """A node that runs is judged by its log's law: that this one is not held stops no command."""
    if info.context and info.context["all"] and version not in ("", NEWEST):
        try:
            load_law(version)
        except LedgerError as error:
            raise ValueError(f"{error.message}: {error.action}") from None
    return version


Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
Origin = Annotated[str, AfterValidator(_check_origin)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Keys(Table):
    """Key files; `ledgerd init` makes those that are not there."""

    log: FilePath = Field(description="signs checkpoints of this log")
    entry: FilePath = Field(description="signs the node's own entries: findings, anchors, rules")
    cosigner: FilePath = Field(description="cosigns the peer's checkpoints")
    passphrase: FilePath | None = Field(
        default=None,
        description="file with the passphrase that opens sealed key files",
    )


class Tls(Table):
    """The node's one certificate: it serves with it, and calls its peer with it."""

    certificate: FilePath = Field(description="PEM; written by `ledgerd init --genesis`")
    key: FilePath = Field(description="PEM; made by `ledgerd init --request` if not there")
    hosts: tuple[str, ...] = Field(
        default=("localhost",),
        min_length=1,
        strict=False,
        description="DNS names and IP addresses that the certificate is asked for",
    )


# Over a link it is asked every few seconds; a courier may bring the answer a day later.
_SILENCE_S: Final = 300.0
_COURIER_S: Final = 172_800.0


class Peer(Table):
    """The other side's node."""

    endpoint: Annotated[str, AfterValidator(_check_reached)] = Field(
        default="", description="host:port at which it listens; empty where no link is allowed"
    )
    exchange: FilePath | None = Field(
        default=None,
        description="in place of endpoint: directory for what `ledgerd peer` carries as files",
    )
    id: Name = Field(description="its name, as in spiffe://<trust domain>/peer/<id>")
    trust_domain: str = Field(
        default="", description="trust domain of its certificate; by default the same as ours"
    )
    silent_after_s: float | None = Field(
        default=None,
        ge=60,
        le=31_536_000,
        description="how long nothing new need come from it before that is a trouble: over a link"
        " 300, of files 172800",
    )

    @property
    def silence_s(self) -> float:
        """Seconds after which it is silent."""
        by_default = _SILENCE_S if self.exchange is None else _COURIER_S
        return self.silent_after_s or by_default

    @model_validator(mode="after")
    def _check_way(self) -> Self:
        if bool(self.endpoint) == (self.exchange is not None):
            raise ValueError("say how the peer is reached: by endpoint, or by exchange")
        return self


class Timing(Table):
    """How often things are done; none of it changes what is right."""

    anchor_interval_s: float = Field(
        default=60, gt=0, le=86_400, description="least time between two anchors of the peer"
    )
    poll_interval_s: float = Field(
        default=5, gt=0, le=3_600, description="how often the peer is asked for new entries"
    )
    call_timeout_s: float = Field(
        default=10, gt=0, le=600, description="how long one call to the peer may take"
    )
    fetch_timeout_s: float = Field(
        default=60,
        gt=0,
        le=3_600,
        description="how long a stream of the peer's headers may take; the next goes on from there",
    )
    connection_age_s: float = Field(
        default=300,
        ge=1,
        le=86_400,
        description="how old a connection gets: the next one shows its certificate again, and is"
        " shown ours",
    )
    drain_s: float = Field(
        default=10, ge=0, le=300, description="how long calls in flight may take once we stop"
    )


class Rules(Table):
    """The rule set that `ledgerd init`, or later `ledgerd adopt-rules`, puts in force."""

    law: Annotated[str, AfterValidator(_check_law)] = Field(
        default=NEWEST,
        description="version of the law by which contents are judged: `newest` is the newest that"
        " this program holds; empty: contents are not judged",
    )

    acknowledge_within_s: int = Field(
        default=86_400, gt=0, description="after this the other half of a transfer is missing"
    )
    correct_within_s: int = Field(
        default=259_200, gt=0, description="after this a correction should have been met"
    )
    record_within_s: int = Field(
        default=86_400,
        gt=0,
        description="how long a record may take to reach the log: later it is late, and only"
        " so long after a deadline of this side is it missed",
    )
    agree_within_s: int = Field(
        default=2_592_000,
        ge=0,
        description="after this a contract that one party alone states is one-sided; 0: never",
    )


class Limits(Table):
    """What the node may use of its machine."""

    workers: int = Field(
        default=2, ge=1, le=_MAX_WORKERS, description="processes that check signatures"
    )
    map_size: int = Field(
        default=1 << 40,
        ge=1 << 24,
        description="most bytes that the store may grow to; address space, not disk",
    )
    reserve_bytes: int = Field(
        default=256 << 20, ge=0, description="kept free on the disk: below it appends wait"
    )
    records_per_second: int = Field(
        default=50_000,
        ge=1,
        description="of one caller, on the average of ten seconds; over it the caller waits",
    )
    bytes_per_second: int = Field(
        default=1 << 26,
        ge=1 << 10,
        description="sent and received by one caller; over it streams slow down, other calls wait",
    )
    replica_quota_bytes: int = Field(
        default=1 << 36, ge=1 << 24, description="most bytes that the peer's replica may take"
    )


class Standby(Table):
    """This side's standby, which follows the node with every body; and the node, to its standby."""

    wait: bool = Field(
        default=False,
        description="nothing is acknowledged, and nothing shown to the peer, before the standby"
        " has it on its disk; without the standby nothing is recorded",
    )
    wait_s: float = Field(
        default=5, gt=0, le=600, description="how long a call waits for the standby at most"
    )
    expected: bool = Field(
        default=False,
        description="there is to be a standby: while it does not ask, status and alerts say so,"
        " from the start on; with `standby.wait` they do without it",
    )
    primary: Endpoint | None = Field(
        default=None, description="of a standby: host:port of the node that it follows"
    )


class Config(Table):
    """
    Everything that the daemon is told; the rest it knows from its log.

    Every field says in its description what it is for: docs/operations.md is made of them.
    """

    origin: Origin = Field(description="the name of this log, for ever")
    id: Name = Field(description="this node's name, as in spiffe://<trust domain>/peer/<id>")
    trust_domain: str = Field(description="trust domain of this side's certificates")
    data: FilePath = Field(description="directory of everything that the node keeps")
    listen: Endpoint = Field(
        default="127.0.0.1:7443", description="host:port to serve at; port 0 takes a free one"
    )
    trust: FilePath = Field(description="trust file of both sides")
    operators: tuple[Name, ...] = Field(
        default=(),
        strict=False,
        description="ids of operators, who may hand in what the authority signed",
    )
    keys: Keys
    tls: Tls
    peer: Peer
    timing: Timing = Timing()
    rules: Rules = Rules()
    limits: Limits = Limits()
    standby: Standby = Standby()
    metrics_listen: Endpoint | None = Field(
        default=None, description="host:port for Prometheus, without TLS; by default none"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug adds a line for every call that went well"
    )

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        try:
            _ = self.spiffe_id, self.peer_spiffe_id
            for operator in self.operators:
                SpiffeId(self.trust_domain, OPERATOR, operator)
        except LedgerError as error:
            raise ValueError(error.message) from None
        return self

    @model_validator(mode="after")
    def _check_apart(self) -> Self:
        keys = (self.keys.log, self.keys.entry, self.keys.cosigner, self.tls.key)
        if len(set(keys)) < len(keys):
            raise ValueError("keys.log, keys.entry, keys.cosigner and tls.key are four files")
        if self.peer_spiffe_id == self.spiffe_id:
            raise ValueError("peer.id and peer.trust_domain name this node itself")
        if self.metrics_listen == self.listen and not self.listen.endswith(":0"):
            raise ValueError("listen and metrics_listen are two addresses")
        if self.standby.wait and self.peer.exchange is not None:
            raise ValueError("standby.wait needs a peer that is reached by peer.endpoint")
        return self

    @property
    def spiffe_id(self) -> SpiffeId:
        """Whom the node's own certificate names."""
        return SpiffeId(self.trust_domain, PEER, self.id)

    @property
    def peer_spiffe_id(self) -> SpiffeId:
        """Whom the peer's certificate names."""
        return SpiffeId(self.peer.trust_domain or self.trust_domain, PEER, self.peer.id)

    @property
    def listens_on_loopback(self) -> bool:
        """Whether nobody but this machine can reach the node."""
        host = self.listen.rpartition(":")[0].strip("[]")
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def store(self) -> Path:
        """The directory of the ledger's own store."""
        return self.data / "store"

    @property
    def peer_store(self) -> Path:
        """The directory of replica and witness state."""
        return self.data / "peer"

    @classmethod
    def faults(cls, path: Path) -> list[InputError]:
        """Everything that is wrong with a file; more than `load` looks at."""
        return faults(cls, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file; raises InputError, which names file and key."""
        return load(cls, path)
