/* Statements of the log that change tables: which tables, and what a catalog asked later does not
 * tell any more. No grammar of SQL: names where they stand in a statement, and the few clauses of
 * ALTER TABLE that rename a column or take rows away without a trace in the log. Pure. */
#pragma once

#include <stdlib.h>

#include "common/attrs.h"

typedef enum DdlKind {
    DDL_OTHER, /* nothing of tables that are there */
    DDL_CREATE,
    DDL_REPLACE, /* CREATE OR REPLACE */
    DDL_ALTER,
    DDL_TRUNCATE,
    DDL_DROP,
    DDL_RENAME,
    DDL_INDEX, /* one comes or goes */
    DDL_DROP_DATABASE,
} DdlKind;

typedef struct DdlTable {
    char *schema, *table;       /* of DROP DATABASE no table */
    char *to_schema, *to_table; /* its name from now on; NULL: the same */
} DdlTable;
typedef struct DdlColumn {
    char *from, *to;
} DdlColumn;

typedef struct Ddl {
    DdlKind kind;
    const char *text; /* the statement; not owned */
    size_t bytes;
    DdlTable *tables;
    size_t table_count;
    DdlColumn *columns; /* of ALTER: those that it renames */
    size_t column_count;
    bool moves_rows; /* of ALTER: whole partitions or files come or go */
} Ddl;

void ddl_done(Ddl *ddl);
/* schema: that unqualified names are of. *ret is the caller's to end. */
void ddl_read(const char *text, size_t bytes, const char *schema, size_t schema_bytes, Ddl *ret);
typedef enum DdlDefault {
    DDL_DEFAULT_ABSENT, /* it does not add such a column */
    DDL_DEFAULT_NONE,   /* also NULL */
    DDL_DEFAULT_LITERAL,
    DDL_DEFAULT_COMPUTED, /* an expression, a number of its own for each row, or generated */
} DdlDefault;
/* What the statement says of the default of a column that it adds. *ret: of a literal, its text
 * without quotes; the caller frees. */
DdlDefault ddl_default(const char *text, size_t bytes, const char *column, char **ret);
/* What the statement says of the type of a column: of one that it adds, or else of one that it
 * changes (MODIFY, or CHANGE to that name). */
typedef enum DdlTold {
    DDL_TYPE_NONE,    /* it does neither to such a column */
    DDL_TYPE_UNKNOWN, /* what it is hangs on more than the statement: NATIONAL, TEXT(1000), … */
    DDL_TYPE_TOLD,
} DdlTold;
typedef struct DdlType {
    char *words;      /* as the catalog says it: "decimal(10,2) unsigned"; owned */
    bool required;    /* NOT NULL */
    bool has_charset; /* it names a character set or a collation, which may be that of bytes */
} DdlType;
static inline void ddl_type_done_auto(DdlType *type)
{
    free(type->words);
}
DdlTold ddl_type(const char *text, size_t bytes, const char *column, bool added, DdlType *ret);
/* Does the statement take such a column away? */
bool ddl_drops(const char *text, size_t bytes, const char *column);
/* Does the statement add such a column, of that type? */
bool ddl_adds(const char *text, size_t bytes, const char *column, const char *type);
/* Does a name like this stand anywhere in the statement, but in a text? For statements that say how
 * rows change, instead of rows. */
bool ddl_names(const char *text, size_t bytes, const char *table);
