"""A PostgreSQL table as typed Arrow batches: COPY (CSV, which tells null from the empty string)
through psycopg, cast column by column. Everything is read in one repeatable-read transaction."""

import io
import json
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from canon import Family, unhex

CHUNK_BYTES = 16 << 20

_SIMPLE = {
    "int2": "int", "int4": "int", "int8": "int", "oid": "int",
    "float4": "float32", "float8": "float64",
    "bool": "bool", "date": "date", "time": "time",
    "timestamp": "timestamp", "timestamptz": "timestamptz",
    "uuid": "uuid", "bytea": "binary",
    "text": "string", "varchar": "string", "bpchar": "string", "name": "string",
    "json": "string", "jsonb": "string",
}  # fmt: skip

_COLUMNS = """
select a.attname, t.typname, t.typtype, e.typname, e.typtype,
       case when coalesce(nullif(t.typelem, 0), t.oid) = 'numeric'::regtype and a.atttypmod > 4
            then ((a.atttypmod - 4) & 65535)::int end as scale,
       array_position(i.indkey::int2[], a.attnum) + 1 as key_at
from pg_attribute a
join pg_type t0 on t0.oid = a.atttypid
join pg_type t on t.oid = case when t0.typtype = 'd' then t0.typbasetype else t0.oid end
left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
join pg_class c on c.oid = a.attrelid
left join pg_index i on i.indrelid = a.attrelid
    and case when c.relreplident = 'i' then i.indisreplident else i.indisprimary end
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
order by a.attnum"""


def quoted(name: str) -> str:
    """A part of an SQL name."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class SourceTable:
    schema: str
    name: str
    families: dict[str, Family]
    key: list[str]  # what the log names rows by: the replica identity's index, else the primary key

    @property
    def sql_name(self):
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def _family(type_name, type_kind, scale) -> Family:
    if type_kind == "e":
        return Family("string")
    if type_name == "numeric":
        return Family("numeric") if scale is None else Family("decimal", scale)
    if type_name not in _SIMPLE:
        raise ValueError(f"the comparer does not know the source's type {type_name}")
    return Family(_SIMPLE[type_name])


def _typed(texts: pa.Array, family: Family) -> pa.Array:
    """PostgreSQL's texts of one family as the typed column."""
    name = family.name
    if name == "int":
        return texts.cast(pa.int64())
    if name in ("float32", "float64"):
        return texts.cast(pa.float32() if name == "float32" else pa.float64())
    if name == "decimal":
        return texts.cast(pa.decimal128(38, family.scale))
    if name == "bool":
        return pc.starts_with(texts, "t")
    if name == "date":
        return texts.cast(pa.date32())
    if name == "time":
        moments = pc.binary_join_element_wise(pa.scalar("1970-01-01"), texts, " ").cast(pa.timestamp("us"))
        return moments.cast(pa.time64("us"))
    if name == "timestamp":
        return texts.cast(pa.timestamp("us"))
    if name == "timestamptz":
        return texts.cast(pa.timestamp("us", "UTC"))
    if name == "uuid":
        return unhex(pc.replace_substring(texts, "-", "")).cast(pa.binary(16))
    if name == "binary":
        return unhex(pc.replace_substring(texts, "\\x", "", max_replacements=1))
    if name == "list":
        lists = [None if text is None else json.loads(text) for text in texts.to_pylist()]
        nested = pa.array(lists, pa.list_(pa.string()))
        elements = _typed(nested.flatten(), family.element)
        lengths = [0]
        for item in lists:
            lengths.append(lengths[-1] + (len(item) if item else 0))
        mask = pa.array([item is None for item in lists])
        return pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), elements, mask=mask)
    return texts


class Source:
    """A connection with one snapshot for all tables."""

    def __init__(self, dsn: str):
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.connection.execute("set timezone = 'UTC'")
        self.connection.execute("set datestyle = 'ISO'")
        self.connection.execute("set bytea_output = 'hex'")
        self.connection.execute("begin isolation level repeatable read read only")

    def close(self):
        self.connection.close()

    def tables_in(self, schema: str) -> list[str]:
        """Every ordinary or partitioned table of a schema that is not itself a partition."""
        rows = self.connection.execute(
            "select relname from pg_class where relnamespace = %s::regnamespace"
            " and relkind in ('r', 'p') and not relispartition order by 1", [quoted(schema)])  # fmt: skip
        return [name for (name,) in rows]

    def table(self, schema: str, name: str) -> SourceTable:
        families, key = {}, []
        rows = self.connection.execute(_COLUMNS, [f"{quoted(schema)}.{quoted(name)}"])
        for column, type_name, kind, element, element_kind, scale, key_at in rows:
            if element:
                families[column] = Family("list", element=_family(element, element_kind, scale))
            else:
                families[column] = _family(type_name, kind, scale)
            if key_at:
                key.append((key_at, column))
        return SourceTable(schema, name, families, [column for _, column in sorted(key)])

    def bytes_of(self, table: SourceTable) -> int:
        return self.connection.execute("select pg_table_size(%s::regclass)", [table.sql_name]).fetchone()[0]

    def batches(self, table: SourceTable):
        expressions = [
            f"array_to_json({quoted(name)}::text[])::text" if family.name == "list" else quoted(name)
            for name, family in table.families.items()
        ]
        statement = f"copy (select {', '.join(expressions)} from {table.sql_name}) to stdout (format csv)"
        with self.connection.cursor().copy(statement) as copy:
            pending, size = io.BytesIO(), 0
            for row in copy:
                size += pending.write(row)
                if size >= CHUNK_BYTES:
                    yield self._batch(pending, table)
                    pending, size = io.BytesIO(), 0
            if size:
                yield self._batch(pending, table)

    @staticmethod
    def _batch(text: io.BytesIO, table: SourceTable) -> pa.RecordBatch:
        names = list(table.families)
        buffer = text.getbuffer()
        read = pa.csv.read_csv(
            pa.py_buffer(buffer),
            pa.csv.ReadOptions(column_names=names, block_size=max(len(buffer), 1) + 1, use_threads=False),
            pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, null_values=[""],
                strings_can_be_null=True, quoted_strings_can_be_null=False))  # fmt: skip
        columns = [_typed(read.column(name).combine_chunks(), family) for name, family in table.families.items()]
        return pa.RecordBatch.from_arrays(columns, names=names)
