"""What a lake table's history must be, whatever happened to it, and whether its files are there: read by
pyiceberg and from plain metadata, past the agent and its proxies."""

import json
import re
import sys
import urllib.request
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
    heads: list[dict] | None = None  # every snapshot that was the head, where the metadata tells of the last one alone
    referenced: set[str] = field(default_factory=set)  # by any kept snapshot, or metadata of the log
    existing: set[str] = field(default_factory=set)

    @property
    def snapshots(self) -> list[dict]:
        found = self.metadata.get("snapshots", []) if self.heads is None else self.heads
        return sorted(found, key=lambda snapshot: snapshot["sequence-number"])

    @property
    def positions(self) -> list[tuple[int, int]]:
        """Of the snapshots that Firn made, oldest first."""
        return [position for position, _ in self._commits()]

    def _commits(self) -> list[tuple[tuple[int, int], bool]]:
        """Their positions, and whether they may stand where the one before does: with rows of the initial copy, which have none,
        and where the table was raised to v3, which every row gets its id by and no row comes with."""
        found, had_ids = [], True
        for snapshot in self.snapshots:
            summary = snapshot.get("summary", {})
            copies = any(key.startswith("firn.copy.") for key in summary)
            copies |= not had_ids and "first-row-id" in snapshot and "added-records" not in summary
            had_ids = "first-row-id" in snapshot
            for key, value in summary.items():
                if key.startswith("firn.position."):
                    major, minor = POSITION.search(value).groups()
                    found.append(((int(major, 16), int(minor, 16)), copies))
        return found

    @property
    def repeated(self) -> list[str]:
        """Commits that do not stand behind the one before; one of the copy, or that raised the table, may stand where that stands."""
        commits = self._commits()
        return [f"{self.name}: position {after} was committed after {before}"
                for (before, _), (after, copies) in zip(commits, commits[1:])
                if not (before < after or (copies and before == after))]  # fmt: skip

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
        """But for the hint, and the checksums that Hadoop puts beside what a catalog writes into a folder."""
        return {uri for uri in self.existing - self.referenced if not uri.endswith(("/version-hint.text", ".crc"))}


def _uri(text: str) -> str:
    if text.startswith("/"):
        return f"file://{text}"
    return f"file://{unquote(urlparse(text).path)}" if text.startswith("file:") else text


def _heads(place: Place, name: str) -> list[dict]:
    """Nessie's own log of commits, oldest first: what each made of the table."""
    url, found, more = place.rest.uri.removesuffix("/iceberg") + "/api/v2/trees/main/history?fetch=ALL&max-records=1000", [], ""
    while more is not None:
        with urllib.request.urlopen(url + more, timeout=120) as answer:
            page = json.load(answer)
        for entry in page["logEntries"]:
            for operation in entry.get("operations") or []:
                if operation["type"] == "PUT" and operation["key"]["elements"] == ["shop", name]:
                    found.append(operation["content"]["metadataLocation"])
        more = f"&page-token={page['token']}" if page.get("hasMore") else None
    heads = {}
    for uri in reversed(found):
        metadata = json.loads(place.read(uri))
        for snapshot in metadata.get("snapshots", []):
            if snapshot["snapshot-id"] == metadata.get("current-snapshot-id"):
                heads[snapshot["snapshot-id"]] = snapshot
    return list(heads.values())


def location(place: Place, name: str) -> str:
    """As the comparer wants it."""
    return f"shop/{name}" if place.rest else f"{place.warehouse}/shop/{name}"


def load(place: Place, name: str) -> History:
    from pyiceberg.table import StaticTable

    access = place.access()
    newest = _uri(str(newest_metadata(location(place, name), access)))
    history = History(name, json.loads(place.read(newest)), _heads(place, name) if place.kind == "nessie-s3" else None)
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
    found, positions = history.repeated, history.positions
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


def places(place: Place, name: str) -> list[tuple[str, str]]:
    """Operation and position of every row of an Append table."""
    from pyiceberg.table import StaticTable

    access = place.access()
    table = StaticTable.from_metadata(_uri(str(newest_metadata(location(place, name), access))), access.properties)
    rows = table.scan(selected_fields=("_firn_op", "_firn_position")).to_arrow()
    return list(zip(*(rows[column].to_pylist() for column in ("_firn_op", "_firn_position"))))
