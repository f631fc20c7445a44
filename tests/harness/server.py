"""A server that a test brings up as a process of its own: a folder for what it writes, a free port on
127.0.0.1, readiness found out by asking, and nothing left behind. S3Server and RestCatalog are such."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from harness.process import die_with_parent, free_port
from harness.wait import TimedOut, wait_until

HARNESS = Path(__file__).resolve().parent
DEPLOY = HARNESS.parents[1] / "deploy"
MAVEN = DEPLOY / "maven"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firn"
LOG_BYTES = 3000


def fetched(tool: str | Path, *arguments: str) -> str:
    """What a script (of this folder, unless its path is given) prints: the path of what it fetched or built."""
    done = subprocess.run([HARNESS / tool, *arguments], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{tool} {' '.join(arguments)} failed: its words stand above")
    return done.stdout.strip()


class Server:
    """Use as a context manager, or start() and stop(). A subclass says what is run and when it is ready."""

    name = "server"
    start_seconds = 60
    stop_seconds = 60

    def __init__(self):
        self.port = None
        self.folder = None
        self.process = None

    def command(self) -> tuple[list, dict[str, str]]:
        """What is run, and what its environment has beside the usual."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Asks the server; also when nothing answers yet."""
        raise NotImplementedError

    def start(self):
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"firn-{self.name}-"))
        try:
            call, environment = self.command()
            with open(self.folder / "log", "wb") as log:
                self.process = subprocess.Popen(
                    call, env={**os.environ, **environment}, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                    cwd=self.folder, preexec_fn=die_with_parent())  # fmt: skip
            wait_until(self.ready, self.start_seconds, f"{self.name} answers", self.alive)
        except BaseException as error:
            log = self.log()
            self.stop()
            if isinstance(error, TimedOut):
                raise TimedOut(f"{error}; its log: {log}") from None
            raise
        return self

    def log(self) -> str:
        """The end of it."""
        path = self.folder / "log"
        return path.read_text(errors="replace")[-LOG_BYTES:] if path.exists() else ""

    def alive(self):
        """Raises when the server has ended; for wait_until."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}: {self.log()}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()
