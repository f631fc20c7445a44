"""The latest change of a row in a topic, as a consumer gets it: the newest record of each partition that has a value.

    quickstart-records.py BROKERS TOPIC"""

import json
import sys

from confluent_kafka import Consumer, TopicPartition

WAIT_SECONDS = 20
LOOK_BACK = 20  # records; tombstones and markers have no value

brokers, topic = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "quickstart", "isolation.level": "read_committed", "enable.partition.eof": True})
for number in consumer.list_topics(topic, timeout=WAIT_SECONDS).topics[topic].partitions:
    first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=WAIT_SECONDS)
    consumer.assign([TopicPartition(topic, number, max(first, end - LOOK_BACK))])
    newest = None
    while (message := consumer.poll(WAIT_SECONDS)) and not message.error():
        newest = message if message.key() and message.value() else newest
    if newest:
        print(f"partition {number}, offset {newest.offset()}, key {newest.key().decode()}")
        print(json.dumps(json.loads(newest.value()), indent=2, ensure_ascii=False))
consumer.close()
