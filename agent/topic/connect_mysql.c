/* Which of MySQL's and MariaDB's types is which of Connect's, as Debezium 3.5 has it: see
 * connect_schema.h. Names are the catalog's first word of a type, with " unsigned" behind it where
 * it is; the word alone stands for both where they are the same. ENUM and SET are told by their
 * labels.
 */
#include <string.h>

#include "agent/topic/connect_types.h"

#define DECIMAL_NAME "org.apache.kafka.connect.data.Decimal"
#define POINT_NAME "io.debezium.data.geometry.Point"
#define GEOMETRY_NAME "io.debezium.data.geometry.Geometry"

static const TypeRow rows[] = {
    {"tinyint", TYPE_INT32, CONNECT_INT16, AS_INTEGER, NULL, false},
    {"smallint unsigned", TYPE_INT32, CONNECT_INT32, AS_INTEGER, NULL, false},
    {"smallint", TYPE_INT32, CONNECT_INT16, AS_INTEGER, NULL, false},
    {"mediumint", TYPE_INT32, CONNECT_INT32, AS_INTEGER, NULL, false},
    {"int", TYPE_INT32, CONNECT_INT32, AS_INTEGER, NULL, false},
    {"int unsigned", TYPE_INT64, CONNECT_INT64, AS_INTEGER, NULL, false},
    {"bigint", TYPE_INT64, CONNECT_INT64, AS_INTEGER, NULL, false},
    {"bigint unsigned", TYPE_DECIMAL, CONNECT_INT64, AS_DECIMAL_LONG, NULL, false},
    {"float", TYPE_FLOAT32, CONNECT_FLOAT, AS_REAL, NULL, false},
    {"double", TYPE_FLOAT64, CONNECT_DOUBLE, AS_REAL, NULL, false},
    {"decimal", TYPE_DECIMAL, CONNECT_BYTES, AS_DECIMAL_BYTES, DECIMAL_NAME, false},
    {"decimal", TYPE_STRING, CONNECT_BYTES, AS_NUMERIC_BYTES, DECIMAL_NAME, false},
    {"bit", TYPE_BOOL, CONNECT_BOOLEAN, AS_BOOLEAN, NULL, false},
    {"bit", TYPE_STRING, CONNECT_BYTES, AS_BITS, "io.debezium.data.Bits", false},
    {"year", TYPE_INT32, CONNECT_INT32, AS_INTEGER, "io.debezium.time.Year", false},
    {"date", TYPE_DATE, CONNECT_INT32, AS_INTEGER, "io.debezium.time.Date", false},
    {"time", TYPE_TIME, CONNECT_INT64, AS_MICROS, "io.debezium.time.MicroTime", false},
    {"datetime", TYPE_TIMESTAMP, CONNECT_INT64, AS_MICROS, "io.debezium.time.MicroTimestamp",
     false},
    {"timestamp", TYPE_TIMESTAMPTZ, CONNECT_STRING, AS_ZONED_TIMESTAMP,
     "io.debezium.time.ZonedTimestamp", false},
    {"char", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"varchar", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"tinytext", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"text", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"mediumtext", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"longtext", TYPE_STRING, CONNECT_STRING, AS_TEXT, NULL, false},
    {"binary", TYPE_BINARY, CONNECT_BYTES, AS_BINARY, NULL, false},
    {"varbinary", TYPE_BINARY, CONNECT_BYTES, AS_BINARY, NULL, false},
    {"tinyblob", TYPE_BINARY, CONNECT_BYTES, AS_BINARY, NULL, false},
    {"blob", TYPE_BINARY, CONNECT_BYTES, AS_BINARY, NULL, false},
    {"mediumblob", TYPE_BINARY, CONNECT_BYTES, AS_BINARY, NULL, false},
    {"longblob", TYPE_BINARY, CONNECT_BYTES, AS_BINARY, NULL, false},
    {"json", TYPE_STRING, CONNECT_STRING, AS_TEXT, "io.debezium.data.Json", false},
    {"point", TYPE_BINARY, CONNECT_STRUCT, AS_MYSQL_POINT, POINT_NAME, false},
    {"geometry", TYPE_BINARY, CONNECT_STRUCT, AS_MYSQL_GEOMETRY, GEOMETRY_NAME, false},
    {"linestring", TYPE_BINARY, CONNECT_STRUCT, AS_MYSQL_GEOMETRY, GEOMETRY_NAME, false},
    {"polygon", TYPE_BINARY, CONNECT_STRUCT, AS_MYSQL_GEOMETRY, GEOMETRY_NAME, false},
    {"multipoint", TYPE_BINARY, CONNECT_STRUCT, AS_MYSQL_GEOMETRY, GEOMETRY_NAME, false},
    {"multilinestring", TYPE_BINARY, CONNECT_STRUCT, AS_MYSQL_GEOMETRY, GEOMETRY_NAME, false},
    {"multipolygon", TYPE_BINARY, CONNECT_STRUCT, AS_MYSQL_GEOMETRY, GEOMETRY_NAME, false},
    {"geometrycollection", TYPE_BINARY, CONNECT_STRUCT, AS_MYSQL_GEOMETRY, GEOMETRY_NAME, false},
    {"geomcollection", TYPE_BINARY, CONNECT_STRUCT, AS_MYSQL_GEOMETRY, GEOMETRY_NAME, false},
    {"vector", TYPE_LIST, CONNECT_ARRAY, AS_ELEMENTS, "io.debezium.data.FloatVector", false},
    {"uuid", TYPE_UUID, CONNECT_STRING, AS_UUID_TEXT, "io.debezium.data.Uuid", false},
};

const TypeRow *connect_mysql_row(const char *source, TypeKind type)
{
    size_t word = strcspn(source, " ");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool is = strcmp(rows[i].source, source) == 0 ||
                  (strlen(rows[i].source) == word && strncmp(rows[i].source, source, word) == 0);
        if (is && rows[i].type == type)
            return &rows[i];
    }
    return NULL;
}
