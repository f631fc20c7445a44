"""More partitions for topics that have rows (spec.stream.kafka.partitions raised, or somebody adds some): who waits at the
barrier reads each key's records in order, whatever moment the agent dies at."""

import signal
import unittest

from confluent_kafka.admin import AdminClient, NewPartitions

from harness.relay import RelayCase
from harness.shop import TABLES


class Grow(RelayCase):
    rows = 1000

    def grow(self, delivery: str):
        self.make_shop()
        self.write_manifest(partitions=2, delivery=delivery)
        agent = self.start()
        with self.traffic(bulk=False):
            self.wait_agreed(agent)
            agent.kill()  # what it had sent and not confirmed comes again, to other partitions
            self.write_manifest(partitions=5, delivery=delivery)
            for point in ("relay-epoch-marked", "relay-epoch-grown", "relay-epoch-new"):
                agent = self.start(crash_at=point)
                self.assertEqual(agent.wait(), -signal.SIGKILL, f"{point}: {agent.text()[-2000:]}")
                self.assertTrue(agent.struck(), point)
            agent = self.start()
            self.wait_agreed(agent)
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        topics = self.assert_equal(repeats=delivery == "Idempotent")
        for topic in topics.values():
            self.assertEqual(set(topic.epochs), {(1, partition) for partition in range(5)})
        self.assertEqual({message.partition() for message in topics["order_lines"].messages}, set(range(5)))
        return topics

    def test_idempotent(self):
        self.grow("Idempotent")
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        for done in admin.create_partitions([NewPartitions(f"{self.prefix}.public.{table}", 6) for table in TABLES]).values():
            done.result()
        agent = self.start()
        self.connection.execute("update products set stock = stock + 1; delete from order_lines where order_id % 3 = 0")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        for topic in self.assert_equal().values():
            self.assertEqual({partition for epoch, partition in topic.epochs if epoch == 2}, set(range(6)))
        again = self.start()  # nothing more to be done
        self.wait_agreed(again)
        self.assert_stopped(again)
        self.assertNotIn("more partitions", again.text())

    def test_transactional(self):
        self.grow("Transactional")

    def test_compacted(self):
        """Its keys can't move, and don't."""
        self.make_shop()
        self.write_manifest(partitions=2, kafka="cleanupPolicy: Compact")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.write_manifest(partitions=3, kafka="cleanupPolicy: Compact")
        agent = self.start()
        self.connection.execute("update products set stock = stock + 1")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assertIn("a compacted topic keeps the partitions", agent.text())
        for topic in self.assert_equal().values():
            self.assertLessEqual({message.partition() for message in topic.messages}, {0, 1})


if __name__ == "__main__":
    unittest.main()
