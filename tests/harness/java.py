"""Servers on the JVM that come up with half the work: C1 alone compiles, and the classes that one has loaded are kept for
those after it (class data sharing: an archive beside the downloads; Java looks itself whether it fits)."""

import hashlib
import os
import shutil
from pathlib import Path

from harness.server import CACHE, Server

QUICK = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"]
KEEP_SECONDS = 120


class JavaServer(Server):
    start_seconds = 300  # a limit is for what hangs
    keeps = False  # this one writes the archive when it ends

    def classes(self) -> list[str]:
        """Where they are: -cp or -jar with what follows."""
        raise NotImplementedError

    def archive(self) -> Path:
        java = os.stat(os.path.realpath(shutil.which("java")))
        what = repr((java.st_size, java.st_mtime_ns, self.classes()))
        return CACHE / f"classes-{hashlib.sha256(what.encode()).hexdigest()[:12]}.jsa"

    def quick(self) -> list[str]:
        """Options of Java's."""
        archive = self.archive()
        if self.keeps:
            return [*QUICK, f"-XX:ArchiveClassesAtExit={archive}.part"]
        return [*QUICK, f"-XX:SharedArchiveFile={archive}"] if archive.exists() else QUICK

    def keep_classes(self):
        """Once, ahead of the first use: runs it for nothing else."""
        archive = self.archive()
        if archive.exists():
            return
        self.keeps, self.stop_seconds = True, KEEP_SECONDS
        with self:
            pass
        Path(f"{archive}.part").replace(archive)
