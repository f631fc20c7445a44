/* See types.h. */
#include "agent/capture/postgres/types.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/ewkb.h"
#include "agent/capture/postgres/print.h"
#include "common/mem.h"

#define DEPTH_MAX 12 /* of types in types; Parquet's writer takes 16 */
#define MONEY_DIGITS 19
#define XID8_DIGITS 20

/* --- the table --- */

typedef struct TypeRow {
    uint32_t oid;          /* pg_type.dat; 0: by name */
    const char *extension; /* and its name there */
    const char *name;
    PgForm form;
    TypeKind kind;
} TypeRow;

/* Copied as they are, but for what has no send function: that with ::text. */
static const TypeRow rows[] = {
    {16, NULL, "bool", FORM_BOOL, TYPE_BOOL},
    {17, NULL, "bytea", FORM_BYTEA, TYPE_BINARY},
    {18, NULL, "char", FORM_CHAR, TYPE_STRING},
    {19, NULL, "name", FORM_TEXT, TYPE_STRING},
    {20, NULL, "int8", FORM_INT8, TYPE_INT64},
    {21, NULL, "int2", FORM_INT2, TYPE_INT32},
    {22, NULL, "int2vector", FORM_ARRAY, TYPE_LIST},
    {23, NULL, "int4", FORM_INT4, TYPE_INT32},
    {24, NULL, "regproc", FORM_REG, TYPE_INT64},
    {25, NULL, "text", FORM_TEXT, TYPE_STRING},
    {26, NULL, "oid", FORM_UINT4, TYPE_INT64},
    {27, NULL, "tid", FORM_TID, TYPE_STRING},
    {28, NULL, "xid", FORM_UINT4, TYPE_INT64},
    {29, NULL, "cid", FORM_UINT4, TYPE_INT64},
    {30, NULL, "oidvector", FORM_ARRAY, TYPE_LIST},
    {114, NULL, "json", FORM_TEXT, TYPE_STRING},
    {142, NULL, "xml", FORM_TEXT, TYPE_STRING},
    {600, NULL, "point", FORM_POINT, TYPE_STRING},
    {601, NULL, "lseg", FORM_LSEG, TYPE_STRING},
    {602, NULL, "path", FORM_PATH, TYPE_STRING},
    {603, NULL, "box", FORM_BOX, TYPE_STRING},
    {604, NULL, "polygon", FORM_POLYGON, TYPE_STRING},
    {628, NULL, "line", FORM_LINE, TYPE_STRING},
    {650, NULL, "cidr", FORM_CIDR, TYPE_STRING},
    {700, NULL, "float4", FORM_FLOAT4, TYPE_FLOAT32},
    {701, NULL, "float8", FORM_FLOAT8, TYPE_FLOAT64},
    {718, NULL, "circle", FORM_CIRCLE, TYPE_STRING},
    {774, NULL, "macaddr8", FORM_MACADDR8, TYPE_STRING},
    {790, NULL, "money", FORM_MONEY, TYPE_DECIMAL},
    {829, NULL, "macaddr", FORM_MACADDR, TYPE_STRING},
    {869, NULL, "inet", FORM_INET, TYPE_STRING},
    {1042, NULL, "bpchar", FORM_TEXT, TYPE_STRING},
    {1043, NULL, "varchar", FORM_TEXT, TYPE_STRING},
    {1082, NULL, "date", FORM_DATE, TYPE_DATE},
    {1083, NULL, "time", FORM_TIME, TYPE_TIME},
    {1114, NULL, "timestamp", FORM_TIMESTAMP, TYPE_TIMESTAMP},
    {1184, NULL, "timestamptz", FORM_TIMESTAMPTZ, TYPE_TIMESTAMPTZ},
    {1186, NULL, "interval", FORM_INTERVAL, TYPE_STRING},
    {1266, NULL, "timetz", FORM_TIMETZ, TYPE_STRING},
    {1560, NULL, "bit", FORM_BITS, TYPE_STRING},
    {1562, NULL, "varbit", FORM_BITS, TYPE_STRING},
    {1700, NULL, "numeric", FORM_DECIMAL, TYPE_DECIMAL}, /* or a string: choose_numeric */
    {1790, NULL, "refcursor", FORM_TEXT, TYPE_STRING},
    {2202, NULL, "regprocedure", FORM_REG, TYPE_INT64},
    {2203, NULL, "regoper", FORM_REG, TYPE_INT64},
    {2204, NULL, "regoperator", FORM_REG, TYPE_INT64},
    {2205, NULL, "regclass", FORM_REG, TYPE_INT64},
    {2206, NULL, "regtype", FORM_REG, TYPE_INT64},
    {2950, NULL, "uuid", FORM_UUID, TYPE_UUID},
    {2970, NULL, "txid_snapshot", FORM_SNAPSHOT, TYPE_STRING},
    {3220, NULL, "pg_lsn", FORM_LSN, TYPE_STRING},
    {3614, NULL, "tsvector", FORM_TSVECTOR, TYPE_STRING},
    {3615, NULL, "tsquery", FORM_TSQUERY, TYPE_STRING},
    {3734, NULL, "regconfig", FORM_REG, TYPE_INT64},
    {3769, NULL, "regdictionary", FORM_REG, TYPE_INT64},
    {3802, NULL, "jsonb", FORM_VERSIONED_TEXT, TYPE_STRING},
    {4072, NULL, "jsonpath", FORM_VERSIONED_TEXT, TYPE_STRING},
    {4089, NULL, "regnamespace", FORM_REG, TYPE_INT64},
    {4096, NULL, "regrole", FORM_REG, TYPE_INT64},
    {4191, NULL, "regcollation", FORM_REG, TYPE_INT64},
    {5038, NULL, "pg_snapshot", FORM_SNAPSHOT, TYPE_STRING},
    {5069, NULL, "xid8", FORM_UINT8, TYPE_DECIMAL},
    {0, "citext", "citext", FORM_TEXT, TYPE_STRING},
    {0, "hstore", "hstore", FORM_HSTORE, TYPE_MAP},
    {0, "ltree", "ltree", FORM_VERSIONED_TEXT, TYPE_STRING},
    {0, "ltree", "lquery", FORM_VERSIONED_TEXT, TYPE_STRING},
    {0, "ltree", "ltxtquery", FORM_VERSIONED_TEXT, TYPE_STRING},
    {0, "postgis", "geometry", FORM_EWKB, TYPE_BINARY},
    {0, "postgis", "geography", FORM_EWKB, TYPE_BINARY},
    {0, "vector", "vector", FORM_VECTOR, TYPE_LIST},
};

#define OID_INT2 21
#define OID_OID 26
#define OID_INT2VECTOR 22
#define OID_OIDVECTOR 30

static const TypeRow *row_of(uint32_t oid, const PgType *type)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].oid && rows[i].oid == oid)
            return &rows[i];
        if (type && rows[i].extension && strcmp(rows[i].extension, type->extension) == 0 &&
            strcmp(rows[i].name, type->name) == 0)
            return &rows[i];
    }
    return NULL;
}

/* --- choosing --- */

void decoder_done(PgDecoder *decoder)
{
    for (uint32_t i = 0; i < decoder->child_count; i++)
        decoder_done(&decoder->children[i]);
    free(decoder->children);
    decoder->children = NULL;
    decoder->child_count = 0;
}

static void children_new(PgDecoder *decoder, uint32_t count)
{
    decoder->children = mem_array(count, sizeof *decoder->children);
    decoder->child_count = count;
}

const PgType *types_find(const PgTypes *types, uint32_t oid)
{
    size_t from = 0, to = types ? types->count : 0;
    while (from < to) {
        size_t at = from + (to - from) / 2;
        if (types->types[at].oid == oid)
            return &types->types[at];
        if (types->types[at].oid < oid)
            from = at + 1;
        else
            to = at;
    }
    return NULL;
}

static Type decimal_type(unsigned precision, unsigned scale)
{
    return (Type){.kind = TYPE_DECIMAL, .precision = (uint8_t)precision, .scale = (uint8_t)scale};
}

static void choose_decimal(PgDecoder *ret, Type *ret_type, unsigned precision, unsigned scale)
{
    ret->form = FORM_DECIMAL;
    ret->precision = (uint8_t)precision;
    ret->scale = (uint8_t)scale;
    ret->limit = 1;
    for (unsigned digit = 0; digit < precision; digit++)
        ret->limit *= 10;
    *ret_type = decimal_type(precision, scale);
}

/* numeric's typmod: precision in the high half, scale in 11 bits with sign (negative since 15). */
static void choose_numeric(int32_t typmod, PgDecoder *ret, Type *ret_type)
{
    uint32_t packed = typmod < 4 ? 0 : (uint32_t)typmod - 4;
    int precision = (int)(packed >> 16);
    int scale = (int)((packed & 0x7ff) ^ 1024) - 1024;
    if (precision < 1 || precision > 38 || scale < 0 || scale > precision) {
        ret->form = FORM_NUMERIC_TEXT;
        *ret_type = (Type){.kind = TYPE_STRING};
        return;
    }
    choose_decimal(ret, ret_type, (unsigned)precision, (unsigned)scale);
}

static bool choose(const PgTypes *types, uint32_t oid, int32_t typmod, unsigned depth,
                   PgDecoder *ret, Type *ret_type);

static bool choose_list(const PgTypes *types, uint32_t element, int32_t typmod, unsigned depth,
                        PgDecoder *ret, Type *ret_type)
{
    const PgType *part = types_find(types, element);
    ret->form = FORM_ARRAY;
    ret->delimiter = part ? part->delimiter : ',';
    children_new(ret, 1);
    *ret_type = type_nested(TYPE_LIST, 0);
    return choose(types, element, typmod, depth + 1, &ret->children[0], &ret_type->element->type);
}

static bool has_name(const PgType *type, const Type *so_far, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < type->attribute_count; i++)
        if (!type->attributes[i].dropped && !type->attributes[i].gone &&
            strcmp(type->attributes[i].name, name) == 0)
            return true;
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(so_far->fields[i].name, name) == 0)
            return true;
    return false;
}

/* One that is gone makes room for a new one of its name. */
static char *field_name(const PgType *type, const PgAttribute *attribute, const Type *so_far,
                        uint32_t count)
{
    char *name = mem_strdup(attribute->name);
    while (attribute->gone && has_name(type, so_far, count, name)) {
        char *longer = mem_format("%s_%" PRId32, name, attribute->number);
        free(name);
        name = longer;
    }
    return name;
}

static bool choose_struct(const PgTypes *types, const PgType *type, unsigned depth, PgDecoder *ret,
                          Type *ret_type)
{
    uint32_t count = 0, field = 0;
    for (uint32_t i = 0; i < type->attribute_count; i++)
        count += !type->attributes[i].dropped;
    if (!count)
        return false;
    ret->form = FORM_COMPOSITE;
    children_new(ret, count);
    *ret_type = type_nested(TYPE_STRUCT, count);
    for (uint32_t i = 0; i < type->attribute_count; i++) {
        const PgAttribute *attribute = &type->attributes[i];
        if (attribute->dropped)
            continue;
        ret_type->fields[field].name = field_name(type, attribute, ret_type, field);
        ret_type->fields[field].origin = attribute->number;
        if (!choose(types, attribute->oid, attribute->typmod, depth + 1, &ret->children[field],
                    &ret_type->fields[field].type))
            return false;
        ret->children[field++].gone = attribute->gone;
    }
    return true;
}

/* Ranges: printed, so whatever is inside must be. */
static bool choose_range(const PgTypes *types, const PgType *type, unsigned depth, PgDecoder *ret,
                         Type *ret_type)
{
    ret->form = type->typtype == 'r' ? FORM_RANGE : FORM_MULTIRANGE;
    *ret_type = (Type){.kind = TYPE_STRING};
    children_new(ret, 1);
    Type part = {0};
    bool chosen = choose(types, type->part_oid, -1, depth + 1, &ret->children[0], &part);
    type_done(&part);
    return chosen && printable(ret);
}

static bool choose_row(const PgTypes *types, const TypeRow *row, int32_t typmod, unsigned depth,
                       PgDecoder *ret, Type *ret_type)
{
    ret->form = row->form;
    *ret_type = (Type){.kind = row->kind};
    switch (row->form) {
    case FORM_DECIMAL:
        choose_numeric(typmod, ret, ret_type);
        return true;
    case FORM_MONEY:
        *ret_type = decimal_type(MONEY_DIGITS, (unsigned)(types ? types->money_scale : 2));
        return true;
    case FORM_UINT8:
        *ret_type = decimal_type(XID8_DIGITS, 0);
        return true;
    case FORM_HSTORE:
        *ret_type = type_nested(TYPE_MAP, 0);
        ret_type->fields[0].type.kind = ret_type->fields[1].type.kind = TYPE_STRING;
        return true;
    case FORM_VECTOR:
        *ret_type = type_nested(TYPE_LIST, 0);
        ret_type->element->type.kind = TYPE_FLOAT32;
        return true;
    case FORM_ARRAY: /* int2vector, oidvector */
        ret->from_zero = true;
        return choose_list(types, row->oid == OID_INT2VECTOR ? OID_INT2 : OID_OID, -1, depth, ret,
                           ret_type);
    default:
        return true;
    }
}

static bool choose(const PgTypes *types, uint32_t oid, int32_t typmod, unsigned depth,
                   PgDecoder *ret, Type *ret_type)
{
    const PgType *type = types_find(types, oid);
    const TypeRow *row = row_of(oid, type);
    *ret = (PgDecoder){.type_oid = oid, .base_oid = oid};
    *ret_type = (Type){.kind = TYPE_STRING};
    if (depth > DEPTH_MAX)
        return false;
    if (row)
        return choose_row(types, row, typmod, depth, ret, ret_type);
    if (!type)
        return false;
    switch (type->typtype) {
    case 'e':
        ret->form = FORM_TEXT;
        return true;
    case 'd': {
        bool chosen = choose(types, type->part_oid, type->part_typmod, depth + 1, ret, ret_type);
        ret->type_oid = oid;
        ret->any_typmod = true;
        return chosen;
    }
    case 'c':
        return choose_struct(types, type, depth, ret, ret_type);
    case 'r':
    case 'm':
        return choose_range(types, type, depth, ret, ret_type);
    default:
        if (type->part_oid)
            return choose_list(types, type->part_oid, typmod, depth, ret, ret_type);
        /* Inside another value the server can't send it either. */
        ret->form = FORM_SERVER_TEXT;
        return !type->sendable && depth == 0;
    }
}

bool decoder_choose(const PgTypes *types, uint32_t oid, int32_t typmod, PgDecoder *ret,
                    Type *ret_type)
{
    return choose(types, oid, typmod, 0, ret, ret_type);
}

bool decoder_override(PgDecoder *decoder, Type *type, const Type *wanted)
{
    if (type_equal(type, wanted))
        return true;
    if (wanted->kind == TYPE_STRING && printable(decoder)) {
        PgDecoder value = *decoder;
        *decoder = (PgDecoder){.form = FORM_PRINTED,
                               .type_oid = value.type_oid,
                               .base_oid = value.base_oid,
                               .typmod = value.typmod,
                               .any_typmod = true};
        children_new(decoder, 1);
        decoder->children[0] = value;
        type_done(type);
        type->kind = TYPE_STRING;
        return true;
    }
    if (wanted->kind == TYPE_DECIMAL &&
        (decoder->form == FORM_DECIMAL || decoder->form == FORM_NUMERIC_TEXT)) {
        choose_decimal(decoder, type, wanted->precision, wanted->scale);
        decoder->any_typmod = true;
        return true;
    }
    return false;
}

char *decoder_doc(const PgDecoder *decoder, int32_t typmod, const char *comment)
{
    const PgDecoder *value = decoder->form == FORM_ARRAY ? &decoder->children[0] : decoder;
    if (value->form != FORM_EWKB)
        return comment ? mem_strdup(comment) : NULL;
    int32_t srid = ewkb_srid(typmod);
    AUTO(mem_free)
    char *says = srid ? mem_format("ISO WKB, SRID %" PRId32, srid)
                      : mem_strdup("ISO WKB; no SRID is declared, those of single values are left "
                                   "out");
    return comment ? mem_format("%s (%s)", comment, says) : mem_strdup(says);
}

bool decoder_same_typmod(const PgDecoder *decoder, int32_t typmod)
{
    if (decoder->form == FORM_ARRAY && !decoder->any_typmod)
        return decoder_same_typmod(&decoder->children[0], typmod);
    if (decoder->any_typmod ||
        (decoder->form != FORM_DECIMAL && decoder->form != FORM_NUMERIC_TEXT))
        return true;
    PgDecoder now = {0};
    Type type = {0};
    choose_numeric(typmod, &now, &type);
    return now.form == decoder->form && now.precision == decoder->precision &&
           now.scale == decoder->scale;
}

/* --- the catalog --- */

/* PgType.layout, of the columns typ… and att… alike. */
#define LAYOUT_SQL(c)                                                                              \
    "(" c "len::pg_catalog.int8 & 65535) * 65536 + " c "byval::pg_catalog.int4 * 512 + "           \
    "(" c "collation <> 0)::pg_catalog.int4 * 256 + pg_catalog.ascii(" c "align::pg_catalog.text)"
#define TYPE_LAYOUT LAYOUT_SQL("t.typ")
#define ATTRIBUTE_LAYOUT LAYOUT_SQL("a.att")

static const char types_sql[] =
    "WITH RECURSIVE needed(oid) AS ("
    "  SELECT pg_catalog.unnest($1::pg_catalog.oid[]) "
    "  UNION SELECT p.oid FROM needed n JOIN pg_catalog.pg_type t ON t.oid = n.oid, LATERAL ("
    "    SELECT t.typbasetype UNION ALL "
    "    SELECT t.typelem WHERE t.typcategory = 'A' AND t.typlen = -1 UNION ALL "
    "    SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid UNION ALL "
    "    SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid UNION ALL "
    "    SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE t.typtype = 'c' "
    "      AND a.attrelid = t.typrelid AND a.attnum > 0) p(oid) "
    "  WHERE p.oid <> 0) "
    "SELECT t.oid, t.typname, coalesce(x.extname, ''), t.typtype, t.typdelim, t.typsend <> 0, "
    "  CASE t.typtype WHEN 'd' THEN t.typbasetype "
    "    WHEN 'r' THEN (SELECT rngsubtype FROM pg_catalog.pg_range WHERE rngtypid = t.oid) "
    "    WHEN 'm' THEN (SELECT rngtypid FROM pg_catalog.pg_range WHERE rngmultitypid = t.oid) "
    "    ELSE CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem ELSE 0 END END, "
    "  t.typtypmod, a.attname, coalesce(a.atttypid, 0), coalesce(a.atttypmod, -1), "
    "  a.attnum, a.attisdropped, " TYPE_LAYOUT ", " ATTRIBUTE_LAYOUT " "
    "FROM needed JOIN pg_catalog.pg_type t USING (oid) "
    "LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass "
    "  AND d.objid = t.oid AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass "
    "  AND d.deptype = 'e' "
    "LEFT JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid "
    "LEFT JOIN pg_catalog.pg_attribute a ON t.typtype = 'c' AND a.attrelid = t.typrelid "
    "  AND a.attnum > 0 "
    "ORDER BY t.oid, a.attnum";

static uint32_t oid_at(const PGresult *result, int row, int column)
{
    return (uint32_t)strtoul(PQgetvalue(result, row, column), NULL, 10);
}

static int32_t typmod_at(const PGresult *result, int row, int column)
{
    return (int32_t)strtol(PQgetvalue(result, row, column), NULL, 10);
}

void type_attributes_free(PgType *type)
{
    for (uint32_t i = 0; i < type->attribute_count; i++)
        free(type->attributes[i].name);
    free(TAKE(type->attributes));
    type->attribute_count = 0;
}

void types_done(PgTypes *types)
{
    for (size_t i = 0; i < types->count; i++) {
        PgType *type = &types->types[i];
        type_attributes_free(type);
        free(type->name);
        free(type->extension);
    }
    free(types->types);
    *types = (PgTypes){0};
}

static void take_row(PgTypes *types, const PGresult *result, int row)
{
    uint32_t oid = oid_at(result, row, 0);
    ASSERT(types->types);
    PgType *type = types->count ? &types->types[types->count - 1] : NULL;
    if (!type || type->oid != oid) {
        type = &types->types[types->count++];
        *type = (PgType){.oid = oid,
                         .name = mem_strdup(PQgetvalue(result, row, 1)),
                         .extension = mem_strdup(PQgetvalue(result, row, 2)),
                         .typtype = PQgetvalue(result, row, 3)[0],
                         .delimiter = PQgetvalue(result, row, 4)[0],
                         .sendable = PQgetvalue(result, row, 5)[0] == 't',
                         .layout = oid_at(result, row, 13),
                         .part_oid = oid_at(result, row, 6),
                         .part_typmod = typmod_at(result, row, 7)};
    }
    if (PQgetisnull(result, row, 8))
        return;
    type->attributes =
        mem_regrow(type->attributes, type->attribute_count + 1, sizeof *type->attributes);
    type->attributes[type->attribute_count++] =
        (PgAttribute){.name = mem_strdup(PQgetvalue(result, row, 8)),
                      .oid = oid_at(result, row, 9),
                      .typmod = typmod_at(result, row, 10),
                      .number = typmod_at(result, row, 11),
                      .layout = oid_at(result, row, 14),
                      .dropped = PQgetvalue(result, row, 12)[0] == 't'};
    type->last_number = typmod_at(result, row, 11);
}

bool types_load(PgTypes *types, PGconn *connection, const char *oids, Error *err)
{
    const char *values[] = {oids};
    *types = (PgTypes){0};
    AUTO(result_clear)
    PGresult *result = connect_query_with(connection, PGRES_TUPLES_OK, types_sql, 1, values, err);
    if (!result)
        return false;
    types->types = mem_array((size_t)PQntuples(result), sizeof *types->types);
    for (int row = 0; row < PQntuples(result); row++)
        take_row(types, result, row);
    AUTO(mem_free)
    char *scale = connect_value(
        connection, "SELECT pg_catalog.scale(1::pg_catalog.money::pg_catalog.numeric)", err);
    if (!scale)
        return false;
    types->money_scale = (int)strtol(scale, NULL, 10);
    return true;
}
