/* The reader. Records are decoded along the writer's schema (avro_schema.c) into values that live
 * in an arena until the next record. Depth, items and lengths are bounded by what is really there.
 * See avro.h. */
#include <string.h>
#include <zlib.h>

#include "agent/table/iceberg/avro.h"
#include "agent/table/iceberg/avro_schema.h"
#include "common/mem.h"
#include "common/reader.h"

#define DEPTH_MAX AVRO_DEPTH_MAX
#define BLOCK_BYTES_MAX ((size_t)64 << 20)
/* Values of one record: a schema may nest things that take no bytes, so that a few bytes would be
 * endless values. Real records have a value or less for each byte. */
#define VALUES_SPARE 4096

struct AvroReader {
    AvroSchema *schema;
    Arena *record_arena;
    json_t *metadata;
    Reader file;
    uint8_t sync[16];
    bool deflated;
    Bytes block;
    Reader records;
    int64_t records_left;
    uint64_t values_left; /* that the record may still have */
};

static bool bad(Error *err, const char *what)
{
    return error_set(err, ERROR_DATA, "BadAvro", "Avro file: %s", what);
}

/* ---------- values ---------- */
static bool decode(AvroReader *reader, const Node *node, AvroValue *ret, int depth, Error *err);

static bool length(Reader *from, size_t *ret, Error *err)
{
    int64_t value;
    if (!reader_zigzag(from, &value) || value < 0 || (uint64_t)value > reader_left(from))
        return bad(err, "a length passes the end");
    *ret = (size_t)value;
    return true;
}

static bool decode_bytes(Reader *from, size_t bytes, AvroValue *ret, Error *err)
{
    ret->kind = AVRO_BYTES;
    ret->count = bytes;
    return reader_take(from, bytes, &ret->bytes) || bad(err, "bytes are cut");
}

static bool decode_record(AvroReader *reader, const Node *node, AvroValue *ret, int depth,
                          Error *err)
{
    ret->kind = AVRO_RECORD;
    ret->item_count = node->child_count;
    ret->items = arena_take(reader->record_arena, node->child_count * sizeof *ret->items);
    for (size_t i = 0; i < node->child_count; i++) {
        ret->items[i] = (AvroValue){.field_id = node->child_ids[i], .name = node->child_names[i]};
        if (!decode(reader, node->children[i], &ret->items[i], depth + 1, err))
            return false;
    }
    return true;
}

/* One entry of a map as a record of key and value. */
static bool decode_entry(AvroReader *reader, const Node *node, AvroValue *ret, int depth,
                         Error *err)
{
    size_t bytes;
    ret->kind = AVRO_RECORD;
    ret->item_count = 2;
    ret->items = arena_take(reader->record_arena, 2 * sizeof *ret->items);
    ret->items[0] = (AvroValue){.field_id = 0, .name = "key"};
    ret->items[1] = (AvroValue){.field_id = 1, .name = "value"};
    return length(&reader->records, &bytes, err) &&
           decode_bytes(&reader->records, bytes, &ret->items[0], err) &&
           decode(reader, node->children[0], &ret->items[1], depth + 1, err);
}

static bool decode_items(AvroReader *reader, const Node *node, AvroValue *ret, int depth,
                         Error *err)
{
    size_t held = 0;
    ret->kind = AVRO_ARRAY;
    ret->items = NULL;
    ret->item_count = 0;
    for (;;) {
        int64_t count, bytes;
        if (!reader_zigzag(&reader->records, &count))
            return bad(err, "an array is cut");
        if (count == 0)
            return true;
        if (count == INT64_MIN || (count < 0 && !reader_zigzag(&reader->records, &bytes)))
            return bad(err, "an array is cut");
        if (count < 0)
            count = -count;
        /* every item of these schemas takes at least a byte */
        if ((uint64_t)count > reader_left(&reader->records))
            return bad(err, "an array has more items than bytes");
        for (int64_t i = 0; i < count; i++) {
            if (ret->item_count == held) {
                size_t now = held ? held * 2 : 8;
                ret->items = arena_regrow(reader->record_arena, ret->items,
                                          held * sizeof *ret->items, now * sizeof *ret->items);
                held = now;
            }
            AvroValue *item = &ret->items[ret->item_count++];
            *item = (AvroValue){.field_id = -1};
            if (!(node->kind == NODE_MAP ? decode_entry(reader, node, item, depth, err)
                                         : decode(reader, node->children[0], item, depth + 1, err)))
                return false;
        }
    }
}

static bool decode(AvroReader *reader, const Node *node, AvroValue *ret, int depth, Error *err)
{
    Reader *from = &reader->records;
    const uint8_t *at;
    int64_t branch;
    size_t bytes;
    float f;
    if (depth > DEPTH_MAX || reader->values_left-- == 0)
        return bad(err, "values are nested too deep, or too many for their bytes");
    switch (node->kind) {
    case NODE_NULL:
        ret->kind = AVRO_NULL;
        return true;
    case NODE_BOOL:
        if (!reader_take(from, 1, &at))
            return bad(err, "a boolean is cut");
        ret->kind = AVRO_BOOL;
        ret->b = *at != 0;
        return true;
    case NODE_LONG:
    case NODE_ENUM:
        ret->kind = AVRO_LONG;
        return reader_zigzag(from, &ret->i) || bad(err, "a number is cut");
    case NODE_FLOAT:
        if (!reader_take(from, sizeof f, &at))
            return bad(err, "a float is cut");
        memcpy(&f, at, sizeof f);
        ret->kind = AVRO_FLOAT;
        ret->f = (double)f;
        return true;
    case NODE_DOUBLE:
        if (!reader_take(from, sizeof ret->f, &at))
            return bad(err, "a double is cut");
        memcpy(&ret->f, at, sizeof ret->f);
        ret->kind = AVRO_DOUBLE;
        return true;
    case NODE_BYTES:
        return length(from, &bytes, err) && decode_bytes(from, bytes, ret, err);
    case NODE_FIXED:
        return decode_bytes(from, node->fixed_bytes, ret, err);
    case NODE_RECORD:
        return decode_record(reader, node, ret, depth, err);
    case NODE_ARRAY:
    case NODE_MAP:
        return decode_items(reader, node, ret, depth, err);
    case NODE_UNION:
        if (!reader_zigzag(from, &branch) || branch < 0 || (uint64_t)branch >= node->child_count)
            return bad(err, "a union names no branch");
        return decode(reader, node->children[branch], ret, depth + 1, err);
    }
    return bad(err, "unknown kind");
}

/* ---------- file ---------- */
static bool read_header(AvroReader *reader, Error *err)
{
    const uint8_t *at;
    if (!reader_take(&reader->file, 4, &at) || memcmp(at, "Obj\1", 4) != 0)
        return bad(err, "the magic is missing");
    reader->metadata = json_object();
    for (;;) {
        int64_t count, bytes;
        if (!reader_zigzag(&reader->file, &count))
            return bad(err, "the header is cut");
        if (count == 0)
            break;
        if (count == INT64_MIN || (count < 0 && !reader_zigzag(&reader->file, &bytes)))
            return bad(err, "the header is cut");
        for (int64_t i = count < 0 ? -count : count; i > 0; i--) {
            size_t key_bytes, value_bytes;
            const uint8_t *key, *value;
            if (!length(&reader->file, &key_bytes, err) ||
                !reader_take(&reader->file, key_bytes, &key) ||
                !length(&reader->file, &value_bytes, err) ||
                !reader_take(&reader->file, value_bytes, &value))
                return bad(err, "the header is cut");
            AUTO(mem_free) char *name = mem_strndup((const char *)key, key_bytes);
            json_object_set_new(reader->metadata, name,
                                json_stringn_nocheck((const char *)value, value_bytes));
        }
    }
    if (!reader_take(&reader->file, sizeof reader->sync, &at))
        return bad(err, "the sync marker is cut");
    memcpy(reader->sync, at, sizeof reader->sync);
    return true;
}

static bool read_schema(AvroReader *reader, Error *err)
{
    const char *codec = avro_reader_metadata(reader, "avro.codec");
    reader->deflated = codec && strcmp(codec, "deflate") == 0;
    if (codec && !reader->deflated && strcmp(codec, "null") != 0)
        return error_set(err, ERROR_DATA, "BadAvro", "Avro file: codec '%.20s' is not read", codec);
    const char *schema = avro_reader_metadata(reader, "avro.schema");
    reader->schema = schema ? avro_schema_take(schema) : NULL;
    return reader->schema || bad(err, "the schema is no record that can be read");
}

void avro_reader_free(AvroReader *reader)
{
    if (!reader)
        return;
    arena_free(reader->record_arena);
    avro_schema_release(reader->schema);
    json_decref(reader->metadata);
    bytes_done(&reader->block);
    free(reader);
}

AvroReader *avro_reader_open(const void *data, size_t bytes, Error *err)
{
    AvroReader *reader = mem_zalloc(sizeof *reader);
    reader->record_arena = arena_new(16384);
    reader->file = reader_over(data, bytes);
    if (read_header(reader, err) && read_schema(reader, err))
        return reader;
    avro_reader_free(reader);
    return NULL;
}

const char *avro_reader_metadata(const AvroReader *reader, const char *key)
{
    return json_string_value(json_object_get(reader->metadata, key));
}

static bool inflate_block(AvroReader *reader, const uint8_t *data, size_t bytes, Error *err)
{
    z_stream zip = {0};
    bytes_clear(&reader->block);
    if (bytes > UINT32_MAX || inflateInit2(&zip, -15) != Z_OK)
        return bad(err, "a block is too large");
    zip.next_in = (Bytef *)(uintptr_t)data;
    zip.avail_in = (uInt)bytes;
    int result = Z_OK;
    while (result == Z_OK && reader->block.used <= BLOCK_BYTES_MAX) {
        bytes_reserve(&reader->block, 65536);
        zip.next_out = reader->block.data + reader->block.used;
        zip.avail_out = 65536;
        result = inflate(&zip, Z_NO_FLUSH);
        reader->block.used += 65536 - zip.avail_out;
        if (result == Z_BUF_ERROR || (result == Z_OK && zip.avail_in == 0 && zip.avail_out))
            break;
    }
    inflateEnd(&zip);
    /* pyiceberg leaves three bytes of zlib's checksum behind the stream */
    if (result != Z_STREAM_END || zip.avail_in > 4)
        return bad(err, "a block does not inflate");
    reader->records = reader_over(reader->block.data, reader->block.used);
    return true;
}

static bool next_block(AvroReader *reader, Error *err)
{
    size_t bytes;
    const uint8_t *data, *sync;
    if (!reader_zigzag(&reader->file, &reader->records_left) || reader->records_left < 0 ||
        !length(&reader->file, &bytes, err) || !reader_take(&reader->file, bytes, &data) ||
        !reader_take(&reader->file, sizeof reader->sync, &sync))
        return bad(err, "a block is cut");
    if (memcmp(sync, reader->sync, sizeof reader->sync) != 0)
        return bad(err, "a block does not end with the sync marker");
    if (reader->deflated)
        return inflate_block(reader, data, bytes, err);
    reader->records = reader_over(data, bytes);
    return true;
}

bool avro_reader_next(AvroReader *reader, const AvroValue **ret, Error *err)
{
    *ret = NULL;
    while (reader->records_left == 0) {
        if (reader_left(&reader->records) != 0)
            return bad(err, "a block has more bytes than records");
        if (reader_left(&reader->file) == 0)
            return true;
        if (!next_block(reader, err))
            return false;
    }
    reader->records_left--;
    if (reader_left(&reader->records) == 0)
        return bad(err, "a block has fewer records than it says");
    arena_reset(reader->record_arena);
    reader->values_left = (uint64_t)reader_left(&reader->records) * 2 + VALUES_SPARE;
    AvroValue *record = arena_take(reader->record_arena, sizeof *record);
    *record = (AvroValue){.field_id = -1};
    if (!decode(reader, avro_schema_root(reader->schema), record, 0, err))
        return false;
    *ret = record;
    return true;
}

const AvroValue *avro_field(const AvroValue *record, int32_t field_id)
{
    if (!record || record->kind != AVRO_RECORD)
        return NULL;
    for (size_t i = 0; i < record->item_count; i++)
        if (record->items[i].field_id == field_id)
            return record->items[i].kind == AVRO_NULL ? NULL : &record->items[i];
    return NULL;
}

int64_t avro_long(const AvroValue *record, int32_t field_id, int64_t otherwise)
{
    const AvroValue *value = avro_field(record, field_id);
    return value && value->kind == AVRO_LONG ? value->i : otherwise;
}

char *avro_text(const AvroValue *record, int32_t field_id)
{
    const AvroValue *value = avro_field(record, field_id);
    return value && value->kind == AVRO_BYTES
               ? mem_strndup((const char *)value->bytes, value->count)
               : NULL;
}
