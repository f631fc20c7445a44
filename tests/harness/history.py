"""What a lake table's history must be, whatever happened to it, and whether its files are there: read by
pyiceberg and from plain metadata, past the agent and its proxies."""

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from lake import newest_metadata

from harness.place import Place

POSITION = re.compile(r"@\d+/([0-9A-F]+)\.([0-9A-F]+)")


@dataclass
class History:
    name: str
    metadata: dict
    referenced: set[str] = field(default_factory=set)  # by any kept snapshot, or metadata of the log
    existing: set[str] = field(default_factory=set)

    @property
    def snapshots(self) -> list[dict]:
        return sorted(self.metadata.get("snapshots", []), key=lambda snapshot: snapshot["sequence-number"])

    @property
    def positions(self) -> list[tuple[int, int]]:
        """Of the snapshots that Firn made, oldest first."""
        found = []
        for snapshot in self.snapshots:
            for key, value in snapshot.get("summary", {}).items():
                if key.startswith("firn.position."):
                    major, minor = POSITION.search(value).groups()
                    found.append((int(major, 16), int(minor, 16)))
        return found

    @property
    def position(self) -> tuple[int, int] | None:
        """Of the table's property."""
        for key, value in self.metadata.get("properties", {}).items():
            if key.startswith("firn.position."):
                major, minor = POSITION.search(value).groups()
                return int(major, 16), int(minor, 16)
        return None

    @property
    def missing(self) -> set[str]:
        return self.referenced - self.existing

    @property
    def orphans(self) -> set[str]:
        return {uri for uri in self.existing - self.referenced if not uri.endswith("/version-hint.text")}


def _uri(text: str) -> str:
    if text.startswith("/"):
        return f"file://{text}"
    return f"file://{unquote(urlparse(text).path)}" if text.startswith("file:") else text


def location(place: Place, name: str) -> str:
    """As the comparer wants it."""
    return f"shop/{name}" if place.rest else f"{place.warehouse}/shop/{name}"


def load(place: Place, name: str, files: bool = True) -> History:
    """files: also which ones are referenced and which are there."""
    from pyiceberg.table import StaticTable

    access = place.access()
    newest = _uri(str(newest_metadata(location(place, name), access)))
    history = History(name, json.loads(place.read(newest)))
    if not files:
        return history
    history.existing = place.objects(_uri(history.metadata["location"]))
    referenced = {newest} | {_uri(entry["metadata-file"]) for entry in history.metadata.get("metadata-log", [])}
    table = StaticTable.from_metadata(newest, access.properties)
    seen = set()
    for snapshot in table.metadata.snapshots:
        referenced.add(_uri(snapshot.manifest_list))
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            referenced.add(_uri(manifest.manifest_path))
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            referenced |= {_uri(entry.data_file.file_path) for entry in entries}
    history.referenced = referenced
    return history


def wrong(history: History) -> list[str]:
    """What is wrong with it; empty: nothing."""
    found = []
    positions = history.positions
    for before, after in zip(positions, positions[1:]):
        if not before < after:
            found.append(f"{history.name}: position {after} was committed after {before}")
    ids = [snapshot["snapshot-id"] for snapshot in history.snapshots]
    if len(set(ids)) < len(ids):
        found.append(f"{history.name}: a snapshot id stands twice")
    head = history.metadata.get("current-snapshot-id")
    by_id = {snapshot["snapshot-id"]: snapshot for snapshot in history.snapshots}
    if head not in by_id:
        found.append(f"{history.name}: its head is none of its snapshots")
    if positions and history.position != positions[-1]:
        found.append(f"{history.name}: the property says {history.position}, the last snapshot {positions[-1]}")
    if history.missing:
        found.append(f"{history.name}: {len(history.missing)} files are missing, such as {sorted(history.missing)[:3]}")
    return found
