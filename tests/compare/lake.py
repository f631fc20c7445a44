"""An Iceberg table in a directory as typed Arrow batches, through engines that know nothing of
Firn. The newest metadata is found by listing (vN.metadata.json), so that a version hint that lags
after a kill does not matter; `hinted` in tests/integration checks that engines find it themselves.

An Append table holds the log of changes; it is folded to the latest state by key: per key the row
with the greatest _firn_position counts unless it is a delete, and a truncate ("t") removes all
before it. The same (key, position, op) twice means that a change was doubled: an error."""

import re
from pathlib import Path
from urllib.parse import unquote, urlparse

import duckdb
import pyarrow as pa

from source import quoted

BATCH_ROWS = 100_000
ENGINES = ("duckdb", "pyiceberg", "spark", "trino")
OP, POSITION = "_firn_op", "_firn_position"


class LakeError(Exception):
    pass


def folder(location: str) -> Path:
    return Path(unquote(urlparse(location).path) if location.startswith("file:") else location)


def newest_metadata(location: str) -> Path:
    found = {}
    for path in (folder(location) / "metadata").glob("v*.metadata.json"):
        version = re.fullmatch(r"v(\d+)\.metadata\.json", path.name)
        if version:
            found[int(version[1])] = path
    if not found:
        raise LakeError(f"there is no table in {location}")
    return found[max(found)]


def duckdb_connection() -> duckdb.DuckDBPyConnection:
    """DuckDB with the Iceberg extension of the Python package of that name: nothing is downloaded."""
    from duckdb_extensions import import_extension

    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for extension in ("avro", "iceberg"):
        import_extension(extension)
        connection.execute(f"load {extension}")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set arrow_lossless_conversion = false")
    connection.execute("set enable_progress_bar = false")
    return connection


def _duckdb(location: str):
    connection = duckdb_connection()
    path = str(newest_metadata(location)).replace("'", "''")
    connection.execute(f"create view lake as select * from iceberg_scan('{path}')")
    return connection


def _reader(location: str, engine: str) -> pa.RecordBatchReader:
    if engine == "pyiceberg":
        from pyiceberg.table import StaticTable

        return StaticTable.from_metadata(str(newest_metadata(location))).scan().to_arrow_batch_reader()
    if engine == "spark":
        import spark_session

        return spark_session.read(location)
    if engine == "trino":
        import trino_session

        return trino_session.read(newest_metadata(location))
    raise LakeError(f'no engine "{engine}"; there are {", ".join(ENGINES)}')


class LakeTable:
    """One table, as one engine reads it."""

    def __init__(self, location: str, engine: str = "duckdb"):
        self.location = location
        self.reader = None
        if engine == "duckdb":
            self.connection = _duckdb(location)
            self.names = [row[0] for row in self.connection.execute("describe lake").fetchall()]
        else:
            self.reader = _reader(location, engine)
            self.names = self.reader.schema.names
            self.connection = duckdb.connect()
            self.connection.execute("set timezone = 'UTC'")

    @property
    def is_log(self) -> bool:
        return OP in self.names and POSITION in self.names

    def batches(self, columns: list[str], key: list[str]):
        """The latest state's rows, with these columns in this order."""
        missing = [name for name in columns if name not in self.names]
        if missing:
            raise LakeError(f'{self.location} has no column {", ".join(missing)}')
        surplus = [name for name in self.names if name not in columns and name not in (OP, POSITION)]
        if surplus:
            raise LakeError(f'{self.location} has a column {", ".join(surplus)}, which the source lacks')
        if self.is_log:
            if self.reader is not None:
                self.connection.register("lake", self.reader.read_all())
            yield from self._folded(columns, key)
        elif self.reader is not None:
            for batch in self.reader:
                yield batch.select(columns)
        else:
            names = ", ".join(map(quoted, columns))
            yield from self.connection.execute(f"select {names} from lake").to_arrow_reader(BATCH_ROWS)

    def _folded(self, columns: list[str], key: list[str]):
        names = ", ".join(map(quoted, columns))
        query = self.connection.execute
        query(f"create temp table log as select {names}, {OP} as op, {POSITION} as place from lake")
        query("create temp view since as select * from log where op <> 't'"
              " and place > coalesce((select max(place) from log where op = 't'), '')")  # fmt: skip
        if not key:
            if query("select count(*) from since where op not in ('r', 'c')").fetchone()[0]:
                raise LakeError(f"{self.location}: a log with updates of a table without a key can't be folded")
            yield from query(f"select {names} from since").to_arrow_reader(BATCH_ROWS)
            return
        keys = ", ".join(map(quoted, key))
        doubled = query(
            f"select {keys}, place, op, count(*) from since group by all having count(*) > 1 limit 3").fetchall()  # fmt: skip
        if doubled:
            raise LakeError(f"{self.location}: the same change stands twice in the log: {doubled}")
        yield from query(
            f"select {names} from (select *, row_number() over"
            f" (partition by {keys} order by place desc, op = 'd') as nth from since)"
            " where nth = 1 and op <> 'd'").to_arrow_reader(BATCH_ROWS)  # fmt: skip
