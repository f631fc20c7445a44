"""1,000 tables of an application (tests/harness/application.py) in one process: copied, then 2,000 changes a second to all
of them for two minutes, with the default commit interval. How fresh the lake stays, and what the agent takes."""

import contextlib
import io
import signal
import subprocess
import sys
import time

from figures import SCALE, Bench, compare, figure
from harness.agent import Agent, binary, connector, unit_of_all
from harness.application import SCHEMAS, Application, AppTraffic
from harness.process import die_with_parent, free_port

NAME = "pg-many-tables"
TABLES = int(1000 * min(SCALE, 1))
SECONDS = max(20, int(120 * SCALE))
RATE = 2000
AT_ONCE = 200  # changes of a transaction
ROWS = 20


def start(bench: Bench) -> Agent:
    path = bench.folder / "manifest.yaml"
    source = connector(bench.postgres, database="bench", include='["app*.*"]', parallelism=4)
    path.write_text(source + unit_of_all("app*.*", bench.warehouse))
    agent = Agent.__new__(Agent)
    agent.log, agent.http_port, agent.crash_at = bench.folder / "agent.log", free_port(), None
    with open(agent.log, "wb") as log:
        agent.process = subprocess.Popen(
            [binary(), "run", "-f", path, "--progress", "never", "--log-format", "json", "--log-level", "warn",
             "--http", f"127.0.0.1:{agent.http_port}"],
            stderr=log, stdout=log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent())  # fmt: skip
    return agent


def freshness(agent: Agent) -> float:
    return max((value for name, value in agent.metrics().items() if name.startswith("firn_freshness_seconds")), default=0.0)


def run(bench: Bench, agent: Agent, traffic: AppTraffic) -> tuple[float, float, float]:
    """The rate that was kept, the worst freshness seen, and how long after the last change all was durable."""
    started, worst, looked = time.monotonic(), 0.0, 0.0
    changes = 0
    while (now := time.monotonic() - started) < SECONDS:
        if now > looked + 0.5:
            looked = now
            agent.alive()
            worst = max(worst, freshness(agent))
        if changes > now * RATE:
            time.sleep(0.01)
            continue
        bench.connection.execute("begin;" + ";".join(traffic.one() for _ in range(AT_ONCE)) + ";commit")
        changes += AT_ONCE
    rate = changes / (time.monotonic() - started)
    ended = time.monotonic()
    bench.postgres.wait_confirmed("firn", 300, "bench", agent.alive)
    return rate, max(worst, time.monotonic() - ended), time.monotonic() - ended


def check(bench: Bench, application: Application):
    """DuckDB can't read a path with a double quote in it."""
    quotes = [f"{table.schema}.{table.name}={table.schema}/{table.name}" for table in application.tables if '"' in table.name]
    others = [f"{table.schema}.{table.name}={table.schema}/{table.name}" for table in application.tables if '"' not in table.name]
    for engine, pairs in (("duckdb", [*others, f"{SCHEMAS[0]}.audit_log={SCHEMAS[0]}/audit_log"]), ("pyiceberg", quotes)):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            same = not pairs or compare(bench.postgres.dsn("bench"), str(bench.warehouse), pairs, engine, quiet=True)
        if not same:
            raise SystemExit(f"{NAME}: {output.getvalue()}")


def main() -> int:
    with Bench(max_locks_per_transaction="256") as bench:
        application = Application(TABLES, keyless=0)
        application.make(bench.connection, ROWS)
        bench.warehouse.mkdir()
        started = time.monotonic()
        with start(bench) as agent:
            bench.postgres.wait_confirmed("firn", 300, "bench", agent.alive)
            copied = time.monotonic() - started
            copy_peak, before = agent.memory()["peak"], agent.cpu_seconds()
            rate, worst, after = run(bench, agent, AppTraffic(application, bench.connection, ROWS))
            memory, cpu = agent.memory(), agent.cpu_seconds() - before
            agent.process.send_signal(signal.SIGTERM)
            if agent.wait(120):
                raise SystemExit(f"{NAME}: {agent.text()[-2000:]}")
        check(bench, application)
        figure(NAME, "copied", "s", copied)
        figure(NAME, "rate", "changes/s", rate, at_least=RATE * 0.95, of="ours")
        figure(NAME, "freshness", "s", worst, at_most=60, of="ours")
        figure(NAME, "durable_after_the_last", "s", after)
        figure(NAME, "cpu_per_million", "s", cpu / (rate * SECONDS) * 1e6)
        figure(NAME, "peak_rss_copy", "bytes", copy_peak)
        figure(NAME, "peak_rss", "bytes", memory["peak"], at_most=256 << 20, of="ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
