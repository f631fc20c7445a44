/* Avro object container files, as far as Iceberg's manifests need them.
 * https://avro.apache.org/docs/1.11.1/specification/#object-container-files
 *
 *   file    = "Obj" 0x01, header map of metadata (avro.schema, avro.codec, …), 16 bytes sync,
 * block* block   = long count, long bytes, the records (deflated as raw RFC 1951 where the codec
 * says so), sync long    = zigzag varint; string, bytes = long length, the bytes; union = long
 * branch, value array, map = (long count [, long bytes when count < 0], item*)*, 0
 *
 * Written: any schema, deflated unless it is small; the caller puts the record's fields. Read: by
 * the file's own (the writer's) schema into a tree, so that what other engines wrote can be read;
 * fields are found by Iceberg field id. */
#pragma once

#include <jansson.h>

#include "common/arena.h"
#include "common/bytes.h"
#include "common/error.h"

/* ---------- writing ---------- */
typedef struct AvroWriter {
    Bytes file;
    bool begun; /* the header is whole, and the codec chosen */
    bool deflates;
    Bytes block; /* put the records' values here, with bytes_put_zigzag, avro_put_* */
    int64_t block_records;
    uint8_t sync[16];
} AvroWriter;

/* metadata: key, value pairs beside schema and codec, which is chosen with the first block. */
void avro_writer_init(AvroWriter *writer, const char *schema_json, const char *const *metadata,
                      size_t pair_count);
/* A record has been put; a block that is large enough is closed. */
void avro_record_end(AvroWriter *writer);
/* The whole file is in writer->file. */
void avro_writer_finish(AvroWriter *writer);
void avro_writer_done(AvroWriter *writer);

void avro_put_text(Bytes *to, const char *text);
void avro_put_bytes(Bytes *to, const void *data, size_t bytes);

/* ---------- reading ---------- */
typedef enum AvroKind {
    AVRO_NULL,
    AVRO_BOOL,
    AVRO_LONG, /* int too */
    AVRO_FLOAT,
    AVRO_DOUBLE,
    AVRO_BYTES, /* string and fixed too */
    AVRO_RECORD,
    AVRO_ARRAY, /* a map is an array of records {0: key, 1: value} */
} AvroKind;

typedef struct AvroValue AvroValue;
struct AvroValue {
    AvroKind kind;
    int32_t field_id; /* of this value in its record; -1: none. In a map's records 0 and 1 */
    const char *name; /* of the field; lives as long as the reader */
    union {
        bool b;
        int64_t i;
        double f;
        struct {
            const uint8_t *bytes; /* in the reader's memory */
            size_t count;
        };
        struct {
            AvroValue *items; /* fields of a record, items of an array */
            size_t item_count;
        };
    };
};

typedef struct AvroReader AvroReader;
void avro_reader_free(AvroReader *reader);
/* `data` must outlive the reader. DATA error for what is no Avro file, a schema or codec that can't
 * be read, and (in avro_reader_next) anything cut, too long or too deep. */
AvroReader *avro_reader_open(const void *data, size_t bytes, Error *err) OWNED_BY(avro_reader_free);
/* A key of the header; NULL if it is missing. Terminated by NUL. */
const char *avro_reader_metadata(const AvroReader *reader, const char *key);
/* *ret NULL at the end; else valid until the next call. */
MUST_CHECK bool avro_reader_next(AvroReader *reader, const AvroValue **ret, Error *err);

/* The record's field with this id; NULL if it is missing or null. */
const AvroValue *avro_field(const AvroValue *record, int32_t field_id);
int64_t avro_long(const AvroValue *record, int32_t field_id, int64_t otherwise);
/* A copy with NUL; NULL if missing. Caller frees. */
char *avro_text(const AvroValue *record, int32_t field_id);

DEFINE_AUTO(AvroReader, avro_reader_free);
