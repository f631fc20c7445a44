#include "common/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static NORETURN void out_of_memory(size_t bytes)
{
    fprintf(stderr, "level=fatal msg=\"out of memory\" bytes=%zu\n", bytes);
    abort();
}

void *mem_alloc(size_t bytes)
{
    void *at = malloc(bytes ? bytes : 1);
    if (!at)
        out_of_memory(bytes);
    return at;
}

void *mem_zalloc(size_t bytes)
{
    return mem_array(1, bytes);
}

void *mem_aligned(size_t align, size_t bytes)
{
    void *at = aligned_alloc(align, bytes);
    if (!at)
        out_of_memory(bytes);
    return at;
}

void *mem_array(size_t count, size_t each_bytes)
{
    void *at = calloc(count ? count : 1, each_bytes ? each_bytes : 1);
    if (!at)
        out_of_memory(count * each_bytes);
    return at;
}

void *mem_regrow(void *old, size_t count, size_t each_bytes)
{
    void *at = reallocarray(old, count ? count : 1, each_bytes);
    if (!at)
        out_of_memory(count * each_bytes);
    return at;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t bytes)
{
    char *copy = mem_alloc(bytes + 1);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

char *mem_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int bytes = vasprintf(&text, format, args);
    va_end(args);
    if (bytes < 0)
        out_of_memory(0);
    return text;
}
