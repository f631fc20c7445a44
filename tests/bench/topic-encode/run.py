"""Changes into Kafka records, JSON and Avro: CPU of topic_encode beside orjson's and fastavro's of the same records, which
they get as dictionaries that are ready to be written. The bar on both together is the eighth of Debezium's CPU that is
left when librdkafka and capture have had theirs."""

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
SUM_MOST = 0.8  # CPU seconds per million, JSON and Avro together
MEMORY_MOST = 16 << 20
DEBEZIUM = 27.4  # CPU seconds per million of the accounts table, all of it: capture, conversion, producer
PROGRAM = Path(sys.argv[1]) / "tests" / "topic_encode_bench"


def line(metric, unit, ours, reference, name, bar, ok):
    print(json.dumps({
        "bench": "topic-encode", "metric": metric, "unit": unit, "ours": round(ours, 4),
        "reference": reference and round(reference, 4), "referenceName": name,
        "ratio": reference and round(ours / reference, 4), "bar": bar, "ok": bool(ok)}), flush=True)  # fmt: skip


def ours(table, form, rows=ROWS, *more):
    done = subprocess.run([PROGRAM, table, form, str(rows), *more], check=True, capture_output=True, text=True)
    cpu, size, peak = done.stdout.split()
    return float(cpu) * MILLION / rows, int(size), int(peak), done.stderr


def values(path):
    data, found, at = Path(path).read_bytes(), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def peer(write, records):
    """CPU seconds per million."""
    started = time.process_time()
    for i in range(PEER_ROWS):
        write(records[i % len(records)])
    return (time.process_time() - started) * MILLION / PEER_ROWS


def fastavro_writer(schema):
    out = io.BytesIO()

    def write(record):
        out.seek(0)
        fastavro.schemaless_writer(out, schema, record)

    return write


def compare(table, folder):
    """CPU of ours per format; the peers are given what ours wrote."""
    texts = folder / "json"
    ours(table, "json", 1000, texts)
    objects = [json.loads(text) for text in values(texts)]
    binary = folder / "avro"
    schema = fastavro.parse_schema(json.loads(ours(table, "avro", 1000, binary)[3]))
    records = [fastavro.schemaless_reader(io.BytesIO(data[5:]), schema) for data in values(binary)]
    peers = {"json": (orjson.dumps, objects, "orjson"), "avro": (fastavro_writer(schema), records, "fastavro")}
    costs = {}
    for form, (write, given, name) in peers.items():
        both = [(ours(table, form), peer(write, given)) for _ in range(REPEAT)]
        costs[form] = statistics.median(own[0] for own, _ in both)
        reference = statistics.median(other for _, other in both)
        line(f"{table} {form} CPU per million", "s", costs[form], reference, name, "<= 1", costs[form] <= reference)
        peak = max(own[2] for own, _ in both)
        line(f"{table} {form} memory", "bytes", peak, None, None, f"ours <= {MEMORY_MOST}", peak <= MEMORY_MOST)
    total = sum(costs.values())
    line(f"{table} json and avro CPU per million", "s", total, DEBEZIUM, "Debezium's whole pipeline, once measured", f"ours <= {SUM_MOST}",
         total <= SUM_MOST)  # fmt: skip
    line(f"{table} avro to json CPU", "s", costs["avro"], costs["json"], "our json", "<= 1", costs["avro"] <= costs["json"])


with tempfile.TemporaryDirectory(prefix="firn-topic-bench-") as name:
    for table in ("accounts", "mixed"):
        compare(table, Path(name))
