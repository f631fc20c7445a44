/* What a registry keeps of the schema that a record was written with. */
#pragma once

#include <stddef.h>
#include <stdlib.h>

#include "common/mem.h"

typedef struct WriterImport {
    char *name, *text; /* "common/address.proto" */
} WriterImport;

/* Avro's JSON, or a .proto file with all that it imports, by one file or several. All owned. */
typedef struct WriterSchema {
    char *text;
    WriterImport *imports;
    size_t import_count;
} WriterSchema;

static inline void writer_schema_done(WriterSchema *schema)
{
    for (size_t i = 0; i < schema->import_count; i++) {
        free(schema->imports[i].name);
        free(schema->imports[i].text);
    }
    free(schema->imports);
    free(schema->text);
    *schema = (WriterSchema){0};
}
