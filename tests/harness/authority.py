"""A certificate authority of the test's own, a certificate of it for 127.0.0.1, and others it is asked for."""

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(folder: Path, *arguments: str):
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")


def make(folder: Path) -> Path:
    """Writes ca.crt, server.crt (the server's own, then the authority's) and server.key into folder;
    returns the path of ca.crt."""
    _openssl(folder, "req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=Firn test authority",
             "-addext", "keyUsage=critical,keyCertSign", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    issue(folder, "server", "127.0.0.1", "IP:127.0.0.1,DNS:localhost")
    return folder / "ca.crt"


def issue(folder: Path, stem: str, subject: str, names: str = None):
    """Writes STEM.crt and STEM.key, made out to the subject and signed by the authority of make()."""
    _openssl(folder, "req", *_KEY, "-keyout", f"{stem}.key", "-out", f"{stem}.csr", "-subj", f"/CN={subject}")
    (folder / f"{stem}.ext").write_text((f"subjectAltName={names}\n" if names else "") + "basicConstraints=CA:FALSE\n")
    _openssl(folder, "x509", "-req", "-in", f"{stem}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
             "-extfile", f"{stem}.ext", "-out", f"{stem}.only.crt")  # fmt: skip
    (folder / f"{stem}.crt").write_text((folder / f"{stem}.only.crt").read_text() + (folder / "ca.crt").read_text())
