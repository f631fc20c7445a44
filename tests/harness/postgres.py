"""A private PostgreSQL: own data folder, free port, on 127.0.0.1 only, gone afterwards. The server
refuses to be root; then it runs as the user postgres."""

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from harness.process import die_with_parent, free_port
from harness.wait import SLOWER, wait_until

VERSIONS = (15, 16, 17, 18)
PASSWORD = "firn-test-password"
START_SECONDS = 60

_SETTINGS = {
    "wal_level": "logical",
    "max_replication_slots": "8",
    "max_wal_senders": "8",
    "max_wal_size": "'4GB'",
    "shared_buffers": "'128MB'",
    # The server is never killed, only agents are: it need not survive a power cut.
    "fsync": "off",
    "synchronous_commit": "off",
    "password_encryption": "'scram-sha-256'",
}

_SLOT = """
select active, (confirmed_flush_lsn - '0/0')::bigint, (restart_lsn - '0/0')::bigint, wal_status
from pg_replication_slots where slot_name = %s"""
_WAL_END = "select (pg_current_wal_insert_lsn() - '0/0')::bigint"
_MESSAGE = "select pg_logical_emit_message(true, 'firn', 'agree')"


def binaries(version: int = None) -> Path:
    """The folder with initdb and postgres; of FIRN_POSTGRES_BIN, or of Debian's, unless a version is asked for."""
    if version is None:
        return Path(os.environ.get("FIRN_POSTGRES_BIN", "/usr/lib/postgresql/15/bin"))
    script = Path(__file__).with_name("postgres_binaries")
    return Path(subprocess.run([script, str(version)], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


class Postgres:
    """Use as a context manager, or start() and stop(). Superuser `postgres`, by password."""

    host = "127.0.0.1"

    def __init__(self, version: int = None, **settings: str):
        self.binaries = binaries(version)
        self.settings = {**_SETTINGS, "listen_addresses": f"'{self.host}'", **settings}
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="firn-postgres-"))
        self.process = None
        user = "postgres" if os.geteuid() == 0 else None
        self.as_user = {"user": user, "group": user, "extra_groups": []} if user else {}

    def start(self) -> "Postgres":
        if self.as_user:
            entry = pwd.getpwnam(self.as_user["user"])
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        data = self.folder / "data"
        if not data.exists():
            subprocess.run(["cp", "-a", "--reflink=auto", self._empty(), data], check=True)
        with open(data / "postgresql.auto.conf", "w") as settings:
            for name, value in self.settings.items():
                settings.write(f"{name} = {value}\n")
            settings.write(f"port = {self.port}\nunix_socket_directories = '{self.folder}'\n")
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binaries / "postgres", "-D", data], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                preexec_fn=die_with_parent(signal.SIGQUIT), **self.as_user)  # fmt: skip
        wait_until(self._answers, START_SECONDS, "PostgreSQL answers", self._alive)
        return self

    def _empty(self) -> Path:
        """The data folder of a server that nobody has used, made once for each version: initdb takes longer than a copy.
        So all servers of a version have one system identifier; a test that wants two has to call initdb itself."""
        version = subprocess.run([self.binaries / "postgres", "--version"], check=True, stdout=subprocess.PIPE).stdout
        call = [self.binaries / "initdb", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--auth=scram-sha-256"]
        cache = Path("/var/cache") if self.as_user else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache /= "firn/initdb"  # beside postgres_binaries' folder
        cache.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(version + repr((call, PASSWORD)).encode()).hexdigest()[:12]
        with open(cache / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (cache / name).exists():
                password = self.folder / "password"
                password.write_text(PASSWORD)
                password.chmod(0o644)
                subprocess.run([*call, "-D", self.folder / "empty", f"--pwfile={password}"], check=True,
                               stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=self.folder, **self.as_user)  # fmt: skip
                shutil.rmtree(cache / f"{name}.part", ignore_errors=True)
                subprocess.run(["cp", "-a", self.folder / "empty", cache / f"{name}.part"], check=True)
                shutil.rmtree(self.folder / "empty")
                (cache / f"{name}.part").rename(cache / name)
        return cache / name

    def _answers(self) -> bool:
        try:
            self.connect().close()
            return True
        except psycopg.OperationalError:
            return False

    def _alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended: {(self.folder / 'log').read_text()[-2000:]}")

    def _end(self, number: int):
        self.process.send_signal(number)
        self.process.wait(SLOWER * START_SECONDS)

    def restart(self, **settings: str):
        self._end(signal.SIGINT)  # a fast shutdown
        self.settings |= settings
        self.start()

    def stop(self):
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str = PASSWORD) -> str:
        return f"host={self.host} port={self.port} dbname={database} user={user} password={password}"

    def connect(self, database: str = "postgres", **options) -> psycopg.Connection:
        return psycopg.connect(self.dsn(database, **options), autocommit=True)

    def execute(self, statement: str, database: str = "postgres", values=None):
        with self.connect(database) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else None

    def create_database(self, name: str, template: str = "template1"):
        self.execute(f'create database "{name}" template "{template}"')

    def slot(self, name: str, connection: psycopg.Connection = None) -> dict | None:
        """What pg_replication_slots says of a slot; positions as integers."""
        rows = (connection.execute(_SLOT, [name]) if connection else self.execute(_SLOT, values=[name])) or []
        row = next(iter(rows), None)
        return dict(zip(("active", "confirmed", "restart", "wal_status"), row)) if row else None

    def drop_slots(self, *names: str):
        """Those, or all. A slot is let go a moment after the process that read from it has ended: the server has to see it."""
        with self.connect() as connection:
            chosen = "(%(all)s or slot_name = any(%(names)s))"
            values = {"all": not names, "names": list(names)}
            active = f"select 1 from pg_replication_slots where active and {chosen}"
            wait_until(lambda: not connection.execute(active, values).fetchall(), START_SECONDS, f"the slots are let go: {names or 'all'}")
            connection.execute(f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where {chosen}", values)

    def drop_database(self, name: str):
        """With its slots, and whoever is connected; those who read from a slot are put out first."""
        with self.connect() as connection:
            connection.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active")
            self.drop_slots()

            def dropped() -> bool:
                try:
                    connection.execute(f'drop database "{name}" with (force)')
                except psycopg.errors.ObjectInUse:  # those who are put out may take longer than the five seconds that it waits
                    return False
                return True

            wait_until(dropped, START_SECONDS, f"{name} is dropped")

    def wal_end(self) -> int:
        return self.execute(_WAL_END)[0][0]

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_confirmed(self, slot: str, seconds: float, database: str, watch=None):
        """Waits until everything written so far is confirmed by the slot's reader, that is, durable
        in the lake, but for rows of before the slot that a copy is still to read. A new slot counts as
        confirmed where it begins: the first message lies behind that, for which one that is lost, and
        about to be made anew, counts as none. The second makes sure that a commit follows what is
        waited for."""

        def confirmed():
            state = self.slot(slot, connection)
            return state and state["wal_status"] != "lost" and state["confirmed"] or 0

        with self.connect(database) as connection:
            wait_until(confirmed, seconds, f"slot {slot} is there", watch)
            connection.execute(_MESSAGE)
            end = connection.execute(_WAL_END).fetchone()[0]
            connection.execute(_MESSAGE)
            wait_until(lambda: confirmed() >= end, seconds, f"slot {slot} confirms {end:X}", watch)


class Standby(Postgres):
    """Of a primary that has started: the same port at another address, so that both are hosts of one manifest.
    The primary is shut down for a moment, for its files to be copied. Beside the settings given it syncs failover
    slots, where it is 17 or later."""

    host = "127.0.0.2"
    SLOT = "standby"

    def __init__(self, primary: Postgres, version: int, **settings: str):
        super().__init__(version, **settings)
        self.primary = primary
        self.port = primary.port
        self.settings |= {
            "hot_standby_feedback": "on",
            "primary_slot_name": f"'{self.SLOT}'",
            "primary_conninfo": f"'{primary.dsn()}'",
            **({"sync_replication_slots": "on"} if version >= 17 else {}), **settings,
        }  # fmt: skip

    def start(self) -> "Standby":
        data = self.folder / "data"
        if not data.exists():
            self.primary.execute(f"select pg_create_physical_replication_slot('{self.SLOT}', true)")
            self.primary._end(signal.SIGINT)
            shutil.copytree(self.primary.folder / "data", data)
            (data / "postmaster.pid").unlink(missing_ok=True)
            shutil.rmtree(data / "pg_replslot" / self.SLOT)
            (data / "standby.signal").touch()
            if self.as_user:
                entry = pwd.getpwnam(self.as_user["user"])
                for path in (data, *data.rglob("*")):
                    os.chown(path, entry.pw_uid, entry.pw_gid)
            self.primary.start()
        return super().start()

    def follows(self) -> bool:
        """It has received, and replayed, all that the primary has written."""
        end = self.primary.wal_end()
        return self.execute(f"select (pg_last_wal_replay_lsn() - '0/0')::bigint >= {end}")[0][0]

    def has_slot(self, name: str) -> bool:
        return self.execute(
            f"select count(*) from pg_replication_slots where slot_name = '{name}' and synced and not temporary")[0][0] == 1  # fmt: skip

    def promote(self):
        self.execute("select pg_promote()")
        wait_until(lambda: not self.execute("select pg_is_in_recovery()")[0][0], START_SECONDS, "it is promoted")
