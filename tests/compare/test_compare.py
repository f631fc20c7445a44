"""The comparer must fail on what it is there to find: a flipped byte, a missing row, a doubled row,
a null for an empty string. The lake's tables are written by pyiceberg here, not by Firn."""

import base64
import contextlib
import datetime
import decimal
import io
import json
import shutil
import sys
import tempfile
import unittest
import uuid
from pathlib import Path
from unittest import mock

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

import topics
from compare import compare
from harness.postgres import Postgres
from lake import Access

ROWS = 2000
UTC = datetime.timezone.utc

DDL = """
create type mood as enum ('glad', 'sad');
create table kinds (
    id bigint primary key, small smallint, whole int, ratio real, exact double precision,
    amount numeric(12,2), flag boolean, day date, clock time, seen timestamp, seen_at timestamptz,
    name text, code varchar(20), raw bytea, number uuid, doc jsonb, feeling mood,
    tags text[], scores int[], prices numeric(8,3)[], moments timestamptz[])"""

FILL = """
insert into kinds select i, i % 100, i, i / 3.0, i / 7.0, i / 100.0, i % 2 = 0, date '2000-01-01' + i,
    time '00:00' + i * interval '1.000001 s', timestamp '1999-12-31' + i * interval '1.5 s',
    timestamptz '2020-02-29 12:00+02' - i * interval '1 day',
    case i % 4 when 0 then null when 1 then '' when 2 then 'line' || chr(10) || '"quoted", ünïcode ☃' else 'n' || i end,
    'c' || i, decode(md5(i::text), 'hex'), md5(i::text)::uuid, jsonb_build_object('i', i, 'x', null),
    case i % 3 when 0 then 'glad' when 1 then 'sad' end::mood,
    case i % 5 when 0 then null when 1 then '{}' else array['a,b', null, '"' || i, ''] end,
    array[i, null, -i], array[i / 1000.0], array[timestamptz '2020-01-01 00:00+00' + i * interval '1 s']
from generate_series(1, ROWS) i"""

TYPES = {
    "id": pa.int64(), "small": pa.int32(), "whole": pa.int32(), "ratio": pa.float32(), "exact": pa.float64(),
    "amount": pa.decimal128(12, 2), "flag": pa.bool_(), "day": pa.date32(), "clock": pa.time64("us"),
    "seen": pa.timestamp("us"), "seen_at": pa.timestamp("us", "UTC"), "name": pa.string(), "code": pa.string(),
    "raw": pa.binary(), "number": pa.uuid(), "doc": pa.string(), "feeling": pa.string(),
    "tags": pa.list_(pa.string()), "scores": pa.list_(pa.int32()), "prices": pa.list_(pa.decimal128(8, 3)),
    "moments": pa.list_(pa.timestamp("us", "UTC")),
}  # fmt: skip


class Lake(unittest.TestCase):
    """A source with rows, and a way to write them to a lake, changed or not."""

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres().start()
        cls.addClassCleanup(cls.postgres.stop)
        cls.folder = Path(tempfile.mkdtemp(prefix="firn-compare-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.catalog = SqlCatalog("test", uri="sqlite://", warehouse=f"file://{cls.folder}/lake")
        cls.catalog.create_namespace("n")
        with cls.postgres.connect() as connection:
            connection.execute(DDL)
            connection.execute(FILL.replace("ROWS", str(ROWS)))
            cls.rows = [
                dict(zip(TYPES, row)) for row in connection.execute(f"select {', '.join(TYPES)} from kinds order by id")
            ]
            # psycopg makes a dict of jsonb; its text is what a lake holds.
            texts = [text for (text,) in connection.execute("select doc::text from kinds order by id")]
        for row, text in zip(cls.rows, texts):
            row["doc"] = text
            row["number"] = row["number"].bytes

    def write(self, rows, types=None, order=()):
        """A lake table as Firn lays one out."""
        types = types or TYPES
        columns = []
        for name, kind in types.items():
            storage = pa.binary(16) if kind == pa.uuid() else kind
            array = pa.array([row.get(name) for row in rows], storage)
            columns.append(pa.ExtensionArray.from_storage(kind, array) if kind == pa.uuid() else array)
        data = pa.table(dict(zip(types, columns)))
        table = self.catalog.create_table(f"n.t{uuid.uuid4().hex}", data.schema)
        table.append(data)
        newest = Path(table.metadata_location.removeprefix("file://"))
        shutil.copy(newest, newest.parent / "v1.metadata.json")
        return str(newest.parent.parent)

    def verdict(self, location, engine="duckdb", table="public.kinds"):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            same = compare(self.postgres.dsn(), "/", [f"{table}={location}"], engine)
        self.assertIn("match: 1 tables" if same else "MISMATCH", output.getvalue().splitlines()[-1])
        return same, output.getvalue()

    def differs(self, location, table="public.kinds"):
        """Both sides could be read, and differ; what the comparer says of it."""
        same, output = self.verdict(location, table=table)
        self.assertFalse(same)
        self.assertRegex(output, r"source \d+ rows [0-9a-f]{32}, lake \d+ rows [0-9a-f]{32}")
        return output

    def changed(self, at, **values):
        rows = list(self.rows)
        rows[at] = {**rows[at], **values}
        return rows


class Comparer(Lake):
    def test_equal_in_any_order(self):
        location = self.write(self.rows[::-1])
        for engine in ("duckdb", "pyiceberg"):
            same, output = self.verdict(location, engine)
            self.assertTrue(same, output)
            self.assertIn(f"{ROWS} rows", output)

    def test_every_column_counts(self):
        other = {
            "id": 10**12, "small": 77, "whole": 8, "ratio": 0.25, "exact": 0.5, "amount": decimal.Decimal("0.01"),
            "flag": None, "day": datetime.date(1970, 1, 1), "clock": datetime.time(1), "name": "x",
            "seen": datetime.datetime(1970, 1, 1), "seen_at": datetime.datetime(1970, 1, 1, tzinfo=UTC), "code": "",
            "raw": b"", "number": bytes(16), "doc": "{}", "feeling": "none", "tags": ["a"], "scores": [], "prices": None,
            "moments": [None],
        }  # fmt: skip
        self.assertEqual(list(TYPES), list({name: 0 for name in TYPES if name in other}))
        for name, value in other.items():
            with self.subTest(column=name):
                output = self.differs(self.write(self.changed(100, **{name: value})))
                self.assertIn("id=101", output)

    def test_one_flipped_byte(self):
        raw = bytearray(self.rows[500]["raw"])
        raw[7] ^= 1
        output = self.differs(self.write(self.changed(500, raw=bytes(raw))))
        self.assertIn("id=501: raw is", output)

    def test_one_missing_row(self):
        output = self.differs(self.write(self.rows[:700] + self.rows[701:]))
        self.assertIn("id=701: missing in the lake", output)

    def test_one_doubled_row(self):
        output = self.differs(self.write(self.rows + [self.rows[3]]))
        self.assertIn("id=4: in the lake only, or more than once", output)

    def test_one_row_for_another(self):
        self.differs(self.write(self.rows[:-1] + [self.rows[0]]))

    def test_null_for_empty_string(self):
        at = next(i for i, row in enumerate(self.rows) if row["name"] == "")
        output = self.differs(self.write(self.changed(at, name=None)))
        self.assertIn("name is '' at the source, None in the lake", output)

    def test_empty_string_for_null(self):
        at = next(i for i, row in enumerate(self.rows) if row["name"] is None)
        self.differs(self.write(self.changed(at, name="")))

    def test_null_list_for_empty_list(self):
        at = next(i for i, row in enumerate(self.rows) if row["tags"] == [])
        self.differs(self.write(self.changed(at, tags=None)))

    def test_values_do_not_run_together(self):
        at = next(i for i, row in enumerate(self.rows) if row["name"] and row["name"].startswith("n"))
        row = self.rows[at]
        moved = {"name": row["name"][:-1], "code": row["name"][-1] + row["code"]}
        self.differs(self.write(self.changed(at, **moved)))

    def test_another_type(self):
        types = {**TYPES, "whole": pa.string()}
        rows = [{**row, "whole": str(row["whole"])} for row in self.rows]
        same, output = self.verdict(self.write(rows, types))
        self.assertFalse(same)
        self.assertIn('column "whole": the source\'s int is string in the lake', output)

    def test_a_column_or_table_that_is_not_there(self):
        types = {name: kind for name, kind in TYPES.items() if name != "flag"}
        same, output = self.verdict(self.write(self.rows, types))
        self.assertFalse(same)
        self.assertIn("no column flag", output)
        same, output = self.verdict(self.write(self.rows, {**TYPES, "more": pa.string()}))
        self.assertFalse(same)
        self.assertIn("column more, which the source lacks", output)
        self.assertFalse(self.verdict("/nowhere/at/all")[0])


class Log(Lake):
    """An Append table: its log folds to the latest state."""

    types = {"id": pa.int64(), "v": pa.string(), "_firn_op": pa.string(), "_firn_position": pa.string()}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.execute("create table pair (id bigint primary key, v text)")
        cls.postgres.execute("insert into pair values (1, 'a2'), (3, 'c'), (4, 'e')")

    def log(self, *changes):
        names = list(self.types)
        rows = [dict(zip(names, (*change[:3], f"{change[3]:016X}.{1:016X}"))) for change in changes]
        return self.write(rows, self.types)

    changes = [(9, "z", "r", 1), (None, None, "t", 2), (1, "a", "c", 3), (2, "b", "c", 4), (3, "c", "c", 5),
               (1, "a2", "u", 6), (2, None, "d", 7), (4, "e", "c", 8)]  # fmt: skip

    def test_folds(self):
        same, output = self.verdict(self.log(*self.changes), table="public.pair")
        self.assertTrue(same, output)

    def test_missing_delete(self):
        self.differs(self.log(*self.changes[:6], self.changes[7]), "public.pair")

    def test_missing_update(self):
        self.differs(self.log(*self.changes[:5], *self.changes[6:]), "public.pair")

    def test_missing_truncate(self):
        self.differs(self.log(self.changes[0], *self.changes[2:]), "public.pair")

    def test_doubled_change(self):
        same, output = self.verdict(self.log(*self.changes, self.changes[5]), table="public.pair")
        self.assertFalse(same)
        self.assertIn("stands twice in the log", output)


def _debezium(value, kind: pa.DataType):
    """A value as Debezium writes it in JSON."""
    if value is None:
        return None
    if pa.types.is_list(kind):
        return [_debezium(element, kind.value_type) for element in value]
    if pa.types.is_decimal(kind):
        unscaled = int(decimal.Decimal(value).scaleb(kind.scale))
        return base64.b64encode(unscaled.to_bytes(9, "big", signed=True)).decode()
    if pa.types.is_date(kind):
        return (value - datetime.date(1970, 1, 1)).days
    if pa.types.is_time(kind):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000000 + value.microsecond
    if pa.types.is_timestamp(kind) and kind.tz:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if pa.types.is_timestamp(kind):
        return (value - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
    if kind == pa.uuid():
        return str(uuid.UUID(bytes=value))
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


class Topic(Lake):
    """Records of a topic, as its messages come."""

    def record(self, row, op="c", partition=0):
        image = {name: _debezium(row[name], kind) for name, kind in TYPES.items()}
        envelope = {"before": image, "after": None} if op == "d" else {"before": None, "after": image}
        return partition, json.dumps({"id": row["id"]}).encode(), json.dumps({**envelope, "op": op}).encode()

    def tombstone(self, row, partition=0):
        return partition, json.dumps({"id": row["id"]}).encode(), None

    def verdict(self, records):
        output = io.StringIO()
        with mock.patch.object(topics, "messages", lambda brokers, topic: iter(records)), contextlib.redirect_stdout(output):
            same = compare(self.postgres.dsn(), "", ["public.kinds=shop.public.kinds"], access=Access(brokers="nowhere:9092"))
        self.assertIn("match: 1 tables" if same else "MISMATCH", output.getvalue().splitlines()[-1])
        return same, output.getvalue()

    def test_folds(self):
        older = self.changed(3, name="before")[3]
        gone = self.changed(4, id=10**9)[4]
        emptied = (1, None, json.dumps({"before": None, "after": None, "op": "t"}).encode())
        elsewhere = [self.record(self.changed(5, id=10**10)[5], "r", 1), emptied]
        records = [self.record(older, "r"), self.record(gone), *map(self.record, self.rows), (0, None, None),
                   self.record(gone, "d"), self.tombstone(gone), *elsewhere, (1, None, None)]  # fmt: skip
        same, output = self.verdict(records)
        self.assertTrue(same, output)
        without_tombstone = [record for record in records if record[1] is None or record[2] is not None]
        self.assertTrue(self.verdict(without_tombstone)[0])

    def test_finds(self):
        records = list(map(self.record, self.rows))
        for what, wrong, said in (
            ("missing", records[:9] + records[10:], "id=10: missing in the topic"),
            ("stale", [*records, self.record(self.changed(9, code="old")[9], "u")], "code is 'c10' at the source, 'old' in the topic"),
            ("not deleted", [*records, self.record(self.changed(9, id=-1)[9])], "id=-1: in the topic only"),
            ("too much deleted", [*records, self.record(self.rows[9], "d"), self.tombstone(self.rows[9])], "id=10: missing"),
            ("another partition", [*records, self.record(self.rows[9], "u", 1)], "is in two partitions"),
            ("null for empty", [*records, self.record({**self.rows[3], "name": ""}, "u")], "name is None at the source, '' in the topic"),
        ):  # fmt: skip
            with self.subTest(what):
                same, output = self.verdict(wrong)
                self.assertFalse(same)
                self.assertIn(said, output)


if __name__ == "__main__":
    unittest.main()
