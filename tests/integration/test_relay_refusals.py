"""What firn-agent capture says when something is wrong with Kafka or the registry, and that nothing is lost by it: the
source keeps what was not confirmed, and it goes on when it is mended."""

import http.server
import json
import threading
import unittest

from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, ResourceType

from harness.agent import REFUSED, command
from harness.kafka import Registry
from harness.kafka_secure import PASSWORD, USER
from harness.process import free_port
from harness.relay import ROW, Header, RelayCase
from harness.wait import wait_until

LOGIN = "security: {protocol: SASL_PLAINTEXT, mechanism: PLAIN, credentialsSecretRef: {name: kafka}}"


class Refusals(RelayCase):
    rows = 300

    def setUp(self):
        super().setUp()
        self.make_shop()

    def assert_refused(self, reason: str, *words: str, **options):
        agent = self.start(**options)
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-2000:])
        last = [line for line in agent.lines() if line["msg"] == "stopped"][-1]
        self.assertEqual(last["reason"], reason, last)
        for word in words:
            self.assertIn(word, last["error"])

    def assert_goes_on(self, **fields):
        self.write_manifest(**fields)
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        return self.assert_equal()

    def test_run_refuses(self):
        done = command("run", "-f", self.write_manifest())
        self.assertEqual(done.returncode, REFUSED)
        self.assertIn("firn-agent capture", done.stderr)

    def test_key_that_the_log_lacks(self):
        indented = '    records: {keyColumns: [{table: "public.orders", columns: [customer_id]}]}\n'
        self.write_manifest(stream=indented.replace("customer_id", "nosuch"))
        self.assert_refused("UnknownColumn", "nosuch", "keyColumns")
        self.write_manifest(stream=indented)
        self.assert_refused("ReplicaIdentity", "customer_id", "REPLICA IDENTITY FULL")
        self.assert_goes_on()

    def test_brokers_unreachable(self):
        port = free_port()
        self.write_manifest(f"127.0.0.1:{port}")
        agent = self.start(http=True)
        wait_until(lambda: "BrokersUnreachable" in agent.text(), 60, "it says that no broker answers", agent.alive)
        self.assertEqual(agent.get("/readyz")[0], 503)
        self.assert_stopped(agent)
        self.assertIsNone(self.postgres.slot("firn"))
        self.assert_goes_on()

    def test_strimzi_outside_of_kubernetes(self):
        path = self.write_manifest()
        path.write_text(path.read_text().replace(f'bootstrapServers: "{self.broker.bootstrap}"', "strimzi: {cluster: my}"))
        agent = self.start()
        words = "kafka my-kafka-bootstrap.default.svc:9092 can't be reached (spec.stream.kafka.strimzi, whose Service"
        wait_until(lambda: words in agent.text(), 60, "it says so", agent.alive)
        agent.kill()

    def test_wrong_password(self):
        self.write_manifest(self.broker.at("SASL"), kafka=LOGIN, secrets={"kafka": {"username": USER, "password": "wrong"}})
        self.assert_refused("KafkaLogin")
        self.assertNotIn("wrong\"", (self.folder / "agent-1.log").read_text())

    def test_rights(self):
        login = {"brokers": self.broker.at("SASL"), "kafka": LOGIN, "secrets": {"kafka": {"username": USER, "password": PASSWORD}}}
        self.write_manifest(**login)
        self.assert_refused("KafkaRights", f"{self.prefix}.firn-state")
        names = [f"{self.prefix}.firn-state", *(f"{self.prefix}.public.{table}" for table in ("customers", "order_lines", "orders", "products"))]
        self.broker.allow(*((ResourceType.TOPIC, name, right) for name in names for right in
                            (AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.WRITE)))  # fmt: skip
        self.assert_refused("KafkaRights", f"{self.prefix}.firn-state", "Read")
        self.broker.allow((ResourceType.TOPIC, names[0], AclOperation.READ))
        self.assert_goes_on(**login)

    def test_topic_differs(self):
        self.broker.create_topic(f"{self.prefix}.public.orders", 3, **{"retention.ms": "1000000"})
        self.write_manifest(kafka="retention: 7d")
        self.assert_refused("TopicDiffers", f"{self.prefix}.public.orders", "retention.ms")
        self.assertIsNone(self.postgres.slot("firn"))

    def test_state_taken(self):
        self.assert_goes_on()
        path = self.write_manifest()
        path.write_text(path.read_text().replace("metadata: {name: shop}", "metadata: {name: other}"))
        self.assert_refused("StateTaken", "default/shop", "topicPrefix")

    def test_topic_moved(self):
        """A table sent to one topic does not go on in another, unless it is asked to begin there."""
        self.assert_goes_on()
        self.connection.execute("delete from order_lines")
        moved = {"kafka": f'topicTemplate: "{self.prefix}.moved.{{table}}"'}
        self.write_manifest(**moved)
        self.assert_refused("TopicMoved", f"{self.prefix}.moved.", "--resnapshot")
        confirmed = self.postgres.slot("firn")["confirmed"]
        self.assertLess(confirmed, self.postgres.wal_end())
        agent = self.start(arguments=("--resnapshot", "*.*"))
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.template = "{prefix}.moved.{table}"
        self.assert_equal()

    def test_no_key_in_compacted_topic(self):
        self.connection.execute("create table keyless (a int); alter table keyless replica identity full")
        self.write_manifest(kafka="cleanupPolicy: Compact")
        self.assert_refused("NoKey", "public.keyless")

    def test_truncate_of_compacted_topic(self):
        self.write_manifest(kafka="cleanupPolicy: Compact")
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("truncate order_lines")
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-2000:])
        self.assertIn("TruncateCompacted", agent.text())

    def test_incompatible_schema(self):
        self.registry = Registry()
        self.registry.start()
        self.addCleanup(self.registry.stop)
        agent = self.start_whole()
        subject = f"{self.prefix}.public.customers-value"
        self.registry.ask("PUT", f"/config/{subject}", {"compatibility": "FULL"})
        confirmed = self.postgres.slot("firn")["confirmed"]
        self.connection.execute("alter table customers alter visits type bigint; update customers set visits = 5")
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-2000:])
        self.assertIn("SchemaRefused", agent.text())
        self.assertGreaterEqual(self.postgres.slot("firn")["confirmed"], confirmed)
        self.registry.ask("PUT", f"/config/{subject}", {"compatibility": "NONE"})
        self.assert_goes_on()

    def start_whole(self, **fields):
        self.write_manifest(**fields)
        agent = self.start()
        self.wait_agreed(agent)
        return agent

    def test_registry_away(self):
        """RETRY, until it is there."""
        port = free_port()

        class Fixed:
            url = f"http://127.0.0.1:{port}"

        self.registry = Fixed
        self.write_manifest()
        agent = self.start()
        wait_until(lambda: "starting again from the durable position" in agent.text(), 60, "it tries again", agent.alive)
        asked = []

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                body = json.dumps({"id": len(asked)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *unused):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assertGreaterEqual(len(asked), 8)

    def test_too_large(self):
        """More than the topic takes: whole among the dead letters, and everything else goes on."""
        agent = self.start_whole(kafka="topicSettings: [{name: max.message.bytes, value: \"1100000\"}]")
        big = "0123456789" * 150_000
        self.connection.execute("update customers set notes = %s where id = 5", [big])
        self.connection.execute("update customers set visits = 9 where id = 6")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        letters = self.broker.read(f"{self.prefix}.firn-dead-letters")
        about = json.loads(letters[0].value())
        self.assertEqual((about["topic"], about["pieces"]), (f"{self.prefix}.public.customers", len(letters) - 1))
        value = json.loads(b"".join(letter.value() for letter in letters[1:]))
        self.assertEqual((value["after"]["id"], value["after"]["notes"]), (5, big))
        self.assertEqual(len({letter.key() for letter in letters}), 1)
        self.assertEqual(letters[0].key().decode(), f"{about['topic']}/{about['position']}")
        kept = self.topic("customers").rows
        self.assertEqual([row["visits"] for row in kept.values() if row["id"] == 6], [9])

    def test_value_that_can_not_be_written(self):
        """NaN in a decimal, of the copy and of the log: among the dead letters, everything else goes on."""
        self.connection.execute("create table odd (id int primary key, price numeric);"
                                " insert into odd values (1, 1.5), (2, 'NaN'), (3, 2.5)")  # fmt: skip
        agent = self.start_whole()
        self.connection.execute("insert into odd values (4, 'NaN'), (5, 3.5)")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        letters = self.broker.read(f"{self.prefix}.firn-dead-letters")
        about, values = [json.loads(letter.value()) for letter in letters[::2]], [json.loads(letter.value()) for letter in letters[1::2]]
        self.assertEqual([(each["topic"], each["code"], each["pieces"]) for each in about], [(f"{self.prefix}.public.odd", "NoDecimal", 1)] * 2)
        self.assertIn("column price", about[0]["reason"])
        self.assertEqual([(value["op"], value["after"]) for value in values], [("r", {"id": 2, "price": "NaN"}), ("c", {"id": 4, "price": "NaN"})])
        written = [json.loads(record.value()) for record in self.broker.read(f"{self.prefix}.public.odd") if record.value()]
        self.assertEqual(sorted(value["after"]["id"] for value in written), [1, 3, 5])

    def test_drop(self):
        self.assert_goes_on()
        done = command("drop", "--yes", "-f", self.folder / "manifest.yaml")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"{self.prefix}.firn-state dropped", done.stdout)
        self.assertIsNone(self.postgres.slot("firn"))
        topics = self.broker.topics()
        self.assertIn(f"{self.prefix}.public.orders", topics)
        self.assertNotIn(f"{self.prefix}.firn-state", topics)
        self.connection.execute("delete from order_lines where order_id % 2 = 0")
        found = self.assert_goes_on()  # a copy into topics with rows: they are emptied first
        self.assertEqual(found["order_lines"].ops["t"], 3)

    def test_two_tables_one_topic(self):
        self.connection.execute("create schema other; create table other.orders (id int primary key)")
        self.write_manifest(kafka="topicTemplate: \"{connector}.{table}\"", include='["public.orders", "other.orders"]')
        self.assert_refused("TopicTaken", "public.orders", "other.orders")

    def test_records_of_no_table(self):
        agent = self.start_whole(stream="    records: {messages: true, heartbeats: true, transactions: true, tombstones: false, time: Connect}\n")
        self.connection.execute("select pg_logical_emit_message(true, 'app', 'hello')")
        self.connection.execute("delete from order_lines where order_id = 1")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        contents = [json.loads(record.value())["message"] for record in self.broker.read(f"{self.prefix}.message")]
        self.assertIn("app", [message["prefix"] for message in contents])
        self.assertGreaterEqual(len(self.broker.read(f"__debezium-heartbeat.{self.prefix}")), 1)
        self.assertEqual(self.topic("order_lines").ops["tombstone"], 0)
        told = [json.loads(record.value()) for record in self.broker.read(f"{self.prefix}.transaction")]
        counted = [each["data_collections"] for each in told if each["status"] == "END"]
        self.assertEqual([each["status"] for each in told], ["BEGIN", "END"] * len(counted))
        self.assertIn([{"data_collection": "public.order_lines", "event_count": 3}], counted)
        for each in counted:  # the others are messages
            self.assertIn([(name["data_collection"], name["event_count"]) for name in each],
                          [[("public.order_lines", 3)], [("LOGICAL_DECODING_MESSAGE", 1)]])  # fmt: skip
        deleted = [json.loads(record.value()) for record in self.topic("order_lines").messages if record.value()]
        self.assertEqual([each["transaction"]["total_order"] for each in deleted if each["op"] == "d"], [1, 2, 3])
        self.assertIn(ROW, [Header(message).kind for message in self.topic("orders").messages])

    def test_state_is_compacted(self):
        self.assert_goes_on()
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        resource = ConfigResource(ConfigResource.Type.TOPIC, f"{self.prefix}.firn-state")
        settings = admin.describe_configs([resource])[resource].result(120)
        self.assertEqual(settings["cleanup.policy"].value, "compact")
        keys = {message.key().decode() for message in self.broker.read(f"{self.prefix}.firn-state")}
        self.assertEqual(keys, {"position", *(f"table/public.{table}" for table in ("customers", "order_lines", "orders", "products"))})


if __name__ == "__main__":
    unittest.main()
