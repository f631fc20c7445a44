"""1 M changes (80 % updates, transactions of 100) waiting in the binlog, into a topic, in JSON; beside the binlog's bytes read to
nothing, and Debezium's connector for that server in Kafka Connect with the same changes and the same broker. Debezium is
measured from its first record on, warm-up of the JVM left out; ours from the process's start to its end, everything recorded."""

from figures import REPEAT, SCALE, Run, alternating, figure, median, until_read
from harness.agent import Agent, binary
from harness.kafka import MYSQL_JARS, Broker, Connect
from harness.mysql_relay import stream_manifest
from harness.wait import wait_until
from kafka_peer import CONVERTERS, FAST, Worker, fast_broker, until_written
from mysql_bench import MysqlBench

BASE_ROWS = int(200_000 * SCALE)
TRANSACTIONS = int(10_000 * SCALE)
CHANGES = TRANSACTIONS * 100


class MysqlWorker(Worker):
    jars = MYSQL_JARS


class Ours:
    """Each run has a prefix of its own, whose state says that everything up to the changes was sent."""

    def __init__(self, name: str, bench: MysqlBench, broker: Broker):
        self.name, self.bench, self.broker = name, bench, broker
        self.waiting = [self.prepared(f"ours{number}") for number in range(REPEAT)]

    def prepared(self, prefix: str) -> str:
        path = self.bench.folder / f"{prefix}.yaml"
        path.write_text(stream_manifest(self.bench.server, self.broker.bootstrap, prefix=prefix, partitions=1, include='["shop.accounts"]',
                                        snapshot="Never"))  # fmt: skip
        path.chmod(0o600)
        with Agent(path, self.bench.folder / "agent.log", http=True, subcommand="capture") as agent:
            agent.wait_ready()
            self.bench.execute("update accounts set bid = bid + 1 where id = 1")
            wait_until(lambda: self.broker.count(f"{prefix}.shop.accounts") >= 1, 60, "it follows", agent.alive)
            if agent.stop():
                raise SystemExit(f"{self.name}: {agent.text()}")
        return prefix

    def run(self, end: int) -> Run:
        prefix = self.waiting.pop()
        topic = f"{prefix}.shop.accounts"
        before = self.broker.count(topic)
        run = until_read([binary(), "capture", "-f", self.bench.folder / f"{prefix}.yaml", "--progress", "never", "--log-level", "warn"], end)
        # What was changed to prepare the later ones is in the log, too.
        found, expected = self.broker.count(topic) - before, CHANGES + REPEAT - 1 - int(prefix.removeprefix("ours"))
        if run.code or found != expected:
            raise SystemExit(f"{self.name}: {prefix} ended with {run.code}, {found} of {expected} records")
        return run


def debezium(bench: MysqlBench, broker: Broker, number: int) -> Run:
    """Without a snapshot of anything it reads the binlog from its beginning, which has the table's statement."""
    prefix = f"dbz{number}"
    settings = Connect.mysql(bench.server, "shop", prefix, bench.folder / f"{prefix}.history", snapshot_mode="configuration_based",
                             snapshot_mode_configuration_based_start_stream="true", include_schema_changes="false", **FAST)  # fmt: skip
    return until_written(broker, MysqlWorker(broker, {prefix: settings | CONVERTERS}), f"{prefix}.shop.accounts", CHANGES + REPEAT)


def measure(kind: str) -> int:
    name = f"{kind.lower()}-stream-kafka"
    with MysqlBench(kind) as bench, fast_broker() as broker:
        bench.accounts(BASE_ROWS)
        ours = Ours(name, bench, broker)
        end = bench.change(TRANSACTIONS, BASE_ROWS)
        numbers = iter(range(REPEAT))
        limits, runs, peers = alternating(bench.raw_binlog, lambda: ours.run(end), lambda: debezium(bench, broker, next(numbers)))
        limit, peer, rate = (CHANGES / median([run.wall for run in each]) for each in (limits, peers, runs))
        peer_cpu = median([run.cpu for run in peers]) / CHANGES * 1e6
        figure(name, "rate", "changes/s", rate, min(4 * peer, 0.8 * limit), "least of 4 x Debezium and 0.8 x the raw binlog", at_least=1)
        figure(name, "cpu_per_million", "s", median([run.cpu for run in runs]) / CHANGES * 1e6, peer_cpu, "Debezium", at_most=0.1)
        figure(name, "peak_rss", "bytes", max(run.peak for run in runs), median([run.peak for run in peers]), "Debezium", at_most=0.05)
        figure(name, "limit_rate", "changes/s", limit)
        figure(name, "debezium_rate", "changes/s", peer)
    return 0
