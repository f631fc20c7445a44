"""Writes records.txt with Google's own library: PYTHON make.py, of one that has protobuf and grpcio-tools. A line is a
record in Confluent's framing (schema 1) in hexadecimal, a tab, and what its columns are, as tests/unit/event/test_proto.c
prints them."""

import importlib
import math
import struct
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor as Field
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
MICROS = 1_000_000


def compiled():
    into = tempfile.mkdtemp()
    include = Path(protoc.__file__).parent / "_proto"
    call = ["protoc", f"-I{HERE}", f"-I{include}", f"--python_out={into}", "common.proto", "event.proto"]
    assert protoc.main(call) == 0
    sys.path.insert(0, into)
    return importlib.import_module("event_pb2")


def micros(value) -> int:
    nanos = value.seconds * 1_000 * MICROS + value.nanos
    return nanos // 1_000 if nanos >= 0 else -(-nanos // 1_000)


def one(field, value) -> str:
    if field.type == Field.TYPE_MESSAGE:
        name = field.message_type.full_name
        if name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
            return str(micros(value))
        if name == "google.protobuf.Empty":
            return "true"
        if name.startswith("google.protobuf."):
            return one(field.message_type.fields[0], value.value)
        return f"({message(value)})"
    if field.type == Field.TYPE_ENUM:
        known = field.enum_type.values_by_number.get(value)
        # of two names of one number the first one that was declared
        names = [each.name for each in field.enum_type.values if each.number == value]
        return f'"{names[0] if known else value}"'
    if field.type == Field.TYPE_BYTES:
        return f"x{value.hex()}"
    if field.type == Field.TYPE_STRING:
        return f'"{value}"'
    if field.type == Field.TYPE_BOOL:
        return "true" if value else "false"
    if field.type in (Field.TYPE_FLOAT, Field.TYPE_DOUBLE):
        size = "<f" if field.type == Field.TYPE_FLOAT else "<d"
        return f"r{struct.pack(size, value).hex()}" if not math.isnan(value) else "nan"
    return str(value)


def column(record, field) -> str:
    value = getattr(record, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, inner = field.message_type.fields
        # in the order of the record, which the maps of this library do not keep: one entry each
        return "{" + ",".join(f"{one(key, at)}:{one(inner, value[at])}" for at in value) + "}"
    if field.is_repeated:
        return "[" + ",".join(one(field, each) for each in value) + "]"
    if field.has_presence and not record.HasField(field.name):
        return "null"
    return one(field, value)


def message(record) -> str:
    return ",".join(f"{field.name}:{column(record, field)}" for field in record.DESCRIPTOR.fields)


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def framed(path, data: bytes) -> bytes:
    numbers = b"\0" if path == [0] else b"".join(varint(2 * each) for each in [len(path), *path])
    return b"\0\0\0\0\1" + numbers + data


def main():
    pb = compiled()
    lines = []

    def add(path, kind, data: bytes):
        lines.append(f"{framed(path, data).hex()}\t{message(kind.FromString(data))}\n")

    full = pb.Event(
        id=7, i32=-1, u32=4_000_000_000, u64=2**64 - 1, s32=-2**31, s64=-2**63, f32=2**32 - 1, f64=2**63, sf32=-5, sf64=-6,
        single=1.5, exact=-0.1, flag=True, message="größe", raw=b"\0\xff", maybe=0, maybe_text="", kind=-1,
        numbers=[1, -1, 2**31 - 1], words=["a", "", "c"], unpacked=[-3, 2**62], counts={"k": -7}, kinds=[1, 0, 77],
        text="chosen", maybe_kind=0, singles=[0.25, float("inf")])  # fmt: skip
    full.by_number[-9].city = "Bern"
    full.by_number[-9].country.code = "CH"
    full.address.city = "Ur"
    full.address.point.extend([1.25, -2.5])
    for city in "AB":
        full.addresses.add(city=city, street=city * 2)
    full.at.seconds, full.at.nanos = 1_795_000_000, 123_456_000
    full.took.seconds, full.took.nanos = -3, -500_000_000
    full.boxed.value = -4
    full.boxed_text.value = ""
    full.times.add(seconds=-1, nanos=999_999_000)
    full.times.add()
    full.nothing.SetInParent()
    full.boxes[True].value = 2**64 - 1
    add([1], pb.Event, full.SerializeToString())
    add([1], pb.Event, b"")
    add([1], pb.Event, pb.Event(kind=99, number=0, i32=2**31 - 1, s32=2**31 - 1, exact=5e-324).SerializeToString())
    # singular ones that come again, messages in pieces, another of the choice, lists that go on
    pieces = pb.Event(id=1, address={"city": "one", "point": [1], "country": {"code": "A"}}, numbers=[1], text="no", words=["x"])
    more = pb.Event(id=2, address={"city": "two", "point": [2], "country": {"number": 8}}, numbers=[2], number=5, words=["y"])
    add([1], pb.Event, pieces.SerializeToString() + more.SerializeToString())
    add([1], pb.Event, more.SerializeToString() + pb.Event(inner={"a": 3}).SerializeToString())
    # packed where it is not said to be, and the other way round
    add([1], pb.Event, varint(21 << 3 | 2) + varint(3) + bytes([1, 2, 3]) + varint(19 << 3) + varint(9) + varint(19 << 3) + varint(2**64 - 1))
    # fields that nobody declared: a number, a text, four and eight bytes, a group with one in it
    unknown = varint(5000 << 3) + varint(1) + varint(5001 << 3 | 2) + b"\2ab" + varint(5002 << 3 | 5) + b"abcd" + varint(5003 << 3 | 1) + b"abcdefgh"
    group = varint(6000 << 3 | 3) + varint(3 << 3 | 3) + varint(1 << 3) + b"\1" + varint(3 << 3 | 4) + varint(6000 << 3 | 4)
    add([1], pb.Event, unknown + pb.Event(id=3).SerializeToString() + group + varint(1 << 3) + varint(4))
    # an entry of a map without its value, one without its key
    add([1], pb.Event, varint(22 << 3 | 2) + b"\3\x0a\1z" + varint(36 << 3 | 2) + b"\2\x12\0")
    add([0], pb.First, pb.First(b=1).SerializeToString())
    add([0, 0], pb.First.Inner, pb.First.Inner(a=-8).SerializeToString())
    add([2, 0], pb.Last.Deep, pb.Last.Deep(a=300).SerializeToString())
    add([2, 0, 0], pb.Last.Deep.Deeper, pb.Last.Deep.Deeper(kind=1).SerializeToString())
    (HERE / "records.txt").write_text("".join(lines))


main()
