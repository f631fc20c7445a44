#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "level=fatal msg=\"assertion failed\" expression=\"%s\" at=%s:%d\n", expression,
            file, line);
    abort();
}

static void fill(Error *err, ErrorKind kind, const char *code)
{
    err->kind = kind;
    snprintf(err->code, sizeof err->code, "%s", code);
}

bool(error_set)(Error *err, ErrorKind kind, const char *code, const char *format, ...)
{
    if (!err)
        return false;
    fill(err, kind, code);
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return false;
}

bool(error_wrap)(Error *err, const char *format, ...)
{
    if (!err)
        return false;
    char prefix[sizeof err->message];
    char rest[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(rest, err->message, sizeof rest);
    int used = snprintf(err->message, sizeof err->message, "%s: ", prefix);
    if (used >= 0 && (size_t)used < sizeof err->message)
        snprintf(err->message + used, sizeof err->message - (size_t)used, "%s", rest);
    return false;
}

bool(error_errno)(Error *err, ErrorKind kind, const char *code, int number, const char *format, ...)
{
    if (!err)
        return false;
    fill(err, kind, code);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->message)
        snprintf(err->message + used, sizeof err->message - (size_t)used, ": %s (errno %d)",
                 strerrordesc_np(number) ? strerrordesc_np(number) : "unknown error", number);
    return false;
}

const char *error_kind_name(ErrorKind kind)
{
    static const char *const names[] = {"None", "Retry", "Conflict", "Data", "Config", "Fatal"};
    ASSERT((size_t)kind < ARRAY_LEN(names));
    return names[kind];
}
