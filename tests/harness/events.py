"""A topic that others fill with plain events, a registry, `firn-agent ingest` and the table that it fills: read by pyiceberg
and DuckDB; and the dead letters."""

import contextlib
import json
import shutil
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

import pyarrow as pa
from confluent_kafka import Producer
from pyiceberg.table import StaticTable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from lake import LOCAL, duckdb_connection

from harness.agent import OK, Agent
from harness.kafka import Broker, Registry
from harness.lake import version_files
from harness.wait import TimedOut, wait_until

WAIT_SECONDS = 90


class EventsCase(unittest.TestCase):
    """The servers are the class's: no two of its tests have a topic in common. `incoming` is the unit's incomingData; `row` says
    what a table's row is compared as: it gets Arrow's fields and the values by their names."""

    incoming = "Json"

    def row(self, schema: pa.Schema, values: dict) -> str:
        return json.dumps(values, default=str)

    def rows_of(self, table: pa.Table) -> list[str]:
        table = table.drop_columns([name for name in table.column_names if name.startswith("_firn_")])
        return sorted(self.row(table.schema, values) for values in table.to_pylist())

    @classmethod
    def setUpClass(cls):
        cls.broker, cls.registry = Broker(), Registry()
        for server in (cls.broker, cls.registry)[: 1 if cls.incoming == "Json" else 2]:
            server.start()
            cls.addClassCleanup(server.stop)

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="firn-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.producer = Producer({"bootstrap.servers": self.broker.bootstrap, "enable.idempotence": True})

    def registry_line(self) -> str:
        return "" if self.incoming == "Json" else f', schemaRegistry: {{url: "{self.registry.url}"}}'

    def register(self, subject: str, text: str, *references: dict, kind: str = None) -> int:
        body = {"schemaType": kind or self.incoming.upper(), "schema": text, "references": references}
        return self.registry.ask("POST", f"/subjects/{subject}/versions", body)["id"]

    def write_unit(self, topic: str, table_lines: str) -> Path:
        path = self.folder / f"{topic}.yaml"
        path.write_text(f"""\
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {topic}}}
spec:
  kafka: {{topic: {topic}, brokers: "{self.broker.bootstrap}", incomingData: {self.incoming}{self.registry_line()}}}
  deadLetter: {{topic: {topic}.dead}}
  outsourcingUnit:
    table:
      catalog: {{type: Directory, warehouse: {self.folder}/lake}}
      database: web
      tableName: {topic}
      commitInterval: 300ms
      {table_lines}
""")
        return path

    def write_routes(self, topic: str, routes: dict[str, str | None], table_lines: str = "") -> Path:
        """The topic's unit with a route, by its condition, to each of these tables of mode Append."""
        path = self.write_unit(topic, "")
        text = path.read_text().split("  outsourcingUnit:")[0] + "  routes:\n"
        for name, when in routes.items():
            condition = f'when: "{when}", ' if when else ""
            text += f"  - {{{condition}lakeTableRef: {{name: {name}}}}}\n"
        path.write_text(text + "".join(self.table(name, f"mode: Append\n  {table_lines}") for name in routes))
        return path

    def table(self, name: str, table_lines: str = "") -> str:
        return f"""\
---
apiVersion: firn.dev/v1alpha1
kind: LakeTable
metadata: {{name: {name}}}
spec:
  catalog: {{type: Directory, warehouse: {self.folder}/lake}}
  database: web
  tableName: {name}
  commitInterval: 300ms
  {table_lines}
"""

    def send(self, topic: str, value, key=None):
        self.producer.produce(topic, value, key, 0)

    @contextlib.contextmanager
    def ingest(self, manifest: Path):
        with Agent(manifest, self.folder / "ingest.log", subcommand="ingest") as agent:
            yield agent
            self.assertEqual(agent.stop(), OK, agent.text()[-2000:])

    def newest(self, topic: str) -> str | None:
        """Its metadata."""
        versions = version_files(self.folder / "lake" / "web" / topic)
        return str(versions[max(versions)]) if versions else None

    def read(self, topic: str, engine: str) -> pa.Table | None:
        newest = self.newest(topic)
        if not newest:
            return None
        if engine == "pyiceberg":
            return StaticTable.from_metadata(newest).scan().to_arrow()
        with duckdb_connection(LOCAL) as connection:
            return connection.execute(f"select * from iceberg_scan('{newest}')").to_arrow_table()

    def wait_rows(self, agent: Agent, topic: str, wanted: list[str]):
        found, looked = [], []

        def equal():
            agent.alive()
            newest = self.newest(topic)
            if [newest] == looked:  # reading it takes the time that the agent wants
                return False
            looked[:] = [newest]
            table = self.read(topic, "pyiceberg")
            found[:] = self.rows_of(table) if table is not None else []
            return found == sorted(wanted)

        try:
            wait_until(equal, WAIT_SECONDS, f"{len(wanted)} rows of {topic}")
        except TimedOut as error:
            missing, extra = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
            raise AssertionError(f"{error}: missing {sorted(missing)[:2]}, too many {sorted(extra)[:2]}; {agent.text()[-2000:]}") from None
        self.assertEqual(self.rows_of(self.read(topic, "duckdb")), sorted(wanted))

    def letters(self, topic: str) -> list[tuple[str, bytes]]:
        """Reason and value of each (agent/topic/letter.h), once: whoever starts again repeats some."""
        heads, pieces = {}, {}
        for message in self.broker.read(topic):
            headers = dict(message.headers() or [])
            if "firn.piece" in headers:
                pieces[message.key(), headers["firn.piece"]] = message.value()
            else:
                heads[message.key()] = json.loads(message.value())
        return [(head["reason"], b"".join(pieces[key, number.to_bytes(4, "big")] for number in range(head["pieces"])))
                for key, head in heads.items()]  # fmt: skip

    def assert_letters(self, topic: str, broken: dict[str, bytes]):
        """Each of these, whole, with its reason; nothing else."""
        letters = self.letters(topic)
        self.assertEqual(sorted(value for _, value in letters), sorted(broken.values()))
        for reason, data in broken.items():
            self.assertEqual([value for why, value in letters if reason in why], [data], (reason, letters))
