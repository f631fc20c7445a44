/* What may stand in the resources, as tables: one Field per name, with its kind, place in the C
 * struct, default and limits. The tables drive everything that goes field by field: reading,
 * defaults, unknown names and the nearest known one, copying, freeing. A CRD's schema can be
 * written from them as well.
 *
 * The C structs are flatter than the YAML: a Shape nested in YAML may write into the same struct
 * (offset 0), or into a struct inside it. */
#pragma once

#include "common/bytes.h"
#include "common/manifest/manifest.h"
#include "common/yaml.h"

typedef enum FieldKind {
    FIELD_TEXT,     /* char * */
    FIELD_BOOL,     /* bool */
    FIELD_INTEGER,  /* (u)int of `width` bytes, least to most */
    FIELD_ENUM,     /* an index into `choices`, `width` bytes */
    FIELD_DURATION, /* int64_t, milliseconds, least to most */
    FIELD_QUANTITY, /* uint64_t, bytes, least to most */
    FIELD_TEXTS,    /* TextList */
    FIELD_CODEC,    /* zstd:N; int */
    FIELD_OBJECTS,  /* ObjectList of structs of item_bytes, each read by `shape`; least (0 or 1) to
                       most of them, 0: any number */
    FIELD_OBJECT,   /* `shape`, written from `offset` on */
    FIELD_OWNED,    /* a pointer to a struct of its own: `shape`, `width` bytes */
    FIELD_ANY,      /* taken as it is and not read: what only Kubernetes needs */
    FIELD_LATER,    /* a name of the API that this version does not run: only `same` is taken */
} FieldKind;

typedef struct Choice {
    const char *name;
    bool later; /* of the API, but this version does not run it */
} Choice;

/* Looks at a text beyond its kind. False with what is wanted in *ret_wanted ("a name such as ...").
 */
typedef bool TextCheck(const char *text, const char **ret_wanted);

typedef struct Shape Shape;
typedef struct Field {
    const char *name;
    const char *doc; /* one sentence, as `kubectl explain` shows it */
    FieldKind kind;
    bool required;
    bool one_or_many; /* FIELD_TEXTS: a single text is a list of one */
    uint16_t offset;  /* FIELD_NOWHERE: checked, not kept */
    uint16_t width;
    const char *fallback; /* the value when it is left out, as it would be written; NULL: none */
    const char *same;     /* FIELD_LATER: what this version does anyway, or NULL */
    int64_t least, most;
    const Choice *choices; /* ends with a NULL name */
    const Shape *shape;
    size_t item_bytes; /* FIELD_OBJECTS */
    TextCheck *check;
} Field;

/* What every list of structs in manifest.h looks like. */
typedef struct ObjectList {
    void *items;
    size_t count;
} ObjectList;
#define FIELD_NOWHERE UINT16_MAX

struct Shape {
    const char *name;
    const Field *fields; /* ends with a NULL name */
};

/* Whole documents, metadata and spec. */
extern const Shape connector_shape;      /* into ConnectorSpec */
extern const Shape lake_table_shape;     /* into LakeTableSpec */
extern const Shape ingestion_unit_shape; /* into IngestionUnitSpec */
extern const Shape secret_shape;         /* metadata into ObjectMeta; the values by secret.c */

/* Where findings of one object go. */
typedef struct Report {
    Findings *findings;
    const char *file;
    const char *object; /* "Connector/shop" */
    const Shape *root;  /* the document's: where a name may stand that is wrong here; or NULL */
    Bytes path;         /* "spec.source", without a NUL */
} Report;

void report_done(Report *report);
/* A finding at the report's path, with "." and `below` behind it unless it is NULL. */
void report_at(Report *report, int line, const char *below, const char *format, ...) PRINTF(4, 5);
/* As report_at, with text_quote(value) in front of the message unless the value is NULL. */
void report_value(Report *report, int line, const char *below, const char *value,
                  const char *format, ...) PRINTF(5, 6);
void findings_sort(Findings *findings); /* by file, as they came, and line */

/* Sets every default of the shape in the struct at `base` (zeroed before). */
void shape_defaults(const Shape *shape, void *base);
/* Reads the mapping into the struct at `base`, which has its defaults. Everything wrong is a
 * finding; what is wrong keeps its default. */
void shape_read(const Shape *shape, void *base, const YamlNode *node, Report *report);
void shape_free(const Shape *shape, void *base); /* what is inside, not base */
/* Copies all that the shape knows into the zeroed struct at `to`. Texts go through `text`. */
typedef char *TextCopy(const char *text, void *context);
void shape_copy(const Shape *shape, void *to, const void *from, TextCopy *text, void *context);
