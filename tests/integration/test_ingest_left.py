"""What a consumer leaves that dies between its data files and their description (the crash point stage-files-written): the
file goes, on a folder and on S3, once the table has passed it; what a live consumer staged meanwhile stays, and is committed."""

import json
import os
import unittest
from pathlib import Path

from harness.agent import Agent
from harness.events import EventsCase
from harness.kafka import SESSION_MS
from harness.s3 import S3Server
from harness.wait import wait_until
from lake import LOCAL, Access, duckdb_connection

BUCKET = "lake"
SOON_SECONDS = 90


class Folder(EventsCase):
    access = LOCAL

    def open_lake(self):
        self.warehouse, self.storage = f"{self.folder}/lake", ""

    def keys(self) -> list[str]:
        root = self.folder / "lake"
        return [str(path) for path in root.rglob("*") if path.is_file()]

    def uri(self, key: str) -> str:
        return key

    def files(self) -> set[str]:
        return {Path(key).name for key in self.keys() if "/data/" in key}

    def committed(self) -> list[int]:
        versions = {int(Path(key).name[1:].split(".")[0]): key for key in self.keys() if key.endswith(".metadata.json")}
        if not versions:
            return []
        with duckdb_connection(self.access) as connection:
            rows = connection.execute(f"select id from iceberg_scan('{self.uri(versions[max(versions)])}')").fetchall()
        return sorted(row[0] for row in rows)

    def produce(self, start: int, count: int):
        for at in range(start, start + count):
            self.producer.produce("left", json.dumps({"id": at}), partition=at % 3)
        self.producer.flush()

    def test_dies_between(self):
        self.open_lake()
        for name, value in (("FIRN_LEFT_MS", "0"), ("FIRN_SESSION_MS", SESSION_MS)):
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name, None)
        self.broker.create_topic("left", partitions=3)
        path = self.write_unit("left", "mode: Append\n      columns: [{name: id, type: long}]")
        path.write_text(path.read_text().replace(f"warehouse: {self.folder}/lake}}", f"warehouse: {self.warehouse}}}{self.storage}"))
        self.produce(0, 300)
        with Agent(path, self.folder / "died.log", subcommand="ingest", crash_at="stage-files-written") as died:
            wait_until(lambda: died.process.poll() is not None, SOON_SECONDS, "it dies")
        left = self.files()
        self.assertTrue(left, died.text()[-2000:])
        self.assertFalse([key for key in self.keys() if key.endswith(".piece")], "it died before the description")
        self.assertEqual(self.committed(), [])
        with self.ingest(path) as agent:
            with Agent(path, self.folder / "other.log", subcommand="ingest") as other:
                wait_until(lambda: len(self.committed()) == 300, SOON_SECONDS, "the rows are there", agent.alive)
                wait_until(lambda: not left & self.files(), SOON_SECONDS, "what was left goes", agent.alive)
                wait_until(lambda: "partitions are dealt out" in other.text(), SOON_SECONDS, "the other joins", other.alive)
                self.produce(300, 3000)
                wait_until(lambda: len(self.committed()) >= 3300, SOON_SECONDS, "both go on", agent.alive)
                other.stop()
        self.assertEqual(self.committed(), list(range(3300)))


class ObjectStore(Folder):
    def open_lake(self):
        self.store = S3Server().start()
        self.addCleanup(self.store.stop)
        self.store.create_bucket(BUCKET)
        self.access = Access(s3_endpoint=self.store.endpoint, s3_region=self.store.region,
                             s3_access_key=self.store.access_key, s3_secret_key=self.store.secret_key)  # fmt: skip
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = self.store.access_key, self.store.secret_key
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            self.addCleanup(os.environ.pop, name, None)
        self.warehouse = f"s3://{BUCKET}/lake"
        self.storage = f'\n      storage: {{endpoint: "{self.store.endpoint}", region: {self.store.region}}}'

    def keys(self) -> list[str]:
        return self.store.keys(BUCKET)

    def uri(self, key: str) -> str:
        return f"s3://{BUCKET}/{key}"


if __name__ == "__main__":
    unittest.main()
