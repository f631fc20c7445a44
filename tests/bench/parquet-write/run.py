#!/usr/bin/env python3
"""parquet-write: a mixed table of ten columns to Parquet with zstd at level 3, pyarrow's best setting
against our writer, by turns in the same run on one core, three times each; the best of each counts.
Both write 1 M rows from memory to a file in the same folder, in one row group."""
import json, os, resource, subprocess, sys, tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 1_000_000
BATCH_ROWS = 8192  # of ours: rows come in batches, never as a whole table
TIMES = 3


def table():
    """qty and day of few values, price, amount and token random, ts rising, email of 20,000."""
    r = np.random.default_rng(7)
    low = np.array(['new', 'paid', 'shipped', 'delivered', 'returned', 'cancelled'])
    mid = np.array(['customer-%05d@example.com' % i for i in range(20000)])
    token = pa.array(['%016x-%012x' % (a, b) for a, b in
                      zip(r.integers(0, 2**62, ROWS), r.integers(0, 2**47, ROWS))])
    ts = np.int64(1_760_000_000_000_000) + np.cumsum(r.integers(0, 200_000, ROWS))
    cents = r.integers(-10**9, 10**9, ROWS)
    raw = np.stack([cents, np.where(cents < 0, -1, 0)], axis=1).astype('<i8')
    amount = pa.Array.from_buffers(pa.decimal128(12, 2), ROWS, [None, pa.py_buffer(raw.tobytes())])
    return pa.table({
        'id': pa.array(np.arange(ROWS, dtype='i8')),
        'qty': pa.array(r.integers(0, 1000, ROWS).astype('i4')),
        'price': pa.array(r.normal(100, 30, ROWS)),
        'amount': amount,
        'ts': pa.array(ts, pa.timestamp('us')),
        'day': pa.array((20000 + r.integers(0, 365, ROWS)).astype('i4')).cast(pa.date32()),
        'status': pa.array(low[r.integers(0, 6, ROWS)]),
        'email': pa.array(mid[r.integers(0, 20000, ROWS)]),
        'token': token,
        'flag': pa.array(r.integers(0, 2, ROWS).astype(bool))})


def dump(data, folder):
    for name in data.column_names:
        buffers = data[name].combine_chunks().buffers()
        parts = zip(('offsets', 'values'), buffers[1:]) if len(buffers) == 3 else [('values', buffers[1])]
        for part, buffer in parts:
            with open(os.path.join(folder, '%s.%s' % (name, part)), 'wb') as f:
                f.write(buffer)


def cpu():
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def theirs(data, path):
    before = cpu()
    pq.write_table(data, path, compression='zstd', compression_level=3,
                   use_dictionary=['status', 'email', 'qty', 'day'],
                   column_encoding={'id': 'DELTA_BINARY_PACKED', 'ts': 'DELTA_BINARY_PACKED',
                                    'price': 'BYTE_STREAM_SPLIT', 'token': 'DELTA_LENGTH_BYTE_ARRAY'})
    return cpu() - before, os.path.getsize(path)


def ours(program, folder, path):
    out = subprocess.run([program, folder, path, str(ROWS), str(BATCH_ROWS), '1'], check=True,
                         capture_output=True, text=True).stdout.split()
    return float(out[0]), int(out[2]), int(out[3])


def line(metric, unit, mine, reference, bar, ok):
    print(json.dumps({'bench': 'parquet-write', 'metric': metric, 'unit': unit, 'ours': mine,
                      'reference': reference,
                      'referenceName': 'pyarrow %s, zstd 3, its best encodings' % pa.__version__,
                      'ratio': round(mine / reference, 4), 'bar': bar, 'ok': ok}), flush=True)


def main():
    program = os.path.join(sys.argv[1], 'tests', 'parquet_write_bench')
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    data = table()
    with tempfile.TemporaryDirectory(prefix='firn-bench-') as folder:
        dump(data, folder)
        mine, reference = os.path.join(folder, 'ours.parquet'), os.path.join(folder, 'reference.parquet')
        turns = [(theirs(data, reference), ours(program, folder, mine)) for _ in range(TIMES)]
        if not pq.read_table(mine).cast(data.schema).equals(data):
            sys.exit('parquet-write: what was written is not what pyarrow reads back')
    best = min(t[0][0] for t in turns), min(t[1][0] for t in turns)
    sizes = turns[0][0][1], turns[0][1][1]
    line('CPU', 's per million rows', round(best[1], 4), round(best[0], 4), '<= 1.0', best[1] <= best[0])
    line('file', 'bytes', sizes[1], sizes[0], '<= 1.0', sizes[1] <= sizes[0])
    return 0 if best[1] <= best[0] and sizes[1] <= sizes[0] else 1


sys.exit(main())
