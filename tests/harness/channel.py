"""An agent's end of the channel, by hand: what a test wants said is said, and nothing else (RFC 6455)."""

import base64
import json
import os
import select
import socket
import ssl
import struct
import threading
import time


class Closed(Exception):
    """The other end's reason; empty when it only hung up."""


class Connection:
    """For a thread that takes and one that sends: TLS itself is for one at a time. seconds: how long it waits for the other end;
    None: for ever."""

    def __init__(self, port: int, ca: str, host: str = "localhost"):
        context = ssl.create_default_context(cadata=ca)
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=120), server_hostname=host)
        self.socket.setblocking(False)
        self.seconds, self.lock = 120, threading.Lock()
        key = base64.b64encode(os.urandom(16)).decode()
        self._send(f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: firn.channel\r\n\r\n".encode())  # fmt: skip
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._take(1)
        assert b" 101 " in head, head

    def _at_once(self, call, what):
        """What the call returns; None: it has to wait, which this has done."""
        try:
            with self.lock:
                return call(what)
        except ssl.SSLWantReadError:
            ready = select.select([self.socket], [], [], self.seconds)
        except ssl.SSLWantWriteError:
            ready = select.select([], [self.socket], [], self.seconds)
        if not any(ready):
            raise TimeoutError(f"the other end does nothing for {self.seconds} s")
        return None

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._at_once(self.socket.recv, count - len(data))
            if more == b"":
                raise Closed("")
            data += more or b""
        return data

    def _send(self, data: bytes):
        while data:
            data = data[self._at_once(self.socket.send, data) or 0 :]

    def send(self, word: dict):
        data, mask = json.dumps(word).encode(), b"\0\0\0\0"
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        self._send(b"\x81" + length + mask + data)

    def take(self) -> dict:
        """The next word; Closed says why there is none."""
        while True:
            first, length = self._take(2)
            if length == 126:
                (length,) = struct.unpack(">H", self._take(2))
            data = self._take(length)
            if first & 15 == 8:
                raise Closed(data[2:].decode())
            if first & 15 == 1:
                return json.loads(data)

    def hello(self, token: str) -> dict:
        self.send({"hello": {"version": 1, "token": token, "agent": "test"}})
        return self.take()

    def close(self):
        self.socket.close()

    def shut(self):
        """While somebody else waits for a word."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


class Agent:
    """Says the same again and again, as an agent does that has nothing new."""

    def __init__(self, port: int, ca: str, token: str):
        self.connection = Connection(port, ca)
        assert self.connection.hello(token) == {"welcome": {"version": 1}}
        self.report, self.stopped = None, threading.Event()
        self.says = threading.Lock()  # one word at a time, and nothing old behind what is new
        self.orders: list[dict] = []  # all that came
        self.connection.seconds = None
        threading.Thread(target=self._listen, daemon=True).start()
        self.thread = threading.Thread(target=self._go_on, daemon=True)
        self.thread.start()

    def say(self, phase: str, tables: dict[str, dict] = None, **flow):
        """tables: a unit's name → its table's figures, with its name at the source as "table"."""
        with self.says:
            self.report = {"flow": {"phase": phase, **flow}, "whole": True,
                           "tables": [{"unit": unit, **figures} for unit, figures in (tables or {}).items()]}  # fmt: skip
            self.connection.send({"report": self.report})

    def _listen(self):
        try:
            while True:
                self.orders.append(self.connection.take()["orders"])
        except (Closed, OSError, ValueError):
            pass

    def _go_on(self):
        said = time.monotonic()
        while not self.stopped.wait(0.1):
            if self.report and time.monotonic() - said > 5:
                said = time.monotonic()
                try:
                    with self.says:
                        self.connection.send({"report": self.report})
                except OSError:
                    return

    def stop(self):
        self.stopped.set()
        self.thread.join()
        self.connection.shut()
