"""A source, a broker, `firn-agent capture` and any number of `firn-agent ingest` between the source and tables in a folder."""

import contextlib
import io
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from compare import compare
from lake import LOCAL

from harness import lake
from harness.agent import Agent
from harness.relay import AGREE_SECONDS, RelayCase
from harness.wait import TimedOut, wait_until


def lanes(position: str) -> list[tuple[int, int, int]]:
    """(next, major, minor) of each lane of a claim (agent/commit/lanes.h)."""
    found = []
    for lane in position.rsplit("@", 1)[1].split(","):
        following, _, passed = lane.partition("/")
        major, _, minor = (passed or "0.0").partition(".")
        found.append((int(following), int(major), int(minor)))
    return found


class IngestCase(RelayCase):
    """`self.unit` is the name of the unit of all tables; its tables stand in WAREHOUSE/shop, or in `self.place`
    (harness/place.py), which a class may start."""

    place = None

    def setUp(self):
        super().setUp()
        self.warehouse = Path(self.place.warehouse) if self.place else self.folder / "warehouse"
        self.warehouse.mkdir(exist_ok=True)
        self.unit = f"u{RelayCase.number}"  # groups and control topics are the broker's, which all tests share

    def write_manifest(self, brokers: str = None, mode="Upsert", format=2, interval="1s", **fields) -> Path:
        path = super().write_manifest(brokers, **fields)
        lines = self.place.table_lines() if self.place else f"catalog: {{type: Directory, warehouse: {self.warehouse}}}"
        where = "\n      ".join(lines.splitlines())
        with open(path, "a") as to:
            to.write(f"""\
---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {self.unit}}}
spec:
  connectorRef: {{name: shop, tables: ["public.*"]}}
  outsourcingUnit:
    table:
      {where}
      database: shop
      tableName: "{{table}}"
      formatVersion: {format}
      mode: {mode}
      commitInterval: {interval}
""")
        return path

    def ingest(self, crash_at: str = None, **options) -> Agent:
        self.runs += 1
        agent = Agent(self.folder / "manifest.yaml", self.folder / f"ingest-{self.runs}.log", crash_at, subcommand="ingest", **options)
        self.addCleanup(agent.__exit__)
        return agent

    def compared(self, engine: str = "duckdb", tables: str = "public=shop") -> tuple[bool, str]:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            try:
                same = compare(self.postgres.dsn("shop"), str(self.warehouse), [tables], engine,
                               access=self.place.access() if self.place else LOCAL)  # fmt: skip
            except Exception as error:  # a table that is not there yet
                return False, f"{type(error).__name__}: {error}"
        return same, output.getvalue()

    def wait_equal(self, *agents: Agent, seconds: float = AGREE_SECONDS, tables: str = "public=shop"):
        """The source is quiet; sooner or later every table is the source's."""
        said = ""

        def equal():
            nonlocal said
            same, said = self.compared("duckdb", tables)
            return same

        try:
            wait_until(equal, seconds, "every table is the source's", lambda: [agent.alive() for agent in agents])
        except TimedOut as error:
            texts = "\n".join(agent.text()[-2000:] for agent in agents if hasattr(agent, "text"))
            raise TimedOut(f"{error}: {said[-3000:]}\n{texts}") from None

    def lake_table(self, name: str) -> lake.Table:
        if not self.place:
            return lake.load(self.warehouse / "shop" / name)
        table = self.place.rest.catalog().load_table(("shop", name))
        return lake.Table(self.warehouse / "shop" / name, json.loads(table.metadata.model_dump_json()))

    def assert_forward(self, name: str):
        """Of a table's snapshots each stands further than the one before, in no lane behind it: no interval was committed
        twice, and nothing once more."""
        table = self.lake_table(name)
        seen = None
        for snapshot in sorted(table.snapshots, key=lambda one: one["sequence-number"]):
            position = next(value for key, value in snapshot["summary"].items() if key.startswith("firn.position."))
            now = lanes(position)
            if seen is not None:
                self.assertNotEqual(now, seen, f"{name}: two snapshots of one position")
                for before, after in zip(seen, now):
                    self.assertGreaterEqual(after, before, f"{name}: a lane went back")
            seen = now
        stands = next(value for key, value in table.properties.items() if re.fullmatch(r"firn\.position\..*", key))
        self.assertEqual(lanes(stands.rsplit(" ", 1)[0]), seen)
