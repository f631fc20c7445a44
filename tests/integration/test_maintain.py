"""Files that no snapshot names are removed beside an agent that commits all the time (maintenance.orphanFiles): what crashed
processes left and what lies there otherwise goes once it is old, whoever is killed while removing it; every snapshot stays
readable and says the same, the tables stay equal to their source, and young files stay. Old means old to the store: the
files' times are set back, beneath the S3 server, too."""

import contextlib
import json
import os
import time
import unittest
from pathlib import Path
from urllib.parse import urlparse

from pyiceberg.table import StaticTable

from harness import history
from harness.agent import OK, REFUSED, Agent, command, connector
from harness.case import Shop
from harness.events import EventsCase
from harness.place import Place
from harness.rest import BUCKET
from harness.wait import wait_until
from lake import LOCAL, duckdb_connection

TABLES = ("customers", "products", "orders", "order_lines")
OLD_DAYS, ASKED_DAYS = 4, 3


class Maintained(Shop):
    """Units of one table each, which ask for it."""

    rows = 1000
    quick = True
    kind: str

    def setUp(self):
        super().setUp()
        self.place = Place(self.kind, self.warehouse if self.kind.endswith("-files") else None, faults=False).start()
        self.addCleanup(self.place.stop)
        self.make_shop()

    def write_units(self):
        lines = "".join(f"      {line}\n" for line in self.place.table_lines().splitlines())
        units = "".join(f"""\
---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {name.replace('_', '-')}}}
spec:
  connectorRef: {{name: shop, table: public.{name}}}
  outsourcingUnit:
    table:
{lines}      database: shop
      tableName: {name}
      commitInterval: 200ms
      maintenance: {{orphanFiles: {{olderThan: {ASKED_DAYS}d}}}}
""" for name in TABLES)  # fmt: skip
        path = self.folder / "manifest.yaml"
        path.write_text(self.place.secrets() + connector(self.postgres) + units)
        path.chmod(0o600)
        self.manifest = path

    def ask(self, name: str, value: str):
        os.environ[name] = value
        self.addCleanup(os.environ.pop, name, None)

    # --- what lies in a table's folder ---

    def path(self, uri: str) -> Path:
        """Where the file of an object is; versitygw keeps objects as files."""
        at = urlparse(uri)
        return self.place.s3.folder / "data" / at.netloc / at.path.lstrip("/") if at.scheme == "s3" else Path(at.path)

    def history(self, name: str) -> history.History:
        return history.load(self.place, name)

    def age(self, uri: str, days: float):
        at = time.time() - days * 86400
        os.utime(self.path(uri), (at, at))

    def age_all(self):
        for name in TABLES:
            for uri in self.history(name).existing:
                try:
                    self.age(uri, OLD_DAYS)
                except FileNotFoundError:  # a commit has just removed it
                    pass

    def plant(self, name: str, folder: str, days: float, count: int = 1) -> set[str]:
        """Copies of a file of the table, under names that nobody else has."""
        location = self.history(name).metadata["location"]
        source = next(uri for uri in sorted(self.history(name).referenced) if uri.endswith(".parquet"))
        planted = set()
        for at in range(count):
            uri = f"{location if '://' in location else 'file://' + location}/{folder}/{at:05}-planted-{days}.parquet"
            if self.place.s3:
                client, key = self.place.s3.client(), urlparse(uri).path.lstrip("/")
                client.put_object(Bucket=BUCKET, Key=key, Body=self.place.read(source))
            else:
                self.path(uri).parent.mkdir(parents=True, exist_ok=True)
                self.path(uri).write_bytes(self.path(source).read_bytes())
            self.age(uri, days)
            planted.add(uri)
        return planted

    def there(self, uris: set[str]) -> set[str]:
        return {uri for uri in uris if self.path(uri).exists()}

    def snapshots(self, name: str) -> dict[int, list]:
        """The rows of each, as pyiceberg reads them now."""
        found, access = {}, self.place.access()
        newest = str(history.newest_metadata(history.location(self.place, name), access))
        table = StaticTable.from_metadata(newest if "://" in newest else f"file://{newest}", access.properties)
        for snapshot in table.metadata.snapshots:
            rows = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()
            found[snapshot.snapshot_id] = sorted(map(repr, rows.to_pylist()))
        return found


class Traffic:
    def crashed(self):
        """Processes that died between files and commit leave theirs."""
        for point in ("commit-files-written:20", "commit-manifests-written:20"):
            agent = self.start(crash_at=point)
            with self.traffic(seed=7, bulk=False):
                wait_until(lambda: agent.process.poll() is not None, 120, f"it dies at {point}")
            self.assertTrue(agent.struck(), agent.text()[-2000:])

    def test_beside_traffic(self):
        self.write_units()
        self.wait_agreed(agent := self.start())
        self.assert_stopped(agent)
        self.crashed()
        self.wait_agreed(agent := self.start(arguments=["--no-maintenance"]))
        orphans = set().union(*(self.history(name).orphans for name in TABLES))
        left = {uri for uri in orphans if not uri.endswith(".firn-tmp")}  # those go with the next process's first commit
        self.assertTrue(left, "the crashes left nothing")
        old = self.plant("orders", "data", OLD_DAYS, 5) | self.plant("customers", "data/x=1/y=2", OLD_DAYS, 3)
        young = self.plant("orders", "data", ASKED_DAYS - 1) | self.plant("orders", "elsewhere", OLD_DAYS)
        self.age_all()
        for uri in self.there(young):
            self.age(uri, OLD_DAYS if "/elsewhere/" in uri else ASKED_DAYS - 1)
        before = {name: self.snapshots(name) for name in TABLES}
        with self.traffic(seed=8, bulk=False):
            shown = command("maintain", "-f", self.manifest, "--dry-run")
            self.assertEqual(shown.returncode, OK, shown.stderr)
            listed = {line.split("  ")[-1].split(" ")[-1] for line in shown.stdout.splitlines() if line[:2] == "20"}
            self.assertEqual(old - listed, set())
            self.assertEqual(self.there(old | left), old | left, "a dry run removes nothing")
            died = self.start(crash_at="orphan-removed:4", subcommand="maintain", arguments=["--once"])
            died.wait()
            self.assertTrue(died.struck(), died.text()[-2000:])
            self.assertEqual(len((old | left) - self.there(old | left)), 4)
            once = command("maintain", "-f", self.manifest, "--once")
            self.assertEqual(once.returncode, OK, once.stderr)
        self.assertEqual(self.there(old | left), set())
        self.assertEqual(listed, old | left)
        self.assertEqual(self.there(young), young)
        self.wait_agreed(agent)
        for name in TABLES:
            after = self.snapshots(name)
            both = before[name].keys() & after.keys()
            self.assertGreater(len(both), 1, name)
            for snapshot in both:
                self.assertEqual(before[name][snapshot], after[snapshot], f"{name} as of {snapshot}")
            self.assertEqual(history.wrong(self.history(name)), [])
        for engine in ("duckdb", "pyiceberg"):
            self.assert_equal(engine, place=self.place)
        self.assert_stopped(agent)

class Files(Traffic, Maintained):
    kind = "directory-files"

    def test_by_itself(self):
        """By the process that fills the tables, and by one beside it; one of them at a time."""
        self.ask("FIRN_MAINTAIN_MS", "1000")
        began = time.time()
        self.write_units()
        agent = self.start(http=True)
        self.wait_agreed(agent)
        series = 'firn_orphan_files_removed_total{table="shop.orders"}'
        planted = self.plant("orders", "data", OLD_DAYS, 3)
        with self.traffic(seed=9, bulk=False):
            wait_until(lambda: not self.there(planted), 60, "they go", agent.alive)
        wait_until(lambda: agent.metrics().get(series) == 3, 60, "it says so", agent.alive)
        self.assertGreater(agent.metrics()['firn_orphans_removed_timestamp_seconds{table="shop.orders"}'], began - 1)
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        planted = self.plant("orders", "data", OLD_DAYS, 3)
        beside = self.start(http=True, subcommand="maintain")
        wait_until(lambda: not self.there(planted), 60, "they go", beside.alive)
        wait_until(lambda: beside.metrics().get(series) == 3, 60, "it says so", beside.alive)
        self.assertEqual(beside.get("/healthz")[0], 200)
        self.assert_stopped(beside)
        self.assert_equal(place=self.place)


    def test_shared(self):
        """Another table's metadata in the folder: nothing goes, and who commits says so until that is mended."""
        self.ask("FIRN_MAINTAIN_MS", "1000")
        self.write_units()
        agent = self.start(http=True)
        self.wait_agreed(agent)
        location = self.history("orders").metadata["location"]
        strange = self.path(location if "://" in location else f"file://{location}") / "metadata/00000-strange.metadata.json"
        strange.write_text('{"table-uuid": "another"}')
        planted = self.plant("orders", "data", OLD_DAYS)

        def upkeep() -> float | None:
            return next((value for series, value in agent.metrics().items()
                         if series.startswith('firn_table_upkeep{table="public.orders"')), None)  # fmt: skip

        with self.traffic(seed=10, bulk=False):
            wait_until(lambda: upkeep() == 3, 60, "it is said", agent.alive)
            self.assertIn("LocationShared", agent.text())
            self.assertEqual(self.there(planted), planted)
            strange.unlink()
            wait_until(lambda: upkeep() == 1, 60, "it is no longer said", agent.alive)
            wait_until(lambda: not self.there(planted), 60, "it goes", agent.alive)
        self.wait_agreed(agent)
        self.assert_equal(place=self.place)
        self.assert_stopped(agent)


    def test_everything_old(self):
        """Harder than life: while the agent commits, all that it writes is old at once, what no commit names yet, too."""
        self.write_units()
        agent = self.start(arguments=["--no-maintenance"])
        self.wait_agreed(agent)
        planted, until, runs = set(), time.monotonic() + 15, 0
        with self.traffic(seed=11, bulk=False):
            while time.monotonic() < until or runs < 3:
                planted |= self.plant("orders", f"data/{runs}", OLD_DAYS)
                self.age_all()
                once = command("maintain", "-f", self.manifest, "--once")
                self.assertEqual(once.returncode, OK, once.stderr)
                runs += 1
        self.assertEqual(self.there(planted), set())
        self.wait_agreed(agent)
        for name in TABLES:
            self.assertEqual(history.wrong(self.history(name)), [])
        self.assert_equal(place=self.place)
        self.assert_stopped(agent)


class RestOnS3(Traffic, Maintained):
    kind = "rest-s3"

    def test_not_allowed(self):
        self.write_units()
        self.wait_agreed(agent := self.start())
        planted = self.plant("orders", "data", OLD_DAYS)
        catalog = self.place.rest.catalog()
        catalog.load_table(("shop", "orders")).transaction().set_properties({"gc.enabled": "false"}).commit_transaction()
        once = command("maintain", "-f", self.manifest, "--once")
        self.assertEqual(once.returncode, REFUSED, once.stderr)
        self.assertIn("NotAllowed: LakeTable/orders: table shop.orders: the table's property gc.enabled is false", once.stderr)
        self.assertEqual(self.there(planted), planted)
        self.assert_stopped(agent)


class OnS3(Maintained):
    kind = "directory-s3"
    test_everything_old = Files.test_everything_old


class Group(EventsCase):
    """Consumers of a topic stage pieces beside the table, and one of them commits: what waits for its commit stays."""

    def versions(self) -> dict[int, int]:
        """What the table says: the version of each key."""
        with duckdb_connection(LOCAL) as connection:
            return dict(connection.execute(f"select id, v from iceberg_scan('{self.newest('group')}')").fetchall())

    def produce(self, version: int, keys: int) -> dict[int, int]:
        for key in range(keys):
            self.producer.produce("group", json.dumps({"id": key, "v": version}), json.dumps({"id": key}), key % 3)
        self.producer.flush()
        return dict.fromkeys(range(keys), version)

    def age_all(self):
        at = time.time() - OLD_DAYS * 86400
        for path in (self.folder / "lake" / "web" / "group").rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, (at, at))

    def test_everything_old(self):
        self.broker.create_topic("group", partitions=3)
        path = self.write_unit("group", "mode: Upsert\n      idColumns: [id]\n      columns: [{name: id, type: long}, {name: v, type: long}]"
                               "\n      maintenance: {orphanFiles: {olderThan: 1d}}")  # fmt: skip
        data = self.folder / "lake" / "web" / "group" / "data"
        processes = [Agent(path, self.folder / f"ingest-{at}.log", subcommand="ingest", arguments=["--no-maintenance"]) for at in range(2)]
        for process in processes:
            self.addCleanup(process.__exit__)
        wanted, planted, version = self.produce(0, 1000), [], 0
        wait_until(lambda: self.newest("group") and self.versions() == wanted, 120, "the first rows are there", processes[0].alive)
        whole = StaticTable.from_metadata(self.newest("group")).current_snapshot().sequence_number  # the first may have some of them
        wait_until(lambda: all("partitions are dealt out" in process.text() for process in processes), 60, "both work")
        until = time.monotonic() + 20
        while time.monotonic() < until or version < 6:
            version += 1
            wanted = self.produce(version, 1000)
            planted.append(data / f"planted-{version}.parquet")
            planted[-1].write_bytes(b"nobody's")
            self.age_all()
            once = command("maintain", "-f", path, "--once")
            self.assertEqual(once.returncode, OK, once.stderr)
        self.assertEqual([one for one in planted if one.exists()], [])
        wait_until(lambda: self.versions() == wanted, 60, "the last version of each is there", processes[0].alive)
        table = StaticTable.from_metadata(self.newest("group"))
        self.assertGreater(len(table.metadata.snapshots), 3)
        for snapshot in table.metadata.snapshots:
            rows = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow().num_rows
            self.assertTrue(rows == 1000 or (rows < 1000 and snapshot.sequence_number < whole), f"{snapshot}: {rows} rows")
        for process in processes:
            self.assertEqual(process.stop(), OK, process.text()[-2000:])


if __name__ == "__main__":
    unittest.main()
