"""The committed record of the long runs: one section for each, with what it found and when."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "tests" / "long" / "RECORD.md"
HEAD = "# Record of the long runs\n\nWritten by `tests/run long`; each run replaces its section.\n"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def record(name: str, lines: list[str]):
    commit = _git("describe", "--always", "--exclude", "*")
    if _git("status", "--porcelain", "--untracked-files=no", "--", f":!{FILE.relative_to(ROOT)}"):
        commit += "-dirty"
    when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    text = FILE.read_text() if FILE.exists() else HEAD
    sections = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", text, re.M))
    where = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    sections[name] = f"\n{when}, commit {commit}, {where}.\n\n" + "".join(f"- {line}\n" for line in lines) + "\n"
    body = "".join(f"\n## {title}\n{section.rstrip()}\n" for title, section in sorted(sections.items()))
    FILE.write_text(HEAD + body)
