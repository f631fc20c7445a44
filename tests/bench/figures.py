"""What the benches share: one JSON line per figure, repetitions, an agent that is measured, a database
of the 144-byte row."""

import contextlib
import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from compare import compare

from harness.agent import Agent, binary, manifest
from harness.postgres import PASSWORD, Postgres, binaries
from harness.process import die_with_parent, free_port

REPEAT = int(os.environ.get("FIRN_BENCH_REPEAT", "3"))
SCALE = float(os.environ.get("FIRN_BENCH_SCALE", "1"))

ACCOUNTS = """
create table accounts (id bigint primary key, bid int not null, abalance int not null, name text not null,
    note text, amount numeric(12,2) not null, updated timestamptz not null)"""

ROWS = """
insert into accounts select i, i %% 100, 0, 'customer ' || lpad(i::text, 12, '0'),
    md5(i::text) || md5((i * 7)::text), (i %% 1000000) / 100.0, now()
from generate_series(%s::bigint, %s) i"""


def figure(bench, metric, unit, ours, reference=None, reference_name=None, at_most=None, at_least=None, of="ratio"):
    """Prints the line. The bar is on the ratio ours / reference, or on ours alone."""
    ratio = ours / reference if reference else None
    value = ratio if of == "ratio" else ours
    bar, ok = "", True
    if at_most is not None:
        bar, ok = f"{'' if of == 'ratio' else 'ours '}<= {at_most:g}", value <= at_most
    if at_least is not None:
        bar, ok = f"{'' if of == 'ratio' else 'ours '}>= {at_least:g}", value >= at_least
    if at_most is not None and at_most > 1e5:
        bar = f"ours <= {at_most:.0f}"
    print(json.dumps({
        "bench": bench, "metric": metric, "unit": unit, "ours": round(ours, 4),
        "reference": None if reference is None else round(reference, 4), "referenceName": reference_name,
        "ratio": None if ratio is None else round(ratio, 4), "bar": bar, "ok": bool(ok)}), flush=True)  # fmt: skip


def alternating(*runs):
    """Each of the runs in turn, REPEAT times; a list of results for each."""
    results = [[] for _ in runs]
    for _ in range(REPEAT):
        for run, into in zip(runs, results):
            into.append(run())
    return results


def median(values):
    return statistics.median(values)


@dataclass
class Run:
    """What one process cost."""

    wall: float
    cpu: float
    peak: int
    code: int


def _peak(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def measured(call, watch=None, **options) -> Run:
    """Runs a program to its end; `watch(process)` goes on beside it. The peak is read from /proc while it
    runs, because what wait4 says includes this process's own from before the exec."""
    started = time.monotonic()
    process = subprocess.Popen(
        list(map(str, call)), stdin=subprocess.DEVNULL, preexec_fn=die_with_parent(), **options)  # fmt: skip
    peak = 0
    over = threading.Event()

    def look():
        nonlocal peak
        while not over.wait(0.02):
            peak = max(peak, _peak(process.pid))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        if watch:
            watch(process)
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        over.set()
        looker.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Run(time.monotonic() - started, usage.ru_utime + usage.ru_stime, peak, process.returncode)


def until_read(call: list, end: int) -> Run:
    """An agent that follows a log: told to stop once it has read it up to there, so that what it has to do with the last of it
    is within its time."""
    port = free_port()

    def watch(process):
        probe = Agent.__new__(Agent)  # its metrics alone
        probe.http_port = port
        while process.poll() is None:
            received = [value for name, value in probe.metrics().items() if name.startswith("firn_received_position")]
            if received and received[0] >= end:
                process.send_signal(signal.SIGTERM)
                return
            time.sleep(0.05)

    return measured([*call, "--http", f"127.0.0.1:{port}", "--stop-timeout", "120s"], watch)


class Bench:
    """A database `bench` and a folder for a warehouse, both gone afterwards."""

    def __init__(self, **settings):
        settings = {"shared_buffers": "'1GB'", "max_wal_size": "'16GB'", "checkpoint_timeout": "'1h'", "autovacuum": "off",
                    **settings}  # fmt: skip
        self.postgres = Postgres(**settings)
        self.folder = Path(tempfile.mkdtemp(prefix="firn-bench-"))
        self.warehouse = self.folder / "warehouse"

    def __enter__(self):
        self.postgres.start()
        self.postgres.create_database("bench")
        self.connection = self.postgres.connect("bench")
        return self

    def __exit__(self, *unused):
        self.connection.close()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def accounts(self, rows: int):
        self.connection.execute(ACCOUNTS)
        self.connection.execute(ROWS, [1, rows])
        self.connection.execute("vacuum (freeze, analyze) accounts")
        self.connection.execute("checkpoint")
        # Both sides find the table in memory.
        self.connection.execute("select count(*) from accounts where note is not null")

    def forget(self):
        """No warehouse, slot or publication."""
        shutil.rmtree(self.warehouse, ignore_errors=True)
        self.warehouse.mkdir()
        self.connection.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'firn'")
        self.connection.execute("drop publication if exists firn")

    def agent_call(self, *arguments, **fields) -> list:
        path = self.folder / "manifest.yaml"
        path.write_text(manifest(self.postgres, self.warehouse, database="bench", **fields))
        return [binary(), "run", "-f", path, "--progress", "never", "--log-level", "warn", *arguments]

    def check(self, bench: str, warehouse: Path = None, tables: str = "public=shop"):
        """A figure of a run that lost a row is none."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            same = compare(self.postgres.dsn("bench"), str(warehouse or self.warehouse), [tables])
        if not same:
            raise SystemExit(f"{bench}: {output.getvalue()}")

    def environment(self) -> dict:
        dsn = {"PGHOST": "127.0.0.1", "PGPORT": str(self.postgres.port), "PGUSER": "postgres", "PGDATABASE": "bench"}
        return {**os.environ, **dsn, "PGPASSWORD": PASSWORD}

    def program(self, name: str) -> Path:
        return binaries() / name
