"""A database of 300 tables as an application has them, on MySQL and MariaDB, followed by one pattern under mixed traffic,
ALTER TABLE and TRUNCATE in it: every table equal, and the agent small. FIRN_TABLES (300) is how many."""

import json
import os
import resource
import time
import unittest

from test_mysql import Base

from harness.mysql_application import LOG, Application, MysqlTraffic
from harness.mysql_lake import difference
from harness.wait import wait_until

TABLES = int(os.environ.get("FIRN_TABLES", "300"))
ROWS = 12
STEPS_COPYING, STEPS = 100, 400
DDL_EVERY = 12
PEAK_MAX = 192 << 20
SECONDS = 240  # limits are for what hangs
OPEN_FILES = 150  # fewer than there are tables

# What has no key keeps every change.
KEYLESS = """\
---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: keyless-{number}}}
spec:
  connectorRef: {{name: shop, table: {table}}}
  outsourcingUnit: {{table: {{catalog: {{type: Directory, warehouse: {warehouse}}}, database: shop, tableName: {name}, mode: Append, commitInterval: 1s}}}}
"""


class Whole(Base):
    rules: str  # of foreign keys

    def test_every_table(self):
        began = time.monotonic()
        charsets = [name for (name,) in self.execute("select character_set_name from information_schema.character_sets order by 1")]
        application = Application(TABLES, charsets, self.rules)
        with self.connection.cursor() as cursor:
            application.make(cursor, ROWS)
        self.execute("create view `a view` as select 1 as one")
        made = time.monotonic()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
        keyless = [KEYLESS.format(number=number, table=json.dumps(f"shop.{table.name}"), name=json.dumps(table.name), warehouse=self.warehouse)
                   for number, table in enumerate(table for table in application.tables if table.keyless)]  # fmt: skip
        agent = self.start(parallelism=4, format=3, interval="1s", documents="".join(keyless))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        traffic = MysqlTraffic(application, self.connection, ROWS, DDL_EVERY)
        for _ in range(STEPS_COPYING):
            traffic.step()
        wait_until(lambda: agent.text().count("table copied") >= TABLES and not agent.copying(), SECONDS, "every table is copied", agent.alive)
        copied = time.monotonic()
        for _ in range(STEPS):
            traffic.step()
        # What comes last in the log is there: everything was handed on, and is committed when the agent ends.
        self.execute(f"insert into `{LOG}` (about, what) values ('end', '')")
        wait_until(lambda: not difference(self.connection, self.warehouse, LOG), SECONDS, "the last row is there", agent.alive)
        memory = agent.memory()
        self.assert_stopped(agent)
        followed = time.monotonic()
        names = [table.name for table in application.tables] + [LOG]
        said = [difference(self.connection, self.warehouse, name) for name in names]
        self.assertEqual([each for each in said if each], [])
        print(f"{self.kind}: {TABLES} tables: made in {made - began:.1f} s, copied in {copied - made:.1f} s, {traffic.changes} changes and"
              f" {traffic.altered} alterations followed in {followed - copied:.1f} s, compared in {time.monotonic() - followed:.1f} s;"
              f" the agent's peak {memory['peak'] / 2**20:.0f} MiB", flush=True)  # fmt: skip
        self.assertGreater(traffic.altered, 20)
        self.assertLess(memory["peak"], PEAK_MAX)


class MariadbWhole(Whole, unittest.TestCase):
    """Without cascades: they are not in its binlog."""

    kind = "MariaDB"
    rules = "on delete restrict on update restrict"


class MysqlWhole(Whole, unittest.TestCase):
    kind = "MySQL"
    rules = "on delete cascade on update set null"


if __name__ == "__main__":
    unittest.main(verbosity=2)
