"""1 M changes (80 % updates, transactions of 100) waiting in a slot, into a topic, in JSON and in Avro; beside pg_recvlogical
of the same slot to nothing, and Debezium in Kafka Connect with the same changes and the same broker. Debezium is measured
from its first record on, warm-up of the JVM left out; ours from the process's start to its end, everything confirmed."""

import itertools
import sys

from figures import SCALE, Bench, Run, alternating, figure, measured, median, until_read
from harness.agent import Agent, binary
from harness.kafka import Broker, Registry
from harness.relay import stream_manifest
from kafka_peer import debezium, fast_broker

BASE_ROWS = int(200_000 * SCALE)
TRANSACTIONS = int(10_000 * SCALE)
CHANGES = TRANSACTIONS * 100
NAME = "pg-stream-kafka"
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


class Ours:
    def __init__(self, bench: Bench, broker: Broker, prefix: str, registry: Registry | None):
        self.bench, self.broker, self.prefix, self.registry = bench, broker, prefix, registry
        self.path = bench.folder / f"{prefix}.yaml"
        self.path.write_text(stream_manifest(bench.postgres, broker.bootstrap, prefix=prefix, partitions=1, registry=registry,
                                             database="bench", snapshot="Never"))  # fmt: skip
        self.path.chmod(0o600)
        self.topic = f"{prefix}.public.accounts"
        self.saved = f"saved_{prefix}"

    def prepare(self):
        """Its state says that everything up to here was sent; so does a slot of its own."""
        with Agent(self.path, self.bench.folder / "agent.log", subcommand="capture") as agent:
            self.bench.postgres.wait_confirmed("firn", 60, "bench", agent.alive)
            if agent.stop():
                raise SystemExit(f"{NAME}: {agent.text()}")
        self.bench.connection.execute("select pg_copy_logical_replication_slot('firn', %s)", [self.saved])
        self.bench.connection.execute("select pg_drop_replication_slot('firn')")

    def run(self, end: int) -> Run:
        connection = self.bench.connection
        connection.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'firn'")
        connection.execute("select pg_copy_logical_replication_slot(%s, 'firn')", [self.saved])
        before = self.broker.count(self.topic)
        run = until_read([binary(), "capture", "-f", self.path, "--progress", "never", "--log-level", "warn"], end)
        found = self.broker.count(self.topic) - before
        confirmed = self.bench.postgres.slot("firn")["confirmed"]
        if run.code or found != CHANGES or confirmed < end:
            raise SystemExit(f"{NAME}: {self.prefix} ended with {run.code}, {found} of {CHANGES} records, {confirmed:X} of {end:X}")
        return run


def main() -> int:
    with Bench() as bench, fast_broker() as broker, Registry() as registry:
        bench.accounts(BASE_ROWS)
        json, avro = Ours(bench, broker, "json", None), Ours(bench, broker, "avro", registry)
        for each in (json, avro):
            each.prepare()
        bench.connection.execute(CHANGE % (TRANSACTIONS - 1, BASE_ROWS, BASE_ROWS, BASE_ROWS, BASE_ROWS))
        end = bench.postgres.wal_end()
        bench.postgres.execute("select pg_logical_emit_message(true, 'bench', 'end')", "bench")
        lsn = f"{end >> 32:X}/{end & 0xFFFFFFFF:X}"

        def reference():
            bench.connection.execute("select pg_copy_logical_replication_slot('saved_json', 'reference')")
            run = measured(
                [bench.program("pg_recvlogical"), "-d", "bench", "--slot", "reference", "--start", "--endpos", lsn,
                 "-o", "proto_version=2", "-o", "publication_names=firn", "-o", "binary=true", "-f", "/dev/null"],
                env=bench.environment())  # fmt: skip
            bench.connection.execute("select pg_drop_replication_slot('reference')")
            if run.code:
                raise SystemExit(f"{NAME}: pg_recvlogical ended with {run.code}")
            return run

        numbers = itertools.count(1)

        def follow():
            prefix = f"dbz{next(numbers)}"
            bench.connection.execute(f"select pg_copy_logical_replication_slot('saved_json', 'dbz_{prefix}')")
            return debezium(bench, broker, prefix, CHANGES, snapshot_mode="no_data", publication_name="firn",
                            publication_autocreate_mode="disabled")  # fmt: skip

        limits, jsons, avros, peers = alternating(reference, lambda: json.run(end), lambda: avro.run(end), follow)
        limit = CHANGES / median([run.wall for run in limits])
        peer = CHANGES / median([run.wall for run in peers])
        peer_cpu = median([run.cpu for run in peers]) / CHANGES * 1e6
        bar = min(3 * peer, 0.9 * limit)
        for name, runs in (("json", jsons), ("avro", avros)):
            rate = CHANGES / median([run.wall for run in runs])
            figure(NAME, f"{name}_rate", "changes/s", rate, bar, "least of 3 x Debezium and 0.9 x pg_recvlogical", at_least=1)
            figure(NAME, f"{name}_cpu_per_million", "s", median([run.cpu for run in runs]) / CHANGES * 1e6, peer_cpu, "Debezium", at_most=0.125)
            figure(NAME, f"{name}_peak_rss", "bytes", max(run.peak for run in runs), median([run.peak for run in peers]), "Debezium", at_most=0.05)
        figure(NAME, "limit_rate", "changes/s", limit)
        figure(NAME, "debezium_rate", "changes/s", peer)
        figure(NAME, "avro_cpu", "s", median([run.cpu for run in avros]), median([run.cpu for run in jsons]), "JSON", at_most=1.05)
    return 0


if __name__ == "__main__":
    sys.exit(main())
