"""What can't work is refused by name, with the way out; nothing is lost by it, and once mended, source
and lake become equal. The slot is never confirmed past the lake."""

import json
import os
import shutil
import subprocess
import unittest

import psycopg
from harness import lake
from harness.agent import REFUSED
from harness.case import Shop
from harness.postgres import free_port
from harness.wait import wait_until


class Refusals(Shop):
    rows = 500
    quick = True
    slot_advanced = False

    def setUp(self):
        super().setUp()
        self.make_shop()

    def tearDown(self):
        if not self.slot_advanced:
            self.assert_not_ahead()

    def refused(self, *texts, **options):
        """A run that ends with the exit code for what a person must mend, and says these texts."""
        agent = self.start(**options)
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.assert_said(agent, *texts)
        return agent

    def assert_said(self, agent, *texts):
        said = agent.text()
        for text in texts:
            self.assertIn(text, said)
        self.assertNotIn("Sanitizer", said)

    def retried(self, *texts, agent=None, **options):
        """A run that goes on trying, and says why it does not get on."""
        agent = agent or self.start(**options)
        wait_until(lambda: "starting again" in agent.text(), 60, "the agent says that it tries again", agent.alive)
        self.assert_said(agent, *texts)
        return agent

    def mended(self, agent=None, **options):
        """Now it works, and nothing is missing."""
        agent = agent or self.start(**options)
        with self.traffic(bulk=False):
            pass
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)

    # --- the source ---

    def test_host_unknown(self):
        self.write_manifest(host="no-such-host.invalid")
        agent = self.start()
        code = wait_until(lambda: agent.process.poll() or "starting again" in agent.text(), 60, "a verdict")
        self.assertIn(code, (REFUSED, True))
        self.assert_said(agent, "HostUnknown", "no-such-host.invalid", "spec.source.host")
        agent.__exit__()
        self.write_manifest()
        self.mended()

    def test_nobody_listens(self):
        port = free_port()
        self.write_manifest(port=port)
        agent = self.retried(str(port), "spec.source.host")
        agent.__exit__()
        self.write_manifest()
        self.mended()

    def test_password(self):
        path = self.write_manifest()
        path.write_text(path.read_text().replace("firn-test-password", "not-the-secret"))
        agent = self.refused("password", "postgres")
        self.assertNotIn("not-the-secret", agent.text())
        self.write_manifest()
        self.mended()

    def user(self, attributes=""):
        # A role that may do nothing, removed with the test.
        run = self.postgres.execute
        run(f"create role reader login password 'firn-test-password' {attributes}")
        self.addCleanup(run, "drop role reader")
        self.addCleanup(run, "drop owned by reader")
        self.addCleanup(run, "drop owned by reader", "shop")
        self.write_manifest(user="reader")

    def test_no_replication_privilege(self):
        self.user()
        self.refused("reader", "REPLICATION")
        self.connection.execute("alter role reader replication")
        self.connection.execute("grant create on database shop to reader; grant postgres to reader")
        self.mended()

    def test_no_select_privilege(self):
        self.connection.execute("create publication firn for all tables")
        self.user("replication")
        self.write_manifest(user="reader", manage="true", include='["public.*"]')
        self.refused("reader", "SELECT")
        self.connection.execute("grant select on all tables in schema public to reader")
        self.mended()

    def test_no_free_slot(self):
        taken = []
        try:
            while True:
                name = f"taken_{len(taken)}"
                self.connection.execute(f"select pg_create_physical_replication_slot('{name}')")
                taken.append(name)
        except psycopg.errors.ConfigurationLimitExceeded:
            pass
        self.write_manifest()
        agent = self.start()
        wait_until(lambda: agent.process.poll() or "starting again" in agent.text(), 60, "a verdict")
        self.assert_said(agent, "max_replication_slots")
        agent.__exit__()
        self.postgres.drop_slots(*taken)
        self.mended()

    def test_slot_gone(self):
        self.write_manifest()
        self.mended()
        self.postgres.drop_slots("firn")
        self.connection.execute("delete from order_lines")
        self.refused("slot firn", "--resnapshot")
        self.mended(arguments=["--resnapshot", "public.*"])

    def test_slot_ahead(self):
        """Somebody else read from our slot: what it took is gone."""
        self.write_manifest()
        self.mended()
        self.connection.execute("set synchronous_commit = on")  # a slot goes no further than what is flushed
        self.connection.execute("update customers set visits = visits + 1")
        end = self.connection.execute("select pg_current_wal_flush_lsn()").fetchone()[0]
        advanced = f"select end_lsn >= '{end}' from pg_replication_slot_advance('firn', '{end}')"
        self.assertTrue(self.connection.execute(advanced).fetchone()[0])
        self.slot_advanced = True
        self.refused("SlotAhead", "slot firn", "--resnapshot")
        self.postgres.drop_slots("firn")
        self.mended(arguments=["--resnapshot", "public.*"])

    def test_publication_missing(self):
        self.write_manifest(manage="false")
        self.refused("publication firn", "CREATE PUBLICATION")
        self.connection.execute("create publication firn for all tables with (publish_via_partition_root = true)")
        agent = self.start()
        code = wait_until(lambda: agent.process.poll() or self.postgres.slot("firn"), 90, "a verdict")
        if code == REFUSED:  # not managed: the slot is the user's as well
            self.assert_said(agent, "slot firn", "pg_create_logical_replication_slot")
            self.write_manifest()
            agent = None
        self.mended(agent)

    def test_no_key(self):
        self.connection.execute("create table keyless (a int, b text)")
        self.connection.execute("insert into keyless values (1, 'x')")
        self.write_manifest()
        self.refused("keyless", "primary key")
        self.connection.execute("alter table keyless add primary key (a)")
        self.mended()

    def test_no_key_in_upsert(self):
        """Replica identity full is enough for Append, not for Upsert."""
        self.connection.execute("create table keyless (a int, b text); alter table keyless replica identity full")
        self.write_manifest()
        self.refused("keyless", "idColumns")
        self.connection.execute("drop table keyless")
        self.mended()

    def test_type(self):
        self.connection.execute("create table rights (id int primary key, granted aclitem[])")
        self.write_manifest()
        self.refused("rights", "granted", "aclitem", "exclude")
        self.write_manifest(exclude='["public.rights"]')
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("drop table rights")
        self.mended(agent)

    # --- the manifest ---

    def test_unknown_field(self):
        path = self.write_manifest()
        path.write_text(path.read_text().replace("commitInterval:", "comitInterval:"))
        self.refused("comitInterval", "commitInterval", f"{path}:")
        self.write_manifest()
        self.mended()

    def test_location_not_writable(self):
        path = self.write_manifest()
        path.write_text(path.read_text().replace(str(self.warehouse), "/proc/firn"))
        agent = self.start()
        wait_until(lambda: agent.process.poll() or "starting again" in agent.text(), 60, "a verdict")
        self.assert_said(agent, "/proc/firn")
        agent.__exit__()
        self.write_manifest()
        self.mended()

    # --- the lake ---

    @unittest.skipUnless(os.geteuid() == 0, "a small file system wants root")
    def test_disk_full(self):
        mount = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs", str(self.warehouse)]
        if subprocess.run(mount, capture_output=True).returncode:
            self.skipTest("no file system may be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.warehouse)])
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        # Random bytes don't compress.
        self.connection.execute(
            "insert into products select 'fill-' || i, 't', null, 1, 0, null, null, null, false, null,"
            " decode(string_agg(md5(random()::text), ''), 'hex'), now() from generate_series(1, 20000) i,"
            " generate_series(1, 30) g group by i")  # fmt: skip
        self.retried("DiskFull", str(self.warehouse), agent=agent)
        self.assert_not_ahead()
        subprocess.run(["mount", "-o", "remount,size=200m", str(self.warehouse)], check=True)
        self.mended(agent)

    def test_table_dropped(self):
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        shutil.rmtree(self.warehouse / "shop" / "orders")
        self.connection.execute("update orders set note = 'x'")
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.assert_said(agent, "orders", "TableDropped", "load it again")
        self.refused("orders", "dropped", "--resnapshot public.orders")
        self.mended(arguments=["--resnapshot", "public.orders"])

    def foreign(self, name, change):
        """Somebody else commits: the next version, as `change` makes it of the newest metadata."""
        folder = self.warehouse / "shop" / name
        newest = lake.load(folder)
        metadata = newest.metadata
        change(metadata)
        metadata["last-updated-ms"] += 1
        version = max(lake.version_files(folder)) + 1
        (folder / "metadata" / f"v{version}.metadata.json").write_text(json.dumps(metadata))
        (folder / "metadata" / "version-hint.text").write_text(str(version))

    def test_foreign_commit(self):
        """A commit of another writer in between is built upon, not lost and not fought."""
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.foreign("orders", lambda metadata: metadata["properties"].update(foreign="here"))
        self.connection.execute("update orders set note = 'after'")
        self.wait_agreed(agent)
        self.assert_equal()
        self.assertEqual(self.lake_table("orders").properties.get("foreign"), "here")
        self.mended(agent)

    def test_rolled_back(self):
        """Somebody rolled the table back to an older snapshot: rows that were confirmed are missing."""
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("update orders set note = 'one'")
        self.wait_agreed(agent)
        self.assert_stopped(agent)

        def roll_back(metadata):
            metadata["current-snapshot-id"] = metadata["snapshots"][0]["snapshot-id"]
            metadata.get("refs", {}).get("main", {})["snapshot-id"] = metadata["current-snapshot-id"]
            metadata["snapshot-log"] = metadata["snapshot-log"][:1]

        head = self.lake_table("orders").metadata["current-snapshot-id"]
        self.foreign("orders", roll_back)
        self.refused("orders", "RolledBack", str(head), "--resnapshot")

        def roll_forward(metadata):
            metadata["current-snapshot-id"] = head
            metadata.get("refs", {}).get("main", {})["snapshot-id"] = head

        # Both ways out that were named.
        self.foreign("orders", roll_forward)
        self.mended()
        self.foreign("orders", roll_back)
        self.refused("orders", "RolledBack")
        self.mended(arguments=["--resnapshot", "public.orders"])


class WalLevel(Shop):
    rows = 200
    quick = True

    def test_wal_level(self):
        self.make_shop()
        self.write_manifest()
        self.connection.close()
        self.postgres.restart(wal_level="replica")
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.assertIn("wal_level", agent.text())
        self.assertIn("logical", agent.text())
        self.postgres.restart(wal_level="logical")
        self.connection = self.postgres.connect("shop")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


if __name__ == "__main__":
    unittest.main(verbosity=2)
