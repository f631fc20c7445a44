"""Makes the files of this folder: a binlog as MySQL or MariaDB wrote it, KIND-CASE.binlog, and beside it KIND-CASE.txt:
what is known of its tables before, and every row of it as the server itself shows the values. KIND.collations has the
server's, a number and a character set a line.

    table       schema, name, shape (known.h)               then its rows, in the log's order
    OP          a value for each column

OP is insert, update, delete, or move (the old row of an update that changes the key: the key alone). Between tabs, with
\\\\, \\t and \\n escaped; \\N is null, and ~ a value that the log leaves out. Numbers and text are plain; what has digits
behind a point, dates and times are a number of their smallest unit (of days; microseconds); the rest is hexadecimal,
floats as IEEE 754 has them.

    full         every type; checksums; names in the log
    compressed   the same without names and checksums, transactions (MySQL) or rows (MariaDB) compressed
    images       binlog_row_image MINIMAL and NOBLOB; savepoints
    partial      MySQL: JSON values of which only a change is told, which is refused

    tests/harness/python tests/golden/binlog/make.py"""

import datetime
import decimal
import json
import re
import struct
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.mysql import SERVERS
from harness.mysql_lake import _asked, _value, columns_of, type_word
from harness.mysql_types import MORE, TYPES

REPEATED = 260  # more than a length of one byte holds
LEFT_OUT = object()
BLOBS = {"text", "blob", "longtext"}  # MariaDB's JSON is one of these; MySQL's stays in an image


def short(value: str) -> str:
    return re.sub(r"repeat\((.+?), (\d+)\)", lambda found: f"repeat({found[1]}, {min(int(found[2]), REPEATED)})", value)


def written(value, kind: str) -> str:
    if value is None:
        return r"\N"
    if value is LEFT_OUT:
        return "~"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return struct.pack("<f" if type_word(kind) == "float" else "<d", value).hex()
    if isinstance(value, decimal.Decimal):
        scale = int((re.search(r",(\d+)", kind) or [0, 0])[1])
        with decimal.localcontext(decimal.Context(prec=80)):
            return str(int(value.scaleb(scale)))
    if isinstance(value, datetime.datetime):
        return str((value - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1))
    if isinstance(value, datetime.date):
        return str((value - datetime.date(1970, 1, 1)).days)
    if isinstance(value, datetime.time):
        return str(((value.hour * 60 + value.minute) * 60 + value.second) * 1000000 + value.microsecond)
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


class Table:
    """Its lines, as statements are run on it. left_out(column, kind): what an image lacks of a value that stays."""

    def __init__(self, server, connection, name: str):
        self.connection, self.name = connection, name
        self.columns = columns_of(connection, name)
        self.lines = []
        rows = server.execute(
            "select column_name, column_type, coalesce(character_set_name, ''), is_nullable = 'NO', column_key = 'PRI' from "
            f"information_schema.columns where table_schema = 'shop' and table_name = '{name}' order by ordinal_position")
        text = [[each.decode() if isinstance(each, bytes) else each for each in row] for row in rows]
        shape = {"last": len(text), "key": [i + 1 for i, row in enumerate(text) if row[4]],
                 "columns": [[i + 1, row[0], row[1], row[2], bool(row[3])] for i, row in enumerate(text)]}  # fmt: skip
        self.head = f"table\tshop\t{name}\t{json.dumps(shape, ensure_ascii=False)}".replace("\\", "\\\\")

    def rows(self) -> dict[int, list]:
        with self.connection.cursor() as cursor:
            cursor.execute(f"select {', '.join(_asked(name, kind) for name, kind in self.columns)} from `{self.name}` order by id")
            return {int(row[0]): [_value(value if isinstance(value, str) or value is None else value.decode(), kind, False)
                                  for value, (_, kind) in zip(row, self.columns)] for row in cursor.fetchall()}  # fmt: skip

    def line(self, op: str, values):
        self.lines.append("\t".join([op, *(written(value, kind) for value, (_, kind) in zip(values, self.columns))]))

    def run(self, statement: str, *, to: int = None, image: str = "FULL"):
        """to: the key that the only row it changes has then."""

        def told(value, kind: str, stays: bool):
            lacks = stays and (image == "MINIMAL" or (image == "NOBLOB" and type_word(kind) in BLOBS))
            return LEFT_OUT if lacks else value

        before = self.rows()
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
        after = self.rows()
        if to is not None:
            (gone,) = before.keys() - after.keys()
            self.line("move", [gone, *[None] * (len(self.columns) - 1)])
            self.line("update", [after[to][0], *(told(value, kind, value == old) for value, old, (_, kind) in
                                                 zip(after[to][1:], before[gone][1:], self.columns[1:]))])  # fmt: skip
            return
        for at in sorted(before.keys() | after.keys()):
            if at not in before:
                self.line("insert", after[at])
            elif at not in after:
                self.line("delete", [at, *(None if told(value, kind, True) is LEFT_OUT else value
                                           for value, (_, kind) in zip(before[at][1:], self.columns[1:]))])  # fmt: skip
            elif before[at] != after[at]:
                self.line("update", [at, *(told(value, kind, value == old) for value, old, (_, kind) in
                                           zip(after[at][1:], before[at][1:], self.columns[1:]))])  # fmt: skip


class Golden:
    def __init__(self, server):
        self.server, self.connection = server, server.connect()
        with self.connection.cursor() as cursor:
            cursor.execute("set sql_mode = ''")
            cursor.execute("set names utf8mb4")

    def execute(self, *statements: str):
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def record_collations(self):
        several = "information_schema.collation_character_set_applicability"
        source = several if self.server.kind == "MariaDB" else "information_schema.collations"
        rows = self.server.execute(f"select id, character_set_name from {source} where id is not null order by id")
        text = "".join(f"{number}\t{charset}\n" for number, charset in rows)
        Path(__file__).with_name(f"{self.server.kind.lower()}.collations").write_text(text)

    def record(self, case: str, create: dict[str, str], run, **settings: str):
        for name, value in settings.items():
            self.execute(f"set global {name} = {value}")
        for name, columns in create.items():
            self.execute(f"drop table if exists `{name}`", f"create table `{name}` ({columns}) charset utf8mb4")
        self.execute("flush binary logs")
        file = self.server.log_end()[0]
        tables = [Table(self.server, self.connection, name) for name in create]
        run(*tables)
        self.execute("flush binary logs")
        stem = f"{self.server.kind.lower()}-{case}"
        data = (self.server.folder / "data" / file).read_bytes()
        Path(__file__).with_name(f"{stem}.binlog").write_bytes(data)
        lines = []
        for table in tables:
            lines += [table.head, *table.lines]
        Path(__file__).with_name(f"{stem}.txt").write_text("\n".join(lines) + "\n")
        print(f"{stem}: {len(data)} bytes, {sum(len(table.lines) for table in tables)} rows")


def types_of(kind: str) -> dict:
    return {**TYPES, **MORE[kind]}


def all_types(types: dict) -> str:
    return ", ".join(["id int primary key", *(f"`{name}` {kind}" for name, (kind, *_) in types.items())])


def fill(table: Table, types: dict):
    settable = {name: values for name, (_, *values) in types.items() if values}

    def values(row: int) -> list[str]:
        return [short(each[row % len(each)]) for each in settable.values()]

    names = ", ".join(f"`{name}`" for name in settable)
    table.run(f"insert into `{table.name}` (id, {names}) values " + ", ".join(f"({row}, {', '.join(values(row))})" for row in range(3)))
    table.run(f"insert into `{table.name}` (id) values (-1)")
    table.run(f"update `{table.name}` set " + ", ".join(f"`{name}` = {value}" for name, value in zip(settable, values(1))) + " where id = 0")
    table.run(f"update `{table.name}` set id = 77 where id = 2", to=77)
    table.run(f"update `{table.name}` set " + ", ".join(f"`{name}` = null" for name in settable) + " where id = 1")
    table.run(f"delete from `{table.name}` where id in (0, 77)")


IMAGES = "id int primary key, a int, b varchar(50), c text, d blob, e json"


def images(table: Table, session: Golden):
    for image in "FULL", "MINIMAL", "NOBLOB":
        session.execute(f"set session binlog_row_image = '{image}'")
        base = {"FULL": 0, "MINIMAL": 100, "NOBLOB": 200}[image]
        rows = ", ".join(f"""({base + i}, {i}, 'b{i}', 'c{i}', x'0{i}ff', '{{"k": {i}}}')""" for i in range(1, 5))
        table.run(f"insert into i values {rows}", image=image)
        table.run(f"update i set a = a + 10 where id = {base + 1}", image=image)
        table.run(f"update i set c = 'long', d = null where id = {base + 2}", image=image)
        table.run(f"update i set a = a + 100, b = concat(b, '!') where id > {base}", image=image)
        table.run(f"update i set id = {base + 50}, b = 'moved' where id = {base + 3}", to=base + 50, image=image)
        table.run(f"delete from i where id = {base + 4}", image=image)
    session.execute("set session binlog_row_image = 'FULL'", "begin")
    table.run("insert into i (id, b) values (900, 'kept')")
    session.execute("savepoint s", "insert into i (id, b) values (901, 'rolled back')", "rollback to s")
    table.run("insert into i (id, b) values (902, 'kept, too')")
    session.execute("commit")



def main():
    for kind, server_type in SERVERS.items():
        with server_type(sql_mode="") as server:
            server.execute("create database shop")
            golden = Golden(server)
            golden.record_collations()
            types = types_of(kind)
            golden.record("full", {"t": all_types(types)}, lambda table: fill(table, types),
                          binlog_row_metadata="FULL", binlog_checksum="CRC32")  # fmt: skip
            if kind == "MySQL":
                golden.execute("set session binlog_transaction_compression = on")
                compress = {}
            else:
                compress = {"log_bin_compress": "on", "log_bin_compress_min_len": "10"}
            golden.record("compressed", {"t": all_types(types), "u": "id int primary key, a varchar(300)"},
                          lambda t, u: (golden.execute("begin"), fill(t, types), u.run("insert into u values (1, repeat('u', 300))"),
                                        golden.execute("commit"), u.run("update u set a = 'shorter'")),
                          binlog_row_metadata="MINIMAL" if kind == "MySQL" else "NO_LOG", binlog_checksum="NONE", **compress)  # fmt: skip
            if kind == "MySQL":
                golden.execute("set session binlog_transaction_compression = off")
            else:
                golden.execute("set global log_bin_compress = off")
            golden.record("images", {"i": IMAGES}, lambda table: images(table, golden),
                          binlog_row_metadata="FULL", binlog_checksum="CRC32")  # fmt: skip
            if kind == "MySQL":
                golden.record("partial", {"j": "id int primary key, doc json"}, lambda table: (
                    table.run("""insert into j values (1, '{"a": 1, "b": [1, 2, 3]}')"""),
                    golden.execute("set session binlog_row_value_options = 'PARTIAL_JSON'",
                                   "update j set doc = json_set(doc, '$.a', 2)")))  # fmt: skip
            golden.connection.close()


if __name__ == "__main__":
    main()
