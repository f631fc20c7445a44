"""The initial copy of 5 M rows of the 144-byte row into a directory warehouse, beside binary COPY of the
same table to nothing."""

import sys

from figures import SCALE, Bench, alternating, figure, measured, median

ROWS = int(5_000_000 * SCALE)
NAME = "pg-full-load"


def main() -> int:
    with Bench() as bench:
        bench.accounts(ROWS)

        def copy():
            return measured(
                [bench.program("psql"), "-XAtqc", r"\copy accounts to /dev/null (format binary)"], env=bench.environment())  # fmt: skip

        def firn():
            bench.forget()
            run = measured(bench.agent_call(snapshot="Only", parallelism=2))
            if run.code:
                raise SystemExit(f"{NAME}: the agent ended with {run.code}")
            return run

        copies, loads = alternating(copy, firn)
        bench.check(NAME)
        wall = median([run.wall for run in loads])
        cpu = median([run.cpu for run in loads])
        figure(NAME, "wall", "s", wall, median([run.wall for run in copies]), "COPY binary to /dev/null", at_most=1.6)
        figure(NAME, "rows_per_cpu_second", "rows/s", ROWS / cpu, at_least=1_200_000, of="ours")
        figure(NAME, "peak_rss", "bytes", max(run.peak for run in loads), at_most=256 << 20, of="ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
