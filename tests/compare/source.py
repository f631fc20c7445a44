"""A PostgreSQL table as typed Arrow batches: COPY (CSV, which tells null from the empty string)
through psycopg, cast column by column. Everything is read in one repeatable-read transaction."""

import datetime
import io
import json
import re
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from canon import Family, unhex

CHUNK_BYTES = 16 << 20

# By type name; what is not here follows a rule (see Types.family).
_SIMPLE = {
    "int2": "int", "int4": "int", "int8": "int", "oid": "int", "xid": "int", "cid": "int",
    "float4": "float32", "float8": "float64",
    "bool": "bool", "date": "date", "time": "time",
    "timestamp": "timestamp", "timestamptz": "timestamptz",
    "uuid": "uuid", "bytea": "binary",
    "text": "string", "varchar": "string", "bpchar": "string", "name": "string", "char": "string",
    "json": "string", "jsonb": "string", "jsonpath": "string", "xml": "string", "refcursor": "string",
    "citext": "string", "ltree": "string", "lquery": "string", "ltxtquery": "string",
    "interval": "string", "timetz": "string", "bit": "string", "varbit": "string",
    "inet": "string", "cidr": "string", "macaddr": "string", "macaddr8": "string",
    "point": "string", "lseg": "string", "path": "string", "box": "string", "polygon": "string",
    "line": "string", "circle": "string", "tsvector": "string", "tsquery": "string",
    "pg_lsn": "string", "tid": "string", "pg_snapshot": "string", "txid_snapshot": "string", "aclitem": "string",
}  # fmt: skip
_BY_OID = {
    "regproc", "regprocedure", "regoper", "regoperator", "regclass", "regtype", "regconfig", "regdictionary",
    "regnamespace", "regrole", "regcollation",
}  # fmt: skip
# Of these an array can be shown as JSON, which is read faster than PostgreSQL's own text.
_JSON_ELEMENTS = {
    "int2", "int4", "int8", "float4", "float8", "numeric", "bool", "date", "time", "timestamp", "timestamptz", "uuid",
    "bytea", "text", "varchar",
}  # fmt: skip

_TYPE = """
select t.typname, t.typtype, t.typcategory = 'A' and t.typlen = -1, t.typelem, t.typbasetype, t.typtypmod,
       array(select (a.attname, a.atttypid::bigint, a.atttypmod)::text from pg_attribute a
             where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
             order by a.attnum)
from pg_type t where t.oid = %s"""

_COLUMNS = """
select a.attname, a.atttypid, a.atttypmod, array_position(i.indkey::int2[], a.attnum) + 1 as key_at
from pg_attribute a
join pg_class c on c.oid = a.attrelid
left join pg_index i on i.indrelid = a.attrelid
    and case when c.relreplident = 'i' then i.indisreplident else i.indisprimary end
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
  and (a.attgenerated = '' or (a.attgenerated = 's' and {sent}))
order by a.attnum"""
# Generated columns are in the lake only when they are in the log: stored ones, since 18, of a publication that says so.
_SENT = """exists (select from pg_publication_tables t join pg_publication p on p.pubname = t.pubname and p.pubgencols = 's'
    where (t.schemaname, t.tablename) = (c.relnamespace::regnamespace::text, c.relname))"""


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


# --- PostgreSQL's texts of what holds other values


def parse_array(text: str, delimiter: str = ",") -> list[str | None]:
    """'{1,NULL,"a b"}' of one dimension."""
    if text[:1] != "{":
        raise ValueError(f"no array of one dimension from 1 on: {text:.60}")
    items, at = [], 1
    while text[at] != "}":
        if text[at] == '"':
            parts, at = [], at + 1
            while text[at] != '"':
                at += text[at] == "\\"
                parts.append(text[at])
                at += 1
            items.append("".join(parts))
            at += 1
        else:
            end = at
            while text[end] not in (delimiter, "}"):
                end += 1
            items.append(None if text[at:end].upper() == "NULL" else text[at:end])
            at = end
        at += text[at] == delimiter
    return items


def parse_record(text: str) -> list[str | None]:
    """'(1,,"a b")': nothing at all is null; inside quotes they stand doubled."""
    items, at, parts, there = [], 1, [], False
    while True:
        letter = text[at]
        if letter in ",)":
            items.append("".join(parts) if there else None)
            parts, there = [], False
            if letter == ")":
                return items
        elif letter == '"':
            there, at = True, at + 1
            while not (text[at] == '"' and text[at + 1] != '"'):
                at += text[at] in '"\\'
                parts.append(text[at])
                at += 1
        else:
            there = True
            at += letter == "\\"
            parts.append(text[at])
        at += 1


def _lists(items: list, element: Family) -> pa.Array:
    """Lists of texts as a typed column."""
    nested = pa.array(items, pa.list_(pa.string()))
    lengths = [0]
    for item in items:
        lengths.append(lengths[-1] + (len(item) if item else 0))
    mask = pa.array([item is None for item in items], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), _typed(nested.flatten(), element), mask=mask)


def _moments(texts: pa.Array, unit_us: int) -> pa.Array:
    """Time since 1970 of ISO texts with any year, before Christ too (Arrow's cast knows the years 1 to 9999)."""
    pattern = re.compile(r"(\d{4,})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d+))?)?(?:\+00)?( BC)?")

    def moment(text):
        year, month, day, hour, minute, second, fraction, before = pattern.fullmatch(text).groups()
        year = 1 - int(year) if before else int(year)
        # The Gregorian calendar repeats itself every 400 years, which are 146097 days.
        eras = (year - 2000) // 400
        days = datetime.date(year - eras * 400, int(month), int(day)).toordinal() - 719163 + eras * 146097
        seconds = (days * 24 + int(hour or 0)) * 3600 + int(minute or 0) * 60 + int(second or 0)
        return (seconds * 1000000 + int((fraction or "").ljust(6, "0"))) // unit_us

    return pa.array([None if text is None else moment(text) for text in texts.to_pylist()], pa.int64())


def _dates(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.date32())
    except pa.ArrowInvalid:
        return _moments(texts, 86400000000).cast(pa.int32()).cast(pa.date32())


def _timestamps(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        return _moments(texts, 1).cast(pa.timestamp("us")).cast(kind)


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
        return _dates(texts)
    if name == "time":
        moments = pc.binary_join_element_wise(pa.scalar("1970-01-01"), texts, " ").cast(pa.timestamp("us"))
        return moments.cast(pa.time64("us"))
    if name == "timestamp":
        return _timestamps(texts, pa.timestamp("us"))
    if name == "timestamptz":
        return _timestamps(texts, pa.timestamp("us", "UTC"))
    if name == "uuid":
        return unhex(pc.replace_substring(texts, "-", "")).cast(pa.binary(16))
    if name == "binary":
        return unhex(pc.replace_substring(texts, "\\x", "", max_replacements=1))
    if name == "list":
        parse = {
            "json": json.loads, "array": parse_array, "blanks": str.split,
            "vector": lambda text: text[1:-1].split(","), "boxes": lambda text: parse_array(text, ";"),
        }[family.text]  # fmt: skip
        return _lists([None if text is None else parse(text) for text in texts.to_pylist()], family.element)
    if name == "struct":
        records = [None if text is None else parse_record(text) for text in texts.to_pylist()]
        columns = [
            _typed(pa.array([record and record[at] for record in records], pa.string()), field)
            for at, (_, field) in enumerate(family.fields)
        ]
        return pa.StructArray.from_arrays(
            columns, [name for name, _ in family.fields], mask=pa.array([record is None for record in records], pa.bool_()))  # fmt: skip
    if name == "map":
        maps = [None if text is None else list(json.loads(text).items()) for text in texts.to_pylist()]
        return pa.array(maps, pa.map_(pa.string(), pa.string()))
    return texts


def _expression(name: str, family: Family) -> str:
    """What COPY selects, so that the text can be read without the server."""
    column = quoted(name)
    if family.text in ("oid", "numeric"):  # what the server shows by name, or in its currency
        return f"{column}::{family.text}"
    if family.name == "list" and family.text == "json":
        return f"array_to_json({column}::text[])::text"
    if family.name == "list" and family.element.text in ("oid", "numeric"):
        return f"{column}::{family.element.text}[]"
    if family.text == "wkb":
        return f"st_asbinary({column})"
    if family.name == "map":
        return f"hstore_to_json({column})::text"
    return column


class Source:
    """A connection with one snapshot for all tables."""

    def __init__(self, dsn: str):
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.connection.execute("set timezone = 'UTC'")
        self.connection.execute("set datestyle = 'ISO'")
        self.connection.execute("set bytea_output = 'hex'")
        self.connection.execute("set intervalstyle = 'postgres'")
        self.connection.execute("set extra_float_digits = 1")
        self.connection.execute("begin isolation level repeatable read read only")

    def close(self):
        self.connection.close()

    def tables_in(self, schema: str) -> list[str]:
        """Every ordinary or partitioned table of a schema that is not itself a partition."""
        rows = self.connection.execute(
            "select relname from pg_class where relnamespace = %s::regnamespace"
            " and relkind in ('r', 'p') and not relispartition order by 1", [quoted(schema)])  # fmt: skip
        return [name for (name,) in rows]

    def family(self, oid: int, typmod: int = -1, inside: bool = False) -> Family:
        """A domain is its base, an enum or a range is text, an array a list, a composite a struct."""
        name, kind, is_array, element, base, base_typmod, attributes = self.connection.execute(_TYPE, [oid]).fetchone()
        if kind == "d":
            return self.family(base, base_typmod, inside)
        if name in ("int2vector", "oidvector"):
            return Family("list", element=Family("int"), text="blanks")
        if kind in "erm":
            return Family("string")
        if kind == "c":
            parts = [parse_record(text) for text in attributes]
            return Family("struct", fields=tuple((part[0], self.family(int(part[1]), int(part[2]), True)) for part in parts))
        if is_array:
            inner = self.connection.execute(_TYPE, [element]).fetchone()[0]
            text = "json" if inner in _JSON_ELEMENTS and not inside else "boxes" if inner == "box" else "array"
            return Family("list", element=self.family(element, typmod, True), text=text)
        if name == "numeric":
            precision, scale = (typmod - 4) >> 16, ((typmod - 4) & 2047 ^ 1024) - 1024
            fits = typmod >= 4 and precision <= 38 and 0 <= scale <= precision
            return Family("decimal", scale) if fits else Family("numeric")
        if name == "money":
            scale = self.connection.execute("select scale(1::money::numeric)").fetchone()[0]
            return Family("decimal", scale, text="numeric")
        if name == "xid8":
            return Family("decimal")
        if name in _BY_OID:
            return Family("int", text="oid")
        if name == "hstore":
            return Family("map")
        if name == "vector":
            return Family("list", element=Family("float32"), text="vector")
        if name in ("geometry", "geography"):
            return Family("binary", text="wkb")
        if name not in _SIMPLE:
            raise ValueError(f"the comparer does not know the source's type {name}")
        return Family(_SIMPLE[name])

    def table(self, schema: str, name: str, strings=()) -> SourceTable:
        families, key = {}, []
        columns = _COLUMNS.format(sent=_SENT if self.connection.info.server_version >= 180000 else "false")
        rows = self.connection.execute(columns, [f"{quoted(schema)}.{quoted(name)}"])
        for column, oid, typmod, key_at in rows:
            families[column] = Family("string") if column in strings else self.family(oid, typmod)
            if key_at:
                key.append((key_at, column))
        return SourceTable(schema, name, families, [column for _, column in sorted(key)])

    def bytes_of(self, table: SourceTable) -> int:
        return self.connection.execute("select pg_table_size(%s::regclass)", [table.sql_name]).fetchone()[0]

    def batches(self, table: SourceTable):
        expressions = [_expression(name, family) for name, family in table.families.items()]
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
