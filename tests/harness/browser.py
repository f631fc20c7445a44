"""A page in headless Chromium, driven by the DevTools protocol: what stands in it, what it looks like, and whether it
complained (https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from harness.process import die_with_parent
from harness.wait import wait_until


class Page:
    """One tab. Errors: what the console, the network or an exception said."""

    def __init__(self, url: str):
        host, _, path = url.removeprefix("ws://").partition("/")
        name, _, port = host.partition(":")
        self.socket = socket.create_connection((name, int(port)), timeout=240)
        self.buffer, self.number, self.errors = b"", 0, []
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())  # fmt: skip
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(65536)
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        assert b" 101 " in head, head
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _bytes(self, count: int) -> bytes:
        while len(self.buffer) < count:
            more = self.socket.recv(1 << 20)
            assert more, "the browser hung up"
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _take(self) -> dict:
        text = b""
        while True:
            first, length = self._bytes(2)
            if length == 126:
                (length,) = struct.unpack(">H", self._bytes(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._bytes(8))
            text += self._bytes(length)
            if first & 0x80:
                return json.loads(text)

    def _note(self, event: dict):
        name, of = event.get("method"), event.get("params", {})
        if name == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(of["exceptionDetails"])[:1000])
        elif name == "Runtime.consoleAPICalled" and of["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(of["args"])[:1000])
        elif name == "Log.entryAdded" and of["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{of['entry']['text']} {of['entry'].get('url', '')}")

    def call(self, method: str, **params) -> dict:
        self.number += 1
        data, mask = json.dumps({"id": self.number, "method": method, "params": params}).encode(), b"\0\0\0\0"
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        self.socket.sendall(b"\x81" + length + mask + data)
        while True:
            answer = self._take()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self._note(answer)

    def run(self, script: str):
        """The value of an expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    def text(self, selector: str) -> str | None:
        """What a person reads there; None: it is not there, or hidden."""
        found = f"document.querySelector({json.dumps(selector)})"
        return self.run(f"{found} && {found}.checkVisibility() ? {found}.innerText : null")

    def texts(self, selector: str) -> list[str]:
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].filter((one) => one.checkVisibility()).map((one) => one.innerText)")

    def open(self, url: str):
        self.run("window.isOld = true")
        self.call("Page.navigate", url=url)

        def loaded() -> bool:
            try:
                return self.run("document.readyState === 'complete' && !window.isOld")
            except AssertionError:  # asked of the page that is just left
                return False

        wait_until(loaded, 60, f"{url} is loaded")

    def type(self, selector: str, text: str):
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector: str):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def look(self, width: int, height: int, dark: bool = False, mobile: bool = False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path: Path, whole: bool = False):
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))


class Browser:
    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="firn-browser-"))
        program = shutil.which("chromium")
        assert program, "there is no chromium: deploy/packages install tests"
        call = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-port=0",
                "--disable-background-networking", "--disable-component-update", f"--user-data-dir={self.folder}", "about:blank"]  # fmt: skip
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(call, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent())
        told = self.folder / "DevToolsActivePort"
        wait_until(lambda: told.exists() and told.read_text().count("\n") >= 1, 60, "the browser listens")
        self.port = int(told.read_text().split("\n")[0])
        return self

    def page(self) -> Page:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return Page(json.load(answer)["webSocketDebuggerUrl"])

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
