"""Stands between a client and any TCP server and does, by plan or by chance, what networks and servers do on
bad days. Every fault that struck is recorded, so that a test can prove that it did.

With http=True requests are parsed far enough to aim at one: "the 3rd PUT whose path ends in .metadata.json".

    delay     waits, then passes the request on
    cut       closes the connection; the request is not passed on
    reset     passes half of the request on, then resets both connections
    answer    answers with `status` itself: instead of the server, or with `passed` after the server did its work
    swallow   passes the request on and, when the server did it (2xx), closes without an answer
    truncate  closes after half of the answer's body
    hang      the request is done (2xx), the answer never comes: for as long as the client waits
    throttle  the answer at `bytes_per_second`

Without http there are connections and bytes: delay, cut, reset, hang and throttle strike on the nth
connection once `after_bytes` have passed in `direction` ("request" is to the server, "answer" from it).
"""

import asyncio
import random
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

HTTP_KINDS = ("delay", "cut", "reset", "answer", "swallow", "truncate", "hang", "throttle")
TCP_KINDS = ("delay", "cut", "reset", "hang", "throttle")
HEAD_BYTES_MAX = 1 << 18
CHUNK_BYTES = 1 << 16
THROTTLE_STEP_SECONDS = 0.02
REASONS = {409: "Conflict", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Unavailable", 504: "Gateway Timeout"}  # fmt: skip


@dataclass
class Fault:
    """Strikes from the nth match on, `times` times (0: always). `path` is a regular expression that is
    searched in the path, and in the path with its query. A match counts only if it strikes in the end: one that
    an earlier fault of the plan took, or that came to nothing (the server refused what `swallow` waits for), is
    given back, so that a plan is struck whole, one after the other."""

    kind: str
    method: str | None = None
    path: str | None = None
    nth: int = 1
    times: int = 1
    seconds: float = 0.2
    status: int = 503
    passed: bool = False
    headers: dict = field(default_factory=dict)
    body: str = ""
    bytes_per_second: int = 10_000
    direction: str = "answer"
    after_bytes: int = 0
    matched: int = 0
    taken: int = 0  # strikes that are under way, or done
    struck: int = 0

    def strikes(self) -> bool:
        """Counts a match."""
        self.matched += 1
        return self.matched >= self.nth and (not self.times or self.taken < self.times)


@dataclass
class Struck:
    kind: str
    where: str
    when: float  # seconds since the epoch
    left: float | None = None  # when the client had enough of an answer that hangs


@dataclass
class Message:
    """A request or an answer: its first line and fields, and its body as it came (chunks and all)."""

    head: bytes
    body: bytes
    whole: bool = True
    close: bool = False

    @property
    def first(self) -> list[str]:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    @property
    def status(self) -> int:
        return int(self.first[1])

    @property
    def raw(self) -> bytes:
        return self.head + self.body


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


async def _chunked(reader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line
        if size:
            body += await reader.readexactly(size + 2)
            continue
        while True:  # trailers, up to the empty line
            line = await reader.readuntil(b"\r\n")
            body += line
            if line == b"\r\n":
                return body


async def _body(reader, fields: dict, until_end: bool) -> bytes:
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return await _chunked(reader)
    if "content-length" in fields:
        return await reader.readexactly(int(fields["content-length"]))
    return await reader.read(-1) if until_end else b""


def _reset(writer):
    """Ends a connection so that the other side sees a reset, not an end."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Gone(Exception):
    """This connection is over."""


class FaultProxy:
    """Use as a context manager, or start() and stop(). Listens on 127.0.0.1:port."""

    def __init__(self, host: str, port: int, http: bool = True):
        self.peer = (host, port)
        self.http = http
        self.port = None
        self.struck: list[Struck] = []
        self._lock = threading.Lock()
        self._plan: list[Fault] = []
        self._chance = None
        self._loop = None
        self._connections = 0
        self._tasks = set()
        self._quiet = None  # set when what hangs may end

    # --- what tests call ---

    def plan(self, faults: list):
        """Replaces the plan. A fault is a Fault, or a dictionary of its fields."""
        faults = [fault if isinstance(fault, Fault) else Fault(**fault) for fault in faults]
        for fault in faults:
            self._check(fault.kind)
        with self._lock:
            self._plan = faults

    def random(self, seed: int, rate: float, kinds=None, **options):
        """Besides the plan, each request (or piece of bytes) is struck with probability `rate`. `options` are
        fields of Fault."""
        kinds = list(kinds or (HTTP_KINDS if self.http else TCP_KINDS))
        for kind in kinds:
            self._check(kind)
        with self._lock:
            self._chance = (random.Random(seed), rate, kinds, options)

    def calm(self):
        """No more faults; connections that hang are closed, throttled ones run as fast as they can."""
        with self._lock:
            self._plan, self._chance = [], None
        if self._loop:
            self._loop.call_soon_threadsafe(self._release)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> "FaultProxy":
        started = threading.Event()
        failed = []

        def run():
            self._loop = asyncio.new_event_loop()
            try:
                self._loop.run_until_complete(self._serve(started))
            except BaseException as error:
                failed.append(error)
            finally:
                started.set()
                self._loop.close()

        self._thread = threading.Thread(target=run, name="fault-proxy", daemon=True)
        self._thread.start()
        started.wait()
        if failed:
            raise failed[0]
        return self

    def stop(self):
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    # --- deciding ---

    def _check(self, kind: str):
        known = HTTP_KINDS if self.http else TCP_KINDS
        if kind not in known:
            raise ValueError(f"no fault {kind}; there are {', '.join(known)}")

    def _by_chance(self) -> Fault | None:
        if not self._chance:
            return None
        dice, rate, kinds, options = self._chance
        return Fault(dice.choice(kinds), **options) if dice.random() < rate else None

    def _fault_for_request(self, method: str, target: str) -> Fault | None:
        path = target.split("?")[0]
        with self._lock:
            found = None
            for fault in self._plan:  # all count, the first that strikes wins
                aimed = (not fault.method or fault.method == method) and (
                    not fault.path or re.search(fault.path, path) or re.search(fault.path, target))  # fmt: skip
                if not aimed or not fault.strikes():
                    continue
                found = found or fault
            if found:
                found.taken += 1
            return found or self._by_chance()

    def _fault_for_bytes(self, connection: int, direction: str, before: int, after: int) -> Fault | None:
        with self._lock:
            for fault in self._plan:
                nth = fault.nth <= connection and (not fault.times or connection < fault.nth + fault.times)
                if nth and fault.direction == direction and before <= fault.after_bytes < after:
                    return fault
            return self._by_chance()

    def _note(self, fault: Fault, where: str) -> Struck:
        with self._lock:
            fault.struck += 1
            self.struck.append(Struck(fault.kind, where, time.time()))
            return self.struck[-1]

    # --- serving ---

    async def _serve(self, started):
        self._end = asyncio.Event()
        self._quiet = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._end.wait()
        server.close()
        self._release()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _release(self):
        self._quiet.set()
        self._quiet = asyncio.Event()

    async def _connection(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self._connections += 1
        try:
            await (self._requests(reader, writer) if self.http else self._bytes(self._connections, reader, writer))
        except (Gone, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # either side may end at any time: the other is told the same way
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _requests(self, reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = _fields(head)
            if fields.get("expect", "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                head = re.sub(rb"(?i)\r\nexpect:[^\r]*", b"", head)
            request = Message(head, await _body(reader, fields, False))
            method, target = request.first[:2]
            fault = self._fault_for_request(method, target)
            before = fault.struck if fault else 0
            try:
                answer = await self._exchange(reader, writer, request, fault, f"{method} {target}")
            finally:
                if fault and fault.struck == before:
                    fault.taken -= 1
            await self._pass(writer, answer, fault)
            if answer.close or not answer.whole or fields.get("connection", "").lower() == "close":
                return

    async def _exchange(self, reader, writer, request: Message, fault: Fault | None, where: str) -> Message:
        """The answer to pass on. Gone when there is none."""
        kind = fault.kind if fault else None
        if kind in ("delay", "cut", "reset", "throttle") or (kind == "answer" and not fault.passed):
            self._note(fault, where)
        if kind == "delay":
            await asyncio.sleep(fault.seconds)
        elif kind == "cut":
            raise Gone
        elif kind == "answer" and not fault.passed:
            return self._own_answer(fault)
        elif kind == "reset":
            await self._ask(request.raw[: max(len(request.raw) // 2, 1)], None)
            _reset(writer)
            raise Gone
        answer = await self._ask(request.raw, request.first[0])
        done = 200 <= answer.status < 300
        if kind == "answer" and fault.passed and done:
            self._note(fault, where)
            return self._own_answer(fault)
        if kind == "truncate":
            self._note(fault, where)
            return Message(answer.head, answer.body[: len(answer.body) // 2], whole=False)
        if kind in ("swallow", "hang") and done:
            struck = self._note(fault, where)
            if kind == "hang":
                await self._hang(reader, struck)
            raise Gone
        return answer

    async def _hang(self, reader, struck: Struck):
        """Until the client leaves, or calm()."""
        ways = [asyncio.ensure_future(reader.read(1)), asyncio.ensure_future(self._quiet.wait())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if ways[0].done():
                struck.left = time.time()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def _own_answer(self, fault: Fault) -> Message:
        body = fault.body.encode()
        lines = [f"HTTP/1.1 {fault.status} {REASONS.get(fault.status, 'Fault')}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in fault.headers.items()]
        return Message("\r\n".join([*lines, "", ""]).encode(), body)

    async def _ask(self, raw: bytes, method: str | None) -> Message | None:
        """One request, one connection. Without a method it is reset once the bytes are sent."""
        reader, writer = await asyncio.open_connection(*self.peer, limit=HEAD_BYTES_MAX)
        try:
            writer.write(raw)
            await writer.drain()
            if method is None:
                _reset(writer)
                return None
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                status = int(head.split(b" ", 2)[1])
                if status >= 200:
                    break
            fields = _fields(head)
            if method == "HEAD" or status in (204, 304):
                return Message(head, b"")
            ends = "content-length" not in fields and "transfer-encoding" not in fields
            closes = ends or fields.get("connection", "").lower() == "close"
            return Message(head, await _body(reader, fields, ends), close=closes)
        finally:
            writer.close()

    async def _pass(self, writer, answer: Message, fault: Fault | None):
        if fault and fault.kind == "throttle":
            await self._drip(writer, answer.raw, fault.bytes_per_second, self._quiet)
        else:
            writer.write(answer.raw)
            await writer.drain()

    async def _drip(self, writer, data: bytes, bytes_per_second: int, quiet: asyncio.Event):
        """Until it is quiet: the rest is passed at once then."""
        step = max(int(bytes_per_second * THROTTLE_STEP_SECONDS), 1)
        at = 0
        while at < len(data) and not quiet.is_set():
            writer.write(data[at : at + step])
            await writer.drain()
            await asyncio.sleep(step / bytes_per_second)
            at += step
        writer.write(data[at:])
        await writer.drain()

    async def _bytes(self, number: int, reader, writer):
        peer_reader, peer_writer = await asyncio.open_connection(*self.peer)
        ways = [asyncio.ensure_future(self._pump(number, "request", reader, peer_writer, writer)),
                asyncio.ensure_future(self._pump(number, "answer", peer_reader, writer, peer_writer))]  # fmt: skip
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
            peer_writer.close()

    async def _pump(self, number: int, direction: str, reader, to, back):
        passed, slow, quiet = 0, None, None
        while True:
            data = await reader.read(CHUNK_BYTES)
            if not data:
                if to.can_write_eof():
                    to.write_eof()  # the other way may go on
                return
            fault = self._fault_for_bytes(number, direction, passed, passed + len(data))
            if fault:
                self._note(fault, f"connection {number}, {direction} byte {max(passed, fault.after_bytes)}")
                before = max(fault.after_bytes - passed, 0)
                if fault.kind == "delay":
                    await asyncio.sleep(fault.seconds)
                elif fault.kind == "throttle":
                    slow, quiet = fault.bytes_per_second, self._quiet
                else:  # cut, reset, hang: what comes before it is still passed on
                    to.write(data[:before])
                    await to.drain()
                    if fault.kind == "reset":
                        _reset(to)
                        _reset(back)
                    elif fault.kind == "hang":
                        await self._quiet.wait()
                    raise Gone
            passed += len(data)
            if slow and not quiet.is_set():
                await self._drip(to, data, slow, quiet)
            else:
                to.write(data)
                await to.drain()
