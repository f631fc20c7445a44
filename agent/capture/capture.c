/* Each call goes to the driver that made the capture. */
#include "agent/capture/capture.h"

#include "agent/capture/mysql/mysql.h"
#include "agent/capture/postgres/postgres.h"

Capture *capture_open(const ConnectorSpec *spec, const CaptureOptions *options, Error *err)
{
    if (spec->source_type == SOURCE_POSTGRESQL)
        return capture_postgres_open(spec, options, err);
    if (spec->source_type == SOURCE_MYSQL || spec->source_type == SOURCE_MARIADB)
        return capture_mysql_open(spec, options, err);
    error_set(err, ERROR_CONFIG, "UnsupportedSource",
              "spec.source.type of Connector %s: only PostgreSQL, MySQL and MariaDB are supported "
              "yet",
              spec->meta.name);
    return NULL;
}

bool capture_drop(const ConnectorSpec *spec, Error *err)
{
    if (spec->source_type == SOURCE_POSTGRESQL)
        return capture_postgres_drop(spec, err);
    if (spec->source_type == SOURCE_MYSQL || spec->source_type == SOURCE_MARIADB)
        return true; /* these keep nothing of ours */
    return error_set(err, ERROR_CONFIG, "UnsupportedSource",
                     "spec.source.type of Connector %s is not supported yet", spec->meta.name);
}

void capture_close(Capture *capture)
{
    if (capture)
        capture->driver->close(capture);
}

const SourceTable *capture_tables(const Capture *capture, size_t *ret_count)
{
    return capture->driver->tables(capture, ret_count);
}

bool capture_definition(Capture *capture, uint32_t table, Change *ret, Error *err)
{
    ASSERT(capture->driver->definition);
    return capture->driver->definition(capture, table, ret, err);
}

void capture_forget(Capture *capture, uint32_t table)
{
    capture->driver->forget(capture, table);
}

void capture_identify(Capture *capture, uint32_t table, const int32_t *origins, size_t count)
{
    capture->driver->identify(capture, table, origins, count);
}

bool capture_columns(Capture *capture, uint32_t table, const ColumnList *columns, Error *err)
{
    return capture->driver->columns(capture, table, columns, err);
}

bool capture_resume(Capture *capture, uint32_t table, const char *shape, RowPosition at, Error *err)
{
    return capture->driver->resume(capture, table, shape, at, err);
}

bool capture_same(const Capture *capture, uint32_t table, const char *shape)
{
    return capture->driver->same(capture, table, shape);
}

void capture_fills(Capture *capture, uint32_t table)
{
    capture->driver->fills(capture, table);
}

const char *capture_source(const Capture *capture)
{
    return capture->driver->source(capture);
}

char *capture_anchor(const Capture *capture, RowPosition at)
{
    return capture->driver->anchor ? capture->driver->anchor(capture, at) : NULL;
}

bool capture_adopt(Capture *capture, Position *position, const char *anchor, bool passed, bool *ret,
                   Error *err)
{
    return capture->driver->adopt(capture, position, anchor, passed, ret, err);
}

bool capture_told(Capture *capture, RowPosition *ret, Error *err)
{
    return capture->driver->told(capture, ret, err);
}

bool capture_log_end(Capture *capture, RowPosition *ret, Error *err)
{
    return capture->driver->log_end(capture, ret, err);
}

bool capture_unread(Capture *capture, Error *err)
{
    return capture->driver->unread(capture, err);
}

bool capture_describe(Capture *capture, uint32_t table, const char *shape, Arena *arena,
                      const SourceColumn **ret, Error *err)
{
    return capture->driver->describe(capture, table, shape, arena, ret, err);
}

bool capture_look(Capture *capture, CaptureFound *found, void *context, Error *err)
{
    return capture->driver->look(capture, found, context, err);
}

bool capture_prepare(Capture *capture, const CaptureState *state, Position *ret_copy, Error *err)
{
    return capture->driver->prepare(capture, state, ret_copy, err);
}

bool capture_copy_plan(Capture *capture, uint32_t table, uint64_t range_bytes, const Extents *done,
                       CopyRange **ret, size_t *ret_count, Error *err)
{
    return capture->driver->copy_plan(capture, table, range_bytes, done, ret, ret_count, err);
}

CopyReader *capture_copy_reader_open(Capture *capture, Error *err)
{
    return capture->driver->copy_reader_open(capture, err);
}

void capture_copy_reader_free(CopyReader *reader)
{
    if (reader)
        reader->driver->copy_reader_free(reader);
}

bool capture_copy_begin(CopyReader *reader, const CopyRange *range, Error *err)
{
    return reader->driver->copy_begin(reader, range, err);
}

bool capture_copy_next(CopyReader *reader, Batch **ret, Error *err)
{
    return reader->driver->copy_next(reader, ret, err);
}

void capture_copy_cancel(CopyReader *reader)
{
    reader->driver->copy_cancel(reader);
}

bool capture_copy_done(Capture *capture, Error *err)
{
    return capture->driver->copy_done(capture, err);
}

CopyReader *capture_beside_open(Capture *capture, Capture *stream, Error *err)
{
    return capture->driver->beside_open(capture, stream, err);
}

bool capture_tells_columns(const Capture *capture)
{
    return capture->driver->definition != NULL;
}

bool capture_beside_say(CopyReader *reader, const char *text, Error *err)
{
    return reader->driver->beside_say(reader, text, err);
}

bool capture_beside_bound(CopyReader *reader, uint32_t table, const char *after, uint32_t rows,
                          char **ret, Error *err)
{
    return reader->driver->beside_bound(reader, table, after, rows, ret, err);
}

bool capture_beside_begin(CopyReader *reader, uint32_t table, const char *after, const char *until,
                          Unseen *ret, Error *err)
{
    return reader->driver->beside_begin(reader, table, after, until, ret, err);
}

void capture_copied(Capture *capture, uint32_t table)
{
    capture->driver->copied(capture, table);
}

bool capture_stream_start(Capture *capture, Error *err)
{
    return capture->driver->stream_start(capture, err);
}

bool capture_next(Capture *capture, int timeout_ms, Change *ret, Error *err)
{
    return capture->driver->next(capture, timeout_ms, ret, err);
}

bool capture_idle(Capture *capture, Error *err)
{
    return capture->driver->idle(capture, err);
}

void capture_confirm(Capture *capture, RowPosition durable)
{
    capture->driver->confirm(capture, durable);
}

void capture_figures(const Capture *capture, CaptureFigures *ret)
{
    capture->driver->figures(capture, ret);
}
