/* Which type becomes which: see value.h. */
#include "agent/capture/mysql/decimal.h"
#include "agent/capture/mysql/temporal.h"
#include "agent/capture/mysql/value.h"
#include "common/mem.h"

#define DECIMAL_DIGITS 38 /* Iceberg's */

void my_decoder_done(MyDecoder *decoder)
{
    for (uint32_t i = 0; i < decoder->label_count; i++)
        free(decoder->labels[i]);
    free(decoder->labels);
    free(decoder->label_bytes);
    charset_close(&decoder->charset);
    *decoder = (MyDecoder){0};
}

/* --- the table --- */

static Type plain(TypeKind kind)
{
    return (Type){.kind = kind};
}

static Type decimal(uint8_t precision, uint8_t scale)
{
    return (Type){.kind = TYPE_DECIMAL, .precision = precision, .scale = scale};
}

static MyForm choose_integer(const MyColumn *column, Type *ret)
{
    if (column->type == MY_LONGLONG && column->is_unsigned) {
        *ret = decimal(20, 0);
        return FORM_MY_ULONG;
    }
    bool wide = column->type == MY_LONGLONG || (column->type == MY_LONG && column->is_unsigned);
    *ret = plain(wide ? TYPE_INT64 : TYPE_INT32);
    return wide ? FORM_MY_LONG : FORM_MY_INT;
}

static MyForm choose_text(const MyColumn *column, const MyDecoder *decoder, Type *ret)
{
    if (decoder->charset.kind != CHARSET_BINARY) {
        *ret = plain(TYPE_STRING);
        return FORM_MY_TEXT;
    }
    *ret = plain(TYPE_BINARY);
    return column->type == MY_STRING ? FORM_MY_PADDED : FORM_MY_BINARY;
}

static MyForm choose(const MyColumn *column, const MyDecoder *decoder, Type *ret)
{
    switch (column->type) {
    case MY_TINY:
    case MY_SHORT:
    case MY_INT24:
    case MY_LONG:
    case MY_LONGLONG:
        return choose_integer(column, ret);
    case MY_FLOAT:
        *ret = plain(TYPE_FLOAT32);
        return FORM_MY_FLOAT;
    case MY_DOUBLE:
        *ret = plain(TYPE_FLOAT64);
        return FORM_MY_DOUBLE;
    case MY_YEAR:
        *ret = plain(TYPE_INT32);
        return FORM_MY_YEAR;
    case MY_NEWDECIMAL:
        if (column->precision > DECIMAL_DIGITS)
            break;
        *ret = decimal(column->precision, column->scale);
        return FORM_MY_DECIMAL;
    case MY_DATE:
        *ret = plain(TYPE_DATE);
        return FORM_MY_DATE;
    case MY_TIME:
    case MY_TIME2:
        *ret = plain(TYPE_TIME);
        return FORM_MY_TIME;
    case MY_DATETIME:
    case MY_DATETIME2:
        *ret = plain(TYPE_TIMESTAMP);
        return FORM_MY_TIMESTAMP;
    case MY_TIMESTAMP:
    case MY_TIMESTAMP2:
        *ret = plain(TYPE_TIMESTAMPTZ);
        return FORM_MY_TIMESTAMPTZ;
    case MY_BIT:
        if (column->bytes > 1)
            break;
        *ret = plain(TYPE_BOOL);
        return FORM_MY_BOOL;
    case MY_GEOMETRY:
        *ret = plain(TYPE_BINARY);
        return FORM_MY_WKB;
    case MY_VECTOR:
        *ret = type_nested(TYPE_LIST, 0);
        ret->element->type = plain(TYPE_FLOAT32);
        return FORM_MY_VECTOR;
    case MY_VARCHAR:
    case MY_VAR_STRING:
    case MY_STRING:
    case MY_BLOB:
        if (column->special == MY_SPECIAL_UUID) {
            *ret = plain(TYPE_UUID);
            return FORM_MY_UUID;
        }
        if (column->special)
            break;
        return choose_text(column, decoder, ret);
    default:
        break;
    }
    *ret = plain(TYPE_STRING);
    return FORM_MY_PRINTED;
}

static uint32_t fixed_bytes(const MyColumn *column)
{
    switch (column->type) {
    case MY_TINY:
    case MY_YEAR:
        return 1;
    case MY_SHORT:
        return 2;
    case MY_INT24:
        return 3;
    case MY_LONG:
    case MY_FLOAT:
        return 4;
    case MY_LONGLONG:
    case MY_DOUBLE:
        return 8;
    case MY_NEWDECIMAL:
        return my_decimal_bytes(column->precision, column->scale);
    case MY_BIT:
        return (column->bytes + 7) / 8;
    case MY_ENUM:
    case MY_SET:
        return column->bytes;
    case MY_DATE:
    case MY_TIME:
    case MY_DATETIME:
    case MY_TIMESTAMP:
    case MY_TIME2:
    case MY_DATETIME2:
    case MY_TIMESTAMP2:
        return temporal_bytes(column->type, column->scale);
    default:
        return 0;
    }
}

/* --- choosing --- */

static bool has_labels(const MyColumn *column)
{
    return column->type == MY_ENUM || column->type == MY_SET;
}
static bool has_charset(const MyColumn *column)
{
    return has_labels(column) || column->type == MY_VARCHAR || column->type == MY_VAR_STRING ||
           column->type == MY_STRING || column->type == MY_BLOB;
}

/* In the column's character set they came; they are needed in UTF-8, once. */
static const char *take_labels(const MyColumn *column, MyDecoder *decoder)
{
    if (!column->labels)
        return "the labels of its ENUM or SET are not known";
    decoder->labels = mem_array(column->label_count + 1, sizeof *decoder->labels);
    decoder->label_bytes = mem_array(column->label_count + 1, sizeof *decoder->label_bytes);
    for (uint32_t i = 0; i < column->label_count; i++) {
        Bytes text = {0};
        const char *why = NULL;
        if (column->labels_utf8)
            bytes_put(&text, column->labels[i], column->label_bytes[i]);
        else
            why = charset_print(&decoder->charset, (const uint8_t *)column->labels[i],
                                column->label_bytes[i], &text);
        if (!why) {
            decoder->label_bytes[i] = (uint32_t)text.used;
            bytes_put_u8(&text, 0);
            decoder->labels[decoder->label_count++] = (char *)text.data;
            continue;
        }
        bytes_done(&text);
        return "a label of its ENUM or SET is no text of its character set";
    }
    return NULL;
}

/* The user asked for another type: text, of what has one as the server shows it. */
static const char * override(const MyColumn *column, const Type *wanted, MyDecoder *decoder,
                             Type *type)
{
    if (type_equal(wanted, type))
        return NULL;
    bool printable = decoder->form != FORM_MY_FLOAT && decoder->form != FORM_MY_DOUBLE &&
                     decoder->form != FORM_MY_WKB && decoder->form != FORM_MY_VECTOR &&
                     decoder->form != FORM_MY_BINARY && decoder->form != FORM_MY_PADDED;
    if (wanted->kind == TYPE_STRING && printable) {
        type_done(type);
        *type = *wanted;
        decoder->form = FORM_MY_PRINTED;
        return NULL;
    }
    bool narrow = column->type != MY_LONGLONG || !column->is_unsigned;
    if (wanted->kind == TYPE_INT64 && decoder->form == FORM_MY_INT && narrow) {
        *type = *wanted;
        decoder->form = FORM_MY_LONG;
        return NULL;
    }
    return "its values can't have the type that the LakeTable gives it";
}

bool my_decoder_choose(const MyColumn *column, const Collations *collations, const Type *wanted,
                       MyDecoder *ret, Type *ret_type, const char **ret_why)
{
    *ret = (MyDecoder){.column = *column, .fixed_bytes = fixed_bytes(column)};
    *ret_type = (Type){0};
    *ret_why = NULL;
    if (column->type == MY_DECIMAL_OLD || column->type == MY_NULL)
        *ret_why = "it has a type of before MySQL 5.0: rebuild the table (ALTER TABLE … FORCE)";
    if (!*ret_why && has_charset(column)) {
        const char *name = collations_charset(collations, column->collation);
        if (!name || !charset_open(name, &ret->charset))
            *ret_why = "its character set is not known";
    }
    if (!*ret_why && has_labels(column))
        *ret_why = take_labels(column, ret);
    if (*ret_why)
        return false;
    ret->form = choose(column, ret, ret_type);
    if (wanted)
        *ret_why = override(column, wanted, ret, ret_type);
    return !*ret_why;
}
