"""firn-agent capture with a spool: the broker is away for longer than the source would keep its log, the agent is killed
at each point of the spool's way and at random, and in the end every topic, folded by key, is its table; with
Transactional nothing came twice."""

import os
import signal
import unittest
from pathlib import Path

from harness.agent import REFUSED
from harness.relay import RelayCase
from harness.shop import Traffic
from harness.wait import wait_until

KEPT = 64 << 20
POINTS = {phase: [line.split()[0] for line in (Path(__file__).parent / "crash_points").read_text().splitlines() if line.split()[1] == phase]
          for phase in ("relay-spool", "relay-spool-out")}  # fmt: skip


class Spool(RelayCase):
    rows = 1500
    settings = {"max_slot_wal_keep_size": "'64MB'", "min_wal_size": "'32MB'"}

    def setUp(self):
        super().setUp()
        os.environ["FIRN_STALLED_MS"] = "1000"
        self.addCleanup(os.environ.pop, "FIRN_STALLED_MS")
        self.spool = self.folder / "spool"
        self.addCleanup(self.bring_broker_back)

    def bring_broker_back(self):
        if self.broker.process.poll() is not None:
            self.broker.start_again()

    def write(self, delivery="Idempotent", most="1Gi", **more):
        self.write_manifest(delivery=delivery, stream=f"    spool: {{directory: {self.spool}, maxBytes: {most}}}\n", **more)

    def change(self, steps=10):
        for _ in range(steps):
            self.changes.step()

    def files(self) -> list[Path]:
        return sorted(self.spool.glob("*.spool"))

    def wait_empty(self, agent):
        wait_until(lambda: not self.files(), 60, "the spool is given", agent.alive)

    def strike(self, point: str):
        agent = self.start(crash_at=point)

        def over():
            if agent.process.poll() is None:
                self.change(2)
            return agent.process.poll() is not None

        wait_until(over, 60, f"{point} strikes")
        self.assertEqual(agent.wait(), -signal.SIGKILL, agent.text()[-2000:])
        self.assertTrue(agent.struck(), agent.text()[-2000:])

    def away(self, delivery: str):
        self.make_shop()
        self.changes = Traffic(self.connection, 3, bulk=False)
        self.write(delivery)
        agent = self.start()
        self.wait_agreed(agent)
        self.change()
        self.broker.kill()
        began = self.postgres.wal_end()
        self.change()
        self.wait_agreed(agent)  # the source is told, though Kafka has nothing of it
        self.assertIn("KafkaStalled", agent.text())
        self.assertTrue(self.files())
        agent.kill()
        for point in POINTS["relay-spool"]:
            self.strike(point)
        agent = self.start()  # without a broker
        while self.postgres.wal_end() - began < 1.5 * KEPT:
            self.change()
            self.postgres.execute("select pg_switch_wal()")
            self.wait_agreed(agent)
            self.postgres.execute("checkpoint")
        self.assertIn(self.postgres.execute("select wal_status from pg_replication_slots")[0][0], ("reserved", "extended"))
        agent.kill()
        self.assert_damage_is_found()
        return self.start()

    def assert_damage_is_found(self):
        first = self.files()[0]
        whole = first.read_bytes()
        first.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-2000:])
        self.assertIn("SpoolDamaged", agent.text())
        self.assertEqual([path.name for path in self.files()][:1], [first.name])  # nothing is thrown away
        first.write_bytes(whole)

    def back(self, agent, delivery: str):
        agent.kill()
        self.broker.start_again()
        for point in POINTS["relay-spool-out"]:
            if not self.files():
                break
            self.strike(point)
        agent = self.start()
        self.change()
        self.wait_agreed(agent)
        self.wait_empty(agent)
        self.change()
        self.wait_agreed(agent)
        self.wait_empty(agent)  # a machine that stalls for a moment may have sent them by the spool
        self.assert_stopped(agent)
        self.assert_equal(repeats=delivery == "Idempotent")

    def test_idempotent(self):
        self.back(self.away("Idempotent"), "Idempotent")

    def test_transactional(self):
        self.back(self.away("Transactional"), "Transactional")

    def test_full_and_back(self):
        """More than the spool holds: the source keeps the rest. A running agent goes through both by itself."""
        self.make_shop(300)
        self.changes = Traffic(self.connection, 3, bulk=False)
        self.write(most="1Mi")
        agent = self.start()
        self.wait_agreed(agent)
        self.broker.kill()
        self.change()
        self.wait_agreed(agent)

        def is_full():
            if "the spool is full" in agent.text():
                return True
            self.connection.execute("update customers set notes = repeat(md5(random()::text), 200)")
            return False

        wait_until(is_full, 60, "the spool is full", agent.alive)
        self.assertLess(sum(path.stat().st_size for path in self.files()), 2 << 20)
        self.broker.start_again()
        self.wait_agreed(agent)
        self.wait_empty(agent)
        self.connection.execute("alter table products add column origin text; update products set origin = 'here' where sku < 'sku-000005'")
        self.wait_agreed(agent)
        self.wait_empty(agent)
        self.assert_stopped(agent)
        self.assert_equal()

    def test_folder(self):
        self.make_shop(300)
        self.write_manifest(stream="    spool: {directory: /proc/nothing/here}\n")
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-2000:])
        self.assertIn("SpoolFolder", agent.text())


if __name__ == "__main__":
    unittest.main()
