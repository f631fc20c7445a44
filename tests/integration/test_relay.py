"""firn-agent capture: a live shop into Kafka's topics. Every topic, replayed from its beginning and folded by key, is the
source's table, in order per key; what comes twice comes with the same position and says the same."""

import json
import os
import signal
import threading
import time
import unittest

from harness.agent import OK, REFUSED
from harness.kafka import Registry
from harness.postgres_proxy import PostgresProxy
from harness.relay import AGREE_SECONDS, Header, RelayCase
from harness.shop import TABLES
from harness.wait import wait_until

PARTITIONS = 3


class Relay(RelayCase):
    def test_copy_and_stream(self):
        self.make_shop()
        self.write_manifest(partitions=PARTITIONS)
        agent = self.start(http=True)
        with self.traffic():
            agent.wait_ready()
            self.wait_agreed(agent)
        self.wait_agreed(agent)
        topics = self.assert_equal(repeats=False)
        records = sum(topic.ops.total() for topic in topics.values())  # markers come on top
        acknowledged = 'firn_stream_acknowledged_records{connector="default/shop"}'
        wait_until(lambda: agent.metrics().get(acknowledged, 0) > records, 90, f"more than {records} acknowledged records are shown")
        self.assertEqual(agent.metrics()['firn_dead_letters_total{connector="default/shop"}'], 0)
        self.assert_stopped(agent)
        for topic in topics.values():
            self.assertEqual(topic.copied, {partition: 1 for partition in range(PARTITIONS)})
            self.assertEqual(topic.snapshots["last_in_data_collection"] + topic.snapshots["last"], 1)
            self.assertEqual(topic.snapshots["first_in_data_collection"] + topic.snapshots["first"], 1)
        self.assertEqual(sum(topic.snapshots["first"] for topic in topics.values()), 1)
        self.assertEqual(sum(topic.snapshots["last"] for topic in topics.values()), 1)
        self.assertGreater(sum(topic.ops["d"] for topic in topics.values()), 0)
        self.assertGreater(sum(topic.ops["u"] for topic in topics.values()), 0)
        again = self.start()  # from where it stopped: nothing comes twice
        self.wait_agreed(again)
        self.assert_stopped(again)
        self.assert_equal(repeats=False)

    def test_avro(self):
        self.registry = Registry()
        self.registry.start()
        self.addCleanup(self.registry.stop)
        self.make_shop()
        self.write_manifest()
        agent = self.start()
        with self.traffic():
            self.wait_agreed(agent)
        self.wait_agreed(agent)
        self.connection.execute("alter table customers add column vip boolean; update customers set vip = id % 2 = 0 where id < 20")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assert_equal()
        subjects = self.registry.ask("GET", "/subjects")
        for table in TABLES:
            for part in ("key", "value"):
                self.assertIn(f"{self.prefix}.public.{table}-{part}", subjects)

    def test_transactional(self):
        self.make_shop()
        self.write_manifest(delivery="Transactional")
        agent = self.start(http=True)
        with self.traffic():
            self.wait_agreed(agent)
        self.wait_agreed(agent)
        self.assertGreater(agent.metrics()['firn_stream_transactions_total{connector="default/shop"}'], 3)
        self.assert_stopped(agent)
        self.assert_equal(repeats=False)

    def test_columns_and_truncate(self):
        self.make_shop(500)
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("alter table products add column origin text; update products set origin = 'here' where sku < 'sku-000005'")
        self.connection.execute("alter table customers rename column notes to remarks; update customers set remarks = 'renamed' where id < 9")
        self.connection.execute("create table passing (id int primary key, word text); insert into passing values (1, 'a'), (2, 'b')")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.connection.execute("alter table products drop column weight_kg; update products set stock = stock + 1 where sku < 'sku-000004'")
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("truncate passing; insert into passing values (3, 'c')")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assertEqual(self.topic("passing").ops["t"], PARTITIONS)
        self.assert_equal(("orders", "order_lines", "products", "passing"))
        customers = self.topic("customers").rows
        self.assertEqual({row["remarks"] for row in customers.values() if row["id"] < 9}, {"renamed"})
        written = [(Header(message).version, json.loads(message.value())) for message in self.topic("products").messages if message.value()]
        versions = {version: set(value["after"]) for version, value in written if value["after"]}
        self.assertEqual(sorted(versions), [1, 2, 3])
        self.assertEqual(versions[2] - versions[1], {"origin"})
        self.assertEqual(versions[2] - versions[3], {"weight_kg"})

    def test_declared_keys(self):
        """By what is declared, in place of the primary key and where there is none; also when it is renamed."""
        self.make_shop(500)
        self.connection.execute(
            "alter table orders replica identity full; create table visits (page text not null, at int, who text);"
            "alter table visits replica identity full; insert into visits select 'p' || i % 50, i, 'w' || i from generate_series(1, 500) i"
        )
        declared = '  records: {keyColumns: [{table: "public.visits", columns: [page, at]}, {table: "*.orders", columns: [customer_id, id]}]}'
        indented = f"  {declared}\n"
        self.write_manifest(stream=indented)
        agent = self.start()
        self.wait_agreed(agent)
        with self.traffic():
            self.connection.execute("update visits set at = at + 1000 where at % 3 = 0; delete from visits where at % 7 = 0")
            self.connection.execute("update orders set customer_id = customer_id % 20 + 1 where id % 2 = 0")
            self.wait_agreed(agent)
            self.assert_equal(["visits"], repeats=False)
            self.connection.execute("truncate visits; alter table visits rename column page to place")
            self.connection.execute("insert into visits select 'q' || i % 5, i, 'new' from generate_series(1, 90) i")
            self.connection.execute("update visits set place = place || '!' where at < 40; delete from visits where at > 80")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        topics = self.assert_equal((*TABLES, "visits"), repeats=False)
        keys = {json.dumps(sorted(json.loads(message.key()))) for message in topics["orders"].messages if message.key()}
        self.assertEqual(keys, {'["customer_id", "id"]'})
        agent = self.start()  # the name is another one
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.assertIn("UnknownColumn", agent.text())
        self.write_manifest(stream=indented.replace("page", "place"))
        agent = self.start()
        self.connection.execute("delete from visits where at > 70")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assert_equal((*TABLES, "visits"))
        self.write_manifest(stream=indented.replace("page, at", "at"))
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.assertIn("TopicRekeyed", agent.text())
        agent = self.start(arguments=["--resnapshot", "public.visits"])
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        visits = self.assert_equal(["visits"])["visits"]
        self.assertEqual(visits.ops["t"], 2 * PARTITIONS)

    def test_table_added(self):
        self.make_shop(500)
        self.write_manifest()
        os.environ["FIRN_LOOK_MS"] = "200"
        self.addCleanup(os.environ.pop, "FIRN_LOOK_MS")
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("create table later as select i as id, 'n' || i as name from generate_series(1, 500) i; alter table later add primary key (id)")
        wait_until(lambda: f"{self.prefix}.public.later" in self.broker.topics(), 60, "the table is found", agent.alive)
        self.connection.execute("update later set name = 'changed' where id < 100")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assert_equal((*TABLES, "later"))

    def test_modes(self):
        self.make_shop(500)
        self.write_manifest(snapshot="Only")
        self.assertEqual(self.start().wait(), OK)
        self.assert_equal(repeats=False)
        self.prefix += "never"
        self.write_manifest(snapshot="Never", slot="never", publication="never")
        agent = self.start()
        wait_until(lambda: "columns" in agent.text() or self.postgres.slot("never"), 60, "the slot is there", agent.alive)
        self.wait_agreed(agent, slot="never")
        self.connection.execute("update customers set visits = 7 where id = 3")
        self.wait_agreed(agent, slot="never")
        self.assert_stopped(agent)
        customers = self.topic("customers")
        self.assertEqual((customers.ops["r"], customers.ops["u"]), (0, 1))

    def test_broker_restarts(self):
        self.make_shop()
        for delivery in ("Idempotent", "Transactional"):
            with self.subTest(delivery):
                self.prefix += delivery
                self.write_manifest(delivery=delivery, slot=delivery.lower(), publication=delivery.lower())
                agent = self.start()
                with self.traffic():
                    self.wait_agreed(agent, slot=delivery.lower())
                    self.broker.restart()
                    self.wait_agreed(agent, slot=delivery.lower())
                self.wait_agreed(agent, slot=delivery.lower())
                self.assert_stopped(agent)
                self.assert_equal(repeats=delivery == "Idempotent")

    def test_zombie(self):
        """A process that was thought dead wakes: what it had not sent it never sends."""
        self.make_shop(500)
        self.write_manifest(delivery="Transactional")
        first = self.start()
        with self.traffic():
            self.wait_agreed(first)
            first.process.send_signal(signal.SIGSTOP)
            self.postgres.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active")
            second = self.start()
            self.wait_agreed(second)
            first.process.send_signal(signal.SIGCONT)
            wait_until(lambda: first.process.poll() is not None or "SlotActive" in first.text(), 60, "it notices")
            if first.process.poll() is None:
                first.kill()  # it had lost the source first, and waits for the slot
            else:
                self.assertNotEqual(first.process.returncode, OK)
                self.assertIn("Fenced", first.text())
            second.alive()
            self.wait_agreed(second)
        self.wait_agreed(second)
        self.assert_stopped(second)
        self.assert_equal(repeats=False)

    def test_another_goes_on_meanwhile(self):
        """A process that sleeps between its looks at the slot and at the topics does not take it for a loss when
        another one went on."""
        self.make_shop(500)
        self.write_manifest()
        first = self.start()
        self.wait_agreed(first)
        self.assert_stopped(first)
        sleeps, wakes = threading.Event(), threading.Event()

        def asked(statement: str):
            if "confirmed_flush_lsn, restart_lsn" in statement and not sleeps.is_set():
                sleeps.set()
                wakes.wait(AGREE_SECONDS)

        with PostgresProxy(self.postgres.port, asked=asked) as proxy:
            self.write_manifest(port=proxy.port)
            slow = self.start()
            wait_until(sleeps.is_set, 60, "it asks where the slot is", slow.alive)
            self.write_manifest()
            other = self.start()
            self.connection.execute("update customers set visits = visits + 1")
            self.wait_agreed(other)
            wakes.set()
            wait_until(lambda: "SlotActive" in slow.text(), 60, "it finds the slot taken", slow.alive)
            slow.kill()
        other.alive()
        self.assert_stopped(other)
        self.assert_equal(repeats=False)

    def test_slot_gone(self):
        self.make_shop(500)
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.postgres.drop_slots("firn")
        self.connection.execute("delete from order_lines where order_id < 20")
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.assertIn("SlotMissing", agent.text())
        agent = self.start(arguments=["--resnapshot", "*.*"])
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        topics = self.assert_equal()
        self.assertEqual(topics["order_lines"].ops["t"], PARTITIONS)
        # the same asked for beside the manifest: once for its id, whatever kills the agent meanwhile
        self.lose_slot("delete from order_lines where order_id < 40")
        orders = self.folder / "orders.json"
        orders.write_text('{"orders": {"resnapshot": "public.orders less alice"}}')
        self.refused("--orders", orders)
        orders.write_text('{"orders": {"resnapshot": "*.* first alice"}}')
        agent = self.start(crash_at="relay-copy-begun", arguments=["--orders", orders])
        self.assertEqual(agent.wait(), -signal.SIGKILL, agent.text())
        self.assertTrue(agent.struck())
        agent = self.start(arguments=["--orders", orders])
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assertNotIn("beside the stream", agent.text())
        self.assertEqual(self.assert_equal()["order_lines"].ops["t"], 2 * PARTITIONS)
        self.lose_slot("delete from order_lines where order_id < 60")
        self.refused("--orders", orders)

    def lose_slot(self, change: str):
        self.postgres.drop_slots("firn")
        self.connection.execute(change)

    def refused(self, *arguments):
        agent = self.start(arguments=arguments)
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.assertIn("SlotMissing", agent.text())


MEGA = 1 << 20


class BrokerAway(RelayCase):
    """Nothing takes the rows, and there is no spool: they wait at the source, which is answered and watched."""

    PATIENCE_SECONDS = 20  # the server's, with who reads its log: longer than a busy machine stands still
    settings = {"wal_sender_timeout": f"'{PATIENCE_SECONDS}s'", "max_slot_wal_keep_size": "'1GB'"}
    rows = 300

    def watched(self, agent) -> dict[str, float]:
        return {series.split("{")[0]: value for series, value in agent.metrics().items() if series.startswith("firn_log_")}

    def test_memory_and_log(self):
        self.make_shop()
        self.connection.execute("create table wide (id int primary key, text text)")
        path = self.write_manifest()
        path.write_text(path.read_text().replace("    tls: ", "    heartbeat: {interval: 1s}\n    tls: "))
        agent = self.start(http=True)
        self.wait_agreed(agent)
        wait_until(lambda: "firn_log_headroom_bytes" in self.watched(agent), 90, "the log is measured", agent.alive)
        before, headroom = agent.memory()["peak"], self.watched(agent)["firn_log_headroom_bytes"]
        self.broker.kill()
        away = time.monotonic()
        for first in range(0, 88, 8):
            self.connection.execute(
                f"insert into wide select i, repeat(md5(i::text), 32) from generate_series({first * 1000 + 1}, {first * 1000 + 8000}) i")
        wait_until(lambda: self.watched(agent).get("firn_log_retained_bytes", 0) > 80 * MEGA, 60, "the log that is kept grows", agent.alive)

        def answered_for_long():
            self.assertTrue(self.postgres.slot("firn")["active"], agent.text()[-2000:])
            return time.monotonic() - away > 1.5 * self.PATIENCE_SECONDS

        wait_until(answered_for_long, 60, "the server lost its patience, if it was to", agent.alive)
        self.assertLess(self.watched(agent)["firn_log_headroom_bytes"], headroom - 80 * MEGA)
        self.assertLess(agent.memory()["peak"] - before, 32 * MEGA)
        self.broker.start_again()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assert_equal((*TABLES, "wide"))


if __name__ == "__main__":
    unittest.main()
