"""Our Parquet reader and writer against pyarrow and DuckDB, values compared.

test_parquet_engines.py [BUILD]: tables of every type are written by pyarrow with several codecs, encodings
and page versions, copied by BUILD/tests/parquet_copy (our reader, our writer), and the copy is read
back by pyarrow (with page index and statistics checked) and by DuckDB. Exits 1 on the first mismatch.
"""
import datetime, decimal, math, os, random, struct, subprocess, sys, tempfile, uuid

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (compute_statistics_plan, data_file_statistics_from_parquet_metadata,
                                  parquet_path_to_id_mapping, pyarrow_to_schema)

D = decimal.Decimal
BUILD = sys.argv[1] if len(sys.argv) > 1 else 'build/asan'
COPY = os.path.join(BUILD, 'tests', 'parquet_copy')


def field(number, name, kind, required=False):
    return pa.field(name, kind, nullable=not required,
                    metadata={b'PARQUET:field_id': str(number).encode()})


def list_of(number, kind):
    return pa.list_(field(number + 1000, 'element', kind))


def text(r, n):
    return ''.join(r.choice('abcdefghij é漢😀') for _ in range(n))


def dec(r, precision, scale):
    return D(r.randrange(-10**precision + 1, 10**precision)).scaleb(-scale, decimal.Context(prec=50))


# name, Iceberg type, Arrow type, generator of a value from (random, row)
KINDS = [
    ('b', 'boolean', pa.bool_(), lambda r, i: r.random() < .3),
    ('i', 'int', pa.int32(), lambda r, i: r.randrange(-2**31, 2**31)),
    ('few', 'int', pa.int32(), lambda r, i: r.randrange(5)),
    ('serial', 'long', pa.int64(), lambda r, i: i),
    ('wide', 'long', pa.int64(), lambda r, i: r.randrange(-2**63, 2**63)),
    ('f', 'float', pa.float32(), lambda r, i: struct.unpack('f', struct.pack('f', r.gauss(0, 9)))[0]),
    ('d', 'double', pa.float64(), lambda r, i: [r.gauss(0, 9), math.nan, -0.0, math.inf][min(i % 50, 3)]),
    ('d9', 'decimal(9,2)', pa.decimal128(9, 2), lambda r, i: dec(r, 9, 2)),
    ('d18', 'decimal(18,6)', pa.decimal128(18, 6), lambda r, i: dec(r, 18, 6)),
    ('d30', 'decimal(30,4)', pa.decimal128(30, 4), lambda r, i: dec(r, 30, 4)),
    ('d38', 'decimal(38,10)', pa.decimal128(38, 10), lambda r, i: dec(r, 38, 10)),
    ('day', 'date', pa.date32(), lambda r, i: datetime.date(1960, 1, 1) + datetime.timedelta(r.randrange(40000))),
    ('t', 'time', pa.time64('us'), lambda r, i: (datetime.datetime.min + datetime.timedelta(microseconds=r.randrange(86400 * 10**6))).time()),
    ('ts', 'timestamp', pa.timestamp('us'), lambda r, i: datetime.datetime(2025, 1, 1) + datetime.timedelta(microseconds=i * 977 + r.randrange(500))),
    ('tz', 'timestamptz', pa.timestamp('us', 'UTC'), lambda r, i: datetime.datetime(1900, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=r.randrange(10**10))),
    ('status', 'string', pa.string(), lambda r, i: r.choice(['new', 'paid', '', 'shipped'])),
    ('s', 'string', pa.string(), lambda r, i: text(r, r.randrange(40))),
    ('late', 'string', pa.string(), lambda r, i: 'x%d' % r.randrange(40 if i < 25000 else 10**9)),
    ('bytes', 'binary', pa.binary(), lambda r, i: r.randbytes(r.randrange(30))),
    ('high', 'binary', pa.binary(), lambda r, i: b'\xff' * 20 + r.randbytes(2)),
    ('u', 'uuid', pa.binary(16), lambda r, i: r.randbytes(16)),
    ('fixed', 'fixed[7]', pa.binary(7), lambda r, i: r.randbytes(7)),
    ('ls', 'list<string>', None, lambda r, i: [None if r.random() < .2 else text(r, 5) for _ in range(r.randrange(4))]),
    ('ll', 'list<long>', None, lambda r, i: [r.randrange(100) for _ in range(r.randrange(6))]),
]


def table(rows, null_share, seed, required=False):
    r = random.Random(seed)
    fields, columns, spec = [], [], []
    for number, (name, iceberg, arrow, make) in enumerate(KINDS, 1):
        if arrow is None:
            arrow = list_of(number, pa.string() if 'string' in iceberg else pa.int64())
        fields.append(field(number, name, arrow, required))
        values = [None if not required and r.random() < null_share else make(r, i) for i in range(rows)]
        columns.append(pa.array(values, arrow))
        spec.append('%d:%s:%s%s' % (number, name, iceberg, '!' if required else ''))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields)), spec


def canonical(value):
    if isinstance(value, float):
        return struct.pack('>d', value) if not math.isnan(value) else 'nan'
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, list):
        return [canonical(v) for v in value]
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc)
    return value


def compare(what, expected, found):
    for name in expected.column_names:
        a = [canonical(v) for v in expected[name].to_pylist()]
        b = found[name].to_pylist()
        if name == 'u':  # DuckDB hands uuids out as text
            b = [uuid.UUID(v) if isinstance(v, str) else v for v in b]
        b = [canonical(v) for v in b]
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            sys.exit('MISMATCH %s, column %s, row %d of %d/%d: %r, not %r' % (
                what, name, at, len(a), len(b), b[at] if at < len(b) else None, a[at] if at < len(a) else None))


def duck(path):
    con = duckdb.connect()
    con.execute("set timezone='UTC'")
    rows = con.execute("select * from read_parquet('%s')" % path).to_arrow_table()
    return rows


def check_metadata(path, expected):
    meta = pq.read_metadata(path)
    assert meta.num_rows == len(expected), (meta.num_rows, len(expected))
    assert meta.metadata[b'iceberg.schema'], meta.metadata
    assert meta.created_by.startswith('firn version'), meta.created_by
    file = pq.ParquetFile(path)
    for f in file.schema_arrow:
        assert f.metadata[b'PARQUET:field_id'], f
    row = 0
    for g in range(meta.num_row_groups):
        group = meta.row_group(g)
        part = expected.slice(row, group.num_rows)
        row += group.num_rows
        for c in range(group.num_columns):
            chunk = group.column(c)
            assert chunk.has_offset_index, chunk.path_in_schema
            name = chunk.path_in_schema.split('.')[0]
            stats = chunk.statistics
            if '.list.' in chunk.path_in_schema or not stats.has_min_max:
                continue
            values = [v for v in part[name].to_pylist() if v is not None and v == v]
            assert stats.null_count == part[name].null_count, (name, stats)
            if isinstance(values[0], (str, bytes)):
                encode = (lambda v: v.encode()) if isinstance(values[0], str) else bytes
                low, high = encode(stats.min), encode(stats.max)
                assert low <= min(map(encode, values)) and high >= max(map(encode, values)), (name, low, high)
            elif not isinstance(values[0], D):
                assert stats.min == min(values) and stats.max == max(values), (name, stats, min(values), max(values))


def bloom_finds(path, expected):
    con = duckdb.connect()
    for name in ('serial', 's', 'status', 'i'):
        values = [v for v in expected[name].to_pylist() if v is not None]
        for value in values[:3] + values[-3:]:
            wanted = values.count(value)
            found = con.execute("select count(*) from read_parquet('%s') where \"%s\" = ?" % (path, name), [value]).fetchone()[0]
            if found != wanted:
                sys.exit('MISMATCH filter %s = %r: %d rows, not %d' % (name, value, found, wanted))


def check_bounds(lines, expected):
    """The bounds of our metrics hold the values (numbers and texts), and counts are right."""
    for line, (name, iceberg, _, _), column in zip(lines, KINDS, expected.columns):
        _, _, count, nulls, nans, low, high = line.split()
        values = [v for v in column.to_pylist() if v is not None]
        if iceberg.startswith('list'):
            continue
        assert int(count) == len(column) and int(nulls) == column.null_count, (name, line)
        if iceberg in ('float', 'double'):
            assert int(nans) == sum(math.isnan(v) for v in values), (name, line)
        values = [v for v in values if v == v]
        if not values:
            assert low == high == 'none', (name, line)
            continue
        if iceberg == 'string':
            encode = lambda v: v.encode()
        elif iceberg in ('binary', 'uuid') or iceberg.startswith('fixed'):
            encode = bytes
        else:
            if iceberg == 'long':
                assert struct.unpack('<q', bytes.fromhex(low[1:]))[0] == min(values), (name, line)
                assert struct.unpack('<q', bytes.fromhex(high[1:]))[0] == max(values), (name, line)
            if iceberg.startswith('decimal'):
                scale = int(iceberg[:-1].split(',')[1])
                assert D(int.from_bytes(bytes.fromhex(low[1:]), 'big', signed=True)).scaleb(-scale, decimal.Context(prec=50)) == min(values), (name, line)
            continue
        encoded = [encode(v) for v in values]
        assert bytes.fromhex(low[1:]) <= min(encoded), (name, line)
        if high != 'none':
            assert bytes.fromhex(high[1:]) >= max(encoded), (name, line)
        else:
            assert name == 'high', (name, line)


def check_pyiceberg(what, path, lines):
    """Our metrics are what pyiceberg makes of the file's own statistics."""
    meta = pq.read_metadata(path)
    schema = pyarrow_to_schema(pq.read_schema(path))
    theirs = data_file_statistics_from_parquet_metadata(
        meta, compute_statistics_plan(schema, {}), parquet_path_to_id_mapping(schema))
    for line in lines:
        number, size, count, nulls, _, low, high = line.split()
        number = int(number)
        end = theirs.column_aggregates.get(number)
        bounds = [end and end.min_as_bytes(), end and end.max_as_bytes()]
        expected = [int(size), int(count), int(nulls)] + [None if b == 'none' else bytes.fromhex(b[1:]) for b in (low, high)]
        found = [theirs.column_sizes[number], theirs.value_counts[number], theirs.null_value_counts.get(number)] + bounds
        if expected != found:
            sys.exit('MISMATCH %s, metrics of field %d: ours %r, pyiceberg %r' % (what, number, expected, found))


def run(folder, what, data, spec, level, group_rows, **options):
    source, copy = os.path.join(folder, 'in.parquet'), os.path.join(folder, 'out.parquet')
    pq.write_table(data, source, **options)
    done = subprocess.run([COPY, source, copy, str(level), str(group_rows)] + spec,
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit('FAILED %s: %s' % (what, done.stderr))
    compare(what + ', pyarrow', data, pq.read_table(copy))
    compare(what + ', DuckDB', data, duck(copy))
    if len(data):
        check_metadata(copy, data)
        check_bounds(done.stdout.splitlines(), data)
        bloom_finds(copy, data)
        check_pyiceberg(what, copy, done.stdout.splitlines())
    print('ok', what, os.path.getsize(copy), 'bytes', flush=True)


DELTA = {n: 'DELTA_BINARY_PACKED' for n in ('i', 'few', 'serial', 'wide', 'day', 't', 'ts', 'tz')}
DELTA |= {n: 'DELTA_BYTE_ARRAY' for n in ('status', 's', 'bytes', 'fixed', 'd30')}
DELTA |= {n: 'DELTA_LENGTH_BYTE_ARRAY' for n in ('late', 'high')}
DELTA |= {n: 'BYTE_STREAM_SPLIT' for n in ('f', 'd', 'u')}
DELTA |= {'b': 'RLE'}
SPLIT = {n: 'BYTE_STREAM_SPLIT' for n in ('i', 'few', 'serial', 'wide', 'f', 'd', 'd30', 'u', 'fixed', 'ts')}
WAYS = {  # of pyarrow's writing
    'snappy_v1': dict(compression='snappy'),
    'zstd_v2': dict(compression='zstd', data_page_version='2.0', data_page_size=2000),
    'gzip_delta_v1': dict(compression='gzip', use_dictionary=False, column_encoding=DELTA),
    'none_delta_v2': dict(compression='none', use_dictionary=False, column_encoding=DELTA,
                          data_page_version='2.0', row_group_size=7000),
    'zstd_split_v1': dict(compression='zstd', use_dictionary=False, column_encoding=SPLIT,
                          store_decimal_as_integer=True),
}
OURS = {  # zstd level and rows of a group, of our copy
    'snappy_v1': (3, 1 << 20), 'zstd_v2': (0, 1000), 'gzip_delta_v1': (1, 25000),
    'none_delta_v2': (3, 1 << 20), 'zstd_split_v1': (3, 9999),
}


def main():
    with tempfile.TemporaryDirectory(prefix='firn-parquet-') as folder:
        for rows, nulls, required in ((0, 0, False), (1, 1, False), (3000, .2, False), (3000, 0, True), (40000, .05, False)):
            data, spec = table(rows, nulls, rows, required)
            for way, options in WAYS.items():
                what = '%d rows, %d%% null%s, %s' % (rows, nulls * 100, ', required' if required else '', way)
                run(folder, what, data, spec, *OURS[way], **options)
    print('parquet_engines: all equal')


if __name__ == '__main__':
    main()
