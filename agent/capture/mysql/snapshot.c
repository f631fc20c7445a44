/* The copy's snapshot: several connections, each with a snapshot of its own, which all stand for
 * one place of the log.
 *
 * MariaDB says of a consistent snapshot which place it stands for (binlog_snapshot_*), so nothing
 * is locked: the snapshots are taken until they all stand for one. On a server that is never still
 * for so long one connection reads alone.
 *
 * MySQL does not say it. There everybody is kept from committing for as long as it takes to open
 * the snapshots, some milliseconds (FLUSH TABLES WITH READ LOCK; it waits for statements that run,
 * not for open transactions). Where the user may not (managed servers), a read lock on the captured
 * tables does it: a transaction keeps its tables locked until it has committed, so under the lock
 * all that wrote to them stand before the log's end and in the snapshots. That has to wait for open
 * transactions that wrote to them; and one that wants two of the tables in another order may be
 * ended as a deadlock. Either is waited for at most LOCK_SECONDS at a time, and then let go for a
 * moment: others wait behind it. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/mysql.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define ROUNDS 20
#define LOCK_TRIES 12
#define LOCK_PAUSE_US 1000000
#define LOCK_SECONDS "2"

static const char begin_sql[] = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
static const char isolation_sql[] = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";

void session_free(MySession *session)
{
    wire_done(&session->wire);
    my_close(session->connection);
    free(session);
}

/* --- sessions --- */

MySession *session_get(Mysql *mysql, const atomic_bool *cancelled)
{
    MySession *found = NULL;
    pthread_mutex_lock(&mysql->session_lock);
    while (!found && !atomic_load(cancelled)) {
        for (size_t i = 0; i < mysql->session_count && !found; i++)
            if (!mysql->sessions[i]->busy)
                found = mysql->sessions[i];
        if (!found)
            pthread_cond_wait(&mysql->session_freed, &mysql->session_lock);
    }
    if (found)
        found->busy = true;
    pthread_mutex_unlock(&mysql->session_lock);
    return found;
}

void session_put(Mysql *mysql, MySession *session)
{
    pthread_mutex_lock(&mysql->session_lock);
    session->busy = false;
    pthread_cond_broadcast(&mysql->session_freed);
    pthread_mutex_unlock(&mysql->session_lock);
}

void session_wake(Mysql *mysql)
{
    pthread_mutex_lock(&mysql->session_lock);
    pthread_cond_broadcast(&mysql->session_freed);
    pthread_mutex_unlock(&mysql->session_lock);
}

/* A snapshot makes the server keep what every row was: none is open longer than it is read in. */
void session_trim(Mysql *mysql)
{
    pthread_mutex_lock(&mysql->session_lock);
    for (size_t i = mysql->session_count; i > 0 && mysql->session_count > mysql->reader_count;
         i--) {
        if (mysql->sessions[i - 1]->busy)
            continue;
        session_free(mysql->sessions[i - 1]);
        mysql->sessions[i - 1] = mysql->sessions[--mysql->session_count];
    }
    pthread_mutex_unlock(&mysql->session_lock);
}

void session_readers(Mysql *mysql, int more)
{
    pthread_mutex_lock(&mysql->session_lock);
    mysql->reader_count = (size_t)((long)mysql->reader_count + more);
    pthread_mutex_unlock(&mysql->session_lock);
}

/* --- opening --- */

static bool open_connections(Mysql *mysql, Error *err)
{
    size_t wanted = mysql->spec->snapshot_parallelism;
    wanted = wanted < SNAPSHOT_READERS_MAX ? wanted : SNAPSHOT_READERS_MAX;
    while (mysql->session_count < wanted) {
        MYSQL *connection = mysql_connect(mysql, err);
        if (!connection)
            return false;
        MySession *session = mem_zalloc(sizeof *session);
        session->wire.fd = -1;
        session->connection = connection;
        mysql->sessions[mysql->session_count++] = session;
        if (!my_command(connection, &mysql->patience, isolation_sql, err))
            return false;
    }
    return true;
}

static bool begin(Mysql *mysql, size_t number, Error *err)
{
    return my_command(mysql->sessions[number]->connection, &mysql->patience, begin_sql, err);
}

/* --- MariaDB --- */

static bool snapshot_place(Mysql *mysql, MYSQL *connection, uint64_t *ret, Error *err)
{
    AUTO(my_result_free)
    MYSQL_RES *result =
        my_query(connection, &mysql->patience, "SHOW STATUS LIKE 'binlog_snapshot_%'", err);
    if (!result)
        return false;
    uint64_t file = 0, offset = 0;
    size_t base;
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));) {
        if (strcasecmp(row[0], "binlog_snapshot_position") == 0)
            offset = strtoull(row[1], NULL, 10);
        else if (strcasecmp(row[0], "binlog_snapshot_file") == 0 &&
                 !place_parse_file(row[1], strlen(row[1]), &file, &base, err))
            return false;
    }
    if (!file || !offset)
        return error_set(err, ERROR_RETRY, "NoSnapshot",
                         "the server does not say which place of its binlog a snapshot stands for");
    return my_place(mysql, file, offset, ret, err);
}

static bool take_lockless(Mysql *mysql, uint64_t *ret, Error *err)
{
    uint64_t places[SNAPSHOT_READERS_MAX] = {0}, latest = 0;
    for (int round = 0; round < ROUNDS; round++) {
        bool agreed = true;
        for (size_t i = 0; i < mysql->session_count; i++) {
            if (places[i] && places[i] == latest)
                continue;
            if (!begin(mysql, i, err) ||
                !snapshot_place(mysql, mysql->sessions[i]->connection, &places[i], err))
                return false;
            latest = places[i] > latest ? places[i] : latest;
        }
        for (size_t i = 0; i < mysql->session_count; i++)
            agreed = agreed && places[i] == latest;
        *ret = latest;
        if (agreed)
            return true;
    }
    log_info("the source is written to all the time: one connection copies it alone");
    while (mysql->session_count > 1)
        session_free(mysql->sessions[--mysql->session_count]);
    *ret = places[0];
    return true;
}

/* --- MySQL --- */

static char *lock_sql(const Mysql *mysql)
{
    Bytes text = {0};
    bytes_put(&text, "LOCK TABLES ", 12);
    bool first = true;
    for (size_t i = 0; i < mysql->table_count; i++) {
        const MyTable *table = &mysql->tables[i];
        if (!atomic_load(&table->copying))
            continue;
        if (!first)
            bytes_put(&text, ", ", 2);
        first = false;
        bytes_put(&text, table->quoted, strlen(table->quoted));
        bytes_put(&text, " READ", 5);
    }
    bytes_put_u8(&text, 0);
    return (char *)text.data;
}

/* Tried until it is there. PrivilegeMissing is for the caller to mend. */
static bool lock_with(Mysql *mysql, MYSQL *connection, const char *sql, Error *err)
{
    for (int i = 0;; i++) {
        Error why = {0};
        if (my_command(connection, &mysql->patience, sql, &why))
            return true;
        if (strcmp(why.code, "LockTimeout") != 0 || i == LOCK_TRIES) {
            *err = why;
            return error_wrap(err, "keeping writers off for the moment in which the copy begins");
        }
        log_info("statements or transactions that write are open: the copy waits for them",
                 LOG_T("query", sql));
        clock_sleep_us(LOCK_PAUSE_US);
    }
}

/* *ret_all: nobody commits, and not only to the captured tables. */
static bool lock(Mysql *mysql, MYSQL *connection, bool *ret_all, Error *err)
{
    if (!my_command(connection, &mysql->patience, "SET SESSION lock_wait_timeout = " LOCK_SECONDS,
                    err))
        return false;
    Error why;
    *ret_all = lock_with(mysql, connection, "FLUSH TABLES WITH READ LOCK", &why);
    if (*ret_all)
        return true;
    if (strcmp(why.code, "PrivilegeMissing") != 0) {
        *err = why;
        return false;
    }
    AUTO(mem_free) char *sql = lock_sql(mysql);
    if (lock_with(mysql, connection, sql, err))
        return true;
    if (strcmp(err->code, "PrivilegeMissing") != 0)
        return false;
    return error_set(err, ERROR_CONFIG, "PrivilegeMissing",
                     "user %s may not keep writers off for the moment in which the copy begins; "
                     "GRANT FLUSH_TABLES ON *.* TO `%s`, or GRANT LOCK TABLES, SELECT ON `%s`.* TO "
                     "`%s`",
                     mysql->spec->username, mysql->spec->username, mysql->spec->database,
                     mysql->spec->username);
}

size_t created_bytes(const char *text, size_t bytes)
{
    while (bytes > 1 && !(text[bytes - 2] == '\n' && text[bytes - 1] == ')'))
        bytes--;
    return bytes;
}

static bool read_definitions(Mysql *mysql, Error *err)
{
    for (size_t i = 0; i < mysql->table_count; i++) {
        MyTable *table = &mysql->tables[i];
        if (!atomic_load(&table->copying))
            continue;
        AUTO(mem_free) char *sql = mem_format("SHOW CREATE TABLE %s", table->quoted);
        AUTO(my_result_free) MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, err);
        if (!result)
            return false;
        MYSQL_ROW row = mysql_fetch_row(result);
        free(table->created);
        table->created =
            row && row[1] ? mem_strndup(row[1], created_bytes(row[1], strlen(row[1]))) : NULL;
    }
    return true;
}

static bool take_locked(Mysql *mysql, uint64_t *ret, Error *err)
{
    bool all;
    AUTO(my_close) MYSQL *connection = mysql_connect(mysql, err);
    if (!connection || !read_definitions(mysql, err) || !lock(mysql, connection, &all, err))
        return false;
    if (!check_log_end(mysql, connection, ret, err))
        return false;
    if (all && mysql->gtids) { /* else a set of now may be of a little later, or before */
        mysql->copy_gtids =
            my_value(connection, &mysql->patience, "SELECT @@GLOBAL.gtid_executed", err);
        if (!mysql->copy_gtids)
            return false;
    }
    for (size_t i = 0; i < mysql->session_count; i++)
        if (!begin(mysql, i, err))
            return false;
    return my_command(connection, &mysql->patience, "UNLOCK TABLES", err);
}

bool snapshot_take(Mysql *mysql, uint64_t *ret, Error *err)
{
    if (open_connections(mysql, err) &&
        (mysql->mariadb ? take_lockless(mysql, ret, err) : take_locked(mysql, ret, err)))
        return true;
    session_trim(mysql);
    return false;
}
