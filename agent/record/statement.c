/* See statement.h. */
#include "agent/record/statement.h"

#include <string.h>

#include "common/mem.h"

void statement_free(Statement *statement)
{
    if (!statement)
        return;
    arena_free(statement->arena);
    free(statement);
}

Statement *statement_new(const char *database, const char *text, size_t bytes, size_t tables)
{
    Statement *statement = mem_zalloc(sizeof *statement);
    Arena *arena = statement->arena = arena_new(4096);
    statement->database = arena_strndup(arena, database, strlen(database));
    statement->text = arena_strndup(arena, text, bytes);
    statement->tables = arena_take(arena, (tables + 1) * sizeof *statement->tables);
    return statement;
}
