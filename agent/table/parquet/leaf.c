#include "agent/table/parquet/leaf.h"

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

bool leaf_init(Leaf *leaf, const Field *field, Error *err)
{
    *leaf = (Leaf){.field = field};
    if (field->type.kind == TYPE_LIST) {
        leaf->list = field;
        leaf->field = field->type.element;
        leaf->repetition_max = 1;
        leaf->definition_max = 1;
        if (!field->required)
            leaf->definition_max++;
    }
    if (!leaf->field->required)
        leaf->definition_max++;
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
        break;
    }
    char name[TYPE_NAME_BYTES];
    return error_set(err, ERROR_CONFIG, "TypeUnsupported",
                     "field %s: %s%s can't be stored in Parquet; cast it to a simpler type",
                     field->name, leaf->list ? "a list of " : "", type_format(type, name));
}
