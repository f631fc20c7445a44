/* See letter.h. */
#include "agent/topic/letter.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "agent/topic/envelope.h"
#include "common/json/text.h"
#include "common/mem.h"

#define PIECE_BYTES ((uint64_t)512 << 10)
#define FRAME_BYTES 1024u /* of a piece's record: its key, header and framing */

static char *hex(const uint8_t *at, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *text = mem_alloc(bytes * 2 + 1);
    for (size_t i = 0; i < bytes; i++) {
        text[2 * i] = digits[at[i] >> 4];
        text[2 * i + 1] = digits[at[i] & 15];
    }
    text[bytes * 2] = '\0';
    return text;
}

/* What a message says of a record may be cut within a character, or be none of UTF-8. */
static json_t *any_text(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    AUTO(mem_free) char *plain = mem_strdup(text);
    for (char *at = plain; *at; at++)
        if ((uint8_t)*at >= 0x80)
            *at = '?';
    return json_string(plain);
}

static void add(json_t *to, const char *name, json_t *value)
{
    bool ok = value && json_object_set_new(to, name, value) == 0;
    ASSERT(ok);
}

static json_t *position_text(RowPosition at)
{
    AUTO(mem_free) char *text = mem_format("%" PRIu64 ".%" PRIu64, at.major, at.minor);
    return json_string(text);
}

static json_t *hex_text(const void *at, size_t bytes)
{
    AUTO(mem_free) char *text = hex(at, bytes);
    return json_string(text);
}

static char *description(const Letter *letter, size_t key_pieces, size_t pieces)
{
    size_t shown = letter->key_bytes < LETTER_KEY_BYTES ? letter->key_bytes : LETTER_KEY_BYTES;
    json_t *json = json_object();
    add(json, "topic", json_string(letter->topic));
    add(json, "partition", json_integer(letter->partition));
    if (letter->was_read)
        add(json, "offset", json_integer((json_int_t)letter->offset));
    if (!letter->was_read || letter->at.major || letter->at.minor)
        add(json, "position", position_text(letter->at));
    add(json, "code", any_text(letter->why->code));
    add(json, "reason", any_text(letter->why->message));
    add(json, "keyBytes", json_integer((json_int_t)letter->key_bytes));
    add(json, "key", hex_text(letter->key, shown));
    if (key_pieces)
        add(json, "keyPieces", json_integer((json_int_t)key_pieces));
    if (letter->header)
        add(json, "header", hex_text(letter->header, letter->header_bytes));
    if (!letter->value)
        add(json, "null", json_true());
    add(json, "valueBytes", json_integer((json_int_t)letter->value_bytes));
    add(json, "pieces", json_integer((json_int_t)pieces));
    char *text = json_text(json, JSON_COMPACT);
    json_decref(json);
    ASSERT(text);
    return text;
}

char *letter_header(const Letter *letter)
{
    ASSERT(letter->was_read);
    json_t *json = json_object();
    add(json, "topic", json_string(letter->topic));
    add(json, "source", json_string(letter->source));
    add(json, "partition", json_integer(letter->partition));
    add(json, "offset", json_integer((json_int_t)letter->offset));
    if (letter->written_ms)
        add(json, "written", json_integer(letter->written_ms));
    add(json, "code", any_text(letter->why->code));
    add(json, "reason", any_text(letter->why->message));
    char *text = json_text(json, JSON_COMPACT);
    json_decref(json);
    ASSERT(text);
    return text;
}

static TopicSpan put_bytes(TopicRecords *to, const void *at, size_t bytes)
{
    TopicSpan span = {to->bytes.used, bytes};
    bytes_put(&to->bytes, at, bytes);
    return span;
}

static size_t count_of(size_t bytes, uint64_t piece_max)
{
    return (bytes + piece_max - 1) / piece_max;
}

static void put_pieces(TopicRecords *to, TopicSpan name, const char *header, const uint8_t *at,
                       size_t bytes, uint64_t piece_max)
{
    for (size_t from = 0, number = 0; from < bytes; from += piece_max, number++) {
        TopicRecord *record = topic_record_add(to);
        record->key = name;
        record->other_name = header;
        record->other = (TopicSpan){to->bytes.used, 4};
        bytes_put_u32be(&to->bytes, (uint32_t)number);
        record->value =
            put_bytes(to, at + from, bytes - from < piece_max ? bytes - from : piece_max);
    }
}

char *letter_name(const Letter *letter)
{
    return letter->was_read ? mem_format("%s/%" PRIu32 "@%" PRIu64, letter->topic,
                                         letter->partition, letter->offset)
                            : mem_format("%s/%" PRIu64 ".%" PRIu64, letter->topic, letter->at.major,
                                         letter->at.minor);
}

void letter_put(const Letter *letter, uint64_t record_bytes_max, TopicRecords *to)
{
    uint64_t room =
        record_bytes_max > 2 * FRAME_BYTES ? record_bytes_max - FRAME_BYTES : FRAME_BYTES;
    uint64_t piece_max = room < PIECE_BYTES ? room : PIECE_BYTES;
    size_t key_bytes = letter->key_bytes > LETTER_KEY_BYTES ? letter->key_bytes : 0;
    AUTO(mem_free) char *name = letter_name(letter);
    AUTO(mem_free)
    char *text = description(letter, count_of(key_bytes, piece_max),
                             count_of(letter->value_bytes, piece_max));
    TopicRecord *record = topic_record_add(to);
    TopicSpan key = record->key = put_bytes(to, name, strlen(name));
    record->value = put_bytes(to, text, strlen(text));
    put_pieces(to, key, LETTER_KEY_PIECE, letter->key, key_bytes, piece_max);
    put_pieces(to, key, LETTER_PIECE, letter->value, letter->value_bytes, piece_max);
}

void letter_put_whole(const Letter *letter, TopicRecords *to)
{
    TopicRecord *record = topic_record_add(to);
    record->key = put_bytes(to, letter->key, letter->key_bytes);
    record->value = put_bytes(to, letter->value, letter->value_bytes);
}
