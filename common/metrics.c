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
    uint64_t hash;
    Metric metric;
} Sample;

typedef struct Family {
    struct Family *next;
    char *name;
    char *help;
    MetricKind kind;
    Sample *samples, **end; /* in the order of their registration */
    Sample **slots;         /* by labels, open addressing: ten thousand tables have a sample each */
    size_t count, slot_count;
} Family;

typedef struct Writer {
    void (*write)(void *context, Bytes *to);
    void *context;
} Writer;

#define WRITERS_MAX 8
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Family *families;
static pthread_mutex_t writers_lock = PTHREAD_MUTEX_INITIALIZER;
static Writer writers[WRITERS_MAX];

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
    (*at)->end = &(*at)->samples;
    return *at;
}

static uint64_t hash_of(const char *text) /* FNV-1a */
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

static Sample **slot_of(const Family *family, const char *labels, uint64_t hash)
{
    size_t at = hash & (family->slot_count - 1);
    while (family->slots[at] &&
           (family->slots[at]->hash != hash || strcmp(family->slots[at]->labels, labels) != 0))
        at = (at + 1) & (family->slot_count - 1);
    return &family->slots[at];
}

static void grow(Family *family)
{
    family->slot_count = family->slot_count ? family->slot_count * 2 : 16;
    free(family->slots);
    family->slots = mem_array(family->slot_count, sizeof *family->slots);
    for (Sample *sample = family->samples; sample; sample = sample->next)
        *slot_of(family, sample->labels, sample->hash) = sample;
}

Metric *metrics_register(MetricKind kind, const char *name, const char *help, const char *labels)
{
    pthread_mutex_lock(&lock);
    Family *family = family_of(kind, name, help);
    uint64_t hash = hash_of(labels);
    if ((family->count + 1) * 2 > family->slot_count)
        grow(family);
    Sample **at = slot_of(family, labels, hash);
    if (!*at) {
        *at = *family->end = mem_zalloc(sizeof **at);
        **at = (Sample){.labels = mem_strdup(labels), .hash = hash};
        family->end = &(*at)->next;
        family->count++;
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

char *metrics_label_value(const char *labels, const char *name)
{
    size_t bytes = strlen(name);
    for (const char *at = labels; *at;) {
        bool wanted = strncmp(at, name, bytes) == 0 && at[bytes] == '=';
        Bytes value = {0};
        at += strcspn(at, "=");
        at += strcspn(at, "\"");
        for (at += *at == '"'; *at && *at != '"'; at++) {
            bool escaped = *at == '\\' && at[1];
            at += escaped;
            bytes_put_u8(&value, (uint8_t)(escaped && *at == 'n' ? '\n' : *at));
        }
        at += *at == '"';
        at += *at == ',';
        bytes_put_u8(&value, '\0');
        if (wanted)
            return (char *)value.data;
        bytes_done(&value);
    }
    return NULL;
}

size_t metrics_count(void)
{
    size_t count = 0;
    pthread_mutex_lock(&lock);
    for (const Family *family = families; family; family = family->next)
        count += family->count;
    pthread_mutex_unlock(&lock);
    return count;
}

void metrics_each(void (*each)(void *context, const char *name, const char *labels, Metric *metric),
                  void *context)
{
    pthread_mutex_lock(&lock);
    for (Family *family = families; family; family = family->next)
        for (Sample *sample = family->samples; sample; sample = sample->next)
            each(context, family->name, sample->labels, &sample->metric);
    pthread_mutex_unlock(&lock);
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

void metrics_add_writer(void (*write)(void *context, Bytes *to), void *context)
{
    size_t at = 0;
    pthread_mutex_lock(&writers_lock);
    while (at < WRITERS_MAX && writers[at].write)
        at++;
    ASSERT(at < WRITERS_MAX);
    writers[at] = (Writer){write, context};
    pthread_mutex_unlock(&writers_lock);
}

void metrics_drop_writer(const void *context)
{
    pthread_mutex_lock(&writers_lock);
    for (size_t i = 0; i < WRITERS_MAX; i++)
        if (writers[i].context == context)
            writers[i] = (Writer){0};
    pthread_mutex_unlock(&writers_lock);
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
    pthread_mutex_lock(&writers_lock);
    for (size_t i = 0; i < WRITERS_MAX; i++)
        if (writers[i].write)
            writers[i].write(writers[i].context, to);
    pthread_mutex_unlock(&writers_lock);
}
