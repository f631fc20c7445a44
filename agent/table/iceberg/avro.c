/* The writer. See avro.h. */
#include "agent/table/iceberg/avro.h"

#include <string.h>
#include <sys/random.h>
#include <zlib.h>

#include "common/mem.h"

#define BLOCK_BYTES ((size_t)256 << 10)
/* A file of one block that is smaller stays as it is: to deflate it costs more than all the rest of
 * writing it, and what it saves is a few kilobytes of a file that lives for a few commits. */
#define DEFLATE_BYTES ((size_t)8 << 10)
#define DEFLATE_LEVEL 3 /* a third of level 6's time, a tenth larger */

void avro_put_bytes(Bytes *to, const void *data, size_t bytes)
{
    bytes_put_zigzag(to, (int64_t)bytes);
    bytes_put(to, data, bytes);
}

void avro_put_text(Bytes *to, const char *text)
{
    avro_put_bytes(to, text, strlen(text));
}

void avro_writer_init(AvroWriter *writer, const char *schema_json, const char *const *metadata,
                      size_t pair_count)
{
    *writer = (AvroWriter){0};
    ssize_t got = getrandom(writer->sync, sizeof writer->sync, 0);
    ASSERT(got == sizeof writer->sync);
    bytes_put(&writer->file, "Obj\1", 4);
    bytes_put_zigzag(&writer->file, (int64_t)pair_count + 2);
    avro_put_text(&writer->file, "avro.schema");
    avro_put_text(&writer->file, schema_json);
    for (size_t i = 0; i < pair_count; i++) {
        avro_put_text(&writer->file, metadata[2 * i]);
        avro_put_text(&writer->file, metadata[2 * i + 1]);
    }
}

/* What is left of the header. */
static void begin(AvroWriter *writer, bool deflates)
{
    writer->begun = true;
    writer->deflates = deflates;
    avro_put_text(&writer->file, "avro.codec");
    avro_put_text(&writer->file, deflates ? "deflate" : "null");
    bytes_put_u8(&writer->file, 0);
    bytes_put(&writer->file, writer->sync, sizeof writer->sync);
}

static Bytes deflated(const AvroWriter *writer)
{
    z_stream zip = {0};
    /* A quarter of a megabyte is set up for the largest window, most of the time that a block of
     * one entry takes: one that holds the block is enough. */
    int window = 10;
    while (window < 15 && (size_t)1 << window < writer->block.used)
        window++;
    int result = deflateInit2(&zip, DEFLATE_LEVEL, Z_DEFLATED, -window,
                              window < 15 ? window - 7 : 8, Z_DEFAULT_STRATEGY);
    ASSERT(result == Z_OK);
    Bytes packed = {0};
    bytes_reserve(&packed, deflateBound(&zip, writer->block.used));
    zip.next_in = writer->block.data;
    zip.avail_in = (uInt)writer->block.used;
    zip.next_out = packed.data;
    zip.avail_out = (uInt)packed.held;
    result = deflate(&zip, Z_FINISH);
    ASSERT(result == Z_STREAM_END);
    packed.used = zip.total_out;
    deflateEnd(&zip);
    return packed;
}

static void block_end(AvroWriter *writer)
{
    if (!writer->block_records)
        return;
    bytes_put_zigzag(&writer->file, writer->block_records);
    if (writer->deflates) {
        Bytes packed = deflated(writer);
        avro_put_bytes(&writer->file, packed.data, packed.used);
        bytes_done(&packed);
    } else {
        avro_put_bytes(&writer->file, writer->block.data, writer->block.used);
    }
    bytes_put(&writer->file, writer->sync, sizeof writer->sync);
    bytes_clear(&writer->block);
    writer->block_records = 0;
}

void avro_record_end(AvroWriter *writer)
{
    writer->block_records++;
    if (writer->block.used < BLOCK_BYTES)
        return;
    if (!writer->begun)
        begin(writer, true);
    block_end(writer);
}

void avro_writer_finish(AvroWriter *writer)
{
    if (!writer->begun)
        begin(writer, writer->block.used >= DEFLATE_BYTES);
    block_end(writer);
}

void avro_writer_done(AvroWriter *writer)
{
    bytes_done(&writer->file);
    bytes_done(&writer->block);
}
