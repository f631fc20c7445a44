/* A client: librdkafka's instance and the one thread that takes its events (errors, statistics,
 * tokens to renew). What went wrong last is kept, so that whoever waits for the brokers can say
 * why. Acknowledgements do not come this way (producer.c). */
#include "agent/kafka/private.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define SLICE_MS 100

static void log_line(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    /* Of syslog's levels; 3 is one failed try. What is left at the end is left on purpose,
     * CONFWARN is what conf.c and producer.c chose knowingly, and what is tried again (a
     * coordinator that loads) becomes the client's problem if it lasts. */
    bool expected = strcmp(facility, "CONFWARN") == 0 || strcmp(facility, "TERMINATE") == 0 ||
                    strstr(text, ": retrying");
    LogLevel ours = level <= 4 && !expected ? LOG_WARN : LOG_DEBUG;
    log_event(ours, "kafka", LOG_T("facility", facility), LOG_T("text", text));
}

static void set_problem(KafkaClient *client, const Error *problem)
{
    pthread_mutex_lock(&client->lock);
    /* That all are down says less than why the last of them is. */
    client->health.problem = *problem;
    pthread_mutex_unlock(&client->lock);
    if (client->changed)
        client->changed(client->changed_context);
}

void kafka_client_note(KafkaClient *client, rd_kafka_resp_err_t code, const char *text)
{
    Error problem = {0};
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        pthread_mutex_lock(&client->lock);
        client->health.all_down = true;
        bool known = client->health.problem.kind != ERROR_NONE;
        pthread_mutex_unlock(&client->lock);
        if (known)
            return;
    }
    (void)kafka_fault(client, &problem, code, text, "the cluster", "Describe");
    set_problem(client, &problem);
}

static void take_error(KafkaClient *client, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char *text = rd_kafka_event_error_string(event);
    char fatal[256] = "";
    if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION && client->token_failed)
        return; /* that there is no token, which we know better */
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT && strstr(text, " in state UP"))
        return; /* brokers close idle connections all day long; librdkafka opens them again */
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        code = rd_kafka_fatal_error(client->rk, fatal, sizeof fatal);
        text = fatal;
    }
    kafka_client_note(client, code, text);
}

static void take_stats(KafkaClient *client, rd_kafka_event_t *event)
{
    const char *json = rd_kafka_event_stats(event);
    KafkaHealth now = {0};
    kafka_stats_read(json, strlen(json), &now);
    pthread_mutex_lock(&client->lock);
    client->health.brokers_known = now.brokers_known;
    client->health.brokers_up = now.brokers_up;
    client->health.retries = now.retries;
    if (now.brokers_up) {
        client->health.all_down = false;
        client->health.problem = (Error){0};
    }
    pthread_mutex_unlock(&client->lock);
}

static void renew_token(KafkaClient *client)
{
    Error err = {0};
    client->token_failed = !kafka_token_renew(client->token, client->rk, &err);
    if (!client->token_failed)
        return;
    (void)rd_kafka_oauthbearer_set_token_failure(client->rk, err.message);
    set_problem(client, &err);
}

static void take_events(void *argument)
{
    KafkaClient *client = argument;
    while (!atomic_load(&client->stop)) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(client->events, -1);
        switch (rd_kafka_event_type(event)) {
        case RD_KAFKA_EVENT_ERROR:
            take_error(client, event);
            break;
        case RD_KAFKA_EVENT_STATS:
            take_stats(client, event);
            break;
        case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
            if (client->token)
                renew_token(client);
            break;
        default:
            break;
        }
        if (event)
            rd_kafka_event_destroy(event);
    }
}

/* --- opening --- */

static bool problem_of(KafkaClient *client, Error *err)
{
    pthread_mutex_lock(&client->lock);
    *err = client->health.problem;
    pthread_mutex_unlock(&client->lock);
    return err->kind != ERROR_NONE;
}

/* Some broker has answered: then the cluster's id is known. What time does not mend ends it at
 * once. */
static bool wait_for_cluster(KafkaClient *client, int64_t patience_ms, Error *err)
{
    int64_t until_us = clock_mono_us() + patience_ms * 1000;
    for (;;) {
        char *id = rd_kafka_clusterid(client->rk, SLICE_MS);
        if (id) {
            client->cluster = mem_format("kafka/%s", id);
            rd_kafka_mem_free(client->rk, id);
            pthread_mutex_lock(&client->lock);
            client->health.problem = (Error){0};
            client->health.all_down = false;
            pthread_mutex_unlock(&client->lock);
            return true;
        }
        bool known = problem_of(client, err);
        if (known && kafka_fault_is_final(err))
            return false;
        if (clock_mono_us() < until_us)
            continue;
        return known ? false
                     : error_set(err, ERROR_RETRY, "BrokersUnreachable",
                                 "kafka %s can't be reached (%s.%s): no answer "
                                 "within %lld ms",
                                 client->brokers, client->field, client->asked,
                                 (long long)patience_ms);
    }
}

static void keep_names(KafkaClient *client, rd_kafka_conf_t *conf, const KafkaSpec *spec,
                       const KafkaClientOptions *options)
{
    char brokers[4096] = "";
    size_t bytes = sizeof brokers;
    (void)rd_kafka_conf_get(conf, "bootstrap.servers", brokers, &bytes);
    brokers[sizeof brokers - 1] = '\0';
    client->brokers = mem_strdup(brokers);
    client->field = mem_strdup(options->field);
    client->asked = spec->strimzi.cluster
                        ? "strimzi, whose Service has that name inside Kubernetes alone; elsewhere "
                          "write bootstrapServers"
                        : "bootstrapServers";
    bool sasl = spec->protocol == KAFKA_SASL_PLAINTEXT || spec->protocol == KAFKA_SASL_SSL;
    client->user = sasl && spec->username ? mem_strdup(spec->username) : NULL;
    client->scram =
        sasl && (spec->mechanism == KAFKA_SCRAM_SHA_256 || spec->mechanism == KAFKA_SCRAM_SHA_512);
}

bool kafka_client_start(KafkaClient *client, rd_kafka_conf_t *conf, const KafkaSpec *spec,
                        const KafkaClientOptions *options, Error *err)
{
    pthread_mutex_init(&client->lock, NULL);
    keep_names(client, conf, spec, options);
    bool sasl = spec->protocol == KAFKA_SASL_PLAINTEXT || spec->protocol == KAFKA_SASL_SSL;
    int events = RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS;
    if (sasl && spec->mechanism == KAFKA_OAUTHBEARER) {
        client->token = kafka_token_new(spec, options->field, err);
        if (!client->token) {
            rd_kafka_conf_destroy(conf);
            return false;
        }
        events |= RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
    }
    rd_kafka_conf_set_events(conf, events);
    rd_kafka_conf_set_log_cb(conf, log_line);
    char text[512] = "";
    if (!kafka_conf_try(spec, options, err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    client->rk = rd_kafka_new(client->consumes ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, text,
                              sizeof text);
    if (!client->rk) /* not freed: librdkafka 2.0.2 has half freed one that has interceptors */
        return error_set(err, ERROR_CONFIG, "KafkaOption", "%s: %s", options->field, text);
    client->events = rd_kafka_queue_get_main(client->rk);
    client->thread = thread_start("kafka", take_events, client);
    return wait_for_cluster(client, options->patience_ms ? options->patience_ms : KAFKA_PATIENCE_MS,
                            err);
}

void kafka_client_stop(KafkaClient *client)
{
    if (client->thread) {
        atomic_store(&client->stop, true);
        rd_kafka_queue_yield(client->events);
        thread_join(client->thread);
        client->thread = NULL;
    }
    if (client->events)
        rd_kafka_queue_destroy(client->events);
    client->events = NULL;
    if (client->rk)
        rd_kafka_destroy(client->rk);
    client->rk = NULL;
    kafka_token_free(client->token);
    client->token = NULL;
    free(client->brokers);
    free(client->cluster);
    free(client->field);
    free(client->user);
    pthread_mutex_destroy(&client->lock);
}

void kafka_client_free(KafkaClient *client)
{
    if (!client)
        return;
    kafka_client_stop(client);
    free(client);
}

KafkaClient *kafka_client_open(const KafkaSpec *spec, const KafkaClientOptions *options, Error *err)
{
    rd_kafka_conf_t *conf = kafka_conf_new(spec, options, err);
    if (!conf)
        return NULL;
    KafkaClient *client = mem_zalloc(sizeof *client);
    if (kafka_client_start(client, conf, spec, options, err))
        return client;
    kafka_client_free(client);
    return NULL;
}

const char *kafka_client_cluster(const KafkaClient *client)
{
    return client->cluster;
}

const char *kafka_client_brokers(const KafkaClient *client)
{
    return client->brokers;
}

void kafka_client_health(KafkaClient *client, KafkaHealth *ret)
{
    pthread_mutex_lock(&client->lock);
    *ret = client->health;
    pthread_mutex_unlock(&client->lock);
}
