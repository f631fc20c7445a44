#include "agent/event/plan.h"

#include <string.h>

#define SCHEMA_BYTES_MAX ((size_t)8 << 20)

void event_plan_done(EventPlan *plan)
{
    wire_schema_done(&plan->wire);
    *plan = (EventPlan){0};
}

static uint32_t place_of(const WireType *wire, const char *field)
{
    const WireType *found = wire ? wire_find(wire, field) : NULL;
    return found ? (uint32_t)(found - wire->children) : COLUMN_NONE;
}

/* {before, after, source, op, …} */
static bool find_parts(EventPlan *plan, Error *err)
{
    WireType *root = plan->wire.root;
    bool is_struct = root->kind == WIRE_STRUCT;
    plan->before_at = is_struct ? place_of(root, "before") : COLUMN_NONE;
    plan->after_at = is_struct ? place_of(root, "after") : COLUMN_NONE;
    plan->op_at = is_struct ? place_of(root, "op") : COLUMN_NONE;
    plan->source_at = is_struct ? place_of(root, "source") : COLUMN_NONE;
    if (plan->after_at == COLUMN_NONE || plan->op_at == COLUMN_NONE ||
        root->children[plan->after_at].kind != WIRE_STRUCT ||
        root->children[plan->op_at].kind != WIRE_STRING)
        return error_set(err, ERROR_CONFIG, "BadSchema",
                         "a record's schema is not that of Debezium's envelope: it has no struct "
                         "`after` and no text `op`");
    plan->envelope = root;
    plan->row = &root->children[plan->after_at];
    plan->before =
        plan->before_at != COLUMN_NONE && root->children[plan->before_at].kind == WIRE_STRUCT
            ? &root->children[plan->before_at]
            : NULL;
    const WireType *source =
        plan->source_at == COLUMN_NONE ? NULL : &root->children[plan->source_at];
    plan->ts_at = source && source->kind == WIRE_STRUCT ? place_of(source, "ts_ms") : COLUMN_NONE;
    if (plan->ts_at != COLUMN_NONE && source->children[plan->ts_at].kind != WIRE_LONG)
        plan->ts_at = COLUMN_NONE;
    return true;
}

/* The record is the row. */
static bool find_row(EventPlan *plan, Error *err)
{
    plan->row = plan->wire.root;
    return (plan->row->kind == WIRE_STRUCT && !plan->row->branch_count) ||
           error_set(err, ERROR_CONFIG, "BadSchema",
                     "a record's schema is not that of a row: it is no record with fields");
}

bool event_plan_declared(EventPlan *plan, const Schema *columns, const RecordsSpec *records,
                         Error *err)
{
    *plan = (EventPlan){0};
    if (!wire_from_columns(columns, records, &plan->wire, err))
        return false;
    plan->row = plan->wire.root;
    plan->before = records ? plan->row : NULL;
    return true;
}

bool event_plan_proto(EventPlan *plan, const WriterSchema *writer, const uint32_t *path,
                      size_t depth, Error *err)
{
    *plan = (EventPlan){0};
    if (!wire_from_proto(writer, path, depth, &plan->wire, err))
        return false;
    plan->row = plan->wire.root;
    return true;
}

bool event_plan_make(EventPlan *plan, bool avro, bool plain, const char *text, size_t bytes,
                     Error *err)
{
    *plan = (EventPlan){0};
    json_error_t where;
    if (bytes > SCHEMA_BYTES_MAX)
        return error_set(err, ERROR_CONFIG, "BadSchema",
                         "a record's schema has more than %zu bytes", SCHEMA_BYTES_MAX);
    json_t *json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    if (!json)
        return error_set(err, ERROR_CONFIG, "BadSchema", "a record's schema is no JSON: %.100s",
                         where.text);
    bool ok =
        avro ? wire_from_avro(json, &plan->wire, err) : wire_from_connect(json, &plan->wire, err);
    json_decref(json);
    if (ok && (plain ? find_row(plan, err) : find_parts(plan, err)))
        return true;
    event_plan_done(plan);
    return false;
}

/* Can the column hold what the writer's type has? */
static bool holds(const Type *column, const Type *writer)
{
    if (type_equal(column, writer))
        return true;
    switch (column->kind) {
    case TYPE_INT64:
        return writer->kind == TYPE_INT32;
    case TYPE_FLOAT64:
        return writer->kind == TYPE_FLOAT32;
    case TYPE_DECIMAL:
        return writer->kind == TYPE_DECIMAL && writer->scale == column->scale &&
               writer->precision <= column->precision;
    default:
        return false;
    }
}

static bool bind_row(WireType *row, const Schema *target)
{
    bool covers = true;
    for (uint32_t i = 0; row && i < row->child_count; i++) {
        WireType *field = &row->children[i];
        int at = schema_find(target, field->field);
        Type type;
        Error ignored = {0};
        if (!wire_type(field, &type, &ignored)) {
            field->column = COLUMN_NONE;
            covers = false;
            continue;
        }
        bool fits = at >= 0 && holds(&target->fields[at].type, &type);
        field->column = fits ? (uint32_t)at : COLUMN_NONE;
        covers = covers && fits;
        type_done(&type);
    }
    return covers;
}

void event_plan_bind(EventPlan *plan, const Schema *target)
{
    plan->covers = bind_row(plan->row, target);
    (void)bind_row(plan->before, target);
}

Schema *event_plan_schema(EventPlan *plan, char *const *keys, size_t key_count, Error *err)
{
    const WireType *row = plan->row;
    AUTO(schema_free) Schema *schema = schema_new(row->child_count, key_count);
    for (uint32_t i = 0; i < row->child_count; i++) {
        schema->fields[i].name = mem_strdup(row->children[i].field);
        if (!wire_type(&row->children[i], &schema->fields[i].type, err)) {
            error_wrap(err, "field %s", row->children[i].field);
            return NULL;
        }
    }
    for (size_t i = 0; i < key_count; i++) {
        int at = schema_find(schema, keys[i]);
        if (at < 0) {
            error_set(err, ERROR_CONFIG, "BadSchema",
                      "the records' key has a field %.100s that their values lack", keys[i]);
            return NULL;
        }
        schema->key[i] = (uint32_t)at;
        schema->fields[at].required = true;
    }
    return TAKE(schema);
}
