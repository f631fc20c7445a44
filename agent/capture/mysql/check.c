/* What the server has to be set to, who it is, and where its log stands. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/mysql.h"
#include "common/arena.h"
#include "common/log.h"
#include "common/mem.h"

static char *variable_of(const Mysql *mysql, MYSQL *connection, const char *name, Error *err)
{
    AUTO(mem_free) char *sql = mem_format("SHOW GLOBAL VARIABLES LIKE '%s'", name);
    AUTO(my_result_free) MYSQL_RES *result = my_query(connection, &mysql->patience, sql, err);
    if (!result)
        return NULL;
    MYSQL_ROW row = mysql_fetch_row(result);
    return mem_strdup(row && row[1] ? row[1] : "");
}

char *my_variable(const Mysql *mysql, const char *name, Error *err)
{
    return variable_of(mysql, mysql->query, name, err);
}

typedef struct Wanted {
    const char *name, *value, *code, *way_out;
} Wanted;

static const Wanted settings[] = {
    {"log_bin", "ON", "BinlogOff",
     "start the server with log_bin = binlog and a server_id of its own"},
    {"binlog_format", "ROW", "BinlogFormat",
     "SET GLOBAL binlog_format = ROW, and let sessions that are open begin anew"},
    {"binlog_row_image", "FULL", "RowImageIncomplete",
     "SET GLOBAL binlog_row_image = FULL, and let sessions that are open begin anew"},
    {"binlog_row_value_options", "", "PartialJson",
     "SET GLOBAL binlog_row_value_options = '', and let sessions that are open begin anew"},
};

static bool check_setting(Mysql *mysql, const Wanted *wanted, Error *err)
{
    AUTO(mem_free) char *value = my_variable(mysql, wanted->name, err);
    if (!value)
        return false;
    if (strcasecmp(value, wanted->value) == 0)
        return true;
    return error_set(err, ERROR_CONFIG, wanted->code, "the server's %s is '%s'; %s", wanted->name,
                     value, wanted->way_out);
}

/* Amazon's and others' own log settings show in these alike. */
static bool check_settings(Mysql *mysql, Error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (!check_setting(mysql, &settings[i], err))
            return false;
    AUTO(mem_free) char *metadata = my_variable(mysql, "binlog_row_metadata", err);
    if (!metadata)
        return false;
    mysql->full_metadata = strcasecmp(metadata, "FULL") == 0;
    if (!mysql->full_metadata)
        log_warn("the binlog does not name the columns of its rows, so a table that is altered "
                 "several times while nobody reads can't be followed: SET GLOBAL "
                 "binlog_row_metadata = FULL",
                 LOG_T("binlog_row_metadata", metadata));
    return true;
}

/* With gtid_mode = ON alone: else there are transactions that no set tells of. */
static bool check_gtid_mode(Mysql *mysql, Error *err)
{
    mysql->gtids = mysql->mariadb;
    AUTO(mem_free) char *mode = my_variable(mysql, "gtid_mode", err);
    mysql->gtids = mysql->gtids || (mode && strcasecmp(mode, "ON") == 0);
    return mode != NULL;
}

static bool list_has(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
        if (strcspn(at, ",") == length && strncasecmp(at, name, length) == 0)
            return true;
    return false;
}

static const char *status_sql(const Mysql *mysql)
{
    return mysql->mariadb || mysql_get_server_version(mysql->query) < 80200
               ? "SHOW MASTER STATUS"
               : "SHOW BINARY LOG STATUS";
}

static bool privilege(const Mysql *mysql, Error *err)
{
    if (strcmp(err->code, "PrivilegeMissing") != 0)
        return false;
    return error_set(err, ERROR_CONFIG, "PrivilegeMissing",
                     "user %s may not read the binlog; GRANT REPLICATION SLAVE, REPLICATION CLIENT "
                     "ON *.* TO `%s`",
                     mysql->spec->username, mysql->spec->username);
}

bool check_log_end(Mysql *mysql, MYSQL *connection, uint64_t *ret, Error *err)
{
    AUTO(my_result_free)
    MYSQL_RES *result = my_query(connection, &mysql->patience, status_sql(mysql), err);
    if (!result)
        return privilege(mysql, err);
    MYSQL_ROW row = mysql_fetch_row(result);
    uint64_t file;
    size_t base;
    if (!row || !row[0] || !row[1])
        return error_set(err, ERROR_CONFIG, "BinlogOff",
                         "the server says nothing of a binlog; start it with log_bin");
    if (!place_parse_file(row[0], strlen(row[0]), &file, &base, err))
        return false;
    snprintf(mysql->base_name, sizeof mysql->base_name, "%.*s", (int)base, row[0]);
    const char *only = mysql_num_fields(result) > 2 && row[2] ? row[2] : "";
    const char *without = mysql_num_fields(result) > 3 && row[3] ? row[3] : "";
    if ((*only && !list_has(only, mysql->spec->database)) ||
        list_has(without, mysql->spec->database))
        return error_set(err, ERROR_CONFIG, "BinlogFiltered",
                         "the server leaves database %s out of its binlog; take binlog_do_db and "
                         "binlog_ignore_db away, and restart it",
                         mysql->spec->database);
    return my_place(mysql, file, strtoull(row[1], NULL, 10), ret, err);
}

char *check_gtids(Mysql *mysql, uint64_t place)
{
    char file[PLACE_NAME_BYTES];
    Error ignored;
    if (!mysql->mariadb || !my_place_file(mysql, place, file, &ignored))
        return NULL;
    AUTO(mem_free) char *name = my_literal(file);
    AUTO(mem_free)
    char *sql = mem_format("SELECT BINLOG_GTID_POS(%s, %" PRIu64 ")", name, place_offset(place));
    AUTO(my_result_free)
    MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, &ignored);
    MYSQL_ROW row = result ? mysql_fetch_row(result) : NULL;
    return row && row[0] ? mem_strdup(row[0]) : NULL;
}

bool log_purged(const char *what, Error *err)
{
    return error_set(err, ERROR_CONFIG, "LogPurged",
                     "the server no longer has the binlog that the tables need next (%.200s): the "
                     "changes since are lost; load the tables again with --resnapshot '*.*', and "
                     "let the server keep it longer (binlog_expire_logs_seconds; Amazon: CALL "
                     "mysql.rds_set_configuration('binlog retention hours', 72))",
                     what);
}

/* MySQL before 8.0.29 and MariaDB say it in days, too. */
static bool read_expiry(Mysql *mysql, int64_t *ret_us, Error *err)
{
    AUTO(my_result_free)
    MYSQL_RES *result = my_query(mysql->query, &mysql->patience,
                                 "SHOW GLOBAL VARIABLES WHERE variable_name IN "
                                 "('binlog_expire_logs_seconds', 'expire_logs_days', "
                                 "'binlog_expire_logs_auto_purge')",
                                 err);
    if (!result)
        return false;
    double seconds = 0, days = 0;
    bool purges = true;
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));) {
        if (!row[0] || !row[1])
            continue;
        if (strcasecmp(row[0], "binlog_expire_logs_seconds") == 0)
            seconds = strtod(row[1], NULL);
        else if (strcasecmp(row[0], "expire_logs_days") == 0)
            days = strtod(row[1], NULL);
        else
            purges = strcasecmp(row[1], "OFF") != 0;
    }
    seconds = !purges ? 0 : seconds > 0 ? seconds : days * 86400;
    *ret_us = (int64_t)(seconds * 1e6);
    return true;
}

bool check_log_kept(Mysql *mysql, uint64_t place, LogKept *ret, Error *err)
{
    *ret = (LogKept){0};
    if (!read_expiry(mysql, &ret->expire_us, err))
        return false;
    AUTO(my_result_free)
    MYSQL_RES *result = my_query(mysql->query, &mysql->patience, "SHOW BINARY LOGS", err);
    if (!result)
        return privilege(mysql, err);
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));) {
        uint64_t file, bytes = row[1] ? strtoull(row[1], NULL, 10) : 0;
        size_t base;
        if (!row[0] || !place_parse_file(row[0], strlen(row[0]), &file, &base, NULL) ||
            file + mysql->file_shift < place_file(place))
            continue;
        bool is_first = file + mysql->file_shift == place_file(place);
        uint64_t before = is_first ? place_offset(place) : 0;
        ret->there = ret->there || is_first;
        ret->bytes += bytes > before ? bytes - before : 0;
    }
    return true;
}

bool check_log_there(Mysql *mysql, uint64_t place, Error *err)
{
    AUTO(my_result_free)
    MYSQL_RES *result = my_query(mysql->query, &mysql->patience, "SHOW BINARY LOGS", err);
    if (!result)
        return privilege(mysql, err);
    char wanted[PLACE_NAME_BYTES];
    if (!my_place_file(mysql, place, wanted, err))
        return false;
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));) {
        if (!row[0] || strcmp(row[0], wanted) != 0)
            continue;
        if (row[1] && strtoull(row[1], NULL, 10) < place_offset(place))
            return log_purged("its file ends before that place: the binlogs were reset, or come "
                              "from a backup",
                              err);
        return true;
    }
    return log_purged(wanted, err);
}

/* --- who it is --- */

static uint64_t fingerprint(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

bool check_identity(const Mysql *mysql, MYSQL *connection, char ret[POSITION_SOURCE_BYTES],
                    Error *err)
{
    const char *name = mysql->mariadb ? "server_uid" : "server_uuid";
    AUTO(mem_free) char *id = variable_of(mysql, connection, name, err);
    if (id && !*id) { /* MariaDB before 10.6 */
        free(id);
        id = variable_of(mysql, connection, "server_id", err);
    }
    if (!id)
        return false;
    snprintf(ret, POSITION_SOURCE_BYTES, "%s/%.64s", mysql->mariadb ? "mariadb" : "mysql", id);
    return true;
}

static bool identify(Mysql *mysql, Error *err)
{
    if (!check_identity(mysql, mysql->query, mysql->server, err))
        return false;
    memcpy(mysql->source, mysql->server, sizeof mysql->source);
    AUTO(mem_free)
    char *name = mem_format("%s/%s", mysql->spec->meta.namespace_name, mysql->spec->meta.name);
    uint64_t hash = fingerprint(name);
    snprintf(mysql->lock, sizeof mysql->lock, "firn_%016" PRIx64, hash);
    mysql->server_id = mysql->spec->mysql_server_id
                           ? mysql->spec->mysql_server_id
                           : (uint32_t)(UINT64_C(1000000000) + hash % 3000000000);
    return true;
}

static int by_id(const void *a, const void *b)
{
    const Collation *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static bool load_collations(Mysql *mysql, Error *err)
{
    /* MariaDB since 10.10 has collations of several character sets under one name. */
    bool several = mysql->mariadb && mysql_get_server_version(mysql->query) >= 101001;
    const char *sql =
        several
            ? "SELECT id, character_set_name FROM "
              "information_schema.collation_character_set_applicability WHERE id IS NOT NULL"
            : "SELECT id, character_set_name FROM information_schema.collations WHERE id IS NOT "
              "NULL AND character_set_name IS NOT NULL";
    AUTO(my_result_free) MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, err);
    if (!result)
        return false;
    mysql->arena = arena_new(4096);
    mysql->collations = mem_array(mysql_num_rows(result) + 1, sizeof *mysql->collations);
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));)
        if (row[0] && row[1])
            mysql->collations[mysql->charsets.count++] =
                (Collation){.id = (uint32_t)strtoul(row[0], NULL, 10),
                            .charset = arena_strndup(mysql->arena, row[1], strlen(row[1]))};
    qsort(mysql->collations, mysql->charsets.count, sizeof *mysql->collations, by_id);
    mysql->charsets.items = mysql->collations;
    return true;
}

bool check_server(Mysql *mysql, Error *err)
{
    uint64_t end;
    return check_settings(mysql, err) && check_gtid_mode(mysql, err) &&
           check_log_end(mysql, mysql->query, &end, err) && identify(mysql, err) &&
           load_collations(mysql, err);
}
