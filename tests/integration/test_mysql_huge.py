"""Transactions far larger than the agent may grow, on MySQL and MariaDB, plain and compressed in the binlog: every row, and
little memory. FIRN_ROWS (200,000) is how many of 330 bytes each of them holds."""

import os
import unittest

import test_mysql

ROWS = int(os.environ.get("FIRN_ROWS", "200000"))
TEXT_BYTES = 320
LEAST_BYTES = ROWS * TEXT_BYTES  # of the log, of each transaction
PEAK_MAX = 96 << 20


class Huge(test_mysql.Base):
    compressed = False

    def written(self) -> int:
        """Bytes of the binlog, of all files."""
        return sum(int(row[1]) for row in self.execute("show binary logs"))

    def test_huge(self):
        self.execute("create table t (id int primary key, n int not null, word varchar(400) character set latin1)")
        self.execute("create table digits (n int primary key)")
        self.execute("insert into digits values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)")
        agent = self.start(exclude='["shop.digits"]', interval="1s", format=3)
        self.wait_copied(agent, "t")
        before = self.written()
        places = ", ".join(f"digits d{place}" for place in range(len(str(ROWS))))
        number = " + ".join(f"d{place}.n * {10**place}" for place in range(len(str(ROWS))))
        self.execute(f"insert into t select {number} as id, 1, lpad({number}, {TEXT_BYTES}, 'x') from {places} having id < {ROWS}")
        self.execute("update t set n = 2")
        self.execute("delete from t where id % 3 = 0")
        self.assertEqual(self.execute("select count(*), sum(n) from t"), ((ROWS - -(-ROWS // 3), 2 * (ROWS - -(-ROWS // 3))),))
        if not self.compressed:
            self.assertGreater(self.written() - before, 3 * LEAST_BYTES)
        self.wait_equal(agent, "t")
        memory = agent.memory()
        said = f"{self.kind}{', compressed' if self.compressed else ''}: {(self.written() - before) / 2**20:.0f} MiB of binlog"
        print(f"{said}, the agent's peak {memory['peak'] / 2**20:.0f} MiB", flush=True)
        self.assertLess(memory["peak"], PEAK_MAX)


class MariadbHuge(Huge, unittest.TestCase):
    kind = "MariaDB"


class MysqlHuge(Huge, unittest.TestCase):
    kind = "MySQL"


class MariadbHugeCompressed(Huge, unittest.TestCase):
    kind, settings, compressed = "MariaDB", test_mysql.MariadbCompressed.settings, True


class MysqlHugeCompressed(Huge, unittest.TestCase):
    kind, settings, compressed = "MySQL", test_mysql.MysqlCompressed.settings, True


if __name__ == "__main__":
    unittest.main()
