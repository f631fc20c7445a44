/* The publication: which tables the slot's output plugin sends. It must be there before the slot,
 * because a change is decoded with the catalog of its own moment: a slot made first would meet
 * changes at which its publication did not exist, and the walsender would fail on them for ever.
 *
 * A table is added only if its replica identity lets updates and deletes through: publishing one
 * without would make the source's own UPDATE and DELETE statements fail. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/postgres.h"
#include "common/bytes.h"
#include "common/mem.h"

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

/* Which of our tables are in; `in` has room for all. */
static bool read_members(Postgres *postgres, const char *literal, bool *in, Error *err)
{
    AUTO(mem_free)
    char *sql = mem_format(
        "SELECT c.oid, %s FROM pg_catalog.pg_publication_tables t "
        "JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname "
        "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename "
        "WHERE t.pubname = %s",
        postgres->version >= 150000 ? "t.rowfilter" : "NULL", literal);
    AUTO(result_clear)
    PGresult *result = connect_query(postgres->query, PGRES_TUPLES_OK, sql, err);
    if (!result)
        return false;
    for (int row = 0; row < PQntuples(result); row++) {
        const PgTable *table =
            tables_by_oid(postgres, strtoull(PQgetvalue(result, row, 0), NULL, 10));
        if (!table)
            continue;
        in[table - postgres->tables] = true;
        if (!PQgetisnull(result, row, 1))
            return error_set(err, ERROR_CONFIG, "PublicationPartial",
                             "publication %s sends only some rows of %s, WHERE %.200s; take "
                             "the table out and add it again without WHERE",
                             postgres->spec->pg_publication, table->name,
                             PQgetvalue(result, row, 1));
    }
    return true;
}

/* Since 18 an old row that is sent whole must be sent with its generated columns. */
static bool sends_whole(const Postgres *postgres, const PgTable *table, Error *err)
{
    if (postgres->version < VERSION_SENDS_STORED || table->identity != 'f' ||
        !table->source->left_out)
        return true;
    return error_set(err, ERROR_CONFIG, "ReplicaIdentityGenerated",
                     "table %s has REPLICA IDENTITY FULL and generated columns that are not sent "
                     "(%.200s): to publish it would make the source's own UPDATE and DELETE fail; "
                     "ALTER TABLE %s REPLICA IDENTITY DEFAULT (with a primary key), or make the "
                     "columns STORED and ALTER PUBLICATION \"%s\" SET (publish_generated_columns "
                     "= stored), or exclude the table",
                     table->name, table->source->left_out, table->quoted,
                     postgres->spec->pg_publication);
}

static bool can_follow(const PgTable *table, Error *err)
{
    if (table->identity == 'f' || (table->identity != 'n' && table->source->schema->key_count))
        return true;
    return error_set(err, ERROR_CONFIG, "NoReplicaIdentity",
                     "table %s has no primary key: to publish it would make the source's own "
                     "UPDATE and DELETE fail; add a primary key, or ALTER TABLE %s REPLICA "
                     "IDENTITY FULL, or exclude the table",
                     table->name, table->quoted);
}

/* " TABLE ONLY a, ONLY b" of those that are not in; *ret_count of them. */
static bool list_missing(const Postgres *postgres, bool there, const bool *in, Bytes *to,
                         size_t *ret_count, Error *err)
{
    *ret_count = 0;
    for (size_t i = 0; i < postgres->table_count; i++) {
        const PgTable *table = &postgres->tables[i];
        if (in[i])
            continue;
        if (there && table->resumed)
            return error_set(err, ERROR_CONFIG, "Unpublished",
                             "table %s was taken out of publication %s, or was made anew under its "
                             "name: changes since are not in the log; load it again with "
                             "--resnapshot %s, or exclude it",
                             table->name, postgres->spec->pg_publication, table->name);
        if (!can_follow(table, err) || !sends_whole(postgres, table, err))
            return false;
        put_text(to, (*ret_count)++ ? ", " : " TABLE ");
        put_text(to, table->partitioned ? "" : "ONLY ");
        put_text(to, table->quoted);
    }
    bytes_put_u8(to, 0);
    return true;
}

static bool privilege_wrap(const Postgres *postgres, Error *err)
{
    if (!err || strcmp(err->code, "PrivilegeMissing") != 0)
        return error_wrap(err, "publication %s", postgres->spec->pg_publication);
    AUTO(mem_free) char *said = mem_strdup(err->message);
    return error_set(err, ERROR_CONFIG, "PrivilegeMissing",
                     "publication %s: %.200s; GRANT CREATE ON DATABASE \"%s\" TO \"%s\" and make "
                     "that role a member of the tables' owner, or have the owner make the "
                     "publication and set spec.source.postgresql.manage: false",
                     postgres->spec->pg_publication, said, postgres->spec->database,
                     postgres->spec->username);
}

static bool run(Postgres *postgres, const char *sql, Error *err)
{
    AUTO(result_clear)
    PGresult *result = connect_query(postgres->query, PGRES_COMMAND_OK, sql, err);
    return result ? true : privilege_wrap(postgres, err);
}

static bool create(Postgres *postgres, const char *tables, Error *err)
{
    AUTO(mem_free) char *name = connect_identifier(postgres->spec->pg_publication);
    AUTO(mem_free)
    char *sql = mem_format(
        "CREATE PUBLICATION %s FOR%s WITH "
        "(publish_via_partition_root = true%s)",
        name, tables,
        postgres->version >= VERSION_SENDS_STORED ? ", publish_generated_columns = stored" : "");
    return run(postgres, sql, err);
}

/* What a publication made by others must have. */
static bool check_settings(const Postgres *postgres, const PGresult *result, Error *err)
{
    const char *name = postgres->spec->pg_publication;
    static const char *const operations[] = {"insert", "update", "delete", "truncate"};
    for (int i = 0; i < 4; i++)
        if (PQgetvalue(result, 0, 1 + i)[0] != 't')
            return error_set(err, ERROR_CONFIG, "PublicationPartial",
                             "publication %s does not publish %s; ALTER PUBLICATION \"%s\" SET "
                             "(publish = 'insert, update, delete, truncate')",
                             name, operations[i], name);
    for (size_t i = 0; i < postgres->table_count; i++)
        if (postgres->tables[i].partitioned && PQgetvalue(result, 0, 5)[0] != 't')
            return error_set(err, ERROR_CONFIG, "PublicationPartial",
                             "publication %s sends the partitions of %s as tables of their own; "
                             "ALTER PUBLICATION \"%s\" SET (publish_via_partition_root = true)",
                             name, postgres->tables[i].name, name);
    return true;
}

/* Changes come as the published root's, with the old values that the partition's own replica
 * identity has: those that it lacks are null, or there are none at all. */
static bool check_partitions(Postgres *postgres, const PgTable *table, Error *err)
{
    static const char sql[] = "SELECT c.oid::pg_catalog.regclass FROM " LEAVES_SQL(
        "$1::oid") " p "
                   "JOIN pg_catalog.pg_class c ON c.oid = p.oid "
                   "JOIN pg_catalog.pg_class r ON r.oid = $1::oid "
                   "WHERE c.relreplident NOT IN ('f', r.relreplident) ORDER BY 1 LIMIT 1";
    char oid[16];
    snprintf(oid, sizeof oid, "%" PRIu32, table->oid);
    const char *values[] = {oid};
    AUTO(result_clear)
    PGresult *result = connect_query_with(postgres->query, PGRES_TUPLES_OK, sql, 1, values, err);
    if (!result)
        return error_wrap(err, "table %s", table->name);
    if (PQntuples(result) == 0)
        return true;
    const char *part = PQgetvalue(result, 0, 0);
    return error_set(
        err, ERROR_CONFIG, "ReplicaIdentityPartition",
        "table %s: its replica identity has what idColumns or keyColumns names, that of its "
        "partition %s may not; ALTER TABLE %s REPLICA IDENTITY FULL (a partition does "
        "not take it over from its table)",
        table->name, part, part);
}

/* What the table's rows are known by, beyond its key, has to be in the log of old rows. */
static bool check_identity(Postgres *postgres, const PgTable *table, Error *err)
{
    int field = table_beyond_key(table);
    if (field < 0)
        return true;
    if (table->identity != 'f')
        return error_set(err, ERROR_CONFIG, "ReplicaIdentity",
                         "table %s: its log does not have the old values of column %s, which "
                         "idColumns or keyColumns names; ALTER TABLE %s REPLICA IDENTITY FULL",
                         table->name, table->source->schema->fields[field].name, table->quoted);
    return !table->partitioned || check_partitions(postgres, table, err);
}

bool publication_prepare(Postgres *postgres, Error *err)
{
    for (size_t i = 0; i < postgres->table_count; i++)
        if (!check_identity(postgres, &postgres->tables[i], err))
            return false;
    const ConnectorSpec *spec = postgres->spec;
    AUTO(mem_free) char *literal = connect_literal(spec->pg_publication);
    AUTO(mem_free)
    char *sql =
        mem_format("SELECT puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot "
                   "FROM pg_catalog.pg_publication WHERE pubname = %s",
                   literal);
    AUTO(result_clear)
    PGresult *result = connect_query(postgres->query, PGRES_TUPLES_OK, sql, err);
    if (!result)
        return false;
    bool there = PQntuples(result) > 0;
    if (!there && !spec->pg_manage)
        return error_set(err, ERROR_CONFIG, "PublicationMissing",
                         "database %s has no publication %s and spec.source.postgresql.manage is "
                         "false; CREATE PUBLICATION \"%s\" FOR TABLE … WITH "
                         "(publish_via_partition_root = true), or set manage: true",
                         spec->database, spec->pg_publication, spec->pg_publication);
    if (there && !check_settings(postgres, result, err))
        return false;
    AUTO(mem_free) bool *in = mem_array(postgres->table_count, sizeof *in);
    AUTO(text_done) Bytes missing = {0};
    size_t count = 0;
    if (there && !read_members(postgres, literal, in, err))
        return false;
    if (!list_missing(postgres, there, in, &missing, &count, err))
        return false;
    const char *tables = (const char *)missing.data;
    if (!there)
        return create(postgres, tables, err);
    if (count == 0)
        return true;
    AUTO(mem_free) char *name = connect_identifier(spec->pg_publication);
    AUTO(mem_free) char *alter = mem_format("ALTER PUBLICATION %s ADD%s", name, tables);
    if (!spec->pg_manage)
        return error_set(err, ERROR_CONFIG, "NotPublished",
                         "publication %s lacks %zu of the chosen tables and "
                         "spec.source.postgresql.manage is false; %.300s",
                         spec->pg_publication, count, alter);
    return run(postgres, alter, err);
}
