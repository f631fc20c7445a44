"""Stands between an agent and PostgreSQL, without TLS, and has the server say what it would not say here: that it is
of another version, has another history, more tables. The server's messages come one by one, with the last statement
that the client sent on that connection."""

import contextlib
import socket
import struct
import threading

CHUNK_BYTES = 1 << 16


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def row(*values: str) -> bytes:
    """A DataRow of texts."""
    fields = b"".join(struct.pack("!i", len(value.encode())) + value.encode() for value in values)
    return message(b"D", struct.pack("!h", len(values)) + fields)


def columns(*names: str) -> bytes:
    """A RowDescription of texts."""
    fields = b"".join(name.encode() + b"\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0) for name in names)
    return message(b"T", struct.pack("!h", len(names)) + fields)


def error(sqlstate: str, text: str) -> bytes:
    fields = {"S": "ERROR", "V": "ERROR", "C": sqlstate, "M": text}
    return message(b"E", b"".join(name.encode() + value.encode() + b"\0" for name, value in fields.items()) + b"\0")


class PostgresProxy:
    """Context manager. change(statement, kind, body) returns what the client gets for a message of the server's (any
    number of messages), or None: the message as it is. `changed` counts those that were not. asked(statement) is called
    before the server sees it, and may hold it up."""

    def __init__(self, port: int, change=lambda *unused: None, asked=lambda statement: None):
        self.target = ("127.0.0.1", port)
        self.change = change
        self.asked = asked
        self.changed = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        self.threads = []

    def __enter__(self):
        self._run(self._accept)
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.threads[0].join()
        for end in [self.listener, *self.sockets]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for end in [self.listener, *self.sockets]:
            end.close()

    def _run(self, what, *arguments):
        self.threads.append(threading.Thread(target=what, args=arguments, daemon=True))
        self.threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):  # this end is shut
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                try:
                    server = socket.create_connection(self.target)
                except OSError:  # the server is away, and may come back
                    client.close()
                    continue
                self.sockets.append(server)
                statement = [""]
                self._run(self._ask, client, server, statement)
                self._run(self._answer, server, client, statement)

    @staticmethod
    def _messages(end, first_without_kind: bool):
        """(kind, body) until the end of the stream."""
        held = b""
        kind_bytes = 0 if first_without_kind else 1
        while True:
            while len(held) >= kind_bytes + 4:
                size = struct.unpack_from("!i", held, kind_bytes)[0] + kind_bytes
                if len(held) < size:
                    break
                yield held[:kind_bytes], held[kind_bytes + 4 : size]
                held = held[size:]
                kind_bytes = 1
            got = end.recv(CHUNK_BYTES)
            if not got:
                return
            held += got

    def _ask(self, client, server, statement):
        with contextlib.suppress(OSError):
            for kind, body in self._messages(client, True):
                if kind == b"Q":
                    statement[0] = body[:-1].decode()
                elif kind == b"P":
                    statement[0] = body.split(b"\0")[1].decode()
                if kind in (b"Q", b"P"):
                    self.asked(statement[0])
                server.sendall(message(kind, body))
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, server, client, statement):
        with contextlib.suppress(OSError):
            for kind, body in self._messages(server, False):
                instead = self.change(statement[0], kind, body)
                self.changed += instead is not None
                client.sendall(message(kind, body) if instead is None else instead)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
