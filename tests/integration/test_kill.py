"""kill -9 under live traffic: half at named points (common/crash.h), half at random times. Each kill
proves that it struck; after each, the lake must become equal to the source, and the slot must never
have been confirmed past the lake.

FIRN_KILLS (10) is how many; FIRN_SEED makes a run again.
"""

import contextlib
import os
import random
import signal
import time
import unittest
from pathlib import Path

import psycopg
from harness.case import Shop
from harness.wait import wait_until

KILLS = int(os.environ.get("FIRN_KILLS", "10"))
SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
PER_TABLES = 5  # kills before everything is made anew, the first of them during the copy
KINDS = [(2, "Upsert"), (3, "Upsert"), (3, "Append"), (2, "Append")]
STRIKE_SECONDS = 90


def crash_points(phase: str) -> list[tuple[str, bool]]:
    """Names, and whether a run passes them often."""
    lines = [line.split() for line in (Path(__file__).parent / "crash_points").read_text().splitlines()]
    return [(name, often == "many") for name, of, often, *_ in lines if of == phase]


class Kill(Shop):
    rows = 20000
    settings = {"logical_decoding_work_mem": "'64kB'"}

    def setUp(self):
        super().setUp()
        self.dice = random.Random(SEED)
        self.struck = []
        self.points = {phase: self.shuffled(phase) for phase in ("copy", "stream")}

    def shuffled(self, phase):
        points = crash_points(phase)
        self.dice.shuffle(points)
        return points

    def next_point(self, phase: str) -> str:
        """Every point of the phase comes once before one comes again, on its first pass or a later one."""
        if not self.points[phase]:
            self.points[phase] = self.shuffled(phase)
        name, often = self.points[phase].pop()
        return f"{name}:{self.dice.randint(1, 3)}" if often else name

    def start_afresh(self, kind):
        """New tables on both sides."""
        self.connection.execute("drop schema public cascade; create schema public")
        self.postgres.drop_slots()
        self.connection.execute("drop publication if exists firn")
        self.warehouse = self.folder / f"warehouse-{self.runs}"
        self.warehouse.mkdir()
        self.make_shop()
        format_version, mode = kind
        self.write_manifest(format=format_version, mode=mode, parallelism=2)

    def kill_at_point(self, point: str):
        agent = self.start(crash_at=point)
        with self.postgres.connect("shop") as connection:

            def over():
                # Transactions that the server streams before they are over.
                with contextlib.suppress(psycopg.errors.DeadlockDetected):
                    connection.execute("update order_lines set quantity = quantity % 9 + 1")
                return agent.process.poll() is not None

            wait_until(over, STRIKE_SECONDS, f"{point} strikes")
        self.assertEqual(agent.wait(), -signal.SIGKILL, f"{point}: {agent.text()[-2000:]}")
        self.assertTrue(agent.struck(), f"{point} did not strike: {agent.text()[-2000:]}")

    def kill_at_random(self, seconds_max: float):
        agent = self.start()
        time.sleep(self.dice.uniform(0, seconds_max))  # the moment is the test's, nothing is waited for
        agent.kill()

    def one(self, number: int, copying: bool):
        phase = "copy" if copying else "stream"
        at_point = (number // PER_TABLES + number % PER_TABLES) % 2 == 0  # halves, and copies take turns
        with self.traffic(seed=SEED + number):
            if at_point:
                how = self.next_point(phase)
                self.kill_at_point(how)
            else:
                how = "random"
                self.kill_at_random(1.0 if copying else 3.0)
            self.assert_not_ahead()
        self.struck.append(how)
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_not_ahead()
        return agent, how

    def test_kills(self):
        agent = None
        for number in range(KILLS):
            copying = number % PER_TABLES == 0
            if agent:
                self.assert_stopped(agent)
            kind = KINDS[number // PER_TABLES % len(KINDS)]
            if copying:
                self.start_afresh(kind)
            started = time.monotonic()
            with self.subTest(seed=SEED, number=number, kind=kind):
                agent, how = self.one(number, copying)
                print(f"kill {number + 1}/{KILLS} v{kind[0]} {kind[1]} at {how}: struck, equal again"
                      f" ({time.monotonic() - started:.1f} s)", flush=True)  # fmt: skip
        self.assert_equal("pyiceberg")
        self.assert_stopped(agent)
        self.assertEqual(len(self.struck), KILLS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
