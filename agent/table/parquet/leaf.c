#include "agent/table/parquet/leaf.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

uint32_t decimal_bytes(unsigned precision)
{
    __int128 most = 1;
    for (unsigned i = 0; i < precision; i++)
        most *= 10;
    uint32_t bytes = 1;
    while (bytes < 16 && most - 1 > ((__int128)1 << (8 * bytes - 1)) - 1)
        bytes++;
    return bytes;
}

static void decimal_init(Leaf *leaf, unsigned precision)
{
    if (precision <= 9) {
        leaf->physical = PHYSICAL_INT32;
        leaf->width = 4;
    } else if (precision <= 18) {
        leaf->physical = PHYSICAL_INT64;
        leaf->width = 8;
    } else {
        leaf->physical = PHYSICAL_FIXED;
        leaf->width = decimal_bytes(precision);
        leaf->range = RANGE_INT128;
    }
}

static void fixed_init(Leaf *leaf, uint32_t width)
{
    leaf->physical = PHYSICAL_FIXED;
    leaf->width = width;
    leaf->range = RANGE_BYTES;
}

static bool leaf_init(Leaf *leaf, const Field *field, Error *err)
{
    leaf->field = field;
    for (uint32_t i = 0; i < leaf->depth; i++) {
        leaf->definition_max += !leaf->steps[i].field->required;
        leaf->definition_max += type_repeats(&leaf->steps[i].field->type);
        leaf->repetition_max += type_repeats(&leaf->steps[i].field->type);
    }
    leaf->definition_max += !field->required;
    const Type *type = &leaf->field->type;
    switch (type->kind) {
    case TYPE_BOOL:
        leaf->physical = PHYSICAL_BOOLEAN;
        return true;
    case TYPE_INT32:
    case TYPE_DATE:
        leaf->physical = PHYSICAL_INT32;
        leaf->width = 4;
        return true;
    case TYPE_INT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        leaf->physical = PHYSICAL_INT64;
        leaf->width = 8;
        return true;
    case TYPE_FLOAT32:
        leaf->physical = PHYSICAL_FLOAT;
        leaf->range = RANGE_FLOAT;
        leaf->width = 4;
        return true;
    case TYPE_FLOAT64:
        leaf->physical = PHYSICAL_DOUBLE;
        leaf->range = RANGE_FLOAT;
        leaf->width = 8;
        return true;
    case TYPE_DECIMAL:
        if (type->precision < 1 || type->precision > 38 || type->scale > type->precision)
            break;
        decimal_init(leaf, type->precision);
        return true;
    case TYPE_STRING:
    case TYPE_BINARY:
        leaf->physical = PHYSICAL_BYTE_ARRAY;
        leaf->range = RANGE_BYTES;
        return true;
    case TYPE_UUID:
        fixed_init(leaf, 16);
        return true;
    case TYPE_FIXED:
        if (type->fixed_bytes < 1 || type->fixed_bytes > 1 << 20)
            break;
        fixed_init(leaf, type->fixed_bytes);
        return true;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        break;
    }
    char name[TYPE_NAME_BYTES];
    return error_set(err, ERROR_CONFIG, "TypeUnsupported",
                     "field %s: %s can't be stored in Parquet; cast it to a simpler type",
                     field->name, type_format(type, name));
}

typedef struct LeafList {
    Leaf *leaves;
    size_t count;
    LeafStep steps[LEAF_DEPTH_MAX]; /* of the field being walked */
    uint32_t depth;
    uint32_t column;
} LeafList;

static bool walk(LeafList *list, const Field *field, Error *err)
{
    uint32_t children = type_child_count(&field->type);
    if (!type_is_nested(&field->type)) {
        list->leaves = mem_regrow(list->leaves, list->count + 1, sizeof *list->leaves);
        Leaf *leaf = &list->leaves[list->count++];
        *leaf = (Leaf){.depth = list->depth, .column = list->column};
        if (list->depth) {
            leaf->steps = mem_array(list->depth, sizeof *leaf->steps);
            memcpy(leaf->steps, list->steps, list->depth * sizeof *leaf->steps);
        }
        return leaf_init(leaf, field, err);
    }
    if (!children || list->depth == LEAF_DEPTH_MAX)
        return error_set(err, ERROR_CONFIG, "TypeUnsupported",
                         "field %s: %s can't be stored in Parquet", field->name,
                         children ? "what is nested deeper than 16" : "a struct without fields");
    for (uint32_t i = 0; i < children; i++) {
        list->steps[list->depth++] = (LeafStep){.field = field, .child = i};
        bool walked = walk(list, &field->type.fields[i], err);
        list->depth--;
        if (!walked)
            return false;
    }
    return true;
}

size_t type_leaf_count(const Type *type)
{
    size_t count = !type_is_nested(type);
    for (uint32_t i = 0; i < type_child_count(type); i++)
        count += type_leaf_count(&type->fields[i].type);
    return count;
}

bool leaves_of(const Schema *schema, Leaf **ret, size_t *ret_count, Error *err)
{
    LeafList list = {0};
    bool walked = true;
    for (; list.column < schema->field_count && walked; list.column++)
        walked = walk(&list, &schema->fields[list.column], err);
    if (!walked) {
        leaves_free(list.leaves, list.count);
        return false;
    }
    *ret = list.leaves;
    *ret_count = list.count;
    return true;
}

void leaves_free(Leaf *leaves, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(leaves[i].steps);
    free(leaves);
}
