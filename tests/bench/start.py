"""From the start of the process to the first row in the lake, and what an idle agent keeps for itself."""

import sys
import time

from figures import REPEAT, Bench, figure, median
from harness import lake
from harness.agent import Agent

NAME = "start"
ROW_SECONDS_MAX = 0.2
PRIVATE_MAX = 10 << 20
IDLE_SECONDS = 3


def has_row(folder) -> bool:
    table = lake.load(folder)
    return bool(table) and any(snapshot["summary"].get("total-records") == "1" for snapshot in table.snapshots)


def first_row(bench: Bench) -> tuple[float, int]:
    """A table of one row: seconds until a snapshot holds it; then, all quiet, the private memory."""
    bench.forget()
    bench.agent_call()
    folder = bench.warehouse / "shop" / "one"
    started = time.monotonic()
    with Agent(bench.folder / "manifest.yaml", bench.folder / "agent.log") as agent:
        while not has_row(folder):
            agent.alive()
            time.sleep(0.001)
        seconds = time.monotonic() - started
        bench.postgres.wait_confirmed("firn", 30, "bench", agent.alive)
        time.sleep(IDLE_SECONDS)  # idle is what is measured
        private = agent.memory()["private"]
        agent.stop()
    return seconds, private


def main() -> int:
    with Bench() as bench:
        bench.connection.execute("create table one (id int primary key, v text)")
        bench.connection.execute("insert into one values (1, 'x')")
        results = [first_row(bench) for _ in range(REPEAT)]
        figure(NAME, "start_to_first_row", "s", median([seconds for seconds, _ in results]), at_most=ROW_SECONDS_MAX, of="ours")
        figure(NAME, "idle_private_memory", "bytes", max(private for _, private in results), at_most=PRIVATE_MAX, of="ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
