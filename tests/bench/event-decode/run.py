"""Debezium's records into columns, JSON (with and without schemas) and Avro: CPU of event_decode beside orjson's and
fastavro's, which make objects of the same records and nothing more."""

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fastavro
import orjson

REPEAT = int(os.environ.get("FIRN_BENCH_REPEAT", "3"))
ROWS = int(1_000_000 * float(os.environ.get("FIRN_BENCH_SCALE", "1")))
PEER_ROWS = ROWS // 5
MILLION = 1_000_000
MEMORY_MOST = 16 << 20
ENCODER = Path(sys.argv[1]) / "tests" / "topic_encode_bench"
PROGRAM = Path(sys.argv[1]) / "tests" / "event_decode_bench"


def line(metric, unit, ours, reference, name, bar, ok):
    print(json.dumps({
        "bench": "event-decode", "metric": metric, "unit": unit, "ours": round(ours, 4),
        "reference": reference and round(reference, 4), "referenceName": name,
        "ratio": reference and round(ours / reference, 4), "bar": bar, "ok": bool(ok)}), flush=True)  # fmt: skip


def ours(form, values, schema):
    done = subprocess.run([PROGRAM, form, values, schema, str(ROWS)], check=True, capture_output=True, text=True)
    cpu, _, peak = done.stdout.split()
    return float(cpu) * MILLION / ROWS, int(peak)


def split(path):
    data, found, at = Path(path).read_bytes(), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def peer(read, records):
    """CPU seconds per million."""
    started = time.process_time()
    for i in range(PEER_ROWS):
        read(records[i % len(records)])
    return (time.process_time() - started) * MILLION / PEER_ROWS


def compare(table, folder):
    for form in ("json", "schema", "avro"):
        values, schema = folder / form, folder / f"{form}.schema"
        done = subprocess.run([ENCODER, table, form, "1000", values], check=True, capture_output=True, text=True)
        text = done.stderr
        if form == "json":  # what the records do not say is what those with schemas do
            text = subprocess.run([ENCODER, table, "schema", "1000", folder / "unused"], check=True, capture_output=True, text=True).stderr
        schema.write_text(text)
        if form == "avro":
            parsed = fastavro.parse_schema(json.loads(text))
            read, name = (lambda data: fastavro.schemaless_reader(io.BytesIO(data[5:]), parsed)), "fastavro"
        else:
            read, name = orjson.loads, "orjson"
        records = split(values)
        both = [(ours(form, values, schema), peer(read, records)) for _ in range(REPEAT)]
        cpu = statistics.median(own[0] for own, _ in both)
        reference = statistics.median(other for _, other in both)
        size = sum(map(len, records)) / len(records)
        line(f"{table} {form} CPU per million of {size:.0f} B", "s", cpu, reference, name, "<= 1", cpu <= reference)
        peak = max(own[1] for own, _ in both)
        line(f"{table} {form} memory", "bytes", peak, None, None, f"ours <= {MEMORY_MOST}", peak <= MEMORY_MOST)


with tempfile.TemporaryDirectory(prefix="firn-event-bench-") as name:
    for table in ("accounts", "mixed"):
        compare(table, Path(name))
