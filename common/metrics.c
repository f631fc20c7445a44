/* The text format: https://prometheus.io/docs/instrumenting/exposition_formats/ (0.0.4). All the
 * samples of a name stand together under its HELP and TYPE, so they are kept by name. The lock is
 * for registering and writing only; values are atomics. */
#include "common/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

typedef struct Sample {
    struct Sample *next;
    char *labels;
    Metric metric;
} Sample;

typedef struct Family {
    struct Family *next;
    char *name;
    char *help;
    MetricKind kind;
    Sample *samples;
} Family;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Family *families;

static bool is_metric_name(const char *name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:";
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789";
    return *name && strchr(first, *name) && !name[strspn(name, all)];
}

static Family *family_of(MetricKind kind, const char *name, const char *help)
{
    Family **at = &families;
    for (; *at; at = &(*at)->next) {
        if (strcmp((*at)->name, name) == 0) {
            ASSERT((*at)->kind == kind);
            return *at;
        }
    }
    ASSERT(is_metric_name(name));
    *at = mem_zalloc(sizeof **at);
    **at = (Family){.name = mem_strdup(name), .help = mem_strdup(help), .kind = kind};
    return *at;
}

Metric *metrics_register(MetricKind kind, const char *name, const char *help, const char *labels)
{
    pthread_mutex_lock(&lock);
    Sample **at = &family_of(kind, name, help)->samples;
    while (*at && strcmp((*at)->labels, labels) != 0)
        at = &(*at)->next;
    if (!*at) {
        *at = mem_zalloc(sizeof **at);
        (*at)->labels = mem_strdup(labels);
    }
    Metric *metric = &(*at)->metric;
    pthread_mutex_unlock(&lock);
    return metric;
}

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static void put_escaped(Bytes *to, const char *text, bool quotes)
{
    for (; *text; text++) {
        if (*text == '\n')
            put_text(to, "\\n");
        else if (*text == '\\')
            put_text(to, "\\\\");
        else if (*text == '"' && quotes)
            put_text(to, "\\\"");
        else
            bytes_put_u8(to, (uint8_t)*text);
    }
}

char *metrics_label(const char *name, const char *value)
{
    Bytes label = {0};
    put_text(&label, name);
    put_text(&label, "=\"");
    put_escaped(&label, value, true);
    bytes_put(&label, "\"", 2); /* with its NUL */
    return (char *)label.data;
}

static void put_value(Bytes *to, double value)
{
    char text[32];
    if (isnan(value))
        put_text(to, "NaN");
    else if (isinf(value))
        put_text(to, value > 0 ? "+Inf" : "-Inf");
    else if (value == floor(value) && fabs(value) < 9007199254740992.0)
        put_text(to, (snprintf(text, sizeof text, "%.0f", value), text));
    else
        put_text(to, (snprintf(text, sizeof text, "%.17g", value), text));
}

void metrics_write(Bytes *to)
{
    pthread_mutex_lock(&lock);
    for (const Family *family = families; family; family = family->next) {
        put_text(to, "# HELP ");
        put_text(to, family->name);
        bytes_put_u8(to, ' ');
        put_escaped(to, family->help, false);
        put_text(to, "\n# TYPE ");
        put_text(to, family->name);
        put_text(to, family->kind == METRIC_COUNTER ? " counter\n" : " gauge\n");
        for (const Sample *sample = family->samples; sample; sample = sample->next) {
            put_text(to, family->name);
            if (*sample->labels) {
                bytes_put_u8(to, '{');
                put_text(to, sample->labels);
                bytes_put_u8(to, '}');
            }
            bytes_put_u8(to, ' ');
            put_value(to, atomic_load_explicit(&sample->metric.value, memory_order_relaxed));
            bytes_put_u8(to, '\n');
        }
    }
    pthread_mutex_unlock(&lock);
}
