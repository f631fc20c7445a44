"""agent/kafka against a real broker: every way to log in and what is said when it fails, rights, topics'
settings, a broker that is killed in the middle of writing, two writers with one transactional id, records that
are too large."""

import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from harness import authority
from harness.kafka import READ_SECONDS
from harness.kafka_secure import PASSWORD, USER, SecureBroker, TokenServer
from harness.process import die_with_parent, free_port
from harness.wait import wait_until

PROGRAM = os.environ.get("KAFKA_DRIVE", "build/asan/tests/kafka_drive")
SCRAM_MENDED = 0x02060000  # librdkafka's version; Debian 12's can't log in with SCRAM at Kafka 4
WRITE = (AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)

CONNECTOR = """
apiVersion: firn.dev/v1alpha1
kind: Connector
metadata: {{name: shop}}
spec:
  source: {{type: PostgreSQL, host: db, database: shop, credentialsSecretRef: {{name: db}}}}
  stream:
    kafka:
      bootstrapServers: "{brokers}"
      {settings}
      security: {{{security}}}
"""


class Refused(Exception):
    def __init__(self, answer: str):
        super().__init__(answer)
        _, self.kind, self.code, self.message = answer.split(" ", 3)


class Drive:
    """kafka_drive with a manifest; `secrets` as {name: {key: text}}."""

    def __init__(self, brokers: str, security: str = "protocol: PLAINTEXT", secrets: dict = None, settings: str = ""):
        self.folder = tempfile.TemporaryDirectory(prefix="firn-kafka-drive-")
        root = Path(self.folder.name)
        for name, values in {"db": {"username": "u", "password": "p"}, **(secrets or {})}.items():
            (root / name).mkdir()
            for key, text in values.items():
                (root / name / key).write_text(text)
        (root / "shop.yaml").write_text(CONNECTOR.format(brokers=brokers, security=security, settings=settings))
        self.log = open(root / "log", "w+")
        self.process = subprocess.Popen([PROGRAM, root / "shop.yaml", root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        text=True, bufsize=1, preexec_fn=die_with_parent())  # fmt: skip

    def begin(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")

    def answer(self) -> list[str]:
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"kafka_drive ended with {self.process.wait()}: {self.logged()}")
        if line.startswith("error "):
            raise Refused(line.strip())
        return line.split()[1:]

    def __call__(self, *words) -> list[str]:
        self.begin(*words)
        return self.answer()

    def logged(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()
        text = self.logged()
        self.log.close()
        self.folder.cleanup()
        if PASSWORD in text:
            raise AssertionError("a password is in the log")
        if self.process.returncode:
            raise AssertionError(f"kafka_drive ended with {self.process.returncode}: {text[-3000:]}")


class Kafka(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = SecureBroker()
        cls.broker.start()
        cls.addClassCleanup(cls.broker.stop)
        with Drive(cls.broker.bootstrap) as drive:
            cls.scram_works = int(drive("version")[0]) >= SCRAM_MENDED

    def topic(self, name: str, partitions: int = 1, readable: bool = True, **settings: str) -> str:
        self.broker.create_topic(name, partitions, **settings)
        if readable:
            self.broker.allow(*((ResourceType.TOPIC, name, right) for right in WRITE))
        return name

    def assert_numbers(self, topic: str, count: int, partitions: int = 1):
        """0 … count - 1, each once, in order in each partition."""
        found = [[] for _ in range(partitions)]
        for message in self.broker.read(topic):
            self.assertEqual(message.key(), message.value())
            self.assertEqual(message.headers(), [("firn", message.key())])
            found[message.partition()].append(int(message.key()))
        for number, keys in enumerate(found):
            self.assertEqual(keys, list(range(number, count, partitions)))

    def write(self, name: str, listener: str, security: str, secrets: dict, settings: str = ""):
        topic = self.topic(f"login.{name}", 2)
        with Drive(self.broker.at(listener), security, secrets, settings) as drive:
            self.assertEqual(drive("open"), ["kafka/Zmlybi10ZXN0LWNsdXN0ZQ"])
            drive("send", topic, 0, 1000)
            self.assertEqual(drive("drain"), ["2"])
        self.assert_numbers(topic, 1000, 2)

    def setUp(self):
        started = time.monotonic()
        self.addCleanup(lambda: print(f"{self.id()}: {time.monotonic() - started:.1f} s", file=sys.stderr))

    def refuse(self, brokers: str, security: str, secrets: dict, kind: str, code: str, *words: str):
        # What time may mend is said when the time is up: a busy machine may not know by then why nobody answers.
        for patience_ms in (60_000, 240_000) if kind == "Config" else (3000, 24_000, 192_000):
            with Drive(brokers, security, secrets) as drive:
                with self.assertRaises(Refused) as caught:
                    drive("open", "-", patience_ms)
            if caught.exception.code == code and all(word in caught.exception.message for word in words):
                break
        self.assertEqual((caught.exception.kind, caught.exception.code), (kind, code), caught.exception)
        for word in words:
            self.assertIn(word, caught.exception.message)

    def login(self, password: str = PASSWORD) -> dict:
        return {"kafka": {"username": USER, "password": password}}

    def sasl(self, mechanism: str, protocol: str = "SASL_PLAINTEXT") -> str:
        return f"protocol: {protocol}, mechanism: {mechanism}, credentialsSecretRef: {{name: kafka}}"

    def authority(self) -> dict:
        return {"ca": {"ca.crt": self.broker.ca.read_text()}}

    def certificate(self) -> dict:
        return {"kafka": {"tls.crt": self.broker.client_crt.read_text(), "tls.key": self.broker.client_key.read_text()}}

    # --- logging in ---

    def test_sasl(self):
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            with self.subTest(mechanism):
                if mechanism == "PLAIN" or self.scram_works:
                    self.write(mechanism, "SASL", self.sasl(mechanism), self.login())
                else:  # and we say so
                    self.refuse(self.broker.at("SASL"), self.sasl(mechanism), self.login(), "Config", "KafkaLogin",
                                "librdkafka before 2.6.0", USER)  # fmt: skip
                self.refuse(self.broker.at("SASL"), self.sasl(mechanism), self.login("wrong"), "Config", "KafkaLogin",
                            USER, "spec.stream.kafka.security")  # fmt: skip
        self.refuse(self.broker.at("OAUTH"), self.sasl("PLAIN"), self.login(), "Config", "KafkaLogin", "mechanism")

    def test_tls(self):
        ca = "caSecretRef: {name: ca}"
        self.write("tls", "TLS", f"protocol: SSL, {ca}", self.authority())
        mechanism = "SCRAM-SHA-512" if self.scram_works else "PLAIN"
        self.write("sasl-tls", "SASLTLS", f"{self.sasl(mechanism, 'SASL_SSL')}, {ca}", {**self.authority(), **self.login()})
        self.write("mtls", "MTLS", f"protocol: SSL, {ca}, credentialsSecretRef: {{name: kafka}}",
                   {**self.authority(), **self.certificate()})  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            other = {"ca": {"ca.crt": authority.make(Path(folder)).read_text()}}
        self.refuse(self.broker.at("TLS"), f"protocol: SSL, {ca}", other, "Config", "KafkaTls", "caSecretRef")
        self.refuse(self.broker.at("MTLS"), f"protocol: SSL, {ca}", self.authority(), "Config", "KafkaTls", "tls.crt")
        self.refuse(self.broker.at("TLS"), "protocol: PLAINTEXT", {}, "Retry", "BrokersUnreachable", "wants TLS")
        odd = {"ca": {"ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}}
        self.refuse(self.broker.at("TLS"), f"protocol: SSL, {ca}", odd, "Config", "KafkaTls", "caSecretRef")

    def test_oauthbearer(self):
        with TokenServer({USER: PASSWORD}) as tokens:
            security = f'{self.sasl("OAUTHBEARER")}, tokenEndpoint: "{tokens.url}", tokenScope: kafka.write'
            self.write("oauth", "OAUTH", security, {"kafka": {"clientId": USER, "clientSecret": PASSWORD}})
            self.assertEqual(tokens.asked[0], {"grant_type": "client_credentials", "client_id": USER, "client_secret": PASSWORD,
                                               "scope": "kafka.write"})  # fmt: skip
            self.refuse(self.broker.at("OAUTH"), security, {"kafka": {"clientId": USER, "clientSecret": "wrong"}}, "Config", "KafkaLogin",
                        tokens.url, "clientSecret")  # fmt: skip
            gone = tokens.url
        self.refuse(self.broker.at("OAUTH"), f'{self.sasl("OAUTHBEARER")}, tokenEndpoint: "{gone}"',
                    {"kafka": {"clientId": USER, "clientSecret": PASSWORD}}, "Retry", "Unreachable", "/token")  # fmt: skip

    def test_unreachable(self):
        self.refuse(f"127.0.0.1:{free_port()}", "protocol: PLAINTEXT", {}, "Retry", "BrokersUnreachable", "refused")

    # --- rights and topics ---

    def test_rights(self):
        topic = self.topic("secret", readable=False)
        right = lambda operation: self.broker.allow((ResourceType.TOPIC, topic, operation))  # noqa: E731
        with Drive(self.broker.at("SASL"), self.sasl("PLAIN"), self.login()) as drive:
            drive("open")
            for missing, operation in (("Describe", AclOperation.DESCRIBE), ("DescribeConfigs", AclOperation.DESCRIBE_CONFIGS)):
                with self.assertRaises(Refused) as caught:
                    drive("look", topic)
                self.assertEqual((caught.exception.kind, caught.exception.code), ("Config", "KafkaRights"))
                self.assertIn(f"--allow-principal User:{USER} --operation {missing} --topic {topic}", caught.exception.message)
                right(operation)
            self.assertEqual(drive("look", topic)[:3], ["1", "1", "1"])
            with self.assertRaises(Refused) as caught:
                drive("send", topic, 0, 10)
                drive("drain")
            self.assertEqual((caught.exception.kind, caught.exception.code), ("Config", "KafkaRights"))
            self.assertIn(f"--operation Write --topic {topic}", caught.exception.message)
            drive("close")
            right(AclOperation.WRITE)
            drive("open")
            drive("send", topic, 0, 10)
            drive("drain")
            with self.assertRaises(Refused) as caught:
                drive("ensure", "not.allowed")
            self.assertEqual(caught.exception.code, "KafkaRights")
            drive("close")
            with self.assertRaises(Refused) as caught:
                drive("open", "nobody-may")
            self.assertEqual(caught.exception.code, "KafkaRights")
            self.assertIn("--transactional-id", caught.exception.message)
        self.assert_numbers(topic, 10)

    def test_topics(self):
        declared = "retention: 7d, partitions: 3, replicationFactor: 1, minInsyncReplicas: 1, cleanupPolicy: CompactAndDelete"
        settings = "\n      ".join(declared.split(", ")) + '\n      topicSettings: [{name: max.message.bytes, value: "2000000"}]'
        with Drive(self.broker.bootstrap, settings=settings) as drive:
            drive("client")
            self.assertEqual(drive("look", "made"), ["0", "0", "0", "0", "0"])
            self.assertEqual(drive("ensure", "made"), ["3", "1", "2000000"])
            self.assertEqual(drive("ensure", "made"), ["3", "1", "2000000"])
            found = self.settings("made")
            self.assertEqual({name: found[name] for name in ("retention.ms", "min.insync.replicas", "max.message.bytes")},
                             {"retention.ms": "604800000", "min.insync.replicas": "1", "max.message.bytes": "2000000"})  # fmt: skip
            self.assertEqual(set(found["cleanup.policy"].split(",")), {"compact", "delete"})
            drive("grow", "made", 5)
            self.assertEqual(drive("look", "made"), ["1", "5", "1", "2000000", "604800000"])
            self.topic("for-ever", **{"retention.ms": "-1"})
            self.assertEqual(drive("look", "for-ever")[4], str(2**63 - 1))
            self.topic("by-size", **{"retention.ms": "1000", "retention.bytes": "1000000"})
            self.assertEqual(drive("look", "by-size")[4], "0")
            self.assertEqual(drive("ensure", "made"), ["5", "1", "2000000"])
            drive("grow", "made", 5)
            with self.assertRaises(Refused) as caught:
                drive("grow", "made", 4)
            self.assertEqual((caught.exception.kind, caught.exception.code), ("Config", "TopicDiffers"))
            self.topic("other", **{"retention.ms": "1000", "cleanup.policy": "delete,compact", "max.message.bytes": "2000000"})
            with self.assertRaises(Refused) as caught:
                drive("ensure", "other")
            self.assertEqual((caught.exception.kind, caught.exception.code), ("Config", "TopicDiffers"))
            self.assertIn("retention.ms is 1000, wanted 604800000", caught.exception.message)
            self.assertNotIn("cleanup.policy", caught.exception.message)
            self.assertEqual(self.settings("other")["retention.ms"], "1000")
            drive("drop", "made")
            drive("drop", "made")
            with self.assertRaises(Refused) as caught:
                drive("ensure", "no/name")
            self.assertEqual((caught.exception.kind, caught.exception.code), ("Config", "TopicRefused"))
        with Drive(self.broker.bootstrap, settings="replicationFactor: 3") as drive:
            drive("client")
            with self.assertRaises(Refused) as caught:
                drive("ensure", "three")
            self.assertEqual((caught.exception.kind, caught.exception.code), ("Config", "TopicRefused"))

    def settings(self, topic: str) -> dict:
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(READ_SECONDS).items()}

    def test_too_large(self):
        topic = self.topic("large")
        with Drive(self.broker.bootstrap) as drive:
            drive("open")
            with self.assertRaises(Refused) as caught:
                drive("large", topic, 2_000_000)
            self.assertEqual((caught.exception.kind, caught.exception.code), ("Data", "RecordTooLarge"))
            self.assertIn("record 1: topic large, partition 0", caught.exception.message)
            drive("large", topic, 1_040_000)
            drive("drain")
            self.assertEqual([len(message.value()) for message in self.broker.read(topic)], [10, 1_040_000, 10])
            largest = 1_048_588 - 96 - 1  # what is let in the broker takes, and not a byte more is
            drive("large", topic, largest)
            drive("drain")
            with self.assertRaises(Refused) as caught:
                drive("large", topic, largest + 1)
            self.assertEqual(caught.exception.code, "RecordTooLarge")
            # Somebody makes the limit smaller beneath us: looked at again, nothing lost.
            resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[
                ConfigEntry("max.message.bytes", "100", incremental_operation=AlterConfigOpType.SET)])  # fmt: skip
            admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
            admin.incremental_alter_configs([resource])[resource].result(READ_SECONDS)
            wait_until(lambda: self.refuses(topic, 500), READ_SECONDS, "the broker goes by it")
            there = len(self.broker.read(topic))
            with self.assertRaises(Refused) as caught:
                drive("send", topic, 0, 10)
                drive("drain")
            self.assertEqual((caught.exception.kind, caught.exception.code), ("Retry", "BatchTooLarge"))
            drive("close")
            drive("open")
            with self.assertRaises(Refused) as caught:
                drive("send", topic, 0, 10)
            self.assertEqual((caught.exception.kind, caught.exception.code), ("Retry", "BatchTooLarge"))
            self.assertEqual(len(self.broker.read(topic)), there)

    def refuses(self, topic: str, size: int) -> bool:
        """Whether the topic takes no record of so many bytes; else it has one more."""
        said = []
        producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        producer.produce(topic, b"x" * size, on_delivery=lambda error, unused: said.append(error))
        producer.flush(READ_SECONDS)
        return said[0] is not None and said[0].code() == KafkaError.MSG_SIZE_TOO_LARGE

    # --- faults ---

    def test_restart(self):
        topic = self.topic("restart", 4)
        with Drive(self.broker.bootstrap) as drive:
            drive("open")
            drive("send", topic, 0, 20_000)
            drive.begin("send", topic, 20_000, 130_000)
            before = self.broker.count(topic)
            self.broker.restart()
            self.assertLess(before, 150_000)
            drive.answer()
            drive("drain")
            self.assertEqual(drive("figures")[:2], ["0", "150000"])
        self.assert_numbers(topic, 150_000, 4)

    def test_zombie(self):
        topic = self.topic("zombie", 2)
        with Drive(self.broker.bootstrap) as first, Drive(self.broker.bootstrap) as second:
            first("open", "firn-shop")
            first("begin")
            first("send", topic, 0, 1000)
            first("commit")
            first("begin")
            first("send", topic, 1000, 1000)  # not committed: the other one repeats it
            second("open", "firn-shop")
            second("begin")
            second("send", topic, 1000, 500)
            with self.assertRaises(Refused) as caught:
                first("commit")
            self.assertEqual((caught.exception.kind, caught.exception.code), ("Fatal", "Fenced"))
            with self.assertRaises(Refused) as caught:
                first("begin")
            second("abort")
            second("begin")
            second("send", topic, 1000, 1000)
            second("commit")
        self.assertEqual(self.committed(topic, 2), [list(range(number, 2000, 2)) for number in range(2)])

    def committed(self, topic: str, partitions: int) -> list[list[int]]:
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "committed", "enable.partition.eof": True,
                             "enable.auto.commit": False, "isolation.level": "read_committed"})  # fmt: skip
        try:
            consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
            found, ends = [[] for _ in range(partitions)], 0
            while ends < partitions:
                message = consumer.poll(READ_SECONDS)
                self.assertIsNotNone(message)
                if message.error():
                    ends += 1
                else:
                    found[message.partition()].append(int(message.key()))
            return found
        finally:
            consumer.close()


if __name__ == "__main__":
    unittest.main()
