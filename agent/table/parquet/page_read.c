/* Pages: header, levels, body.
 *
 *   version 1   header, compressed: [u32 length, repetition levels] [u32 length, definition
 *               levels] values
 *   version 2   header, repetition levels, definition levels, compressed: values */
#include "agent/table/parquet/column_reader.h"

#include "agent/table/parquet/encode.h"
#include "agent/table/parquet/thrift.h"

#define READ_AHEAD_BYTES ((uint64_t)256 << 10)
#define HEADER_BYTES_MAX ((uint64_t)16 << 20)                  /* statistics may hold long values */
#define PAGE_BYTES_MAX (COLUMN_BYTES_MAX + ((size_t)64 << 20)) /* the longest value, and more */

typedef struct PageHead {
    int32_t type, plain_bytes, bytes;
    int32_t values, encoding;
    int32_t definition_encoding, repetition_encoding;
    int32_t definition_bytes, repetition_bytes;
    bool is_compressed, has_body;
} PageHead;

bool column_data_error(const ColumnReader *reader, const char *what, Error *err)
{
    return error_set(err, ERROR_DATA, "ParquetPage", "field %s (id %d): %s", reader->wanted->name,
                     reader->wanted->id, what);
}

static bool parse_body(Reader *in, PageHead *ret)
{
    ThriftField field;
    bool second = ret->type == PAGE_DATA_V2;
    ret->has_body = true;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        if (field.type == THRIFT_STOP)
            return ret->values >= 0;
        bool good;
        if (field.id == 1)
            good = thrift_i32(in, field, &ret->values);
        else if (field.id == (second ? 4 : 2))
            good = thrift_i32(in, field, &ret->encoding);
        else if (field.id == 3 && ret->type == PAGE_DATA)
            good = thrift_i32(in, field, &ret->definition_encoding);
        else if (field.id == 4 && ret->type == PAGE_DATA)
            good = thrift_i32(in, field, &ret->repetition_encoding);
        else if (field.id == 5 && second)
            good = thrift_i32(in, field, &ret->definition_bytes);
        else if (field.id == 6 && second)
            good = thrift_i32(in, field, &ret->repetition_bytes);
        else if (field.id == 7 && second)
            good = thrift_bool(field, &ret->is_compressed);
        else
            good = thrift_skip(in, field);
        if (!good)
            return false;
    }
    return false;
}

static bool parse_head(Reader *in, PageHead *ret)
{
    *ret = (PageHead){.type = -1,
                      .values = -1,
                      .definition_encoding = ENCODING_RLE,
                      .repetition_encoding = ENCODING_RLE,
                      .is_compressed = true};
    ThriftField field;
    for (int16_t last = 0; thrift_field(in, &last, &field);) {
        if (field.type == THRIFT_STOP)
            return ret->type >= 0 && ret->plain_bytes >= 0 && ret->bytes >= 0;
        bool good;
        if (field.id == 1)
            good = thrift_i32(in, field, &ret->type);
        else if (field.id == 2)
            good = thrift_i32(in, field, &ret->plain_bytes);
        else if (field.id == 3)
            good = thrift_i32(in, field, &ret->bytes);
        else if (field.id == (ret->type == PAGE_DATA         ? 5
                              : ret->type == PAGE_DICTIONARY ? 7
                                                             : 8) &&
                 field.type == THRIFT_STRUCT)
            good = parse_body(in, ret);
        else
            good = thrift_skip(in, field);
        if (!good)
            return false;
    }
    return false;
}

/* Brings [offset, offset + bytes) into the window; the caller has checked that it is in the chunk.
 */
static bool window_take(ColumnReader *reader, uint64_t bytes, const uint8_t **ret, Error *err)
{
    uint64_t at = reader->offset - reader->window_at;
    if (reader->offset < reader->window_at || at + bytes > reader->window.used) {
        uint64_t want = bytes > READ_AHEAD_BYTES ? bytes : READ_AHEAD_BYTES;
        if (want > reader->end - reader->offset)
            want = reader->end - reader->offset;
        bytes_clear(&reader->window);
        bytes_reserve(&reader->window, want);
        if (!store_read(reader->file, reader->offset, reader->window.data, want, err))
            return false;
        reader->window.used = want;
        reader->window_at = reader->offset;
        at = 0;
    }
    *ret = reader->window.data + at;
    return true;
}

static bool head_take(ColumnReader *reader, PageHead *ret, Error *err)
{
    uint64_t left = reader->end - reader->offset;
    for (uint64_t try = 1 << 10;; try *= 8) {
        uint64_t bytes = try < left ?
        try : left
            ;
        const uint8_t *data;
        if (!window_take(reader, bytes, &data, err))
            return false;
        Reader in = reader_over(data, bytes);
        if (parse_head(&in, ret)) {
            reader->offset += (uint64_t)(in.at - data);
            break;
        }
        if (bytes == left || try >= HEADER_BYTES_MAX)
            return column_data_error(reader, "a page header is cut or wrong", err);
    }
    if ((uint64_t)ret->bytes > reader->end - reader->offset)
        return column_data_error(reader, "a page is longer than its column chunk", err);
    return true;
}

static void slack_clear(Bytes *to)
{
    memset(to->data + to->used, 0, DECODE_SLACK);
}

/* The body, decompressed from `stored` bytes at `from`, behind what `to` has already. */
static bool body_take(ColumnReader *reader, Codec codec, const uint8_t *from, size_t stored,
                      size_t plain, Bytes *to, Error *err)
{
    if (plain > PAGE_BYTES_MAX || !codec_plausible(codec, from, stored, plain)) {
        /* An empty body may be stored as nothing at all. */
        if (plain || stored)
            return column_data_error(reader, "a page's sizes contradict its content", err);
        codec = CODEC_UNCOMPRESSED;
    }
    bytes_reserve(to, plain + DECODE_SLACK);
    if (!decompressor_run(reader->decompressor, codec, from, stored, to->data + to->used, plain,
                          err))
        return error_wrap(err, "field %s (id %d)", reader->wanted->name, reader->wanted->id);
    to->used += plain;
    slack_clear(to);
    return true;
}

static bool dictionary_take(ColumnReader *reader, const PageHead *head, const uint8_t *stored,
                            Error *err)
{
    if (reader->has_dictionary)
        return column_data_error(reader, "a column chunk has two dictionaries", err);
    if (head->encoding != ENCODING_PLAIN && head->encoding != ENCODING_PLAIN_DICTIONARY)
        return column_data_error(reader, "a dictionary is not plain", err);
    bytes_clear(&reader->dictionary);
    if (!body_take(reader, reader->codec, stored, (size_t)head->bytes, (size_t)head->plain_bytes,
                   &reader->dictionary, err))
        return false;
    reader->has_dictionary = true;
    reader->dictionary_count = (uint32_t)head->values;
    return dictionary_open(reader, reader->dictionary.used, err);
}

static bool levels_open_v1(Reader *body, HybridDecoder *decoder, unsigned max)
{
    uint32_t bytes;
    const uint8_t *levels;
    if (!max)
        return true;
    return reader_u32(body, &bytes) && reader_take(body, bytes, &levels) &&
           hybrid_open(decoder, reader_over(levels, bytes), bits_needed(max));
}

static bool page_open_v1(ColumnReader *reader, const PageHead *head, const uint8_t *stored,
                         Error *err)
{
    if ((reader->source.definition_max && head->definition_encoding != ENCODING_RLE) ||
        (reader->source.repetition_max && head->repetition_encoding != ENCODING_RLE))
        return column_data_error(reader, "levels in the deprecated BIT_PACKED encoding", err);
    if (!body_take(reader, reader->codec, stored, (size_t)head->bytes, (size_t)head->plain_bytes,
                   &reader->page, err))
        return false;
    Reader body = reader_over(reader->page.data, reader->page.used);
    if (!levels_open_v1(&body, &reader->repetitions, reader->source.repetition_max) ||
        !levels_open_v1(&body, &reader->definitions, reader->source.definition_max))
        return column_data_error(reader, "a page's levels are cut", err);
    reader->values = body;
    return true;
}

static bool page_open_v2(ColumnReader *reader, const PageHead *head, const uint8_t *stored,
                         Error *err)
{
    int64_t levels = (int64_t)head->repetition_bytes + head->definition_bytes;
    if (head->repetition_bytes < 0 || head->definition_bytes < 0 || levels > head->bytes ||
        levels > head->plain_bytes)
        return column_data_error(reader, "a page's levels are longer than the page", err);
    bytes_reserve(&reader->page, (size_t)levels + DECODE_SLACK);
    bytes_put(&reader->page, stored, (size_t)levels);
    if (!body_take(reader, head->is_compressed ? reader->codec : CODEC_UNCOMPRESSED,
                   stored + levels, (size_t)(head->bytes - levels),
                   (size_t)(head->plain_bytes - levels), &reader->page, err))
        return false;
    const uint8_t *at = reader->page.data;
    size_t repeats = (size_t)head->repetition_bytes, definitions = (size_t)head->definition_bytes;
    reader->values = reader_over(at + levels, reader->page.used - (size_t)levels);
    return (hybrid_open(&reader->repetitions, reader_over(at, repeats),
                        bits_needed(reader->source.repetition_max)) &&
            hybrid_open(&reader->definitions, reader_over(at + repeats, definitions),
                        bits_needed(reader->source.definition_max))) ||
           column_data_error(reader, "a page's levels are cut", err);
}

bool page_next(ColumnReader *reader, Error *err)
{
    for (;;) {
        PageHead head;
        const uint8_t *stored;
        if (reader->offset >= reader->end)
            return column_data_error(reader, "a column chunk has fewer rows than its row group",
                                     err);
        if (!head_take(reader, &head, err) ||
            !window_take(reader, (uint64_t)head.bytes, &stored, err))
            return false;
        reader->offset += (uint64_t)head.bytes;
        bool data = head.type == PAGE_DATA || head.type == PAGE_DATA_V2;
        if (!data && head.type != PAGE_DICTIONARY)
            continue; /* an index page: never written, to be passed over */
        if (!head.has_body)
            return column_data_error(reader, "a page header lacks its second half", err);
        if (!data) {
            if (!dictionary_take(reader, &head, stored, err))
                return false;
            continue;
        }
        bytes_clear(&reader->page);
        if (head.type == PAGE_DATA ? !page_open_v1(reader, &head, stored, err)
                                   : !page_open_v2(reader, &head, stored, err))
            return false;
        if (!head.values)
            continue;
        reader->slots_left = (uint32_t)head.values;
        reader->encoding = head.encoding;
        return values_open(reader, err);
    }
}

bool page_dictionary(ColumnReader *reader, uint64_t first, Error *err)
{
    while (reader->offset < first) {
        PageHead head;
        const uint8_t *stored;
        if (!head_take(reader, &head, err) ||
            !window_take(reader, (uint64_t)head.bytes, &stored, err))
            return false;
        reader->offset += (uint64_t)head.bytes;
        if (head.type != PAGE_DICTIONARY)
            continue;
        if (!head.has_body)
            return column_data_error(reader, "a page header lacks its second half", err);
        if (!dictionary_take(reader, &head, stored, err))
            return false;
    }
    return true;
}
