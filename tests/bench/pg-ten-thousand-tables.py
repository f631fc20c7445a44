"""10,000 tables in one publication, nine of ten of them empty: the first start with its copy, what the agent takes while
nothing happens, the second start, and 200 changes a second to all of them. One manifest pattern, default intervals."""

import contextlib
import io
import random
import signal
import sys
import time

from figures import SCALE, Bench, compare, figure
from harness.agent import Agent, connector, unit_of_all

NAME = "pg-ten-thousand-tables"
TABLES = max(100, int(10_000 * SCALE))
SECONDS = max(20, int(90 * min(SCALE, 1)))
RATE = 200
AT_ONCE = 20  # changes of a transaction

MAKE = """
do $$ begin
    for i in {first}..{last} loop
        execute format('create table t%s (id bigint primary key, n int, v text, changed timestamptz)', i);
        if i % 10 = 0 then
            execute format('insert into t%s select g, g, ''row '' || g, now() from generate_series(1, 10) g', i);
        end if;
    end loop;
end $$"""


def start(bench: Bench) -> Agent:
    path = bench.folder / "manifest.yaml"
    path.write_text(connector(bench.postgres, database="bench", parallelism=4) + unit_of_all("public.*", bench.warehouse))
    path.chmod(0o600)
    return Agent(path, bench.folder / "agent.log", http=True, arguments=("--log-level", "warn"))


def stop(agent: Agent) -> float:
    started = time.monotonic()
    agent.process.send_signal(signal.SIGTERM)
    if agent.wait(180):
        raise SystemExit(f"{NAME}: {agent.text()[-2000:]}")
    return time.monotonic() - started


def value(agent: Agent, name: str) -> float:
    return max((value for series, value in agent.metrics().items() if series.startswith(name)), default=0.0)


def traffic(bench: Bench, agent: Agent) -> tuple[float, float]:
    """The rate that was kept and the worst freshness seen."""
    dice, started, changes, looked, worst = random.Random(1), time.monotonic(), 0, 0.0, 0.0
    while (now := time.monotonic() - started) < SECONDS:
        if now > looked + 2:
            looked = now
            agent.alive()
            worst = max(worst, value(agent, "firn_freshness_seconds"))
        if changes > now * RATE:
            time.sleep(0.02)
            continue
        some = [dice.randrange(1, TABLES + 1) for _ in range(AT_ONCE)]
        statements = [f"insert into t{at} values ({dice.randrange(1, 30)}, 0, 'new') on conflict (id) do update set n = t{at}.n + 1" for at in some]
        bench.connection.execute("begin;" + ";".join(statements) + ";commit")
        changes += AT_ONCE
    ended = time.monotonic()
    rate = changes / (ended - started)
    bench.postgres.wait_confirmed("firn", 600, "bench", agent.alive)
    return rate, max(worst, time.monotonic() - ended)


def check(bench: Bench):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        same = compare(bench.postgres.dsn("bench"), str(bench.warehouse), ["public=public"], quiet=True)
    if not same:
        raise SystemExit(f"{NAME}: {output.getvalue()[-2000:]}")


def main() -> int:
    with Bench(max_locks_per_transaction="1024") as bench:
        for first in range(1, TABLES + 1, 500):
            bench.connection.execute(MAKE.format(first=first, last=min(first + 499, TABLES)))
        bench.connection.execute("vacuum pg_class, pg_attribute")
        bench.warehouse.mkdir()
        started = time.monotonic()
        with start(bench) as agent:
            bench.postgres.wait_confirmed("firn", 1800, "bench", agent.alive)
            while value(agent, "firn_table_copying"):
                agent.alive()
                time.sleep(0.2)
            copied, copy_peak, copy_cpu = time.monotonic() - started, agent.memory()["peak"], agent.cpu_seconds()
            before, began = agent.cpu_seconds(), time.monotonic()
            time.sleep(20)  # what is measured: nothing happens
            idle = (agent.cpu_seconds() - before) / (time.monotonic() - began)
            stopped = stop(agent)
        started = time.monotonic()
        with start(bench) as agent:
            agent.wait_ready(600)
            again = time.monotonic() - started
            before = agent.cpu_seconds()
            rate, worst = traffic(bench, agent)
            cpu, memory = agent.cpu_seconds() - before, agent.memory()
            stop(agent)
        check(bench)
        figure(NAME, "copied", "s", copied)
        figure(NAME, "copy_cpu", "s", copy_cpu)
        figure(NAME, "peak_rss_copy", "bytes", copy_peak)
        figure(NAME, "idle_cpu_per_second", "s", idle, at_most=0.1, of="ours")
        figure(NAME, "stopped", "s", stopped)
        figure(NAME, "started_again", "s", again)
        figure(NAME, "rate", "changes/s", rate, at_least=RATE * 0.95, of="ours")
        figure(NAME, "freshness", "s", worst)
        figure(NAME, "cpu_per_change", "s", cpu / (rate * SECONDS))
        figure(NAME, "peak_rss", "bytes", memory["peak"], at_most=1 << 30, of="ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
