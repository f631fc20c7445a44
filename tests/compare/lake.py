"""An Iceberg table as typed Arrow batches, through engines that know nothing of Firn. Of a table in
a folder or a bucket the newest metadata is found by listing (vN.metadata.json), so that a version
hint that lags after a kill does not matter; `hinted` in tests/integration checks that engines find it
themselves. Of a table in a REST catalog it is what the catalog says.

An Append table holds the log of changes; it is folded to the latest state by key: per key the row
with the greatest _firn_position counts unless it is a delete, and a truncate ("t") removes all
before it. The same (key, position, op) twice means that a change was doubled: an error."""

import functools
import os
import re
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Access:
    """How tables are reached that don't lie in a folder. Without `catalog_uri` a location is a place
    (a path, or s3://…), with it "database/table" in that REST catalog. Keys come from the environment
    unless given, as for every client of S3."""

    catalog_uri: str | None = None
    catalog_warehouse: str | None = None
    s3_endpoint: str | None = None  # with http:// or https://
    s3_region: str = "us-east-1"
    s3_access_key: str = field(default_factory=lambda: os.environ.get("AWS_ACCESS_KEY_ID", ""), repr=False)
    s3_secret_key: str = field(default_factory=lambda: os.environ.get("AWS_SECRET_ACCESS_KEY", ""), repr=False)
    s3_ca_file: str | None = None
    brokers: str | None = None  # then there are no tables but topics (topics.py)

    @property
    def what(self) -> str:
        return "topic" if self.brokers else "lake"

    @property
    def properties(self) -> dict[str, str]:
        """As pyiceberg wants them."""
        found = {"s3.access-key-id": self.s3_access_key, "s3.secret-access-key": self.s3_secret_key, "s3.region": self.s3_region}
        if self.s3_endpoint:
            found |= {"s3.endpoint": self.s3_endpoint, "s3.path-style-access": "true"}
        return {name: value for name, value in found.items() if value}

    def file_system(self):
        from pyarrow.fs import S3FileSystem

        return S3FileSystem(
            access_key=self.s3_access_key or None, secret_key=self.s3_secret_key or None, region=self.s3_region,
            endpoint_override=self.s3_endpoint, tls_ca_file_path=self.s3_ca_file)  # fmt: skip


LOCAL = Access()


def folder(location: str) -> Path:
    return Path(unquote(urlparse(location).path) if location.startswith("file:") else location)


def _from_catalog(location: str, access: Access) -> str:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchTableError

    catalog = load_catalog("lake", **access.properties, type="rest", uri=access.catalog_uri,
                           **({"warehouse": access.catalog_warehouse} if access.catalog_warehouse else {}))  # fmt: skip
    database, _, table = location.rpartition("/")
    try:
        return catalog.load_table((database, table)).metadata_location
    except NoSuchTableError:
        raise LakeError(f"there is no table {database}.{table} in {access.catalog_uri}") from None


def _listed(location: str, access: Access) -> list[str]:
    """The names of the files in a table's metadata folder."""
    if not location.startswith("s3://"):
        return [path.name for path in (folder(location) / "metadata").glob("*")]
    from pyarrow.fs import FileSelector

    selector = FileSelector(location.removeprefix("s3://").rstrip("/") + "/metadata", allow_not_found=True)
    return [info.base_name for info in access.file_system().get_file_info(selector)]


def newest_metadata(location: str, access: Access = LOCAL) -> Path | str:
    """Its path, or its URI when it is in a bucket."""
    if access.catalog_uri:
        found = _from_catalog(location, access)
        return found if found.startswith("s3://") else folder(found)
    versions = {}
    for name in _listed(location, access):
        version = re.fullmatch(r"v(\d+)\.metadata\.json", name)
        if version:
            versions[int(version[1])] = name
    if not versions:
        raise LakeError(f"there is no table in {location}")
    name = versions[max(versions)]
    return f"{location.rstrip('/')}/metadata/{name}" if location.startswith("s3://") else folder(location) / "metadata" / name


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def duckdb_connection(access: Access = LOCAL) -> duckdb.DuckDBPyConnection:
    """DuckDB with the extensions of the Python packages of their names: nothing is downloaded."""
    from duckdb_extensions import import_extension

    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for extension in ("httpfs", "avro", "iceberg"):
        import_extension(extension)
        connection.execute(f"load {extension}")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set arrow_lossless_conversion = false")
    connection.execute("set enable_progress_bar = false")
    if access.s3_ca_file:
        connection.execute(f"set ca_cert_file = {_literal(access.s3_ca_file)}")
    if access.s3_access_key:
        settings = f"key_id {_literal(access.s3_access_key)}, secret {_literal(access.s3_secret_key)}, region {_literal(access.s3_region)}"
        if access.s3_endpoint:
            scheme, _, host = access.s3_endpoint.rstrip("/").partition("://")
            settings += f", endpoint {_literal(host)}, url_style 'path', use_ssl {str(scheme == 'https').lower()}"
        connection.execute(f"create secret lake (type s3, {settings})")
    return connection


@functools.cache
def _database(access: Access, process: int) -> duckdb.DuckDBPyConnection:
    """Kept for the process: loading the extensions takes longer than reading a small table. It remembers no file."""
    connection = duckdb_connection(access)
    connection.execute("set enable_external_file_cache = false")
    return connection


def _duckdb(location: str, access: Access):
    connection = _database(access, os.getpid()).cursor()
    connection.execute("set timezone = 'UTC'")
    connection.execute(f"create temp view lake as select * from iceberg_scan({_literal(str(newest_metadata(location, access)))})")
    return connection


def _reader(location: str, engine: str, access: Access) -> pa.RecordBatchReader:
    if engine == "pyiceberg":
        from pyiceberg.table import StaticTable

        return StaticTable.from_metadata(str(newest_metadata(location, access)), access.properties).scan().to_arrow_batch_reader()
    if engine in ("spark", "trino") and (access.catalog_uri or location.startswith("s3://")):
        raise LakeError(f"{engine} is set up for tables in folders alone")
    if engine == "spark":
        import spark_session

        return spark_session.read(location)
    if engine == "trino":
        import trino_session

        return trino_session.read(newest_metadata(location))
    raise LakeError(f'no engine "{engine}"; there are {", ".join(ENGINES)}')


class LakeTable:
    """One table, as one engine reads it."""

    def __init__(self, location: str, engine: str = "duckdb", access: Access = LOCAL):
        self.location = location
        self.reader = None
        if engine == "duckdb":
            self.connection = _duckdb(location, access)
            self.names = [row[0] for row in self.connection.execute("describe lake").fetchall()]
        else:
            self.reader = _reader(location, engine, access)
            self.names = self.reader.schema.names
            self.connection = duckdb.connect()
            self.connection.execute("set timezone = 'UTC'")

    @property
    def is_log(self) -> bool:
        return OP in self.names and POSITION in self.names

    def batches(self, columns: list[str], key: list[str], kept=()):
        """The latest state's rows, with these columns in this order. `kept`: columns that the lake may
        have beside them."""
        missing = [name for name in columns if name not in self.names]
        if missing:
            raise LakeError(f'{self.location} has no column {", ".join(missing)}')
        surplus = [name for name in self.names if name not in columns and name not in (OP, POSITION, *kept)]
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
