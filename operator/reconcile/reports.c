/* The figures of the agents: while it works, one thread asks each agent's /metrics, when its Pod
 * starts or becomes ready and then at most once a minute, and what they say is kept until the next
 * time. Statuses of many units are spread over that minute. An agent that can't be asked costs
 * nothing but its figures: what holds of it, Kubernetes says. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/http/http_client.h"
#include "common/log.h"
#include "operator/reconcile/reconcile.h"

#define EVERY_US 60000000
#define AGAIN_US 10000000 /* after a failure */
#define TICK_US 500000
#define TRIM_EVERY_US 10000000
#define ANSWER_MS 2000
#define ANSWER_BYTES_MAX (16u << 20)
#define WRITES_PER_S 20

typedef struct Asked {
    char *pod; /* namespace/name */
    char *space, *address;
    char kind; /* 'c' or 'u' */
    char *owner;
    bool ready;
    bool there; /* among the Pods that were listed last */
    int64_t due_us;
} Asked;

struct Reports {
    pthread_mutex_t lock;
    json_t *known; /* "c/ns/name" → figures, with "at" */
    atomic_bool pods_changed;
    Asked *asked; /* the thread's own */
    size_t asked_count;
};

Reports *reports_new(void)
{
    Reports *reports = mem_zalloc(sizeof *reports);
    pthread_mutex_init(&reports->lock, NULL);
    reports->known = json_object();
    atomic_store(&reports->pods_changed, true);
    return reports;
}

static void asked_done(Asked *asked)
{
    free(asked->pod);
    free(asked->space);
    free(asked->address);
    free(asked->owner);
}

void reports_free(Reports *reports)
{
    if (!reports)
        return;
    for (size_t i = 0; i < reports->asked_count; i++)
        asked_done(&reports->asked[i]);
    free(reports->asked);
    json_decref(reports->known);
    pthread_mutex_destroy(&reports->lock);
    free(reports);
}

void reports_pod_changed(Reports *reports)
{
    atomic_store(&reports->pods_changed, true);
}

/* --- what is known --- */

static char *key_of(char kind, const char *namespace_name, const char *name)
{
    return mem_format("%c/%s/%s", kind, namespace_name, name);
}

static void keep(Reports *reports, const Asked *asked, json_t *figures /* taken */)
{
    AUTO(mem_free) char *key = key_of(asked->kind, asked->space, asked->owner);
    const char *made;
    json_t *one;
    pthread_mutex_lock(&reports->lock);
    json_object_foreach(object_at(json_object_get(reports->known, key), "units"), made, one)
    {
        json_t *owner = json_object_get(one, "of");
        json_t *now = json_object_get(json_object_get(figures, "units"), made);
        if (owner && now)
            json_object_set(now, "of", owner);
    }
    json_object_set_new(reports->known, key, figures);
    pthread_mutex_unlock(&reports->lock);
}

json_t *reports_get(Reports *reports, char kind, const char *namespace_name, const char *name)
{
    AUTO(mem_free) char *key = key_of(kind, namespace_name, name);
    pthread_mutex_lock(&reports->lock);
    json_t *found = json_deep_copy(json_object_get(reports->known, key));
    pthread_mutex_unlock(&reports->lock);
    return found;
}

bool reports_claim(Reports *reports, const char *namespace_name, const char *connector,
                   const json_t *owners)
{
    AUTO(mem_free) char *key = key_of('c', namespace_name, connector);
    const char *made;
    json_t *one;
    bool changed = false;
    pthread_mutex_lock(&reports->lock);
    json_object_foreach(object_at(json_object_get(reports->known, key), "units"), made, one)
    {
        json_t *owner = json_object_get(owners, made);
        if (!owner || json_equal(owner, json_object_get(one, "of")))
            continue;
        json_object_set(one, "of", owner);
        changed = true;
    }
    pthread_mutex_unlock(&reports->lock);
    return changed;
}

static void add(json_t *to, const char *figure, const json_t *from)
{
    json_t *value = json_object_get(from, figure);
    if (value)
        json_object_set_new(to, figure,
                            json_integer(json_integer_value(json_object_get(to, figure)) +
                                         json_integer_value(value)));
}

json_t *reports_of_unit(Reports *reports, char kind, const char *namespace_name, const char *name,
                        const char *unit)
{
    AUTO(mem_free) char *key = key_of(kind, namespace_name, name);
    json_t *sum = json_object(), *one;
    const char *made;
    bool found = false;
    pthread_mutex_lock(&reports->lock);
    const json_t *report = json_object_get(reports->known, key);
    static const char *const whole[] = {"at", "lag", "freshness", "phase"};
    for (size_t i = 0; report && i < ARRAY_LEN(whole); i++) {
        json_t *value = json_object_get(report, whole[i]);
        if (value)
            json_object_set_new(sum, whole[i], json_deep_copy(value));
    }
    json_object_foreach(json_object_get(report, "units"), made, one)
    {
        const char *of = json_string_value(json_object_get(one, "of"));
        if (strcmp(made, unit) != 0 && !(of && strcmp(of, unit) == 0))
            continue;
        found = true;
        add(sum, "rows", one);
        add(sum, "copying", one);
        add(sum, "copied", one);
        add(sum, "toCopy", one);
    }
    pthread_mutex_unlock(&reports->lock);
    if (found)
        return sum;
    json_decref(sum);
    return NULL;
}

/* --- asking --- */

static bool is_ready(const json_t *pod)
{
    size_t i;
    json_t *one;
    json_array_foreach(object_at(pod, "status.conditions"), i, one)
    {
        const char *type = object_text(one, "type"), *is = object_text(one, "status");
        if (type && is && strcmp(type, "Ready") == 0)
            return strcmp(is, "True") == 0;
    }
    return false;
}

static Asked *asked_named(Reports *reports, const char *pod)
{
    for (size_t i = 0; i < reports->asked_count; i++)
        if (strcmp(reports->asked[i].pod, pod) == 0)
            return &reports->asked[i];
    return NULL;
}

static void see_pod(Operator *op, const json_t *pod, int64_t now_us)
{
    Reports *reports = op->reports;
    const char *role = object_label(pod, LABEL_ROLE), *address = object_text(pod, "status.podIP");
    const char *phase = object_text(pod, "status.phase"), *space = object_namespace(pod);
    if (!role || !address || !phase || strcmp(phase, "Running") != 0 || object_is_deleted(pod))
        return;
    bool captures = strcmp(role, "capture") == 0;
    if (!captures && strcmp(role, "ingest") != 0)
        return;
    AUTO(mem_free)
    char *owner = name_of_labelled(op, captures ? KIND_CONNECTOR : KIND_UNIT, space,
                                   object_label(pod, captures ? LABEL_CONNECTOR : LABEL_UNIT));
    if (!owner)
        return;
    AUTO(mem_free) char *name = mem_format("%s/%s", space, object_name(pod));
    Asked *asked = asked_named(reports, name);
    bool ready = is_ready(pod);
    if (!asked) {
        reports->asked =
            mem_regrow(reports->asked, reports->asked_count + 1, sizeof *reports->asked);
        asked = &reports->asked[reports->asked_count++];
        *asked = (Asked){.pod = TAKE(name),
                         .space = mem_strdup(space),
                         .kind = captures ? 'c' : 'u',
                         .owner = TAKE(owner),
                         .due_us = now_us};
    }
    if (ready && !asked->ready)
        asked->due_us = now_us;
    asked->ready = ready;
    asked->there = true;
    free(asked->address);
    asked->address = strchr(address, ':') ? mem_format("[%s]", address) : mem_strdup(address);
}

static void see_pods(Operator *op, int64_t now_us)
{
    Reports *reports = op->reports;
    AUTO(json_free) json_t *pods = cache_list(op->cache, KIND_POD, NULL, 0, NULL);
    for (size_t i = 0; i < reports->asked_count; i++)
        reports->asked[i].there = false;
    size_t i;
    json_t *pod;
    json_array_foreach(pods, i, pod)
    {
        see_pod(op, pod, now_us);
    }
    size_t kept = 0;
    for (i = 0; i < reports->asked_count; i++) {
        if (reports->asked[i].there)
            reports->asked[kept++] = reports->asked[i];
        else
            asked_done(&reports->asked[i]);
    }
    reports->asked_count = kept;
}

typedef struct Spread {
    Operator *op;
    int64_t now_us, step_us;
    int64_t count;
} Spread;

static void enqueue_later(void *context, const char *namespace_name, const char *name)
{
    Spread *to = context;
    char key[WORK_KEY_BYTES_MAX];
    int bytes = snprintf(key, sizeof key, "u/%s/%s", namespace_name, name);
    if (bytes > 0 && (size_t)bytes < sizeof key)
        work_queue_put_at(to->op->queue, key, to->now_us + to->count++ * to->step_us, to->now_us);
}

/* Of a unit's consumers one commits, and knows the table. */
static bool commits(const json_t *figures, const char *unit)
{
    const json_t *units = json_object_get(figures, "units");
    return json_integer_value(json_object_get(json_object_get(units, unit), "commits")) == 1;
}

static bool ask(Operator *op, HttpClient *client, const Asked *asked)
{
    AUTO(mem_free) char *url = mem_format("http://%s:%d/metrics", asked->address, AGENT_PORT);
    HttpRequest request = {
        .method = "GET", .url = url, .timeout_ms = ANSWER_MS, .answer_bytes_max = ANSWER_BYTES_MAX};
    HttpAnswer answer = {0};
    Error err = {0};
    bool ok = http_send(client, &request, &answer, &err) && answer.status == 200;
    if (ok) {
        json_t *figures =
            figures_of_metrics((const char *)answer.body.data, answer.body.used, asked->space);
        json_object_set_new(figures, "at", json_integer(clock_wall_us() / 1000000));
        if (asked->kind == 'c' || commits(figures, asked->owner))
            keep(op->reports, asked, figures);
        else
            json_decref(figures);
    } else {
        log_debug("no figures of an agent", LOG_T("pod", asked->pod), LOG_T("error", err.message));
    }
    http_answer_done(&answer);
    return ok;
}

/* Never more than WRITES_PER_S statuses a second for figures, however many units there are. */
static int64_t period_us(Operator *op)
{
    int64_t least = op->options.figures_us ? op->options.figures_us : EVERY_US;
    int64_t all = (int64_t)cache_count(op->cache, KIND_UNIT) * (1000000 / WRITES_PER_S);
    return all > least ? all : least;
}

void reports_run(void *argument)
{
    Operator *op = argument;
    Error err = {0};
    AUTO(http_client_free)
    HttpClient *client = http_client_new(
        &(HttpClientOptions){.connect_timeout_ms = ANSWER_MS, .connections_max = 1}, &err);
    ASSERT(client);
    int64_t trim_us = 0;
    while (api_sleep(op->api, TICK_US)) {
        int64_t now_us = clock_mono_us();
        if (now_us > trim_us) { /* what a crowd of changes took is given back */
            malloc_trim(0);
            trim_us = now_us + TRIM_EVERY_US;
        }
        if (atomic_exchange(&op->reports->pods_changed, false))
            see_pods(op, now_us);
        for (size_t i = 0; i < op->reports->asked_count && !api_stopping(op->api); i++) {
            Asked *asked = &op->reports->asked[i];
            if (asked->due_us > now_us)
                continue;
            bool ok = ask(op, client, asked);
            int64_t period = period_us(op);
            asked->due_us = clock_mono_us() + (ok || period < AGAIN_US ? period : AGAIN_US);
            if (!ok)
                continue;
            enqueue(op, asked->kind, asked->space, asked->owner);
            Spread spread = {op, now_us, 1000000 / WRITES_PER_S, 1};
            if (asked->kind == 'c')
                cache_each_name(op->cache, KIND_UNIT, asked->space, 0, asked->owner, enqueue_later,
                                &spread);
        }
    }
}
