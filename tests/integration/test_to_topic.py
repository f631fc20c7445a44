"""A topic into another one (spec.toTopic): every record once, whole and in its partition's order, as readers of what is
committed see it, while processes die at each step of a transaction, are stopped for longer than their session, and come and
go with live traffic."""

import json
import os
import shutil
import signal
import tempfile
import threading
import time
import unittest
from collections import defaultdict
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from harness.agent import OK, REFUSED, Agent
from harness.kafka import Broker
from harness.wait import wait_until

PARTITIONS = 4
POINTS = [line.split()[0] for line in (Path(__file__).parent / "crash_points").read_text().splitlines() if " forward " in line]
SOON_SECONDS = 90
BASE_MS = int(time.time() * 1000) - 10**7  # of records: no topic has kept them for too long by then
SESSION_MS, TRANSACTION_MS = 6000, 10000


class ToTopic(unittest.TestCase):
    """The broker is the class's; each test has topics and a group of its own."""

    number = 0

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker()
        cls.broker.start()
        cls.addClassCleanup(cls.broker.stop)

    def setUp(self):
        for name, value in (("FIRN_SESSION_MS", SESSION_MS), ("FIRN_TRANSACTION_MS", TRANSACTION_MS)):
            os.environ[name] = str(value)
            self.addCleanup(os.environ.pop, name, None)
        self.folder = Path(tempfile.mkdtemp(prefix="firn-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        ToTopic.number += 1
        self.source, self.target, self.dead, self.name = (f"{name}{self.number}" for name in ("in", "out", "dead", "clean"))
        self.producer = Producer({"bootstrap.servers": self.broker.bootstrap, "enable.idempotence": True, "linger.ms": 1})
        self.broker.create_topic(self.source, PARTITIONS)
        self.runs = 0
        self.sent: dict[int, list] = defaultdict(list)

    def write_unit(self, kafka: str = "", more: str = "") -> Path:
        path = self.folder / "unit.yaml"
        path.write_text(f"""\
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {self.name}}}
spec:
  kafka: {{topic: {self.source}, brokers: "{self.broker.bootstrap}", incomingData: Json{kafka}}}
  toTopic: {{topic: {self.target}}}
{more}""")
        return path

    def start(self, path: Path, crash_at: str = None) -> Agent:
        self.runs += 1
        agent = Agent(path, self.folder / f"ingest-{self.runs}.log", crash_at, subcommand="ingest")
        self.enterContext(agent)
        return agent

    def send(self, partition: int, key, value, headers=(), timestamp: int = 0, wanted: bool = True):
        self.producer.produce(self.source, value, key, partition, headers=list(headers) or None, timestamp=timestamp)
        self.producer.poll(0)
        if wanted:
            self.sent[partition].append((key, value, list(headers) or None, timestamp))

    def produce(self, start: int, count: int):
        for at in range(start, start + count):
            value = json.dumps({"id": at, "event": "left" if at % 5 == 4 else "view", "text": "x" * (at % 300)}).encode()
            headers = [("trace", f"t{at}".encode()), ("trace", b""), ("none", None)] if at % 3 == 0 else ()
            self.send(at % PARTITIONS, b"k%d" % (at % 17) if at % 2 else None, value, headers, BASE_MS + at)

    def arrived(self) -> dict[int, list]:
        """What is committed in the other topic, up to its end now."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "test", "isolation.level": "read_committed",
                             "enable.partition.eof": True, "enable.auto.commit": False, "fetch.wait.max.ms": 10})  # fmt: skip
        found = defaultdict(list)
        try:
            known = consumer.list_topics(self.target, timeout=120).topics[self.target]
            if known.error:
                return found
            consumer.assign([TopicPartition(self.target, number, 0) for number in known.partitions])
            rest = len(known.partitions)
            while rest:
                message = consumer.poll(120)
                self.assertIsNotNone(message, "the topic can be read to its end")
                if message.error():
                    rest -= 1
                    continue
                found[message.partition()].append((message.key(), message.value(), message.headers(), message.timestamp()[1]))
        finally:
            consumer.close()
        return found

    def wait_equal(self, *agents: Agent):
        self.producer.flush()
        wanted = {number: records for number, records in self.sent.items() if records}
        found = {}

        def all_there():
            for agent in agents:
                agent.alive()
            found.clear()
            found.update(self.arrived())
            return sum(map(len, found.values())) >= sum(map(len, wanted.values()))

        wait_until(all_there, SOON_SECONDS, "all records")
        for number in range(PARTITIONS):
            self.assertEqual(len(found.get(number, [])), len(wanted.get(number, [])), f"partition {number}")
            self.assertEqual(found.get(number, []), wanted.get(number, []), f"partition {number}")

    def traffic(self):
        """Some hundred records a second until it is told to end."""
        ends = threading.Event()

        def run():
            at = 10**6
            while not ends.wait(0.05):
                self.produce(at, 20)
                at += 20

        thread = threading.Thread(target=run)
        thread.start()

        def end():
            ends.set()
            thread.join()

        self.addCleanup(end)
        return end

    def test_whole(self):
        """Keys, values, headers and times; tombstones; other events are passed over, what is no JSON is a dead letter; a
        process that begins again writes nothing twice."""
        path = self.write_unit(", events: {nameField: event, allow: [{name: view}]}", f"  deadLetter: {{topic: {self.dead}}}\n")
        for at in range(400):
            other = at % 7 == 3
            value = json.dumps({"event": "left" if other else "view", "id": at, "more": {"a": [1, None]}}).encode()
            self.send(at % PARTITIONS, b"k", value, [("h", b"1")] * (at % 4), BASE_MS + at, wanted=not other)
        self.send(1, b"gone", None, (), BASE_MS + 1000)
        self.send(2, None, b'{"event": "vi', (), BASE_MS + 1000, wanted=False)
        self.send(3, b"", b'{"event": "view"}', (), BASE_MS + 1000)
        agent = self.start(path)
        self.wait_equal(agent)
        wait_until(lambda: self.broker.count(self.dead) == 2, SOON_SECONDS, "the letter, of two records", agent.alive)
        self.assertEqual(agent.stop(), OK)
        again = self.start(path)
        self.send(0, b"k", b'{"event": "view", "id": "last"}', (), BASE_MS + 2000)
        self.wait_equal(again)
        self.assertEqual(again.stop(), OK)
        self.assertEqual(self.broker.count(self.dead), 2)

    def test_dies_at_each_step(self):
        path = self.write_unit()
        self.produce(0, 500)
        end = self.traffic()
        for point in POINTS:
            for times in (1, 3):
                with self.subTest(point=point, times=times):
                    agent = self.start(path, f"{point}:{times}")
                    wait_until(lambda agent=agent: agent.process.poll() is not None, SOON_SECONDS, f"{point} strikes")
                    self.assertTrue(agent.struck(), agent.text()[-2000:])
        last = self.start(path)
        end()
        self.wait_equal(last)
        self.assertEqual(last.stop(), OK)

    def test_group(self):
        """Three of a group: one is killed, one is stopped for longer than its session and its transaction and goes on then,
        others join."""
        path = self.write_unit()
        self.produce(0, 1000)
        end = self.traffic()
        group = [self.start(path) for _ in range(3)]

        def deals(agent):
            return [line["partitions"] for line in agent.lines() if line["msg"] == "partitions are dealt out"]

        def share():
            return sum(deals(agent)[-1] for agent in group if deals(agent)) == PARTITIONS and all(deals(agent) for agent in group)

        wait_until(share, SOON_SECONDS, "all have some")
        group.pop().kill()
        group.append(self.start(path))
        wait_until(share, SOON_SECONDS, "all have some")
        stopped = group[0]
        stopped.process.send_signal(signal.SIGSTOP)
        before = len(deals(group[1]))
        wait_until(lambda: len(deals(group[1])) > before, SOON_SECONDS, "the others take over", group[1].alive)
        held_until = time.monotonic() + TRANSACTION_MS / 1000  # the cluster gives up what it left open: no event tells of it
        wait_until(lambda: time.monotonic() > held_until, SOON_SECONDS, "its transaction is too old")
        before = len(deals(group[1]))
        stopped.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(deals(group[1])) > before, SOON_SECONDS, "it comes back", stopped.alive)
        end()
        self.wait_equal(*group)
        for agent in group:
            self.assertEqual(agent.stop(), OK, agent.text()[-2000:])
        self.assertEqual(sum(map(len, self.arrived().values())), sum(map(len, self.sent.values())))

    def test_deleted(self):
        """Records that were deleted before they were read; and a topic that was deleted and made again, while nobody reads it and
        while somebody does: it begins anew."""
        path = self.write_unit()
        self.produce(0, 40)
        agent = self.start(path)
        self.wait_equal(agent)
        self.assertEqual(agent.stop(), OK)
        for at in range(20):
            self.send(1, None, b"{}", (), BASE_MS, wanted=False)
        self.producer.flush()
        self.broker.delete_records(self.source, 1, 25)
        refused = self.start(path)
        self.assertEqual(refused.wait(), REFUSED)
        self.assertIn("TopicTruncated", refused.text())
        self.assertIn(f"delete the consumer group firn-default-{self.name}", refused.text())
        self.broker.drop_topic(self.source)
        self.broker.create_topic(self.source, PARTITIONS)
        self.produce(100, 40)
        again = self.start(path)
        self.wait_equal(again)
        self.broker.drop_topic(self.source)
        self.broker.create_topic(self.source, PARTITIONS)
        self.produce(200, 400)  # more than it has read of the one before
        self.wait_equal(again)
        self.assertEqual(again.stop(), OK)


if __name__ == "__main__":
    unittest.main()
