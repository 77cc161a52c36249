"""The package reinstalled, removed and purged, and what stays of a node."""

from __future__ import annotations

import pytest
from deb.machine import UNMET, Machine
from deb.side import INSTALL

pytestmark = pytest.mark.skipif(bool(UNMET), reason=UNMET)


DATA = "/var/lib/ledgerd/data"
# Over whichever version is there.
OTHER = f"cd /srv/package\n{INSTALL.replace('install', 'install --reinstall --allow-downgrades')}"
LATER = f"""
from contextlib import closing
from pathlib import Path
from ledgerd.store.format import FORMAT_KEY
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table

with closing(LmdbStore.open(Path("{DATA}/store"))) as store, store.write() as transaction:
    transaction.put(Table.META, FORMAT_KEY, b"99")
"""


class TestDowngrade:
    """In this order: an older program finds what a newer one has written, and then its own."""

    def test_a_store_that_it_does_not_read_is_left_alone(self, transfer: list[Machine]) -> None:
        machine = transfer[0]
        machine.sh(f"systemctl stop ledgerd; cp -a {DATA}/store {DATA}/kept")
        machine.sh(f"runuser -u ledgerd -- /usr/lib/ledgerd/bin/python -c '{LATER}'")
        said = machine.sh(f"{OTHER} 2>&1")
        assert "The node does not run" in said
        assert (machine.show("ExecMainStatus"), machine.show("NRestarts")) == ("70", "0")
        assert "(STORE_TOO_NEW)" in machine.sh("systemctl status ledgerd", code=3)

    def test_an_enabled_node_is_started_though_it_did_not_run(
        self, transfer: list[Machine]
    ) -> None:
        machine = transfer[0]
        machine.sh(f"rm -r {DATA}/store; mv {DATA}/kept {DATA}/store")
        machine.sh(OTHER)
        assert machine.show("ActiveState") == "active"


class TestRemoval:
    """In this order: each takes the machines as the one before left them."""

    def test_leaves_ledger_and_configuration(self, transfer: list[Machine]) -> None:
        for machine in transfer:
            machine.sh("apt-get remove -y ledgerd")
            machine.sh("test ! -e /usr/bin/ledgerd; test ! -e /usr/lib/ledgerd")
            machine.sh("test -s /var/lib/ledgerd/data/store/data.mdb")
            machine.sh("test -s /etc/ledgerd/node.toml; test -s /var/lib/ledgerd/keys/log.key")

    def test_a_purge_leaves_them_where_nobody_is_asked(self, transfer: list[Machine]) -> None:
        machine = transfer[0]
        machine.sh("DEBIAN_FRONTEND=noninteractive apt-get purge -y ledgerd")
        machine.sh("test -s /var/lib/ledgerd/data/store/data.mdb; test -s /etc/ledgerd/node.toml")

    def test_what_is_left_is_taken_up_by_the_next_installation(
        self, transfer: list[Machine]
    ) -> None:
        machine = transfer[0]
        machine.sh(f"cd /srv/package\n{INSTALL}\nsystemctl enable --now ledgerd")
        assert machine.show("ActiveState") == "active"

    def test_a_purge_asks_and_deletes_them_only_then(self, transfer: list[Machine]) -> None:
        machine = transfer[1]
        # A disk of their own: the place that it is mounted at can't be deleted.
        machine.sh("mkdir -p /var/lib/ledgerd-backup")
        machine.sh("mount -t tmpfs tmpfs /var/lib/ledgerd-backup; touch /var/lib/ledgerd-backup/a")
        machine.sh("mkdir /var/lib/ledgerd/disk; mount -t tmpfs tmpfs /var/lib/ledgerd/disk")
        machine.sh("touch /var/lib/ledgerd/disk/other")
        said = machine.sh("yes | DEBIAN_FRONTEND=teletype dpkg --purge ledgerd 2>&1")
        assert "Delete the ledger, its keys and its configuration?" in said
        assert "Delete the backups of the ledger, too?" in said
        assert "/var/lib/ledgerd/disk" in said
        assert machine.sh("find /var/lib/ledgerd -type f").split() == [
            "/var/lib/ledgerd/disk/other"
        ]
        machine.sh("test ! -e /etc/ledgerd")
        assert machine.sh("ls /var/lib/ledgerd-backup") == ""

    def test_a_purge_leaves_backups_where_only_these_are_to_stay(
        self, transfer: list[Machine]
    ) -> None:
        machine = transfer[0]
        machine.sh("mkdir -p /var/lib/ledgerd-backup/kept; apt-get remove -y ledgerd")
        machine.sh("printf 'y\\nn\\n' | DEBIAN_FRONTEND=teletype dpkg --purge ledgerd")
        machine.sh("test ! -e /var/lib/ledgerd; test -d /var/lib/ledgerd-backup/kept")
