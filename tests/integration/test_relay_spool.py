"""firn-agent capture with a spool, in a folder and in a bucket: the broker is away for longer than the source would keep its
log, the agent is killed at each point of the spool's way and at random, and in the end every topic, folded by key, is its
table; with Transactional nothing came twice. The bucket's store is away as well: the source is answered, and keeps its log."""

import contextlib
import os
import signal
import unittest
from pathlib import Path

from harness.agent import REFUSED
from harness.fault_proxy import FaultProxy
from harness.relay import RelayCase
from harness.s3 import S3Server
from harness.shop import Traffic
from harness.wait import wait_until

KEPT = 64 << 20
POINTS = {phase: [line.split()[0] for line in (Path(__file__).parent / "crash_points").read_text().splitlines() if line.split()[1] == phase]
          for phase in ("relay-spool", "relay-spool-out")}  # fmt: skip
BUCKET = "spools"


class Folder:
    def __init__(self, path: Path):
        self.path = path
        self.manifest, self.secrets = f"location: {path}", {}

    def segments(self) -> dict[str, int]:
        """Names and sizes, in order, of those that stay while they are listed."""
        found = {}
        for path in sorted(self.path.glob("*.spool")):
            with contextlib.suppress(FileNotFoundError):
                found[path.name] = path.stat().st_size
        return found

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes):
        (self.path / name).write_bytes(data)


class Bucket:
    def __init__(self, server: S3Server, port: int, prefix: str):
        self.client, self.server, self.prefix = server.client(), server, f"{prefix}/"
        self.manifest = (f"location: \"s3://{BUCKET}/{prefix}\", storage: {{endpoint: \"http://127.0.0.1:{port}\", region: {server.region},"
                         " credentialsSecretRef: {name: s3}}")  # fmt: skip
        self.secrets = {"s3": {"accessKeyId": server.access_key, "secretAccessKey": server.secret_key}}

    def segments(self) -> dict[str, int]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=self.prefix).get("Contents", [])
        return {item["Key"].removeprefix(self.prefix): item["Size"] for item in found if item["Key"].endswith(".spool")}

    def read(self, name: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=self.prefix + name)["Body"].read()

    def write(self, name: str, data: bytes):
        self.client.put_object(Bucket=BUCKET, Key=self.prefix + name, Body=data)


class Spool(RelayCase):
    rows = 1500
    PATIENCE_SECONDS = 20  # the server's, with who reads its log: longer than a busy machine stands still
    settings = {"max_slot_wal_keep_size": "'64MB'", "min_wal_size": "'32MB'", "wal_sender_timeout": f"'{PATIENCE_SECONDS}s'"}
    s3_kind = "versitygw"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.s3 = S3Server(cls.s3_kind).start()
        cls.addClassCleanup(cls.s3.stop)
        cls.s3.create_bucket(BUCKET)
        cls.store = FaultProxy("127.0.0.1", cls.s3.port).start()
        cls.addClassCleanup(cls.store.stop)

    def setUp(self):
        super().setUp()
        os.environ["FIRN_STALLED_MS"] = "1000"
        self.addCleanup(os.environ.pop, "FIRN_STALLED_MS")
        self.spool = Folder(self.folder / "spool")
        self.addCleanup(self.bring_broker_back)
        self.addCleanup(self.store.calm)

    def in_bucket(self):
        self.spool = Bucket(self.s3, self.store.port, self.prefix)

    def bring_broker_back(self):
        if self.broker.process.poll() is not None:
            self.broker.start_again()

    def write(self, delivery="Idempotent", most="1Gi", **more):
        stream = f"    spool: {{{self.spool.manifest}, maxBytes: {most}}}\n"
        self.write_manifest(delivery=delivery, stream=stream, secrets=self.spool.secrets, **more)

    def change(self, steps=10):
        for _ in range(steps):
            self.changes.step()

    def spooling(self, **fields):
        """An agent of a small shop, whose broker has gone."""
        self.make_shop(300)
        self.changes = Traffic(self.connection, 3, bulk=False)
        self.write(**fields)
        agent = self.start()
        self.wait_agreed(agent)
        self.broker.kill()
        self.change()
        self.wait_agreed(agent)
        return agent

    def wait_empty(self, agent):
        wait_until(lambda: not self.spool.segments(), 90, "the spool is given", agent.alive)

    def strike(self, point: str):
        agent = self.start(crash_at=point)

        def over():
            if agent.process.poll() is None:
                self.change(2)
            return agent.process.poll() is not None

        wait_until(over, 90, f"{point} strikes")
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
        self.assertTrue(self.spool.segments())
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
        names = list(self.spool.segments())
        whole = self.spool.read(names[0])
        self.spool.write(names[0], whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-2000:])
        self.assertIn("SpoolDamaged", agent.text())
        self.assertEqual(list(self.spool.segments()), names)  # nothing is thrown away
        self.spool.write(names[0], whole)

    def back(self, agent, delivery: str):
        agent.kill()
        self.broker.start_again()
        for point in POINTS["relay-spool-out"]:
            if not self.spool.segments():
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
        self.in_bucket()
        self.back(self.away("Transactional"), "Transactional")

    def test_full_and_back(self):
        """More than the spool holds: the source keeps the rest. A running agent goes through both by itself."""
        agent = self.spooling(most="1Mi")

        def is_full():
            if "the spool is full" in agent.text():
                return True
            with self.connection.transaction():
                for _ in range(8):
                    self.connection.execute("update customers set notes = repeat(md5(random()::text), 200)")
            return False

        wait_until(is_full, 60, "the spool is full", agent.alive)
        self.assertLess(sum(self.spool.segments().values()), 2 << 20)
        self.broker.start_again()
        self.wait_agreed(agent)
        self.wait_empty(agent)
        self.connection.execute("alter table products add column origin text; update products set origin = 'here' where sku < 'sku-000005'")
        self.wait_agreed(agent)
        self.wait_empty(agent)
        self.assert_stopped(agent)
        self.assert_equal()

    def test_larger_than_the_spool(self):
        """A transaction that all of the spool does not hold: when the broker is back it goes there by itself, piece by piece."""
        agent = self.spooling(most="1Mi")
        with self.connection.transaction():
            for _ in range(60):
                self.connection.execute("update customers set notes = repeat(md5(random()::text), 200)")
        wait_until(lambda: "the spool is full" in agent.text(), 60, "the spool is full", agent.alive)
        self.assertLess(sum(self.spool.segments().values()), 2 << 20)
        self.broker.start_again()
        self.wait_agreed(agent)
        self.wait_empty(agent)
        self.assertIn("SpoolFull", agent.text())
        self.change()
        self.wait_agreed(agent)
        self.wait_empty(agent)
        self.assert_stopped(agent)
        self.assert_equal()

    def test_store_away(self):
        """Neither the broker nor the bucket can be reached: nothing is lost, the server hears of the agent all the while."""
        self.in_bucket()
        agent = self.spooling()
        self.store.random(1, 1.0, ["cut"])
        end = self.postgres.wal_end()
        self.change()
        wait_until(lambda: "the spool can't be written to" in agent.text(), 60, "the bucket is missed", agent.alive)
        self.assertTrue(self.store.struck)
        reader, told, _ = self.replies()[0]
        wait_until(lambda: self.replies()[0][1] > told + 1.2 * self.PATIENCE_SECONDS, 90, "the server has heard of it for longer than it waits",
                   agent.alive)  # fmt: skip
        (again, _, confirmed), = self.replies()
        self.assertEqual(again, reader)  # the same process of the server's all the while
        self.assertLessEqual(confirmed, end)  # which was told of nothing that is nowhere
        self.store.calm()
        self.wait_agreed(agent)
        self.broker.start_again()
        self.wait_agreed(agent)
        self.wait_empty(agent)
        self.change()
        self.wait_agreed(agent)
        self.wait_empty(agent)
        self.assert_stopped(agent)
        self.assert_equal()

    def replies(self) -> list[tuple[int, float, int]]:
        """Of who reads from the slot: the server's process, when it heard of it, and what it was told at most."""
        return self.postgres.execute(
            "select r.pid, extract(epoch from reply_time)::float8, (greatest(flush_lsn, confirmed_flush_lsn) - '0/0')::bigint"
            " from pg_stat_replication r join pg_replication_slots on r.pid = active_pid")  # fmt: skip

    def refused(self, reason: str, words: str):
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-2000:])
        self.assertIn(reason, agent.text())
        self.assertIn(words, agent.text())

    def test_refused(self):
        self.make_shop(300)
        self.write_manifest(stream="    spool: {location: /proc/nothing/here}\n")
        self.refused("SpoolFolder", "/proc/nothing/here")
        self.in_bucket()
        self.spool.secrets["s3"]["secretAccessKey"] = "another"
        self.write()
        self.refused("AccessDenied", "spec.stream.spool.storage.credentialsSecretRef")
        self.in_bucket()
        self.spool.manifest = self.spool.manifest.replace(BUCKET, "nobodys")
        self.write()
        self.refused("BucketMissing", "nobodys")
        self.in_bucket()
        self.spool.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{1:016x}.claim", Body=b"default/another")
        self.write()
        self.refused("SpoolFolder", "default/another")


if __name__ == "__main__":
    unittest.main()
