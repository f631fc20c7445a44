"""Each reason that ends an agent at its start because a person must act: said by its name with the way out, the slot
told nothing, the tables untouched, and when the cause is gone everything goes on without a row lost. One flow for
all of them; those that end a running agent are in test_ddl.py, test_refusals.py and test_types.py."""

import contextlib
import json
import unittest

from harness import lake
from harness.agent import FAILED, REFUSED
from harness.case import Shop
from harness.postgres_proxy import PostgresProxy, columns, error, message, row

# name: (code, what else is said, SQL before, SQL after, fields of the manifest)
SOURCE = {
    "another slot": ("SourceChanged", "point the Connector back", "", "", {"slot": "elsewhere"}),
    "rows are filtered": (
        "PublicationPartial", "only some rows of public.t", "alter publication firn set table t where (id > 5), parts",
        "alter publication firn set table t, parts", {}),
    "no deletes": (
        "PublicationPartial", "does not publish delete", "alter publication firn set (publish = 'insert, update')",
        "alter publication firn set (publish = 'insert, update, delete, truncate')", {}),
    "partitions as tables": (
        "PublicationPartial", "public.parts", "alter publication firn set (publish_via_partition_root = false)",
        "alter publication firn set (publish_via_partition_root = true)", {}),
    "not published": (
        "NotPublished", 'ALTER PUBLICATION "firn" ADD', "create table u (id int primary key)", "drop table u", {"manage": "false"}),
    "no publication": ("PublicationMissing", "CREATE PUBLICATION", "", "", {"manage": "false", "publication": "nowhere"}),
    "no table": ("NoTables", "include and exclude", "", "", {"exclude": '["*.*"]'}),
    "no unit's table": (
        "NoTables", "an IngestionUnit", "create schema s; create table s.x (id int primary key)", "drop schema s cascade",
        {"include": '["s.*"]'}),
    "a table that is not there": ("TableMissing", "public.nosuch", "", "", {"include": '["public.t", "public.nosuch"]'}),
    "a generated key": (
        "UnsupportedKey", "key column a is generated",
        "create table u (b int, a int generated always as (b) stored primary key)", "drop table u", {}),
    "a key without binary form": (
        "UnsupportedKey", "no binary form", "create extension seg; create table u (a seg primary key)",
        "drop table u; drop extension seg", {}),
    "no columns": (
        "UnsupportedTable", "public.u", "create table u (); alter table u replica identity full", "drop table u", {}),
    "replica identity nothing": (
        "ReplicaIdentityNothing", "REPLICA IDENTITY DEFAULT", "create table u (id int primary key); alter table u replica identity nothing",
        "drop table u", {}),
    "no key at all": ("NoKey", "idColumns", "create table u (id int)", "drop table u", {}),
    "no key for Upsert": (
        "NoKey", "idColumns", "create table u (id int); alter table u replica identity full", "drop table u", {}),
    "a type without a mapping": (
        "UnsupportedType", "aclitem[]", "create table u (id int primary key, a aclitem[])", "drop table u", {}),
    "another type than its values": ("TypeOverride", "timestamptz", "", "", {"more_table": "      columns: [{name: v, type: timestamptz}]\n"}),
    "a column that is not there": ("UnknownColumn", "zzz", "", "", {"more_table": "      columns: [{name: zzz, type: string}]\n"}),
    "other partitions": ("PartitionMismatch", "partitionBy", "", "", {"more_table": '      partitionBy: ["v"]\n'}),
}  # fmt: skip


TABLES = "SELECT c.oid, n.nspname, c.relname, c.relkind"  # how the agent asks for all of them
TABLES_MAX = 100_000


def older(statement, kind, body):
    return message(b"S", b"server_version\x0013.14\0") if kind == b"S" and body.startswith(b"server_version\0") else None


def other_history(statement, kind, body):
    """The server was promoted once, and what it says of that can't be read."""
    if statement == "IDENTIFY_SYSTEM" and kind == b"D":
        system = body[6 : 6 + int.from_bytes(body[2:6])].decode()
        return row(system, "2", "0/1", "shop")
    if statement == "TIMELINE_HISTORY 2" and kind == b"E":
        return columns("filename", "content") + row("00000002.history", "1\there\tor there") + message(b"C", b"SELECT\0")
    return None


def many_tables(statement, kind, body):
    if not statement.startswith(TABLES):
        return None
    return message(kind, body) * (TABLES_MAX // 2) if kind == b"D" else None  # there are three


def log_gone(statement, kind, body):
    return error("58P01", "requested WAL segment 000000010000000000000001 has already been removed") if (
        statement.startswith("START_REPLICATION") and kind == b"W") else None


# name: (code, what else is said, exit code, what the server says instead)
SERVER = {
    "a server too old": ("ServerTooOld", "version 13.14; Firn reads 14 and later", REFUSED, older),
    "a history that can't be read": ("BadTimeline", "the history of timeline 2", FAILED, other_history),
    "more tables than are read": ("TooManyTables", f"more than {TABLES_MAX}", REFUSED, many_tables),
    "log that is gone": ("LogGone", "no longer has the WAL that the slot needs", REFUSED, log_gone),
}  # fmt: skip


class Each(Shop):
    quick = True

    def setUp(self):
        super().setUp()
        run = self.connection.execute
        run("create table t (id int primary key, v int); insert into t select i, i from generate_series(1, 20) i")
        run("create table parts (id int primary key, v int) partition by hash (id);"
            " create table parts_0 partition of parts for values with (modulus 1, remainder 0); insert into parts select * from t")  # fmt: skip
        self.postgres.execute("select pg_create_logical_replication_slot('elsewhere', 'pgoutput')")
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        run("update t set v = v + 1; delete from parts where id = 3")  # what nothing below may lose, or confirm

    def refused(self, code: str, said: str, status: int = REFUSED):
        confirmed = self.postgres.slot("firn")["confirmed"]
        heads = [self.lake_table(name).metadata["current-snapshot-id"] for name in ("t", "parts")]
        agent = self.start()
        self.assertEqual(agent.wait(), status, agent.text())
        self.assertIn(code, [line.get("reason") for line in agent.lines()], agent.text())
        self.assertIn(said, "".join(line.get("error", "") for line in agent.lines()), agent.text())
        self.assertEqual(self.postgres.slot("firn")["confirmed"], confirmed)
        self.assert_not_ahead()
        self.assertEqual([self.lake_table(name).metadata["current-snapshot-id"] for name in ("t", "parts")], heads)

    def goes_on(self):
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)

    def test_source_and_manifest(self):
        for name, (code, said, before, after, fields) in SOURCE.items():
            with self.subTest(name):
                if before:
                    self.connection.execute(before)
                try:
                    self.write_manifest(**fields)
                    self.refused(code, said)
                finally:
                    if after:
                        self.connection.execute(after)
        self.connection.execute("create schema s; create table s.keyless (id int); create table s.u_x (id int primary key);"
                                " create schema s_u; create table s_u.x (id int primary key)")
        fresh = (str(self.warehouse), str(self.folder / "fresh"))  # what this Connector has filled nothing of yet
        for name, code, said, *edits in (
            ("a unit's table that is not there", "TableMissing", "public.nosuch", ('tables: ["public.*"]', "table: public.nosuch"),
             ('"{table}"', "t")),
            ("another database's slot", "SlotForeign", "belongs to database postgres", ("slot: firn,", "slot: elsewhere,"), fresh),
            ("neither key nor whole rows", "NoReplicaIdentity", "add a primary key", ('include: ["public.*"]', 'include: ["s.keyless"]'),
             ('tables: ["public.*"]', "table: s.keyless"), ('"{table}"', "keyless"), ("mode: Upsert", "mode: Append"), fresh),
            ("two tables into one", "TableTaken", "s.u_x and s_u.x", ('include: ["public.*"]', 'include: ["s.u_x", "s_u.x"]'),
             ('tables: ["public.*"]', 'tables: ["s*.*"]'), ('"{table}"', '"{schema}_{table}"')),
            ("no place for the record", "NoRecordPlace", "spec.location", (f"type: Directory, warehouse: {self.warehouse}",
             "type: Rest, uri: http://127.0.0.1:1, warehouse: name")),
        ):  # fmt: skip
            with self.subTest(name):
                path = self.write_manifest()
                text = path.read_text()
                for old, new in edits:
                    self.assertIn(old, text)
                    text = text.replace(old, new)
                path.write_text(text)
                self.refused(code, said)
        self.connection.execute("drop schema s cascade; drop schema s_u cascade")
        self.goes_on()

    def test_server(self):
        self.connection.execute("create table u (id int primary key); insert into u values (1)")  # the third of them
        for name, (code, said, status, change) in SERVER.items():
            with self.subTest(name), PostgresProxy(self.postgres.port, change) as proxy:
                self.write_manifest(port=proxy.port)
                self.refused(code, said, status)
                self.assertGreater(proxy.changed, 0)
        self.goes_on()

    @contextlib.contextmanager
    def edited(self, path, change):
        """What stands in a file of JSON, as somebody else made it; and then put right again."""
        good = path.read_bytes()
        document = json.loads(good)
        change(document)
        path.write_text(json.dumps(document))
        try:
            yield
        finally:
            path.write_bytes(good)

    def newest(self, name: str):
        files = lake.version_files(self.warehouse / "shop" / name)
        return files[max(files)]

    def test_lake(self):
        table = self.newest("t")
        unit = next(name for name in json.loads(table.read_bytes())["properties"] if name.startswith("firn.position."))
        columns = unit.replace("position", "columns", 1)

        def retype(metadata):
            for schema in metadata["schemas"]:
                schema["fields"][1]["type"] = "long"

        def forget(metadata):
            metadata["properties"] = {name: text for name, text in metadata["properties"].items() if not name.startswith("firn.")}

        for name, path, change, code, said in (
            ("a position that is none", table, lambda m: m["properties"].update({unit: "here 1"}), "BadPosition", "--resnapshot"),
            ("columns that are none", table, lambda m: m["properties"].update({columns: "{}"}), "BadColumns", "--resnapshot"),
            ("columns of another kind", table, lambda m: m["properties"].update(
                {columns: json.dumps({"ids": {}, "source": {"filenode": "1", "oid": 1}})}), "SourceTableReplaced", "--resnapshot"),
            ("another type", table, retype, "SchemaMismatch", "column v"),
            ("nobody's table", table, forget, "TableNotEmpty", "tableName"),
            ("no record", self.warehouse / "_firn" / "default.shop.json", lambda m: m.clear(), "BadRecord", "restore it"),
        ):  # fmt: skip
            with self.subTest(name), self.edited(path, change):
                confirmed = self.postgres.slot("firn")["confirmed"]
                agent = self.start()
                self.assertEqual(agent.wait(), REFUSED, agent.text())
                self.assertIn(code, agent.text())
                self.assertIn(said, agent.text())
                self.assertEqual(self.postgres.slot("firn")["confirmed"], confirmed)
        self.goes_on()


if __name__ == "__main__":
    unittest.main(verbosity=2)
