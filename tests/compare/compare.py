"""Compares tables of a PostgreSQL database with Iceberg tables, or with Kafka topics, every row by content.

    compare.py --source DSN --warehouse PLACE [--engine duckdb|pyiceberg|spark|trino] PAIR…
    compare.py --source DSN --brokers HOST:PORT PAIR…

A PAIR is SCHEMA=DATABASE (every table of the schema with PLACE/DATABASE/TABLE) or
SCHEMA.TABLE=LOCATION (relative to PLACE, or absolute). PLACE is a folder or s3://BUCKET/PREFIX; with
--catalog-uri it is the warehouse as that REST catalog knows it (may be left out), and LOCATION is
DATABASE/TABLE. With --brokers LOCATION is a topic, and SCHEMA=PREFIX stands for PREFIX.TABLE (topics.py). Keys of S3 are taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Prints a line for each table and, last,
"match: N tables, N rows, hash equal" (exit 0) or "MISMATCH …" (exit 1). canon.py says what equal is.
"""

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

import canon
import topics
from lake import ENGINES, LOCAL, Access, LakeTable
from source import Source, SourceTable

EXAMPLES = 5
ONE_PROCESS_BYTES = 32 << 20


@dataclass
class Side:
    """One side of one table."""

    digests: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.uint64))
    error: str = ""

    @property
    def rows(self) -> int:
        return len(self.digests)

    @property
    def hash(self) -> int:
        return canon.total(self.digests)


@dataclass
class Pair:
    table: SourceTable
    location: str
    bytes: int
    access: Access
    kept: tuple = ()


def _side(batches, families) -> Side:
    try:
        parts = [canon.digests(batch, families) for batch in batches]
        return Side(np.concatenate(parts)) if parts else Side()
    except Exception as error:  # the engine's or the type's: what the reader must see
        return Side(error=f"{type(error).__name__}: {error}")


def _source_sides(dsn: str, pairs: list[Pair]) -> list[Side]:
    source = Source(dsn)
    try:
        return [_side(source.batches(pair.table), pair.table.families) for pair in pairs]
    finally:
        source.close()


def _lake_batches(pair: Pair, engine: str):
    # A generator, so that what opening raises is caught where reading is.
    if pair.access.brokers:
        yield from topics.batches(topics.messages(pair.access.brokers, pair.location), pair.table.families)
        return
    yield from LakeTable(pair.location, engine, pair.access).batches(list(pair.table.families), pair.table.key, pair.kept)


def _lake_sides(pairs: list[Pair], engine: str) -> list[Side]:
    return [_side(_lake_batches(pair, engine), pair.table.families) for pair in pairs]


def _lines(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view([("a", np.uint64), ("b", np.uint64)]).ravel()


def _surplus(ours: np.ndarray, theirs: np.ndarray) -> set[bytes]:
    """Digests that stand more often on our side."""
    values, counts = np.unique(_lines(ours), return_counts=True)
    other_values, other_counts = np.unique(_lines(theirs), return_counts=True)
    at = np.searchsorted(other_values, values)
    at_safe = np.minimum(at, max(len(other_values) - 1, 0))
    there = np.zeros(len(values), dtype=np.int64)
    if len(other_values):
        same = other_values[at_safe] == values
        there[same] = other_counts[at_safe][same]
    return {value.tobytes() for value in values[counts > there]}


@dataclass
class Shown:
    """A value by what it is compared as, and as one would like to see it."""

    canonical: bytes
    text: str

    def __repr__(self):
        return self.text


def _shown(value: pa.Scalar) -> str:
    try:
        return repr(value.as_py())
    except (OverflowError, ValueError):  # Python knows the years 1 to 9999
        kinds = pa.types
        if kinds.is_date32(value.type) or kinds.is_timestamp(value.type):
            return f"{value.value} since 1970"
        return f"a {value.type}"


def _columns(batch: pa.RecordBatch, table: SourceTable) -> list[dict]:
    """The rows of a batch as values by name."""
    columns = {}
    for name, family in table.families.items():
        column = batch.column(batch.schema.get_field_index(name))
        canonical = canon.canonical(column, family).to_pylist()
        columns[name] = [Shown(form, _shown(value)) for form, value in zip(canonical, column)]
    return [{name: columns[name][at] for name in columns} for at in range(batch.num_rows)]


def _rows(batches, table: SourceTable, wanted: set[bytes]) -> list[dict]:
    """The first rows whose digests are wanted."""
    found = []
    for batch in batches:
        lines = canon.digests(batch, table.families)
        hits = [i for i, line in enumerate(lines) if line.tobytes() in wanted]
        found += _columns(batch.take(pa.array(hits[: EXAMPLES * 4], pa.int64())), table)
        if len(found) >= EXAMPLES * 4:
            break
    return found


def _explain(dsn: str, pair: Pair, engine: str, left: Side, right: Side):
    """Names some of the keys that differ, and how."""
    table = pair.table
    source = Source(dsn)
    missing = _rows(source.batches(table), table, _surplus(left.digests, right.digests))
    source.close()
    surplus = _rows(_lake_batches(pair, engine), table, _surplus(right.digests, left.digests))
    key = table.key or list(table.families)

    def key_of(row):
        return ", ".join(f"{name}={row[name]!r}" for name in key)

    lake_rows = {key_of(row): row for row in surplus}
    shown = 0
    for row in missing:
        if shown == EXAMPLES:
            break
        shown += 1
        other = lake_rows.pop(key_of(row), None)
        if other is None:
            print(f"    {key_of(row)}: missing in the {pair.access.what}")
            continue
        for name in table.families:
            if row[name].canonical != other[name].canonical:
                print(f"    {key_of(row)}: {name} is {row[name]!r:.80} at the source, {other[name]!r:.80} in the {pair.access.what}")
    for name in list(lake_rows)[:EXAMPLES]:
        print(f"    {name}: in the {pair.access.what} only, or more than once")


def pairs_of(dsn: str, warehouse: str, texts: list[str], access: Access = LOCAL, strings=(), kept=()) -> list[Pair]:
    source = Source(dsn)
    pairs = []

    def add(schema, name, location):
        table = source.table(schema, name, [text.rpartition(".")[2] for text in strings if text.startswith(f"{schema}.{name}.")])
        place = location if access.catalog_uri or access.brokers else os.path.join(warehouse, location)
        stays = [text.removeprefix(f"{schema}.{name}.") for text in kept if text.startswith(f"{schema}.{name}.")]
        for column, family in table.families.items():
            inside = tuple(text.removeprefix(f"{column}.") for text in stays if text.startswith(f"{column}."))
            if inside:
                table.families[column] = canon.keeping(family, inside)
        stays = tuple(text for text in stays if "." not in text)
        pairs.append(Pair(table, place, source.bytes_of(table), access, stays))

    try:
        for text in texts:
            left, _, right = text.partition("=")
            if "." in left:
                add(*left.split(".", 1), right)
            else:
                for name in source.tables_in(left):
                    add(left, name, f"{right or left}.{name}" if access.brokers else os.path.join(right or left, name))
    finally:
        source.close()
    return pairs


def compare(
    dsn: str, warehouse: str, texts: list[str], engine: str = "duckdb", quiet: bool = False, access: Access = LOCAL,
    strings=(), kept=(),
) -> bool:  # fmt: skip
    """`strings` names columns, SCHEMA.TABLE.COLUMN, that the lake is to hold as text, `kept` such as it may
    have though the source has not; SCHEMA.TABLE.COLUMN.FIELD is a field of a struct somewhere in a column."""
    pairs = pairs_of(dsn, warehouse, texts, access, strings, kept)
    if sum(pair.bytes for pair in pairs) < ONE_PROCESS_BYTES:
        sides = list(zip(pairs, _source_sides(dsn, pairs), _lake_sides(pairs, engine)))
    else:  # one process a side: hashing rows is work for one core each
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            lefts = pool.submit(_source_sides, dsn, pairs)
            rights = pool.submit(_lake_sides, pairs, engine)
            sides = list(zip(pairs, lefts.result(), rights.result()))
    differ = 0
    for pair, left, right in sides:
        name = f"{pair.table.schema}.{pair.table.name}"
        equal = not left.error and not right.error and left.rows == right.rows and left.hash == right.hash
        if equal:
            if not quiet:
                print(f"{name}: {left.rows} rows, hash {left.hash:032x}, equal")
            continue
        differ += 1
        if left.error or right.error:
            print(f"{name}: source {left.error or 'fine'}; {access.what} {right.error or 'fine'}")
            continue
        print(f"{name}: source {left.rows} rows {left.hash:032x}, {access.what} {right.rows} rows {right.hash:032x}")
        _explain(dsn, pair, engine, left, right)
    rows = sum(left.rows for _, left, _ in sides)
    if differ or not pairs:
        print(f"MISMATCH: {differ} of {len(pairs)} tables differ")
        return False
    print(f"match: {len(pairs)} tables, {rows} rows, hash equal")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, metavar="DSN")
    parser.add_argument("--warehouse", default="", metavar="PLACE")
    parser.add_argument("--catalog-uri", metavar="URI", help="of an Iceberg REST catalog")
    parser.add_argument("--brokers", metavar="HOST:PORT", help="of Kafka: topics are compared, not tables")
    parser.add_argument("--s3-endpoint", metavar="URL", help="of a store that is not Amazon's")
    parser.add_argument("--s3-region", metavar="NAME", default=os.environ.get("AWS_REGION", "us-east-1"))
    parser.add_argument("--engine", choices=ENGINES, default="duckdb")
    parser.add_argument("--quiet", action="store_true", help="no line for tables that match")
    parser.add_argument("pairs", nargs="+", metavar="PAIR")
    options = parser.parse_args()
    if not options.warehouse and not options.catalog_uri and not options.brokers:
        parser.error("--warehouse, --catalog-uri or --brokers is required")
    access = Access(options.catalog_uri, options.warehouse if options.catalog_uri else None,
                    options.s3_endpoint, options.s3_region, brokers=options.brokers)  # fmt: skip
    same = compare(options.source, options.warehouse, options.pairs, options.engine, options.quiet, access)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
