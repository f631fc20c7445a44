"""A Kafka topic of Debezium's envelopes (JSON, with its schema or without, in the default representations) as typed
Arrow batches: replayed from its beginning and folded by key. The last record of a key counts unless it is a deletion,
a TRUNCATE ends all rows of its partition; a topic of a table without a key must have nothing but insertions. Only
what is committed is read.

Without a schema a number does not say its unit: time and timestamp are taken as microseconds, so that columns of three
digits and less (milliseconds to Debezium) don't compare."""

import base64
import math
import time
from decimal import Decimal

import orjson
import pyarrow as pa

from canon import Family

BATCH_ROWS = 50_000
READ_SECONDS = 30
WAIT_SECONDS = 0.05


class TopicError(Exception):
    pass


def messages(brokers: str, topic: str):
    """(partition, key, value) of all records that are there, partition by partition."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "compare", "enable.auto.commit": False,
                         "enable.partition.eof": True, "isolation.level": "read_committed"})  # fmt: skip
    try:
        known = consumer.list_topics(topic, timeout=READ_SECONDS).topics[topic]
        if known.error:
            raise TopicError(f"there is no topic {topic}: {known.error}")
        for partition in sorted(known.partitions):
            consumer.assign([TopicPartition(topic, partition, 0)])
            ended = False
            since = time.monotonic()
            while not ended:
                found = consumer.consume(5000, WAIT_SECONDS)  # so many, or so long: an end is no end of waiting
                if found:
                    since = time.monotonic()
                elif time.monotonic() - since > READ_SECONDS:
                    raise TopicError(f"topic {topic}, partition {partition}: nothing within {READ_SECONDS} s, and no end")
                for message in found:
                    if not message.error():
                        yield partition, message.key(), message.value()
                    ended = ended or bool(message.error())
    finally:
        consumer.close()


def _payload(data: bytes) -> dict:
    value = orjson.loads(data)
    return value["payload"] if "payload" in value else value


def folded(records) -> list[bytes]:
    """The values that count, one for each row."""
    rows, partition_of, keyless = {}, {}, []
    for partition, key, value in records:
        if key is not None:
            if partition_of.setdefault(key, partition) != partition:
                raise TopicError(f"key {key.decode(errors='replace')} is in two partitions")
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        elif value is not None:
            op = _payload(value)["op"]
            if op == "t":
                rows = {other: row for other, row in rows.items() if partition_of[other] != partition}
                keyless = [row for row in keyless if row[0] != partition]
            elif op in ("r", "c"):
                keyless.append((partition, value))
            else:
                raise TopicError(f"a record without a key is of op {op}: it can't be folded")
    return [*rows.values(), *(value for _, value in keyless)]


def _decimal(value, scale: int) -> Decimal:
    return Decimal(int.from_bytes(base64.b64decode(value), "big", signed=True)).scaleb(-scale)


def _number(value) -> float:
    return math.nan if value == "NaN" else float(value.replace("Infinity", "inf")) if isinstance(value, str) else value


def _same(value):
    return value


_PLAIN = {
    "int": (pa.int64(), _same), "bool": (pa.bool_(), _same), "string": (pa.string(), _same), "uuid": (pa.string(), _same),
    "float64": (pa.float64(), _number), "float32": (pa.float32(), _number), "date": (pa.int32(), _same),
    "time": (pa.int64(), _same), "timestamp": (pa.int64(), _same), "timestamptz": (pa.string(), _same),
    "binary": (pa.binary(), base64.b64decode),
    "numeric": (pa.string(), lambda value: f"{_decimal(value['value'], value['scale']):f}"),
}  # fmt: skip
_CAST = {"date": pa.date32(), "time": pa.time64("us"), "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC")}


def _column(values: list, family: Family) -> pa.Array:
    """Debezium's representation of a column → Arrow's."""
    if family.name == "list":
        lengths = [0]
        for value in values:
            lengths.append(lengths[-1] + len(value or ()))
        inner = _column([element for value in values for element in value or ()], family.element)
        return pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), inner, mask=pa.array([value is None for value in values], pa.bool_()))
    if family.name == "decimal":
        kind, decode = pa.decimal128(38, family.scale), lambda value: _decimal(value, family.scale)
    elif family.name in _PLAIN:
        kind, decode = _PLAIN[family.name]
    else:
        raise TopicError(f"no comparison of {family} in topics")
    array = pa.array([None if value is None else decode(value) for value in values], kind)
    return array.cast(_CAST[family.name]) if family.name in _CAST else array


def batches(records, families: dict[str, Family]):
    """The latest state's rows, with these columns in this order."""
    rows = folded(records)
    for at in range(0, len(rows), BATCH_ROWS):
        values = [_payload(value) for value in rows[at : at + BATCH_ROWS]]
        images = [value["after"] for value in values if value["op"] != "d"]
        for image in images:
            if image.keys() != families.keys():
                raise TopicError(f"columns {', '.join(image.keys() ^ families.keys())} are on one side alone")
        columns = [_column([image[name] for image in images], family) for name, family in families.items()]
        yield pa.RecordBatch.from_arrays(columns, names=list(families))
