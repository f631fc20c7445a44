"""Each fault of the proxy does what it says: to the client, to the server behind it, and in the record."""

import errno
import http.client
import socket
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.fault_proxy import HTTP_KINDS, Fault, FaultProxy
from harness.wait import wait_until

BODY = b"0123456789" * 100


class Requests(BaseHTTPRequestHandler):
    """Answers every request with BODY and remembers it."""

    protocol_version = "HTTP/1.1"

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        whole = len(body) == length
        self.server.seen.append((self.command, self.path, body, whole))
        if not whole:
            self.close_connection = True
            return
        status = 404 if self.path == "/missing" else 200
        self.send_response(status)
        if self.path == "/chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\n01234\r\n0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(BODY)

    do_GET = do_PUT = do_POST = do_HEAD = answer

    def log_message(self, *unused):
        pass


class Http(unittest.TestCase):
    def setUp(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.server.seen = []
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)
        self.proxy = FaultProxy("127.0.0.1", self.server.server_address[1]).start()
        self.addCleanup(self.proxy.stop)

    def ask(self, method="GET", path="/a", body=None, timeout=60, connection=None):
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=timeout)
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def fine(self, **request):
        self.assertEqual(self.ask(**request), (200, BODY))

    def record(self):
        return [(struck.kind, struck.where) for struck in self.proxy.struck]

    def test_calm(self):
        """Without a plan nothing happens to requests, many on one connection and many side by side."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=60)
        for _ in range(3):
            self.fine(connection=connection)
        self.assertEqual(self.ask("PUT", "/p", b"x" * 3_000_000, connection=connection), (200, BODY))
        self.assertEqual(self.server.seen[-1], ("PUT", "/p", b"x" * 3_000_000, True))
        self.assertEqual(self.ask("HEAD", connection=connection), (200, b""))
        self.assertEqual(self.ask(path="/chunks", connection=connection), (200, b"01234"))
        self.assertEqual(self.ask(path="/missing", connection=connection), (404, BODY))
        with ThreadPoolExecutor(8) as pool:
            self.assertEqual(list(pool.map(lambda _: self.ask(), range(40))), [(200, BODY)] * 40)
        self.assertEqual(self.proxy.struck, [])

    def test_expect_continue(self):
        with socket.create_connection(("127.0.0.1", self.proxy.port), 10) as client:
            client.sendall(b"PUT /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 100 "))
            client.sendall(b"abc")
            answer = b""
            while piece := client.recv(4096):
                answer += piece
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "))
        self.assertEqual(self.server.seen, [("PUT", "/p", b"abc", True)])

    def test_aim(self):
        """The second PUT to *.metadata.json, and nothing else."""
        self.proxy.plan([{"kind": "answer", "status": 503, "method": "PUT", "path": r"\.metadata\.json$", "nth": 2}])
        self.fine(method="PUT", path="/t/v1.metadata.json", body=b"1")
        self.fine(method="GET", path="/t/v1.metadata.json")
        self.fine(method="PUT", path="/t/data.parquet", body=b"1")
        self.assertEqual(self.ask("PUT", "/t/v2.metadata.json?x=1", b"2"), (503, b""))
        self.fine(method="PUT", path="/t/v2.metadata.json", body=b"2")
        self.assertEqual(self.record(), [("answer", "PUT /t/v2.metadata.json?x=1")])
        self.assertLess(abs(self.proxy.struck[0].when - time.time()), 60)
        self.assertEqual([path for method, path, *_ in self.server.seen if method == "PUT"],
                         ["/t/v1.metadata.json", "/t/data.parquet", "/t/v2.metadata.json"])  # fmt: skip

    def test_times(self):
        self.proxy.plan([Fault("answer", status=429, times=2, headers={"Retry-After": "0"}, body="slow down"),
                         Fault("answer", status=500, nth=4, times=0)])  # fmt: skip
        self.assertEqual([self.ask()[0] for _ in range(6)], [429, 429, 200, 500, 500, 500])
        self.proxy.calm()
        self.fine()
        self.assertEqual(len(self.proxy.struck), 5)

    def test_answer_after_the_work(self):
        self.proxy.plan([Fault("answer", status=409, passed=True, method="POST")])
        self.assertEqual(self.ask("POST", "/commit", b"1")[0], 409)
        self.assertEqual(self.server.seen, [("POST", "/commit", b"1", True)])
        self.assertEqual(self.record(), [("answer", "POST /commit")])

    def test_delay(self):
        self.proxy.plan([Fault("delay", seconds=0.3)])
        started = time.monotonic()
        self.fine()
        self.assertGreaterEqual(time.monotonic() - started, 0.3)
        self.assertEqual(self.record(), [("delay", "GET /a")])

    def test_cut(self):
        self.proxy.plan([Fault("cut", method="PUT")])
        with self.assertRaises(http.client.RemoteDisconnected):
            self.ask("PUT", "/a", b"123")
        self.assertEqual(self.server.seen, [])
        self.assertEqual(self.record(), [("cut", "PUT /a")])
        self.fine(method="PUT", path="/a", body=b"123")

    def test_reset(self):
        """The server sees a part of the request, and the client a reset."""
        self.proxy.plan([Fault("reset")])
        with self.assertRaises(ConnectionResetError):
            self.ask("PUT", "/a", b"x" * 1_000_000)
        self.assertEqual(self.record(), [("reset", "PUT /a")])
        self.assertFalse([request for request in self.server.seen if request[3]])
        self.fine()

    def test_swallow(self):
        """Done, but nobody is told. A request that the server refused is no success: its answer comes."""
        self.proxy.plan([Fault("swallow", times=2)])
        self.assertEqual(self.ask(path="/missing")[0], 404)
        with self.assertRaises(http.client.RemoteDisconnected):
            self.ask("POST", "/commit", b"1")
        self.assertEqual(self.server.seen[-1], ("POST", "/commit", b"1", True))
        self.assertEqual(self.record(), [("swallow", "POST /commit")])

    def test_truncate(self):
        self.proxy.plan([Fault("truncate")])
        with self.assertRaises(http.client.IncompleteRead) as cut:
            self.ask()
        self.assertEqual(cut.exception.partial, BODY[: len(BODY) // 2])
        self.assertEqual(self.record(), [("truncate", "GET /a")])
        self.fine()

    def test_hang(self):
        self.proxy.plan([Fault("hang", times=2)])
        with self.assertRaises(TimeoutError):
            self.ask(timeout=0.3)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.ask)
            wait_until(lambda: len(self.proxy.struck) == 2, 60, "the second request hangs")
            self.proxy.calm()
            with self.assertRaises(http.client.RemoteDisconnected):
                waiting.result(60)
        self.assertEqual(len(self.server.seen), 2)
        self.fine()

    def test_throttle(self):
        self.proxy.plan([Fault("throttle", bytes_per_second=4000)])
        started = time.monotonic()
        self.fine()
        self.assertGreaterEqual(time.monotonic() - started, len(BODY) / 4000)
        self.assertEqual(self.record(), [("throttle", "GET /a")])

    def test_random(self):
        """A seed is a sequence of faults, and the rate is about what was asked for."""

        def run(seed):
            before = len(self.proxy.struck)
            self.proxy.random(seed, 0.3, ["answer", "cut"])
            outcome = []
            for _ in range(100):
                try:
                    outcome.append(self.ask()[0])
                except http.client.RemoteDisconnected:
                    outcome.append("cut")
            self.assertEqual(len(self.proxy.struck) - before, 100 - outcome.count(200))
            return outcome

        first = run(1)
        self.assertEqual(run(1), first)
        self.assertNotEqual(run(2), first)
        self.assertGreater(first.count("cut"), 5)
        self.assertGreater(first.count(503), 5)
        self.assertTrue(50 <= first.count(200) <= 85, first)
        self.proxy.calm()
        self.fine()

    def test_unknown_kind(self):
        with self.assertRaisesRegex(ValueError, "no fault kaboom"):
            self.proxy.plan([Fault("kaboom")])
        with self.assertRaisesRegex(ValueError, "no fault kaboom"):
            self.proxy.random(1, 0.5, [*HTTP_KINDS, "kaboom"])

    def test_no_server(self):
        self.server.shutdown()
        self.server.server_close()
        with self.assertRaises(http.client.RemoteDisconnected):
            self.ask()
        self.assertEqual(self.proxy.struck, [])


class Tcp(unittest.TestCase):
    """An echo behind the proxy."""

    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.received = []
        self.addCleanup(self.listener.close)
        threading.Thread(target=self.serve, daemon=True).start()
        self.proxy = FaultProxy("127.0.0.1", self.listener.getsockname()[1], http=False).start()
        self.addCleanup(self.proxy.stop)

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.echo, args=(connection,), daemon=True).start()

    def echo(self, connection):
        mine = bytearray()
        self.received.append(mine)
        with connection:
            try:
                while data := connection.recv(4096):
                    mine += data
                    connection.sendall(data)
            except OSError:
                pass

    def talk(self, data, timeout=60):
        """What comes back until the other side ends."""
        back = b""
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(4096):
                back += piece
        return back

    def test_calm(self):
        data = bytes(range(256)) * 2000
        self.assertEqual(self.talk(data), data)
        self.assertEqual(self.proxy.struck, [])

    def test_cut(self):
        """The second connection, when 100 bytes have come back."""
        self.proxy.plan([Fault("cut", nth=2, after_bytes=100)])
        self.assertEqual(self.talk(BODY), BODY)
        self.assertEqual(self.talk(BODY), BODY[:100])
        self.assertEqual(self.talk(BODY), BODY)
        self.assertEqual([(s.kind, s.where) for s in self.proxy.struck], [("cut", "connection 2, answer byte 100")])

    def test_cut_of_the_request(self):
        self.proxy.plan([Fault("cut", direction="request", after_bytes=10)])
        self.talk(BODY)
        self.assertEqual(len(self.proxy.struck), 1)
        wait_until(lambda: self.received and bytes(self.received[0]) == BODY[:10], 60, "ten bytes came through")

    def test_reset(self):
        self.proxy.plan([Fault("reset")])
        with self.assertRaises(OSError) as caught:
            self.talk(BODY)
        self.assertIn(caught.exception.errno, (errno.ECONNRESET, errno.ENOTCONN))  # before it shut its side down, or behind
        self.assertEqual(self.proxy.struck[0].kind, "reset")

    def test_hang(self):
        self.proxy.plan([Fault("hang", after_bytes=5)])
        with self.assertRaises(TimeoutError):
            self.talk(BODY, timeout=0.3)
        wait_until(lambda: self.proxy.struck, 90, "it strikes")
        self.assertEqual(self.proxy.struck[0].where, "connection 1, answer byte 5")

    def test_delay_and_throttle(self):
        self.proxy.plan([Fault("delay", seconds=0.2), Fault("throttle", nth=2, bytes_per_second=4000)])
        for least in (0.2, len(BODY) / 4000):
            started = time.monotonic()
            self.assertEqual(self.talk(BODY), BODY)
            self.assertGreaterEqual(time.monotonic() - started, least)
        self.assertEqual([s.kind for s in self.proxy.struck], ["delay", "throttle"])

    def test_throttle_ends_with_calm(self):
        """What is slow is slow no more: the bytes on their way, and those that follow on that connection."""
        self.proxy.plan([Fault("throttle", bytes_per_second=1)])
        with socket.create_connection(("127.0.0.1", self.proxy.port), 10) as client, client.makefile("rb") as back:
            client.sendall(BODY)
            wait_until(lambda: self.proxy.struck, 60, "it is slow")
            self.proxy.calm()
            self.assertEqual(back.read(len(BODY)), BODY)
            client.sendall(BODY)
            self.assertEqual(back.read(len(BODY)), BODY)


if __name__ == "__main__":
    unittest.main(verbosity=2)
