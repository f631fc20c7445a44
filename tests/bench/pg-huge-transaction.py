"""One transaction of 50 M small rows, streamed by the server before it is over: the agent's memory stays what it is, the
rows wait on disk until the transaction commits. Into Append: an index of 50 M keys is not what is looked at."""

import os
import sys
import threading
import time
from pathlib import Path

from figures import SCALE, Bench, figure
from harness.agent import Agent
from lake import LOCAL, duckdb_connection, newest_metadata

NAME = "pg-huge-transaction"
ROWS = int(50_000_000 * SCALE)


def spooled(pid: int) -> int:
    """Bytes of files that the agent has open though they have no name."""
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(descriptor).endswith(" (deleted)"):
                found += os.stat(descriptor).st_blocks * 512
        except OSError:  # closed meanwhile
            pass
    return found


def check(bench: Bench):
    """Every row once. The comparer would need the memory of both sides."""
    wanted = bench.connection.execute("select count(*), sum(id), sum(n) from t").fetchone()
    scan = f"iceberg_scan('{newest_metadata(str(bench.warehouse / 'shop' / 't'), LOCAL)}')"
    found = duckdb_connection(LOCAL).execute(f"select count(*), sum(id), sum(n) from {scan}").fetchone()
    if tuple(map(int, wanted)) != tuple(map(int, found)):
        raise SystemExit(f"{NAME}: {wanted} at the source, {found} in the lake")


def main() -> int:
    with Bench(logical_decoding_work_mem="'64MB'") as bench:
        bench.connection.execute("create table t (id bigint primary key, n int, v text)")
        bench.connection.execute("insert into t values (-1, 0, '')")
        bench.warehouse.mkdir()
        bench.agent_call(interval="5s", mode="Append")
        with Agent(bench.folder / "manifest.yaml", bench.folder / "agent.log") as agent:
            bench.postgres.wait_confirmed("firn", 60, "bench", agent.alive)
            largest, over = 0, threading.Event()

            def look():
                nonlocal largest
                while not over.wait(0.1):
                    largest = max(largest, spooled(agent.process.pid))

            looker = threading.Thread(target=look)
            looker.start()
            before, started = agent.cpu_seconds(), time.monotonic()
            bench.connection.execute(f"insert into t select i, i % 1000, 'v' || i % 77 from generate_series(1, {ROWS}::bigint) i")
            committed = time.monotonic()
            try:
                bench.postgres.wait_confirmed("firn", 3600, "bench", agent.alive)
            finally:
                over.set()
                looker.join()
            durable = time.monotonic()
            cpu, peak = agent.cpu_seconds() - before, agent.memory()["peak"]
            if agent.stop(120):
                raise SystemExit(f"{NAME}: {agent.text()}")
        check(bench)
        figure(NAME, "durable_after_the_commit", "s", durable - committed, committed - started, "the transaction itself", at_most=3)
        figure(NAME, "cpu_per_million", "s", cpu / ROWS * 1e6, at_most=4, of="ours")
        figure(NAME, "peak_rss", "bytes", peak, at_most=256 << 20, of="ours")
        figure(NAME, "spooled_per_row", "bytes", largest / ROWS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
