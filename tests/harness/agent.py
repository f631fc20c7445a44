"""The agent as a process: started with a manifest, watched, killed, stopped. Its log is JSON lines."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from harness.postgres import PASSWORD, free_port
from harness.process import die_with_parent
from harness.wait import SLOWER, wait_until

ROOT = Path(__file__).resolve().parents[2]
OK, FAILED, USAGE, REFUSED = 0, 1, 2, 3


def binary() -> Path:
    """Of the preset in FIRN_BUILD; debug has crash points and assertions, release what users run."""
    return ROOT / "build" / os.environ.get("FIRN_BUILD", "debug") / "agent" / "firn-agent"


def command(*arguments, **options) -> subprocess.CompletedProcess:
    """A subcommand that ends by itself."""
    options.setdefault("timeout", 300)
    return subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True, **options)


def _filled(known: dict, fields: dict) -> dict:
    unknown = set(fields) - set(known)
    if unknown:
        raise TypeError(f"no field {unknown}")
    return known | fields


def connector(postgres, *, database="shop", password=None, **fields) -> str:
    """Secret db and Connector shop. Known fields: user, host, port, slot, publication, manage, include, exclude, snapshot,
    parallelism, rate (maxRowsPerSecond), tls (YAML), secret (more keys of the Secret; password "" leaves that out)."""
    value = _filled({
        "user": "postgres", "host": "127.0.0.1", "port": postgres.port, "slot": "firn", "publication": "firn",
        "manage": "true", "include": '["public.*"]', "exclude": "[]", "snapshot": "Initial", "parallelism": 2, "rate": 0,
        "tls": "{mode: Disable}", "secret": {},
    }, fields)  # fmt: skip
    rate = f", maxRowsPerSecond: {value['rate']}" if value["rate"] else ""
    password = PASSWORD if password is None else password
    secret = {"username": value["user"], **({"password": password} if password else {}), **value["secret"]}
    return f"""\
apiVersion: v1
kind: Secret
metadata: {{name: db}}
stringData: {json.dumps(secret)}
---
apiVersion: firn.dev/v1alpha1
kind: Connector
metadata: {{name: shop}}
spec:
  source:
    type: PostgreSQL
    host: {value['host']}
    port: {value['port']}
    database: {database}
    credentialsSecretRef: {{name: db}}
    tls: {value['tls']}
    tables: {{include: {value['include']}, exclude: {value['exclude']}}}
    snapshot: {{mode: {value['snapshot']}, parallelism: {value['parallelism']}{rate}}}
    postgresql: {{slot: {value['slot']}, publication: {value['publication']}, manage: {value['manage']}}}
"""


def unit_of_all(pattern: str, warehouse, more_table: str = "") -> str:
    """A unit that sends whatever the pattern chooses into a folder. more_table: ", name: value …" of the table."""
    return f"""\
---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: all}}
spec:
  connectorRef: {{name: shop, tables: ["{pattern}"]}}
  outsourcingUnit: {{table: {{catalog: {{type: Directory, warehouse: {warehouse}}}{more_table}}}}}
"""


def manifest(postgres, warehouse, **fields) -> str:
    """A Connector for every table of schema public, and a unit that sends them to WAREHOUSE/shop. Known fields: those of
    connector(), mode, format, interval, more_table (YAML lines), documents (more YAML documents), place (harness/place.py:
    then the warehouse is its own)."""
    known = {"mode": "Upsert", "format": 2, "interval": "1s", "more_table": "", "documents": "", "place": None}
    value = known | {name: fields.pop(name) for name in known if name in fields}
    place = value["place"]
    lines = place.table_lines() if place else f"catalog: {{type: Directory, warehouse: {warehouse}}}\n"
    where = "".join(f"      {line}\n" for line in lines.splitlines())
    return f"""\
{place.secrets() if place else ''}{value['documents']}{connector(postgres, **fields)}---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: shop}}
spec:
  connectorRef: {{name: shop, tables: ["public.*"]}}
  outsourcingUnit:
    table:
{where}      database: shop
      tableName: "{{table}}"
      formatVersion: {value['format']}
      mode: {value['mode']}
      commitInterval: {value['interval']}
{value['more_table']}"""


class Agent:
    """One run. `crash_at` is NAME or NAME:N (common/crash.h); confirm_ms: how often the source is told, at most, where
    crash points are (FIRN_CONFIRM_MS, unless that is set already)."""

    def __init__(self, manifest_file: Path, log: Path, crash_at: str = None, http: bool = False, arguments=(),
                 confirm_ms: int = 0, subcommand: str = "run", **options):
        self.log = log
        self.http_port = free_port() if http else None
        self.crash_at = crash_at
        environment = {**({"FIRN_CONFIRM_MS": str(confirm_ms)} if confirm_ms else {}), **os.environ,
                       **({"FIRN_CRASH_AT": crash_at} if crash_at else {})}  # fmt: skip
        call = [binary(), subcommand, "-f", manifest_file, "--log-format", "json", *arguments]
        if subcommand != "maintain":
            call += ["--progress", "never"]
        if http:
            call += ["--http", f"127.0.0.1:{self.http_port}"]
        with open(log, "wb") as to:
            self.process = subprocess.Popen(
                call, stderr=to, stdout=to, stdin=subprocess.DEVNULL, env=environment,
                preexec_fn=die_with_parent(), **options)  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def lines(self) -> list[dict]:
        """The log; what is no JSON (a crash, a sanitizer's report) is left out."""
        found = []
        for line in self.text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
        return found

    def copying(self) -> set[str]:
        """Tables whose copy has begun, or gone on, and is not complete."""
        tables = set()
        for line in self.lines():
            if line["msg"] in ("copying table", "going on copying table"):
                tables.add(line["table"])
            elif line["msg"] == "table copied":
                tables.discard(line["table"])
        return tables

    def alive(self):
        """Raises when the process has ended; for wait_until."""
        if self.process.poll() is not None:
            raise AssertionError(f"the agent ended with {self.process.returncode}:\n{self.text()[-3000:]}")

    def wait(self, seconds: float = 60) -> int:
        """Its exit code; minus the signal's number when one ended it."""
        seconds *= SLOWER
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent did not end within {seconds:g} s:\n{self.text()[-3000:]}") from None

    def _hears(self, number: int) -> bool:
        """Whether it takes the signal itself; one that has only just begun does not yet. (A thread that waits for it, sigwait,
        is the one that does not show it: its others do.)"""
        lines = []
        for status in Path(f"/proc/{self.process.pid}/task").glob("*/status"):
            with contextlib.suppress(OSError):  # it ended
                lines += status.read_text().splitlines()
        masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigCgt"))]
        return any(mask >> (number - 1) & 1 for mask in masks)

    def stop(self, seconds: float = 40) -> int:
        wait_until(lambda: self.process.poll() is not None or self._hears(signal.SIGTERM), seconds, "the agent hears signals")
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        """kill -9, and proof that it was this that ended it."""
        self.alive()
        self.process.kill()
        assert self.wait() == -signal.SIGKILL

    def struck(self) -> bool:
        """Whether the crash point asked for ended it."""
        name = self.crash_at.split(":")[0]
        return self.process.returncode == -signal.SIGKILL and f"crash point {name} struck" in self.text()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)

    def metrics(self) -> dict[str, float]:
        """Series (name with its labels) and values; empty while the server is not up."""
        status, text = self.get("/metrics")
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
        return {series: float(value) for series, value in lines} if status == 200 else {}

    def wait_ready(self, seconds: float = 60):
        wait_until(lambda: self.get("/readyz")[0] == 200, seconds, "the agent is ready", self.alive)

    def memory(self) -> dict[str, int]:
        """Bytes: rss, peak (VmHWM) and private (clean and dirty)."""
        folder = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        rollup = [line.split() for line in (folder / "smaps_rollup").read_text().splitlines()[1:]]
        kib = {parts[0]: int(parts[1]) for parts in rollup}
        return {
            "rss": int(status["VmRSS"].split()[0]) << 10,
            "peak": int(status["VmHWM"].split()[0]) << 10,
            "private": (kib["Private_Clean:"] + kib["Private_Dirty:"]) << 10,
        }

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
