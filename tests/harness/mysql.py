"""A private MySQL or MariaDB: own data folder, free port, on 127.0.0.1 only, gone afterwards. MariaDB is Debian's; MySQL
is unpacked by mysql_binaries and runs with its own loader. Settings are those of the server's command line, with
dashes; None takes one of the defaults away."""

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pymysql
from pymysql.constants import ER

from harness.process import die_with_parent, free_port
from harness.server import fetched
from harness.wait import SLOWER, wait_until

PASSWORD = "firn-test-password"
START_SECONDS = 90

_SETTINGS = {
    "bind-address": "127.0.0.1",
    "log-bin": "binlog",
    "binlog-format": "ROW",
    "binlog-row-image": "FULL",
    "binlog-row-metadata": "FULL",
    "character-set-server": "utf8mb4",
    "innodb-buffer-pool-size": "64M",
    "max-allowed-packet": "128M",
    # The server is never killed, only agents are: it need not survive a power cut.
    "innodb-flush-log-at-trx-commit": "0",
    "sync-binlog": "0",
}
GRANTS = "SELECT ON {database}.*", "REPLICATION SLAVE, REPLICATION CLIENT ON *.*"


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


class _Database:
    """Use as a context manager, or start() and stop(). User `root`, by the socket, without a password."""

    host = "127.0.0.1"
    kind: str  # spec.source.type
    more: dict[str, str] = {}
    grants: tuple[str, ...] = GRANTS

    def __init__(self, **settings: str | None):
        self.settings = {**_SETTINGS, **self.more, **{name.replace("_", "-"): value for name, value in settings.items()}}
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"firn-{self.kind.lower()}-"))
        self.socket = self.folder / "socket"
        self.process, self.ended = None, False
        self.user = pwd.getpwuid(os.geteuid()).pw_name

    def server(self) -> list:
        """The program, with what it needs to find its own files."""
        raise NotImplementedError

    def make_empty(self, data: Path):
        raise NotImplementedError

    def _call(self, data: Path) -> list:
        settings = [f"--{name}={value}" for name, value in self.settings.items() if value is not None]
        # A server that starts removes the temporary tables in its tmpdir: in one that is shared, those of the others, which crash.
        return [*self.server(), f"--datadir={data}", f"--tmpdir={self.folder}", f"--user={self.user}", f"--port={self.port}",
                f"--socket={self.socket}", f"--pid-file={self.folder}/pid", *settings]  # fmt: skip

    def _empty(self) -> Path:
        """The data folder of a server that nobody has used, made once. MySQL makes its uuid when it starts first."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firn/mysql-empty"
        cache.mkdir(parents=True, exist_ok=True)
        version = subprocess.run([*self.server(), "--version"], check=True, stdout=subprocess.PIPE).stdout
        name = f"{self.kind.lower()}-{hashlib.sha256(version).hexdigest()[:12]}"
        with open(cache / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (cache / name).exists():
                shutil.rmtree(cache / f"{name}.part", ignore_errors=True)
                self.make_empty(cache / f"{name}.part")
                (cache / f"{name}.part" / "auto.cnf").unlink(missing_ok=True)
                (cache / f"{name}.part").rename(cache / name)
        return cache / name

    def start(self) -> "_Database":
        data = self.folder / "data"
        if not data.exists():
            subprocess.run(["cp", "-a", "--reflink=auto", self._empty(), data], check=True)
        self.ended = False
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self._call(data), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                preexec_fn=die_with_parent(signal.SIGKILL))  # fmt: skip
        wait_until(self._answers, START_SECONDS, f"{self.kind} answers", self._alive)
        return self

    def _answers(self) -> bool:
        try:
            self.connect(None).close()
            return True
        except pymysql.err.OperationalError:
            return False

    def _alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.kind} ended: {self._log(2000)}")

    def _log(self, characters: int) -> str:
        return (self.folder / "log").read_text(errors="replace")[-characters:]

    def _end(self, number: int):
        self.ended = True
        self.process.send_signal(number)
        self.process.wait(SLOWER * START_SECONDS)

    def restart(self, **settings: str | None):
        self._end(signal.SIGTERM)
        self.settings |= {name.replace("_", "-"): value for name, value in settings.items()}
        self.start()

    def stop(self):
        if self.process:
            if self.process.poll() is not None and not self.ended:
                print(f"{self.kind} ended by itself ({self.process.returncode}): {self._log(8000)}", flush=True)
            self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def connect(self, database: str | None = "shop", **options) -> pymysql.Connection:
        return pymysql.connect(user="root", unix_socket=str(self.socket), database=database, charset="utf8mb4",
                               autocommit=True, connect_timeout=120, init_command="SET time_zone = '+00:00'", **options)  # fmt: skip

    def execute(self, statement: str, database: str | None = None, values=None):
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def create_user(self, name: str = "firn", database: str = "shop", grants=None, **options: str):
        """By password over TCP, with what the agent needs and no more."""
        self.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{PASSWORD}'" + options.get("require", ""))
        for grant in grants or self.grants:
            self.execute(f"GRANT {grant.format(database=database)} TO '{name}'@'%'")

    def cut(self, user: str, spared: str = "nothing"):
        """That user's connections, but for those whose command is called so; some may end by themselves meanwhile."""
        for number, name, _, _, command, *_ in self.execute("show processlist"):
            if name == user and spared not in command:
                try:
                    self.execute(f"kill {number}")
                except pymysql.err.MySQLError as error:
                    if error.args[0] != ER.NO_SUCH_THREAD:
                        raise

    def log_end(self) -> tuple[str, int]:
        """The binlog's last file, and how long it is."""
        return self.execute("SHOW BINARY LOGS")[-1][:2]

    def alive(self) -> bool:
        return self.process.poll() is None


class Mysql(_Database):
    kind = "MySQL"
    grants = (*GRANTS, "FLUSH_TABLES ON *.*")
    more = {"server-id": "1", "gtid-mode": "ON", "enforce-gtid-consistency": "ON", "mysqlx": "OFF", "secure-file-priv": "NULL"}

    def server(self) -> list:
        root = Path(fetched("mysql_binaries"))
        libraries = root / "usr/lib/x86_64-linux-gnu"
        path = f"{libraries}:{libraries}/mysql/private:{root}/usr/lib/mysql/private"
        return [libraries / "ld-linux-x86-64.so.2", "--library-path", path, root / "usr/sbin/mysqld", "--no-defaults",
                f"--basedir={root}/usr", f"--lc-messages-dir={root}/usr/share/mysql",
                f"--character-sets-dir={root}/usr/share/mysql/charsets", f"--plugin-dir={root}/usr/lib/mysql/plugin"]  # fmt: skip

    def make_empty(self, data: Path):
        subprocess.run([*self.server(), f"--datadir={data}", f"--user={self.user}", "--initialize-insecure"], check=True,
                       stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)  # fmt: skip


class Mariadb(_Database):
    kind = "MariaDB"
    more = {"server-id": "1", "gtid-strict-mode": "ON"}

    def server(self) -> list:
        return ["/usr/sbin/mariadbd", "--no-defaults"]

    def make_empty(self, data: Path):
        subprocess.run(["/usr/bin/mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={self.user}",
                        "--auth-root-authentication-method=normal", "--skip-test-db"], check=True,
                       stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)  # fmt: skip


SERVERS = {"MySQL": Mysql, "MariaDB": Mariadb}
