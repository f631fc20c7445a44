/* One line per event on stderr, logfmt or JSON. Only main, pipeline/supervise.c, and
 * reconcile/reconcile.c log errors; everybody else returns them. Values are escaped; secrets never
 * get here. Several threads may log: a line is written whole. */
#pragma once

#include "common/attrs.h"

typedef enum LogLevel { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } LogLevel;
typedef enum LogFormat { LOG_LOGFMT, LOG_JSON } LogFormat;

/* Before the first thread starts. */
void log_setup(LogLevel level, LogFormat format);
bool log_enabled(LogLevel level);

/* A field: name and its text. LOG_TEXT copies nothing; the others format into a small buffer. */
typedef struct LogField {
    const char *name; /* NULL ends the list */
    char kind;        /* t text, i int64, u uint64, f double */
    union {
        const char *text;
        int64_t i;
        uint64_t u;
        double f;
    };
} LogField;

#define LOG_T(name_, value_)                                                                       \
    (LogField)                                                                                     \
    {                                                                                              \
        .name = (name_), .kind = 't', .text = (value_)                                             \
    }
#define LOG_I(name_, value_)                                                                       \
    (LogField)                                                                                     \
    {                                                                                              \
        .name = (name_), .kind = 'i', .i = (int64_t)(value_)                                       \
    }
#define LOG_U(name_, value_)                                                                       \
    (LogField)                                                                                     \
    {                                                                                              \
        .name = (name_), .kind = 'u', .u = (uint64_t)(value_)                                      \
    }
#define LOG_F(name_, value_)                                                                       \
    (LogField)                                                                                     \
    {                                                                                              \
        .name = (name_), .kind = 'f', .f = (value_)                                                \
    }

void log_fields(LogLevel level, const char *message, const LogField *fields);
#define log_event(level, message, ...)                                                             \
    log_fields((level), (message), (const LogField[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}})
#define log_debug(message, ...) log_event(LOG_DEBUG, message __VA_OPT__(, ) __VA_ARGS__)
#define log_info(message, ...) log_event(LOG_INFO, message __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(message, ...) log_event(LOG_WARN, message __VA_OPT__(, ) __VA_ARGS__)
#define log_error(message, ...) log_event(LOG_ERROR, message __VA_OPT__(, ) __VA_ARGS__)
