/* Allocation that can't fail: out of memory ends the process, a restart from the durable position
 * is the recovery. Sizes that come from outside are checked against a limit before they get here.
 */
#pragma once

/* What is made of these is often freed by its own x_free, hence no OWNED_BY here. */
#include <stdlib.h>

#include "common/attrs.h"

void *mem_alloc(size_t bytes) __attribute__((malloc))
__attribute__((alloc_size(1), returns_nonnull));
void *mem_zalloc(size_t bytes) __attribute__((malloc))
__attribute__((alloc_size(1), returns_nonnull));
/* bytes must be a multiple of align, a power of two. */
void *mem_aligned(size_t align, size_t bytes) OWNED_BY(free) __attribute__((returns_nonnull));
/* count * each_bytes, checked for overflow; zeroed. */
void *mem_array(size_t count, size_t each_bytes) __attribute__((malloc))
__attribute__((alloc_size(1, 2), returns_nonnull));
/* Grows to count * each_bytes; what is new is not zeroed. The old pointer is gone. */
void *mem_regrow(void *old, size_t count, size_t each_bytes)
    __attribute__((alloc_size(2, 3), returns_nonnull, warn_unused_result));
char *mem_strdup(const char *text) OWNED_BY(free) __attribute__((returns_nonnull));
char *mem_strndup(const char *text, size_t bytes) OWNED_BY(free) __attribute__((returns_nonnull));
char *mem_format(const char *format, ...) OWNED_BY(free) PRINTF(1, 2)
    __attribute__((returns_nonnull));

/* AUTO(mem_free) char *text = ...; */
static inline void mem_free_auto(void *at)
{
    free(*(void **)at);
}
