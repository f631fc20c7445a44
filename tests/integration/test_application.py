"""A database of 500 tables as an application has them, followed by one pattern under mixed traffic: every table equal,
and the agent small. FIRN_TABLES (500) is how many."""

import contextlib
import io
import json
import os
import resource
import time
import unittest

from harness.agent import OK, connector, unit_of_all
from harness.application import SCHEMAS, Application, AppTraffic
from harness.case import Shop, compare

TABLES = int(os.environ.get("FIRN_TABLES", "500"))
ROWS = 20
PEAK_MAX = 192 << 20

# What has no key keeps every change.
KEYLESS = """\
---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: keyless-{number}}}
spec:
  connectorRef: {{name: shop, table: {table}}}
  outsourcingUnit: {{table: {{catalog: {{type: Directory, warehouse: {warehouse}}}, mode: Append, formatVersion: 3, commitInterval: 5s}}}}
"""


class Whole(Shop):
    settings = {"shared_buffers": "'256MB'", "autovacuum": "off", "max_locks_per_transaction": "256"}

    def test_every_table(self):
        started = time.monotonic()
        application = Application(TABLES)
        application.make(self.connection, ROWS)
        keyless = [table for table in application.tables if table.keyless]
        self.assertTrue(keyless)
        for table in keyless:
            self.connection.execute(f"alter table {table.sql} replica identity full")
        path = self.folder / "manifest.yaml"
        text = connector(self.postgres, include='["app*.*"]', parallelism=4)
        text += unit_of_all("app*.*", self.warehouse, ", formatVersion: 3, commitInterval: 5s")
        for number, table in enumerate(keyless):
            text += KEYLESS.format(number=number, table=json.dumps(f"{table.schema}.{table.name}"), warehouse=self.warehouse)
        path.write_text(text)
        path.chmod(0o600)
        made = time.monotonic()
        # As a process begins that nobody gave more: fewer files than tables.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (TABLES // 2, hard))
        agent = self.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        traffic = AppTraffic(application, self.connection, ROWS)
        for _ in range(300):  # while they are copied
            traffic.step()
        self.wait_agreed(agent, 120)
        copied = time.monotonic()
        for _ in range(700):
            traffic.step()
        self.wait_agreed(agent, 60)
        followed = time.monotonic()
        memory, cpu = agent.memory(), agent.cpu_seconds()
        print(f"{TABLES} tables: made in {made - started:.1f} s, copied in {copied - made:.1f} s, {traffic.changes} changes followed"
              f" in {followed - copied:.1f} s; the agent's peak {memory['peak'] / 2**20:.0f} MiB,"
              f" private {memory['private'] / 2**20:.0f} MiB, {cpu:.1f} CPU-s", flush=True)  # fmt: skip
        self.assert_same([(table.schema, table.name) for table in application.tables] + [(SCHEMAS[0], "audit_log")])
        print(f"compared in {time.monotonic() - followed:.1f} s", flush=True)
        self.assertEqual(agent.stop(), OK, agent.text()[-3000:])
        self.assertLess(memory["peak"], PEAK_MAX)

    def assert_same(self, tables: list[tuple[str, str]]):
        """All by one engine; what has an odd name by the other one, too. DuckDB 1.5.5 can't read a path with a double
        quote in it, pyiceberg 0.12 none with a #."""
        quotes = [each for each in tables if '"' in each[1]]
        odd = [each for each in tables if not each[1].isidentifier() and "#" not in each[1]]
        self.assertTrue(quotes and len(odd) > len(quotes))
        for engine, some in (("duckdb", [each for each in tables if each not in quotes]), ("pyiceberg", odd)):
            pairs = [f"{schema}.{name}={schema}/{name}" for schema, name in some]
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                same = compare(self.postgres.dsn("shop"), str(self.warehouse), pairs, engine, quiet=True)
            self.assertTrue(same, f"{engine}: {output.getvalue()[-6000:]}")
            self.assertIn(f"match: {len(some)} tables", output.getvalue())


if __name__ == "__main__":
    unittest.main(verbosity=2)
