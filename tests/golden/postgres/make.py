"""Makes values.txt: for each of the values of tests/harness/pg_types.py what a real server sends in binary, and what it
shows as text. A line is: oid, type, extension or "-", the bytes in hexadecimal, the text with \\\\, \\t and \\n escaped.

    tests/harness/python tests/golden/postgres/make.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.postgres import Postgres
from harness.pg_types import SCHEMA, Kind, Types

LARGEST = 600  # bytes of a value that goes in
NOT_BASE = {"positive", "small_positive", "price", "words", "positive[]", "price[]", "mood", "mood[]", "outer_one", "pair[]"}
NO_TEXT = {"money", "regclass", "regtype", "regtype[]", "regproc", "aclitem"}  # see print.h
# What only a string holds.
STRINGS_ONLY = [
    Kind("integer[]", ["'{{1,2},{3,NULL}}'", "'[0:1]={5,6}'", "'[-2:-2][3:4]={{1,2}}'"]),
    Kind("text[]", ["'[2:2][1:2]={{a,\"b c\"}}'", "'{{{x}},{{NULL}}}'"]),
    Kind("date", ["'infinity'", "'-infinity'"]),
    Kind("timestamp", ["'infinity'", "'-infinity'", "'294276-12-31 23:59:59.999999'"]),
    Kind("timestamptz", ["'infinity'", "'-infinity'"]),
    Kind("time", ["'24:00'"]),
]


def sent(connection, expression: str) -> bytes:
    with connection.cursor().copy(f"copy (select {expression}) to stdout (format binary)") as copy:
        data = b"".join(bytes(part) for part in copy)
    return data[25:-2]  # the header, the number of fields and the length; the trailer


def main():
    lines = []
    with Postgres(18) as newest, Postgres(15) as debian:
        for server, version, only in ((newest, 18, None), (debian, 15, "postgis")):
            server.create_database("values")
            connection = server.connect("values")
            types = Types(connection, version)
            for statement in SCHEMA.split(";\n"):
                connection.execute(statement)
            for setting in ("timezone = 'UTC'", "extra_float_digits = 1", "datestyle = 'ISO'"):
                connection.execute(f"set {setting}")
            for kind in [*types.kinds, *([] if only else STRINGS_ONLY)]:
                if kind.name in NOT_BASE | NO_TEXT or (only or kind.extension) != kind.extension:
                    continue
                for value in kind.values:
                    expression = f"({value})::{kind.name}"
                    data = sent(connection, expression)
                    if len(data) > LARGEST:
                        continue
                    oid, name, text = connection.execute(
                        f"select pg_typeof({expression})::oid, pg_typeof({expression})::text, format('%s', {expression})").fetchone()
                    if len(text) > LARGEST:
                        continue
                    text = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
                    lines.append(f"{oid}\t{name}\t{kind.extension or '-'}\t{data.hex()}\t{text}\n")
            connection.close()
    Path(__file__).with_name("values.txt").write_text("".join(lines))
    print(f"{len(lines)} values")


if __name__ == "__main__":
    main()
