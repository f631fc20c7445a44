"""A change of a row, as a consumer of the topic gets it: the newest record that has a value, of the first partition with one.

    quickstart-records.py BROKERS TOPIC"""

import json
import sys

from confluent_kafka import Consumer, TopicPartition

WAIT_SECONDS = 120
LOOK_BACK = 50  # records; tombstones and markers have no value

brokers, topic = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "quickstart", "isolation.level": "read_committed", "enable.partition.eof": True})
newest = None
for number in consumer.list_topics(topic, timeout=WAIT_SECONDS).topics[topic].partitions:
    first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=WAIT_SECONDS)
    consumer.assign([TopicPartition(topic, number, max(first, end - LOOK_BACK))])
    while (message := consumer.poll(WAIT_SECONDS)) is not None and not message.error():
        newest = message if message.key() and message.value() else newest
    if newest:
        break
consumer.close()
if not newest:
    sys.exit(f"quickstart-records: {topic} has no record with a value among its latest {LOOK_BACK}")
print(f"partition {newest.partition()}, offset {newest.offset()}, key {newest.key().decode()}")
print(json.dumps(json.loads(newest.value()), indent=2, ensure_ascii=False))
