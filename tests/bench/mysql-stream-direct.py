"""1 M changes (80 % updates, transactions of 100) waiting in the binlog, into tables, from MySQL and from MariaDB; beside the
binlog's bytes read to nothing. Every repetition goes on from the same warehouse."""

import shutil
import sys

from figures import SCALE, Run, alternating, figure, measured, median, until_read
from mysql_bench import MysqlBench

BASE_ROWS = int(500_000 * SCALE)
TRANSACTIONS = int(10_000 * SCALE)
CHANGES = TRANSACTIONS * 100
NAME = "mysql-stream-direct"
CPU_BARS = {"Append": 2.5, "Upsert": 4}


class Stream:
    def __init__(self, bench: MysqlBench, mode: str):
        self.bench, self.mode = bench, mode
        self.saved = bench.folder / f"warehouse-{mode}"

    def call(self, **fields) -> list:
        return self.bench.agent_call(mode=self.mode, interval="5s", **fields)  # as a busy table has it

    def prepare(self):
        """A table that holds the rows from before the changes."""
        self.bench.forget()
        run = measured(self.call(snapshot="Only"))
        if run.code:
            raise SystemExit(f"{NAME}: the copy ended with {run.code}")
        self.bench.warehouse.rename(self.saved)

    def run(self, end: int) -> Run:
        shutil.rmtree(self.bench.warehouse, ignore_errors=True)
        shutil.copytree(self.saved, self.bench.warehouse)
        run = until_read(self.call(), end)
        if run.code:
            raise SystemExit(f"{NAME}: the agent ended with {run.code}")
        return run


def stream(kind: str):
    with MysqlBench(kind) as bench:
        bench.accounts(BASE_ROWS)
        streams = [Stream(bench, mode) for mode in CPU_BARS]
        for each in streams:
            each.prepare()
        end = bench.change(TRANSACTIONS, BASE_ROWS)
        limits, *results = alternating(bench.raw_binlog, *(lambda each=each: each.run(end) for each in streams))
        bench.check(NAME)  # of the last one, Upsert
    limit = CHANGES / median([run.wall for run in limits])
    for each, runs in zip(streams, results):
        name = f"{kind.lower()}_{each.mode.lower()}"
        figure(NAME, f"{name}_rate", "changes/s", CHANGES / median([run.wall for run in runs]), limit, "the raw binlog to nothing")
        figure(NAME, f"{name}_cpu_per_million", "s", median([run.cpu for run in runs]) / CHANGES * 1e6, at_most=CPU_BARS[each.mode], of="ours")
        figure(NAME, f"{name}_peak_rss", "bytes", max(run.peak for run in runs), at_most=128 << 20, of="ours")


def main() -> int:
    for kind in ("MySQL", "MariaDB"):
        stream(kind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
