#!/usr/bin/env python3
"""Makes the small files beside this script: every type, written by pyarrow with several encodings,
codecs and page versions. They are read by tests/unit/parquet/test_golden.c and seed the fuzzer."""
import os, sys

import pyarrow.parquet as pq

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../../integration'))
import parquet_engines as engines

HERE = os.path.dirname(os.path.abspath(__file__))
for name, options in engines.WAYS.items():
    data, _ = engines.table(40, .2, 1)
    pq.write_table(data, os.path.join(HERE, name + '.parquet'), **options)
