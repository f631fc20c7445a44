/* The engine under the tables of fields.c: one walk through a mapping and its shape, reading each
 * value by its field's kind. */
#include "common/manifest/shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"
#include "common/text.h"

#define TEXT_BYTES_MAX 4096u
#define PATH_PART_BYTES_MAX 64u
#define NAMES_MAX 64u /* fields of a shape, choices of a field */

static void *place_of(const Field *field, void *base)
{
    return (char *)base + field->offset;
}

static const void *place_of_const(const Field *field, const void *base)
{
    return (const char *)base + field->offset;
}

/* --- the path --- */

static void path_add(Bytes *path, const char *name)
{
    if (path->used)
        bytes_put_u8(path, '.');
    for (size_t i = 0; i < PATH_PART_BYTES_MAX && name[i]; i++) {
        bool odd = (unsigned char)name[i] <= 0x20 || name[i] == 0x7f;
        bytes_put_u8(path, odd ? '?' : (uint8_t)name[i]);
    }
}

static void path_add_index(Bytes *path, size_t index)
{
    char text[32];
    int bytes = snprintf(text, sizeof text, "[%zu]", index);
    bytes_put(path, text, (size_t)bytes);
}

/* --- values --- */

static void number_store(void *at, size_t width, int64_t value)
{
    ASSERT(at && width <= sizeof value);
    memcpy(at, &value, width); /* little-endian */
}

static size_t choice_names(const Choice *choices, const char **names)
{
    size_t count = 0;
    for (; choices[count].name; count++) {
        ASSERT(count < NAMES_MAX);
        names[count] = choices[count].name;
    }
    return count;
}

/* "A, B or C", of what this version runs unless all. */
static void put_choices(Bytes *to, const Choice *choices)
{
    size_t count = 0, at = 0;
    for (const Choice *choice = choices; choice->name; choice++)
        count += !choice->later;
    for (const Choice *choice = choices; choice->name; choice++) {
        if (choice->later)
            continue;
        if (at)
            bytes_put(to, at + 1 == count ? " or " : ", ", at + 1 == count ? 4 : 2);
        bytes_put(to, choice->name, strlen(choice->name));
        at++;
    }
    bytes_put_u8(to, '\0');
}

static bool read_enum(const Field *field, void *at, const char *text, Report *report, int line)
{
    const char *names[NAMES_MAX];
    size_t count = choice_names(field->choices, names);
    Bytes run = {0};
    put_choices(&run, field->choices);
    bool good = false;
    size_t i = 0;
    while (i < count && strcmp(names[i], text) != 0)
        i++;
    if (i < count && !field->choices[i].later) {
        if (field->offset != FIELD_NOWHERE)
            number_store(at, field->width, (int64_t)i);
        good = true;
    } else if (i < count) {
        report_value(report, line, NULL, text, "is not supported yet by this version: write %s",
                     (char *)run.data);
    } else {
        const char *near = text_nearest(text, names, count);
        if (near)
            report_value(report, line, NULL, text, "is not one of %s: did you mean \"%s\"?",
                         (char *)run.data, near);
        else
            report_value(report, line, NULL, text, "is not one of %s", (char *)run.data);
    }
    bytes_done(&run);
    return good;
}

/* zstd:N. The other codecs of Parquet are names we know. */
static bool read_codec(const Field *field, void *at, const char *text, Report *report, int line)
{
    static const char *const others[] = {"snappy", "gzip",         "lz4", "lz4_raw",
                                         "brotli", "uncompressed", "none"};
    int64_t level;
    size_t letters = strcspn(text, ":");
    if (strncmp(text, "zstd:", 5) == 0 && text_integer_parse(text + 5, &level) && level >= 1 &&
        level <= 22) {
        number_store(at, field->width, level);
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (strlen(others[i]) == letters && strncmp(others[i], text, letters) == 0) {
            report_value(report, line, NULL, text,
                         "is not supported yet by this version: write zstd:3");
            return false;
        }
    }
    report_value(report, line, NULL, text, "is no codec: write zstd:N, N from 1 to 22");
    return false;
}

static bool read_range(const Field *field, int64_t value, const char *text, Report *report,
                       int line)
{
    if (value >= field->least && value <= field->most)
        return true;
    char least[32], most[32];
    if (field->kind == FIELD_DURATION) {
        text_duration_format(field->least, least, sizeof least);
        text_duration_format(field->most, most, sizeof most);
    } else if (field->kind == FIELD_QUANTITY) {
        text_quantity_format((uint64_t)field->least, least, sizeof least);
        text_quantity_format((uint64_t)field->most, most, sizeof most);
    } else {
        snprintf(least, sizeof least, "%lld", (long long)field->least);
        snprintf(most, sizeof most, "%lld", (long long)field->most);
    }
    report_value(report, line, NULL, text, "is out of range: write %s to %s", least, most);
    return false;
}

static bool read_text_value(const Field *field, const char *text, Report *report, int line)
{
    const char *wanted = NULL;
    if (!*text)
        report_at(report, line, NULL, "is empty: write a value or leave the field out");
    else if (strlen(text) > TEXT_BYTES_MAX)
        report_value(report, line, NULL, text, "is longer than %u bytes", TEXT_BYTES_MAX);
    else if (field->check && !field->check(text, &wanted))
        report_value(report, line, NULL, text, "is not %s", wanted);
    else
        return true;
    return false;
}

/* Reads what stands as text in `text` (from YAML, or a default) by the field's kind. */
static bool read_plain(const Field *field, void *base, const char *text, Report *report, int line)
{
    void *at = field->offset == FIELD_NOWHERE ? NULL : place_of(field, base);
    int64_t number;
    uint64_t quantity;
    switch (field->kind) {
    case FIELD_TEXT:
        if (!read_text_value(field, text, report, line))
            return false;
        if (at) {
            free(*(char **)at);
            *(char **)at = mem_strdup(text);
        }
        return true;
    case FIELD_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            report_value(report, line, NULL, text, "is neither true nor false");
            return false;
        }
        number_store(at, field->width, *text == 't');
        return true;
    case FIELD_ENUM:
        return read_enum(field, at, text, report, line);
    case FIELD_CODEC:
        return read_codec(field, at, text, report, line);
    case FIELD_DURATION:
        if (!text_duration_parse(text, &number)) {
            report_value(report, line, NULL, text,
                         "is no duration: write a number and its unit "
                         "(ms, s, m, h, d, y), such as 30s");
            return false;
        }
        if (!read_range(field, number, text, report, line))
            return false;
        number_store(at, field->width, number);
        return true;
    case FIELD_QUANTITY:
        if (!text_quantity_parse(text, &quantity)) {
            report_value(report, line, NULL, text,
                         "is no quantity: write bytes with a unit "
                         "(k, M, G, Ki, Mi, Gi), such as 64Mi");
            return false;
        }
        if (!read_range(field, (int64_t)quantity, text, report, line))
            return false;
        number_store(at, field->width, (int64_t)quantity);
        return true;
    case FIELD_INTEGER:
        if (!text_integer_parse(text, &number)) {
            report_value(report, line, NULL, text, "is no whole number");
            return false;
        }
        if (!read_range(field, number, text, report, line))
            return false;
        if (at)
            number_store(at, field->width, number);
        return true;
    case FIELD_TEXTS:
    case FIELD_OBJECTS:
    case FIELD_OBJECT:
    case FIELD_OWNED:
    case FIELD_ANY:
    case FIELD_LATER:
        break;
    }
    ASSERT(!"not a scalar kind");
    return false;
}

static const char *kind_name(const YamlNode *node)
{
    if (node->kind == YAML_LIST)
        return "a list";
    if (node->kind == YAML_MAP)
        return "a mapping";
    switch (yaml_type(node)) {
    case YAML_IS_NULL:
        return "null";
    case YAML_IS_BOOL:
        return "a boolean";
    case YAML_IS_NUMBER:
        return "a number";
    default:
        return "a text";
    }
}

/* Kubernetes looks at YAML's own types first: a text field takes no bare 123, a number no "123". */
static bool scalar_fits(const Field *field, const YamlNode *node, Report *report)
{
    if (node->kind != YAML_TEXT) {
        report_at(report, node->line, NULL, "must be a single value, not %s", kind_name(node));
        return false;
    }
    YamlType type = yaml_type(node);
    const char *wanted = NULL;
    if (field->kind == FIELD_INTEGER)
        wanted = type == YAML_IS_NUMBER ? NULL : "a whole number (without quotes)";
    else if (field->kind == FIELD_BOOL)
        wanted = type == YAML_IS_BOOL ? NULL : "true or false (without quotes)";
    else if (field->kind == FIELD_QUANTITY)
        wanted = type == YAML_IS_TEXT || type == YAML_IS_NUMBER ? NULL : "a quantity such as 64Mi";
    else if (field->kind == FIELD_DURATION)
        wanted = type == YAML_IS_TEXT ? NULL : "a duration: add its unit, such as 30s";
    else
        wanted = type == YAML_IS_TEXT ? NULL : "a text: put it in quotes";
    if (wanted)
        report_value(report, node->line, NULL, node->text, "is %s where there must be %s",
                     kind_name(node), wanted);
    return !wanted;
}

static void read_texts(const Field *field, void *base, const YamlNode *node, Report *report)
{
    const YamlNode *const *items = node->values;
    size_t count = node->count;
    if (field->one_or_many && node->kind == YAML_TEXT) {
        items = (const YamlNode *const *)&node;
        count = 1;
    } else if (node->kind != YAML_LIST) {
        report_at(report, node->line, NULL, "must be a list of texts, not %s", kind_name(node));
        return;
    }
    if (field->required && !count)
        report_at(report, node->line, NULL, "is an empty list: write at least one");
    TextList *list = place_of(field, base);
    list->texts = mem_array(count, sizeof *list->texts);
    size_t path_used = report->path.used;
    for (size_t i = 0; i < count; i++) {
        if (node->kind == YAML_LIST)
            path_add_index(&report->path, i);
        if (scalar_fits(field, items[i], report) &&
            read_text_value(field, items[i]->text, report, items[i]->line))
            list->texts[list->count++] = mem_strdup(items[i]->text);
        report->path.used = path_used;
    }
}

static bool is_nothing(const YamlNode *node)
{
    return node->kind == YAML_TEXT ? yaml_type(node) == YAML_IS_NULL : node->count == 0;
}

static void read_later(const Field *field, const YamlNode *node, Report *report)
{
    if (is_nothing(node))
        return;
    if (field->same && node->kind == YAML_TEXT && strcmp(node->text, field->same) == 0)
        return;
    if (field->same)
        report_at(report, node->line, NULL,
                  "%.*s is not supported yet by this version: leave it out, or write %s",
                  (int)report->path.used, (const char *)report->path.data, field->same);
    else
        report_at(report, node->line, NULL,
                  "%.*s is not supported yet by this version: leave it out", (int)report->path.used,
                  (const char *)report->path.data);
}

static void report_repeat(Report *report, const YamlNode *key)
{
    if (key->repeats)
        report_at(report, key->line, NULL, "stands twice: the first is on line %d", key->repeats);
}

/* Nobody reads it, but a key that stands twice is a slip everywhere. */
static void read_any(const YamlNode *node, Report *report)
{
    size_t path_used = report->path.used;
    for (size_t i = 0; i < node->count; i++) {
        if (node->kind == YAML_MAP) {
            path_add(&report->path, node->keys[i]->text);
            report_repeat(report, node->keys[i]);
        } else {
            path_add_index(&report->path, i);
        }
        read_any(node->values[i], report);
        report->path.used = path_used;
    }
}

static void read_objects(const Field *field, void *base, const YamlNode *node, Report *report)
{
    if (node->kind != YAML_LIST) {
        report_at(report, node->line, NULL, "must be a list, not %s", kind_name(node));
        return;
    }
    if ((int64_t)node->count < field->least)
        report_at(report, node->line, NULL, "is an empty list: write at least one");
    if (field->most && (int64_t)node->count > field->most) {
        report_at(report, node->line, NULL, "has %zu items: %lld is the most", node->count,
                  (long long)field->most);
        return;
    }
    ObjectList *list = place_of(field, base);
    list->items = mem_array(node->count, field->item_bytes);
    size_t path_used = report->path.used;
    for (size_t i = 0; i < node->count; i++) {
        void *item = (char *)list->items + list->count++ * field->item_bytes;
        path_add_index(&report->path, i);
        shape_defaults(field->shape, item);
        shape_read(field->shape, item, node->values[i], report);
        report->path.used = path_used;
    }
}

static void read_field(const Field *field, void *base, const YamlNode *node, Report *report)
{
    if (field->kind == FIELD_LATER) {
        read_later(field, node, report);
    } else if (field->kind == FIELD_ANY) {
        read_any(node, report);
    } else if (field->kind == FIELD_TEXTS) {
        read_texts(field, base, node, report);
    } else if (field->kind == FIELD_OBJECTS) {
        read_objects(field, base, node, report);
    } else if (field->kind == FIELD_OBJECT) {
        shape_read(field->shape, place_of(field, base), node, report);
    } else if (field->kind == FIELD_OWNED) {
        void *owned = mem_zalloc(field->width);
        *(void **)place_of(field, base) = owned;
        shape_defaults(field->shape, owned);
        shape_read(field->shape, owned, node, report);
    } else if (scalar_fits(field, node, report)) {
        /* What fails keeps its default. YAML's True and TRUE are true. */
        const char *text = node->text;
        if (field->kind == FIELD_BOOL && strcasecmp(text, "true") == 0)
            text = "true";
        else if (field->kind == FIELD_BOOL && strcasecmp(text, "false") == 0)
            text = "false";
        (void)read_plain(field, base, text, report, node->line);
    }
}

/* --- names --- */

static const Field *field_named(const Shape *shape, const char *name, size_t *ret_index)
{
    for (size_t i = 0; shape->fields[i].name; i++) {
        if (strcmp(shape->fields[i].name, name) == 0) {
            *ret_index = i;
            return &shape->fields[i];
        }
    }
    return NULL;
}

/* Appends where in the shape a field of that name stands. */
static bool find_elsewhere(const Shape *shape, const char *name, Bytes *path)
{
    size_t index, used = path->used;
    if (field_named(shape, name, &index)) {
        path_add(path, name);
        return true;
    }
    for (const Field *field = shape->fields; field->name; field++) {
        if (!field->shape)
            continue;
        path_add(path, field->name);
        if (find_elsewhere(field->shape, name, path))
            return true;
        path->used = used;
    }
    return false;
}

static void report_unknown(const Shape *shape, const YamlNode *key, Report *report)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (; shape->fields[count].name; count++) {
        ASSERT(count < NAMES_MAX);
        names[count] = shape->fields[count].name;
    }
    Bytes hint = {0};
    const char *near = text_nearest(key->text, names, count);
    if (near) {
        bytes_put(&hint, near, strlen(near));
    } else if (report->root && strcmp(key->text, "name") != 0 && strcmp(key->text, "key") != 0) {
        /* A name or a key may stand anywhere, so that says nothing. */
        (void)find_elsewhere(report->root, key->text, &hint);
    }
    if (hint.used) {
        report_value(report, key->line, NULL, key->text,
                     "is an unknown field: did you mean \"%.*s\"?", (int)hint.used,
                     (char *)hint.data);
    } else if (strcasestr(key->text, "passw")) {
        report_value(report, key->line, NULL, key->text,
                     "is an unknown field: passwords stand in a Secret that "
                     "credentialsSecretRef names");
    } else {
        for (size_t i = 0; i < count; i++) {
            if (i)
                bytes_put(&hint, ", ", 2);
            bytes_put(&hint, names[i], strlen(names[i]));
        }
        report_value(report, key->line, NULL, key->text, "is an unknown field: %s has %.*s",
                     shape->name, (int)hint.used, (char *)hint.data);
    }
    bytes_done(&hint);
}

void shape_read(const Shape *shape, void *base, const YamlNode *node, Report *report)
{
    bool seen[NAMES_MAX] = {false};
    if (node->kind != YAML_MAP) {
        /* The value is not quoted: it may be a password that stands in the wrong place. */
        report_at(report, node->line, NULL, "must be a mapping (field: value), not %s",
                  kind_name(node));
        return;
    }
    size_t path_used = report->path.used;
    for (size_t i = 0; i < node->count; i++) {
        size_t index;
        const YamlNode *key = node->keys[i], *value = node->values[i];
        const Field *field = field_named(shape, key->text, &index);
        path_add(&report->path, key->text);
        if (key->repeats) {
            report_repeat(report, key);
        } else if (!field) {
            report_unknown(shape, key, report);
        } else if (value->kind != YAML_TEXT || yaml_type(value) != YAML_IS_NULL) {
            seen[index] = true; /* null is as good as left out, as in Kubernetes */
            read_field(field, base, value, report);
        }
        report->path.used = path_used;
    }
    for (size_t i = 0; shape->fields[i].name; i++) {
        if (shape->fields[i].required && !seen[i])
            report_at(report, node->line, shape->fields[i].name, "%s is required: %s",
                      shape->fields[i].name, shape->fields[i].doc);
    }
}

/* --- defaults, copies, the end --- */

void shape_defaults(const Shape *shape, void *base)
{
    Report nobody = {0};
    for (const Field *field = shape->fields; field->name; field++) {
        if (field->kind == FIELD_OBJECT)
            shape_defaults(field->shape, place_of(field, base));
        else if (field->fallback)
            ASSERT(read_plain(field, base, field->fallback, &nobody, 0));
    }
}

static void texts_free(TextList *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->texts[i]);
    free(list->texts);
    *list = (TextList){0};
}

static void objects_free(const Field *field, ObjectList *list)
{
    for (size_t i = 0; i < list->count; i++)
        shape_free(field->shape, (char *)list->items + i * field->item_bytes);
    free(list->items);
    *list = (ObjectList){0};
}

void shape_free(const Shape *shape, void *base)
{
    for (const Field *field = shape->fields; field->name; field++) {
        if (field->offset == FIELD_NOWHERE)
            continue;
        void *at = place_of(field, base);
        if (field->kind == FIELD_TEXT) {
            free(*(char **)at);
            *(char **)at = NULL;
        } else if (field->kind == FIELD_TEXTS) {
            texts_free(at);
        } else if (field->kind == FIELD_OBJECTS) {
            objects_free(field, at);
        } else if (field->kind == FIELD_OBJECT) {
            shape_free(field->shape, at);
        } else if (field->kind == FIELD_OWNED && *(void **)at) {
            shape_free(field->shape, *(void **)at);
            free(*(void **)at);
            *(void **)at = NULL;
        }
    }
}

void shape_copy(const Shape *shape, void *to, const void *from, TextCopy *text, void *context)
{
    for (const Field *field = shape->fields; field->name; field++) {
        if (field->offset == FIELD_NOWHERE)
            continue;
        void *at = place_of(field, to);
        const void *source = place_of_const(field, from);
        if (field->kind == FIELD_TEXT) {
            const char *value = *(char *const *)source;
            *(char **)at = value ? text(value, context) : NULL;
        } else if (field->kind == FIELD_TEXTS) {
            const TextList *list = source;
            TextList *copy = at;
            copy->texts = mem_array(list->count, sizeof *copy->texts);
            for (; copy->count < list->count; copy->count++)
                copy->texts[copy->count] = text(list->texts[copy->count], context);
        } else if (field->kind == FIELD_OBJECTS) {
            const ObjectList *list = source;
            ObjectList *copy = at;
            copy->items = mem_array(list->count, field->item_bytes);
            for (; copy->count < list->count; copy->count++)
                shape_copy(field->shape, (char *)copy->items + copy->count * field->item_bytes,
                           (const char *)list->items + copy->count * field->item_bytes, text,
                           context);
        } else if (field->kind == FIELD_OBJECT) {
            shape_copy(field->shape, at, source, text, context);
        } else if (field->kind == FIELD_OWNED) {
            if (*(void *const *)source) {
                *(void **)at = mem_zalloc(field->width);
                shape_copy(field->shape, *(void **)at, *(void *const *)source, text, context);
            }
        } else if (field->width) {
            memcpy(at, source, field->width);
        }
    }
}
