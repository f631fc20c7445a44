"""kill -9 where it hurts, FIRN_KILLS (50) times each: while tables are copied, while a transaction waits in its spool or
is handed on from it, and while changes of columns are under way. A third of them at named points, the others at random
moments; at those the agent is halted first, and looked at: a kill counts only where the phase was on. After each the
agent goes on, and every row is equal; DuckDB and pyiceberg take turns, and both have the last word."""

import contextlib
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
import unittest
from collections import Counter
from pathlib import Path

os.environ.setdefault("FIRN_COPY_RANGE_BLOCKS", "20")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from harness.case import Shop
from harness.record import record
from harness.wait import wait_until
from test_kill import crash_points

KILLS = int(os.environ.get("FIRN_KILLS", "50"))
SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
KINDS = [(2, "Upsert"), (3, "Upsert"), (3, "Append"), (2, "Append")]
AFRESH = 10  # kills of a stream before tables and lake are made anew
STRIKE_SECONDS = 90
FAR = 40  # columns that are as old are known to the agent
AHEAD = 20  # changes of columns that the lake has not
LARGE = 15_000  # rows of a transaction that is spooled
FOUND: dict[str, str] = {}


def spooled(agent) -> int:
    """Bytes of files that the agent has open though they have no name."""
    found = 0
    for descriptor in Path(f"/proc/{agent.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(descriptor).endswith(" (deleted)"):
                found += os.stat(descriptor).st_size
    return found


class Phase(Shop):
    """What the three have in common. `work`: statements that go on in a thread while the agent runs."""

    settings = {"logical_decoding_work_mem": "'64kB'", "max_wal_size": "'1GB'"}
    name = points = None

    def setUp(self):
        super().setUp()
        self.dice = random.Random(f"{SEED} {self.name}")
        self.struck, self.elsewhere = Counter(), Counter()
        self.left: list[str] = []
        self.over = threading.Event()

    # --- what differs

    def make(self):
        raise NotImplementedError

    def begin(self):
        """Before a run that is killed."""

    def work(self, connection):
        raise NotImplementedError

    def wait_for(self, agent):
        """The phase is on, or about to be."""

    def is_on(self, agent) -> bool:
        raise NotImplementedError

    def was_on(self, agent) -> bool:
        """Of one that a crash point ended: most points are nowhere else."""
        return True

    # --- the kills

    def afresh(self, kind):
        self.connection.execute("drop schema public cascade; create schema public")
        self.forget()
        self.make()
        self.write_manifest(format=kind[0], mode=kind[1], parallelism=2, more_table="      schemaEvolution: {droppedColumns: Drop}\n",
                            **self.fields())  # fmt: skip

    def fields(self) -> dict:
        return {}

    def forget(self):
        self.postgres.drop_slots()
        self.connection.execute("drop publication if exists firn")
        shutil.rmtree(self.warehouse)
        self.warehouse.mkdir()

    def next_point(self) -> str:
        """Every point comes once before one comes again, on its first pass or a later one."""
        if not self.left:
            self.left = [f"{name}:{self.dice.choice((1, 2, 5, 12) if often else (1,))}" for name, often in self.points]
            self.dice.shuffle(self.left)
        return self.left.pop()

    @contextlib.contextmanager
    def working(self):
        self.over.clear()
        self.failed = []

        def run():
            try:
                with self.postgres.connect("shop") as connection:
                    while not self.over.is_set():
                        self.work(connection)
            except BaseException as error:
                self.failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()
        self.still_works()

    def still_works(self):
        if self.failed:
            raise self.failed[0]

    def kill_at(self, point: str) -> bool:
        agent = self.start(crash_at=point)
        wait_until(lambda: agent.process.poll() is not None, STRIKE_SECONDS, f"{point} strikes", self.still_works)
        self.assertEqual(agent.wait(), -signal.SIGKILL, f"{point}: {agent.text()[-2000:]}")
        self.assertTrue(agent.struck(), f"{point} did not strike: {agent.text()[-2000:]}")
        return self.was_on(agent)

    def kill_somewhere(self) -> bool:
        agent = self.start()
        self.wait_for(agent)
        time.sleep(self.dice.uniform(0, self.seconds))  # the moment is the test's, nothing is waited for
        agent.alive()
        agent.process.send_signal(signal.SIGSTOP)
        status = Path(f"/proc/{agent.process.pid}/status")
        wait_until(lambda: re.search(r"State:\s+[TZ]", status.read_text()), 10, "it stands still")
        hit = self.is_on(agent)
        agent.kill()
        return hit

    def one(self, number: int, engine: str):
        self.begin()
        point = self.next_point() if number % 3 == 0 else None
        with self.working():
            hit = self.kill_at(point) if point else self.kill_somewhere()
            self.assert_not_ahead()
        how = point.split(":")[0] if point else "random"
        (self.struck if hit else self.elsewhere)[how] += 1
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal(engine)
        self.assert_not_ahead()
        self.assert_stopped(agent)
        return how, hit

    def test_kills(self):
        started, number = time.monotonic(), 0
        while (count := self.struck.total()) < KILLS:
            kind = KINDS[number // AFRESH % len(KINDS)]
            if number % AFRESH == 0:
                self.afresh(kind)
            engine = ("duckdb", "pyiceberg")[number % 2]
            began = time.monotonic()
            try:
                how, hit = self.one(number, engine)
            except BaseException as error:
                raise AssertionError(f"seed {SEED}, kill {number}, v{kind[0]} {kind[1]}: {error}") from error
            print(f"{self.name} {count + 1}/{KILLS} v{kind[0]} {kind[1]} at {how}: {'struck' if hit else 'elsewhere'}, equal again by {engine}"
                  f" ({time.monotonic() - began:.1f} s)", flush=True)  # fmt: skip
            number += 1
            self.assertLess(self.elsewhere.total(), 3 * KILLS, "the phase is hardly ever struck")
        for engine in ("duckdb", "pyiceberg"):
            self.assert_equal(engine)
        points = ", ".join(f"{how} {count}" for how, count in sorted(self.struck.items()) if how != "random")
        FOUND[self.name] = (
            f"{self.name}: {self.struck.total()} kills struck in it, {self.struck['random']} of them at random moments, others at {points};"
            f" {self.elsewhere.total()} more just before or after it; {(time.monotonic() - started) / 60:.0f} minutes")  # fmt: skip


class Copying(Phase):
    """Tables are read, in many ranges, at a rate that makes it last; rows of them change meanwhile."""

    name, seconds = "a copy", 1.5
    points = crash_points("copy")

    def make(self):
        self.make_shop(12_000)
        self.changes = 0
        self.orders = self.connection.execute("select count(*) from orders").fetchone()[0]

    def fields(self):
        return {"rate": 12_000}

    def begin(self):
        self.forget()

    def work(self, connection):
        self.changes += 1
        connection.execute("update orders set note = 'now ' || %s, total = total + 1 where id %% 97 = %s", [self.changes, self.changes % 97])
        order = self.changes % self.orders + 1
        connection.execute("delete from order_lines where order_id = %s", [order])
        connection.execute("insert into order_lines select %s, 1, (select min(sku) from products), 1, 9.99, null, '{}', null", [order])

    def wait_for(self, agent):
        wait_until(agent.copying, STRIKE_SECONDS, "a copy begins", agent.alive)

    def is_on(self, agent):
        return bool(agent.copying())


class Spooled(Phase):
    """Transactions that the server streams before they are over; parts of them are undone, and some of them whole."""

    name, seconds = "a streamed transaction", 0.3
    points = crash_points("spool")

    def make(self):
        self.connection.execute("create table large (id bigint primary key, n int, v text); create table small (id int primary key, n int)")
        self.connection.execute("insert into small select i, 0 from generate_series(1, 100) i")
        self.first = 0

    def work(self, connection):
        first, self.first = self.first, self.first + LARGE
        with contextlib.suppress(Undone), connection.transaction():
            connection.execute("insert into large select i, i %% 99, 'v' || i from generate_series(%s::bigint, %s) i", [first, first + LARGE - 1])
            with contextlib.suppress(Undone), connection.transaction():
                connection.execute("update large set n = -n where id between %s and %s", [first, first + LARGE // 5])
                if self.dice.random() < 0.5:
                    raise Undone
            connection.execute("update small set n = n + 1")
            connection.execute("delete from large where id < %s and id %% 50 > 0", [first + LARGE // 2])
            if self.dice.random() < 0.2:
                raise Undone
        self.over.wait(0.1)

    def wait_for(self, agent):
        wait_until(lambda: spooled(agent), STRIKE_SECONDS, "something is spooled", agent.alive)

    def is_on(self, agent):
        return spooled(agent) > 0


class Undone(Exception):
    pass


class Columns(Phase):
    """Columns come, go and change their names and types without a pause, some of it in transactions that are streamed."""

    name, seconds = "changes of columns", 1.5
    points = [*crash_points("stream"), ("schema-learned", True), ("schema-evolved", True)]

    def make(self):
        self.connection.execute("create table changing (id bigint primary key, n integer, c0 text)")
        self.connection.execute("insert into changing select i, i, 'c' || i from generate_series(1, 500) i")
        self.newest, self.row = 0, 1000

    def begin(self):
        if self.warehouse_is_new():
            agent = self.start()
            self.wait_agreed(agent)
            self.assert_stopped(agent)
        self.known = self.lake_newest()

    def warehouse_is_new(self) -> bool:
        return not self.lake_table("changing")

    def lake_newest(self) -> int:
        """Of the columns c0, c1 …, of which each change adds one."""
        metadata = self.lake_table("changing").metadata
        schema = next(each for each in metadata["schemas"] if each["schema-id"] == metadata["current-schema-id"])
        return max(int(field["name"][1:]) for field in schema["fields"] if re.fullmatch(r"c\d+", field["name"]))

    def work(self, connection):
        if self.newest - self.lake_newest() >= AHEAD:
            self.over.wait(0.05)
            return
        self.newest += 1
        new, self.row = self.newest, self.row + 10
        with connection.transaction():
            connection.execute(f"insert into changing (id, n) values ({self.row}, 1)")
            connection.execute(f"alter table changing add column c{new} {self.dice.choice(('integer', 'numeric(9,2)', 'text', 'timestamptz'))}")
            # Of columns that the agent knows: else the log can't tell them apart any more.
            if new > FAR and self.dice.random() < 0.4:
                connection.execute(f"alter table changing rename column c{new - FAR} to r{new - FAR}")
            for name in (f"c{new - 2 * FAR}", f"r{new - 2 * FAR}") if new > 2 * FAR else ():
                connection.execute(f"alter table changing drop column if exists {name}")
            if self.dice.random() < 0.1:
                connection.execute("alter table changing alter column n type bigint")
            connection.execute(f"insert into changing (id, n) values ({self.row + 1}, 2)")
            if self.dice.random() < 0.2:
                connection.execute(f"insert into changing (id, n) select {new} * 100000 + i, i from generate_series(1, 4000) i")
                connection.execute(f"delete from changing where id > {new} * 100000 and id % 100 > 0")
        connection.execute(f"update changing set n = n + 1 where id between {self.row - 100} and {self.row}")
        self.over.wait(0.1)

    def wait_for(self, agent):
        wait_until(lambda: self.learned(agent), STRIKE_SECONDS, "columns change", agent.alive)

    def learned(self, agent) -> int:
        return sum(line["msg"] == "the source's table has other columns from here on" for line in agent.lines())

    def is_on(self, agent):
        """It knows of more than the lake has."""
        return self.known + self.learned(agent) > self.lake_newest()

    was_on = is_on


class Record(unittest.TestCase):
    def test_zz_record(self):
        """After the others, which unittest runs in the order of their names."""
        self.assertEqual(len(FOUND), 3, "a phase is missing: nothing is recorded")
        record("kill -9 in a copy, a streamed transaction, a change of columns", [
            *FOUND.values(), "source and lake equal after each, by DuckDB and pyiceberg in turns, at the end by both",
            f"v2 and v3, Upsert and Append; seed {SEED}"])  # fmt: skip


del Phase, Shop  # have no tests of their own


def load_tests(loader, tests, pattern):
    return unittest.TestSuite(loader.loadTestsFromTestCase(each) for each in (Copying, Spooled, Columns, Record))


if __name__ == "__main__":
    unittest.main(verbosity=2)
