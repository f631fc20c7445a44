"""What a lake table says of itself, read from its metadata as plain JSON: the tests' own look, not the
agent's."""

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Table:
    """The newest metadata in a table's folder."""

    folder: Path
    metadata: dict

    @property
    def properties(self) -> dict:
        return self.metadata.get("properties", {})

    @property
    def snapshots(self) -> list[dict]:
        return self.metadata.get("snapshots", [])

    @property
    def position(self) -> tuple[int, int] | None:
        """(major, minor) of the table's firn.position property."""
        for name, value in self.properties.items():
            if name.startswith("firn.position."):
                major, minor = re.search(r"@\d+/([0-9A-F]+)\.([0-9A-F]+)", value).groups()
                return int(major, 16), int(minor, 16)
        return None


def version_files(folder: Path) -> dict[int, Path]:
    found = {}
    for path in (folder / "metadata").glob("v*.metadata.json"):
        found[int(re.fullmatch(r"v(\d+)\.metadata\.json", path.name)[1])] = path
    return found


def load(folder: Path) -> Table | None:
    versions = version_files(folder)
    return Table(folder, json.loads(versions[max(versions)].read_text())) if versions else None


def recorded_position(warehouse: Path, connector: str = "default.shop") -> int | None:
    """What stands in the confirmed record beside the warehouse."""
    path = warehouse / "_firn" / f"{connector}.json"
    if not path.exists():
        return None
    return int(re.search(r"@\d+/([0-9A-F]+)\.", json.loads(path.read_text())["position"])[1], 16)
