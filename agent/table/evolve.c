/* The table's columns follow the source's. What a column is called there for good (Field.origin)
 * and the id it has in the table stand together in the table property firn.columns.<unit>:
 *
 *   {"ids": {"<origin>": <field id>, …}, "source": <the source's columns in its own words>}
 *
 * set by the very commit that changes the schema and holds the first rows of the new one, so that a
 * restart binds the rows after its position to the right fields, whatever they are called by then.
 * Files written before the change and after it go into one commit: readers go by ids.
 *
 * https://iceberg.apache.org/spec/#schema-evolution, #default-values */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/table/table_private.h"
#include "common/json/text.h"
#include "common/mem.h"

/* ---------- the property ---------- */
bool binding_read(const Table *table, char **ret_shape, json_t **ret_ids, Error *err)
{
    *ret_shape = NULL;
    *ret_ids = NULL;
    const char *text = iceberg_property(table->iceberg, table->shape_property);
    if (!text)
        return true;
    json_t *json = json_loads(text, 0, NULL);
    json_t *ids = json_object_get(json, "ids"), *source = json_object_get(json, "source");
    bool ok = json_is_object(ids) && json_is_object(source);
    if (ok) {
        *ret_ids = json_incref(ids);
        *ret_shape = json_text(source, JSON_COMPACT);
    }
    json_decref(json);
    return ok || error_set(err, ERROR_CONFIG, "BadColumns",
                           "table %s.%s: property %s is not what Firn wrote; load the table again "
                           "with --resnapshot",
                           table->name.database, table->name.table, table->shape_property);
}

int32_t binding_id(const json_t *ids, int32_t origin)
{
    char key[16];
    snprintf(key, sizeof key, "%" PRId32, origin);
    return origin ? (int32_t)json_integer_value(json_object_get(ids, key)) : 0;
}

void binding_write(Table *table)
{
    if (!table->shape)
        return;
    json_t *source = json_loads(table->shape, 0, NULL), *ids = json_object();
    ASSERT(source);
    for (size_t i = 0; i < table->schema->field_count; i++) {
        uint32_t from = table->source_of[i];
        char key[16];
        if (from >= table->source->field_count)
            continue;
        snprintf(key, sizeof key, "%" PRId32, table->source->fields[from].origin);
        json_object_set_new(ids, key, json_integer(table->schema->fields[i].id));
    }
    json_t *json = json_pack("{s:o,s:o}", "ids", ids, "source", source);
    free(table->shape_value);
    table->shape_value = json_text(json, JSON_COMPACT);
    json_decref(json);
    const char *there = iceberg_property(table->iceberg, table->shape_property);
    table->shape_due = !there || strcmp(there, table->shape_value) != 0;
}

/* ---------- what the catalog has ---------- */
void table_shape_settled(Table *table)
{
    free(table->base_json);
    table->base_json = mem_strdup(iceberg_schema_json(table->iceberg));
    table->base_last_column_id = iceberg_last_column_id(table->iceberg);
    table->evolved = table->shape_due = false;
}

/* As far as rows go; a catalog may write the same schema in other words. */
static bool same_columns(const Schema *a, const Schema *b)
{
    if (a->field_count != b->field_count)
        return false;
    for (size_t i = 0; i < a->field_count; i++)
        if (a->fields[i].id != b->fields[i].id || a->fields[i].required != b->fields[i].required ||
            strcmp(a->fields[i].name, b->fields[i].name) != 0 ||
            !type_equal(&a->fields[i].type, &b->fields[i].type))
            return false;
    return true;
}

bool table_shape_stands(const Table *table)
{
    const IcebergTable *now = table->iceberg;
    if (strcmp(iceberg_schema_json(now), table->base_json) == 0 &&
        (!table->evolved || iceberg_last_column_id(now) == table->base_last_column_id))
        return true;
    /* or a commit of ours, of which no answer came, has brought them */
    return table->evolved && table->pending.attempt &&
           same_columns(iceberg_schema(now), table->schema);
}

/* ---------- the next schema ---------- */
typedef struct Plan {
    const Table *table;
    const Schema *wanted; /* the source's columns, and in Append two more */
    const Schema *before; /* the source's columns until now; NULL: everything is copied again */
    json_t *ids;          /* then: the ids by the source's origins, or NULL */
    int *place;           /* per wanted field: the table's column now, -1: a new one */
    bool *bound;          /* per column of the table */
    Schema *schema;       /* what it becomes; owned */
    uint32_t *source_of;  /* owned */
    int32_t last_id;
    bool changed;
} Plan;

static void plan_done(Plan *plan)
{
    free(plan->place);
    free(plan->bound);
    free(plan->source_of);
    schema_free(plan->schema);
}

static bool incompatible(const Plan *plan, const char *column, const char *what, Error *err)
{
    const Table *table = plan->table;
    bool stalls = table->spec->incompatible == INCOMPATIBLE_STALL;
    return error_set(err, ERROR_CONFIG, "SchemaIncompatible", "table %s.%s, column %s: %s%s",
                     table->name.database, table->name.table, column, what,
                     stalls ? ". Nothing is lost: the source keeps the changes. Load the table "
                              "again with --resnapshot, or leave it out"
                            : "");
}

/* A struct's field by what the source calls it for good; -1: none. */
static int find_origin(const Type *type, int32_t origin)
{
    for (uint32_t i = 0; origin && i < type->field_count; i++)
        if (type->fields[i].origin == origin)
            return (int)i;
    return -1;
}

/* https://iceberg.apache.org/spec/#schema-evolution, of which date to timestamp is left out: the
 * source's values are not of that kind */
static bool is_wider(const Type *from, const Type *to)
{
    return (from->kind == TYPE_INT32 && to->kind == TYPE_INT64) ||
           (from->kind == TYPE_FLOAT32 && to->kind == TYPE_FLOAT64) ||
           (from->kind == TYPE_DECIMAL && to->kind == TYPE_DECIMAL && from->scale == to->scale &&
            from->precision < to->precision);
}

static bool is_partitioned_by(const Table *table, int32_t id)
{
    for (size_t i = 0; i < table->partitions.field_count; i++)
        if (table->partitions.fields[i].source_id == id &&
            table->partitions.fields[i].transform != TRANSFORM_VOID)
            return true;
    return false;
}

/* Can what the table has below a column become what is wanted, by the source's own names? As the
 * source had it until now it is the table's, field by field. */
static bool can_follow(const Type *have, const Type *before, const Type *want)
{
    uint32_t children = type_child_count(have);
    if (have->kind != want->kind || before->kind != have->kind ||
        type_child_count(before) != children)
        return false;
    if (!children)
        return type_equal(have, want);
    if (have->kind != TYPE_STRUCT) {
        for (uint32_t i = 0; i < children; i++)
            if (!can_follow(&have->fields[i].type, &before->fields[i].type, &want->fields[i].type))
                return false;
        return true;
    }
    bool numbered = false; /* so that all of them may have gone */
    for (uint32_t i = 0; i < want->field_count; i++) {
        int at = find_origin(before, want->fields[i].origin);
        numbered |= want->fields[i].origin != 0;
        if (at >= 0 &&
            !can_follow(&have->fields[at].type, &before->fields[at].type, &want->fields[i].type))
            return false;
    }
    return numbered || type_equal(have, want);
}

static int find_name(const Type *type, const char *name)
{
    for (uint32_t i = 0; i < type_child_count(type); i++)
        if (strcmp(type->fields[i].name, name) == 0)
            return (int)i;
    return -1;
}

static int child_of_name(const Type *type, const Type *other, uint32_t child)
{
    return other->kind == TYPE_STRUCT ? find_name(type, other->fields[child].name) : (int)child;
}

/* Which field below `have` the wanted one is; -1: it has come. An attribute is known by what the
 * source calls it for good; one that it calls nothing (of topics), and where before is NULL, by its
 * name. */
static int place_below(const Type *have, const Type *before, const Type *want, uint32_t child)
{
    bool by_origin = before && want->kind == TYPE_STRUCT && want->fields[child].origin;
    return by_origin ? find_origin(before, want->fields[child].origin)
                     : child_of_name(have, want, child);
}

/* The wanted type with the table's ids, and new ones for what has come. */
static void follow_type(Plan *plan, Type *to, const Type *have, const Type *before)
{
    for (uint32_t i = 0; i < type_child_count(to); i++) {
        Field *field = &to->fields[i];
        int at = place_below(have, before, to, i);
        field->origin = 0;
        field->required = at >= 0 && have->fields[at].required;
        if (at >= 0) {
            field->id = have->fields[at].id;
            free(field->doc);
            field->doc = have->fields[at].doc ? mem_strdup(have->fields[at].doc) : NULL;
            follow_type(plan, &field->type, &have->fields[at].type,
                        before ? &before->fields[at].type : NULL);
        } else {
            field->id = ++plan->last_id;
            type_assign_ids(&field->type, &plan->last_id);
        }
    }
}

/* Has anything below a column come that was not there? */
static bool has_more(const Type *before, const Type *want)
{
    for (uint32_t i = 0; i < type_child_count(want); i++) {
        int at = place_below(before, before, want, i);
        if (at < 0 || has_more(&before->fields[at].type, &want->fields[i].type))
            return true;
    }
    return false;
}

/* Is it the same with attributes added, by their names? All that is known of a table that is copied
 * again. */
static bool can_grow(const Type *have, const Type *want)
{
    if (type_equal(have, want))
        return true;
    if (have->kind != want->kind || !type_is_nested(have))
        return false;
    for (uint32_t i = 0; i < type_child_count(have); i++) {
        int at = child_of_name(want, have, i);
        if (at < 0 || !can_grow(&have->fields[i].type, &want->fields[at].type))
            return false;
    }
    return true;
}

static bool can_become(const Plan *plan, const Field *have, const Field *before, const Field *want)
{
    if (type_is_nested(&have->type))
        return before ? can_follow(&have->type, &before->type, &want->type)
                      : can_grow(&have->type, &want->type);
    return type_equal(&have->type, &want->type) ||
           (is_wider(&have->type, &want->type) && !is_partitioned_by(plan->table, have->id) &&
            (plan->table->spec->widen_types || !plan->before));
}

static bool has_id(json_t *ids, int32_t id)
{
    const char *key;
    json_t *each;
    json_object_foreach(ids, key, each)
    {
        if (json_integer_value(each) == id)
            return true;
    }
    return false;
}

/* For a table that is copied again: the one of the id that is known of it; of an unknown one, the
 * name's, unless that is another column's. */
static bool is_place_anew(const Plan *plan, const Field *have, const Field *want)
{
    int32_t id = binding_id(plan->ids, want->origin);
    bool is_it =
        id ? have->id == id : strcmp(have->name, want->name) == 0 && !has_id(plan->ids, have->id);
    return is_it && can_become(plan, have, NULL, want);
}

/* Is the wanted column the table's? As bound until now. */
static bool is_place(const Plan *plan, size_t at, const Field *want)
{
    const Table *table = plan->table;
    uint32_t source = table->source_of[at];
    if (source < plan->before->field_count) {
        int32_t origin = plan->before->fields[source].origin;
        return origin && origin == want->origin;
    }
    bool own = source == COLUMN_OP || source == COLUMN_POSITION;
    return own && !want->origin && strcmp(table->schema->fields[at].name, want->name) == 0;
}

/* Which of the table's columns each wanted one is. */
static void find_places(Plan *plan)
{
    const Schema *have = plan->table->schema;
    for (size_t i = 0; i < plan->wanted->field_count; i++) {
        const Field *want = &plan->wanted->fields[i];
        plan->place[i] = -1;
        for (size_t at = 0; at < have->field_count && plan->place[i] < 0; at++)
            if (plan->before ? is_place(plan, at, want)
                             : is_place_anew(plan, &have->fields[at], want))
                plan->place[i] = (int)at;
        if (plan->place[i] >= 0)
            plan->bound[plan->place[i]] = true;
    }
}

static const Field *field_before(const Plan *plan, int place)
{
    uint32_t source = plan->before ? plan->table->source_of[place] : UINT32_MAX;
    return plan->before && source < plan->before->field_count ? &plan->before->fields[source]
                                                              : NULL;
}

static void rename_field(Plan *plan, Field *field, char *name)
{
    free(field->name);
    field->name = name;
    plan->changed = true;
}

/* A column that stays the source's. */
static bool follow_field(Plan *plan, Field *field, int place, const Field *want, bool is_key,
                         Error *err)
{
    char text[2 * TYPE_NAME_BYTES + 80], a[TYPE_NAME_BYTES], b[TYPE_NAME_BYTES];
    const Field *before = field_before(plan, place);
    if (!can_become(plan, field, before, want)) {
        snprintf(text, sizeof text, "its type %s becomes %s at the source%s",
                 type_format(&field->type, a), type_format(&want->type, b),
                 !is_wider(&field->type, &want->type) ? ""
                 : plan->table->spec->widen_types     ? ", and the table is partitioned by it"
                                                      : ", and widenTypes is false");
        return incompatible(plan, want->name, text, err);
    }
    bool nested = before && type_is_nested(&field->type);
    if (nested && has_more(&before->type, &want->type) && !plan->table->spec->add_columns)
        return incompatible(plan, want->name,
                            "the source added an attribute to its type, and addColumns is false",
                            err);
    if (!type_equal(&field->type, &want->type) ||
        (nested && has_more(&before->type, &want->type))) {
        Field next;
        field_copy(&next, want);
        follow_type(plan, &next.type, &field->type, nested ? &before->type : NULL);
        type_done(&field->type);
        field->type = next.type;
        next.type = (Type){0};
        field_done(&next);
        plan->changed = true;
    }
    if ((!before || strcmp(before->name, want->name) != 0) && strcmp(field->name, want->name) != 0)
        rename_field(plan, field, mem_strdup(want->name));
    bool required = is_key || (field->required && want->required);
    plan->changed |= required != field->required;
    field->required = required;
    if (want->doc && (!field->doc || strcmp(field->doc, want->doc) != 0)) {
        free(field->doc);
        field->doc = mem_strdup(want->doc);
        plan->changed = true;
    }
    return true;
}

/* A column that the source no longer has, or never had. */
static bool keep_field(Plan *plan, int place, bool *ret_goes, Error *err)
{
    const Field *have = &plan->table->schema->fields[place];
    bool dropped = !plan->before || field_before(plan, place) != NULL;
    bool ever = plan->before || iceberg_current_snapshot(plan->table->iceberg) >= 0;
    *ret_goes = dropped && plan->table->spec->dropped_columns == DROPPED_DROP;
    if (!ever && !is_partitioned_by(plan->table, have->id))
        *ret_goes = true; /* no row was ever there */
    if (*ret_goes && is_partitioned_by(plan->table, have->id))
        return incompatible(plan, have->name,
                            "the source dropped it, and the table is partitioned by it; "
                            "droppedColumns: Keep keeps it",
                            err);
    return true;
}

static bool add_field(Plan *plan, Field *field, const Field *want, bool is_key, Error *err)
{
    const Table *table = plan->table;
    if (plan->before && !table->spec->add_columns)
        return incompatible(plan, want->name, "the source added it, and addColumns is false", err);
    field_copy(field, want);
    field->origin = 0;
    field->id = ++plan->last_id;
    field->required = is_key || want->required;
    if (plan->before)
        field->required = false;
    free(field->initial);
    field->initial = NULL;
    plan->changed = true;
    bool rows = table_head_total(table, "total-records") || table->pending_rows;
    if (!plan->before || !want->initial || !rows)
        return true;
    if (table->spec->format_version < 3)
        return incompatible(plan, want->name,
                            "the source added it with a default, which the rows that were there "
                            "have too; format version 2 can't say so (formatVersion: 3 can)",
                            err);
    field->initial = mem_strdup(want->initial);
    return true;
}

static int find_id(const Schema *schema, int32_t id)
{
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].id == id)
            return (int)i;
    return -1;
}

/* No two columns share a name: one that only the table has makes room. */
static void make_names_differ(Plan *plan)
{
    Schema *schema = plan->schema;
    for (size_t i = 0; i < schema->field_count; i++) {
        if (plan->source_of[i] != COLUMN_ABSENT)
            continue;
        for (size_t k = 0; k < schema->field_count; k++)
            if (k != i && strcmp(schema->fields[k].name, schema->fields[i].name) == 0) {
                char *name =
                    mem_format("%s_%" PRId32, schema->fields[i].name, schema->fields[i].id);
                rename_field(plan, &schema->fields[i], name);
                k = SIZE_MAX; /* from the start: the new name may be taken, too */
            }
    }
}

static uint32_t source_number(const Plan *plan, size_t wanted, size_t source_count)
{
    (void)plan;
    return wanted < source_count    ? (uint32_t)wanted
           : wanted == source_count ? COLUMN_OP
                                    : COLUMN_POSITION;
}

static bool wanted_is_key(const Schema *wanted, size_t field)
{
    for (size_t k = 0; k < wanted->key_count; k++)
        if (wanted->key[k] == field)
            return true;
    return false;
}

/* The table's columns in their order, then the new ones. */
static bool make_fields(Plan *plan, size_t source_count, Error *err)
{
    const Schema *have = plan->table->schema, *wanted = plan->wanted;
    Schema *schema = plan->schema =
        schema_new(have->field_count + wanted->field_count, wanted->key_count);
    plan->source_of = mem_array(have->field_count + wanted->field_count, sizeof(uint32_t));
    schema->field_count = 0;
    for (size_t at = 0; at < have->field_count; at++) {
        bool goes = false;
        if (!plan->bound[at] && !keep_field(plan, (int)at, &goes, err))
            return false;
        plan->changed |= goes;
        if (goes)
            continue;
        size_t to = schema->field_count++;
        field_copy(&schema->fields[to], &have->fields[at]);
        plan->source_of[to] = COLUMN_ABSENT;
        for (size_t i = 0; i < wanted->field_count; i++)
            if (plan->place[i] == (int)at) {
                plan->source_of[to] = source_number(plan, i, source_count);
                if (!follow_field(plan, &schema->fields[to], (int)at, &wanted->fields[i],
                                  wanted_is_key(wanted, i), err))
                    return false;
            }
        if (plan->source_of[to] == COLUMN_ABSENT && schema->fields[to].required) {
            schema->fields[to].required = false;
            plan->changed = true;
        }
    }
    for (size_t i = 0; i < wanted->field_count; i++) {
        if (plan->place[i] >= 0)
            continue;
        size_t to = schema->field_count++;
        plan->source_of[to] = source_number(plan, i, source_count);
        if (!add_field(plan, &schema->fields[to], &wanted->fields[i], wanted_is_key(wanted, i),
                       err))
            return false;
    }
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].id > plan->table->last_column_id)
            type_assign_ids(&schema->fields[i].type, &plan->last_id);
    make_names_differ(plan);
    return true;
}

/* The identifier fields, in the order that is wanted. */
static bool make_key(Plan *plan, size_t source_count, Error *err)
{
    const Schema *have = plan->table->schema, *wanted = plan->wanted;
    bool same = have->key_count == wanted->key_count;
    for (size_t k = 0; k < wanted->key_count; k++) {
        size_t at = 0;
        while (plan->source_of[at] != source_number(plan, wanted->key[k], source_count))
            at++;
        plan->schema->key[k] = (uint32_t)at;
        bool found = false;
        for (size_t i = 0; i < have->key_count; i++)
            found |= have->fields[have->key[i]].id == plan->schema->fields[at].id;
        same = same && found;
    }
    if (same)
        return true;
    plan->changed = true;
    if (!plan->before)
        return true;
    const Table *table = plan->table;
    return error_set(err, ERROR_CONFIG, "KeyChanged",
                     "table %s.%s: the source's key has other columns now, and which of the rows "
                     "that are there are the same by it can't be told from the log. Nothing is "
                     "lost: the source keeps the changes. Load the table again with --resnapshot, "
                     "or name the key in idColumns",
                     table->name.database, table->name.table);
}

static bool plan_make(Plan *plan, const Schema *source, Error *err)
{
    plan->last_id = plan->table->last_column_id;
    plan->place = mem_array(plan->wanted->field_count, sizeof *plan->place);
    plan->bound = mem_array(plan->table->schema->field_count, sizeof *plan->bound);
    find_places(plan);
    return make_fields(plan, source->field_count, err) && make_key(plan, source->field_count, err);
}

/* ---------- taking it over ---------- */
static void take_plan(Table *table, Plan *plan)
{
    schema_free(table->schema);
    free(table->source_of);
    table->schema = TAKE(plan->schema);
    table->source_of = TAKE(plan->source_of);
    table->last_column_id = plan->last_id;
    table->evolved = table->evolved || plan->changed;
    for (size_t i = 0; i < table->partitions.field_count; i++) {
        PartitionField *field = &table->partitions.fields[i];
        int at = find_id(table->schema, field->source_id);
        if (at >= 0)
            field->source = (uint32_t)at;
    }
    char *json = iceberg_schema_text(table->schema);
    free(table->schema_json);
    table->schema_json = json;
}

bool table_evolve_anew(Table *table, const Schema *wanted, json_t *ids, Error *err)
{
    Plan plan = {.table = table, .wanted = wanted, .ids = ids};
    bool ok = plan_make(&plan, table->source, err);
    if (ok)
        take_plan(table, &plan);
    plan_done(&plan);
    return ok;
}

/* Open files are closed with the schema they were opened with. */
static bool reshape(Table *table, Plan *plan, const Schema *source, Error *err)
{
    Schema *old_schema = table->schema, *old_lineage = table->lineage;
    uint32_t *old_source_of = table->source_of;
    char *old_json = table->schema_json;
    table->schema = NULL;
    table->source_of = NULL;
    table->schema_json = NULL;
    take_plan(table, plan);
    table->lineage = NULL;
    if (old_lineage)
        table_add_lineage(table);
    table->source = source;
    bool ok =
        data_writer_reshape(table->writer, table->schema, table->lineage, table->schema_json, err);
    column_map_done(&table->columns);
    column_map_init(&table->columns, table->schema, table->source_of);
    if (table->upsert) {
        UpsertOptions options = {.seed = table->lanes ? table_seed(table) : 0,
                                 .ordering = table->ordering,
                                 .store = table->store,
                                 .iceberg = table->iceberg,
                                 .schema = table->schema,
                                 .lineage = table->lineage,
                                 .source = source,
                                 .source_of = table->source_of,
                                 .writer = table->writer,
                                 .zstd_level = table->spec->zstd_level};
        upsert_reshape(table->upsert, &options);
    }
    schema_free(old_schema);
    schema_free(old_lineage);
    free(old_source_of);
    free(old_json);
    return ok;
}

static void find_known_key(const Table *table, const Schema *source, KnownKey *ret)
{
    const Schema *there = table->schema;
    for (size_t k = 0; k < there->key_count && ret->count < KEY_FIELDS_MAX; k++) {
        int32_t origin = table->source->fields[table->source_of[there->key[k]]].origin;
        for (size_t i = 0; i < source->field_count; i++)
            if (origin && source->fields[i].origin == origin)
                ret->fields[ret->count++] = (uint32_t)i;
    }
    if (ret->count != there->key_count)
        ret->count = 0;
}

/* From what the table has to the source's columns; the plan is the caller's to end, also on false,
 * and `wanted` outlives it. */
static bool plan_for(const Table *table, const Schema *source, Plan *plan, Schema **wanted,
                     Error *err)
{
    KnownKey known = {0};
    find_known_key(table, source, &known);
    *wanted = table_wanted_schema(table->spec, source, &known, err);
    *plan = (Plan){.table = table, .wanted = *wanted, .before = table->source};
    return *wanted && plan_make(plan, source, err);
}

bool table_can_evolve(const Table *table, const Schema *source, Error *err)
{
    AUTO(schema_free) Schema *wanted = NULL;
    Plan plan;
    bool ok = plan_for(table, source, &plan, &wanted, err);
    plan_done(&plan);
    return ok;
}

bool table_evolve(Table *table, const Schema *source, const char *shape, Error *err)
{
    if (!table_usable(table, err))
        return false;
    ASSERT(!table->pending.ready);
    AUTO(schema_free) Schema *wanted = NULL;
    Plan plan;
    bool ok = plan_for(table, source, &plan, &wanted, err);
    if (ok && !reshape(table, &plan, source, err))
        ok = table_failed(table, err);
    plan_done(&plan);
    if (!ok)
        return false;
    free(table->shape);
    table->shape = shape ? mem_strdup(shape) : NULL;
    binding_write(table);
    return true;
}
