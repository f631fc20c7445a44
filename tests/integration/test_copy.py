"""The initial copy beside the stream: kill -9 while it runs, with traffic that moves rows between what
was read and what was not; what was durable is not read again; tables added while others stream; columns
that change before it, during it and between a crash and its going on; the rate that the manifest allows.

Ranges are of a few blocks here (FIRN_COPY_RANGE_BLOCKS), so that a small table has hundreds.
"""

import os
import random
import re
import signal
import threading
import time
import unittest

from harness.case import QUICK_CONFIRM_MS, Shop
from harness.fault_proxy import Fault
from harness.place import Place
from harness.wait import wait_until

SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
ROWS = 60000
THINNED = 50  # behind so many newer ones not every snapshot of a second stays (agent/table/iceberg/retention.c)
SMALL_FILES = "      file: {targetSize: 64Ki}\n"

MAKE = """
create table big (id bigint primary key, n integer not null, pad text, blob text);
alter table big alter column blob set storage external;
insert into big select i, 0, repeat('x', i % 90), case when i % 40 = 0 then repeat(i::text, 600) end
    from generate_series(1, {rows}) i;
analyze big"""


# What becomes of `big` while it is copied: in one transaction DDL and rows, then rows; what the lake keeps.
DDL = {
    "added": (["alter table big add column extra integer not null default 7"], "update big set extra = 8 where id % 9 = 0", ()),
    "nobody writes": (["alter table big add column extra integer"], "", ()),
    "computed": (["alter table big add column s serial"], "", ()),
    "renamed": (["alter table big rename column pad to label"], "update big set label = 'new' where id % 9 = 0", ()),
    "key renamed": (["alter table big rename column id to key"], "delete from big where key % 9 = 0", ()),
    "dropped": (["alter table big drop column pad"], "update big set n = 1 where id % 9 = 0", ("public.big.pad",)),
    "widened": (["alter table big alter column n type bigint using n + 10000000000"], "delete from big where id % 9 = 0", ()),
    "another type": (["alter table big alter column n type text using 'n' || n"], "update big set n = 'x' where id % 9 = 0",
                     ("public.big.n_2",)),
    "null": (["alter table big alter column n drop not null"], "update big set n = null where id % 9 = 0", ()),
    "same name": (["alter table big drop column blob", "alter table big add column blob text"],
                  "update big set blob = 'new' where id % 9 = 0", ("public.big.blob_4",)),
    "key": (["alter table big drop constraint big_pkey", "alter table big add primary key (id, n)"],
            "update big set n = n + 1 where id % 9 = 0", ()),
    "back": (["alter table big add column x integer", "update big set x = 3 where id % 50 = 0", "alter table big drop column x"],
             "delete from big where id % 9 = 0", ()),
}  # fmt: skip


class Traffic:
    """Changes to `big` that are hard on a copy: rows that move to other blocks (into such as VACUUM
    emptied, too), keys that change and change back, deletes with later inserts of the key, updates that
    leave a TOAST value as it is."""

    def __init__(self, case):
        self.case, self.stop, self.failed, self.rounds = case, threading.Event(), None, 0
        self.thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.rounds > 1 or self.failed, 90, "traffic flows")
        return self

    def __exit__(self, *unused):
        self.stop.set()
        self.thread.join()
        if self.failed:
            raise self.failed

    def _run(self):
        dice = random.Random(SEED)
        try:
            with self.case.postgres.connect("shop") as connection:
                while not self.stop.is_set():
                    self._round(connection.execute, dice)
                    self.rounds += 1
                    self.stop.wait(0.02)
        except BaseException as error:
            self.failed = error

    def _round(self, run, dice):
        at, far = dice.randrange(ROWS), dice.randrange(10**6, 2 * 10**6)
        run("update big set n = n + 1, pad = pad || 'y' where id between %s and %s", [at, at + 40])
        run("update big set n = n + 1 where id %% 40 = 0 and id between %s and %s", [at, at + 4000])
        run("delete from big where id between %s and %s", [at + 50, at + 60])
        run("insert into big select i, -1, 'again', repeat('z', 2500) from generate_series(%s::int, %s) i"
            " on conflict do nothing", [at + 55, at + 58])  # fmt: skip
        run("insert into big values (%s, 7, 'new', null) on conflict do nothing", [far])
        run("update big set id = id + 5000000 where id = %s", [at + 100])
        run("update big set id = id - 5000000 where id > 5000000 and id %% 2 = %s"
            " and not exists (select from big there where there.id = big.id - 5000000)", [self.rounds % 2])  # fmt: skip
        if self.rounds % 8 == 0:
            run("vacuum big")


class Copy(Shop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.environ["FIRN_COPY_RANGE_BLOCKS"] = "6"
        os.environ["FIRN_LOOK_MS"] = "300"
        cls.addClassCleanup(os.environ.pop, "FIRN_COPY_RANGE_BLOCKS")
        cls.addClassCleanup(os.environ.pop, "FIRN_LOOK_MS")

    def make_big(self, rows=ROWS):
        for statement in MAKE.format(rows=rows).split(";\n"):
            self.connection.execute(statement)

    def make_small(self):
        """The same, smaller, and of values that are as large in the lake: files are full sooner."""
        self.make_big(1)
        self.connection.execute(
            "insert into big select i, 0, md5(i::text) || md5((i * 7)::text), case when i % 40 = 0 then repeat(i::text, 600) end"
            " from generate_series(2, 16000) i; analyze big")  # fmt: skip

    def progress(self, table="big") -> str | None:
        """What the lake table says of its copy; None: nothing yet."""
        loaded = self.lake_table(table)
        found = loaded and [text for name, text in loaded.properties.items() if name.startswith("firn.copy.")]
        return found[0] if found else None

    def done(self) -> list[tuple[int, int]]:
        """Stretches of blocks whose rows the lake has."""
        parts = re.findall(r" \d+\.\d+:(\S+)", self.progress() or "")
        return [(int(a), int(b or 2**31)) for part in parts for a, b in re.findall(r"(\d+)-(\d*)", part)]

    def copied(self, agent, table="public.big") -> dict:
        """The line that says so."""
        lines = [line for line in agent.lines() if line["msg"] == "table copied" and line["table"] == table]
        self.assertEqual(len(lines), 1, agent.text()[-3000:])
        return lines[0]

    def wait_some(self, agent, stretches_to=30):
        """Until commits hold some of the ranges, and not all."""
        wait_until(lambda: sum(b - a for a, b in self.done() if b < 2**31) >= stretches_to, 60,
                   "part of the copy is durable", agent.alive)  # fmt: skip
        self.assertNotEqual(self.progress(), "complete")

    def words(self, table="big") -> list[str | None]:
        """What each snapshot's summary says of the copy, oldest first."""
        snapshots = sorted(self.lake_table(table).snapshots, key=lambda each: each["sequence-number"])
        return [next((text for key, text in each["summary"].items() if key.startswith("firn.copy.")), None) for each in snapshots]

    def finish(self, agent):
        self.wait_agreed(agent)
        self.assertEqual(self.progress(), "complete")
        said = self.words()
        whole = next((at for at, word in enumerate(said) if word is None), len(said))
        if len(said) - whole < THINNED:
            self.assertEqual(said[whole - 1], "complete", said)
        self.assertEqual(set(said[: whole - 1]) - {"unfinished"}, set(), said)
        self.assertEqual(set(said[whole:]) - {None}, set(), said)
        self.assert_equal()
        self.assert_equal("pyiceberg")
        self.assert_stopped(agent)

    def test_done_is_not_read_again(self):
        for number, kill in enumerate(("kill", "term")):
            with self.subTest(kill):
                self.connection.execute("drop table if exists big")
                self.make_big()
                self.warehouse = self.folder / f"warehouse-{number}"
                self.warehouse.mkdir()
                self.write_manifest(rate=1500, interval="200ms", slot=f"firn{number}", more_table=SMALL_FILES)
                agent = self.start()
                self.wait_some(agent)
                agent.kill() if kill == "kill" else self.assert_stopped(agent)
                done = self.done()
                clause = " or ".join(f"ctid >= '({a},0)' and ctid < '({b},0)'" for a, b in done)
                there = self.connection.execute(f"select count(*) from big where {clause}").fetchone()[0]
                self.assertGreater(there, 0)
                self.write_manifest(interval="200ms", slot=f"firn{number}", more_table=SMALL_FILES)
                agent = self.start()
                self.wait_agreed(agent, slot=f"firn{number}")
                self.assertEqual(self.copied(agent)["rows"], ROWS - there)
                self.assert_equal()
                self.assert_stopped(agent)

    def killed(self, format_version, mode, ways):
        self.make_big()
        fields = {"format": format_version, "mode": mode, "interval": "200ms", "more_table": SMALL_FILES}
        fields["parallelism"] = 3
        dice = random.Random(SEED)
        with self.subTest(seed=SEED), Traffic(self):
            for number, way in enumerate(ways):
                self.write_manifest(rate=800, **fields)
                agent = self.start(crash_at=way)
                if way:
                    self.assertEqual(agent.wait(), -signal.SIGKILL, agent.text()[-3000:])
                    self.assertTrue(agent.struck(), agent.text()[-3000:])
                else:
                    if mode == "Upsert":
                        self.wait_some(agent, dice.randint(30, 50) * (number + 1))
                    else:
                        wait_until(agent.copying, 60, "the copy goes on", agent.alive)
                    agent.kill()
                self.assertNotEqual(self.progress(), "complete")
                self.assert_not_ahead()
            self.write_manifest(**fields)
            agent = self.start()
            wait_until(lambda: self.progress() == "complete", 90, "the copy is complete", agent.alive)
        self.finish(agent)

    def test_kills_v2(self):
        self.killed(2, "Upsert", [None, "copy-before-commit:2", "copy-committed:1", None])

    def test_kills_v3(self):
        self.killed(3, "Upsert", ["copy-table-read:4", None, "commit-swapped:2", None])

    def test_kills_append(self):
        self.killed(2, "Append", ["copy-committed:2", None])

    def test_raised(self):
        """An unfinished copy goes on in the table's next format version."""
        self.make_big()
        fields = {"interval": "200ms", "more_table": SMALL_FILES, "parallelism": 3}
        with Traffic(self):
            self.write_manifest(format=2, rate=1000, **fields)
            agent = self.start()
            self.wait_some(agent)
            agent.kill()
            self.write_manifest(format=3, **fields)
            agent = self.start()
            wait_until(lambda: self.progress() == "complete", 90, "the copy is complete", agent.alive)
        self.assertIn("format version raised", agent.text())
        self.assertEqual(self.lake_table("big").metadata["format-version"], 3)
        self.finish(agent)

    def test_rewritten_is_read_anew(self):
        """VACUUM FULL moves rows without a word in the log."""
        self.make_big()
        self.connection.execute("delete from big where id % 3 = 0")
        self.write_manifest(rate=1500, interval="200ms", more_table=SMALL_FILES)
        agent = self.start()
        self.wait_some(agent)
        agent.kill()
        self.connection.execute("vacuum full big")
        self.write_manifest(interval="200ms", more_table=SMALL_FILES)
        agent = self.start()
        self.finish(agent)
        self.assertEqual(self.copied(agent)["rows"], ROWS - ROWS // 3)

    def test_truncated_meanwhile(self):
        self.make_big()
        self.write_manifest(rate=1500, interval="200ms", more_table=SMALL_FILES)
        agent = self.start()
        wait_until(agent.copying, 60, "the copy goes on", agent.alive)
        self.wait_some(agent, 12)
        # Readers hold the table until they see that nothing more is to be read of it.
        agent.kill()
        self.connection.execute("truncate big; insert into big values (5, 5, 'after', null)")
        agent = self.start()
        self.finish(agent)

    def test_partitions(self):
        run = self.connection.execute
        run("create table big (id bigint, region integer, pad text, primary key (id, region)) partition by list (region)")
        for region in range(5):
            run(f"create table big_{region} partition of big for values in ({region})")
        run("insert into big select i, i % 5, (select string_agg(md5((i * 31 + k)::text), '') from generate_series(1, 20) k)"
            " from generate_series(1, 12000) i")  # fmt: skip
        run("analyze big")
        self.write_manifest(rate=600, interval="200ms", parallelism=4, more_table=SMALL_FILES)
        agent = self.start()
        self.wait_some(agent, 40)
        agent.kill()
        oids = {row[0] for row in run("select oid from pg_class where relname like 'big\\__'").fetchall()}
        done = {int(part) for part in re.findall(r" (\d+)\.\d+:", self.progress())}
        self.assertTrue(done and done <= oids, f"{done} of {oids}")
        self.write_manifest(interval="200ms", parallelism=4, more_table=SMALL_FILES)
        agent = self.start()
        self.wait_agreed(agent)
        self.assertLess(self.copied(agent)["rows"], 12000)
        self.finish(agent)

    def test_others_lock_partitions(self):
        """Whoever alters one partition after another in a transaction never deadlocks with an agent that looks at them, or
        that copies them."""
        run = self.connection.execute
        run("create table big (id bigint primary key, pad text) partition by hash (id)")
        for part in range(4):
            run(f"create table big_{part} partition of big for values with (modulus 4, remainder {part})")
        run("insert into big select i, repeat(md5(i::text), 20) from generate_series(1, 20000) i")
        self.write_manifest(rate=2000, interval="200ms", parallelism=4, more_table=SMALL_FILES)

        def altered(between):
            with self.connection.transaction():
                run("lock table big_3 in access exclusive mode")  # as what alters it
                between()
                for name in ("big_1", "big_0", "big"):
                    run(f"lock table {name} in access exclusive mode")

        def started():
            agents.append(self.start())
            waits = "select true from pg_stat_activity where datname = 'shop' and wait_event_type = 'Lock'"
            wait_until(lambda: self.postgres.execute(waits), 90, "the agent waits for a lock", agents[0].alive)

        agents = []
        altered(started)
        self.wait_some(agents[0], 2)
        rounds = 0
        while "public.big" in agents[0].copying() and rounds < 60:
            altered(lambda: time.sleep(0.03))  # a writer takes its time; the agent begins ranges meanwhile
            rounds += 1
        self.assertGreater(rounds, 5)
        self.wait_agreed(agents[0])
        self.finish(agents[0])

    # --- columns that change ---

    def anew(self, agent) -> int:
        """How often a copy began anew because of its columns."""
        return sum("begins anew" in line["msg"] for line in agent.lines())

    def alter(self, kind):
        ddl, rows, kept = DDL[kind]
        with self.connection.transaction():
            for statement in ddl:
                self.connection.execute(statement)
            if kind not in ("nobody writes", "computed"):
                self.connection.execute(rows)
        return kept

    def afresh(self, number):
        """A table, a warehouse and a slot for one more round."""
        run = self.connection.execute
        run("drop table if exists big, other")
        self.postgres.drop_slots()
        self.make_small()
        self.warehouse = self.folder / f"warehouse-{number}"
        self.warehouse.mkdir()

    def agreed_and_stopped(self, agent, kept):
        self.wait_agreed(agent)
        self.assertEqual(self.progress(), "complete")
        self.assert_equal(kept=kept)
        self.assert_stopped(agent)

    def test_altered_while_copied(self):
        for number, kind in enumerate(DDL):
            with self.subTest(kind):
                self.afresh(number)
                fields = {"format": 2 + number % 2, "interval": "200ms", "more_table": SMALL_FILES}
                self.write_manifest(rate=2000, **fields)
                with self.start() as agent:
                    self.wait_some(agent, 12)
                    kept = self.alter(kind)
                    self.assertIn("public.big", agent.copying(), "DDL waits for a range, not for the copy")
                    wait_until(lambda: self.anew(agent) == 1, 90, "the copy begins anew", agent.alive)  # noqa: B023
                    self.agreed_and_stopped(agent, kept)
                    self.assertEqual(self.anew(agent), 1)

    def test_altered_between(self):
        """A crash, other columns, and on it goes; the last ones are as they were when it comes back."""
        for number, kind in enumerate(("added", "renamed", "another type", "same name", "key", "back")):
            with self.subTest(kind):
                self.afresh(number)
                fields = {"format": 2 + number % 2, "interval": "200ms", "more_table": SMALL_FILES}
                self.write_manifest(rate=1000, **fields)
                with self.start() as agent:
                    self.wait_some(agent, 12)
                    agent.kill()
                kept = self.alter(kind)
                if kind == "renamed":  # what was copied with the new name is gone on with
                    before = self.done()
                    with self.start() as agent:
                        self.wait_some(agent, 12)
                        wait_until(lambda: self.done() != before, 90, "it begins anew", agent.alive)  # noqa: B023
                        self.wait_some(agent, 12)
                        agent.kill()
                self.write_manifest(**fields)
                with self.start() as agent:
                    self.agreed_and_stopped(agent, kept)
                    self.assertEqual(self.anew(agent), kind != "renamed")

    def test_altered_before_its_copy(self):
        """The lake has the table, but no commit of it; then it is another table's turn; then with a kill."""
        run = self.connection.execute
        run("create table other (id integer primary key, x text, w integer, gone text)")
        run("insert into other select i, 'v', i from generate_series(1, 200) i")
        self.make_big()
        run("analyze other")
        self.write_manifest(rate=4000, interval="200ms", parallelism=1, more_table=SMALL_FILES)
        agent = self.start(crash_at="slot-created")
        self.assertEqual(agent.wait(), -signal.SIGKILL, agent.text()[-3000:])
        self.assertIn("gone", self.columns("other"))
        run("alter table other rename column x to v; alter table other drop column gone")
        agent = self.start()
        self.wait_some(agent, 12)  # the larger one comes first
        run("alter table other rename column v to u; alter table other add column t text default 't'")
        self.assertIn("public.other", agent.copying())
        run("insert into other (id, u) values (500, 'u')")
        self.write_manifest(interval="200ms", parallelism=1, more_table=SMALL_FILES)
        wait_until(lambda: self.anew(agent) == 1, 60, "its copy begins anew", agent.alive)
        agent.kill()
        run("alter table other drop column w")
        agent = self.start(crash_at="copy-first-batch")
        self.assertEqual(agent.wait(), -signal.SIGKILL, agent.text()[-3000:])
        run("alter table other add column w bigint")
        agent = self.start()
        self.wait_agreed(agent)
        self.assertEqual(self.columns("other"), ["id", "w_3", "u", "t", "w"])
        self.assert_equal(kept=("public.other.w_3",))
        self.assert_stopped(agent)

    def columns(self, table):
        metadata = self.lake_table(table).metadata
        schema = next(each for each in metadata["schemas"] if each["schema-id"] == metadata["current-schema-id"])
        return [field["name"] for field in schema["fields"]]

    def test_killed_when_outdated(self):
        self.make_small()
        self.write_manifest(rate=1000, interval="200ms", more_table=SMALL_FILES)
        agent = self.start(crash_at="copy-outdated")
        self.wait_some(agent, 12)
        with Traffic(self):
            self.connection.execute("alter table big add column extra integer default 7")
            self.assertEqual(agent.wait(), -signal.SIGKILL, agent.text()[-3000:])
            self.assertTrue(agent.struck())
            self.assert_not_ahead()
            self.write_manifest(rate=6000, interval="200ms", more_table=SMALL_FILES)
            agent = self.start()
            wait_until(agent.copying, 90, "it is copied again", agent.alive)
            with self.connection.transaction():
                for ddl in ("rename column pad to label", "rename column label to pad", "alter column n type bigint"):
                    self.connection.execute(f"alter table big {ddl}")
        self.finish(agent)

    def test_altered_in_append(self):
        self.make_small()
        fields = {"mode": "Append", "interval": "200ms", "more_table": SMALL_FILES}
        self.write_manifest(rate=800, **fields)
        agent = self.start()
        wait_until(lambda: self.progress(), 60, "something is durable", agent.alive)
        self.alter("added")
        wait_until(lambda: self.anew(agent) == 1, 90, "the copy begins anew", agent.alive)
        agent.kill()
        self.alter("renamed")
        self.write_manifest(**fields)
        agent = self.start()
        self.finish(agent)
        self.assertNotIn("pad", self.columns("big"))

    def test_altered_in_copy_alone(self):
        self.make_small()
        self.write_manifest(rate=1500, snapshot="Only", interval="200ms", more_table=SMALL_FILES)
        agent = self.start()
        self.wait_some(agent, 12)
        self.connection.execute("alter table big add column extra integer default 7")
        self.assertEqual(agent.wait(), 0, agent.text()[-3000:])
        self.assertEqual(self.anew(agent), 1)
        self.assert_equal()

    def test_truncated_live(self):
        """Readers hold a table for a range at a time: TRUNCATE comes in between."""
        self.make_big()
        self.write_manifest(rate=3000, interval="200ms", parallelism=3, more_table=SMALL_FILES)
        agent = self.start()
        self.wait_some(agent, 12)
        self.connection.execute("truncate big; insert into big values (5, 5, 'after', null)")
        self.connection.execute("alter table big add column extra integer; update big set extra = 1")
        self.finish(agent)
        self.assertLess(self.copied(agent)["rows"], ROWS)

    def test_s3_and_rest(self):
        """Commits of pieces whose answers get lost, a kill and other columns, where a catalog writes the metadata."""
        place = Place("rest-s3", self.warehouse).start()
        self.addCleanup(place.stop)
        self.make_big()
        fields = {"place": place, "format": 3, "interval": "200ms", "more_table": SMALL_FILES}
        self.write_manifest(rate=800, **fields)

        def commits(agent):
            return sum(v for k, v in agent.metrics().items() if k.startswith("firn_table_commits_total") and "big" in k)

        with Traffic(self):
            agent = self.start(http=True)
            wait_until(lambda: commits(agent) >= 2, 60, "pieces are committed", agent.alive)
            faults = [Fault("swallow", "POST", r"/tables/\w+$"), Fault("cut", "POST", r"/tables/\w+$"),
                      Fault("answer", "POST", r"/tables/\w+$", status=500, passed=True)]  # fmt: skip
            uploads = [Fault("swallow", "PUT", r"\.parquet$"), Fault("answer", "PUT", r"\.avro$", status=503)]
            place.rest_proxy.plan(faults)
            place.s3_proxy.plan(uploads)
            wait_until(lambda: all(f.struck >= f.times for f in faults + uploads), 60, "every fault strikes", agent.alive)
            self.assertIn("public.big", agent.copying())
            agent.kill()
            agent = self.start(http=True)
            wait_until(lambda: commits(agent) >= 2, 60, "it goes on", agent.alive)
            self.connection.execute("alter table big add column extra integer default 7")
            wait_until(lambda: self.anew(agent) == 1, 90, "the copy begins anew", agent.alive)
            agent.kill()
            self.write_manifest(**fields)
            agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal(place=place)
        self.assert_stopped(agent)

    def fresh_while_copying(self, agent, table):
        """Changes of other tables are in the lake while `table` is copied."""
        for _ in range(3):
            self.connection.execute("insert into first select max(id) + 1, 'x' from first")
            self.postgres.wait_confirmed("firn", 60, "shop", agent.alive)
            self.assertIn(table, agent.copying())

    def test_added(self):
        """Before a start, and while the agent runs: the others stream on."""
        run = self.connection.execute
        run("create table first (id integer primary key, v text); insert into first values (1, 'x')")
        self.write_manifest(rate=2500, interval="200ms")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        run(f"create table second as select i as id, i * 2 as v from generate_series(1, {ROWS}) i")
        run("alter table second add primary key (id)")
        agent = self.start(confirm_ms=QUICK_CONFIRM_MS)
        wait_until(agent.copying, 90, "the second table is copied", agent.alive)
        self.fresh_while_copying(agent, "public.second")
        self.wait_agreed(agent)
        with self.connection.transaction():
            run(f"create table third as select i as id, i * 3 as v from generate_series(1, {ROWS}) i")
            run("alter table third add primary key (id)")
        wait_until(agent.copying, 90, "the third table is found", agent.alive)
        self.fresh_while_copying(agent, "public.third")
        run("update third set v = -1 where id % 1000 = 0")
        run("alter table third rename column v to w; alter table third add column x integer default 4")
        run("update third set w = -2, x = 5 where id % 1000 = 1")
        self.assertIn("public.third", agent.copying())
        self.wait_agreed(agent)
        self.assertEqual(self.anew(agent), 1)
        self.assert_equal()
        self.assert_stopped(agent)

    def test_added_that_cannot_be(self):
        """A table that a start would refuse does not end what runs."""
        run = self.connection.execute
        run("create table first (id integer primary key, v text); insert into first values (1, 'x')")
        self.write_manifest(interval="200ms")
        agent = self.start()
        self.wait_agreed(agent)
        run("create table odd (id integer primary key, v pg_ndistinct)")
        wait_until(lambda: "can't be captured" in agent.text(), 90, "it is said", agent.alive)
        run("insert into first values (2, 'y')")
        self.wait_agreed(agent)
        run("drop table odd")
        self.assert_equal()
        self.assert_stopped(agent)

    def test_rate(self):
        """Not faster than the manifest allows, whoever reads. What is read in one go is waited for
        afterwards, so the last batch of each reader doesn't count."""
        rate, rows, readers = 10000, 40000, 3
        self.make_big(rows)
        self.write_manifest(rate=rate, parallelism=readers, more_table=SMALL_FILES)
        agent = self.start()
        self.wait_agreed(agent)
        line = self.copied(agent)
        self.assertEqual(line["rows"], rows)
        batch = 6 * 8192 // 32  # a range of six blocks has no more rows
        self.assertGreaterEqual(line["seconds"], (rows - rate / 10 - readers * batch) / rate)
        self.assert_stopped(agent)

    def test_figures(self):
        self.make_big()
        self.write_manifest(rate=4000, interval="200ms", more_table=SMALL_FILES)
        agent = self.start(http=True)
        self.wait_some(agent)

        found = {name.split("{")[0]: value for name, value in agent.metrics().items() if "public.big" in name}
        self.assertEqual(found["firn_table_copying"], 1)
        self.assertGreater(found["firn_table_copy_rows_total"], 0)
        self.assertAlmostEqual(found["firn_table_copy_rows_estimate"], ROWS, delta=ROWS / 10)
        self.assertGreater(found["firn_table_copy_bytes_total"], 0)
        self.assertLess(found["firn_table_copy_bytes_total"], found["firn_table_copy_bytes_estimate"])
        self.wait_agreed(agent)
        found = {name.split("{")[0]: value for name, value in agent.metrics().items() if "public.big" in name}
        self.assertEqual(found["firn_table_copying"], 0)
        self.assertEqual(found["firn_table_copy_rows_total"], ROWS)
        self.assert_stopped(agent)


if __name__ == "__main__":
    unittest.main(verbosity=2)
