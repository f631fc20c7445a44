"""Topics that take less than others, to a user who may not ask what they take (no DescribeConfigs): what the broker says of the
first record that is too large is enough."""

import base64
import json
import os
import unittest

from confluent_kafka.admin import AclOperation, ResourceType
from harness.agent import OK, REFUSED, Agent
from harness.events import EventsCase
from harness.kafka_secure import PASSWORD, USER, SecureBroker
from harness.wait import wait_until

SOON_SECONDS = 60


def noise(size: int) -> str:
    """Text that no codec makes much smaller."""
    return base64.b64encode(os.urandom(size * 3 // 4)).decode()


class Untold(EventsCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = SecureBroker()
        cls.broker.start()
        cls.addClassCleanup(cls.broker.stop)

    def unit(self, topic: str, table_lines: str = "", to_topic: bool = False):
        """As a user of just the rights that README asks for, but for DescribeConfigs."""
        path = self.write_unit(topic, table_lines)
        text = path.read_text().replace(f'"{self.broker.bootstrap}"', f'"{self.broker.at("SASL")}", security: {{protocol: SASL_PLAINTEXT, '
                                        "mechanism: SCRAM-SHA-512, credentialsSecretRef: {name: kafka}}")  # fmt: skip
        if to_topic:
            text = text.split("  outsourcingUnit:")[0] + f"  toTopic: {{topic: {topic}.out}}\n"
        path.write_text(f"{text}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: kafka}}\nstringData: "
                        f"{json.dumps({'username': USER, 'password': PASSWORD})}\n")  # fmt: skip
        path.chmod(0o600)
        reads, writes = (AclOperation.READ, AclOperation.DESCRIBE), (AclOperation.WRITE, AclOperation.DESCRIBE)
        group = f"firn-default-{topic}"
        self.broker.create_topic(f"{group}-control", 1)
        self.broker.allow(*((kind, name, right) for kind, name, rights in (
            (ResourceType.TOPIC, topic, reads), (ResourceType.GROUP, group, reads), (ResourceType.TOPIC, f"{group}-control", (*reads, AclOperation.WRITE)),
            (ResourceType.TOPIC, f"{topic}.dead", writes), (ResourceType.TOPIC, f"{topic}.out", writes),
            (ResourceType.TRANSACTIONAL_ID, "*", writes)) for right in rights))  # fmt: skip
        return path

    def test_letters(self):
        self.broker.create_topic("sized", 1)
        self.broker.create_topic("sized.dead", 1, **{"max.message.bytes": "100000"})
        path = self.unit("sized", "mode: Append\n      columns: [{name: id, type: long}]")
        bad = noise(300_000)
        for value in ('{"id": 1}', bad, '{"id": 2}'):
            self.send("sized", value)
        self.producer.flush()
        with self.ingest(path) as agent:
            self.wait_rows(agent, "sized", ['{"id": 1}', '{"id": 2}'])
        self.assertEqual([value for _, value in self.letters("sized.dead")], [bad.encode()])

    def test_too_small(self):
        self.broker.create_topic("small", 1)
        self.broker.create_topic("small.dead", 1, **{"max.message.bytes": "20000"})
        path = self.unit("small", "mode: Append\n      columns: [{name: id, type: long}]")
        self.send("small", noise(300_000))
        self.producer.flush()
        with Agent(path, self.folder / "ingest.log", subcommand="ingest") as agent:
            self.assertEqual(agent.wait(), REFUSED, agent.text()[-2000:])
            self.assertIn("TopicDiffers", agent.text())
            self.assertIn("topic small.dead takes", agent.text())

    def test_to_topic(self):
        """One that is too large for the other topic is among the dead letters, once the broker has said so; the rest goes on."""
        for name, size in (("onward", 2_000_000), ("onward.out", 200_000), ("onward.dead", 100_000)):
            self.broker.create_topic(name, 1, **{"max.message.bytes": str(size)})
        path = self.unit("onward", to_topic=True)
        sent = [json.dumps({"id": at, "text": noise(size)}).encode() for at, size in enumerate((10, 150_000, 300_000, 90_000, 400_000, 20))]
        for value in sent:
            self.send("onward", value)
        self.producer.flush()
        fits = [value for value in sent if len(value) < 200_000]
        with self.ingest(path) as agent:
            def arrived():
                agent.alive()
                return len(self.broker.read("onward.out")) >= len(fits)
            wait_until(arrived, SOON_SECONDS, f"{len(fits)} records of onward.out")  # fmt: skip
        self.assertEqual([message.value() for message in self.broker.read("onward.out")], fits)
        letters = self.letters("onward.dead")
        self.assertEqual(sorted(value for _, value in letters), sorted(set(sent) - set(fits)))
        for reason, _ in letters:
            self.assertIn("topic onward.out takes at most", reason)


if __name__ == "__main__":
    unittest.main()
