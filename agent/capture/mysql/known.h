/* A table's columns as the server's catalog describes them, or as they were kept beside the lake's
 * table: what the log leaves out of its table maps (all of it without binlog_row_metadata=FULL; the
 * kinds of column that it writes as plain bytes in any case), and which column is which.
 *
 * A server numbers its columns by their place alone, so numbers of our own (origins) tell one from
 * another: a column keeps its origin while it keeps its name, or is renamed by a statement in the
 * log. Kept as JSON beside the lake's table:
 *
 *   {"last": 3, "key": [1], "columns": [[1, "id", "int unsigned", "", true], …]}
 *
 * per column: origin, name, type in the server's words, character set, NOT NULL. */
#pragma once

#include "agent/capture/mysql/charset.h"
#include "agent/capture/mysql/table_map.h"

typedef struct MyKnown {
    TableMap *map;         /* columns with names, signs, character sets and labels; the key */
    const char **types;    /* per column: "varchar(20)" */
    const char **charsets; /* per column: "latin1"; "": none */
    int32_t *origins;      /* per column */
    int32_t last;          /* the highest origin that there ever was */
} MyKnown;

void known_free(MyKnown *known); /* NULL is fine */
DEFINE_AUTO(MyKnown, known_free);

typedef struct KnownColumn {
    const char *name, *type, *charset;
    bool required;
    int32_t origin; /* 0: its place */
} KnownColumn;
/* CONFIG "UnsupportedType" for a type that is not known. */
MyKnown *known_new(const char *schema_name, const char *table_name, const KnownColumn *columns,
                   size_t count, const uint32_t *key, size_t key_count,
                   const Collations *collations, Error *err) OWNED_BY(known_free);
/* The text that is kept; the caller frees. */
char *known_format(const MyKnown *known) OWNED_BY(free);
/* CONFIG "BadColumns". */
MyKnown *known_parse(const char *text, const char *schema_name, const char *table_name,
                     const Collations *collations, Error *err) OWNED_BY(known_free);
int known_find(const MyKnown *known, const char *name); /* index, or -1 */

/* Can rows under a table map be those of a table with these columns? By what the map says. */
bool known_fits(const MyKnown *known, const TableMap *map);
/* Do all columns of a map have names that are known, so that rows can be told by them? */
bool known_covers(const MyKnown *known, const TableMap *map);
/* What the map leaves out is filled in, by name where it has names, else by place; what is filled
 * in is the known one's memory. */
void known_complete(const MyKnown *known, TableMap *map);

/* Is what a map says of a column what is known of it? */
bool my_column_is(const MyColumn *known, const MyColumn *seen, const TableMap *map);
/* Are two columns of the catalog's words of one type, whatever their character sets, lengths of
 * text and NOT NULL? */
bool my_column_alike(const MyColumn *a, const MyColumn *b);
/* The words for a column of a table map, which my_column_parse understands; in the arena. Lengths
 * of text are in bytes. */
char *my_column_format(const MyColumn *column, struct Arena *arena);
/* Pure: "decimal(10,2) unsigned" → a column, its labels in the arena. False: no type that is known.
 */
MUST_CHECK bool my_column_parse(const char *type, struct Arena *arena, MyColumn *ret);
