"""deploy/quickstart --source mysql|mariadb: a private server with a small shop and live traffic, followed into a folder,
with --kafka by way of topics, and every row of every table compared by content.

    mysql_shop.py mysql|mariadb AGENT [--seconds N] [--rows N] [--format-version 2|3] [--kafka [--consumers N]] [--keep]
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.mysql import PASSWORD, SERVERS
from harness.mysql_lake import difference, digests
from harness.wait import wait_until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TABLES = ("customers", "products", "orders", "order_lines")
AGREE_SECONDS = 120

_SCHEMA = """
create table customers (id int unsigned auto_increment primary key, name varchar(80) not null, email varchar(120) character set latin1,
    tier enum('bronze','silver','gold') not null default 'bronze', tags set('new','vip','late'), profile json, joined datetime(3));
create table products (sku varchar(20) primary key, category varchar(20) not null, price decimal(10,2) not null, weight float, image blob);
create table orders (id bigint unsigned auto_increment primary key, customer_id int unsigned not null, status varchar(12) not null,
    total decimal(12,2), placed timestamp(6) not null default current_timestamp(6));
create table order_lines (order_id bigint unsigned, line smallint unsigned, sku varchar(20) not null, quantity int not null,
    price decimal(10,2) not null, primary key (order_id, line));
"""


def say(text: str):
    print(f"\n== {text}", flush=True)


def _many(cursor, statement: str, rows: list, at_once: int = 1000):
    for first in range(0, len(rows), at_once):
        cursor.executemany(statement, rows[first : first + at_once])


class Shop:
    def __init__(self, connection, rows: int, seed: int = 1):
        self.connection, self.pick = connection, random.Random(seed)
        self.customers, self.products, self.orders = max(rows // 10, 10), 100, max(rows // 4, 10)

    def make(self):
        pick = self.pick
        with self.connection.cursor() as cursor:
            for statement in _SCHEMA.split(";"):
                if statement.strip():
                    cursor.execute(statement)
            _many(cursor, "insert into customers (name, email, tier, tags, profile, joined) values (%s, %s, %s, %s, %s, now(3))",
                  [(f"Käufer {i} 🛒", f"k{i}@example.org", pick.choice(("bronze", "silver", "gold")), pick.choice(("", "new", "new,vip")),
                    f'{{"visits": {i}, "lang": "de"}}') for i in range(self.customers)])  # fmt: skip
            _many(cursor, "insert into products values (%s, %s, %s, %s, %s)",
                  [(f"sku-{i}", f"category {i % 7}", i * 1.5 + 1, i / 3, bytes([i % 256]) * 20) for i in range(self.products)])
            _many(cursor, "insert into orders (customer_id, status, total) values (%s, %s, %s)",
                  [(pick.randrange(1, self.customers + 1), pick.choice(("new", "paid", "sent")), i / 4) for i in range(self.orders)])
            _many(cursor, "insert into order_lines values (%s, %s, %s, %s, %s)",
                  [(i, line, f"sku-{pick.randrange(self.products)}", pick.randrange(1, 9), 9.99)
                   for i in range(1, self.orders + 1) for line in range(1, pick.randrange(2, 5))])  # fmt: skip

    def traffic(self, seconds: float, watch) -> int:
        done, end, pick = 0, time.monotonic() + seconds, self.pick
        with self.connection.cursor() as cursor:
            while time.monotonic() < end:
                watch()
                cursor.execute("begin")
                cursor.execute("insert into orders (customer_id, status, total) values (%s, 'new', 0)", [pick.randrange(1, self.customers)])
                order = cursor.lastrowid
                for line in range(1, pick.randrange(2, 6)):
                    cursor.execute("insert into order_lines values (%s, %s, %s, %s, 5.25)",
                                   [order, line, f"sku-{pick.randrange(self.products)}", pick.randrange(1, 9)])  # fmt: skip
                cursor.execute("update orders set status = %s, total = total + 1 where id = %s",
                               [pick.choice(("paid", "sent", "cancelled")), pick.randrange(1, order)])  # fmt: skip
                cursor.execute("update customers set tags = %s where id = %s",
                               [pick.choice(("late", "vip,late", "")), pick.randrange(1, self.customers)])  # fmt: skip
                cursor.execute("delete from order_lines where order_id = %s", [pick.randrange(1, order)])
                cursor.execute("commit" if pick.random() > 0.03 else "rollback")
                done += 1
        return done


class Agents:
    """What follows the shop: one process, or with topics one that fills them and others that empty them into tables."""

    def __init__(self, arguments, manifest: Path, folder: Path):
        subcommands = ["capture", *["ingest"] * arguments.consumers] if arguments.kafka else ["run"]
        self.all = [
            subprocess.Popen([arguments.agent, subcommand, "-f", manifest, "--secrets", folder / "secrets", "--log-level", "warn",
                              "--progress", "never" if subcommand == "ingest" else "always"])
            for subcommand in subcommands]  # fmt: skip

    def alive(self):
        for agent in self.all:
            if agent.poll() is not None:
                raise SystemExit(f"quickstart: firn-agent ended with exit code {agent.returncode}")

    def stop(self) -> bool:
        for agent in self.all:
            agent.terminate()
        return not any([agent.wait(60) for agent in self.all])

    def kill(self):
        for agent in self.all:
            agent.kill()
            agent.wait()


def same_topics(broker, connection) -> bool:
    from harness import mysql_relay

    say("every row of every table, source and topics")
    for table in TABLES:
        said, topic = mysql_relay.difference(broker, "shop", connection, table)
        print(f"shop.{table}: {len(topic.rows)} rows, {sum(topic.ops.values())} records{', MISMATCH: ' + said if said else ''}")
        if said:
            return False
    say("a record of shop.shop.orders")
    return subprocess.run([sys.executable, DEPLOY / "quickstart-records.py", broker.bootstrap, "shop.shop.orders"]).returncode == 0


def run(arguments, server, broker, folder: Path) -> int:
    warehouse = folder / "warehouse"
    warehouse.mkdir()
    secret = folder / "secrets" / "shop-db"
    secret.mkdir(parents=True, mode=0o700)
    (secret / "username").write_text("firn")
    (secret / "password").write_text(PASSWORD)
    server.execute("create database shop")
    server.create_user()
    connection = server.connect()
    shop = Shop(connection, arguments.rows)
    shop.make()
    text = (DEPLOY / f"quickstart-mysql{'-kafka' if broker else ''}.yaml").read_text()
    fields = {"type": server.kind, "port": server.port, "warehouse": warehouse, "formatVersion": arguments.format_version,
              "bootstrapServers": f'"{broker.bootstrap}"' if broker else ""}  # fmt: skip
    for field, value in fields.items():
        text = re.sub(rf"^( *{field}:) (?!Directory).*", rf"\1 {value}", text, flags=re.M)
    manifest = folder / "quickstart.yaml"
    manifest.write_text(text)
    say(f"firn-agent {'capture and ingest' if broker else 'run'} -f quickstart.yaml, {arguments.seconds} s of traffic")
    agents = Agents(arguments, manifest, folder)
    try:
        transactions = shop.traffic(arguments.seconds, agents.alive)
        say(f"traffic over ({transactions} transactions); waiting until everything is there")

        def there():
            try:
                return not any(difference(connection, warehouse, table) for table in TABLES)
            except (ValueError, OSError):  # no metadata yet
                return False

        wait_until(there, AGREE_SECONDS, "lake and source are equal", agents.alive)
        if not agents.stop():
            return 1
    finally:
        agents.kill()
    if broker and not same_topics(broker, connection):
        return 1
    say("every row of every table, source and lake")
    rows = 0
    for table in TABLES:
        count, ours, theirs = digests(connection, warehouse, table)
        print(f"shop.{table}: {count} rows, {ours[:16]} in the lake, {theirs[:16]} at the source")
        if ours != theirs:
            print(f"MISMATCH: {difference(connection, warehouse, table)}")
            return 1
        rows += count
    say("DuckDB: what sells best")
    if subprocess.run([sys.executable, DEPLOY / "quickstart-query.py", warehouse / "shop"]).returncode:
        return 1
    print(f"\nmatch: {len(TABLES)} tables, {rows} rows, hash equal")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", choices=("mysql", "mariadb"))
    parser.add_argument("agent", type=Path)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=200000)
    parser.add_argument("--format-version", type=int, choices=(2, 3), default=2)
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--consumers", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    kind = {"mysql": "MySQL", "mariadb": "MariaDB"}[arguments.source]
    folder = Path(tempfile.mkdtemp(prefix="firn-quickstart."))
    server, broker = SERVERS[kind](), None
    say(f"a private {kind} in {server.folder}")
    try:
        server.start()
        if arguments.kafka:
            from harness.kafka import Broker

            broker = Broker()
            broker.start()
            print(f"Kafka at {broker.bootstrap}")
        code = run(arguments, server, broker, folder)
        if arguments.keep:
            print(f"kept: {folder}; the database ends when Enter is pressed: {server.host}:{server.port}, user firn")
            sys.stdin.readline()
        return code
    finally:
        if broker:
            broker.stop()
        server.stop()
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
