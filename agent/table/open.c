/* Opening: the table as the source and the resource want it is created, or compared with what is
 * there. Nothing of an existing table is changed here, but for its format version (raise.c). */
#include "agent/table/table_private.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"

static void release(Table *table)
{
    if (table->pending.unknown) /* its files may be the table's: a commit of them may take effect */
        table_abandon(table, false);
    pieces_done(table, false);
    staged_done(table, false);
    table_pending_done(&table->pending);
    lane_position_done(&table->seen_lanes);
    schema_free(table->known);
    free(table->staged);
    upsert_free(table->upsert);
    data_writer_free(table->writer);
    column_map_done(&table->columns);
    iceberg_table_free(table->iceberg);
    schema_free(table->schema);
    schema_free(table->lineage);
    partition_spec_done(&table->partitions);
    pthread_mutex_destroy(&table->names);
    free(table->schema_json);
    free(table->source_of);
    free(table->shape);
    free(table->ordering);
    free(table->shape_property);
    free(table->shape_value);
    free(table->base_json);
    free(table->all_rows);
    free(table->unit);
    free(table->property);
    free(table->anchor_property);
    free(table->copy_property);
    free(table->copy_progress);
    free(table->copy_next);
    free(table->request_property);
    free(table->asked_property);
    free(table->asked_value);
    free(table->pieces);
    free(table->location);
}

void table_close(Table *table)
{
    if (!table)
        return;
    release(table);
    free(table);
}

/* ---------- what is wanted ---------- */
/* Does the source have all that idColumns names? Not when one was renamed since. */
static bool has_id_columns(const LakeTableSpec *spec, const Schema *source)
{
    for (size_t i = 0; i < spec->id_columns.count; i++)
        if (schema_find(source, spec->id_columns.texts[i]) < 0)
            return false;
    return true;
}

static bool key_from(const LakeTableSpec *spec, const Schema *source, const KnownKey *known,
                     Schema *to, Error *err)
{
    if (known && known->count && !has_id_columns(spec, source)) {
        free(to->key);
        to->key = mem_array(known->count, sizeof *to->key);
        to->key_count = known->count;
        for (size_t i = 0; i < known->count; i++) {
            to->key[i] = known->fields[i];
            to->fields[known->fields[i]].required = true;
        }
        return true;
    }
    size_t count = spec->id_columns.count ? spec->id_columns.count : source->key_count;
    if (count == 0)
        return error_set(err, ERROR_CONFIG, "NoKey",
                         "table %s.%s: mode Upsert needs a key, and the source has none; give the "
                         "source table a primary key, name idColumns, or use mode Append",
                         spec->database, spec->table_name);
    free(to->key);
    to->key = mem_array(count, sizeof *to->key);
    to->key_count = count;
    for (size_t i = 0; i < count; i++) {
        int at = spec->id_columns.count ? schema_find(source, spec->id_columns.texts[i])
                                        : (int)source->key[i];
        if (at < 0)
            return error_set(err, ERROR_CONFIG, "UnknownColumn",
                             "table %s.%s: idColumns names '%s', which the source doesn't have",
                             spec->database, spec->table_name, spec->id_columns.texts[i]);
        to->key[i] = (uint32_t)at;
        to->fields[at].required = true;
    }
    return true;
}

/* Append: a change log. Its rows share keys, and a truncate's row has none: no identifier, and
 * every column of the source optional. */
static Schema *log_schema(const LakeTableSpec *spec, const Schema *source, Error *err)
{
    const char *const own[] = {OP_COLUMN, POSITION_COLUMN};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (schema_find(source, own[i]) >= 0) {
            error_set(err, ERROR_CONFIG, "SchemaMismatch",
                      "table %s.%s: the source has a column %s, a name mode Append keeps for "
                      "itself; rename it in the source",
                      spec->database, spec->table_name, own[i]);
            return NULL;
        }
    Schema *schema = schema_new(source->field_count + ARRAY_LEN(own), 0);
    for (size_t i = 0; i < source->field_count; i++) {
        field_copy(&schema->fields[i], &source->fields[i]);
        schema->fields[i].required = false;
    }
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        schema->fields[source->field_count + i] =
            (Field){.name = mem_strdup(own[i]), .type = {.kind = TYPE_STRING}, .required = true};
    return schema;
}

Schema *table_wanted_schema(const LakeTableSpec *spec, const Schema *source, const KnownKey *known,
                            Error *err)
{
    if (spec->mode == MODE_APPEND)
        return log_schema(spec, source, err);
    if (spec->mode != MODE_UPSERT) {
        error_set(err, ERROR_CONFIG, "ModeUnsupported",
                  "table %s.%s: this version has the modes Upsert and Append", spec->database,
                  spec->table_name);
        return NULL;
    }
    AUTO(schema_free) Schema *schema = schema_copy(source);
    return key_from(spec, source, known, schema, err) ? TAKE(schema) : NULL;
}

static bool create(Table *table, const Schema *wanted, Error *err)
{
    const LakeTableSpec *spec = table->spec;
    const char *properties[] = {"firn.unit",
                                table->unit,
                                "write.parquet.compression-codec",
                                "zstd",
                                "write.delete.mode",
                                "merge-on-read",
                                "write.update.mode",
                                "merge-on-read",
                                "write.merge.mode",
                                "merge-on-read"};
    IcebergCreate how = {.format_version = spec->format_version,
                         .schema = wanted,
                         .partition_by = (const char *const *)spec->partition_by.texts,
                         .partition_count = spec->partition_by.count,
                         .properties = properties,
                         .property_count = ARRAY_LEN(properties) / 2};
    return iceberg_table_create(table->catalog, &table->name, &how, &table->iceberg, err);
}

/* ---------- what is there ---------- */
/* A lower one is raised. */
static bool check_version(const Table *table, Error *err)
{
    int there = iceberg_format_version(table->iceberg);
    if (there <= table->spec->format_version)
        return true;
    return error_set(err, ERROR_CONFIG, "FormatVersion",
                     "table %s.%s has format version %d, the resource asks for %d; a format "
                     "version is never lowered: set formatVersion: %d, or give another tableName",
                     table->name.database, table->name.table, there, table->spec->format_version,
                     there);
}

/* *ret_same: partitionBy says what the table's own spec does (void: a field that is no longer). */
static bool compare_partitions(const Table *table, bool *ret_same, Error *err)
{
    const TextList *declared = &table->spec->partition_by;
    const PartitionSpec *there = iceberg_partition_spec(table->iceberg);
    size_t live = 0;
    *ret_same = true;
    for (size_t i = 0; i < there->field_count && *ret_same; i++) {
        const PartitionField *field = &there->fields[i];
        PartitionField wanted;
        if (field->transform == TRANSFORM_VOID)
            continue;
        if (live == declared->count) {
            *ret_same = false;
            break;
        }
        if (!partition_field_parse(declared->texts[live++], table->schema, &wanted, err))
            return false;
        *ret_same = wanted.transform == field->transform && wanted.source_id == field->source_id &&
                    wanted.argument == field->argument;
        free(wanted.name);
    }
    *ret_same = *ret_same && live == declared->count;
    return true;
}

/* The partitions of a table that is there are its own; what is declared has to be the same. */
static bool check_partitions(const Table *table, Error *err)
{
    const PartitionSpec *there = iceberg_partition_spec(table->iceberg);
    bool same;
    if (!table->spec->partition_by.count)
        return true;
    if (!compare_partitions(table, &same, err))
        return false;
    if (same)
        return true;
    char *all = mem_strdup("");
    for (size_t i = 0; i < there->field_count; i++) {
        if (there->fields[i].transform == TRANSFORM_VOID)
            continue;
        AUTO(mem_free) char *text = partition_field_text(&there->fields[i], table->schema);
        char *more = mem_format("%s%s\"%s\"", all, *all ? ", " : "", text);
        free(all);
        all = more;
    }
    error_set(err, ERROR_CONFIG, "PartitionMismatch",
              "table %s.%s has partitionBy: [%s], the resource something else: write it so, leave "
              "it out, or give another tableName",
              table->name.database, table->name.table, all);
    free(all);
    return false;
}

static bool mismatch(const Table *table, const char *column, const char *what, Error *err)
{
    return error_set(err, ERROR_CONFIG, "SchemaMismatch",
                     "table %s.%s, column %s: %s; change the source or the table, or give another "
                     "tableName to copy it anew",
                     table->name.database, table->name.table, column, what);
}

static bool check_key(const Table *table, const Schema *wanted, const int *table_of, Error *err)
{
    const Schema *there = table->schema;
    bool same = there->key_count == wanted->key_count;
    for (size_t i = 0; same && i < wanted->key_count; i++) {
        bool found = false;
        for (size_t k = 0; k < there->key_count; k++)
            found |= there->key[k] == (uint32_t)table_of[wanted->key[i]];
        same = found;
    }
    if (same)
        return true;
    const char *name = wanted->key_count ? wanted->fields[wanted->key[0]].name : "(none)";
    return mismatch(table, name,
                    wanted->key_count
                        ? "the table's identifier fields are not the key's columns"
                        : "the table has identifier fields, which a change log (mode Append) "
                          "can't have",
                    err);
}

/* The table's column of a wanted one: by its id, where the table says which that is, else by name.
 */
static int find_column(const Schema *there, const Field *want, const json_t *ids)
{
    int32_t id = binding_id(ids, want->origin);
    if (!id)
        return schema_find(there, want->name);
    for (size_t i = 0; i < there->field_count; i++)
        if (there->fields[i].id == id)
            return (int)i;
    return -1;
}

/* Fills source_of, and table_of: per wanted field its place in the table. */
static bool find_columns(Table *table, const Schema *wanted, const json_t *ids, int *table_of,
                         Error *err)
{
    const Schema *there = table->schema;
    size_t source_count = table->source->field_count;
    table->source_of = mem_array(there->field_count, sizeof *table->source_of);
    for (size_t i = 0; i < there->field_count; i++)
        table->source_of[i] = COLUMN_ABSENT;
    for (size_t i = 0; i < wanted->field_count; i++) {
        const Field *want = &wanted->fields[i];
        char text[TYPE_NAME_BYTES + 80], type[TYPE_NAME_BYTES];
        int at = find_column(there, want, ids);
        if (at < 0 && i >= source_count)
            return mismatch(table, want->name, "mode Append needs it, the table doesn't have it",
                            err);
        if (at < 0) {
            snprintf(text, sizeof text, "the source has it with type %s, the table doesn't",
                     type_format(&want->type, type));
            return mismatch(table, want->name, text, err);
        }
        table_of[i] = at;
        table->source_of[at] = i < source_count    ? (uint32_t)i
                               : i == source_count ? COLUMN_OP
                                                   : COLUMN_POSITION;
    }
    for (size_t i = 0; i < there->field_count; i++)
        if (table->source_of[i] == COLUMN_ABSENT && there->fields[i].required)
            return mismatch(table, there->fields[i].name,
                            "the table requires it, the source doesn't have it", err);
    return true;
}

/* The types must be the same, and the table must take every null of the source. */
static bool check_types(const Table *table, const Schema *wanted, const int *table_of, Error *err)
{
    for (size_t i = 0; i < wanted->field_count; i++) {
        const Field *want = &wanted->fields[i];
        const Field *have = &table->schema->fields[table_of[i]];
        char text[2 * TYPE_NAME_BYTES + 80], a[TYPE_NAME_BYTES], b[TYPE_NAME_BYTES];
        if (!type_equal(&have->type, &want->type)) {
            snprintf(text, sizeof text, "type %s in the source, %s in the table",
                     type_format(&want->type, a), type_format(&have->type, b));
            return mismatch(table, want->name, text, err);
        }
        if (have->required && !want->required)
            return mismatch(table, want->name, "it may be null in the source, not in the table",
                            err);
    }
    return true;
}

static bool check_schema(Table *table, const Schema *wanted, const json_t *ids, Error *err)
{
    AUTO(mem_free) int *table_of = mem_array(wanted->field_count, sizeof *table_of);
    if (!find_columns(table, wanted, ids, table_of, err) ||
        !check_types(table, wanted, table_of, err) || !check_key(table, wanted, table_of, err))
        return false;
    /* The order of the key's columns is the resource's, wherever the table has them. */
    for (size_t i = 0; i < wanted->key_count; i++)
        table->schema->key[i] = (uint32_t)table_of[wanted->key[i]];
    return true;
}

/* ---------- how far it has come ---------- */
uint64_t table_head_total(const Table *table, const char *name)
{
    int64_t head = iceberg_current_snapshot(table->iceberg);
    const char *text = head < 0 ? NULL : iceberg_snapshot_summary(table->iceberg, head, name);
    return text ? strtoull(text, NULL, 10) : 0;
}

uint64_t table_rows_of_head(const Table *table)
{
    uint64_t all = table_head_total(table, "total-records");
    uint64_t gone = table_head_total(table, "total-position-deletes");
    return all > gone ? all - gone : 0;
}

/* What the table has of its copy; NULL: everything. */
static const char *read_progress(const Table *table)
{
    const char *text = iceberg_property(table->iceberg, table->copy_property);
    return text && strcmp(text, COPY_COMPLETE) != 0 ? text : NULL;
}

/* Of a topic's lanes the source alone; fill_view reads the rest. */
static bool parse_claim(const Table *table, const char *text, Position *ret, Error *err)
{
    LanePosition lanes;
    if (!table->lanes)
        return position_parse(text, ret, err);
    bool ok = lane_position_parse(text, &lanes, err);
    if (ok)
        *ret = position_of(lanes.source, (RowPosition){0});
    lane_position_done(&lanes);
    return ok;
}

bool table_read_claim(const Table *table, TableClaim *ret, Error *err)
{
    const char *text = iceberg_property(table->iceberg, table->property);
    *ret = (TableClaim){0};
    if (!text) {
        const char *unit = iceberg_property(table->iceberg, "firn.unit");
        /* Two that began with it at once, and the other one was first; or one that is gone. */
        const char *claim = iceberg_property_like(table->iceberg, ICEBERG_CLAIM);
        if (claim)
            return error_set(err, ERROR_CONFIG, "TableTaken",
                             "table %s.%s is filled by %s (property %s), not by %s: a table has "
                             "one unit; give another tableName, or, if that one is gone, drop the "
                             "table or load it again with --resnapshot",
                             table->name.database, table->name.table, claim + strlen(ICEBERG_CLAIM),
                             claim, table->unit);
        if (table_head_total(table, "total-records") == 0 ||
            (unit && strcmp(unit, table->unit) == 0))
            return true;
        return error_set(err, ERROR_CONFIG, "TableNotEmpty",
                         "table %s.%s has rows that %s didn't write (property %s is not set), and "
                         "an initial copy would replace them; give another tableName, or drop the "
                         "table",
                         table->name.database, table->name.table, table->unit, table->property);
    }
    AUTO(mem_free) char *copy = mem_strdup(text);
    char *space = strrchr(copy, ' '), *end = NULL;
    errno = 0;
    if (space)
        ret->snapshot = strtoll(space + 1, &end, 10);
    if (!space || errno || end == space + 1 || *end)
        return error_set(err, ERROR_CONFIG, "BadPosition",
                         "table %s.%s: property %s is '%.200s', not '<position> <snapshot id>'; "
                         "load the table again with --resnapshot",
                         table->name.database, table->name.table, table->property, text);
    *space = 0;
    Error why = {0};
    if (!parse_claim(table, copy, &ret->position, &why))
        return error_set(err, ERROR_CONFIG, "BadPosition",
                         "table %s.%s, property %s: %s; load the table again with --resnapshot",
                         table->name.database, table->name.table, table->property, why.message);
    ret->is_there = true;
    ret->copying = read_progress(table) != NULL;
    return true;
}

void table_add_lineage(Table *table)
{
    size_t count = table->schema->field_count;
    Schema *lineage = schema_new(count + 2, table->schema->key_count);
    for (size_t i = 0; i < count; i++)
        field_copy(&lineage->fields[i], &table->schema->fields[i]);
    memcpy(lineage->key, table->schema->key, lineage->key_count * sizeof *lineage->key);
    lineage->fields[count] = (Field){
        .name = mem_strdup("_row_id"), .type = {.kind = TYPE_INT64}, .id = ICEBERG_ROW_ID_FIELD};
    lineage->fields[count + 1] = (Field){.name = mem_strdup("_last_updated_sequence_number"),
                                         .type = {.kind = TYPE_INT64},
                                         .id = ICEBERG_LAST_UPDATED_SEQ_FIELD};
    table->lineage = lineage;
}

static void set_retention(Table *table)
{
    IcebergRetention retention = iceberg_retention_default;
    int64_t asked = table->spec->expire_older_than_ms;
    if (asked) {
        retention.all_ms = retention.hourly_ms = retention.daily_ms = asked;
        retention.burst_most = retention.young_most = 0;
    }
    iceberg_set_retention(table->iceberg, &retention);
}

DataWriter *table_writer_new(Table *table, const char *name, size_t memory_bytes_max)
{
    DataWriterOptions options = {.store = table->store,
                                 .iceberg = table->iceberg,
                                 .names = &table->names,
                                 .schema = table->schema,
                                 .lineage = table->lineage,
                                 .spec = &table->partitions,
                                 .schema_json = table->schema_json,
                                 .name = name,
                                 .zstd_level = table->spec->zstd_level,
                                 .file_target_bytes = table->spec->file_target_bytes,
                                 .memory_bytes_max = memory_bytes_max,
                                 .bloom_key = table->spec->mode == MODE_UPSERT};
    return data_writer_new(&options);
}

/* What follows from the schema that the table has, or will have. */
static bool bind(Table *table, const Schema *wanted, json_t *ids, bool anew, Error *err)
{
    const LakeTableSpec *spec = table->spec;
    table->store = iceberg_store(table->iceberg);
    table->schema = schema_copy(iceberg_schema(table->iceberg));
    table->last_column_id = table->base_last_column_id = iceberg_last_column_id(table->iceberg);
    table->base_json = mem_strdup(iceberg_schema_json(table->iceberg));
    table->schema_json = mem_strdup(table->base_json);
    partition_spec_copy(&table->partitions, iceberg_partition_spec(table->iceberg));
    bool ok =
        anew ? table_evolve_anew(table, wanted, ids, err) : check_schema(table, wanted, ids, err);
    if (!ok || !check_partitions(table, err))
        return false;
    if (spec->mode == MODE_UPSERT && spec->format_version >= 3)
        table_add_lineage(table);
    binding_write(table);
    return true;
}

static bool take_claim(Table *table, Error *err)
{
    TableClaim *claim = &table->claim;
    if (!table_read_claim(table, claim, err))
        return false;
    table->copying = claim->copying;
    table->copy_progress = claim->copying ? mem_strdup(read_progress(table)) : NULL;
    table->passed = claim->position.at;
    return true;
}

static bool make(Table *table, const TableOptions *options, Error *err)
{
    const LakeTableSpec *spec = options->spec;
    AUTO(schema_free) Schema *wanted = table_wanted_schema(spec, options->source, NULL, err);
    if (!wanted)
        return false;
    if (!options->create)
        return error_set(err, ERROR_CONFIG, "TableMissing", "there is no table %s.%s",
                         spec->database, spec->table_name);
    table->shape = options->shape ? mem_strdup(options->shape) : NULL;
    if (!create(table, wanted, err) || !check_version(table, err))
        return false;
    set_retention(table);
    return bind(table, wanted, NULL, false, err) && (table->resnapshots || take_claim(table, err));
}

/* The key that the table has, as columns of the source. */
static void find_known_key(const Table *table, const json_t *ids, KnownKey *ret)
{
    const Schema *there = iceberg_schema(table->iceberg), *source = table->source;
    for (size_t k = 0; k < there->key_count; k++)
        for (size_t i = 0; i < source->field_count && ret->count < KEY_FIELDS_MAX; i++)
            if (binding_id(ids, source->fields[i].origin) == there->fields[there->key[k]].id)
                ret->fields[ret->count++] = (uint32_t)i;
    if (ret->count != there->key_count)
        ret->count = 0;
}

/* Of the columns asked for those that the table has, as it has them. What fills it knows them by
 * name alone. */
static void find_known_columns(Table *table)
{
    const Schema *there = iceberg_schema(table->iceberg), *asked = table->source;
    AUTO(mem_free) int *at = mem_array(asked->field_count + 1, sizeof *at);
    size_t count = 0, differ = 0;
    for (size_t i = 0; i < asked->field_count; i++) {
        at[i] = schema_find(there, asked->fields[i].name);
        count += at[i] >= 0;
        differ += at[i] < 0 || !type_equal(&there->fields[at[i]].type, &asked->fields[i].type);
    }
    if (!differ)
        return;
    Schema *known = schema_new(count, asked->key_count);
    known->key_count = 0;
    size_t next = 0;
    for (size_t i = 0; i < asked->field_count; i++) {
        if (at[i] < 0)
            continue;
        field_copy(&known->fields[next], &asked->fields[i]);
        Field copy;
        field_copy(&copy, &there->fields[at[i]]);
        type_done(&known->fields[next].type);
        known->fields[next].type = copy.type;
        copy.type = (Type){0};
        field_done(&copy);
        for (size_t k = 0; k < asked->key_count; k++)
            if (asked->key[k] == i)
                known->key[known->key_count++] = (uint32_t)next;
        next++;
    }
    table->known = known;
    table->source = known;
}

bool table_lacks_columns(const Table *table)
{
    return table->known && table->source == table->known;
}

static bool bind_there(Table *table, const TableOptions *options, Error *err)
{
    AUTO(mem_free) char *known = NULL;
    json_t *ids = NULL;
    const char *shape = options->shape;
    if (!check_version(table, err) || (!table->resnapshots && !take_claim(table, err)))
        return false;
    if (table->claim.is_there && !binding_read(table, &known, &ids, err))
        return false;
    if (table->lanes)
        find_known_columns(table);
    table->outdated = table->claim.copying &&
                      (options->copy_whole ||
                       (known && options->same && !options->same(options->resume_context, known)));
    const char *unit = iceberg_property(table->iceberg, "firn.unit");
    bool goes_on = table->claim.is_there && !table->outdated;
    /* made by us, and never filled: the source's columns may be others since */
    bool begins = !table->claim.is_there && unit && strcmp(unit, table->unit) == 0;
    AUTO(mem_free) char *anchor = goes_on ? table_anchor(table) : NULL;
    bool ok = !goes_on || !options->resume ||
              options->resume(options->resume_context, known, &table->claim, anchor, &table->source,
                              &shape, err);
    table->shape = shape ? mem_strdup(shape) : NULL;
    KnownKey known_key = {0};
    if (ok && ids)
        find_known_key(table, ids, &known_key);
    AUTO(schema_free)
    Schema *wanted = ok ? table_wanted_schema(table->spec, table->source, &known_key, err) : NULL;
    bool anew = table->resnapshots || table->outdated || begins;
    ok = wanted && bind(table, wanted, ids, anew, err);
    json_decref(ids);
    return ok && (options->leaves_version || table_raise(table, err));
}

/* A copy that was begun for an id is not begun for it again. */
static bool is_to_be_copied(const Table *table, const TableOptions *options)
{
    const char *done =
        table->iceberg ? iceberg_property(table->iceberg, table->request_property) : NULL;
    return options->resnapshot ||
           (options->resnapshot_id && !(done && strcmp(done, options->resnapshot_id) == 0));
}

/* Its place, and what stands there: NULL, nothing. */
static bool find(Table *table, const TableOptions *options, Error *err)
{
    const LakeTableSpec *spec = options->spec;
    if (spec->location) {
        table->location = store_uri(spec->location, err);
        if (!table->location)
            return false;
    } else if (options->warehouse) {
        table->location =
            mem_format("%s/%s/%s", options->warehouse, spec->database, spec->table_name);
    }
    table->name = (TableName){
        .database = spec->database, .table = spec->table_name, .location = table->location};
    return iceberg_table_load(table->catalog, &table->name, &table->iceberg, err);
}

bool table_own_columns(const TableOptions *options, Schema **ret, Error *err)
{
    Table bare = {.spec = options->spec, .catalog = options->catalog};
    bool ok = find(&bare, options, err);
    *ret = NULL;
    if (ok && bare.iceberg) {
        const Schema *there = iceberg_schema(bare.iceberg);
        *ret = schema_new(there->field_count, 0);
        (*ret)->field_count = 0;
        for (size_t i = 0; i < there->field_count; i++)
            if (strcmp(there->fields[i].name, OP_COLUMN) != 0 &&
                strcmp(there->fields[i].name, POSITION_COLUMN) != 0) {
                Field *field = &(*ret)->fields[(*ret)->field_count++];
                field_copy(field, &there->fields[i]);
                field->id = field->origin = 0;
                free(field->initial);
                field->initial = NULL;
            }
    }
    iceberg_table_free(bare.iceberg);
    free(bare.location);
    return ok;
}

static bool open_at(Table *table, const TableOptions *options, Error *err)
{
    if (!find(table, options, err))
        return false;
    table->resnapshots = is_to_be_copied(table, options);
    if (!table->iceberg)
        return make(table, options, err);
    set_retention(table); /* for the commit that raises its format version, too */
    return bind_there(table, options, err);
}

Table *table_open(const TableOptions *options, Error *err)
{
    Table *table = mem_zalloc(sizeof *table);
    table->spec = options->spec;
    table->source = options->source;
    table->catalog = options->catalog;
    table->lanes = options->lanes;
    ASSERT(!options->ordering || options->lanes);
    table->ordering = options->ordering ? mem_strdup(options->ordering) : NULL;
    table->memory_bytes_max = options->memory_bytes_max;
    table->unit = mem_strdup(options->unit);
    table->property = mem_format(ICEBERG_CLAIM "%s", options->unit);
    table->anchor_property = mem_format("firn.anchor.%s", options->unit);
    table->copy_property = mem_format("firn.copy.%s", options->unit);
    table->request_property = mem_format("firn.resnapshot.%s", options->unit);
    table->request = options->resnapshot_id;
    table->shape_property = mem_format("firn.columns.%s", options->unit);
    pthread_mutex_init(&table->names, NULL);
    if (!open_at(table, options, err)) {
        release(table);
        free(table);
        return NULL;
    }
    column_map_init(&table->columns, table->schema, table->source_of);
    table->writer = table_writer_new(table, NULL, table->memory_bytes_max);
    table->rows = table_rows_of_head(table);
    return table;
}

bool table_resnapshots(const Table *table)
{
    return table->resnapshots;
}

const char *table_uuid(const Table *table)
{
    return iceberg_uuid(table->iceberg);
}
