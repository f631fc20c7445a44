# seconds: 900
"""The whole flow under live traffic while networks and servers have a bad day: aimed faults (the answer of a
commit that never comes, an upload cut half way) and random ones, on the way to the object store, to the catalog and to
PostgreSQL. Each storm proves what struck. After it: calm, source and lake equal, nothing committed twice, every
file there that a kept snapshot needs, and the agent is the same process.

FIRN_SEED makes a run again; FIRN_FAULTS (random strikes for each storm) and FIRN_STORMS make it longer.
"""

import os
import random
import time
import unittest
from collections import Counter

from harness import history
from harness.case import Shop
from harness.fault_proxy import HTTP_KINDS, TCP_KINDS, Fault, FaultProxy
from harness.place import Place
from harness.shop import TABLES
from harness.wait import TimedOut, wait_until

SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
RANDOM = int(os.environ.get("FIRN_FAULTS", "3"))
STORMS = int(os.environ.get("FIRN_STORMS", "1"))
RATE = 0.04
STRIKE_SECONDS = 120
MILD = tuple(kind for kind in HTTP_KINDS if kind != "hang")  # what hangs takes the client's patience: aimed alone

SLOW_DOWN = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
POINTER = r"/metadata/v\d+\.metadata\.json$"  # what decides a commit in a directory
TABLE = r"/tables/\w+$"  # POST: what decides it in a REST catalog
ANY_FILE = r"\.(parquet|avro|puffin)$"


def decides(method: str, path: str) -> list[Fault]:
    """Faults of the request that decides a commit: it is carried out or not, and the answer tells, or does not."""
    return [
        Fault("hang", method, path),
        Fault("swallow", method, path),
        Fault("answer", method, path, status=500, passed=True),
        Fault("answer", method, path, status=504, passed=True),
        Fault("answer", method, path, status=409, passed=True),
        Fault("answer", method, path, status=409),
        Fault("answer", method, path, status=502),
        Fault("cut", method, path),
        Fault("reset", method, path),
        Fault("truncate", method, path),
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
        Fault("answer", "PUT", ANY_FILE, status=503, body=SLOW_DOWN, times=5),
        Fault("answer", "PUT", ANY_FILE, status=500, passed=True),
        Fault("cut", "PUT", r"/_firn/"),
    ]


def parts() -> list[Fault]:
    return [
        Fault("reset", "PUT", r"partNumber=1&"),
        Fault("answer", "PUT", r"partNumber=2&", status=500),
        Fault("swallow", "POST", r"uploadId="),
    ]


def reads() -> list[Fault]:
    return [Fault("truncate", "GET", r"\.(parquet|json|avro)$", times=2), Fault("answer", "GET", r"\.(parquet|json|avro)$", status=503)]


class Faults(Shop):
    rows = 2000
    struck: Counter = Counter()
    orphans: Counter = Counter()
    storms = 0

    def setUp(self):
        super().setUp()
        self.make_shop()
        self.source = FaultProxy("127.0.0.1", self.postgres.port, http=False).start()
        self.addCleanup(self.source.stop)
        self.dice = random.Random(SEED)

    # --- faults ---

    @property
    def ways(self) -> dict[str, FaultProxy]:
        return {name: proxy for name, proxy in (("s3", self.place.s3_proxy), ("rest", self.place.rest_proxy)) if proxy} | {
            "source": self.source}  # fmt: skip

    def calm(self):
        for proxy in self.ways.values():
            proxy.calm()

    def counted(self) -> Counter:
        return Counter(f"{way} {struck.kind}" for way, proxy in self.ways.items() for struck in proxy.struck)

    def strike(self, proxy: FaultProxy, faults: list[Fault], prompt=None):
        """One after the other, so that each is seen to strike."""
        for fault in faults:
            proxy.plan([fault])
            if prompt:
                prompt()
            try:
                wait_until(lambda: fault.struck >= fault.times, STRIKE_SECONDS, f"{fault} strikes", self.agent.alive)
            except TimedOut as error:
                raise TimedOut(f"{error}; struck before: {proxy.struck}; the agent: {self.agent.text()[-3000:]}") from None
        proxy.plan([])

    def strike_source(self, kind: str):
        """Whatever passes next between the agent and PostgreSQL."""
        before = len(self.source.struck)
        self.source.random(self.dice.randrange(10**6), 1, [kind], bytes_per_second=200_000)
        wait_until(lambda: len(self.source.struck) > before, STRIKE_SECONDS, f"{kind} strikes", self.agent.alive)
        self.source.calm()

    def large(self):
        """A transaction whose file is sent in parts: random bytes don't compress."""
        self.connection.execute(
            "insert into products select 'large-' || gen_random_uuid(), 't', null, 1, 0, null, null, null, false, null,"
            " b.bytes, now() from generate_series(1, 320) i, lateral (select decode(string_agg(md5(random()::text || i), ''),"
            " 'hex') bytes from generate_series(1, 4096)) b")  # fmt: skip

    def storm(self, number: int):
        with self.traffic(seed=SEED + number):
            for at, proxy in enumerate(self.place.proxies):
                proxy.random(SEED + 10 * number + at, RATE, MILD, bytes_per_second=20_000)
            if self.place.rest:
                self.strike(self.place.rest_proxy, decides("POST", TABLE))
            elif self.place.s3:
                self.strike(self.place.s3_proxy, decides("PUT", POINTER))
            if self.place.s3:
                self.strike(self.place.s3_proxy, uploads())
                self.strike(self.place.s3_proxy, parts(), self.large)
                self.connection.execute("delete from products where sku like 'large-%'")
                self.strike(self.place.s3_proxy, reads(), lambda: self.strike_source("reset"))
            for kind in TCP_KINDS:
                self.strike_source(kind)
            for proxy in self.place.proxies:
                enough = len(proxy.struck) + RANDOM
                wait_until(lambda: len(proxy.struck) >= enough, STRIKE_SECONDS, "random faults strike", self.agent.alive)
            self.hung_is_over()
            self.calm()
        self.calm()

    def hung_is_over(self):
        """The client did not wait for ever."""
        for proxy in self.place.proxies:
            hung = [struck for struck in proxy.struck if struck.kind == "hang"]
            wait_until(lambda: all(struck.left for struck in hung), 60, "the client leaves what hangs", self.agent.alive)

    # --- what must hold ---

    def settled(self):
        self.wait_agreed(self.agent, 150)
        self.assert_equal(place=self.place)
        for name in TABLES:
            table = history.load(self.place, name)
            self.assertEqual(history.wrong(table), [])
            self.assertGreater(len(table.positions), 1)
            self.orphans[self.place.kind] += len(table.orphans)

    def faults(self, kind: str, **fields):
        started = time.monotonic()
        self.place = Place(kind, self.warehouse).start()
        self.addCleanup(self.place.stop)
        self.write_manifest(place=self.place, port=self.source.port, **fields)
        for at, proxy in enumerate(self.place.proxies):  # the first copy has its share
            proxy.random(SEED + at, RATE, MILD)
        self.agent = self.start()
        self.wait_agreed(self.agent, 150)
        self.calm()
        pid = self.agent.process.pid
        for number in range(STORMS):
            with self.subTest(seed=SEED, storm=number):
                self.storm(number)
                self.settled()
                Faults.storms += 1
        struck = self.counted()
        for way, proxy in self.ways.items():
            self.assertLessEqual(set(HTTP_KINDS if proxy.http and way in self.aimed() else ()), {s.kind for s in proxy.struck})
        self.assertEqual({struck.kind for struck in self.source.struck}, set(TCP_KINDS))
        self.assertEqual(self.agent.process.pid, pid)
        self.assert_stopped(self.agent)
        Faults.struck += struck
        restarts = self.agent.text().count("starting again")
        print(f"{kind}, seed {SEED}: {sum(struck.values())} faults struck: {', '.join(f'{k} {n}' for k, n in sorted(struck.items()))};"
              f" {restarts} new starts in one process; {self.orphans[kind]} orphans; {time.monotonic() - started:.0f} s", flush=True)  # fmt: skip

    def aimed(self) -> set[str]:
        """Where every kind was aimed."""
        return {"rest"} if self.place.rest else {"s3"}

    def test_directory_on_files(self):
        self.faults("directory-files")

    def test_directory_on_s3(self):
        self.faults("directory-s3", format=3)

    def test_rest_and_files(self):
        self.faults("rest-files", format=3, mode="Append")

    def test_rest_and_s3(self):
        self.faults("rest-s3")


if __name__ == "__main__":
    unittest.main(verbosity=2)
