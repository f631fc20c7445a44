"""commit: what one commit of files that are already written costs, beside pyiceberg's fast append of the same
files (pyiceberg's cheapest: it merges nothing and expires nothing), through a directory (pyiceberg: its catalog
on SQLite) and through Iceberg's REST server; and what it costs after ten thousand commits, beside the first
hundred."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from figures import SCALE, alternating, figure, median
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, NestedField

from harness.rest import RestCatalog

NAME = "commit"
COLUMNS, ROWS, FILES = 8, 1000, 4
COMMITS = 100  # of each side and repetition: on a fresh table, as commit_bench's first window
LONG_RUN = int(10_000 * SCALE)
PROGRAM = Path(sys.argv[1]).resolve() / "tests" / "commit_bench"
SCHEMA = Schema(*(NestedField(c + 1, f"c{c}", LongType(), required=c == 0) for c in range(COLUMNS)),
                identifier_field_ids=[1])  # fmt: skip


def ours(folder: Path, commits: int, *options) -> list[tuple[float, float]]:
    """Wall and CPU milliseconds of a commit, of each hundred."""
    folder.mkdir(exist_ok=True)
    output = subprocess.run([PROGRAM, folder, str(commits), *map(str, options)], check=True, stdout=subprocess.PIPE, text=True)
    lines = [line.split("\t") for line in output.stdout.splitlines()]
    return [(float(wall), float(cpu)) for _, _, wall, cpu in lines]


def data_file(location: str, number: int) -> DataFile:
    columns = range(1, COLUMNS + 1)
    lower, upper = struct.pack("<q", number * ROWS), struct.pack("<q", number * ROWS + ROWS - 1)
    return DataFile.from_args(
        content=DataFileContent.DATA, file_path=f"{location}/data/{uuid.uuid4()}.parquet", file_format=FileFormat.PARQUET,
        partition=Record(), record_count=ROWS, file_size_in_bytes=20000, column_sizes={c: 2000 + c for c in columns},
        value_counts={c: ROWS for c in columns}, null_value_counts={c: 0 for c in columns}, nan_value_counts={},
        lower_bounds={c: lower for c in columns}, upper_bounds={c: upper for c in columns}, split_offsets=None,
        equality_ids=None, sort_order_id=0, spec_id=0)  # fmt: skip


def pyiceberg(catalog, table_name: str, commits: int = COMMITS) -> tuple[float, float]:
    """Wall and CPU milliseconds of a commit."""
    catalog.create_namespace_if_not_exists("lake")
    table = catalog.create_table(("lake", table_name), SCHEMA, properties={"format-version": "2"})
    wall, cpu = time.monotonic(), time.process_time()
    for number in range(commits):
        files = [data_file(table.location(), number * FILES + f) for f in range(FILES)]
        with table.transaction() as transaction:
            with transaction.update_snapshot({"firn.position.default/shop": f"{number:016X}"}).fast_append() as append:
                for file in files:
                    append.append_data_file(file)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    if int(table.current_snapshot().summary["total-data-files"]) != commits * FILES:
        raise SystemExit(f"{NAME}: pyiceberg lost files")
    return wall / commits * 1e3, cpu / commits * 1e3


def check(table, commits: int):
    """pyiceberg reads what Firn wrote, file by file."""
    found = sum(len(manifest.fetch_manifest_entry(table.io)) for manifest in table.current_snapshot().manifests(table.io))
    if found != commits * FILES:
        raise SystemExit(f"{NAME}: {found} files of {commits * FILES}")


def beside(kind: str, mine, theirs):
    """Both once to warm up, then by turns."""
    mine(), theirs()
    ours_of, theirs_of = alternating(mine, theirs)
    figure(NAME, f"{kind} CPU", "ms", median([run[1] for run in ours_of]), median([run[1] for run in theirs_of]),
           "pyiceberg", at_most=0.3333)  # fmt: skip
    figure(NAME, f"{kind} wall", "ms", median([run[0] for run in ours_of]), median([run[0] for run in theirs_of]),
           "pyiceberg", at_most=1)  # fmt: skip


def directory(folder: Path, kind: str):
    from pyiceberg.table import StaticTable

    catalog = SqlCatalog("lake", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/theirs")
    runs = iter(range(1000))

    def mine():
        here = folder / f"ours{next(runs)}"
        window = ours(here, COMMITS, "--files", FILES)[0]
        metadata = here / "lake" / "t" / "metadata"
        version = (metadata / "version-hint.text").read_text()
        check(StaticTable.from_metadata(f"file://{metadata}/v{version}.metadata.json"), COMMITS)
        shutil.rmtree(here)
        return window

    beside(kind, mine, lambda: pyiceberg(catalog, f"t{next(runs)}"))


def rest(folder: Path):
    server = RestCatalog(warehouse=folder / "rest")
    server.start()
    try:
        catalog = server.catalog()
        catalog.create_namespace_if_not_exists("lake")
        runs = iter(range(1000))

        def mine():
            table = f"ours{next(runs)}"
            window = ours(folder / "rest", COMMITS, "--files", FILES, "--rest", server.uri, "--table", table)[0]
            check(catalog.load_table(("lake", table)), COMMITS)
            return window

        beside("REST", mine, lambda: pyiceberg(catalog, f"t{next(runs)}"))
    finally:
        server.stop()


def long_run(folder: Path, kind: str, bar: float | None, *options):
    """One table's first hundred commits, its last, and all between."""

    def run():
        windows = ours(folder / "long", LONG_RUN, *options)
        shutil.rmtree(folder / "long")
        return windows

    (runs,) = alternating(run)
    for metric, at in ("wall", 0), ("CPU", 1):
        first = median([windows[0][at] for windows in runs])
        last = median([windows[-1][at] for windows in runs])
        mean = median([sum(window[at] for window in windows[1:]) / len(windows[1:]) for windows in runs])
        figure(NAME, f"{kind} last 100 {metric}", "ms", last, first, f"first 100 of {LONG_RUN}", at_most=bar)
        figure(NAME, f"{kind} mean {metric}", "ms", mean, first, f"first 100 of {LONG_RUN}", at_most=bar)


def main() -> int:
    # In memory, where there is some: Firn syncs each file and folder, pyiceberg none. Then on the disk as well.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="firn-bench-", dir=memory) as folder:
        directory(Path(folder), "directory")
        rest(Path(folder))
        long_run(Path(folder), "at full speed", 1.5)
        # The 720 snapshots of an hour at that pace all stay, and are written with each commit: no bar.
        long_run(Path(folder), "every 5 s", None, "--every", 5000)
    with tempfile.TemporaryDirectory(prefix="firn-bench-") as folder:
        directory(Path(folder), "directory, synced to disk,")
    return 0


sys.exit(main())
