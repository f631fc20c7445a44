/* Figures for /metrics in Prometheus text format 0.0.4. A metric is registered once; its value is
 * set or added to from any thread without a lock (relaxed atomics). Labels are fixed at
 * registration. */
#pragma once

#include <stdatomic.h>

#include "common/bytes.h"

typedef enum MetricKind { METRIC_COUNTER, METRIC_GAUGE } MetricKind;
typedef struct Metric {
    _Atomic(double) value;
} Metric;

/* labels: `table="public.orders",unit="retail/orders"` already escaped (metrics_label), or "". The
 * same name and labels give the same Metric again. Lives as long as the process. */
Metric *metrics_register(MetricKind kind, const char *name, const char *help, const char *labels);
/* name="value", escaped as the format wants; caller frees. */
char *metrics_label(const char *name, const char *value);
void metrics_write(Bytes *to);
/* Whoever has samples that come and go writes them himself, behind the others; `context` is what it
 * is dropped by, and afterwards it is not called any more. */
void metrics_add_writer(void (*write)(void *context, Bytes *to), void *context);
void metrics_drop_writer(const void *context);
/* How many there are: grows whenever one is added. */
size_t metrics_count(void);
/* Each with its name and its labels as they were registered, under the lock: `each` must not
 * register. The Metric may be kept. */
void metrics_each(void (*each)(void *context, const char *name, const char *labels, Metric *metric),
                  void *context);
/* The value of a label, unescaped; NULL: it is not among them. The caller's. */
char *metrics_label_value(const char *labels, const char *name);

static inline void metric_set(Metric *metric, double value)
{
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}
static inline void metric_add(Metric *metric, double by)
{
    double old = atomic_load_explicit(&metric->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&metric->value, &old, old + by,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}
