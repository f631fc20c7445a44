/* Foreign keys that change rows without a word in the log. InnoDB carries out itself what ON DELETE
 * and ON UPDATE ask for, below what writes the binlog: of a parent that is deleted its own row
 * alone is there, and the tables of its children would come to differ from the lake's. MySQL does
 * it above the binlog since 9.6, unless it is told not to.
 *
 * What a key asks for stands in the table's definition; information_schema shows it only to those
 * who may do more than read. */
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/mysql.h"
#include "common/log.h"
#include "common/mem.h"

static const char constraint[] = "  CONSTRAINT `", foreign_key[] = " FOREIGN KEY ";

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Behind the name in backticks that begins there. */
static const char *behind_name(const char *at)
{
    for (at++; *at; at++)
        if (*at == '`' && *++at != '`')
            break;
    return at;
}

static bool is_cascade(const char *at)
{
    if (!starts(at, " ON DELETE ") && !starts(at, " ON UPDATE "))
        return false;
    const char *rule = at + sizeof " ON DELETE " - 1;
    return starts(rule, "CASCADE") || starts(rule, "SET ");
}

char *my_cascade_find(const char *definition)
{
    for (const char *line = definition; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!starts(line, constraint))
            continue;
        const char *name = line + sizeof constraint - 2, *at = behind_name(name), *end = at;
        if (!starts(at, foreign_key))
            continue;
        while (*at && *at != '\n') {
            if (is_cascade(at))
                return mem_strndup(name, (size_t)(end - name));
            at = *at == '`' ? behind_name(at) : at + 1;
        }
    }
    return NULL;
}

bool my_cascades_check(Mysql *mysql, const MyTable *table, Error *err)
{
    if (!mysql->cascades_unseen)
        return true;
    AUTO(mem_free) char *sql = mem_format("SHOW CREATE TABLE %s", table->quoted);
    Error why;
    AUTO(my_result_free) MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, &why);
    if (!result && strcmp(why.code, "TableRewritten") == 0) /* it is gone by now */
        return true;
    if (!result) {
        *err = why;
        return false;
    }
    MYSQL_ROW row = mysql_fetch_row(result);
    AUTO(mem_free) char *key = row && row[1] ? my_cascade_find(row[1]) : NULL;
    if (!key)
        return true;
    if (mysql->spec->mysql_cascades == CASCADES_IGNORE) {
        log_warn("the binlog does not have what a foreign key does to rows of the table: they stay "
                 "as they were in the lake",
                 LOG_T("table", table->name), LOG_T("key", key));
        return true;
    }
    return error_set(err, ERROR_CONFIG, "CascadesUnseen",
                     "table %s: its foreign key %s deletes or changes rows when those that they "
                     "refer to do, and this server's binlog has none of that (MySQL's has from "
                     "9.6 on); make the key ON DELETE RESTRICT ON UPDATE RESTRICT, exclude the "
                     "table (spec.source.tables.exclude), or let such rows stay as they were in "
                     "the lake (spec.source.mysql.cascades: Ignore)",
                     table->name, key);
}

bool my_cascades_find(Mysql *mysql, Error *err)
{
    AUTO(mem_free)
    char *native = my_variable(mysql, "innodb_native_foreign_keys", err);
    if (!native)
        return false;
    mysql->cascades_unseen = strcasecmp(native, "OFF") != 0;
    if (!mysql->cascades_unseen)
        return true;
    AUTO(mem_free) char *database = my_literal(mysql->spec->database);
    AUTO(mem_free)
    char *sql = mem_format("SELECT DISTINCT table_name FROM information_schema.key_column_usage "
                           "WHERE table_schema = %s AND referenced_table_name IS NOT NULL",
                           database);
    AUTO(my_result_free) MYSQL_RES *result = my_query(mysql->query, &mysql->patience, sql, err);
    if (!result)
        return false;
    for (MYSQL_ROW row; (row = mysql_fetch_row(result));)
        for (size_t i = 0; i < mysql->table_count; i++)
            if (row[0] && strcmp(mysql->tables[i].source->table_name, row[0]) == 0 &&
                !my_cascades_check(mysql, &mysql->tables[i], err))
                return false;
    return true;
}
