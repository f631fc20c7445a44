"""A certificate authority of the test's own, and a certificate of it for 127.0.0.1."""

import subprocess
from pathlib import Path


def make(folder: Path) -> Path:
    """Writes ca.crt, server.crt (the server's own, then the authority's) and server.key into folder;
    returns the path of ca.crt."""

    def openssl(*arguments: str):
        done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=Firn test authority",
            "-addext", "keyUsage=critical,keyCertSign", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "server.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "server.ext", "-out", "server.only.crt")  # fmt: skip
    (folder / "server.crt").write_text((folder / "server.only.crt").read_text() + (folder / "ca.crt").read_text())
    return folder / "ca.crt"
