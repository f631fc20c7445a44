"""Topics of `firn-agent capture` that follow MySQL or MariaDB, folded by key: each has to be its table, row by row."""

import base64
import re
import struct
from datetime import date, datetime, timedelta
from decimal import Context
from uuid import UUID

from harness.mysql import PASSWORD
from harness.mysql_lake import columns_of, sorted_rows, source_rows, type_word
from harness.relay import EPOCH, Folded

_EXACT = Context(prec=100)
_GEOMETRIES = {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
               "geomcollection"}  # fmt: skip


def stream_manifest(server, brokers: str, *, prefix="shop", partitions=3, delivery="Idempotent", registry=None, records="{}",
                    kafka="", port=None, include='["shop.*"]', parallelism=2, snapshot="Initial", more_stream="", documents="",
                    resnapshot="") -> str:  # fmt: skip
    """A Connector of every table of the database with a stream. records, kafka: YAML in braces' form; more_stream: lines;
    resnapshot: an annotation's text."""
    note = f', annotations: {{firn.dev/resnapshot: "{resnapshot}"}}' if resnapshot else ""
    coding = f'format: Avro\n    schemaRegistry: {{url: "{registry.url}"}}' if registry else "format: Json"
    return f"""\
apiVersion: v1
kind: Secret
metadata: {{name: db}}
stringData: {{username: firn, password: {PASSWORD}}}
---
apiVersion: firn.dev/v1alpha1
kind: Connector
metadata: {{name: shop{note}}}
spec:
  source:
    type: {server.kind}
    host: {server.host}
    port: {port or server.port}
    database: shop
    credentialsSecretRef: {{name: db}}
    tls: {{mode: Disable}}
    tables: {{include: {include}}}
    snapshot: {{mode: {snapshot}, parallelism: {parallelism}}}
  stream:
    kafka: {{bootstrapServers: "{brokers}", topicPrefix: {prefix}, partitions: {partitions}{', ' + kafka if kafka else ''}}}
    {coding}
    delivery: {delivery}
    records: {records}
{more_stream}{documents}"""


def _bytes(value) -> bytes:
    return base64.b64decode(value) if isinstance(value, str) else value


def _integer(value) -> int:
    return int.from_bytes(_bytes(value), "big", signed=True)


def _digits(kind: str) -> int:
    """Of a second's fraction, of a decimal's, of bits."""
    found = re.search(r"\((?:\d+,)?(\d+)\)", kind)
    return int(found[1]) if found else 0


def _time(micros: int, digits: int) -> str:
    seconds, fraction = divmod(abs(micros), 1_000_000)
    text = f"{'-' if micros < 0 else ''}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:06d}"[: len(text) + 1 + digits] if digits else text


def _decoder(kind: str):
    """Debezium's representation → what harness.mysql_lake has of the server's text; times as text."""
    word, digits = type_word(kind), _digits(kind)
    if word == "bigint" and "unsigned" in kind:
        return lambda value: _EXACT.create_decimal(_integer(value))
    if word == "float":
        return lambda value: struct.unpack("f", struct.pack("f", float(value)))[0]
    if word == "double":
        return float
    if word == "decimal":
        scale = digits if "," in kind else 0
        if int(re.search(r"\d+", kind)[0]) > 38:
            return lambda value: f"{_EXACT.scaleb(_EXACT.create_decimal(_integer(value)), -scale):f}"
        return lambda value: _EXACT.scaleb(_EXACT.create_decimal(_integer(value)), -scale)
    if word == "bit" and digits > 1:
        return lambda value: f"{int.from_bytes(_bytes(value), 'little'):0{digits}b}"
    if word == "date":
        return lambda value: date(1970, 1, 1) + timedelta(days=value)
    if word == "datetime":
        return lambda value: EPOCH + timedelta(microseconds=value * (1000 if digits <= 3 else 1))
    if word == "timestamp":
        return lambda value: datetime.fromisoformat(value.replace("Z", "+00:00")).replace(tzinfo=None)
    if word == "time":
        return lambda value: _time(value, digits)
    if word in _GEOMETRIES:
        return lambda value: _bytes(value["wkb"])
    if word == "vector":
        return lambda value: b"".join(struct.pack("<f", each) for each in value)
    if word == "uuid":
        return UUID
    if "binary" in word or "blob" in word:
        return _bytes
    return lambda value: value


def _or_null(decode):
    return lambda value: None if value is None else decode(value)


class MysqlTopic(Folded):
    def __init__(self, broker, prefix: str, connection, table: str, registry=None):
        self.kinds = columns_of(connection, table)
        decoders = {name: _or_null(_decoder(kind)) for name, kind in self.kinds}
        super().__init__(broker, f"{prefix}.shop.{table}", decoders, registry)

    def times(self) -> set[str]:
        return {name for name, kind in self.kinds if type_word(kind) == "time"}


def difference(broker, prefix: str, connection, table: str, registry=None, repeats: bool = True) -> tuple[str, MysqlTopic]:
    """"" when the folded topic has the source's rows, in order, else a few words of what differs; and the topic."""
    topic = MysqlTopic(broker, prefix, connection, table, registry)
    if topic.disordered:
        return f"{table}: {topic.disordered[:2]}", topic
    if topic.repeated and not repeats:
        return f"{table}: {topic.repeated} records came twice", topic
    ours, theirs = sorted_rows([tuple(row.values()) for row in topic.rows.values()]), source_rows(connection, table, topic.times())
    if ours == theirs:
        return "", topic
    for mine, other in zip(ours, theirs):
        if mine != other:
            odd = [(name, a, b) for name, a, b in zip(topic.columns, mine, other) if a != b]
            return f"{table}: topic {len(ours)} rows, source {len(theirs)}; first difference (column, topic, source): {odd[:3]}", topic
    return f"{table}: topic {len(ours)} rows, source {len(theirs)}", topic
