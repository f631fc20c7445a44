"""Topics that others fill with plain JSON events, into tables that DuckDB reads: which version of a key is newer, where a
table begins, what is read once more; what a topic can lack, and what can stand in it; and how much memory large records take.
Against a broker, with several consumers, some of them killed."""

import base64
import hashlib
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from unittest import TestCase, main

import harness.case  # noqa: F401  (tests/compare is found from here on)
from confluent_kafka import Producer
from lake import LakeError, LakeTable

from harness import lake
from harness.agent import OK, REFUSED, Agent
from harness.kafka import SESSION_MS, Broker
from harness.wait import wait_until

SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
SECONDS = float(os.environ.get("FIRN_AGREE_SECONDS", "120"))
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
PARTITIONS = 4
KEYS = 200


def at_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


class EventsCase(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker()
        cls.broker.start()
        cls.addClassCleanup(cls.broker.stop)
        cls.number = 0

    def setUp(self):
        os.environ["FIRN_SESSION_MS"] = SESSION_MS
        self.addCleanup(os.environ.pop, "FIRN_SESSION_MS", None)
        type(self).number += 1
        self.folder = Path(tempfile.mkdtemp(prefix="firn-events-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.warehouse = self.folder / "warehouse"
        self.warehouse.mkdir()
        self.topic = f"events-{self.number}"
        self.broker.create_topic(self.topic, PARTITIONS, **{"retention.ms": "-1"})  # records here are older than a week
        self.producer = Producer({"bootstrap.servers": self.broker.bootstrap, "linger.ms": 20, "enable.idempotence": True})  # in order, each once
        self.runs = 0

    def put(self, key: int, value: dict | None, moment: datetime = None):
        more = {"timestamp": at_ms(moment)} if moment else {}
        self.producer.produce(self.topic, json.dumps(value) if value is not None else None, json.dumps({"id": key}),
                              partition=key % PARTITIONS, **more)  # fmt: skip

    def flush(self):
        self.assertEqual(self.producer.flush(120), 0)

    def unit(self, name: str, kafka: str, columns: str, mode: str = "Upsert", more: str = "") -> str:
        """A unit of the topic, and the table of its name; more: of the unit's spec."""
        key = "idColumns: [id]" if mode == "Upsert" else "mode: Append"
        return f"""\
---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {name}-{self.number}}}
spec:
  kafka: {{topic: {self.topic}, brokers: "{self.broker.bootstrap}", incomingData: Json{kafka}}}
{more}  outsourcingUnit:
    table:
      catalog: {{type: Directory, warehouse: {self.warehouse}}}
      database: web
      tableName: {name}
      commitInterval: 500ms
      {key}
      columns: [{columns}]
"""

    def write(self, *units: str):
        (self.folder / "manifest.yaml").write_text("".join(units))

    def ingest(self, **options) -> Agent:
        self.runs += 1
        agent = Agent(self.folder / "manifest.yaml", self.folder / f"ingest-{self.runs}.log", subcommand="ingest", **options)
        self.addCleanup(agent.__exit__)
        return agent

    def rows(self, table: str, columns: str) -> Counter:
        try:
            return Counter(LakeTable(str(self.warehouse / "web" / table)).connection.execute(f"select {columns} from lake").fetchall())
        except (LakeError, OSError):  # it is not there yet
            return Counter()

    def lake(self, table: str) -> lake.Table:
        return lake.load(self.warehouse / "web" / table)

    def wait_rows(self, table: str, columns: str, wanted: Counter, *agents: Agent):
        seen = {}

        def same():
            versions = lake.version_files(self.warehouse / "web" / table)
            if seen.get("versions") == versions and seen["rows"]:  # reading it takes the time that the agent wants
                return False
            seen.update(versions=versions, rows=self.rows(table, columns))
            return seen["rows"] == wanted

        def watch():
            for agent in agents:
                agent.alive()

        try:
            wait_until(same, SECONDS, f"{table} is what the topic says (seed {SEED})", watch)
        except AssertionError as error:
            raise AssertionError(f"{error}\ntoo many: {list((seen['rows'] - wanted).items())[:5]}\n"
                                 f"missing: {list((wanted - seen['rows']).items())[:5]}") from None  # fmt: skip

    def stop(self, *agents: Agent):
        for agent in agents:
            self.assertEqual(agent.stop(), OK, agent.text()[-2000:])


class Ordering(EventsCase):
    """One topic, and a table for each type that says which version is newer; all say the same."""

    types = {"at": "timestamptz", "made": "timestamp", "day": "date", "amount": '"decimal(12,2)"', "big": "long", "small": "int",
             "rev": "string"}  # fmt: skip

    def setUp(self):
        super().setUp()
        self.dice = random.Random(SEED)
        self.tags = 0
        self.model: dict[int, tuple[int, int]] = {}  # by key: rank (-1: null) and tag of the version that counts
        self.older = 0

    def say(self, key: int, rank: int | None):
        self.tags += 1
        moment = BEGIN + timedelta(days=rank or 0)
        values = {"at": moment.isoformat(), "made": moment.replace(tzinfo=None).isoformat(), "day": moment.date().isoformat(),
                  "amount": f"{rank}.50", "big": (rank or 0) * 10**12, "small": rank, "rev": f"r{rank or 0:06}"}  # fmt: skip
        self.put(key, {"id": key, "tag": self.tags, **(values if rank is not None else {})})
        rank = -1 if rank is None else rank
        if key in self.model and rank < self.model[key][0]:
            self.older += 1
        else:
            self.model[key] = (rank, self.tags)

    def delete(self, key: int):
        self.put(key, None)
        self.model.pop(key, None)

    def some(self, count: int):
        for _ in range(count):
            key = self.dice.randrange(KEYS)
            if self.dice.random() < 0.05:
                self.delete(key)
            else:
                self.say(key, None if self.dice.random() < 0.05 else self.dice.randrange(40))
        self.flush()

    def wait_all(self, *agents):
        wanted = Counter({(key, tag): 1 for key, (_, tag) in self.model.items()})
        for column in self.types:
            self.wait_rows(f"by_{column}", "id, tag", wanted, *agents)

    def test_ordering(self):
        columns = "{name: id, type: long}, {name: tag, type: long}, " + ", ".join(
            f"{{name: {name}, type: {type}}}" for name, type in self.types.items())
        self.write(*(self.unit(f"by_{name}", f", orderingColumn: {name}", columns).replace("by_", "by-", 1) for name in self.types))
        self.some(2000)
        first, second = self.ingest(), self.ingest()
        self.wait_all(first, second)
        self.some(1000)
        first.kill()
        self.some(1000)
        self.wait_all(second)
        self.stop(second)
        self.some(500)
        third = self.ingest()  # which knows of versions what the tables hold
        self.wait_all(third)
        self.stop(third)
        self.assertGreater(self.older, 1000)


class Topic(EventsCase):
    columns = "{name: id, type: long}, {name: v, type: int}"

    def test_start_from_time(self):
        for key in range(40):
            self.put(key, {"id": key, "v": 1}, BEGIN)
        for key in range(20, 60):
            self.put(key, {"id": key, "v": 2}, BEGIN + timedelta(hours=2))
        self.flush()
        self.write(self.unit("late", ', startFrom: "2026-01-01T02:00:00+01:00"', self.columns),
                   self.unit("never", ', startFrom: "2026-01-01T03:00:00Z"', self.columns))  # fmt: skip
        agent = self.ingest()
        self.wait_rows("late", "id, v", Counter({(key, 2): 1 for key in range(20, 60)}), agent)
        wait_until(lambda: agent.text().count("partitions are dealt out") >= 2, SECONDS, "both read", agent.alive)
        self.put(7, {"id": 7, "v": 3}, BEGIN + timedelta(hours=4))
        self.flush()
        self.wait_rows("late", "id, v", Counter({**{(key, 2): 1 for key in range(20, 60)}, (7, 3): 1}), agent)
        self.stop(agent)

    def test_quiet(self):
        """A trickle is committed as seldom as the freshness that is asked for allows, and without anybody's waiting for its end.
        (How long that may be: tests/unit/commit/test_group.c.)"""
        asked = 16
        self.write(self.unit("calm", "", self.columns, "Append", f"  sla: {{freshness: {asked}s}}\n"))
        agent = self.ingest(http=True)
        wait_until(lambda: "partitions are dealt out" in agent.text(), SECONDS, "it reads", agent.alive)
        label = f'{{table="{self.topic}",unit="default/calm-{self.number}"}}'
        stalest, key, began = 0, 0, time.monotonic()

        def trickles() -> bool:
            nonlocal stalest, key
            self.put(key, {"id": key, "v": 1})
            key += 1
            self.producer.poll(0.1)
            stalest = max(stalest, agent.metrics().get(f"firn_table_freshness_seconds{label}", 0))
            return time.monotonic() - began > 20 and self.snapshots("calm") > 4

        wait_until(trickles, SECONDS, "it is committed while more comes", agent.alive)
        snapshots, lasted = self.snapshots("calm"), time.monotonic() - began
        self.flush()
        self.wait_rows("calm", "id, v", Counter({(one, 1): 1 for one in range(key)}), agent)
        self.assertEqual(agent.metrics()[f"firn_table_freshness_asked_seconds{label}"], asked)
        self.assertGreater(stalest, 1)
        print(f"{snapshots} commits in {lasted:.0f} s, {stalest:.1f} s stale at most, of {asked} s that are asked for")
        self.assertLess(snapshots, lasted / 2)  # of two each second, if each interval were committed
        self.stop(agent)

    def snapshots(self, table: str) -> int:
        found = lake.load(self.warehouse / "web" / table)
        return len(found.snapshots) if found else 0

    def test_replay(self):
        for key in range(40):
            self.put(key, {"id": key, "v": 1}, BEGIN)
        for key in range(40):
            self.put(key, {"id": key, "v": 2}, BEGIN + timedelta(hours=2))
        for key in range(30, 40):
            self.put(key, None, BEGIN + timedelta(hours=2))
        self.flush()
        upserted = Counter({(key, 2): 1 for key in range(30)})
        appended = Counter({**{(key, 1): 1 for key in range(40)}, **{(key, 2): 1 for key in range(40)}})

        def units(kafka: str) -> list[str]:
            return [self.unit("kept", kafka, self.columns), self.unit("log", kafka, self.columns, "Append")]

        def wait(*agents):
            self.wait_rows("kept", "id, v", upserted, *agents)
            self.wait_rows("log", "id, v", appended, *agents)

        self.write(*units(""))
        agent = self.ingest()
        wait(agent)
        self.stop(agent)
        self.write(*units(', replay: {id: one, from: "2026-01-01T01:00:00Z"}'))
        both = self.ingest(), self.ingest()
        for key in range(40):  # in Append all of that time are there again
            appended[(key, 2)] += 1
        wait(*both)
        self.stop(*both)
        agent = self.ingest()  # once
        self.put(100, {"id": 100, "v": 1})
        self.flush()
        upserted[(100, 1)] = appended[(100, 1)] = 1
        wait(agent)
        self.stop(agent)
        self.write(*units(", replay: {id: two, offsets: [{partition: 1, offset: 3}]}"))
        agent = self.ingest()
        for place, (key, v) in enumerate([(key, v) for v in (1, 2) for key in range(1, 40, 4)]):
            appended[(key, v)] += place >= 3
        wait(agent)
        self.stop(agent)
        self.write(*units(", replay: {id: three, offsets: [{partition: 4, offset: 0}]}"))
        agent = self.ingest()
        self.assertEqual(agent.wait(), REFUSED)
        self.assertIn("ReplayOutside", agent.text())

    def test_rolled_back(self):
        """A snapshot becomes the head again, two consumers read again what came since, and each row is there once."""
        self.rolled_back()

    def test_rolled_back_and_raised(self):
        """The same, in one go with the table's format version: it goes back to a snapshot of before that."""
        self.rolled_back(raised="with it")

    def test_rolled_back_behind_raised(self):
        """To a snapshot of a time when the table was of another format version."""
        self.rolled_back(raised="before")

    def rolled_back(self, raised: str = ""):
        tables = {"kept": "Upsert", "log": "Append"}
        version = 2

        def head(name: str) -> int:
            return self.lake(name).metadata["current-snapshot-id"]

        def wait(version: int, *agents):
            self.wait_rows("kept", "id, v", Counter({(key, version): 1 for key in range(40)}), *agents)
            self.wait_rows("log", "id, v", Counter({(key, v): 1 for key in range(40) for v in range(1, version + 1)}), *agents)

        def say(version: int):
            for key in range(40):
                self.put(key, {"id": key, "v": version})
            self.flush()

        def write(**asked: str):
            noted = {name: f", annotations: {{firn.dev/rollback: \"{text}\"}}" for name, text in asked.items()}
            units = [self.unit(name, "", self.columns, mode) + f"      formatVersion: {version}\n" for name, mode in tables.items()]
            self.write(*(text.replace(f"{{name: {name}-{self.number}}}", f"{{name: {name}-{self.number}{noted.get(name, '')}}}")
                         for name, text in zip(tables, units)))  # fmt: skip

        say(1)
        write()
        agent = self.ingest()
        wait(1, agent)
        first = {name: head(name) for name in tables}
        say(2)
        wait(2, agent)
        self.stop(agent)
        if raised == "before":
            version = 3
            write()
            agent = self.ingest()
            self.put(0, {"id": 0, "v": 2})
            self.flush()
            wait_until(lambda: self.rows("log", "id, v")[(0, 2)] == 2, SECONDS, "the log has it", agent.alive)
            wait_until(lambda: self.lake("kept").metadata["format-version"] == 3, SECONDS, "it is raised", agent.alive)
            self.stop(agent)
        gone = {name: head(name) for name in tables}
        version = 3 if raised else 2
        write(**{name: f"{snapshot} once alice" for name, snapshot in first.items()})
        both = self.ingest(), self.ingest()
        say(3)
        if raised == "before":  # what came twice comes twice again
            self.wait_rows("kept", "id, v", Counter({(key, 3): 1 for key in range(40)}), *both)
            self.wait_rows("log", "id, v", Counter({(0, 2): 1}) + Counter({(key, v): 1 for key in range(40) for v in (1, 2, 3)}), *both)
        else:
            wait(3, *both)
        self.stop(*both)
        for name in tables:
            self.assertEqual(self.lake(name).metadata["format-version"], version)
            (said,) = (text for key, text in self.lake(name).properties.items() if key.startswith("firn.rollback."))
            before = "[0-9]+" if raised == "with it" else gone[name]  # it was raised first
            self.assertRegex(said, f"^once {before}@[0-9,]+ {first[name]}@[0-9/.,]+$")
            under, parents = set(), {one["snapshot-id"]: one.get("parent-snapshot-id") for one in self.lake(name).snapshots}
            at = self.lake(name).metadata["current-snapshot-id"]
            while at:
                under.add(at)
                at = parents.get(at)
            self.assertIn(first[name], under)
            self.assertNotIn(gone[name], under)
        if raised == "before":
            return
        agent = self.ingest()  # once
        say(4)
        wait(4, agent)
        self.stop(agent)

    def append(self, name: str, kafka: str = "") -> str:
        return self.unit(name, kafka, self.columns, "Append")

    def say(self, keys, version: int):
        for key in keys:
            self.put(key, {"id": key, "v": version})
        self.flush()

    def refused(self, *parts: str, agent: Agent = None):
        agent = agent or self.ingest()
        self.assertEqual(agent.wait(SECONDS), REFUSED, agent.text()[-2000:])
        for part in parts:
            self.assertIn(part, agent.text())

    def test_truncated(self):
        """Records deleted before they were read: nothing is passed silently, and each way out goes on."""
        os.environ["FIRN_DOUBT_MS"] = "1500"  # others may have read them
        self.addCleanup(os.environ.pop, "FIRN_DOUBT_MS", None)
        self.write(self.append("log"))
        agent = self.ingest()
        self.say(range(40), 1)
        wanted = Counter({(key, 1): 1 for key in range(40)})
        self.wait_rows("log", "id, v", wanted, agent)
        self.stop(agent)
        self.say(range(40), 2)
        self.broker.delete_records(self.topic, 1, 13)
        self.refused("TopicTruncated", f"delete the consumer group firn-default-log-{self.number}", "firn.dev/positions")
        found = self.rows("log", "id, v")  # what the other partitions had may have come
        self.assertEqual(found - wanted, Counter({row: 1 for row in found - wanted if row[0] % PARTITIONS != 1 and row[1] == 2}))
        self.assertEqual(wanted - found, Counter())
        name = f"{{name: log-{self.number}}}"
        self.write(self.append("log").replace(name, name.replace("}", ', annotations: {firn.dev/positions: "Earliest once"}}')))
        agent = self.ingest()  # of each partition what is there; in Append rows that were there are there again
        left = [key for key in range(40) if key % PARTITIONS != 1]
        wanted = found
        wanted.update({(key, version): 1 for key in left for version in (1, 2)})
        wanted.update({(key, 2): 1 for key in range(1, 40, PARTITIONS)[3:]})
        self.wait_rows("log", "id, v", wanted, agent)
        self.stop(agent)

    def make_anew(self):
        self.broker.drop_topic(self.topic)
        self.broker.create_topic(self.topic, PARTITIONS, **{"retention.ms": "-1"})

    def test_made_anew(self):
        """A topic that was deleted and made again under its name, with more in it than the old one: while nobody reads, and while
        somebody does."""
        self.write(self.append("log"))
        agent = self.ingest()
        self.say(range(40), 1)
        wanted = Counter({(key, 1): 1 for key in range(40)})
        self.wait_rows("log", "id, v", wanted, agent)
        self.make_anew()
        self.say(range(200), 2)
        self.refused("SourceChanged", "deleted and made again", agent=agent)
        self.refused("SourceChanged", f"drop the table and delete the consumer group firn-default-log-{self.number}")
        self.assertEqual(self.rows("log", "id, v"), wanted)
        shutil.rmtree(self.warehouse / "web" / "log")
        self.broker.drop_group(f"firn-default-log-{self.number}")
        agent = self.ingest()
        self.wait_rows("log", "id, v", Counter({(key, 2): 1 for key in range(200)}), agent)
        self.stop(agent)

    def test_compacted(self):
        """Transactions, some of them aborted, and their markers; then the topic is compacted, and what the table needs next is gone
        among much else: it goes on behind the gap."""
        self.broker.drop_topic(self.topic)
        self.broker.create_topic(self.topic, PARTITIONS, **{"cleanup.policy": "compact", "segment.ms": "200", "max.compaction.lag.ms": "200",
                                                            "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "3600000"})  # fmt: skip
        self.producer = Producer({"bootstrap.servers": self.broker.bootstrap, "transactional.id": self.topic, "linger.ms": 20})
        self.producer.init_transactions(30)

        def transact(keys, version: int | None, commits: bool = True):
            self.producer.begin_transaction()
            for key in keys:
                self.put(key, version and {"id": key, "v": version})
            self.flush()
            (self.producer.commit_transaction if commits else self.producer.abort_transaction)(30)

        self.write(self.unit("kept", "", self.columns))
        agent = self.ingest(http=True)
        transact(range(100), 1)
        transact(range(100), 99, commits=False)
        self.wait_rows("kept", "id, v", Counter({(key, 1): 1 for key in range(100)}), agent)
        lag = f'firn_ingest_lag_records{{table="{self.topic}",unit="default/kept-{self.number}"}}'
        wait_until(lambda: agent.metrics().get(lag) == 0, SECONDS, "it is behind the markers", agent.alive)
        self.stop(agent)
        for version in range(2, 12):
            transact(range(100), version)
            transact(range(50), 99, commits=False)
        transact(range(90, 100), None)

        def compacted():
            for key in range(1000, 1000 + PARTITIONS):  # what is newest is never cleaned: it has to become older
                transact([key], 1)
            left = {json.loads(message.value())["v"] for message in self.broker.read(self.topic) if message.value()}
            return not left & set(range(2, 11))

        wait_until(compacted, SECONDS, "the topic is compacted")
        agent = self.ingest()
        newest = {key: 11 for key in range(90)} | {1000 + number: 1 for number in range(PARTITIONS)}
        self.wait_rows("kept", "id, v", Counter({row: 1 for row in newest.items()}), agent)
        self.stop(agent)

    def test_memory(self):
        """64 partitions, records of a megabyte, 200 columns: in less than 256 MiB."""
        each, columns = 3, [f"c{at}" for at in range(199)]
        self.broker.create_topic("wide", 64, **{"max.message.bytes": "2000000"})
        self.topic = "wide"
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "message.max.bytes": 2000000, "linger.ms": 20})
        noise = base64.b64encode(random.Random(SEED).randbytes(8 << 20)).decode()  # nothing makes it smaller
        sums = Counter()
        for at in range(64 * each):
            start = at * 40_009
            row = {"id": at} | {name: noise[start + 5000 * number : start + 5000 * (number + 1)] for number, name in enumerate(columns)}
            sums[at, hashlib.md5("".join(row[name] for name in columns).encode()).hexdigest()] += 1
            producer.produce("wide", json.dumps(row), partition=at % 64)
            producer.poll(0)
            if at % 16 == 15:
                producer.flush()
        self.assertEqual(producer.flush(240), 0)
        types = ", ".join(["{name: id, type: long}", *(f"{{name: {name}, type: string}}" for name in columns)])
        self.write(self.unit("wide", "", types, "Append"))
        agent = self.ingest()
        self.wait_rows("wide", f"id, md5(concat({', '.join(columns)}))", sums, agent)
        peak = agent.memory()["peak"]
        self.stop(agent)
        print(f"{peak >> 20} MiB at most", flush=True)
        self.assertLess(peak, 256 << 20)


if __name__ == "__main__":
    main()
