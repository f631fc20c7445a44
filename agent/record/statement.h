/* A statement of the source's log that makes, changes or drops tables, and what these are behind
 * it: for receivers that pass it on (agent/topic). Everything lies in its arena. */
#pragma once

#include "common/arena.h"

typedef struct StatementColumn {
    const char *name;
    const char *type;               /* the server's words: "decimal(10,2) unsigned" */
    const char *charset;            /* NULL: it is no text */
    const char *default_expression; /* as SourceColumn's; NULL: none */
    bool required, incremented;     /* NOT NULL; AUTO_INCREMENT */
} StatementColumn;

typedef enum StatementKind {
    STATEMENT_CREATE,
    STATEMENT_ALTER,
    STATEMENT_DROP,
} StatementKind;

typedef struct StatementTable {
    StatementKind kind;
    const char *name;    /* behind the statement */
    const char *charset; /* of columns that name none; NULL: not known */
    bool described;      /* else it is gone, and there are no columns */
    StatementColumn *columns;
    size_t column_count;
    const char **key; /* columns of the primary key, in its order */
    size_t key_count;
} StatementTable;

typedef struct Statement {
    Arena *arena;
    const char *database;
    const char *text;       /* UTF-8 */
    StatementTable *tables; /* none: it leaves columns as they are (an index) */
    size_t table_count;
} Statement;
void statement_free(Statement *statement); /* NULL is fine */
/* text is copied; room for so many tables. */
Statement *statement_new(const char *database, const char *text, size_t bytes, size_t tables)
    OWNED_BY(statement_free);
DEFINE_AUTO(Statement, statement_free);
