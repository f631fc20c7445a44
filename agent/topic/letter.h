/* Dead letters: records that could not be written, or read, as they should, whole, with reason and
 * place (law 7). agent/relay writes them of rows that Kafka or the chosen representation does not
 * take, agent/ingest of records that can't be read; whoever replays them reads one format. All
 * records of a letter are in partition 0 of the letters' topic, one behind the other, under one
 * key:
 *
 *   key     "<topic>/<position>", or of a record that was read "<topic>/<partition>@<offset>"
 *   value   {"topic", "partition", "offset": of a record that was read, "position":
 *            "<major>.<minor>", the source's, where the record says it, "code": "BadRecord",
 *            "reason", "keyBytes", "key": in hex, "keyPieces": of a key that is cut,
 *            "header": in hex, the value of the header `firn` of a record that was read,
 *            "valueBytes", "pieces": 3; or "null": true, where there is no value}
 *   then the pieces, each with a header that has its number in four bytes, big-endian, from 0:
 *   "firn.key-piece"  its value a piece of the key, if that is larger than LETTER_KEY_BYTES
 *   "firn.piece"      its value a piece of the value
 *
 * Where a unit has a table for them they go through a topic of its own, in another form: each is
 * one record, the one that could not be read as it was, key, value and headers, and one header
 * more: "firn.letter"     {"topic", "source": the topic's identity, "partition", "offset",
 * "written": ms since 1970, where it is known, "code", "reason"}
 *
 * A letter may be there more than once (a restart repeats it, under the same key), and is never
 * lost: it is durable before the position that passes its record is. The topic must not be
 * compacted: pieces share a key. */
#pragma once

#include "agent/record/position.h"
#include "agent/topic/topic.h"

#define LETTER_KEY_BYTES 4096u /* of a key that stands in the first record whole */
#define LETTER_PIECE "firn.piece"
#define LETTER_KEY_PIECE "firn.key-piece"

#define LETTER_HEADER "firn.letter"

typedef struct Letter {
    const char *topic;  /* that it was meant for, or read from */
    const char *source; /* of letter_header alone */
    int64_t written_ms; /* …; 0: not known */
    uint32_t partition;
    bool was_read; /* from that offset; else it was to be written */
    uint64_t offset;
    RowPosition at;                   /* the source's; {0, 0}: not known */
    const void *key, *value, *header; /* NULL: null, or none */
    size_t key_bytes, value_bytes, header_bytes;
    const Error *why;
} Letter;

/* "<topic>/…": the key of the letter's records; caller frees. */
char *letter_name(const Letter *letter) OWNED_BY(free);
/* Appends its records. record_bytes_max: what the letters' topic takes. */
void letter_put(const Letter *letter, uint64_t record_bytes_max, TopicRecords *to);
/* … as one record, its key and value as they are. */
void letter_put_whole(const Letter *letter, TopicRecords *to);
/* … and the value of its LETTER_HEADER; caller frees. */
char *letter_header(const Letter *letter) OWNED_BY(free);
