/* A shape becomes a structural schema, field by field. A name that this version does not run is
 * there all the same, with its sentence, and refused by a rule that says so. */
#include <stdio.h>

#include "common/text.h"
#include "operator/crd/crd.h"

#define TEXT_BYTES_MAX 4096 /* as shape.c */
#define LIST_ITEMS_MAX 1000 /* of lists whose items have rules: what a rule may cost is counted */

/* Where the tables say no more than "for Kubernetes" or "later", the type is here: by the shape's
 * and the field's name. */
static const struct {
    const char *shape, *field, *type;
} types[] = {
    {"agent", "image", "string"},
    {"a Connector's spec", "piiColumns", "array"},
    {"a LakeTable's spec", "timestampColumns", "array"},
    {"a LakeTable's spec", "jsonColumns", "array"},
    {"a LakeTable's spec", "piiColumns", "array"},
    {"a LakeTable's spec", "sortBy", "strings"},
    {"a LakeTable's spec", "tags", "array"},
    {"an IngestionUnit's spec", "transforms", "array"},
    {"toTopic", "format", "string"},
    {"an event", "registrySubject", "string"},
};

/* Lists in which a text that stands twice is refused. */
static const struct {
    const char *shape, *field;
} sets[] = {
    {"a LakeTable's spec", "idColumns"},
    {"a LakeTable's spec", "partitionBy"},
    {"connectorRef", "tables"},
};

/* Defaults that must not be written into an object: that a field is there says something. */
static const struct {
    const char *shape, *field;
} silent[] = {{"security", "mechanism"},        {"security", "verifyHost"},
              {"metadata", "namespace"},        {"a topic's records", "time"},
              {"a topic's records", "decimal"}, {"a topic's records", "binary"}};

/* Of two fields one has to be there. No rule sees those that have no structural type. */
static const struct {
    const char *one, *other;
} either[] = {{"bootstrapServers", "strimzi"}, {"brokers", "r53"}};

static json_t *text_of(const char *text)
{
    json_t *value = json_string(text);
    ASSERT(value);
    return value;
}

static void set(json_t *schema, const char *key, json_t *value)
{
    ASSERT(value && json_object_set_new(schema, key, value) == 0);
}

static void set_type(json_t *schema, const char *type)
{
    set(schema, "type", text_of(type));
}

static void set_free_form(json_t *schema)
{
    set_type(schema, "object");
    set(schema, "x-kubernetes-preserve-unknown-fields", json_true());
}

/* --- one kind each --- */

static void put_text(json_t *schema, const Field *field)
{
    set_type(schema, "string");
    set(schema, "minLength", json_integer(1));
    set(schema, "maxLength", json_integer(TEXT_BYTES_MAX));
    rules_of_check(schema, field->check);
}

static void put_enum(json_t *schema, const Field *field)
{
    json_t *names = json_array();
    Bytes later = {0}, runs = {0};
    set_type(schema, "string");
    for (const Choice *choice = field->choices; choice->name; choice++) {
        json_array_append_new(names, text_of(choice->name));
        Bytes *to = choice->later ? &later : &runs;
        const char *between = !to->used ? "" : choice->later ? ", " : " or ";
        char item[96];
        int bytes =
            snprintf(item, sizeof item, choice->later ? "%s'%s'" : "%s%s", between, choice->name);
        bytes_put(to, item, (size_t)bytes);
    }
    set(schema, "enum", names);
    if (later.used) {
        AUTO(mem_free)
        char *rule = mem_format("!(self in [%.*s])", (int)later.used, (char *)later.data);
        AUTO(mem_free)
        char *message = mem_format("is not supported yet by this version: write %.*s",
                                   (int)runs.used, (char *)runs.data);
        rule_add(schema, rule, message);
    }
    bytes_done(&later);
    bytes_done(&runs);
}

static void put_duration(json_t *schema, const Field *field)
{
    char least[32], most[32];
    text_duration_format(field->least, least, sizeof least);
    text_duration_format(field->most, most, sizeof most);
    set_type(schema, "string");
    set(schema, "maxLength", json_integer(32));
    set(schema, "pattern",
        text_of("^([0-9]{1,12}y)?([0-9]{1,12}d)?([0-9]{1,12}h)?([0-9]{1,12}m)?([0-9]{1,12}s)?"
                "([0-9]{1,12}ms)?$"));
    AUTO(mem_free) char *ms = rules_duration_ms();
    AUTO(mem_free)
    char *rule = mem_format("[%s].all(ms, ms >= %lld && ms <= %lld)", ms, (long long)field->least,
                            (long long)field->most);
    AUTO(mem_free) char *message = mem_format("is out of range: write %s to %s", least, most);
    rule_add(schema, rule, message);
}

static void put_quantity(json_t *schema, const Field *field)
{
    char least[32], most[32];
    text_quantity_format((uint64_t)field->least, least, sizeof least);
    text_quantity_format((uint64_t)field->most, most, sizeof most);
    set(schema, "x-kubernetes-int-or-string", json_true());
    set(schema, "maxLength", json_integer(32));
    set(schema, "pattern", text_of("^[0-9]+(([.][0-9]+)?([kMGTP]|[KMGTP]i))?$"));
    AUTO(mem_free)
    char *rule =
        mem_format("type(self) == int ? self >= %lld && self <= %lld : isQuantity(self) && "
                   "quantity(self).compareTo(quantity('%s')) >= 0 && "
                   "quantity(self).compareTo(quantity('%s')) <= 0",
                   (long long)field->least, (long long)field->most, least, most);
    AUTO(mem_free) char *message = mem_format("is out of range: write %s to %s", least, most);
    rule_add(schema, rule, message);
}

static bool is_set(const Shape *shape, const Field *field)
{
    for (size_t i = 0; i < ARRAY_LEN(sets); i++)
        if (strcmp(sets[i].shape, shape->name) == 0 && strcmp(sets[i].field, field->name) == 0)
            return true;
    return false;
}

static void put_texts(json_t *schema, const Shape *shape, const Field *field)
{
    if (field->one_or_many) { /* a text or a list: no structural type says that */
        rules_of_check(schema, field->check);
        json_object_del(schema, "x-kubernetes-validations");
        set(schema, "x-kubernetes-preserve-unknown-fields", json_true());
        set(schema, "minLength", json_integer(1));
        if (field->required)
            set(schema, "minItems", json_integer(1));
        return;
    }
    json_t *items = json_object();
    put_text(items, field);
    set_type(schema, "array");
    if (field->required)
        set(schema, "minItems", json_integer(1));
    if (json_object_get(items, "x-kubernetes-validations"))
        set(schema, "maxItems", json_integer(LIST_ITEMS_MAX));
    set(schema, "items", items);
    set(schema, "x-kubernetes-list-type", text_of(is_set(shape, field) ? "set" : "atomic"));
}

static const char *type_told(const Shape *shape, const Field *field)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(types[i].shape, shape->name) == 0 && strcmp(types[i].field, field->name) == 0)
            return types[i].type;
    return NULL;
}

static void put_any(json_t *schema, const char *type)
{
    if (!type) {
        set_free_form(schema);
    } else if (strcmp(type, "string") == 0) {
        set_type(schema, "string");
        set(schema, "minLength", json_integer(1));
        set(schema, "maxLength", json_integer(TEXT_BYTES_MAX));
    } else {
        json_t *items = json_object();
        if (strcmp(type, "strings") == 0)
            set_type(items, "string");
        else
            set_free_form(items);
        set_type(schema, "array");
        set(schema, "items", items);
        set(schema, "x-kubernetes-list-type", text_of("atomic"));
    }
}

/* Only what this version does anyway may be written. */
static void put_later(json_t *schema, const Shape *shape, const Field *field)
{
    int64_t number;
    const char *type = type_told(shape, field);
    AUTO(mem_free) char *rule = NULL;
    AUTO(mem_free) char *message = NULL;
    if (field->same) {
        bool is_bool = strcmp(field->same, "false") == 0 || strcmp(field->same, "true") == 0;
        bool is_number = text_integer_parse(field->same, &number);
        set_type(schema, is_bool ? "boolean" : is_number ? "integer" : "string");
        if (is_number)
            set(schema, "format", text_of("int32"));
        const char *quote = is_bool || is_number ? "" : "'";
        set(schema, "default",
            is_bool     ? json_boolean(*field->same == 't')
            : is_number ? json_integer(number)
                        : text_of(field->same));
        rule = mem_format("self == %s%s%s", quote, field->same, quote);
        message = mem_format("is not supported yet by this version: leave it out, or write %s",
                             field->same);
    } else {
        put_any(schema, type);
        bool is_list = type && strcmp(type, "string") != 0; /* an empty one says nothing */
        rule = mem_strdup(is_list ? "self.size() == 0" : "false");
        message = mem_strdup("is not supported yet by this version: leave it out");
    }
    rule_add(schema, rule, message);
}

/* --- a field, a shape --- */

static json_t *default_of(const Field *field)
{
    switch (field->kind) {
    case FIELD_BOOL:
        return json_boolean(strcmp(field->fallback, "true") == 0);
    case FIELD_INTEGER:
        return json_integer(strtoll(field->fallback, NULL, 10));
    default:
        return text_of(field->fallback);
    }
}

static void put_field(json_t *schema, const Shape *shape, const Field *field)
{
    switch (field->kind) {
    case FIELD_TEXT:
        put_text(schema, field);
        break;
    case FIELD_BOOL:
        set_type(schema, "boolean");
        break;
    case FIELD_INTEGER:
        set_type(schema, "integer");
        set(schema, "format", text_of("int64"));
        set(schema, "minimum", json_integer(field->least));
        set(schema, "maximum", json_integer(field->most));
        break;
    case FIELD_ENUM:
        put_enum(schema, field);
        break;
    case FIELD_DURATION:
        put_duration(schema, field);
        break;
    case FIELD_QUANTITY:
        put_quantity(schema, field);
        break;
    case FIELD_TEXTS:
        put_texts(schema, shape, field);
        break;
    case FIELD_CODEC:
        set_type(schema, "string");
        set(schema, "pattern", text_of("^zstd:([1-9]|1[0-9]|2[0-2])$"));
        break;
    case FIELD_OBJECTS:
        set_type(schema, "array");
        if (field->least)
            set(schema, "minItems", json_integer(field->least));
        set(schema, "maxItems", json_integer(field->most ? field->most : LIST_ITEMS_MAX));
        set(schema, "items", schema_of_shape(field->shape));
        set(schema, "x-kubernetes-list-type", text_of("atomic"));
        break;
    case FIELD_OBJECT:
    case FIELD_OWNED: {
        json_t *inner = schema_of_shape(field->shape);
        json_object_update(schema, inner);
        json_decref(inner);
        break;
    }
    case FIELD_ANY:
        put_any(schema, type_told(shape, field));
        break;
    case FIELD_LATER:
        put_later(schema, shape, field);
        break;
    }
}

static bool is_silent(const Shape *shape, const Field *field)
{
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        if (strcmp(silent[i].shape, shape->name) == 0 && strcmp(silent[i].field, field->name) == 0)
            return true;
    return false;
}

json_t *schema_of_shape(const Shape *shape)
{
    json_t *schema = json_object(), *properties = json_object(), *required = json_array();
    set_type(schema, "object");
    for (const Field *field = shape->fields; field->name; field++) {
        json_t *property = json_object();
        set(property, "description", text_of(field->doc));
        put_field(property, shape, field);
        if (field->fallback && !is_silent(shape, field))
            set(property, "default", default_of(field));
        set(properties, field->name, property);
        if (field->required)
            json_array_append_new(required, text_of(field->name));
    }
    if (json_array_size(required))
        set(schema, "required", required);
    else
        json_decref(required);
    for (size_t i = 0; i < ARRAY_LEN(either); i++)
        if (json_object_get(properties, either[i].one))
            set(schema, "oneOf",
                json_pack("[{s:[s]},{s:[s]}]", "required", either[i].one, "required",
                          either[i].other));
    set(schema, "properties", properties);
    rules_of_shape(schema, shape);
    return schema;
}
