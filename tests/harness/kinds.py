"""Tables that are there for their shape: every common type with its edge values, odd names, replica
identities, partitions, an empty table."""

import random

import psycopg

COLUMNS = {
    "small": "smallint", "whole": "integer", "big": "bigint", "single": "real", "exact": "double precision",
    "money_like": "numeric(12,2)", "wide": "numeric(38,10)", "units": "numeric(9,0)", "flag": "boolean",
    "day": "date", "clock": "time", "seen": "timestamp", "seen_at": "timestamptz", "seen_ms": "timestamptz(3)",
    "words": "text", "code": "varchar(20)", "fixed": "char(5)", "raw": "bytea", "number": "uuid", "doc": "json",
    "docb": "jsonb", "feeling": "mood", "tags": "text[]", "wholes": "integer[]", "bigs": "bigint[]",
    "exacts": "double precision[]", "flags": "boolean[]", "amounts": "numeric(10,3)[]", "days": "date[]",
    "moments": "timestamptz[]", "numbers": "uuid[]", "raws": "bytea[]", "feelings": "mood[]", "select": "text",
    "With Space": "integer", "ünïcode": "text",
}  # fmt: skip

# Per type: values as SQL.
_EDGES = {
    "smallint": ["-32768", "32767", "0"],
    "integer": ["-2147483648", "2147483647", "0"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "0"],
    "real": ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1.17549435e-38", "3.4028235e38", "0.1"],
    "double precision": ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "5e-324", "1.7976931348623157e308", "0.1"],
    "numeric(12,2)": ["9999999999.99", "-9999999999.99", "0.01", "0", "100", "-0.5"],
    "numeric(38,10)": ["9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "1e-10", "10000"],
    "numeric(9,0)": ["999999999", "-1", "10000", "0"],
    "numeric(10,3)": ["9999999.999", "-0.001", "5"],
    "boolean": ["true", "false"],
    "date": ["'0001-01-01'", "'9999-12-31'", "'1969-12-31'", "'2024-02-29'"],
    "time": ["'00:00'", "'23:59:59.999999'", "'12:34:56.000001'"],
    "timestamp": ["'0001-01-01 00:00'", "'9999-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'", "'2000-01-01'"],
    "timestamptz": ["'0001-01-02 00:00+00'", "'9999-12-30 23:59:59.999999+00'", "'1969-12-31 23:59:59.999999+00'"],
    "timestamptz(3)": ["'2024-02-29 12:00:00.123+05:30'"],
    "text": ["''", "'ünï ☃ 雪 🏔'", "E'a\\tb\\nc\\\\d\"e'", "repeat('long ', 300)", "'null'", "'NULL'"],
    "varchar(20)": ["''", "'x'", "'雪だるま'"],
    "char(5)": ["'abc'", "''", "'abcde'"],
    "bytea": ["''", "'\\x00'", "'\\x00ff00'", "decode(repeat('ab', 700), 'hex')"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "gen_random_uuid()"],
    "json": ["'null'", "'{\"b\": 1,  \"a\": [1.50, \"ü\"]}'", "'[]'", "'\"\"'"],
    "jsonb": ["'null'", "'{\"b\": 1,  \"a\": [1.50, \"ü\"]}'", "'[]'", "'\"\"'", "'1e10'"],
    "mood": ["'glad'", "'sad'", "'it''s \"odd\"'"],
}  # fmt: skip

SCHEMA = """
create type mood as enum ('glad', 'sad', 'it''s "odd"');
create table kinds (id bigint primary key, COLUMNS);
create table nothing (id integer primary key, v text);
create table carts (id integer primary key, customer bigint, items text[]);
create table pairs ("key b" text, a integer, v integer, primary key (a, "key b"));
create table whole_rows (a integer primary key, b text, c text);
alter table whole_rows replica identity full;
create table by_index (id integer primary key, code text not null unique, v integer);
alter table by_index replica identity using index by_index_code_key;
create table parts (id bigint primary key, region text, at timestamptz, day date, n integer)"""

class Kinds:
    """Rows of every type, chosen by a seed, and changes to all these tables."""

    def __init__(self, connection: psycopg.Connection, seed: int = 1, without: tuple = ()):
        """`without` names columns that the engine at hand can't show."""
        self.connection = connection
        self.columns = {name: kind for name, kind in COLUMNS.items() if name not in without}
        self.random = random.Random(seed)
        self.next = 0

    def make(self):
        columns = ", ".join(f'"{name}" {kind}' for name, kind in self.columns.items())
        for statement in SCHEMA.replace("COLUMNS", columns).split(";\n"):
            self.connection.execute(statement)

    def value(self, kind: str) -> str:
        if self.random.random() < 0.15:
            return "null"
        if kind.endswith("[]"):
            values = [self.value(kind[:-2]) for _ in range(self.random.choice((0, 1, 2, 5)))]
            return f"array[{', '.join(values)}]::{kind}"
        return f"({self.random.choice(_EDGES[kind])})::{kind}"

    def insert(self, count: int):
        """Rows of `kinds`; the first ones take each edge value in turn."""
        for _ in range(count):
            self.next += 1
            values = [self.value(kind) for kind in self.columns.values()]
            if self.next <= 8:
                for at, kind in enumerate(COLUMNS.values()):
                    if kind in _EDGES:
                        values[at] = f"({_EDGES[kind][self.next % len(_EDGES[kind])]})::{kind}"
            self.connection.execute(f"insert into kinds values ({self.next}, {', '.join(values)})")

    def changes(self):
        """A round of everything that can happen to a row."""
        run = self.connection.execute
        self.insert(40)
        for _ in range(40):
            names = self.random.sample(list(self.columns), 5)
            assignments = ", ".join(f'"{name}" = {self.value(self.columns[name])}' for name in names)
            run(f"update kinds set {assignments} where id = {self.random.randint(1, self.next)}")
        run(f"delete from kinds where id = {self.random.randint(1, self.next)}")
        run(f"update kinds set id = id + 1000000 + (select max(id) from kinds) where id = {self.random.randint(1, self.next)}")

        start = self.random.randint(0, 10**6)
        run("insert into carts select i, i, array['x' || i] from generate_series(%s::int, %s) i on conflict do nothing", [start, start + 50])  # fmt: skip
        with self.connection.transaction():
            run("delete from carts where id % 2 = 0")
            run("truncate carts")
            run("insert into carts select i, -i, null from generate_series(1, 20) i")
            if self.random.random() < 0.5:
                run("truncate carts")
                run("insert into carts values (7, 7, '{}')")

        run("insert into pairs select 'k' || i % 5, i, 0 from generate_series(1, 60) i on conflict do nothing")
        run("update pairs set v = v + 1 where a % 3 = 0")
        # Keys wander in a ring within one transaction: each new key was another row's a moment ago.
        with self.connection.transaction():
            run("update pairs set a = -a where a between 1 and 9")
            run("update pairs set a = 10 + a, v = v + 100 where a between -9 and -1")
        run("delete from pairs where a = %s", [self.random.randint(1, 60)])

        run("insert into whole_rows select i, 'b' || i, repeat('c', i) from generate_series(1, 30) i on conflict do nothing")
        run("update whole_rows set b = null where a %% 4 = %s", [self.random.randint(0, 3)])
        run("update whole_rows set a = a + 100 + (select max(a) from whole_rows) where a = %s", [self.random.randint(1, 30)])
        run("delete from whole_rows where a > 100 and a % 2 = 0")

        run("insert into by_index select i, 'c' || i, 0 from generate_series(1, 30) i on conflict do nothing")
        run("update by_index set v = v + 1, id = id + 1000 + (select max(id) from by_index) where id between 3 and 9")
        run("update by_index set code = code || 'x' where id = %s", [self.random.randint(1, 30)])
        run("delete from by_index where id = %s", [self.random.randint(1, 30)])

        run("insert into parts select i, (array['north', 'süd', '', null])[1 + i %% 4], '2026-01-01'::timestamptz + i * interval '7 h',"
            " date '1969-12-25' + i::int, i - 50 from generate_series(%s::int, %s) i on conflict do nothing", [1, 200])  # fmt: skip
        run("update parts set region = 'west', n = n + 1 where id %% 7 = %s", [self.random.randint(0, 6)])
        run("delete from parts where id = %s", [self.random.randint(1, 200)])
