/* The driver: what capture.h promises, for MySQL 8.0 and MariaDB 10.5, and later ones. */
#include "agent/capture/mysql/mysql.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/mem.h"

bool my_place(const Mysql *mysql, uint64_t file, uint64_t offset, uint64_t *ret, Error *err)
{
    if (file + mysql->file_shift > PLACE_FILE_MAX || offset >> PLACE_OFFSET_BITS)
        return error_set(err, ERROR_DATA, "BadPlace",
                         "a place at %" PRIu64 " in binlog %" PRIu64 " is impossible", offset,
                         file);
    *ret = place_of(file + mysql->file_shift, offset);
    return true;
}

bool my_place_file(const Mysql *mysql, uint64_t place, char ret[PLACE_NAME_BYTES], Error *err)
{
    if (place_file(place) >= mysql->file_shift &&
        place_format_file(mysql->base_name, place_file(place) - mysql->file_shift, ret))
        return true;
    return error_set(err, ERROR_DATA, "BadPlace", "no binlog has the place %" PRIX64 " of %s",
                     place, mysql->source);
}

MYSQL *mysql_connect(const Mysql *mysql, Error *err)
{
    char source[POSITION_SOURCE_BYTES];
    AUTO(my_close) MYSQL *connection = my_open(mysql->spec, &mysql->patience, err);
    if (!connection || !check_identity(mysql, connection, source, err))
        return NULL;
    if (!mysql->server[0] || strcmp(source, mysql->server) == 0)
        return TAKE(connection);
    error_set(err, ERROR_RETRY, "ServerChanged", "%s answers now, where %s did", source,
              mysql->server);
    return NULL;
}

bool mysql_query_open(Mysql *mysql, Error *err)
{
    if (mysql->query && mysql_ping(mysql->query) == 0)
        return true;
    my_close(mysql->query);
    mysql->query = mysql_connect(mysql, err);
    return mysql->query != NULL;
}

static bool goes_on(void *context)
{
    Mysql *mysql = context;
    return patience_until(mysql->options.stop, &mysql->stopped_us);
}

static void close_capture(Capture *capture)
{
    Mysql *mysql = mysql_of(capture);
    my_stream_close(mysql->stream);
    my_marks_done(&mysql->marks);
    session_trim(mysql);
    my_close(mysql->query);
    for (size_t i = 0; i < mysql->table_count; i++)
        my_table_done(&mysql->tables[i]);
    free(mysql->tables);
    free(mysql->sources);
    free(mysql->collations);
    my_adopted_forget(mysql);
    free(mysql->copy_gtids);
    my_anchors_free(mysql->anchors);
    arena_free(mysql->arena);
    pthread_mutex_destroy(&mysql->session_lock);
    pthread_cond_destroy(&mysql->session_freed);
    free(mysql);
}

static const SourceTable *tables(const Capture *capture, size_t *ret_count)
{
    const Mysql *mysql = (const Mysql *)capture;
    *ret_count = mysql->table_count;
    return mysql->sources;
}

static void fills(Capture *capture, uint32_t table)
{
    atomic_store(&mysql_of(capture)->tables[table].fills, true);
}

static const char *source(const Capture *capture)
{
    return ((const Mysql *)capture)->source;
}

/* The server keeps nothing for us, so there is nothing that it was told. */
static bool told(Capture *capture, RowPosition *ret, Error *err)
{
    (void)capture;
    (void)err;
    *ret = (RowPosition){0};
    return true;
}

static bool log_end(Capture *capture, RowPosition *ret, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    *ret = (RowPosition){0};
    return mysql_query_open(mysql, err) && check_log_end(mysql, mysql->query, &ret->major, err);
}

static bool unread(Capture *capture, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    return mysql_query_open(mysql, err) && my_stream_unread(mysql, err);
}

static bool prepare(Capture *capture, const CaptureState *state, Position *ret_copy, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    bool copying = false;
    for (size_t i = 0; i < mysql->table_count; i++) {
        mysql->sources[i].copied = !state->complete[i];
        atomic_store(&mysql->tables[i].copying, !state->complete[i]);
        copying = copying || !state->complete[i];
    }
    if (!mysql_query_open(mysql, err) ||
        (state->from.major && !check_log_there(mysql, state->from.major, err)))
        return false;
    uint64_t place;
    if (!(copying ? snapshot_take(mysql, &place, err)
                  : check_log_end(mysql, mysql->query, &place, err)))
        return false;
    *ret_copy = position_of(mysql->source, (RowPosition){.major = place});
    mysql->copy_at = ret_copy->at;
    mysql->copy_us = clock_wall_us();
    if (mysql->mariadb)
        mysql->copy_gtids = check_gtids(mysql, place);
    if (!my_place_file(mysql, place, mysql->copy_file, err))
        return false;
    for (size_t i = 0; i < mysql->table_count; i++)
        if (!state->complete[i] && !mysql->tables[i].resumed)
            mysql->tables[i].passed = ret_copy->at;
    mysql->start = state->from.major ? state->from : ret_copy->at;
    my_anchors_start(mysql);
    return true;
}

static bool copy_done(Capture *capture, Error *err)
{
    (void)err;
    session_trim(mysql_of(capture));
    return true;
}

static void copied(Capture *capture, uint32_t table)
{
    atomic_store(&mysql_of(capture)->tables[table].copying, false);
}

static const CaptureDriver driver = {
    .close = close_capture,
    .tables = tables,
    .columns = my_table_columns,
    .forget = my_table_forget,
    .identify = my_table_identify,
    .resume = my_table_resume,
    .same = my_table_same,
    .fills = fills,
    .source = source,
    .anchor = my_anchor,
    .adopt = my_adopt,
    .told = told,
    .log_end = log_end,
    .unread = unread,
    .describe = my_columns_describe,
    .look = my_tables_look,
    .prepare = prepare,
    .copy_plan = my_copy_plan,
    .copy_reader_open = my_copy_reader_open,
    .copy_reader_free = my_copy_reader_free,
    .copy_begin = my_copy_begin,
    .copy_next = my_copy_next,
    .copy_cancel = my_copy_cancel,
    .copy_done = copy_done,
    .beside_open = my_beside_open,
    .beside_say = my_beside_say,
    .beside_bound = my_beside_bound,
    .beside_begin = my_beside_begin,
    .copied = copied,
    .definition = my_table_definition,
    .stream_start = my_stream_start,
    .next = my_stream_next,
    .idle = my_stream_idle,
    .confirm = my_stream_confirm,
    .figures = my_stream_figures,
};

Capture *capture_mysql_open(const ConnectorSpec *spec, const CaptureOptions *options, Error *err)
{
    Mysql *mysql = mem_zalloc(sizeof *mysql);
    mysql->base.driver = &driver;
    mysql->spec = spec;
    mysql->options = *options;
    mysql->mariadb = spec->source_type == SOURCE_MARIADB;
    mysql->anchors = my_anchors_new(mysql->mariadb);
    mysql->patience = (Patience){goes_on, mysql};
    pthread_mutex_init(&mysql->session_lock, NULL);
    pthread_cond_init(&mysql->session_freed, NULL);
    my_marks_init(&mysql->marks);
    if (mysql_query_open(mysql, err) && check_server(mysql, err) && my_tables_find(mysql, err))
        return &mysql->base;
    close_capture(&mysql->base);
    return NULL;
}
