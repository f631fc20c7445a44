"""An admission webhook: an HTTPS server that lets everything in, or refuses it with the words it was given."""

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness import authority
from harness.process import free_port


class Webhook:
    """A context manager. `refusal`: what it answers to all that it is asked, None lets it in; `asked`: how often it was."""

    def __init__(self, folder: Path, refusal: str | None, port: int = 0):
        """`folder` has an authority's key and certificate; its own are written there, too."""
        self.folder, self.refusal, self.asked = folder, refusal, 0
        if not (folder / "webhook.crt").exists():
            authority.issue(folder, "webhook", "webhook", "IP:127.0.0.1")
        webhook = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                webhook.asked += 1
                response = {"uid": review["request"]["uid"], "allowed": webhook.refusal is None}
                if webhook.refusal is not None:
                    response["status"] = {"code": 403, "reason": "Forbidden", "message": webhook.refusal}
                body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *unused):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port or free_port()), Answer)
        self.port = self.server.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "webhook.crt", folder / "webhook.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/"

    def authority(self) -> str:
        """As a configuration's caBundle has it."""
        return base64.b64encode((self.folder / "ca.crt").read_bytes()).decode()

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *unused):
        self.server.shutdown()
        self.server.server_close()
