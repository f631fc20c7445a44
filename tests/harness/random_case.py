"""A seed's tables and stream, run: see tests/integration/test_random.py. run_seeds runs many, some at a time: a seed
spends half of its time waiting for an agent."""

import contextlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import time
import unittest
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from harness import lake
from harness.agent import OK, REFUSED, ROOT
from harness.case import Shop, compare
from harness.postgres import VERSIONS, Postgres
from harness.process import die_with_parent
from harness.random_schema import RandomSchema, manifest
from harness.random_stream import RandomStream

ENGINES = ("duckdb", "pyiceberg")
STATEMENT_SECONDS = 30
# What is durable is confirmed each second; most seeds don't wait for that.
CONFIRM_MS = 50
# Servers and warehouses live in memory where there is room for them: a database is three hundred files.
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 << 30


def version_of(seed: int) -> int:
    return VERSIONS[seed % 4]


def at_usual_pace(seed: int) -> bool:
    return seed % 7 == 0


@dataclass
class Outcome:
    """What became of a seed."""

    seed: int
    version: int
    equal: bool
    steps: int
    starts: int
    kills: int


class RandomCase(Shop):
    """One server for all seeds of a version; a database of its own for each."""

    version = 15
    template = "base"  # what every seed's tables need is made once
    until = None  # seeds that have not begun by then are left out
    settings = {"logical_decoding_work_mem": "'64kB'", "max_prepared_transactions": "4", "max_wal_size": "'256MB'", "lock_timeout": f"'{STATEMENT_SECONDS}s'"}

    @classmethod
    def setUpClass(cls):
        cls.outcomes: list[Outcome] = []
        cls.postgres = Postgres(cls.version, **cls.settings).start()
        cls.addClassCleanup(cls.postgres.stop)
        cls.postgres.create_database(cls.template)
        for statement in RandomSchema(0, cls.version).before():
            cls.postgres.execute(statement, cls.template)

    def _drop_database(self):
        for (name,) in self.postgres.execute("select gid from pg_prepared_xacts"):
            self.postgres.execute(f"rollback prepared '{name}'", "shop")
        super()._drop_database()

    # --- the steps

    def run_seed(self, seed: int):
        self.seed, self.agent, self.starts, self.kills = seed, None, 0, 0
        schema = RandomSchema(seed, self.version)
        make = [statement for table in schema.tables for statement in table.ddl()]
        self.named = deepcopy(schema.tables)
        stream = RandomStream(seed, schema)
        self.log = [f"-- seed {seed}, PostgreSQL {self.version}", *(f"{statement};" for statement in schema.before() + make)]
        if not at_usual_pace(seed):
            faster = mock.patch.dict(os.environ, FIRN_CONFIRM_MS=str(CONFIRM_MS))
            faster.start()
            self.addCleanup(faster.stop)
        began, equal = time.monotonic(), False
        try:
            for statement in make:
                self.connection.execute(statement)
            self.sessions = [self.connection, self.postgres.connect("shop")]
            self.addCleanup(self.sessions[1].close)
            for step in stream.steps:
                self.log.append(str(step))
                self._take(step)
            self._assert_same(stream.model.tables)
            self.assert_stopped(self.agent)
            equal = True
        except BaseException as error:
            raise AssertionError(f"{error}\n{self._keep()}") from error
        finally:
            self.outcomes.append(Outcome(seed, self.version, equal, len(self.log), self.starts, self.kills))
            print(f"seed {seed}, PostgreSQL {self.version}: {len(self.log)} steps, {self.starts} starts, {self.kills} kill -9,"
                  f" {'equal' if equal else 'NOT EQUAL'} ({time.monotonic() - began:.1f} s)", flush=True)  # fmt: skip

    def _take(self, step):
        if step.what == "sql":
            self.sessions[step.session].execute(step.text)
        elif step.what == "start":
            self._start()
        elif step.what == "resnapshot":
            self._start("--resnapshot", f"public.{step.text}")
        elif step.what == "stop":
            # So early that nothing listens to signals yet, it ends of it.
            self.assertIn(self.agent.stop(), (OK, -signal.SIGTERM), self.agent.text()[-3000:])
        elif step.what == "kill":
            self.agent.kill()
            self.kills += 1
            self.assert_not_ahead()
        elif step.what == "sync":
            self.wait_agreed(self.agent)
        elif step.what == "named":
            self.named[step.table].name = step.text
        elif step.what == "refused":
            self.assertEqual(self.agent.wait(), REFUSED, self.agent.text()[-3000:])
            self.assertIn(step.text, self.agent.text())
            self.assert_not_ahead()

    def _start(self, *arguments: str):
        path = self.folder / "manifest.yaml"
        path.write_text(manifest(self.postgres, self.warehouse, self.named))
        path.chmod(0o600)
        self.agent = self.start(arguments=arguments)
        self.starts += 1

    def _kept(self, table) -> list[str]:
        """Columns that the lake has though the source has dropped them."""
        if table.drops:
            return []
        metadata = self.lake_table(f"t{table.number}").metadata
        schema = next(each for each in metadata["schemas"] if each["schema-id"] == metadata["current-schema-id"])
        gone = {field["name"] for field in schema["fields"]} - {each.name for each in table.columns}
        return [name for name in gone if re.sub(r"_\d+$", "", name) in table.dropped or name in table.dropped]

    def _kept_inside(self, table) -> list[str]:
        """Of the table's own composite, whatever it was called when it went, and the name it made room with."""
        if table.drops:
            return []
        gone = {f"{letter}{at}{more}" for at in range(1, 7) for letter in "ab" for more in ("", f"_{at}")} - set(table.own)
        gone |= {f"attribute_{at}" for at in range(1, 7)}
        return [f"{each.name}.{name}" for each in table.columns if each.kind.name.startswith("own") for name in gone]

    def _assert_same(self, tables):
        pairs = [f"public.{table.name}=shop/t{table.number}" for table in tables]
        kept = [f"public.{table.name}.{name}" for table in tables for name in (*self._kept(table), *self._kept_inside(table))]
        for engine in ENGINES:
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                same = compare(self.postgres.dsn("shop"), str(self.warehouse), pairs, engine, kept=kept)
            self.assertTrue(same, f"{engine}: {output.getvalue()}")
        for table in tables:
            self.assertGreater(len(lake.load(self.warehouse / "shop" / f"t{table.number}").snapshots), 0)

    def _keep(self) -> str:
        """What a person needs to look at it: statements, manifest, the agent's words, the tables."""
        place = ROOT / "build" / "random" / str(self.seed)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.folder, place)
        (place / "statements.sql").write_text("\n".join(self.log) + "\n")
        said = self.agent.text()[-1500:] if self.agent else ""
        return (f"after {len(self.log)} steps, the last one: {self.log[-1][:500]}\nthe agent's last words: {said}\n"
                f"kept in {place}; again: FIRN_SEED={self.seed} tests/harness/python tests/integration/test_random.py")  # fmt: skip


    def step_seed(self, seed: int):
        if self.until and time.monotonic() > self.until:
            self.skipTest("the time is over")
        self.run_seed(seed)


def _worker(cases: list[type[RandomCase]], answer):
    die_with_parent(signal.SIGTERM)()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))  # agents and servers end with the process
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES:
        tempfile.tempdir = str(MEMORY)
    for case in cases:
        unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromTestCase(case))
        answer.send(getattr(case, "outcomes", []))
    answer.close()


def run_seeds(seeds, at_once: int, until: float = None) -> list[Outcome]:
    """Each version's seeds on a server of its own, `at_once` versions at a time; what fails is said by then. Until: of
    time.monotonic()."""
    by_version: dict[int, dict] = {}
    for seed in seeds:
        test = lambda self, seed=seed: self.step_seed(seed)
        by_version.setdefault(version_of(seed), {})[f"test_seed_{seed}"] = test
    cases = [type(f"PostgreSQL{version}", (RandomCase,), {"version": version, "until": until, **tests})
             for version, tests in sorted(by_version.items())]  # fmt: skip
    context, workers, outcomes = multiprocessing.get_context("fork"), [], []
    for at in range(min(at_once, len(cases))):
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_worker, args=(cases[at::at_once], theirs))
        worker.start()
        theirs.close()
        workers.append((worker, ours))
    for worker, ours in workers:
        with contextlib.suppress(EOFError):
            while True:
                outcomes += ours.recv()
        worker.join()
        if worker.exitcode:
            raise AssertionError(f"a process that ran seeds ended with {worker.exitcode}")
    return outcomes
