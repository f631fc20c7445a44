/* Between connect_schema.c and the tables of types. */
#pragma once

#include "agent/topic/connect_schema.h"

typedef struct TypeRow {
    const char *source; /* ColumnType.name */
    TypeKind type;      /* of the batch's column */
    ConnectKind kind;
    ValueForm form;
    const char *name; /* logical; its version is 1 */
    bool no_array;    /* arrays of it Debezium does not know */
} TypeRow;

/* NULL: not known. */
const TypeRow *connect_mysql_row(const char *source, TypeKind type);
