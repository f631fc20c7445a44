"""The initial copy of 5 M rows of the 144-byte row into a directory warehouse, from MySQL and from MariaDB; beside a client that
reads the same table to nothing, row by row."""

import sys

from figures import SCALE, alternating, figure, measured, median
from mysql_bench import MysqlBench

ROWS = int(5_000_000 * SCALE)
NAME = "mysql-full-load"


def load(kind: str):
    with MysqlBench(kind) as bench:
        bench.accounts(ROWS)

        def select():
            return bench.client("mariadb", "--quick", "--batch", "-e", "select * from accounts", "shop")

        def firn():
            bench.forget()
            run = measured(bench.agent_call(snapshot="Only", parallelism=2))
            if run.code:
                raise SystemExit(f"{NAME}: {kind}: the agent ended with {run.code}")
            return run

        selects, loads = alternating(select, firn)
        bench.check(NAME)
    wall, cpu = (median([getattr(run, what) for run in loads]) for what in ("wall", "cpu"))
    name = kind.lower()
    figure(NAME, f"{name}_wall", "s", wall, median([run.wall for run in selects]), "SELECT to /dev/null")
    figure(NAME, f"{name}_rows_per_cpu_second", "rows/s", ROWS / cpu, at_least=800_000, of="ours")
    figure(NAME, f"{name}_peak_rss", "bytes", max(run.peak for run in loads), at_most=256 << 20, of="ours")


def main() -> int:
    for kind in ("MySQL", "MariaDB"):
        load(kind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
