#include "agent/table/parquet/thrift.h"

#define DEPTH_MAX 16 /* parquet.thrift nests 6 deep */

void thrift_put_field(Bytes *to, int16_t *last, int16_t id, ThriftType type)
{
    int delta = id - *last;
    *last = id;
    if (delta >= 1 && delta <= 15) {
        bytes_put_u8(to, (uint8_t)(delta << 4 | (int)type));
        return;
    }
    bytes_put_u8(to, (uint8_t)type);
    bytes_put_zigzag(to, id);
}

void thrift_put_i8(Bytes *to, int16_t *last, int16_t id, int8_t value)
{
    thrift_put_field(to, last, id, THRIFT_I8);
    bytes_put_u8(to, (uint8_t)value);
}

void thrift_put_i32(Bytes *to, int16_t *last, int16_t id, int32_t value)
{
    thrift_put_field(to, last, id, THRIFT_I32);
    bytes_put_zigzag(to, value);
}

void thrift_put_i64(Bytes *to, int16_t *last, int16_t id, int64_t value)
{
    thrift_put_field(to, last, id, THRIFT_I64);
    bytes_put_zigzag(to, value);
}

void thrift_put_bool(Bytes *to, int16_t *last, int16_t id, bool value)
{
    thrift_put_field(to, last, id, value ? THRIFT_TRUE : THRIFT_FALSE);
}

void thrift_put_element_binary(Bytes *to, const void *data, size_t bytes)
{
    bytes_put_varint(to, bytes);
    bytes_put(to, data, bytes);
}

void thrift_put_binary(Bytes *to, int16_t *last, int16_t id, const void *data, size_t bytes)
{
    thrift_put_field(to, last, id, THRIFT_BINARY);
    thrift_put_element_binary(to, data, bytes);
}

void thrift_put_text(Bytes *to, int16_t *last, int16_t id, const char *text)
{
    thrift_put_binary(to, last, id, text, strlen(text));
}

void thrift_put_list(Bytes *to, int16_t *last, int16_t id, ThriftType element, size_t count)
{
    thrift_put_field(to, last, id, THRIFT_LIST);
    if (count < 15) {
        bytes_put_u8(to, (uint8_t)(count << 4 | element));
        return;
    }
    bytes_put_u8(to, (uint8_t)(0xf0 | element));
    bytes_put_varint(to, count);
}

void thrift_put_empty_struct(Bytes *to, int16_t *last, int16_t id)
{
    thrift_put_field(to, last, id, THRIFT_STRUCT);
    thrift_put_stop(to);
}

void thrift_put_stop(Bytes *to)
{
    bytes_put_u8(to, THRIFT_STOP);
}

bool thrift_field(Reader *from, int16_t *last, ThriftField *ret)
{
    uint8_t head;
    if (!reader_u8(from, &head))
        return false;
    *ret = (ThriftField){.type = head & 15};
    if (head == THRIFT_STOP)
        return true;
    int64_t id = *last + (head >> 4);
    if (!(head >> 4) && !reader_zigzag(from, &id))
        return false;
    if (ret->type == THRIFT_STOP || ret->type > THRIFT_STRUCT || id < INT16_MIN || id > INT16_MAX)
        return false;
    *last = ret->id = (int16_t)id;
    return true;
}

bool thrift_i64(Reader *from, ThriftField field, int64_t *ret)
{
    if (field.type == THRIFT_I8) {
        uint8_t byte;
        if (!reader_u8(from, &byte))
            return false;
        *ret = (int8_t)byte;
        return true;
    }
    return field.type >= THRIFT_I16 && field.type <= THRIFT_I64 && reader_zigzag(from, ret);
}

bool thrift_i32(Reader *from, ThriftField field, int32_t *ret)
{
    int64_t value;
    if (!thrift_i64(from, field, &value) || value < INT32_MIN || value > INT32_MAX)
        return false;
    *ret = (int32_t)value;
    return true;
}

bool thrift_bool(ThriftField field, bool *ret)
{
    *ret = field.type == THRIFT_TRUE;
    return field.type == THRIFT_TRUE || field.type == THRIFT_FALSE;
}

bool thrift_binary(Reader *from, ThriftField field, const uint8_t **ret, size_t *bytes)
{
    uint64_t length;
    if (field.type != THRIFT_BINARY || !reader_varint(from, &length) || length > reader_left(from))
        return false;
    *bytes = length;
    return reader_take(from, length, ret);
}

static bool list_head(Reader *from, uint8_t *element, size_t *ret)
{
    uint8_t head;
    if (!reader_u8(from, &head))
        return false;
    *element = head & 15;
    uint64_t count = head >> 4;
    if (count == 15 && !reader_varint(from, &count))
        return false;
    *ret = count;
    return count <= reader_left(from); /* every element takes a byte or more */
}

bool thrift_list(Reader *from, ThriftField field, ThriftType element, size_t *ret)
{
    uint8_t found;
    if (field.type != THRIFT_LIST || !list_head(from, &found, ret))
        return false;
    return *ret == 0 || found == element;
}

static bool skip(Reader *from, uint8_t type, bool in_field, unsigned depth)
{
    const uint8_t *unused;
    uint64_t length;
    size_t count;
    uint8_t key_value;
    if (depth > DEPTH_MAX)
        return false;
    switch (type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE:
        return in_field || reader_take(from, 1, &unused);
    case THRIFT_I8:
        return reader_take(from, 1, &unused);
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64:
        return reader_varint(from, &length);
    case THRIFT_DOUBLE:
        return reader_take(from, 8, &unused);
    case THRIFT_BINARY:
        return reader_varint(from, &length) && reader_take(from, length, &unused);
    case THRIFT_LIST:
    case THRIFT_SET:
        if (!list_head(from, &key_value, &count))
            return false;
        for (size_t i = 0; i < count; i++)
            if (!skip(from, key_value, false, depth + 1))
                return false;
        return true;
    case THRIFT_MAP:
        if (!reader_varint(from, &length) || length > reader_left(from))
            return false;
        if (length && !reader_u8(from, &key_value))
            return false;
        for (uint64_t i = 0; i < length; i++)
            if (!skip(from, key_value >> 4, false, depth + 1) ||
                !skip(from, key_value & 15, false, depth + 1))
                return false;
        return true;
    case THRIFT_STRUCT:
        for (int16_t last = 0;;) {
            ThriftField field;
            if (!thrift_field(from, &last, &field))
                return false;
            if (field.type == THRIFT_STOP)
                return true;
            if (!skip(from, field.type, true, depth + 1))
                return false;
        }
    default:
        return false;
    }
}

bool thrift_skip(Reader *from, ThriftField field)
{
    return skip(from, field.type, true, 0);
}
