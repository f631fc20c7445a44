"""Tables from a seed: every mapped type, keys of one to three columns of many types, replica identities, partitions,
identity and generated columns, odd names; and of each where it goes. The same seed gives the same tables.

A row is known by a number: its key's columns are expressions of it ({i}), so that statements name rows without having
asked the database for them, and the same seed says the same."""

import json
import random
import re
from dataclasses import dataclass, field, replace

from harness.agent import connector
from harness.pg_types import KINDS, SCHEMA, Kind

# What these make of a number: one to one, and alike for the types that a column of the key can be widened to.
KEYS = {
    "bigint": "{i}::bigint", "integer": "{i}::int", "text": "'k' || {i}", "varchar(40)": "('v' || {i})::varchar",
    "uuid": "md5(({i})::text)::uuid", "numeric(20,2)": "({i} * 1.25)::numeric(20,2)", "numeric": "({i} / 8.0)::numeric",
    "timestamp": "timestamp '2020-01-01' + {i} * interval '1 s'", "timestamptz": "timestamptz '2020-01-01 00:00+00' + {i} * interval '1 s'",
    "date": "date '2020-01-01' + ({i})::int", "bytea": "decode(md5(({i})::text), 'hex')", "citext": "('Key ' || {i})::citext",
    "inet": "inet '10.0.0.0' + {i}::bigint", "time": "time '00:00' + {i} * interval '1 ms'", "char(12)": "('c' || {i})::char(12)",
    "interval": "{i} * interval '1 s'",
}  # fmt: skip
# Beside one of those, in a key of several.
MORE_KEYS = {
    "boolean": "({i} % 2 = 0)", "mood": "(enum_range(null::mood))[1 + ({i} % 4)::int]", "smallint": "({i} % 1000)::smallint",
    "positive": "(1 + {i} % 9)::positive", "price": "({i} % 7 / 4.0)::price",
}  # fmt: skip
EXTENSIONS = ("citext", "hstore", "ltree")  # in every version's binaries; the others are test_types.py's
ODD_NAMES = ("With Space", "Upper", "ünïcode ☃", "select", 'quo"te', "x" * 63, "semi;colon", "$dollar", "a'b", "%percent")
# Types that can be widened; what is not listed can't.
WIDER = {
    "smallint": ("integer", "bigint"), "integer": ("bigint",), "real": ("double precision",), "numeric(10,2)": ("numeric(14,2)", "numeric(38,2)"),
    "varchar(20)": ("text", "varchar(60)"), "varchar(40)": ("text",), "timestamp(3)": ("timestamp(5)", "timestamp"), "timestamptz(0)": ("timestamptz(4)",),
    "time(2)": ("time(6)",), "varbit(40)": ("varbit(90)",), "numeric(20,2)": ("numeric(30,2)",),
}  # fmt: skip
_PLAIN = [
    Kind("numeric(10,2)", ["99999999.99", "-0.01", "0"]), Kind("timestamp(3)", ["'2024-02-29 12:13:14.567'", "'1969-12-31'"]),
    Kind("timestamptz(0)", ["'2024-02-29 12:13:14+02'"]), Kind("time(2)", ["'12:34:56.78'", "'00:00'"]), Kind("varbit(40)", ["B'101'", "B''"]),
    Kind("varchar(40)", ["'v'"]), Kind("numeric(20,2)", ["1.5"]), Kind("char(12)", ["'c'"]),
]  # fmt: skip
# A composite of the table's own, own0 …, which is altered: attribute n is called an or bn, and no two are of a type, so
# that values always say which they have; nor are two laid out alike, which is all that the catalog keeps of one that came
# and went unseen.
OWN = {"integer": "7", "text": '"it\'\'s \\"ä\\", (1)"', "smallint": "-3", "numeric(10,2)": "12.5",
       "timestamptz": '"2024-02-29 12:13:14.5+02"', "boolean": "true"}  # fmt: skip


def own_kinds(number: int) -> list[Kind]:
    """The composite, an array of it, a domain, and another composite that has it."""
    name = f"own{number}"
    filled = ", ".join(f'"{letter}{at}": {value}' for at, value in enumerate(OWN.values(), 1) for letter in "ab")
    half = ", ".join(f'"{letter}{at}": {value}' for at, value in enumerate(OWN.values(), 1) for letter in "ab" if at % 2)
    full, some = (f"jsonb_populate_record(null::{name}, '{{{text}}}')" for text in (filled, half))
    return [Kind(name, [full, some]), Kind(f"{name}[]", [f"array[{full}, null, {some}]", "'{}'"], null="'{}'"),
            Kind(f"{name}_domain", [some, full]), Kind(f"{name}_outer", [f"row(1, {full}, array[{some}])", f"row(null, {some}, '{{}}')"])]  # fmt: skip


# Constants that a lake's column can have for the rows that were there before it.
DEFAULTS = {
    "integer": "7", "bigint": "-9000000000", "text": "'it''s \"ä\", {1}'", "boolean": "true", "numeric(10,2)": "12.5",
    "double precision": "1", "real": "0.25", "date": "'2024-02-29'", "timestamp": "'2024-02-29 12:13:14.5'",
    "timestamptz": "'2024-02-29 12:13:14+02'", "uuid": "'00010203-0405-0607-0809-0a0b0c0d0e0f'", "varchar(20)": "'snö'",
}  # fmt: skip


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def kinds(version: int) -> list[Kind]:
    usable = [each for each in KINDS if (not each.extension or each.extension in EXTENSIONS) and each.since <= version]
    return usable + _PLAIN


def by_name(version: int) -> dict[str, Kind]:
    """One kind of each type's name; what a newer version adds to its values comes with it."""
    found = {}
    for each in kinds(version):
        found[each.name] = replace(each, values=found[each.name].values + each.values) if each.name in found else each
    return found


def is_light(value: str) -> bool:
    """Values that may stand in thousands of rows."""
    return len(value) < 400 and not re.search(r"repeat|131071|16383", value)


@dataclass(frozen=True)
class Column:
    number: int  # attnum
    name: str
    kind: Kind
    key: str = ""  # the expression of the row's number
    required: bool = False
    made: str = ""  # generated and identity columns: what follows the type; no statement sets them
    sent: bool = True  # by the log
    fixed: bool = False  # others depend on it: its type stays
    fresh: bool = False  # added since the agent last had everything
    default: bool = False
    former: tuple[str, ...] = ()  # names that it had before: the lake may know it by one of them yet

    @property
    def sql(self) -> str:
        return quoted(self.name)


@dataclass
class RandomTable:
    number: int
    name: str
    columns: list[Column]
    key: list[str]  # names of the primary key's columns
    attnums: int  # given so far
    identity: str  # default, full, index
    mode: str
    format: int
    drops: bool  # droppedColumns: Drop
    partition: str = ""  # "hash (…)"
    partitions: list[str] = field(default_factory=list)
    lake_partitions: list[str] = field(default_factory=list)
    id_columns: list[str] = field(default_factory=list)
    keyless: bool = False
    by: str = ""  # the column that the source's partitions or the lake's go by
    dropped: set[str] = field(default_factory=set)  # names that columns had which are gone
    own: list[str] = field(default_factory=lambda: ["a1", "a2"])  # attributes of its composite
    own_last: int = 2
    own_lost: bool = False  # an attribute, since the table was loaded: its columns may keep it

    @property
    def sql(self) -> str:
        return quoted(self.name)

    def column(self, name: str) -> Column:
        return next(each for each in self.columns if each.name == name)

    @property
    def keys(self) -> list[Column]:
        return [each for each in self.columns if each.key]

    @property
    def plain(self) -> list[Column]:
        return [each for each in self.columns if not each.key and not each.made]

    def shape(self) -> tuple:
        """What pgoutput tells columns by: see random_match.py."""
        return self.attnums, tuple((each.number, each.name) for each in self.columns if each.sent)

    def ddl(self) -> list[str]:
        lines = []
        for each in self.columns:
            lines.append(f"{each.sql} {each.kind.name}{' not null' if each.required else ''}{' ' + each.made if each.made else ''}")
        if self.key:
            lines.append(f"primary key ({', '.join(map(quoted, self.key))})")
        found = [f"create table {self.sql} ({', '.join(lines)}){' partition by ' + self.partition if self.partition else ''}"]
        found += [f"create table {quoted(name)} partition of {self.sql} {rule}" for name, rule in self.partitions]
        if self.identity == "full":
            found.append(f"alter table {self.sql} replica identity full")
        if self.identity == "index":
            names = ", ".join(each.sql for each in self.columns if each.key.startswith("/*u*/"))
            found.append(f"create unique index {quoted('u%d' % self.number)} on {self.sql} ({names})")
            found.append(f"alter table {self.sql} replica identity using index {quoted('u%d' % self.number)}")
        if self.id_columns and not self.key:
            found.append(f"create unique index {quoted('u%d' % self.number)} on {self.sql} ({', '.join(map(quoted, self.id_columns))})")
        for each in self.plain:
            if each.kind.name in ("text", "bytea", "numeric", "jsonb"):
                found.append(f"alter table {self.sql} alter {each.sql} set storage external")
        return found


class RandomSchema:
    def __init__(self, seed: int, version: int):
        self.version = version
        self.dice = random.Random(f"schema {seed}")
        self.kinds = by_name(version)
        self.tables = [self._table(number) for number in range(self.dice.choice((1, 2, 2, 3, 4, 6)))]

    def before(self) -> list[str]:
        """What the tables need."""
        return [f"create extension {name}" for name in EXTENSIONS] + SCHEMA.split(";\n") + ["create table noise (n int)"] + [
            statement for table in self.tables for statement in (
                f"create type own{table.number} as (a1 integer, a2 text)", f"create domain own{table.number}_domain as own{table.number}",
                f"create type own{table.number}_outer as (n integer, one own{table.number}, ones own{table.number}[])")]  # fmt: skip

    def _table(self, number: int) -> RandomTable:
        dice = self.dice
        name = f"t{number}" if dice.random() < 0.7 else f"{dice.choice(ODD_NAMES)[:60]}{number}"
        table = RandomTable(
            number=number, name=name, columns=[], key=[], attnums=0, identity=dice.choice(("default",) * 3 + ("full", "index")),
            mode=dice.choice(("Upsert", "Upsert", "Append")), format=dice.choice((2, 3)), drops=dice.random() < 0.4)  # fmt: skip
        table.keyless = table.mode == "Append" and dice.random() < 0.15
        columns = [] if table.keyless else self._keys(table)
        if table.identity == "index" and not table.keyless:
            kind = dice.choice(("text", "bigint", "uuid", "numeric"))
            columns.append(("u", kind, {"key": "/*u*/" + KEYS[kind], "required": True}))
        if table.keyless:
            table.identity = "full"
        for at in range(dice.randint(1, 9)):
            kind = dice.choice(list(self.kinds))
            columns.append((self._name(f"c{at}", columns), kind, {"required": dice.random() < 0.15}))
        if dice.random() < 0.5:
            self.kinds_own = {each.name: each for each in own_kinds(number)}
            for at, kind in enumerate(dice.sample(list(self.kinds_own), dice.randint(1, 3))):
                columns.append((f"o{at}", kind, {}))
        for at, kind in enumerate(dice.sample(("integer", "timestamptz", "text", "smallint", "numeric(10,2)", "varchar(20)"), 2)):
            columns.append((f"d{at}", kind, {}))
        dice.shuffle(columns)
        if dice.random() < 0.4:
            columns += self._made(table, columns)
        self._partition(table, columns)
        table.columns = [Column(at + 1, name, self.kinds.get(kind) or self.kinds_own[kind], **more) for at, (name, kind, more) in enumerate(columns)]
        table.attnums = len(columns)
        if not table.keyless and table.identity == "full" and table.mode == "Upsert" and not table.partition and dice.random() < 0.4:
            table.id_columns, table.key = table.key, []
        return table

    def _name(self, usual: str, columns: list) -> str:
        name = self.dice.choice(ODD_NAMES) if self.dice.random() < 0.15 else usual
        return usual if any(each[0] == name for each in columns) else name

    def _keys(self, table: RandomTable) -> list[tuple]:
        dice = self.dice
        first = dice.choice(("bigint",) * 4 + ("integer", "text", "uuid", "numeric(20,2)", "timestamp") + tuple(KEYS))
        more = dice.sample(list(MORE_KEYS), dice.choice((0, 0, 1, 2)))
        columns = [("id", first, {"key": KEYS[first], "required": True})]
        columns += [(f"k{at}", kind, {"key": MORE_KEYS[kind], "required": True}) for at, kind in enumerate(more)]
        dice.shuffle(columns)
        table.key = [name for name, _, _ in columns]
        return columns

    def _made(self, table: RandomTable, columns: list) -> list[tuple]:
        """Columns that the server fills: from d0, or by itself."""
        dice, made = self.dice, []
        name, kind, more = next(each for each in columns if each[0] == "d0")
        sent = self.version >= 18
        if dice.random() < 0.6:
            more["fixed"] = True
            made.append(("g", "text", {"made": f"generated always as (coalesce({name}::text, '-')) stored", "sent": sent})
                        if kind in ("integer", "text", "smallint", "varchar(20)", "numeric(10,2)")
                        else ("g", "boolean", {"made": f"generated always as ({name} is null) stored", "sent": sent}))  # fmt: skip
            if self.version >= 18 and table.identity != "full" and dice.random() < 0.5:
                made.append(("v", "boolean", {"made": f"generated always as ({name} is null) virtual", "sent": False}))
        else:
            made.append(("s", "bigint", {"made": "generated always as identity"}))
        return made

    def _partition(self, table: RandomTable, columns: list):
        """At the source, or in the lake, or neither."""
        dice = self.dice
        kinds_of = {name: kind for name, kind, _ in columns}
        if table.key and table.identity != "index" and not any("identity" in more.get("made", "") for _, _, more in columns) and dice.random() < 0.2:
            name = table.key[0]
            table.by = name
            if kinds_of[name] in ("bigint", "integer") and dice.random() < 0.5:
                table.partition = f"range ({quoted(name)})"
                bounds = ["minvalue", "40", "200", "3000"]
                rules = [f"for values from ({low}) to ({high})" for low, high in zip(bounds, bounds[1:])] + ["default"]
            elif kinds_of[name] == "mood":
                table.partition = f"list ({quoted(name)})"
                rules = ["for values in ('glad', 'sad')", "default"]
            else:
                table.partition = f"hash ({quoted(name)})"
                rules = [f"for values with (modulus 3, remainder {at})" for at in range(3)]
            table.partitions = [(f"t{table.number}_part{at}", rule) for at, rule in enumerate(rules)]
        elif dice.random() < 0.25:
            name = dice.choice(("d0", "d1"))
            table.by = name
            kind = kinds_of[name]
            choices = {"timestamptz": ("day({})", "year({})"), "text": ("truncate(3, {})", "{}"), "varchar(20)": ("bucket(4, {})",),
                       "numeric(10,2)": ("bucket(4, {})", "truncate(100, {})")}.get(kind, ("{}", "bucket(4, {})", "truncate(50, {})"))  # fmt: skip
            table.lake_partitions = [dice.choice(choices).format(name)]


def manifest(postgres, warehouse, tables: list[RandomTable]) -> str:
    """A unit for each table, by its name at the source; what it becomes is called t0, t1 …"""
    include = json.dumps([f"public.{table.name}" for table in tables])
    text = connector(postgres, include=include)
    for table in tables:
        lake = {
            "catalog": {"type": "Directory", "warehouse": str(warehouse)}, "database": "shop", "tableName": f"t{table.number}",
            "formatVersion": table.format, "mode": table.mode, "commitInterval": "200ms", "partitionBy": table.lake_partitions,
            "idColumns": table.id_columns, "schemaEvolution": {"droppedColumns": "Drop" if table.drops else "Keep"},
        }  # fmt: skip
        lake = {name: value for name, value in lake.items() if value}
        text += f"""\
---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: t{table.number}}}
spec:
  connectorRef: {{name: shop, table: {json.dumps("public." + table.name)}}}
  outsourcingUnit: {{table: {json.dumps(lake)}}}
"""
    return text
