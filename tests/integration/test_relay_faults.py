"""firn-agent capture under live traffic while everything around it has a bad day: kill -9 at points and at random, with
Transactional a zombie that wakes (Idempotent's sends what it had, late), the broker killed and started again, connections
to Kafka and to the source that are cut, reset, slow or hang, and with Avro a registry that answers 503. In the end every
topic, folded by key, is its table, in order per key; what came twice came with the same position, and with Transactional
nothing did.

FIRN_FAULTS (10) of them, half of them with each delivery; FIRN_SEED makes a run again."""

import os
import random
import signal
import time
import unittest
from collections import Counter
from pathlib import Path

from harness.fault_proxy import TCP_KINDS, FaultProxy
from harness.kafka import Registry
from harness.kafka_secure import FaultyBroker
from harness.relay import RelayCase
from harness.wait import wait_until

FAULTS = int(os.environ.get("FIRN_FAULTS", "10"))
SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
STRIKE_SECONDS = 300  # limits are for what hangs: a pause between two attempts is up to half a minute
AGREE_SECONDS = 300
POINTS = [line.split()[0] for line in (Path(__file__).parent / "crash_points").read_text().splitlines()
          if line.split()[1] in ("relay-stream", "relay-transaction") and line.split()[2] == "many"]  # fmt: skip
OF_IDEMPOTENT = {"relay-acknowledged", "relay-state-written"}
OF_TRANSACTIONAL = {"relay-before-commit", "relay-committed"}


class Faults(RelayCase):
    rows = 2000
    settings = {"logical_decoding_work_mem": "'64kB'"}
    broker_kind = FaultyBroker
    struck: Counter = Counter()
    said: list[str] = []

    def setUp(self):
        super().setUp()
        self.make_shop()
        self.source = FaultProxy("127.0.0.1", self.postgres.port, http=False).start()
        self.addCleanup(self.source.stop)

    def write(self, **fields):
        self.write_manifest(self.broker.at("FAULTS"), port=self.source.port, **fields)

    def settle(self):
        self.wait_agreed(self.agent, AGREE_SECONDS)

    # --- faults, each seen to strike ---

    def kill(self):
        time.sleep(self.dice.uniform(0.05, 2))  # a moment is what is wanted, not that something is over
        self.agent.kill()
        self.agent = self.start()

    def point(self):
        of_other = OF_IDEMPOTENT if self.delivery == "Transactional" else OF_TRANSACTIONAL
        point = self.dice.choice([name for name in POINTS if name not in of_other])
        self.agent.kill()
        agent = self.start(crash_at=f"{point}:{self.dice.randint(1, 4)}")
        wait_until(lambda: agent.process.poll() is not None, STRIKE_SECONDS, f"{point} strikes")
        self.assertTrue(agent.struck(), f"{point}: {agent.text()[-2000:]}")
        self.agent = self.start()

    def zombie(self):
        """Stopped, replaced, and awake again while the other one writes."""
        old = self.agent
        old.process.send_signal(signal.SIGSTOP)
        self.postgres.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active")
        self.agent = self.start()
        self.settle()
        before = len(old.text())
        old.process.send_signal(signal.SIGCONT)
        one_ended = lambda: any(agent.process.poll() is not None for agent in (old, self.agent))  # noqa: E731
        wait_until(lambda: one_ended() or "SlotActive" in old.text()[before:], STRIKE_SECONDS, "one of both notices")
        if self.agent.process.poll() is not None:  # the old one was stopped just before it opened Kafka, and goes on with that
            self.assertIn("Fenced", self.agent.text())
            self.agent = old
            return
        old.process.kill()
        if old.wait() != -signal.SIGKILL:
            self.assertIn("Fenced", old.text())
        try:
            self.settle()
        except AssertionError:  # the old one had opened Kafka before it saw that the slot is taken, and the young one learns it now
            if self.agent.process.poll() is None:
                raise
            self.assertIn("Fenced", self.agent.text())
            self.agent = self.start()

    def broker_restart(self):
        self.broker.restart()

    def network(self, proxy: FaultProxy, kinds=TCP_KINDS):
        before = len(proxy.struck)
        proxy.random(self.dice.randrange(10**6), 0.05, [self.dice.choice(kinds)], seconds=1, bytes_per_second=5_000)
        wait_until(lambda: len(proxy.struck) > before, STRIKE_SECONDS, "a fault strikes the connection", self.agent.alive)
        time.sleep(0.2)  # more of the same
        proxy.calm()

    def kafka_network(self):
        self.network(self.broker.proxy)

    def source_network(self):
        self.network(self.source)

    def registry_away(self):
        before = len(self.registry_proxy.struck)
        self.registry_proxy.random(self.dice.randrange(10**6), 0.7, ["answer", "cut", "swallow"])
        self.agent.kill()
        self.agent = self.start()  # which asks for every schema
        wait_until(lambda: len(self.registry_proxy.struck) > before, STRIKE_SECONDS, "the registry is away", self.agent.alive)
        self.registry_proxy.calm()

    # --- the run ---

    def run_of(self, delivery: str, count: int, *more):
        self.delivery, self.dice = delivery, random.Random(SEED + len(delivery))
        self.write(delivery=delivery)
        self.agent = self.start()
        kinds = [self.kill, self.point, self.broker_restart, self.kafka_network, self.source_network, *more]
        kinds.reverse()  # those of this delivery are among the few, too
        faults = (kinds * (count // len(kinds) + 1))[:count]
        self.dice.shuffle(faults)
        struck = Counter()
        with self.traffic(SEED, bulk=False):
            self.settle()
            for number, fault in enumerate(faults, 1):
                with self.subTest(fault=fault.__name__, number=number):
                    fault()
                    struck[fault.__name__] += 1
                if number % 5 == 0:
                    self.settle()
        self.settle()
        self.assert_stopped(self.agent)
        topics = self.assert_equal(repeats=delivery == "Idempotent")
        Faults.struck += struck
        records = sum(len(topic.messages) for topic in topics.values())
        Faults.said.append(f"{delivery}{', Avro' if self.registry else ''}: {', '.join(f'{name} {times}' for name, times in sorted(struck.items()))};"
                           f" {records} records, {sum(topic.repeated for topic in topics.values())} of them came twice")  # fmt: skip
        print(f"seed {SEED}, {Faults.said[-1]}", flush=True)

    def test_idempotent(self):
        if FAULTS < 20:
            return self.run_of("Idempotent", FAULTS // 2)
        self.registry_proxy = None
        real = Registry()
        real.start()
        self.addCleanup(real.stop)
        self.registry_proxy = FaultProxy("127.0.0.1", real.port).start()
        self.addCleanup(self.registry_proxy.stop)

        class Through:
            url = real.url.replace(str(real.port), str(self.registry_proxy.port))
            read_avro = real.read_avro

        self.registry = Through
        return self.run_of("Idempotent", FAULTS // 2, self.registry_away)

    def test_transactional(self):
        self.run_of("Transactional", FAULTS - FAULTS // 2, self.zombie)


if __name__ == "__main__":
    unittest.main()
