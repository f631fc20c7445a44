/* The columns of the files in tests/golden/parquet, as KINDS of
 * tests/integration/parquet_engines.py has them. */
#pragma once

#include "agent/record/type.h"
#include "common/mem.h"

static Schema *golden_schema(void)
{
    static const char *const types[] = {
        "boolean", "int",          "int",           "long",          "long",           "float",
        "double",  "decimal(9,2)", "decimal(18,6)", "decimal(30,4)", "decimal(38,10)", "date",
        "time",    "timestamp",    "timestamptz",   "string",        "string",         "string",
        "binary",  "binary",       "uuid",          "fixed[7]",      "string",         "long",
    };
    size_t count = sizeof types / sizeof types[0];
    Schema *schema = schema_new(count, 0);
    for (size_t i = 0; i < count; i++) {
        Field *field = &schema->fields[i];
        *field = (Field){.id = (int32_t)i + 1, .name = mem_strdup("field")};
        ASSERT(type_parse(types[i], &field->type, NULL));
        if (i >= 22) {
            Field *element = mem_zalloc(sizeof *element);
            *element = (Field){.id = (int32_t)i + 1001, .name = mem_strdup("element")};
            element->type = field->type;
            field->type = (Type){.kind = TYPE_LIST, .element = element};
        }
    }
    return schema;
}
