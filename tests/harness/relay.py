"""Topics of `firn-agent capture`, read by a consumer that nobody here wrote and folded by key into tables, which must be
the source's, row by row; and a test case with a source, a broker and agents between them."""

import base64
import json
import math
import shutil
import struct
import tempfile
import threading
from collections import Counter
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path
from unittest import TestCase
from uuid import UUID

from harness import shop
from harness.agent import OK, Agent, connector
from harness.kafka_secure import SecureBroker
from harness.postgres import Postgres
from harness.wait import TimedOut, wait_until

PLACEHOLDER = "__debezium_unavailable_value"
ROW, TOMBSTONE, TRUNCATE, COPIED, EPOCH_BEGINS = b"RDTCE"  # kinds in the header
EPOCH = datetime(1970, 1, 1)
AGREE_SECONDS = 90
QUICK_CONFIRM_MS = 100  # every wait for a position waits for one of these


def stream_manifest(postgres, brokers: str, *, prefix="shop", partitions=3, delivery="Idempotent", registry=None,
                    kafka="", stream="", secrets=None, **fields) -> str:  # fmt: skip
    """A Connector of every table of schema public with a stream. kafka, stream: more YAML, in braces' form; secrets: more
    Secrets, {name: {key: text}}; other fields as harness.agent.connector's."""
    more = "".join(
        f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {json.dumps(values)}\n"
        for name, values in (secrets or {}).items())  # fmt: skip
    coding = f"    format: Avro\n    schemaRegistry: {{url: \"{registry.url}\"}}\n" if registry else "    format: Json\n"
    return f"""\
{connector(postgres, **fields)}\
  stream:
    kafka: {{bootstrapServers: "{brokers}", topicPrefix: {prefix}, partitions: {partitions}{', ' + kafka if kafka else ''}}}
{coding}    delivery: {delivery}
{stream}{more}"""


class Header:
    def __init__(self, message):
        value = dict(message.headers() or [])["firn"]
        self.kind, self.major, self.minor, self.version = struct.unpack(">BQQI", value[:21])
        self.position = (self.major, self.minor)
        self.epoch, self.partitions = struct.unpack(">II", value[21:29]) if self.kind == EPOCH_BEGINS else (None, None)


def _decoded(kind: str, modifier: int, value):
    """A Debezium value as psycopg would give it."""
    if value is None:
        return None
    if kind == "numeric":
        digits = base64.b64decode(value) if isinstance(value, str) else value
        return Decimal(int.from_bytes(digits, "big", signed=True)).scaleb(-((modifier - 4) & 0xFFFF))
    if kind == "date":
        return date(1970, 1, 1) + timedelta(days=value)
    if kind == "timestamp":
        return EPOCH + timedelta(microseconds=value)
    if kind == "timestamptz":
        return datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(timezone.utc)
    if kind in ("json", "jsonb"):
        return json.loads(value)
    if kind == "bytea":
        return base64.b64decode(value) if isinstance(value, str) else value
    if kind == "uuid":
        return UUID(value)
    if kind == "float4":
        return struct.unpack("f", struct.pack("f", value))[0]
    return value


def _native(kind: str, value):
    if kind == "timestamptz" and value is not None:
        return value.astimezone(timezone.utc)
    if kind == "float4" and value is not None:
        return struct.unpack("f", struct.pack("f", value))[0]
    return value


def _text(value) -> str:
    return json.dumps(value, default=lambda other: other.hex() if isinstance(other, bytes) else str(other), sort_keys=True)


class Folded:
    """What a topic holds, replayed. `rows`: key → row as it is in the end; `columns`: how each one's values are decoded."""

    def __init__(self, broker, name: str, columns: dict, registry=None):
        self.name = name
        self.registry = registry
        self.columns = columns
        self.messages = broker.read(name)
        self.rows = {}
        self.ops = Counter()
        self.copied = Counter()  # partition → markers
        self.epochs = Counter()  # (epoch, partition) → markers
        self.begins = {}  # epoch → the source's position
        self.snapshots = Counter()
        self.repeated = 0
        self.disordered = []
        self._fold()

    def rows_as_text(self) -> list[str]:
        """As source_rows."""
        return sorted(map(_text, self.rows.values()))

    def _read(self, data):
        if data is None:
            return None
        if self.registry:
            return self.registry.read_avro(data)[1]
        value = json.loads(data)
        return value["payload"] if value.keys() == {"schema", "payload"} else value

    def _row(self, image, before) -> dict:
        """A column that came after the row was written is null in it: none of the tests' has a default. What an update left
        out is what the topic had of the row."""
        return {name: (before or {}).get(name, PLACEHOLDER) if image.get(name) == PLACEHOLDER else decode(image.get(name))
                for name, decode in self.columns.items()}  # fmt: skip

    def _in_epochs(self):
        """As somebody reads them who waits at each barrier: (epoch, message)."""
        epoch_of, found = Counter(), []
        for message in self.messages:
            header = Header(message)
            if header.kind == EPOCH_BEGINS:
                self.epochs[header.epoch, message.partition()] += 1
                epoch_of[message.partition()] = header.epoch
                if self.begins.setdefault(header.epoch, header.position) != header.position:
                    self.disordered.append(f"epoch {header.epoch} begins at two positions")
            else:
                found.append((epoch_of[message.partition()], message, header))
        return sorted(found, key=lambda each: each[0])  # stable: by partition and offset within

    def _fold(self):
        partition_of, latest, seen, now = {}, {}, {}, 0
        placed = {}  # of this epoch
        for epoch, message, header in self._in_epochs():
            if epoch != now:
                now, placed = epoch, {}
            if header.kind == COPIED:
                self.copied[message.partition()] += 1
                continue
            value = self._read(message.value())
            if header.kind == TRUNCATE:
                self.ops["t"] += 1
                gone = [key for key, partition in partition_of.items() if partition == message.partition()]
                for key in gone:
                    self.rows.pop(key, None)
                continue
            key = _text(self._read(message.key()))
            if placed.setdefault(key, message.partition()) != message.partition():
                self.disordered.append(f"{key} is in two partitions")
            partition_of[key] = message.partition()
            op = value["op"] if value else "tombstone"
            self.ops[op] += 1
            after, until = self.begins.get(epoch, (-1, -1)), self.begins.get(epoch + 1, (math.inf, 0))
            if op != "r" and not after < header.position <= until:
                self.disordered.append(f"{key} of {header.position} is in epoch {epoch}, from {after} to {until}")
            if value:
                self.snapshots[str(value["source"]["snapshot"])] += 1
            self._order(key, header, op, value, latest, seen)
            if op in ("d", "tombstone"):
                self.rows.pop(key, None)
            else:
                self.rows[key] = self._row(value["after"], self.rows.get(key))

    def _order(self, key, header, op, value, latest, seen):
        """What comes for the first time is never before what came; what comes again says the same."""
        image = _text(value and [value["before"], value["after"]])
        mark = (key, op, header.position)
        if mark in seen:
            self.repeated += 1
            if seen[mark] != image:
                self.disordered.append(f"{mark}: {seen[mark]} and {image}")
            return
        seen[mark] = image
        if op != "r":
            if header.position < latest.get(key, (0, 0)):
                self.disordered.append(f"{mark} comes behind {latest[key]}")
            latest[key] = header.position


class Topic(Folded):
    """Of a table of PostgreSQL, decoded by its types."""

    def __init__(self, broker, name: str, postgres, table: str, registry=None):
        columns = postgres.execute(
            "select attname, typname, atttypmod from pg_attribute a join pg_type t on t.oid = a.atttypid"
            f" where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped", "shop")  # fmt: skip
        super().__init__(broker, name, {column: partial(_decoded, kind, modifier) for column, kind, modifier in columns}, registry)


def source_rows(postgres, table: str, database: str = "shop", relation: str = None) -> list[str]:
    """relation: another one that is to have the table's rows, with its columns in any order."""
    with postgres.connect("shop") as connection:
        columns = ", ".join(column.name for column in connection.execute(f"select * from {table} limit 0").description)
    with postgres.connect(database) as connection:
        cursor = connection.execute(f"select {columns} from {relation or table}")
        kinds = {oid: name for oid, name in connection.execute("select oid, typname from pg_type").fetchall()}
        names = [(column.name, kinds[column.type_code]) for column in cursor.description]
        return sorted(_text({name: _native(kind, value) for (name, kind), value in zip(names, row)}) for row in cursor.fetchall())


class RelayCase(TestCase):
    """One server and one broker for the class; a database, a slot and a prefix for each test."""

    rows = 3000
    settings: dict[str, str] = {}
    broker_kind = SecureBroker
    template = "{prefix}.public.{table}"  # of the topics' names
    number = 0

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(**cls.settings).start()
        cls.addClassCleanup(cls.postgres.stop)
        cls.broker = cls.broker_kind()
        cls.broker.start()
        cls.addClassCleanup(cls.broker.stop)

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="firn-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.runs = self.traffics = 0
        RelayCase.number += 1
        self.prefix = f"t{RelayCase.number}"
        self.registry = None
        self.postgres.create_database("shop")
        self.addCleanup(self._drop_database)
        self.connection = self.postgres.connect("shop")
        self.addCleanup(self.connection.close)

    def _drop_database(self):
        self.postgres.drop_database("shop")

    def make_shop(self, rows: int = None):
        shop.make(self.connection, rows or self.rows)

    def write_manifest(self, brokers: str = None, **fields) -> Path:
        path = self.folder / "manifest.yaml"
        fields = {"prefix": self.prefix, "registry": self.registry, **fields}
        path.write_text(stream_manifest(self.postgres, brokers or self.broker.bootstrap, **fields))
        path.chmod(0o600)
        return path

    def start(self, crash_at: str = None, **options) -> Agent:
        self.runs += 1
        options.setdefault("confirm_ms", QUICK_CONFIRM_MS)
        agent = Agent(self.folder / "manifest.yaml", self.folder / f"agent-{self.runs}.log", crash_at, subcommand="capture", **options)
        self.addCleanup(agent.__exit__)
        return agent

    def wait_agreed(self, agent: Agent, seconds: float = AGREE_SECONDS, slot: str = "firn"):
        """Everything written so far is in the topics."""
        try:
            self.postgres.wait_confirmed(slot, seconds, "shop", agent.alive)
        except TimedOut as error:
            raise TimedOut(f"{error}; the slot: {self.postgres.slot(slot)}; the agent: {agent.text()[-3000:]}") from None

    def topic(self, table: str) -> Topic:
        name = self.template.format(prefix=self.prefix, table=table)
        return Topic(self.broker, name, self.postgres, table, self.registry)

    def assert_equal(self, tables=shop.TABLES, repeats: bool = True) -> dict[str, Topic]:
        """Every topic, folded, is its table; in order, and what came again was the same."""
        topics = {table: self.topic(table) for table in tables}
        for table, topic in topics.items():
            self.assertEqual(topic.disordered, [], table)
            if not repeats:
                self.assertEqual(topic.repeated, 0, table)
            ours, theirs = topic.rows_as_text(), source_rows(self.postgres, table)
            if ours != theirs:
                missing, extra = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
                self.fail(f"{table}: {len(ours)} rows, the source has {len(theirs)}; missing {missing[:2]}, too many {extra[:2]}")
        return topics

    def assert_stopped(self, agent: Agent):
        self.assertEqual(agent.stop(), OK, agent.text()[-3000:])

    @contextmanager
    def traffic(self, seed: int = None, pace: float = shop.PACE, **options):
        """Changes go on in a thread, through a connection of their own, until the block ends."""
        self.traffics += 1
        seed = seed or self.traffics
        stop, failed, changes = threading.Event(), [], []

        def run():
            try:
                with self.postgres.connect("shop") as connection:
                    changes.append(shop.Traffic(connection, seed, **options))
                    changes[0].run(stop=stop, pace=pace)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, name="traffic", daemon=True)
        thread.start()
        try:
            wait_until(lambda: failed or (changes and changes[0].done["transactions"] > 10), 90, "traffic flows")
            yield changes[0] if changes else None
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]
