"""What the benches of MySQL and MariaDB share: a server with the 144-byte row in table shop.accounts, and the changes that wait
in its binlog. The rows of before stand in no binlog, so that who reads it from its beginning has the table and its changes."""

import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import duckdb
from figures import Run, measured

from harness.agent import binary
from harness.mysql import SERVERS
from harness.mysql_lake import manifest

ACCOUNTS = """
create table accounts (id bigint primary key, bid int not null, abalance int not null, name varchar(64) not null,
    note text, amount decimal(12,2) not null, updated timestamp(6) not null)"""
COLUMNS = "id, bid, abalance, name, note, amount, updated"
# Of an id, as the bench of PostgreSQL has it.
ROW = "{id}, {id} % 100, 0, concat('customer ', lpad({id}, 12, '0')), sha2({id}, 256), ({id} % 1000000) / 100, now(6)"
CHANGES = """
create procedure changes(transactions int, base int)
begin
    declare t int default 0;
    while t < transactions do
        start transaction;
        update accounts set abalance = abalance + t + 1, updated = now(6) where id > (t * 80) % base and id <= (t * 80) % base + 80;
        insert into accounts select {row} from accounts where id <= 20;
        commit;
        set t = t + 1;
    end while;
end""".format(row=ROW.format(id="(base + t * 20 + id)"))
# Of the protocol between replica and server.
COM_BINLOG_DUMP, NO_WAIT, HEADER_BYTES, END, READ_BYTES = 0x12, 1, 4, 0xFE, 1 << 20
TYPES = "{'id': 'bigint', 'bid': 'int', 'abalance': 'int', 'name': 'varchar', 'note': 'varchar', 'amount': 'decimal(12,2)', 'updated': 'timestamp'}"


class MysqlBench:
    def __init__(self, kind: str):
        self.server = SERVERS[kind](innodb_buffer_pool_size="1G", innodb_log_file_size="1G" if kind == "MariaDB" else None,
                                    innodb_redo_log_capacity="2G" if kind == "MySQL" else None, max_binlog_size="1G",
                                    innodb_doublewrite="OFF")  # fmt: skip
        self.folder = Path(tempfile.mkdtemp(prefix="firn-bench-"))
        self.warehouse = self.folder / "warehouse"

    def __enter__(self):
        self.server.start()
        self.server.execute("create database shop")
        self.server.create_user()
        self.connection = self.server.connect()
        self.execute(ACCOUNTS)
        return self

    def __exit__(self, *unused):
        self.connection.close()
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, statement: str):
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def accounts(self, rows: int):
        """Each statement doubles what is there. Read once, the table is in the server's memory."""
        self.execute("set sql_log_bin = 0")
        self.execute(f"insert into accounts select {ROW.format(id='1')}")
        there = 1
        while there < rows:
            row = ROW.format(id=f"(id + {there})")
            self.execute(f"insert into accounts select {row} from accounts where id <= {rows - there}")
            there = self.execute("select count(*) from accounts")[0][0]
        self.execute("analyze table accounts")
        self.execute("select count(*) from accounts where note is not null")
        self.execute("set sql_log_bin = 1")

    def change(self, transactions: int, base: int) -> int:
        """100 changes in each, 80 of them updates; where the log ends then, as the agent's metrics have it."""
        self.execute("set sql_log_bin = 0")
        self.execute(CHANGES)
        self.execute("set sql_log_bin = 1")
        self.execute(f"call changes({transactions}, {base})")
        return self.log_end()

    def log_end(self) -> int:
        file, offset = self.server.log_end()
        return int(file.rsplit(".", 1)[1]) << 40 | offset

    def forget(self):
        shutil.rmtree(self.warehouse, ignore_errors=True)
        self.warehouse.mkdir()

    def agent_call(self, **fields) -> list:
        path = self.folder / "manifest.yaml"
        path.write_text(manifest(self.server, self.warehouse, include='["shop.accounts"]', **fields))
        path.chmod(0o600)
        return [binary(), "run", "-f", path, "--progress", "never", "--log-level", "warn"]

    def client(self, program: str, *arguments) -> Run:
        """One of MariaDB's programs, which speak to both; what it has to say goes nowhere."""
        run = measured([f"/usr/bin/{program}", "--no-defaults", "--user=root", f"--socket={self.server.socket}", *arguments],
                       stdout=subprocess.DEVNULL)  # fmt: skip
        if run.code:
            raise SystemExit(f"{program} ended with {run.code}")
        return run

    def raw_binlog(self) -> Run:
        """All of the binlog, as a replica is sent it, to nothing: of each packet its length alone is looked at."""
        connection = self.server.connect()
        first = self.server.execute("show binary logs")[0][0].encode()
        with connection.cursor() as cursor:
            cursor.execute("set @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum")
        started = time.monotonic()
        connection._execute_command(COM_BINLOG_DUMP, struct.pack("<IHI", 4, NO_WAIT, 4243) + first)
        held, from_server = bytearray(), connection._sock
        part = bytearray(READ_BYTES)
        ended = False
        while not ended:
            count = from_server.recv_into(part)
            if not count:
                raise SystemExit("the server ended the binlog early")
            held += memoryview(part)[:count]
            at = 0
            while len(held) - at >= HEADER_BYTES:
                length = int.from_bytes(held[at : at + 3], "little")
                if len(held) - at < HEADER_BYTES + length:
                    break
                ended = length < 9 and held[at + HEADER_BYTES] == END
                at += HEADER_BYTES + length
            del held[:at]
        wall = time.monotonic() - started
        connection.close()
        return Run(wall, 0, 0, 0)

    def check(self, bench: str):
        """A figure of a run that lost a row is none: DuckDB reads both sides, and compares how many rows there are and what
        their hashes come to."""
        text = self.folder / "source.tsv"
        columns = COLUMNS.replace("updated", "date_format(updated, '%Y-%m-%d %H:%i:%s.%f')")
        with open(text, "wb") as to:
            subprocess.run(["/usr/bin/mariadb", "--no-defaults", "--user=root", f"--socket={self.server.socket}", "--quick", "--batch", "--skip-column-names",
                            "--init-command=set time_zone = '+00:00'", "-e", f"select {columns} from accounts", "shop"], stdout=to, check=True)  # fmt: skip
        newest = max((self.warehouse / "shop/accounts/metadata").glob("v*.metadata.json"), key=lambda path: int(path.name[1:].split(".")[0]))
        with duckdb.connect() as engine:
            engine.execute("load iceberg; load icu; set TimeZone = 'UTC'")
            asked = f"select count(*), sum(hash({COLUMNS})) from"
            source = engine.execute(f"{asked} read_csv('{text}', delim = '\t', header = false, quote = '', escape = '', columns = {TYPES})").fetchone()
            lake = engine.execute(f"{asked} (select * replace (updated::timestamp as updated) from iceberg_scan('{newest}'))").fetchone()
        text.unlink()
        if source != lake:
            raise SystemExit(f"{bench}: the source has {source}, the lake {lake}")
