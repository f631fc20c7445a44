/* A topic of plain JSON events, that others write. */
#pragma once

#include "tests/unit/ingest/source.h"

static inline void parse_events(Source *source, const char *text)
{
    Findings findings = {0};
    manifest_free(source->manifest);
    if (!manifest_parse("test", text, strlen(text), &source->manifest, &findings))
        fail_msg("%s: %s", findings.items[0].path, findings.items[0].message);
    findings_done(&findings);
}

/* To the partition of its key; value NULL: none. */
static inline void say(Source *source, int64_t id, const char *value)
{
    Error err = {0};
    Bytes held = {0};
    char key[64];
    size_t key_bytes = (size_t)snprintf(key, sizeof key, "{\"id\": %lld}", (long long)id);
    size_t value_bytes = value ? strlen(value) : 0;
    bytes_put(&held, key, key_bytes);
    bytes_put(&held, value ? value : "", value_bytes);
    KafkaRecord record = {.topic = source->topic,
                          .key = held.data,
                          .key_bytes = (uint32_t)key_bytes,
                          .value = value ? held.data + key_bytes : NULL,
                          .value_bytes = (uint32_t)value_bytes,
                          .partition = (int32_t)(id % PARTITIONS)};
    if (kafka_producer_send(source->producer, &held, &record, 1, SOON_MS, &source->flights, &err) !=
        KAFKA_SENT)
        fail_msg("%s: %s", err.code, err.message);
}

static inline void start_events(Process *process, const Source *source)
{
    *process = (Process){.flow = ingest_new_topic(source->manifest, &source->manifest->units[0])};
    process->thread = thread_start("flow", run, process);
}
