"""Tables of MySQL and MariaDB beside the lake's: a manifest for a folder, and every row by content. Values are asked of
the server as text and read by their declared type; DuckDB reads the lake."""

import datetime
import decimal
import functools
import hashlib
import os
import re
import struct
import uuid
from pathlib import Path

import duckdb

from harness.mysql import PASSWORD, quoted

_RAW = {}  # no conversions by the client: what the server says


def manifest(server, warehouse: Path, *, user="firn", password=PASSWORD, tls="{mode: Disable}", include='["shop.*"]',
             exclude="[]", snapshot="Initial", parallelism=2, host=None, port=None, source_type=None, database="shop", mode="Upsert",
             format=2, interval="200ms", more_source="", more_table="", secret="", resnapshot="", state="Running",
             documents="") -> str:  # fmt: skip
    """Every table of the database, into WAREHOUSE/shop. more_source and more_table are YAML lines, indented; resnapshot is
    the annotation's text, documents stand behind."""
    note = f', annotations: {{firn.dev/resnapshot: "{resnapshot}"}}' if resnapshot else ""
    return f"""\
apiVersion: v1
kind: Secret
metadata: {{name: db}}
stringData: {{username: {user}, password: {password}{secret}}}
---
apiVersion: firn.dev/v1alpha1
kind: Connector
metadata: {{name: shop{note}}}
spec:
  state: {state}
  source:
    type: {source_type or server.kind}
    host: {host or server.host}
    port: {port or server.port}
    database: {database}
    credentialsSecretRef: {{name: db}}
    tls: {tls}
    tables: {{include: {include}, exclude: {exclude}}}
    snapshot: {{mode: {snapshot}, parallelism: {parallelism}}}
{more_source}---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: shop}}
spec:
  connectorRef: {{name: shop, tables: ["shop.*"]}}
  outsourcingUnit:
    table:
      catalog: {{type: Directory, warehouse: {warehouse}}}
      database: shop
      tableName: "{{table}}"
      formatVersion: {format}
      mode: {mode}
      commitInterval: {interval}
{more_table}{documents}"""


def columns_of(connection, table: str) -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("select column_name, column_type from information_schema.columns where table_schema = 'shop' and "
                       "table_name = %s order by ordinal_position", [table])  # fmt: skip
        return [(name, kind if isinstance(kind, str) else kind.decode()) for name, kind in cursor.fetchall()]


def type_word(kind: str) -> str:
    return re.match(r"\w+", kind)[0]


_HEX = {"bit", "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector", "geometry", "point", "linestring",
        "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection"}  # fmt: skip
_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "year"}


def _asked(name: str, kind: str) -> str:
    if type_word(kind) in _HEX:
        return f"hex(cast({quoted(name)} as binary))" if type_word(kind) == "bit" else f"hex({quoted(name)})"
    if type_word(kind) == "float":
        return f"cast({quoted(name)} + 0e0 as char)"
    return f"cast({quoted(name)} as char charset utf8mb4)"


def _micros(text: str) -> str:
    """With six digits of a second's fraction."""
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<6}"


def _value(text: str | None, kind: str, strings: bool):
    """What DuckDB is to give for the server's text; strings: the lake's column is a string."""
    if text is None:
        return None
    word = type_word(kind)
    if word == "bit":
        bits = int(re.search(r"\d+", kind)[0]) if "(" in kind else 1
        return text not in ("0", "00") if bits == 1 else f"{int(text, 16):0{bits}b}"
    if strings:
        return text
    if word in _INTEGERS:
        return decimal.Decimal(text) if word == "bigint" and "unsigned" in kind else int(text)
    if word in ("float", "double"):
        return float(text)
    if word == "decimal":
        digits = int(re.search(r"\d+", kind)[0])
        return decimal.Decimal(text) if digits <= 38 else text
    if word == "date":
        return datetime.date.fromisoformat(text)
    if word in ("datetime", "timestamp"):
        return datetime.datetime.fromisoformat(_micros(text))
    if word == "time":
        return datetime.time.fromisoformat(_micros(text))
    if word == "uuid":
        return uuid.UUID(text)
    if word == "vector":
        return bytes.fromhex(text)
    if word in _HEX:
        data = bytes.fromhex(text)
        return data if "b" in word and word not in ("bit",) and word.endswith(("binary", "blob")) else data[4:]
    return text


def source_rows(connection, table: str, strings=()) -> list[tuple]:
    """Sorted. strings: columns that the lake has as such."""
    columns = columns_of(connection, table)
    with connection.cursor() as cursor:
        cursor.execute(f"select {', '.join(_asked(name, kind) for name, kind in columns)} from {quoted(table)}")
        rows = cursor.fetchall()
    return sorted_rows([
        tuple(_value(text if isinstance(text, str) or text is None else text.decode(), kind, name in strings)
              for text, (name, kind) in zip(row, columns)) for row in rows])  # fmt: skip


def _plain(value):
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    if isinstance(value, list):
        return b"".join(struct.pack("<f", each) for each in value)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    return value


def sorted_rows(rows: list[tuple]) -> list[tuple]:
    return sorted(rows, key=lambda row: [(value is not None, str(value)) for value in row])


@functools.cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    """Kept for the process: loading the extensions takes longer than reading a small table. It remembers no file."""
    database = duckdb.connect()
    database.execute("load iceberg; load icu; set enable_external_file_cache = false")
    return database


def lake_rows(warehouse: Path, table: str, names: list[str]) -> list[tuple]:
    place = warehouse / "shop" / table
    newest = max(place.glob("metadata/v*.metadata.json"), key=lambda path: int(path.name[1:].split(".")[0]))
    with _database(os.getpid()).cursor() as engine:
        engine.execute("set TimeZone = 'UTC'")
        columns = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        rows = engine.execute(f"select {columns} from iceberg_scan(?)", [str(newest)]).fetchall()
    return sorted_rows([tuple(_plain(value) for value in row) for row in rows])


def digests(connection, warehouse: Path, table: str) -> tuple[int, str, str]:
    """How many rows the lake has, and a hash of all of the lake's and of the source's."""
    ours, theirs = lake_rows(warehouse, table, [name for name, _ in columns_of(connection, table)]), source_rows(connection, table)
    return len(ours), *(hashlib.sha256(repr(rows).encode()).hexdigest() for rows in (ours, theirs))


def difference(connection, warehouse: Path, table: str, strings=()) -> str:
    """"" when both have the same rows, else a few of those that differ."""
    names = [name for name, _ in columns_of(connection, table)]
    ours, theirs = lake_rows(warehouse, table, names), source_rows(connection, table, strings)
    if ours == theirs:
        return ""
    for mine, other in zip(ours, theirs):
        if mine != other:
            odd = [(name, a, b) for name, a, b in zip(names, mine, other) if a != b]
            return f"{table}: lake {len(ours)} rows, source {len(theirs)}; first difference (column, lake, source): {odd[:3]}"
    return f"{table}: lake {len(ours)} rows, source {len(theirs)}"
