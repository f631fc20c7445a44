#include "operator/cache/cache.h"
#include "operator/desired/desired.h"

static char *replaced(const char *text, const char *schema, const char *table)
{
    Bytes out = {0};
    while (*text) {
        const char *by = strncmp(text, "{schema}", 8) == 0  ? schema
                         : strncmp(text, "{table}", 7) == 0 ? table
                                                            : NULL;
        if (by) {
            bytes_put(&out, by, strlen(by));
            text += by == schema ? 8 : 7;
        } else {
            bytes_put_u8(&out, (uint8_t)*text++);
        }
    }
    bytes_put_u8(&out, '\0');
    return (char *)out.data;
}

static void fill(json_t *spec, const char *field, const char *fallback, const char *schema,
                 const char *table)
{
    const char *text = json_string_value(json_object_get(spec, field));
    if (!text)
        text = fallback;
    if (!text)
        return;
    AUTO(mem_free) char *filled = replaced(text, schema, table);
    json_object_set_new(spec, field, json_string(filled));
}

/* What stands in it for the source's names. */
static void fill_all(json_t *spec, const char *source, const char *dot)
{
    AUTO(mem_free) char *schema = mem_strndup(source, (size_t)(dot - source));
    fill(spec, "database", "{schema}", schema, dot + 1);
    fill(spec, "tableName", "{table}", schema, dot + 1);
    fill(spec, "location", NULL, schema, dot + 1);
    json_t *catalog = json_object_get(spec, "catalog");
    if (catalog)
        fill(catalog, "warehouse", NULL, schema, dot + 1);
}

bool unit_makes_table(const json_t *unit)
{
    return object_at(unit, "spec.outsourcingUnit.table") &&
           !object_at(unit, "spec.connectorRef.tables");
}

json_t *desired_lake_table(const json_t *unit)
{
    const char *source = object_text(unit, "spec.connectorRef.table");
    const char *dot = source ? strchr(source, '.') : NULL;
    if (!unit_makes_table(unit) || (source && !dot))
        return NULL;
    char label[NAME_BYTES_MAX];
    name_of_label(object_name(unit), label);
    json_t *labels = json_pack("{ss}", LABEL_UNIT, label);
    const char *pattern = object_label(unit, LABEL_PATTERN);
    if (pattern)
        json_object_set_new(labels, LABEL_PATTERN, json_string(pattern));
    json_t *table = child_object(KIND_LAKE_TABLE, unit, object_name(unit), labels);
    json_t *spec = json_deep_copy(object_at(unit, "spec.outsourcingUnit.table"));
    json_decref(labels);
    if (source)
        fill_all(spec, source, dot);
    json_object_set_new(table, "spec", spec);
    return table;
}
