/* What a statement made of tables, as Debezium's schema-change records tell it (`tableChanges`): a
 * table's columns with the names and numbers that JDBC has for their types. */
#pragma once

#include "agent/record/statement.h"
#include "agent/topic/literal.h"

/* An array, for the field of that name. */
ConnectSchema table_changes_schema(Arena *arena, const char *field);
/* Its value; in the arena, and pointing into the statement. */
Literal table_changes(Arena *arena, const Statement *statement);
