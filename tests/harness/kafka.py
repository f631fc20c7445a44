"""A private Kafka broker (KRaft, one node), a schema registry that speaks Confluent's API (Apicurio), and Kafka
Connect with Debezium's connector for PostgreSQL. Run by itself it fetches what they need, ahead of their first use."""

import io
import json
import os
import struct
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType

from harness.java import JavaServer
from harness.process import free_port
from harness.server import CACHE, DEPLOY, HARNESS, MAVEN, fetched
from harness.wait import wait_until

BROKER_JARS = DEPLOY / "kafka.xml"
JARS = HARNESS / "kafka.xml"
MYSQL_JARS = HARNESS / "kafka_mysql.xml"
PEERS = HARNESS / "peers.xml"
APICURIO = "io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all"
LOGGING = """status=WARN
appenders=console
appender.console.type=Console
appender.console.name=STDOUT
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRefs=stdout
rootLogger.appenderRef.stdout.ref=STDOUT
"""
READ_SECONDS = 120
SESSION_MS = "3000"  # FIRN_SESSION_MS: so long a consumer that was killed is waited for


def _registry_folder() -> Path:
    """Apicurio unpacked, once."""
    archive = Path(fetched(MAVEN, APICURIO))
    folder = CACHE / f"apicurio-{archive.name.removesuffix('.tar.gz')}"
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.{free_port()}")
        with tarfile.open(archive) as files:
            files.extractall(part)
        try:
            part.rename(folder)
        except OSError:  # another test was quicker
            subprocess.run(["rm", "-rf", part], check=True)
    return folder


def fetch():
    """Everything, ahead of its first use."""
    for jars in (BROKER_JARS, JARS, MYSQL_JARS, PEERS):
        fetched(MAVEN, str(jars))
    for server in (Broker(), Registry()):
        server.keep_classes()


def _properties(path: Path, settings: dict):
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


class _Java(JavaServer):
    def java(self, heap: str, *more: str) -> list:
        logging = self.folder / "log4j2.properties"
        logging.write_text(LOGGING)
        return ["java", f"-Xmx{heap}", *self.quick(), f"-Dlog4j2.configurationFile={logging}", f"-Djava.io.tmpdir={self.folder}",
                *self.classes(), *more]  # fmt: skip


class Broker(_Java):
    """`bootstrap` is what clients are given. Topics are made when somebody writes to them, of one partition. The broker learns a
    moment later what it has answered for its controller: whoever changes something here waits until it has."""

    name = "kafka"

    def __init__(self, address: str = "127.0.0.1"):
        super().__init__()
        self.address = address

    def classes(self):
        return ["-cp", fetched(MAVEN, str(BROKER_JARS))]

    @property
    def bootstrap(self) -> str:
        return f"{self.address}:{self.port}"

    def command(self):
        options = os.environ.get("KAFKA_JVM_PERFORMANCE_OPTS") or " ".join(self.quick())
        return [DEPLOY / "kafka", self.folder, str(self.port), str(free_port()), self.address], {"KAFKA_JVM_PERFORMANCE_OPTS": options}

    def ready(self) -> bool:
        try:
            # it answers before its controller has let it in: until then it makes no topic
            return bool(AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=5).brokers)
        except Exception:  # KafkaException: nobody listens yet
            return False

    def create_topic(self, name: str, partitions: int = 1, **settings: str):
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(READ_SECONDS)
        self._wait_partitions(admin, name, partitions)

    @staticmethod
    def _wait_partitions(admin: AdminClient, name: str, count: int):
        def known() -> bool:
            found = admin.list_topics(timeout=READ_SECONDS).topics.get(name)
            return bool(found and not found.error and sum(one.leader >= 0 for one in found.partitions.values()) == count)

        wait_until(known, READ_SECONDS, f"topic {name} has {count} partitions")

    def alter_topic(self, name: str, **settings: str):
        changes = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=changes)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.incremental_alter_configs([resource])[resource].result(READ_SECONDS)

    def delete_records(self, name: str, partition: int, before: int):
        place = TopicPartition(name, partition, before)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.delete_records([place])[place].result(READ_SECONDS)

    def drop_topic(self, name: str):
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.delete_topics([name])[name].result(READ_SECONDS)
        wait_until(lambda: name not in self.topics(), READ_SECONDS, f"topic {name} is gone")

    def drop_group(self, name: str):
        """Once its last member has left."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})

        def dropped() -> bool:
            try:
                admin.delete_consumer_groups([name])[name].result(READ_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.NON_EMPTY_GROUP:
                    raise
                return False
            return True

        wait_until(dropped, READ_SECONDS, f"group {name} is empty")

    def grow(self, name: str, partitions: int):
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_partitions([NewPartitions(name, partitions)])[name].result(READ_SECONDS)
        self._wait_partitions(admin, name, partitions)

    def topics(self) -> list[str]:
        found = AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(timeout=READ_SECONDS).topics
        return sorted(name for name in found if not name.startswith("__"))

    def members(self, group: str) -> list[int]:
        """How many partitions each consumer of a group has."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        found = admin.describe_consumer_groups([group])[group].result(READ_SECONDS).members
        return sorted(len(one.assignment.topic_partitions) if one.assignment else 0 for one in found)

    def count(self, topic: str) -> int:
        """Offsets behind the last record of all partitions, together."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "harness"})
        try:
            known = consumer.list_topics(topic, timeout=READ_SECONDS).topics[topic]
            if known.error:
                return 0
            return sum(consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=READ_SECONDS, cached=False)[1]
                       for number in known.partitions)  # fmt: skip
        finally:
            consumer.close()

    def read(self, topic: str) -> list:
        """All records that are there (confluent_kafka.Message), partition by partition."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "harness", "enable.partition.eof": True,
                             "enable.auto.commit": False, "fetch.wait.max.ms": 10, "auto.offset.reset": "earliest"})  # fmt: skip
        try:
            known = consumer.list_topics(topic, timeout=READ_SECONDS).topics[topic]
            consumer.assign([TopicPartition(topic, number, 0) for number in known.partitions])
            found, open_partitions = [], len(known.partitions)
            while open_partitions:
                message = consumer.poll(READ_SECONDS)
                if message is None:
                    raise AssertionError(f"topic {topic}: no end within {READ_SECONDS} s")
                if not message.error():
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    open_partitions -= 1
                elif not message.error().retriable():
                    raise AssertionError(f"topic {topic}: {message.error()}")
            return sorted(found, key=lambda message: (message.partition(), message.offset()))
        finally:
            consumer.close()


def _without_logical(schema):
    if isinstance(schema, dict):
        return {name: _without_logical(value) for name, value in schema.items() if name != "logicalType"}
    return [_without_logical(one) for one in schema] if isinstance(schema, list) else schema


class Registry(_Java):
    """`url` is the base of Confluent's API."""

    name = "registry"

    def __init__(self):
        super().__init__()
        self._schemas: dict[int, dict] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def classes(self):
        return ["-jar", str(next(_registry_folder().glob("*-runner.jar")))]

    def command(self):
        return [
            "java", "-Xmx256m", *self.quick(), f"-Djava.io.tmpdir={self.folder}", "-Dquarkus.http.host=127.0.0.1",
            f"-Dquarkus.http.port={self.port}", "-Dregistry.storage.kind=sql", *self.classes(),
        ], {}  # fmt: skip

    def ask(self, method: str, path: str, body=None):
        """The answer's JSON; urllib's HTTPError on a refusal."""
        data = None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, kind, method=method), timeout=120) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def ready(self) -> bool:
        try:
            self.ask("GET", "/subjects")
            return True
        except OSError:
            return False

    def schema(self, number: int) -> dict:
        if number not in self._schemas:
            self._schemas[number] = json.loads(self.ask("GET", f"/schemas/ids/{number}")["schema"])
        return self._schemas[number]

    def read_avro(self, data: bytes) -> tuple[int, dict]:
        """The schema's id and the value, of bytes in Confluent's framing. Logical types are left as numbers and bytes:
        Python's dates end where PostgreSQL's go on."""
        import fastavro

        magic, number = struct.unpack(">bI", data[:5])
        if magic != 0:
            raise AssertionError(f"not in Confluent's framing: {data[:5].hex()}")
        schema = fastavro.parse_schema(_without_logical(self.schema(number)))
        rest = io.BytesIO(data[5:])
        value = fastavro.schemaless_reader(rest, schema)
        if rest.read(1):
            raise AssertionError("bytes are left behind the value")
        return number, value


class Connect(_Java):
    """One worker with these connectors, each a dictionary of its settings."""

    name = "connect"
    jars = JARS

    def classes(self):
        return ["-cp", fetched(MAVEN, str(self.jars))]

    def __init__(self, broker: Broker, connectors: dict[str, dict]):
        super().__init__()
        self.broker = broker
        self.connectors = connectors

    def command(self):
        worker = self.folder / "worker.properties"
        _properties(worker, {
            "bootstrap.servers": self.broker.bootstrap, "listeners": f"http://127.0.0.1:{self.port}",
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "offset.storage.file.filename": self.folder / "offsets", "offset.flush.interval.ms": 1000,
            "plugin.discovery": "only_scan", "producer.linger.ms": 1,
        })  # fmt: skip
        files = []
        for name, settings in self.connectors.items():
            files.append(self.folder / f"{name}.properties")
            _properties(files[-1], {"name": name, **settings})
        return [*self.java("768m"), "org.apache.kafka.connect.cli.ConnectStandalone", worker, *files], {}

    def ask(self, path: str):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def ready(self) -> bool:
        try:
            states = [self.ask(f"/connectors/{name}/status") for name in self.connectors]
        except (OSError, urllib.error.HTTPError):
            return False
        tasks = [task for state in states for task in state["tasks"]]
        for task in tasks:
            if task["state"] == "FAILED":
                raise AssertionError(f"a connector failed: {task['trace'][:2000]}")
        return len(tasks) == len(states) and all(task["state"] == "RUNNING" for task in tasks)

    @staticmethod
    def postgres(server, database: str, prefix: str, tables: str, **more: str) -> dict:
        """Settings of Debezium's connector for a harness.postgres.Postgres; `more` with _ for the dots."""
        from harness.postgres import PASSWORD

        return {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector", "tasks.max": 1, "plugin.name": "pgoutput",
            "database.hostname": server.host, "database.port": server.port, "database.user": "postgres",
            "database.password": PASSWORD, "database.dbname": database, "topic.prefix": prefix, "table.include.list": tables,
            "slot.name": f"dbz_{prefix}", "publication.name": f"dbz_{prefix}", "publication.autocreate.mode": "filtered",
            "poll.interval.ms": 50, **{name.replace("_", "."): value for name, value in more.items()},
        }  # fmt: skip

    @staticmethod
    def mysql(server, database: str, prefix: str, history: Path, **more: str) -> dict:
        """The same for a harness.mysql server, with a user that is made."""
        from harness.mysql import PASSWORD

        rights = "SELECT, RELOAD, LOCK TABLES, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.*"
        server.execute(f"create user if not exists 'dbz'@'%' identified by '{PASSWORD}'")
        server.execute(f"grant {rights} to 'dbz'@'%'")
        classes = {"MySQL": "mysql.MySqlConnector", "MariaDB": "mariadb.MariaDbConnector"}
        return {
            "connector.class": f"io.debezium.connector.{classes[server.kind]}", "tasks.max": 1, "database.hostname": server.host,
            "database.port": server.port, "database.user": "dbz", "database.password": PASSWORD, "database.server.id": 4242,
            "database.ssl.mode": "disable" if server.kind == "MariaDB" else "disabled", "driver.allowPublicKeyRetrieval": "true",
            "topic.prefix": prefix, "database.include.list": database, "snapshot.locking.mode": "minimal",
            "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
            "schema.history.internal.file.filename": history, "poll.interval.ms": 50,
            **{name.replace("_", "."): value for name, value in more.items()},
        }  # fmt: skip


if __name__ == "__main__":
    fetch()
