"""The canonical form of a value, the hash of a row, and the sum of a table.

Both sides bring typed Arrow columns. What a column *means* is its Family, taken from the source's
type; a lake column of another meaning is an error, never converted in silence. Every value becomes

    length (4 bytes, little-endian; ff ff ff ff for null), canonical bytes

a row is its columns' values in the source's order, its digest BLAKE2b of that at 128 bits, and a
table is (number of rows, sum of the digests modulo 2^128): the order of rows does not matter, a
missing, doubled or changed row does. Null and the empty string differ by their length.

    int       8 bytes signed little-endian      float32/64  IEEE 754, every NaN the same one
    decimal   16 bytes, unscaled, at the source's scale; numeric without one: its text
    bool      1 byte                             date        4 bytes, days
    time, timestamp, timestamptz                 8 bytes, microseconds
    string    UTF-8    binary  as it is          uuid        16 bytes
    list      its elements, each in this form, one after another
    struct    its fields likewise; their names and order must be the source's
    map       its keys and values likewise, in the order of the keys
"""

import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NULL_LENGTH = 0xFFFFFFFF
MODULUS = 1 << 128


class TypeMismatch(Exception):
    """The lake's column can't hold what the source's column means."""


@dataclass(frozen=True)
class Family:
    name: str
    scale: int = 0
    element: "Family | None" = None  # of a list
    fields: "tuple[tuple[str, Family], ...]" = ()  # of a struct
    text: str = ""  # how the source writes it: for source.py
    kept: "tuple[str, ...]" = ()  # fields that a struct may have in the lake though the source has not

    def __str__(self):
        if self.fields:
            return f"struct of {', '.join(f'{name} {field}' for name, field in self.fields)}"
        return f"list of {self.element}" if self.element else self.name


def keeping(family: Family, names: tuple[str, ...]) -> Family:
    """The same, with these fields kept in whatever struct it is made of."""
    fields = tuple((name, keeping(field, names)) for name, field in family.fields)
    element = keeping(family.element, names) if family.element else None
    return replace(family, element=element, fields=fields, kept=names if fields else ())


def _fixed(values: np.ndarray) -> pa.Array:
    """Rows of equally many bytes as a binary column. `values` is one item, or one line, per row."""
    count = len(values)
    width = values.nbytes // count if count else 1
    offsets = np.arange(count + 1, dtype=np.int32) * width
    data = np.ascontiguousarray(values).tobytes()
    return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _numbers(array: pa.Array, kind: pa.DataType, zero=0) -> np.ndarray:
    return array.cast(kind).fill_null(zero).to_numpy(zero_copy_only=False)


def _wanted(condition: bool, array: pa.Array, family: Family):
    if not condition:
        raise TypeMismatch(f"the source's {family} is {array.type} in the lake")


_HEX = np.full(256, 255, dtype=np.uint8)
for _digit, _letter in enumerate(b"0123456789abcdef"):
    _HEX[_letter] = _digit
for _digit, _letter in enumerate(b"ABCDEF"):
    _HEX[_letter] = 10 + _digit


def unhex(array: pa.Array) -> pa.Array:
    """Strings of hexadecimal digits as the bytes they stand for; nulls stay."""
    full = array.fill_null("").cast(pa.binary())
    offsets = np.frombuffer(full.buffers()[1], dtype=np.int32)[full.offset : full.offset + len(full) + 1]
    digits = b"" if full.buffers()[2] is None else memoryview(full.buffers()[2])[offsets[0] : offsets[-1]]
    digits = _HEX[np.frombuffer(digits, dtype=np.uint8)]
    if (digits == 255).any() or (np.diff(offsets) % 2).any():
        raise ValueError("not hexadecimal")
    data = (digits[0::2] << 4 | digits[1::2]).astype(np.uint8)
    halves = ((offsets - offsets[0]) // 2).astype(np.int32)
    plain = pa.Array.from_buffers(pa.binary(), len(full), [None, pa.py_buffer(halves), pa.py_buffer(data.tobytes())])
    return pc.if_else(array.is_valid(), plain, pa.scalar(None, pa.binary()))


def _plain(array: pa.Array) -> pa.Array:
    """Without extension types, dictionaries, views and large offsets."""
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type) or array.type == pa.string_view():
        array = array.cast(pa.string())
    if pa.types.is_large_binary(array.type) or array.type == pa.binary_view():
        array = array.cast(pa.binary())
    if pa.types.is_large_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    return array


def _values(array: pa.Array, family: Family) -> pa.Array:
    """The canonical bytes of a column's values; what stands at a null is never looked at."""
    t = pa.types
    name = family.name
    if name == "int":
        _wanted(t.is_integer(array.type), array, family)
        return _fixed(_numbers(array, pa.int64()))
    if name in ("float32", "float64"):
        _wanted(array.type == (pa.float32() if name == "float32" else pa.float64()), array, family)
        numbers = _numbers(array, array.type, 0.0).copy()
        numbers[np.isnan(numbers)] = np.nan
        return _fixed(numbers)
    if name == "decimal":
        _wanted(t.is_decimal(array.type), array, family)
        kind = pa.decimal128(38, family.scale)
        unscaled = array.cast(kind).fill_null(pa.scalar(Decimal(0), kind))
        raw = np.frombuffer(unscaled.buffers()[1], dtype=np.uint8)
        return _fixed(raw.reshape(-1, 16)[unscaled.offset : unscaled.offset + len(unscaled)])
    if name == "numeric":
        _wanted(t.is_string(array.type) or t.is_decimal(array.type), array, family)
        return array.cast(pa.string()).cast(pa.binary()).fill_null(b"")
    if name == "bool":
        _wanted(t.is_boolean(array.type), array, family)
        return _fixed(_numbers(array, pa.uint8()))
    if name == "date":
        _wanted(t.is_date32(array.type), array, family)
        return _fixed(_numbers(array, pa.int32()))
    if name == "time":
        _wanted(t.is_time64(array.type), array, family)
        return _fixed(_numbers(array.cast(pa.time64("us")), pa.int64()))
    if name in ("timestamp", "timestamptz"):
        _wanted(t.is_timestamp(array.type) and (array.type.tz is not None) == (name == "timestamptz"), array, family)
        return _fixed(_numbers(array.cast(pa.timestamp("us", array.type.tz)), pa.int64()))
    if name == "string":
        _wanted(t.is_string(array.type), array, family)
        return array.cast(pa.binary()).fill_null(b"")
    if name == "binary":
        _wanted(t.is_binary(array.type) or t.is_fixed_size_binary(array.type), array, family)
        return array.cast(pa.binary()).fill_null(b"")
    if name == "uuid":
        if t.is_string(array.type):  # engines without the type show its text
            array = unhex(pc.replace_substring(array, "-", ""))
        _wanted(t.is_binary(array.type) or t.is_fixed_size_binary(array.type), array, family)
        return array.cast(pa.binary()).fill_null(b"")
    if name == "list":
        _wanted(t.is_list(array.type), array, family)
        elements = canonical(array.flatten(), family.element)
        lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), elements)
        return pc.binary_join(lists, pa.scalar(b"", pa.binary()))
    if name == "struct":
        _wanted(t.is_struct(array.type), array, family)
        names = [field.name for field in array.type]
        _wanted([name for name in names if name not in family.kept] == [name for name, _ in family.fields], array, family)
        parts = [canonical(pc.struct_field(array, [names.index(name)]), field) for name, field in family.fields]
        return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))
    if name == "map":
        _wanted(t.is_map(array.type), array, family)
        _wanted(t.is_string(_plain_type(array.type.key_type)) and t.is_string(_plain_type(array.type.item_type)), array, family)
        return pa.array([_map_bytes(value) for value in array.to_pylist()], pa.binary())
    raise TypeMismatch(f"no canonical form for {family}")


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) or kind == pa.string_view() else kind


def _text_bytes(text: str | None) -> bytes:
    if text is None:
        return NULL_LENGTH.to_bytes(4, "little")
    return len(text.encode()).to_bytes(4, "little") + text.encode()


def _map_bytes(pairs) -> bytes:
    if pairs is None:
        return b""
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a map has a key twice")
    return b"".join(_text_bytes(key) + _text_bytes(value) for key, value in sorted(pairs))


def canonical(array: pa.Array, family: Family) -> pa.Array:
    """Length and bytes of every value."""
    array = _plain(array)
    values = _values(array, family)
    lengths = pc.binary_length(values).to_numpy(zero_copy_only=False).astype(np.uint32)
    if array.null_count:
        missing = array.is_null()
        lengths[missing.to_numpy(zero_copy_only=False)] = NULL_LENGTH
        values = pc.if_else(missing, pa.scalar(b"", pa.binary()), values)
    return pc.binary_join_element_wise(_fixed(lengths), values, pa.scalar(b"", pa.binary()))


def digests(batch: pa.RecordBatch, families: dict[str, Family]) -> np.ndarray:
    """One 16-byte digest a row, as lines of two uint64."""
    if batch.num_rows == 0:
        return np.empty((0, 2), dtype=np.uint64)
    columns = []
    for name, family in families.items():
        try:
            columns.append(canonical(batch.column(batch.schema.get_field_index(name)), family))
        except (TypeMismatch, pa.ArrowInvalid, ValueError) as error:
            raise TypeMismatch(f'column "{name}": {error}') from error
    rows = columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, pa.scalar(b"", pa.binary()))
    blake2b = hashlib.blake2b
    joined = b"".join([blake2b(row, digest_size=16).digest() for row in rows.to_pylist()])
    return np.frombuffer(joined, dtype=np.uint64).reshape(-1, 2)


def total(parts: np.ndarray) -> int:
    """The sum of all digests modulo 2^128."""
    words = parts.view(np.uint32).reshape(-1, 4)
    return sum(int(words[:, i].sum(dtype=np.uint64)) << (32 * i) for i in range(4)) % MODULUS
