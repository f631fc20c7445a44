"""Wide tables: the copy of a table of 1,000 columns beside binary COPY of it to nothing, then updates of it; and rows of
100 MB, copied and streamed, in a memory that is a small multiple of one row."""

import sys
import time

from figures import SCALE, Bench, alternating, figure, measured, median
from harness.agent import Agent
from harness.wait import wait_until

NAME = "pg-wide"
COLUMNS = 1000
ROWS = max(100, int(20_000 * SCALE))
LARGE = max(1 << 20, int((100 << 20) * min(SCALE, 1)))
LARGE_ROWS = 3


def make(bench: Bench):
    kinds = ("int", "int", "int", "boolean", "smallint", "text", "timestamptz", "real", "numeric(8,2)", "int")
    values = ("i % 1000", "i", "case when i % 2 = 0 then i end", "i % 3 = 0", "(i % 99)::smallint", "case when i % 9 = 0 then 'w' || i end",
              "case when i % 50 = 0 then now() end", "i / 7.0", "case when i % 20 = 0 then i % 1000 / 4.0 end", "null::int")  # fmt: skip
    columns = ", ".join(f"c{at} {kinds[at % 10]}" for at in range(COLUMNS - 1))
    bench.connection.execute(f"create table wide (id int primary key, {columns})")
    row = ", ".join(values[at % 10] for at in range(COLUMNS - 1))
    bench.connection.execute(f"insert into wide select i, {row} from generate_series(1, {ROWS}) i")
    bench.connection.execute("vacuum (freeze, analyze) wide")
    bench.connection.execute("checkpoint")


def columns(bench: Bench):
    make(bench)

    def copy():
        return measured([bench.program("psql"), "-XAtqc", r"\copy wide to /dev/null (format binary)"], env=bench.environment())

    def firn():
        bench.forget()
        run = measured(bench.agent_call(snapshot="Only", parallelism=2))
        if run.code:
            raise SystemExit(f"{NAME}: the agent ended with {run.code}")
        return run

    copies, loads = alternating(copy, firn)
    bench.forget()
    bench.agent_call(interval="5s")
    with Agent(bench.folder / "manifest.yaml", bench.folder / "agent.log") as agent:
        bench.postgres.wait_confirmed("firn", 300, "bench", agent.alive)
        before, started = agent.cpu_seconds(), time.monotonic()
        bench.connection.execute("update wide set c0 = c0 + 1, c5 = 'changed' where id % 2 = 0")
        bench.postgres.wait_confirmed("firn", 300, "bench", agent.alive)
        wall, cpu, peak = time.monotonic() - started, agent.cpu_seconds() - before, agent.memory()["peak"]
        if agent.stop():
            raise SystemExit(f"{NAME}: {agent.text()}")
    bench.check(NAME)
    values = ROWS * COLUMNS
    figure(NAME, "columns_copy_wall", "s", median([run.wall for run in loads]), median([run.wall for run in copies]),
           "COPY binary to /dev/null")  # fmt: skip
    figure(NAME, "columns_copy_values_per_cpu_second", "values/s", values / median([run.cpu for run in loads]), at_least=3_000_000, of="ours")
    figure(NAME, "columns_copy_peak_rss", "bytes", max(run.peak for run in loads), at_most=384 << 20, of="ours")
    figure(NAME, "columns_stream_cpu_per_million_values", "s", cpu / (values / 2) * 1e6)
    figure(NAME, "columns_stream_wall", "s", wall)
    figure(NAME, "columns_stream_peak_rss", "bytes", peak, at_most=384 << 20, of="ours")


def rows(bench: Bench):
    run = bench.connection.execute
    run("drop table wide")
    run("create table large (id int primary key, data text)")
    run("alter table large alter data set storage external")
    text = "select string_agg(md5((i + g * 7)::text), '' order by g) from generate_series(1, {count}) g".format(count=LARGE // 32)
    insert = f"insert into large select i, ({text}) from generate_series({{first}}, {{last}}) i"
    run(insert.format(first=1, last=LARGE_ROWS))
    bench.forget()
    bench.agent_call(interval="5s")
    with Agent(bench.folder / "manifest.yaml", bench.folder / "agent.log", http=True) as agent:
        bench.postgres.wait_confirmed("firn", 300, "bench", agent.alive)
        copying = 'firn_table_copying{table="public.large"'
        wait_until(lambda: any(name.startswith(copying) and value == 0 for name, value in agent.metrics().items()), 300, "it is copied", agent.alive)
        copy = agent.memory()["peak"]
        run(insert.format(first=11, last=10 + LARGE_ROWS))
        bench.postgres.wait_confirmed("firn", 300, "bench", agent.alive)
        stream = agent.memory()["peak"]
        if agent.stop():
            raise SystemExit(f"{NAME}: {agent.text()}")
    bench.check(NAME)
    bar = 5 if LARGE == 100 << 20 else None  # small rows say nothing of it
    figure(NAME, "row_of_100_mb_copy_peak_rss", "rows", copy / LARGE, at_most=bar, of="ours")
    figure(NAME, "row_of_100_mb_stream_peak_rss", "rows", stream / LARGE, at_most=bar, of="ours")


def main() -> int:
    with Bench() as bench:
        bench.warehouse.mkdir()
        columns(bench)
        rows(bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
