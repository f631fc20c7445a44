"""Stands between a client and the API server of kube.py: what is asked, in which representation, and every byte of the
answers. It changes nothing; the client shows who it is by a token, or has this end's certificate."""

import asyncio
import json
import re
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from harness.kube import Cluster

HEAD_BYTES_MAX = 1 << 18
CHUNK_BYTES = 1 << 16


@dataclass
class Asked:
    method: str
    target: str  # path and query
    accept: str


class Witness:
    """A context manager. config: a kubeconfig by which the API server is reached through it, as the user of `stem`'s."""

    def __init__(self, cluster: Cluster, stem: str = "admin"):
        self.asked: list[Asked] = []
        self.answers = bytearray()
        self._cluster, self._stem, self._tasks = cluster, stem, set()

    def __enter__(self):
        started, folder = threading.Event(), self._cluster.folder
        known = json.loads((folder / f"{self._stem}.kubeconfig").read_text())
        (user,) = (one["user"] for one in known["users"])
        self._in = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._in.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._out = ssl.create_default_context(cafile=folder / "ca.crt")
        if "client-certificate" in user:
            self._out.load_cert_chain(folder / user["client-certificate"], folder / user["client-key"])

        def run():
            self._loop = asyncio.new_event_loop()
            self._loop.run_until_complete(self._serve(started))
            self._loop.close()

        self._thread = threading.Thread(target=run, name="witness", daemon=True)
        self._thread.start()
        started.wait()
        known["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        self.config = Path(folder / f"{self._stem}.witness.kubeconfig")
        self.config.write_text(json.dumps(known))
        return self

    def __exit__(self, *unused):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def of(self, resource: str) -> list[Asked]:
        """What was asked of the kind, named as in a path: secrets."""
        return [one for one in list(self.asked) if resource in one.target.split("?")[0].split("/")]

    async def _serve(self, started):
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self._in, limit=HEAD_BYTES_MAX)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._end.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        ways, to = [], None
        try:
            back, to = await asyncio.open_connection(self._cluster.address, self._cluster.port, ssl=self._out, limit=HEAD_BYTES_MAX)
            ways = [asyncio.ensure_future(self._requests(reader, to)), asyncio.ensure_future(self._answers(back, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            pass  # either side may end at any time: the other is told the same way
        finally:
            self._tasks.discard(task)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for one in (writer, to):
                if one:
                    one.close()

    async def _requests(self, reader, to):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
            method, target, _ = lines[0].split(" ")
            assert "transfer-encoding" not in fields, "bodies have lengths"
            self.asked.append(Asked(method, target, fields.get("accept", "")))
            # what is packed can't be looked into
            to.write(re.sub(rb"(?i)\r\naccept-encoding:[^\r]*", b"", head))
            to.write(await reader.readexactly(int(fields.get("content-length", "0"))))
            await to.drain()

    async def _answers(self, back, writer):
        while data := await back.read(CHUNK_BYTES):
            self.answers += data
            writer.write(data)
            await writer.drain()
