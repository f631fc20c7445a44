"""A private S3: versitygw (objects are plain files, signatures are checked strictly) or MinIO, built from
their Go modules on first use (tests/harness/go)."""

import secrets
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from harness import authority
from harness.server import Server, fetched

PROGRAMS = {
    "versitygw": "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
}


def fetch():
    """Every program, ahead of its first use."""
    fetched("go", *PROGRAMS.values())


class S3Server(Server):
    """Path-style requests, one pair of keys with every right. With tls, over HTTPS with a certificate of
    an authority of its own, `ca_pem` (its text) in the file `ca_file`."""

    def __init__(self, kind: str = "versitygw", tls: bool = False, region: str = "eu-west-1"):
        super().__init__()
        if kind not in PROGRAMS:
            raise ValueError(f"no S3 server {kind}; there are {', '.join(PROGRAMS)}")
        self.kind = self.name = kind
        self.tls = tls
        self.region = region
        self.access_key = "firn" + secrets.token_hex(6)
        self.secret_key = secrets.token_hex(20)
        self.ca_file: Path | None = None

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def ca_pem(self) -> str | None:
        return self.ca_file.read_text() if self.ca_file else None

    def command(self):
        program = fetched("go", PROGRAMS[self.kind])
        data = self.folder / "data"
        data.mkdir()
        if self.tls:
            (self.folder / "tls").mkdir()
            self.ca_file = authority.make(self.folder / "tls")
        return getattr(self, f"_{self.kind}")(program, data)

    def _versitygw(self, program, data):
        # What a file can't say (ETags, content types) goes beside the data: whose path must be no prefix of it.
        beside = self.folder / "attributes"
        beside.mkdir()
        tls = ["--cert", self.folder / "tls/server.crt", "--key", self.folder / "tls/server.key"] if self.tls else []
        call = [program, "--port", f"127.0.0.1:{self.port}", "--region", self.region, *tls, "posix", "--sidecar", beside, data]
        return call, {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}

    def _minio(self, program, data):
        certificates = self.folder / "certificates"  # the default would be in the user's home
        certificates.mkdir()
        if self.tls:
            (certificates / "public.crt").write_bytes((self.folder / "tls/server.crt").read_bytes())
            (certificates / "private.key").write_bytes((self.folder / "tls/server.key").read_bytes())
        call = [program, "server", "--address", f"127.0.0.1:{self.port}", "--certs-dir", certificates, "--quiet", data]
        return call, {
            "MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key, "MINIO_SITE_REGION": self.region,
            "MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "MINIO_CALLHOME_ENABLE": "off",
        }  # fmt: skip

    def ready(self) -> bool:
        try:
            self.client().list_buckets()
            return True
        except (BotoCoreError, ClientError):
            return False

    def client(self, access_key: str = None, secret_key: str = None, endpoint: str = None):
        """A boto3 client; it asks once."""
        return boto3.client(
            "s3", endpoint_url=endpoint or self.endpoint, region_name=self.region,
            aws_access_key_id=access_key or self.access_key, aws_secret_access_key=secret_key or self.secret_key,
            verify=str(self.ca_file) if self.tls else None,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1},
                          connect_timeout=30, read_timeout=120))  # fmt: skip

    def create_bucket(self, name: str):
        """Also when it is there already."""
        try:
            self.client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": self.region})
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]
