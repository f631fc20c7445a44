"""The whole flow under live traffic while networks and servers have a bad day: aimed faults (the answer of a
commit that never comes, an upload cut half way, a transaction whose stream is reset) and random ones, on the way to
the object store, to the catalog and to PostgreSQL. Each storm proves what struck. After it: calm, source and lake
equal, nothing committed twice, every file there that a kept snapshot needs, and the agent is the same process.

FIRN_SEED makes a run again; FIRN_FAULTS (random strikes for each way and storm), FIRN_STORMS and FIRN_HANGS (1: also
answers that never come, half a minute each) make it longer.
"""

import os
import random
import re
import time
import unittest
from collections import Counter

from harness import history
from harness.case import Shop
from harness.fault_proxy import HTTP_KINDS, TCP_KINDS, Fault, FaultProxy
from harness.place import Place
from harness.rest import BUCKET
from harness.shop import TABLES
from harness.wait import TimedOut, wait_until

SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
RANDOM = int(os.environ.get("FIRN_FAULTS", "3"))
STORMS = int(os.environ.get("FIRN_STORMS", "1"))
HANGS = os.environ.get("FIRN_HANGS") == "1"
RATE, RATE_LAST = 0.02, 0.1
STRIKE_SECONDS = 120
AWAY_SECONDS = float(os.environ.get("FIRN_AWAY", "24"))
MILD = tuple(kind for kind in HTTP_KINDS if kind != "hang")  # what hangs takes the client's patience: aimed alone

SLOW_DOWN = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
POINTER = r"/metadata/v\d+\.metadata\.json$"  # PUT: what decides a commit in a directory
TABLE = r"/tables/\w+$"  # POST: what decides it in a REST catalog
ANY_FILE = r"\.(parquet|avro|puffin)$"


def decides(method: str, path: str) -> list[Fault]:
    """Faults of the request that decides a commit: it is carried out or not, and the answer tells, or does not."""
    return [
        Fault("swallow", method, path),
        Fault("answer", method, path, status=500, passed=True),
        Fault("cut", method, path),
        Fault("answer", method, path, status=504, passed=True),
        Fault("answer", method, path, status=409, passed=True),
        Fault("answer", method, path, status=409),
        Fault("reset", method, path),
        Fault("answer", method, path, status=502),
        Fault("truncate", method, path),
        Fault("answer", method, path, status=503, headers={"Retry-After": "1"}),
        Fault("delay", method, path, seconds=1),
        Fault("throttle", method, path, bytes_per_second=2000),
        Fault("swallow", method, path, times=3),
    ]


def uploads() -> list[Fault]:
    """Of files, large and small."""
    return [
        Fault("reset", "PUT", r"/data/.*\.parquet$"),
        Fault("cut", "PUT", r"\.avro$"),
        Fault("swallow", "PUT", ANY_FILE),
        Fault("delay", "PUT", ANY_FILE),
        Fault("throttle", "PUT", ANY_FILE),
        Fault("truncate", "PUT", ANY_FILE),
        Fault("answer", "PUT", ANY_FILE, status=503, body=SLOW_DOWN, times=5),
        Fault("answer", "PUT", ANY_FILE, status=500, passed=True),
    ]


def recorded() -> list[Fault]:
    """Of the record of what was confirmed."""
    return [
        Fault("cut", "PUT", r"/_firn/"),
        Fault("swallow", "PUT", r"/_firn/"),
        Fault("answer", "PUT", r"/_firn/", status=500, passed=True),
        Fault("answer", "PUT", r"/_firn/", status=503, body=SLOW_DOWN),
        Fault("reset", "PUT", r"/_firn/"),
    ]


def parts() -> list[Fault]:
    return [
        Fault("answer", "POST", r"\?uploads", status=500),
        Fault("reset", "PUT", r"partNumber=1&"),
        Fault("answer", "PUT", r"partNumber=2&", status=500, passed=True),
        Fault("swallow", "POST", r"uploadId="),
    ]


def reads() -> list[Fault]:
    """Of what a new start reads."""
    return [
        Fault("truncate", "GET", r"\.(parquet|json|avro)$", times=2),
        Fault("answer", "GET", r"\.(parquet|json|avro)$", status=503),
        Fault("truncate", "GET", r"/_firn/"),
    ]


def greetings(oauth: bool) -> list[Fault]:
    """Of what a catalog is asked first."""
    config = [Fault("cut", "GET", r"/v1/config"), Fault("answer", "GET", r"/v1/config", status=503)]
    tokens = [Fault("answer", "POST", r"/oauth/tokens$", status=503), Fault("swallow", "POST", r"/oauth/tokens$")]
    return config + (tokens if oauth else [])


class Faults(Shop):
    rows = 2000
    settings = {"logical_decoding_work_mem": "'64kB'"}  # a transaction is sent before it is over
    struck: Counter = Counter()  # way and kind, of the whole run
    orphans: Counter = Counter()
    said: list[str] = []

    def setUp(self):
        super().setUp()
        self.make_shop()
        self.source = FaultProxy("127.0.0.1", self.postgres.port, http=False).start()
        self.addCleanup(self.source.stop)
        self.dice = random.Random(SEED)

    # --- faults ---

    @property
    def ways(self) -> dict[str, FaultProxy]:
        ways = {"s3": self.place.s3_proxy, "catalog": self.place.rest_proxy, "source": self.source}
        return {name: proxy for name, proxy in ways.items() if proxy}

    def calm(self):
        for proxy in self.ways.values():
            proxy.calm()

    def strike(self, proxy: FaultProxy, faults: list[Fault], prompt=None):
        """All of them, each seen to strike. prompt: called again and again to bring about what is aimed at."""
        proxy.plan(faults)

        def struck() -> bool:
            over = all(fault.struck >= fault.times for fault in faults)
            if prompt and not over:
                prompt()
            return over

        try:
            wait_until(struck, STRIKE_SECONDS, "every fault strikes", self.agent.alive)
        except TimedOut:
            left = [fault for fault in faults if fault.struck < fault.times]
            raise TimedOut(f"never struck: {left}; the agent: {self.agent.text()[-3000:]}") from None
        proxy.plan([])

    def strike_source(self, kind: str, **options):
        """Whatever passes next between the agent and PostgreSQL."""
        before = len(self.source.struck)
        self.source.random(self.dice.randrange(10**6), 1, [kind], bytes_per_second=200_000, **options)
        wait_until(lambda: len(self.source.struck) > before, STRIKE_SECONDS, f"{kind} strikes", self.agent.alive)
        self.source.calm()

    def strike_copy(self):
        """A COPY is reset when some of it has come: no other connection brings so much so early."""
        self.source.plan([Fault("reset", times=0, after_bytes=40_000)])
        wait_until(lambda: self.source.struck, STRIKE_SECONDS, "a copy is reset", self.agent.alive)
        self.source.plan([])
        wait_until(lambda: "copy of public." in self.agent.text(), 90, "the agent sees it", self.agent.alive)

    def strike_transaction(self):
        """The stream is reset while a transaction that has been sent in part is not over."""
        with self.postgres.connect("shop") as connection, connection.transaction():
            connection.execute("lock table order_lines in share row exclusive mode")  # no deadlock with the traffic
            before = self.streamed()
            connection.execute("update order_lines set quantity = quantity % 9 + 1")
            wait_until(lambda: self.streamed() > before, 90, "the server streams it", self.agent.alive)
            self.strike_source("reset")

    def streamed(self) -> int:
        row = self.connection.execute("select coalesce(max(stream_bytes), 0) from pg_stat_replication_slots where slot_name = 'firn'")
        return row.fetchone()[0]

    def large(self):
        """A transaction whose file is sent in parts: random bytes don't compress."""
        self.connection.execute(
            "insert into products select 'large-' || gen_random_uuid(), 't', null, 1, 0, null, null, null, false, null,"
            " decode(string_agg(md5(random()::text), ''), 'hex'), now() from generate_series(1, 200) i,"
            " generate_series(1, 4096) group by i")  # fmt: skip
        confirmed = self.postgres.slot("firn")["confirmed"]
        wait_until(lambda: self.postgres.slot("firn")["confirmed"] > confirmed or self.parts_over(), 60, "it is written")

    def parts_over(self) -> bool:
        return all(fault.struck >= fault.times for fault in self.place.s3_proxy._plan)

    def storm(self, number: int):
        s3, catalog = self.place.s3_proxy, self.place.rest_proxy
        with self.traffic(seed=SEED + number):
            for at, proxy in enumerate(self.place.proxies):
                proxy.random(SEED + 10 * number + at, RATE, MILD, bytes_per_second=20_000)
            deciding = (catalog, "POST", TABLE) if catalog else (s3, "PUT", POINTER)
            for kind in ("delay", "throttle"):
                self.strike_source(kind)
            self.strike(deciding[0], decides(*deciding[1:]) + ([Fault("hang", *deciding[1:])] if HANGS else []))
            if s3:
                self.strike(s3, uploads())
                self.strike(s3, recorded())
                self.strike(s3, reads(), self.once(lambda: self.strike_source("reset")))
            if catalog:
                self.strike(catalog, greetings(self.place.oauth), self.once(self.strike_transaction))
            if self.place.oauth:
                # the token is over before its time; a second such answer to the same request would mean what it says
                self.strike(catalog, [Fault("answer", None, TABLE, status=(401, 419)[(SEED + number) % 2])])
            if not catalog:
                self.strike_transaction()
            for kind in ("cut", "hang"):
                self.strike_source(kind)
            for at, proxy in enumerate(self.place.proxies):
                enough = len(proxy.struck) + RANDOM
                proxy.random(SEED - 10 * number - at, RATE_LAST, MILD, bytes_per_second=20_000)
                wait_until(lambda: len(proxy.struck) >= enough, STRIKE_SECONDS, "random faults strike", self.agent.alive)
            self.hung_is_over()
            self.calm()
        if s3 and (HANGS or not catalog):
            self.strike(s3, parts(), self.large)
            self.connection.execute("delete from products where sku like 'large-%'")
        self.calm()

    @staticmethod
    def once(prompt):
        """Faults of a new start: brought about by one, and by its own failures from then on."""
        done = []
        return lambda: done or done.append(prompt() or True)

    def hung_is_over(self):
        """The client did not wait for ever."""
        for proxy in self.place.proxies:
            hung = [struck for struck in proxy.struck if struck.kind == "hang"]
            wait_until(lambda: all(struck.left for struck in hung), 60, "the client leaves what hangs", self.agent.alive)

    # --- what must hold ---

    def settled(self, engines: tuple[str, ...]):
        self.wait_agreed(self.agent, 150)
        for engine in engines:
            self.assert_equal(engine, place=self.place)
        for name in TABLES:
            table = history.load(self.place, name)
            self.assertEqual(history.wrong(table), [])
            self.assertGreater(len(table.positions), 1)
            self.orphans[self.place.kind] += len(table.orphans) if table.heads is None else 0  # Nessie keeps every head's
        if self.mode == "Append":
            self.every_change_once()

    def every_change_once(self):
        """Per table and transaction as many changes as PostgreSQL's own decoder tells of, each at a place of its own."""
        told, transaction = Counter(), Counter()
        query = "select lsn - '0/0', data from pg_logical_slot_peek_changes('witness', null, null, 'include-xids', '0')"
        for lsn, data in self.connection.execute(query):
            change = re.match(r"table public\.(\w+): (INSERT|UPDATE|DELETE):", data)
            if change:
                transaction[change[1]] += 1
            elif data.startswith("COMMIT"):
                told.update({(name, int(lsn)): count for name, count in transaction.items()})
                transaction.clear()
        self.assertGreater(len(told), 50)
        for name in TABLES:
            rows = [row for row in history.places(self.place, name) if row[0] != "r"]
            self.assertEqual([row for row, count in Counter(rows).items() if count > 1], [], name)
            places = Counter(int(place.split(".")[0], 16) for place in {place for _, place in rows})
            ends = {lsn: count for (table, lsn), count in told.items() if table == name}
            self.assertEqual([places[at] for at in sorted(places)], [ends[at] for at in sorted(ends)], name)
            for at, end, after in zip(sorted(places), sorted(ends), sorted(places)[1:]):
                self.assertTrue(at < end <= after, f"{name}: a commit at {at:X} is told to end at {end:X}")

    def faults(self, kind: str, mode: str = "Upsert", engines=("duckdb", "pyiceberg"), s3="versitygw", oauth=False, **fields):
        started = time.monotonic()
        self.mode = mode
        if mode == "Append":
            self.connection.execute("select pg_create_logical_replication_slot('witness', 'test_decoding')")
        self.place = Place(kind, self.warehouse, s3=s3, oauth=oauth).start()
        self.addCleanup(self.place.stop)
        self.write_manifest(place=self.place, port=self.source.port, mode=mode, **fields)
        for at, proxy in enumerate(self.place.proxies):  # the first copy has its share
            proxy.random(SEED + at, RATE, MILD)
        self.agent = self.start()
        self.strike_copy()
        self.wait_agreed(self.agent, 150)
        self.calm()
        pid = self.agent.process.pid
        for number in range(STORMS):
            with self.subTest(seed=SEED, storm=number):
                self.storm(number)
                self.settled(engines)
        self.assertEqual(self.agent.process.pid, pid)
        self.assert_stopped(self.agent)
        deciding = self.place.rest_proxy or self.place.s3_proxy
        if deciding:
            self.assertLessEqual(set(MILD), {struck.kind for struck in deciding.struck})
        self.assertEqual({struck.kind for struck in self.source.struck}, set(TCP_KINDS))
        self.tell(s3 if "s3" in kind else "files", oauth, f"v{fields.get('format', 2)} {mode}", time.monotonic() - started)

    def tell(self, store: str, oauth: bool, what: str, seconds: float):
        struck = Counter(f"{way} {one.kind}" for way, proxy in self.ways.items() for one in proxy.struck)
        Faults.struck += struck
        self.assertGreaterEqual(sum(struck.values()), 20)
        name = f"{self.place.kind.split('-')[0]} on {store}{', OAuth' if oauth else ''}, {what}"
        line = (f"{name}: {sum(struck.values())} faults struck ({', '.join(f'{k} {n}' for k, n in sorted(struck.items()))});"
                f" {self.agent.text().count('starting again')} new starts in one process;"
                f" {self.orphans[self.place.kind]} orphans, {self.unfinished()} unfinished uploads")  # fmt: skip
        Faults.said.append(line)
        print(f"{line}; seed {SEED}, {seconds:.0f} s", flush=True)

    def unfinished(self) -> int:
        if not self.place.s3:
            return 0
        return len(self.place.s3.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))

    def test_directory_on_versitygw(self):
        self.faults("directory-s3", format=3)

    def test_directory_on_minio(self):
        self.faults("directory-s3", "Append", s3="minio", format=3)

    def test_rest(self):
        self.faults("rest-s3", oauth=True)

    def test_nessie(self):
        self.faults("nessie-s3", "Append", ("duckdb",))  # it knows v2 alone


class Away(Shop):
    """A peer is away for longer than PostgreSQL waits for a word of the agent (wal_sender_timeout)."""

    rows = 500
    settings = {"wal_sender_timeout": "'16s'"}

    def walsender(self) -> int | None:
        found = self.connection.execute("select active_pid from pg_replication_slots where slot_name = 'firn'").fetchone()
        return found and found[0]

    def away(self, kind: str, way: str, first: list[Fault], then: Fault, **fields):
        """What `first` strikes stays unknown while `then` strikes everything; with the peer's return it goes on."""
        self.make_shop()
        place = Place(kind, self.warehouse).start()
        self.addCleanup(place.stop)
        self.write_manifest(place=place, **fields)
        agent = self.start()
        self.wait_agreed(agent)
        proxy = getattr(place, f"{way}_proxy")
        walsender = self.walsender()
        self.assertTrue(walsender)
        with self.traffic(bulk=False):
            proxy.plan([*first, then])
            wait_until(lambda: all(fault.struck for fault in [*first, then]), STRIKE_SECONDS, "it is away", agent.alive)
            end = time.monotonic() + AWAY_SECONDS
            wait_until(lambda: time.monotonic() > end, AWAY_SECONDS + 9, "it was away for long", agent.alive)
            self.assertEqual(self.walsender(), walsender, agent.text()[-2000:])
            proxy.calm()
        self.wait_agreed(agent)
        self.assertEqual(self.walsender(), walsender, agent.text()[-2000:])  # nothing pending was thrown away
        self.assertNotIn("starting again", agent.text())
        self.assert_equal(place=place)
        for name in TABLES:
            self.assertEqual(history.wrong(history.load(place, name)), [])
        self.assert_stopped(agent)

    def test_catalog(self):
        """Its last answer was lost, and nobody can be asked whether the commit took effect."""
        self.away("rest-s3", "rest", [Fault("swallow", "POST", TABLE)], Fault("answer", times=0, status=503))

    def test_commit_that_hangs(self):
        self.away("rest-s3", "rest", [], Fault("hang", "POST", TABLE, times=0), mode="Append", format=3)

    def test_record(self):
        """Of the store only the record of what was confirmed: the tables go on, the source is not told."""
        self.away("rest-s3", "s3", [Fault("hang", "PUT", r"/_firn/")], Fault("answer", "PUT", r"/_firn/", times=0, status=503))


if __name__ == "__main__":
    unittest.main(verbosity=2)
