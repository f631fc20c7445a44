"""Four `firn-agent ingest` of one group, with live traffic, while everything around them has a bad day: kill -9 and SIGSTOP
of any of them and of the one that commits, rebalances, the broker killed and started again, connections to it that are cut,
reset, slow or hang, and a catalog whose answers get lost. In the end every table is the source's by an engine that is not
ours, and of its snapshots none repeats another one's interval.

FIRN_FAULTS (15) of them; FIRN_SEED makes a run again."""

import os
import random
import signal
import tempfile
import time
import unittest
from collections import Counter
from pathlib import Path

from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

from harness import shop
from harness.fault_proxy import TCP_KINDS, Fault
from harness.ingest import IngestCase
from harness.kafka import SESSION_MS
from harness.kafka_secure import FaultyBroker
from harness.place import Place
from harness.wait import TimedOut, wait_until

FAULTS = int(os.environ.get("FIRN_FAULTS", "15"))
SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
CONSUMERS = 4
STRIKE_SECONDS = 120
TABLE = "orders"  # whose group is looked at


class Faults(IngestCase):
    rows = 2000
    broker_kind = FaultyBroker
    struck: Counter = Counter()
    said: list[str] = []

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="firn-lake-"))
        cls.place = Place("rest-files", Path(folder)).start()
        cls.addClassCleanup(cls.place.stop)

    def setUp(self):
        os.environ["FIRN_SESSION_MS"] = SESSION_MS
        self.addCleanup(os.environ.pop, "FIRN_SESSION_MS", None)
        super().setUp()

    # --- who does what ---

    def dealt(self, agent) -> list[dict]:
        """How often the table's partitions were dealt to it, and what it got."""
        return [line for line in agent.lines() if line["msg"] == "partitions are dealt out" and line["table"] == f"public.{TABLE}"]

    def coordinator(self) -> int:
        """Of those that live the one whose deal is the latest of those that say so."""
        found = []

        def known():
            found[:] = [(dealt[-1]["generation"], at) for at, agent in enumerate(self.group)
                        if (dealt := self.dealt(agent)) and dealt[-1]["commits"] == "yes"]  # fmt: skip
            return found

        self.wait(known, "somebody commits", self.alive)
        return max(found)[1]

    def wait(self, condition, what: str, check=None):
        """As wait_until; what everybody said last, where it comes to nothing."""
        try:
            wait_until(condition, STRIKE_SECONDS, what, check)
        except TimedOut as error:
            said = "\n".join(f"consumer {at}:\n{agent.text()[-3000:]}" for at, agent in enumerate(self.group))
            raise TimedOut(f"{error}\n{said}") from None

    def alive(self):
        for agent in self.group:
            agent.alive()

    def generation(self, at: int) -> int:
        """Of the table's group, when it had partitions last: less than others' while it begins anew."""
        return max((line["generation"] for line in self.dealt(self.group[at])), default=0)

    def dealt_to_others(self, at: int) -> int:
        return sum(len(self.dealt(agent)) for number, agent in enumerate(self.group) if number != at)

    def is_there(self) -> bool:
        """In the catalog: its folder is there before."""
        try:
            return bool(self.lake_table(TABLE))
        except (NoSuchTableError, NoSuchNamespaceError):
            return False

    def wait_committed(self):
        """The table goes on: two more commits, of which one at least was begun after this was called."""
        before = self.lake_table(TABLE).metadata["last-sequence-number"]
        self.wait(lambda: self.lake_table(TABLE).metadata["last-sequence-number"] >= before + 2, "the table goes on",
                  self.alive)  # fmt: skip

    # --- faults, each seen to strike ---

    def kill(self, at: int = None):
        at = self.dice.randrange(CONSUMERS) if at is None else at
        self.group[at].kill()
        self.group[at] = self.ingest()

    def kill_who_commits(self):
        self.kill(self.coordinator())

    def sleep(self, at: int = None):
        """Until the others have its partitions; then it wakes, and goes on with what it had."""
        at = self.dice.randrange(CONSUMERS) if at is None else at
        self.wait(lambda: self.generation(at) == max(map(self.generation, range(CONSUMERS))), "it is one of the group", self.alive)
        before = self.dealt_to_others(at)
        os.kill(self.group[at].process.pid, signal.SIGSTOP)
        try:
            self.wait(lambda: self.dealt_to_others(at) > before, "others take its partitions")
            if self.dice.random() < 0.5:
                self.wait_committed_by_others(at)
        finally:
            os.kill(self.group[at].process.pid, signal.SIGCONT)

    def wait_committed_by_others(self, at: int):
        before = self.lake_table(TABLE).metadata["last-sequence-number"]
        self.wait(lambda: self.lake_table(TABLE).metadata["last-sequence-number"] > before, "others commit")

    def sleep_who_commits(self):
        self.sleep(self.coordinator())

    def rebalance(self):
        """One more joins, and leaves as soon as it has partitions."""
        before = [len(self.dealt(agent)) for agent in self.group]
        other = self.ingest()
        self.wait(lambda: self.dealt(other), "partitions are dealt to one more", self.alive)
        self.assert_stopped(other)
        self.wait(lambda: all(len(self.dealt(agent)) > count for agent, count in zip(self.group, before)),
                  "partitions are dealt out anew", self.alive)  # fmt: skip

    def broker_restart(self):
        self.broker.restart()

    def network(self):
        proxy = self.broker.proxy
        before = len(proxy.struck)
        proxy.random(self.dice.randrange(10**6), 0.05, [self.dice.choice(TCP_KINDS)], seconds=1, bytes_per_second=5_000)
        self.wait(lambda: len(proxy.struck) > before, "a fault strikes the connection", self.alive)
        proxy.calm()

    def catalog_answer_lost(self):
        """The commit took effect, and nobody is told; or it did not, and nobody knows."""
        proxy = self.place.rest_proxy
        before = len(proxy.struck)
        proxy.plan([Fault(kind, method="POST", path=f"/tables/{TABLE}$")
                    for kind in self.dice.sample(["swallow", "truncate", "cut"], 2)])  # fmt: skip
        self.wait(lambda: len(proxy.struck) >= before + 2, "the catalog's answers are lost", self.alive)
        proxy.calm()

    # --- the run ---

    def test_faults(self):
        print(f"seed {SEED}", flush=True)  # of a run that fails, too
        self.dice = random.Random(SEED)
        self.make_shop()
        self.write_manifest(self.broker.at("FAULTS"), partitions=6, interval="500ms")
        kinds = [self.kill, self.kill_who_commits, self.sleep, self.sleep_who_commits, self.rebalance, self.broker_restart,
                 self.network, self.catalog_answer_lost]  # fmt: skip
        faults = (kinds * (FAULTS // len(kinds) + 1))[:FAULTS]
        self.dice.shuffle(faults)
        begun = time.monotonic()
        with self.traffic(SEED, bulk=False):
            capture = self.start()
            self.group = [self.ingest() for _ in range(CONSUMERS)]
            self.wait(self.is_there, "there is a table", self.alive)
            for number, fault in enumerate(faults, 1):
                fault()
                Faults.struck[fault.__name__] += 1
                self.wait_committed()
                self.assert_forward(TABLE)  # snapshots are thinned in time: no later look would find all of them
        self.wait_agreed(capture)
        self.wait_equal(capture, *self.group, seconds=240)
        for table in shop.TABLES:
            self.assert_forward(table)
        self.assertEqual(sum(Faults.struck.values()), FAULTS)
        snapshots = len(self.lake_table(TABLE).snapshots)
        Faults.said.append(f"{', '.join(f'{name} {times}' for name, times in sorted(Faults.struck.items()))}; {snapshots} snapshots of {TABLE};"
                           f" {time.monotonic() - begun:.0f} s")  # fmt: skip
        print(Faults.said[-1], flush=True)
        for agent in [*self.group, capture]:
            self.assert_stopped(agent)


if __name__ == "__main__":
    unittest.main()
