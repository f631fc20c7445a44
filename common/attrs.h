/* Compiler attributes and assertions every module uses. ASSERT stays on in release: a broken
 * invariant ends the process, and the restart from the durable position is the recovery. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) && !defined(__clang__)
#define OWNED_BY(free_function) __attribute__((malloc, malloc(free_function, 1)))
#else
#define OWNED_BY(free_function) __attribute__((malloc))
#endif
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define NORETURN __attribute__((noreturn))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* AUTO(batch_free) Batch *batch = ...; frees it at the end of the scope. Needs DEFINE_AUTO(Batch,
 * batch_free). */
#define AUTO(free_function) __attribute__((cleanup(free_function##_auto)))
#define DEFINE_AUTO(type, free_function)                                                           \
    static inline void free_function##_auto(type **at)                                             \
    {                                                                                              \
        free_function(*at);                                                                        \
    }                                                                                              \
    struct free_function##_needs_semicolon

/* Takes the value out of an AUTO variable, so that the scope no longer frees it. */
#define TAKE(pointer)                                                                              \
    ({                                                                                             \
        __auto_type taken_ = (pointer);                                                            \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

NORETURN void assert_failed(const char *expression, const char *file, int line);
#define ASSERT(expression)                                                                         \
    (LIKELY(expression) ? (void)0 : assert_failed(#expression, __FILE__, __LINE__))
