"""A test case with a source database, a warehouse and agents between them."""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from compare import compare
from lake import LOCAL

from harness import lake, shop
from harness.agent import OK, Agent, manifest
from harness.place import Place
from harness.postgres import Postgres
from harness.wait import TimedOut, wait_until

QUICK_INTERVAL, QUICK_CONFIRM_MS = "200ms", 100
AGREE_SECONDS = float(os.environ.get("FIRN_AGREE_SECONDS", "90"))


class Shop(unittest.TestCase):
    """One server for the class; a database, a warehouse and a slot for each test."""

    rows = 3000
    settings: dict[str, str] = {}
    quick = False  # commits and confirmations follow each other closely: for tests that wait for many, one by one
    template = "template1"

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(**cls.settings).start()
        cls.addClassCleanup(cls.postgres.stop)

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="firn-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.warehouse = self.folder / "warehouse"
        self.warehouse.mkdir()
        self.runs = 0
        self.postgres.create_database("shop", self.template)
        self.addCleanup(self._drop_database)
        self.connection = self.postgres.connect("shop")
        self.addCleanup(self.connection.close)

    def _drop_database(self):
        self.postgres.drop_database("shop")

    def make_shop(self, rows: int = None):
        shop.make(self.connection, rows or self.rows)

    def write_manifest(self, **fields) -> Path:
        path = self.folder / "manifest.yaml"
        pace = {"interval": QUICK_INTERVAL} if self.quick else {}
        path.write_text(manifest(self.postgres, self.warehouse, **pace | fields))
        path.chmod(0o600)
        return path

    def start(self, crash_at: str = None, **options) -> Agent:
        """An agent on the manifest last written, ended with the test at the latest."""
        self.runs += 1
        if self.quick:
            options.setdefault("confirm_ms", QUICK_CONFIRM_MS)
        agent = Agent(self.folder / "manifest.yaml", self.folder / f"agent-{self.runs}.log", crash_at, **options)
        self.addCleanup(agent.__exit__)
        return agent

    def wait_agreed(self, agent: Agent, seconds: float = AGREE_SECONDS, slot: str = "firn"):
        """Everything written so far is durable in the lake, and every table is whole."""
        try:
            # A copy goes on beside the stream: the slot says nothing of it.
            self.postgres.wait_confirmed(slot, seconds, "shop", agent.alive)
            wait_until(lambda: not agent.copying(), seconds, "every table is copied", agent.alive)
        except TimedOut as error:
            raise TimedOut(f"{error}; the slot: {self.postgres.slot(slot)}; the agent: {agent.text()[-2000:]}") from None

    def assert_equal(self, engine: str = "duckdb", tables: str = "public=shop", place: Place = None, strings=(), kept=()):
        output = io.StringIO()
        where, access = (place.warehouse, place.access()) if place else (str(self.warehouse), LOCAL)
        with contextlib.redirect_stdout(output):
            same = compare(self.postgres.dsn("shop"), where, [tables], engine, access=access, strings=strings, kept=kept)
        self.assertTrue(same, f"{engine}: {output.getvalue()}")
        return output.getvalue()

    def assert_stopped(self, agent: Agent):
        self.assertEqual(agent.stop(), OK, agent.text()[-3000:])

    def lake_table(self, name: str) -> lake.Table | None:
        return lake.load(self.warehouse / "shop" / name)

    def assert_not_ahead(self, slot: str = "firn"):
        """The slot is never confirmed past what the record beside the warehouse says is durable."""
        state = self.postgres.slot(slot)
        recorded = lake.recorded_position(self.warehouse)
        if state and recorded is not None:
            self.assertLessEqual(state["confirmed"], recorded, "the slot was confirmed past the lake")

    @contextlib.contextmanager
    def traffic(self, seed: int = 1, pace: float = shop.PACE, **options):
        """Changes go on in a thread, through a connection of their own, until the block ends."""
        stop = threading.Event()
        failed = []

        def run():
            try:
                with self.postgres.connect("shop") as connection:
                    changes.append(shop.Traffic(connection, seed, **options))
                    changes[0].run(stop=stop, pace=pace)
            except BaseException as error:
                failed.append(error)

        changes = []
        thread = threading.Thread(target=run, name="traffic", daemon=True)
        thread.start()
        try:
            wait_until(lambda: failed or (changes and changes[0].done["transactions"] > 10), 90, "traffic flows")
            yield changes[0] if changes else None
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]
