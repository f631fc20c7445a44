/* The table map that stands before rows in the log: which table, and how its columns' values are
 * written. With binlog_row_metadata=FULL it says all that a schema needs; with MINIMAL (MySQL's
 * default; MariaDB's is NO_LOG) neither names nor labels, and only that columns are unsigned.
 *
 *   table map   table id (6 bytes), uint16 flags, uint8 schema's bytes, schema, 0, the same of the
 *               table, packed count, a type per column, packed bytes of the types' metadata,
 *               metadata, bits of which may be null (the first column is the lowest bit), then
 *               fields: uint8 kind, packed bytes, content
 *   1 unsigned  a bit for each number (and YEAR), the first is the highest bit
 *   2 charset   packed collation of most columns of text, then pairs (number among those,
 * collation) 3 charsets  packed collation for each column of text 4 names     for each column
 * packed bytes and text 5, 6 labels of sets, of enums: for each such column packed count, and that
 * many packed texts 7 geometry  packed kind for each such column 8 key       packed columns; 9:
 * packed pairs (column, characters of its prefix or 0) 10, 11      as 2, 3 for enums and sets 12
 * visible  a bit for each column, the first is the highest 13 vectors  packed dimensions for each
 * vector
 *
 * MariaDB counts geometries among the columns of text, MySQL vectors.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Table__map__event.html
 */
#pragma once

#include "agent/capture/mysql/binlog.h"

typedef enum MyType {
    MY_DECIMAL_OLD = 0,
    MY_TINY = 1,
    MY_SHORT = 2,
    MY_LONG = 3,
    MY_FLOAT = 4,
    MY_DOUBLE = 5,
    MY_NULL = 6,
    MY_TIMESTAMP = 7,
    MY_LONGLONG = 8,
    MY_INT24 = 9,
    MY_DATE = 10,
    MY_TIME = 11,
    MY_DATETIME = 12,
    MY_YEAR = 13,
    MY_VARCHAR = 15,
    MY_BIT = 16,
    MY_TIMESTAMP2 = 17,
    MY_DATETIME2 = 18,
    MY_TIME2 = 19,
    MY_BLOB_COMPRESSED = 140, /* MariaDB's columns declared COMPRESSED */
    MY_VARCHAR_COMPRESSED = 141,
    MY_VECTOR = 242,
    MY_JSON = 245,
    MY_NEWDECIMAL = 246,
    MY_ENUM = 247,
    MY_SET = 248,
    MY_BLOB = 252,
    MY_VAR_STRING = 253,
    MY_STRING = 254,
    MY_GEOMETRY = 255,
} MyType;

#define COLLATION_BINARY 63
#define TABLE_COLUMNS_MAX 4096 /* the server's own limit */

/* What MariaDB has as columns of a type, and writes as BINARY: the catalog alone says it. */
typedef enum MySpecial {
    MY_SPECIAL_NONE,
    MY_SPECIAL_UUID,
    MY_SPECIAL_INET4,
    MY_SPECIAL_INET6
} MySpecial;

typedef struct MyColumn {
    uint8_t type; /* MyType; ENUM and SET, which the log writes as STRING, as themselves */
    bool nullable;
    bool is_unsigned;
    bool invisible;
    bool labels_utf8;         /* labels are in UTF-8 already, not in the column's character set */
    uint8_t special;          /* MySpecial */
    uint8_t precision, scale; /* NEWDECIMAL; scale: digits of a second's fraction */
    uint8_t length_bytes;     /* BLOB, JSON, GEOMETRY, VECTOR: of the length before a value */
    uint32_t bytes;           /* STRING, VARCHAR: at most; ENUM, SET: exactly; BIT: bits */
    uint32_t collation;       /* of text, ENUM and SET; 0: not said */
    const char *name;         /* NULL: not said */
    const char **labels;      /* of ENUM and SET, in their column's character set; NULL: not said */
    uint32_t *label_bytes;
    uint32_t label_count;
    uint32_t dimensions; /* of a VECTOR; 0: not said */
} MyColumn;

/* Owns all that it points to. */
typedef struct TableMap {
    uint64_t id;
    const char *schema_name, *table_name;
    MyColumn *columns;
    uint32_t column_count;
    uint32_t *key; /* columns of the primary key; only when the log says it */
    uint32_t key_count;
    bool key_prefixed; /* some of them only with their beginning */
    bool has_names, has_signs;
    struct Arena *arena;
    uint8_t *raw; /* the event's content, for table_map_same */
    size_t raw_bytes;
} TableMap;

void table_map_free(TableMap *map); /* NULL is fine */
/* DATA "BadEvent"; CONFIG "UnsupportedType" for a column that the log can't tell of. */
TableMap *table_map_read(const BinlogEvent *event, const BinlogFormat *format, Error *err)
    OWNED_BY(table_map_free);
/* Each transaction has its table maps, and they are nearly always as they were: is this the same
 * but for the number by which its rows name it? */
bool table_map_same(const TableMap *map, const BinlogEvent *event);
/* The number of the table, by which rows name it; false: there is none. */
MUST_CHECK bool table_map_id(const BinlogEvent *event, uint64_t *ret);

DEFINE_AUTO(TableMap, table_map_free);
