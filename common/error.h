/* One error value for every fallible call. The kind is the policy, not the cause: it says what the
 * supervisor does next. Only supervise/supervise.c, reconcile/reconcile.c and main read the kind
 * and log. */
#pragma once

#include "common/attrs.h"

typedef enum ErrorKind {
    ERROR_NONE,
    ERROR_RETRY,    /* back off, reopen from the durable position */
    ERROR_CONFLICT, /* somebody else committed: reload, reapply */
    ERROR_DATA,     /* this row or file can't be read: dead letter, or stop where there is none */
    ERROR_CONFIG,   /* only a person can mend it: condition Stalled, wait for a new spec */
    ERROR_FATAL,    /* this process is in no state to go on: exit */
} ErrorKind;

typedef struct Error {
    ErrorKind kind;
    char code[40]; /* CamelCase reason as it stands in a condition: "SlotMissing", "RolledBack" */
    char message[512]; /* names the thing, the value, the place and the way out; never a secret */
} Error;

/* Fills *err (NULL is fine) and returns false, so that `return error_set(...)` ends a function. */
bool error_set(Error *err, ErrorKind kind, const char *code, const char *format, ...) PRINTF(4, 5);

/* Puts "prefix: " before the message that is there; returns false. */
bool error_wrap(Error *err, const char *format, ...) PRINTF(2, 3);

/* As error_set, with errno's text and number at the end. */
bool error_errno(Error *err, ErrorKind kind, const char *code, int number, const char *format, ...)
    PRINTF(5, 6);

#ifdef __clang_analyzer__
/* clang-tidy looks at one file at a time: that these return false it must see here. */
#define error_set(...) ((error_set)(__VA_ARGS__), false)
#define error_wrap(...) ((error_wrap)(__VA_ARGS__), false)
#define error_errno(...) ((error_errno)(__VA_ARGS__), false)
#endif

const char *error_kind_name(ErrorKind kind); /* "Retry", "Conflict", ... */
