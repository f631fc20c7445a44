/* What a relay shows beside what every flow does: what is on its way to Kafka, and its tables. */
#include "agent/relay/flow.h"
#include "common/clock.h"
#include "common/mem.h"

#define SHOW_US 100000

void relay_register(Relay *relay)
{
    AUTO(mem_free) char *label = metrics_label("connector", relay->base.name);
    relay->metrics.queued_bytes =
        metrics_register(METRIC_GAUGE, "firn_stream_queued_bytes",
                         "Records handed to Kafka's client and not acknowledged", label);
    relay->metrics.queued_records = metrics_register(METRIC_GAUGE, "firn_stream_queued_records",
                                                     "The same, as a number", label);
    relay->metrics.oldest = metrics_register(METRIC_GAUGE, "firn_stream_oldest_seconds",
                                             "For how long the oldest of them has waited", label);
    relay->metrics.records = metrics_register(METRIC_GAUGE, "firn_stream_acknowledged_records",
                                              "Records acknowledged by this flow", label);
    relay->metrics.bytes = metrics_register(METRIC_GAUGE, "firn_stream_acknowledged_bytes",
                                            "The same in bytes, before compression", label);
    relay->metrics.brokers_up = metrics_register(METRIC_GAUGE, "firn_stream_brokers_up",
                                                 "Brokers with a connection that works", label);
    relay->metrics.retries = metrics_register(METRIC_GAUGE, "firn_stream_retries",
                                              "Requests that this flow sent again", label);
    relay->metrics.dead_letters = metrics_register(METRIC_COUNTER, "firn_dead_letters_total",
                                                   "Records that went to the dead letters", label);
    relay->metrics.transactions = metrics_register(METRIC_COUNTER, "firn_stream_transactions_total",
                                                   "Kafka transactions committed", label);
}

void table_register(RelayTable *table)
{
    AUTO(mem_free) char *name = metrics_label("table", table->name);
    AUTO(mem_free) char *topic = metrics_label("topic", table->topic.name);
    AUTO(mem_free) char *labels = mem_format("%s,%s", name, topic);
    table->changes = metrics_register(METRIC_COUNTER, "firn_table_changes_total",
                                      "Rows copied and changes passed on", labels);
    copying_register(&table->count, labels);
}

static void show_kafka(RelayFlow *flow)
{
    KafkaFigures figures;
    Relay *relay = flow->relay;
    if (!flow->producer)
        return;
    kafka_producer_figures(flow->producer, &figures);
    metric_set(relay->metrics.queued_bytes, (double)figures.queued_bytes);
    metric_set(relay->metrics.queued_records, (double)figures.queued_records);
    metric_set(relay->metrics.oldest, (double)figures.oldest_us / 1e6);
    metric_set(relay->metrics.records, (double)figures.acknowledged_records);
    metric_set(relay->metrics.bytes, (double)figures.acknowledged_bytes);
    metric_set(relay->metrics.brokers_up, figures.health.brokers_up);
    metric_set(relay->metrics.retries, (double)figures.health.retries);
}

void relay_show(RelayFlow *flow)
{
    int64_t now_us = clock_mono_us();
    if (now_us < flow->figures_after_us)
        return;
    flow->figures_after_us = now_us + SHOW_US;
    CaptureFigures capture;
    capture_figures(flow->capture, &capture);
    Shown shown = {.capture = &capture,
                   .durable = flow->durable,
                   .rows = atomic_load(&flow->rows),
                   .commits = flow->transactions,
                   .draining = relay_stopping(flow),
                   .copy = {.tables = flow->copying}};
    for (size_t i = 0; flow->copying && i < flow->table_count; i++)
        copying_add(&flow->tables[i].count, &shown.copy);
    supervised_show(&flow->relay->base, &flow->marks, &shown);
    show_kafka(flow);
}
