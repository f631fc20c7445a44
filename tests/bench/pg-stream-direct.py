"""2 M changes (80 % updates, transactions of 100) waiting in a slot, into tables; beside pg_recvlogical
of the same slot to nothing. Every repetition reads a copy of the same slot into the same tables."""

import shutil
import sys

from figures import SCALE, Bench, alternating, figure, measured, median, until_read
from harness.agent import Agent

BASE_ROWS = int(1_000_000 * SCALE)
TRANSACTIONS = int(20_000 * SCALE)
CHANGES = TRANSACTIONS * 100
NAME = "pg-stream-direct"

CHANGE = """
do $$
begin
    for t in 0..%d loop
        update accounts set abalance = abalance + t, updated = clock_timestamp()
            where id > (t * 80) %% %d and id <= (t * 80) %% %d + 80;
        insert into accounts select i, i %% 100, 0, 'customer ' || lpad(i::text, 12, '0'),
            md5(i::text) || md5((i * 7)::text), (i %% 1000000) / 100.0, now()
            from generate_series(%d + t * 20 + 1, %d + t * 20 + 20) i;
        commit;
    end loop;
end $$"""


class Stream:
    def __init__(self, bench: Bench, mode: str):
        self.bench, self.mode = bench, mode
        self.saved = bench.folder / f"warehouse-{mode}"

    def manifest(self):
        # A commit every few seconds, as a busy table has.
        return {"mode": self.mode, "interval": "5s"}

    def prepare(self):
        """Tables that hold the rows from before the changes, and the slot as it stands then."""
        bench = self.bench
        bench.forget()
        bench.agent_call(**self.manifest())
        with Agent(bench.folder / "manifest.yaml", bench.folder / "agent.log") as agent:
            bench.postgres.wait_confirmed("firn", 300, "bench", agent.alive)
            if agent.stop():
                raise SystemExit(f"{NAME}: {agent.text()}")
        bench.warehouse.rename(self.saved)
        bench.connection.execute(f"select pg_copy_logical_replication_slot('firn', 'saved_{self.mode.lower()}')")

    def restore(self):
        bench = self.bench
        shutil.rmtree(bench.warehouse, ignore_errors=True)
        shutil.copytree(self.saved, bench.warehouse)
        bench.connection.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'firn'")
        bench.connection.execute(f"select pg_copy_logical_replication_slot('saved_{self.mode.lower()}', 'firn')")

    def run(self, end: int):
        """From the start until everything is durable: told to stop once it has read the last change."""
        self.restore()
        run = until_read(self.bench.agent_call(**self.manifest()), end)
        if run.code:
            raise SystemExit(f"{NAME}: the agent ended with {run.code}")
        confirmed = self.bench.postgres.slot("firn")["confirmed"]
        if confirmed < end:
            raise SystemExit(f"{NAME}: stopped at {confirmed:X}, before {end:X}")
        return run


def main() -> int:
    with Bench() as bench:
        bench.accounts(BASE_ROWS)
        streams = [Stream(bench, "Append"), Stream(bench, "Upsert")]
        for stream in streams:
            stream.prepare()
        bench.connection.execute(
            CHANGE % (TRANSACTIONS - 1, BASE_ROWS, BASE_ROWS, BASE_ROWS, BASE_ROWS))  # fmt: skip
        end = bench.postgres.wal_end()
        bench.postgres.execute("select pg_logical_emit_message(true, 'bench', 'end')", "bench")
        lsn = f"{end >> 32:X}/{end & 0xFFFFFFFF:X}"

        def reference():
            bench.connection.execute("select pg_copy_logical_replication_slot('saved_upsert', 'reference')")
            run = measured(
                [bench.program("pg_recvlogical"), "-d", "bench", "--slot", "reference", "--start", "--endpos", lsn,
                 "-o", "proto_version=2", "-o", "publication_names=firn", "-o", "binary=true", "-f", "/dev/null"],
                env=bench.environment())  # fmt: skip
            bench.connection.execute("select pg_drop_replication_slot('reference')")
            if run.code:
                raise SystemExit(f"{NAME}: pg_recvlogical ended with {run.code}")
            return run

        results = alternating(reference, *(lambda stream=stream: stream.run(end) for stream in streams))
        for stream in streams:
            stream.run(end)
            bench.check(NAME)
        rate = CHANGES / median([run.wall for run in results[0]])
        for stream, runs, cpu_bar in zip(streams, results[1:], (2.5, 4)):
            mode = stream.mode.lower()
            figure(NAME, f"{mode}_rate", "changes/s", CHANGES / median([run.wall for run in runs]), rate,
                   "pg_recvlogical to /dev/null", at_least=0.9)  # fmt: skip
            figure(NAME, f"{mode}_cpu_per_million", "s", median([run.cpu for run in runs]) / CHANGES * 1e6,
                   at_most=cpu_bar, of="ours")  # fmt: skip
            figure(NAME, f"{mode}_peak_rss", "bytes", max(run.peak for run in runs), at_most=128 << 20, of="ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
