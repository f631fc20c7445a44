/* links: firn_capture_mysql */
/* Events of the binlog: the input is flags (1 MariaDB, 2 rows are passed on as sent, with what the
 * log says of them, 4 images need not be whole), then a sequence of (uint8 type, uint16 bytes,
 * content); or a binlog file, as tests/golden/binlog has them. Table maps make a table, whose
 * columns get names where they have none; rows fill its batch; what is compressed is unpacked.
 * Whatever comes, each row of a batch is whole, and a failure has its error. */
#include "agent/capture/mysql/rows.h"
#include "agent/capture/mysql/unpack.h"
#include "agent/capture/mysql/xa.h"
#include "agent/record/origin.h"
#include "common/arena.h"
#include "common/mem.h"

#define MAGIC "\xfe\x62in"
#define MAGIC_BYTES 4
#define CHECKSUM_BYTES 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Fuzz {
    BinlogFormat format;
    bool as_sent, fills;
    TableMap *map;
    Schema *schema;
    RowPlan *plan;
    Batch *batch;
    Bytes unpacked;
    Error err;
} Fuzz;

static const Collation items[] = {{8, "latin1"}, {28, "gbk"},    {45, "utf8mb4"},
                                  {54, "utf16"}, {63, "binary"}, {255, "utf8mb4"}};
static const Collations collations = {items, ARRAY_LEN(items)};

static void forget(Fuzz *fuzz)
{
    batch_free(fuzz->batch);
    row_plan_free(fuzz->plan);
    schema_free(fuzz->schema);
    table_map_free(fuzz->map);
    fuzz->batch = NULL;
    fuzz->plan = NULL;
    fuzz->schema = NULL;
    fuzz->map = NULL;
}

static void open_batch(Fuzz *fuzz)
{
    batch_free(fuzz->batch);
    fuzz->batch = batch_new(fuzz->schema, 0, 64);
    if (fuzz->as_sent)
        origins_keep(fuzz->batch);
}

/* What the catalog would say. */
static void complete(TableMap *map)
{
    static const char *labels[] = {"a", "b"};
    static uint32_t label_bytes[] = {1, 1};
    for (uint32_t i = 0; i < map->column_count; i++) {
        MyColumn *column = &map->columns[i];
        AUTO(mem_free) char *name = mem_format("c%u", i);
        if (!column->name)
            column->name = arena_strndup(map->arena, name, strlen(name));
        if (!column->collation)
            column->collation = 45;
        if (!column->labels) {
            column->labels = labels;
            column->label_bytes = label_bytes;
            column->label_count = ARRAY_LEN(labels);
        }
    }
    map->has_names = true;
}

static bool take_map(Fuzz *fuzz, const BinlogEvent *event)
{
    if (fuzz->map && table_map_same(fuzz->map, event))
        return true;
    forget(fuzz);
    fuzz->map = table_map_read(event, &fuzz->format, &fuzz->err);
    if (fuzz->map)
        complete(fuzz->map);
    if (fuzz->map)
        fuzz->schema = rows_schema(fuzz->map, &collations, &fuzz->err);
    if (fuzz->schema)
        fuzz->plan = row_plan_new(fuzz->map, fuzz->schema, NULL, &collations, &fuzz->err);
    if (fuzz->plan && fuzz->as_sent)
        row_plan_as_sent(fuzz->plan);
    if (fuzz->plan) {
        fuzz->plan->fills = fuzz->fills;
        open_batch(fuzz);
    }
    return fuzz->batch != NULL;
}

static bool take_rows(Fuzz *fuzz, const BinlogEvent *event)
{
    RowsEvent rows;
    if (!rows_read(event, &fuzz->format, &fuzz->unpacked, &rows, &fuzz->err))
        return false;
    bool ok = true;
    while (ok && fuzz->batch && reader_left(&rows.rows)) {
        if (fuzz->batch->row_count + 2 > fuzz->batch->row_max || batch_is_full(fuzz->batch))
            open_batch(fuzz);
        ok = rows_put_next(fuzz->plan, &rows, fuzz->batch, (RowPosition){1, 1}, &fuzz->err);
        for (uint32_t i = 0; i < fuzz->batch->column_count; i++)
            ASSERT(fuzz->batch->columns[i].rows == fuzz->batch->row_count);
        const Batch *before = fuzz->as_sent ? fuzz->batch->origins->before : NULL;
        for (uint32_t i = 0; before && i < before->column_count; i++)
            ASSERT(before->columns[i].rows == before->row_count);
    }
    return ok;
}

static bool take_event(Fuzz *fuzz, const BinlogEvent *event, bool inside);

static bool take_payload(Fuzz *fuzz, const BinlogEvent *event)
{
    AUTO(payload_free) Payload *payload = payload_open(event, &fuzz->format, &fuzz->err);
    BinlogEvent next;
    bool end = false, ok = payload != NULL;
    for (int i = 0; ok && i < 100; i++) {
        ok = payload_next(payload, &next, &end, &fuzz->err);
        if (!ok || end)
            break;
        ok = take_event(fuzz, &next, true);
    }
    return ok;
}

static bool take_gtids(Fuzz *fuzz, const BinlogEvent *event)
{
    GtidSet set, again;
    bool ok = gtids_before_read(event, &set, &fuzz->err);
    if (ok) {
        char *text = gtid_set_format(&set);
        Error err = {0};
        ASSERT(gtid_set_parse(text, set.mariadb, &again, &err) && gtid_set_equal(&again, &set));
        gtid_set_done(&again);
        free(text);
    }
    gtid_set_done(&set);
    return ok;
}

/* The name that an event has is the one that a statement has. */
static bool take_prepared(Fuzz *fuzz, const BinlogEvent *event)
{
    char xid[XID_TEXT_BYTES], again[XID_TEXT_BYTES];
    bool one_phase;
    if (!xid_of_event(event, xid, &one_phase, &fuzz->err))
        return false;
    AUTO(mem_free) char *sql = mem_format("XA COMMIT %s", xid);
    ASSERT(xid_of_query(sql, strlen(sql), again) && strcmp(xid, again) == 0);
    return true;
}

static bool take_event(Fuzz *fuzz, const BinlogEvent *event, bool inside)
{
    RotateEvent rotate;
    QueryEvent query;
    GtidEvent gtid;
    HeartbeatEvent beat;
    IncidentEvent incident;
    uint64_t xid;
    char xid_text[XID_TEXT_BYTES];
    Error *err = &fuzz->err;
    if (rows_is_event(event->type))
        return take_rows(fuzz, event);
    switch (event->type) {
    case EVENT_TABLE_MAP:
        return take_map(fuzz, event);
    case EVENT_PAYLOAD:
        return inside || take_payload(fuzz, event);
    case EVENT_QUERY:
    case EVENT_QUERY_COMPRESSED:
        if (!query_read(event, &fuzz->unpacked, &query, err))
            return false;
        (void)query_kind(query.text, query.text_bytes);
        (void)xid_of_query(query.text, query.text_bytes, xid_text);
        return true;
    case EVENT_ROTATE:
        return rotate_read(event, &rotate, err);
    case EVENT_GTID:
    case EVENT_ANONYMOUS_GTID:
    case EVENT_GTID_TAGGED:
    case EVENT_MARIADB_GTID:
        return gtid_read(event, &gtid, err);
    case EVENT_PREVIOUS_GTIDS:
    case EVENT_GTID_LIST:
        return take_gtids(fuzz, event);
    case EVENT_HEARTBEAT:
    case EVENT_HEARTBEAT_V2:
        return heartbeat_read(event, &beat, err);
    case EVENT_INCIDENT:
        return incident_read(event, &incident, err);
    case EVENT_XA_PREPARE:
        return take_prepared(fuzz, event);
    case EVENT_XID:
        return xid_read(event, &xid, err);
    default:
        return true;
    }
}

static bool take_content(Fuzz *fuzz, uint8_t type, const uint8_t *content, size_t bytes)
{
    Bytes whole = {0};
    BinlogEvent event;
    uint8_t header[BINLOG_HEADER_BYTES] = {[4] = type};
    uint32_t length = (uint32_t)(bytes + sizeof header);
    memcpy(header + 9, &length, sizeof length);
    bytes_put(&whole, header, sizeof header);
    bytes_put(&whole, content, bytes);
    bool ok = binlog_event(&fuzz->format, whole.data, whole.used, &event, &fuzz->err);
    /* A format that the input makes has lengths of its own: rows are read by the usual ones. */
    if (ok)
        ok = take_event(fuzz, &event, false);
    bytes_done(&whole);
    return ok;
}

static void usual_format(BinlogFormat *format, bool mariadb)
{
    *format = (BinlogFormat){.mariadb = mariadb, .known = true};
    memset(format->fixed_bytes, 10, sizeof format->fixed_bytes);
    format->fixed_bytes[EVENT_TABLE_MAP] = 8;
    memset(format->fixed_bytes + EVENT_WRITE_V1, 8, 3);
    memset(format->fixed_bytes + EVENT_WRITE_V1_COMPRESSED, 8, 3);
}

static bool take_sequence(Fuzz *fuzz, Reader in)
{
    uint8_t flags, type;
    uint16_t bytes;
    const uint8_t *content;
    if (!reader_u8(&in, &flags))
        return true;
    usual_format(&fuzz->format, flags & 1);
    fuzz->as_sent = flags & 2;
    fuzz->fills = flags & 4;
    bool ok = true;
    while (ok && reader_u8(&in, &type) && reader_u16be(&in, &bytes)) {
        if (bytes > reader_left(&in))
            bytes = (uint16_t)reader_left(&in);
        if (!reader_take(&in, bytes, &content))
            break;
        ok = take_content(fuzz, type, content, bytes);
    }
    return ok;
}

/* Its checksums are passed over: none would be right. */
static bool take_file(Fuzz *fuzz, Reader in)
{
    bool ok = true, checksums = false;
    const uint8_t *header, *content;
    usual_format(&fuzz->format, memmem(in.at, reader_left(&in), "MariaDB", 7) != NULL);
    fuzz->fills = true;
    for (bool first = true; ok && reader_take(&in, BINLOG_HEADER_BYTES, &header); first = false) {
        uint32_t bytes;
        memcpy(&bytes, header + 9, sizeof bytes);
        bytes = bytes < BINLOG_HEADER_BYTES ? 0 : bytes - BINLOG_HEADER_BYTES;
        if (bytes > reader_left(&in))
            bytes = (uint32_t)reader_left(&in);
        if (!reader_take(&in, bytes, &content))
            break;
        if (first) { /* the format description ends in the kind of checksum, and its own */
            checksums = bytes > CHECKSUM_BYTES && content[bytes - CHECKSUM_BYTES - 1] == 1;
            continue;
        }
        if (checksums && bytes >= CHECKSUM_BYTES)
            bytes -= CHECKSUM_BYTES;
        ok = take_content(fuzz, header[4], content, bytes);
    }
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Fuzz fuzz = {0};
    Reader in = reader_over(data, size);
    const uint8_t *magic;
    bool is_file = size > MAGIC_BYTES && memcmp(data, MAGIC, MAGIC_BYTES) == 0;
    bool ok = is_file && reader_take(&in, MAGIC_BYTES, &magic) ? take_file(&fuzz, in)
                                                               : take_sequence(&fuzz, in);
    ASSERT(ok || fuzz.err.kind != ERROR_NONE);
    forget(&fuzz);
    bytes_done(&fuzz.unpacked);
    return 0;
}
