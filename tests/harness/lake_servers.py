"""An object store and Iceberg's REST catalog on it, for as long as this process runs: until SIGTERM.

    lake_servers.py FOLDER

writes FOLDER/endpoint, region, uri and warehouse, and FOLDER/accessKeyId and secretAccessKey (a Secret as
files), then FOLDER/ready. deploy/quickstart --lake s3 and people who want to try something use it.

    lake_servers.py --fetch

builds and fetches every server that tests of lakes use, so that no test has to wait for that."""

import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import rest, s3
from harness.rest import RestCatalog
from harness.s3 import S3Server


def main() -> int:
    if sys.argv[1] == "--fetch":
        s3.fetch()
        rest.fetch()
        return 0
    folder = Path(sys.argv[1])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *unused: ended.set())
    with S3Server() as store, RestCatalog(s3=store) as catalog:
        told = {
            "endpoint": store.endpoint, "region": store.region, "uri": catalog.uri, "warehouse": catalog.warehouse,
            "accessKeyId": store.access_key, "secretAccessKey": store.secret_key, "ready": "",
        }  # fmt: skip
        for name, value in told.items():
            (folder / name).write_text(value)
        while not ended.wait(1):
            store.alive()
            catalog.alive()
    return 0


if __name__ == "__main__":
    sys.exit(main())
