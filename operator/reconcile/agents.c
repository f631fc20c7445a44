/* The agents: who of them is listened to, and whose status is looked at because of what they say.
 * One thread keeps the line moving. The channel is there before anything is made, because Pods get
 * what they are to trust of it: made without, all of them would be rolled when it is there, and all
 * that run because it is not. So an operator that can't listen is not ready, and says why. */
#include <malloc.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "operator/reconcile/reconcile.h"

#define TICK_US 100000
#define SCAN_US 1000000
#define TRIM_EVERY_US 10000000
#define AGAIN_US 5000000

char *reports_key(char kind, const char *namespace_name, const char *name)
{
    return mem_format("%c/%s/%s", kind, namespace_name, name);
}

/* --- who is listened to --- */

static bool foreign(const ChannelPod *pod, Error *err)
{
    return error_set(err, ERROR_CONFIG, "ForeignPod", "Pod %s of namespace %s is no agent's",
                     pod->name, pod->namespace_name);
}

/* Three have to agree: the token's Pod is the very one that the watch knows, its labels say whose
 * it is, and its ServiceAccount is the one that was made for that. */
static bool admit(void *context, const ChannelPod *from, char **ret_owner, Error *err)
{
    Operator *op = context;
    char account[NAME_BYTES_MAX];
    AUTO(json_free)
    json_t *pod = cache_get(op->cache, KIND_POD, from->namespace_name, from->name);
    if (!pod) /* it may be newer than what the watch has told */
        return error_set(err, ERROR_RETRY, "NotNow", "Pod %s is not known", from->name);
    const char *role = object_label(pod, LABEL_ROLE), *uid = object_uid(pod);
    bool captures = role && strcmp(role, "capture") == 0;
    bool ingests = role && strcmp(role, "ingest") == 0;
    if (!uid || strcmp(uid, from->uid) != 0 || (!captures && !ingests))
        return foreign(from, err);
    Kind kind = captures ? KIND_CONNECTOR : KIND_UNIT;
    AUTO(mem_free)
    char *owner = name_of_labelled(op, kind, from->namespace_name,
                                   object_label(pod, captures ? LABEL_CONNECTOR : LABEL_UNIT));
    AUTO(mem_free)
    char *version = owner ? cache_version(op->cache, kind, from->namespace_name, owner) : NULL;
    if (!version)
        return foreign(from, err);
    name_of_child(owner, captures ? "-capture" : "-ingest", account);
    if (strcmp(account, from->account) != 0)
        return foreign(from, err);
    *ret_owner = reports_key(captures ? 'c' : 'u', from->namespace_name, owner);
    return true;
}

/* What nobody changed is what it was: that is asked often, and of all. */
static bool stands(void *context, const ChannelPod *pod, const char *owner, char **version)
{
    Operator *op = context;
    Error err;
    Kind kind = owner[0] == 'c' ? KIND_CONNECTOR : KIND_UNIT;
    const char *name = strchr(owner + 2, '/');
    AUTO(mem_free) char *before = *version;
    *version = cache_version(op->cache, KIND_POD, pod->namespace_name, pod->name);
    if (before && *version && strcmp(before, *version) == 0 &&
        cache_has(op->cache, kind, pod->namespace_name, name ? name + 1 : ""))
        return true;
    AUTO(mem_free) char *now = NULL;
    return admit(op, pod, &now, &err) && strcmp(now, owner) == 0;
}

static void joined(void *context, const char *owner, const char *pod)
{
    reports_joined(((Operator *)context)->reports, owner, pod);
}

static void said(void *context, const char *owner, const char *pod, ChannelReport *report)
{
    reports_said(((Operator *)context)->reports, owner, pod, report, clock_mono_us(),
                 clock_wall_us() / 1000000);
}

static void left(void *context, const char *owner, const char *pod)
{
    reports_left(((Operator *)context)->reports, owner, pod);
}

/* --- the channel --- */

static void write_agents(void *context, Bytes *to)
{
    reports_write(context, to);
}

/* False: it was stopped. */
static bool open_channel(Operator *op)
{
    const ChannelTaker taker = {.admit = admit,
                                .stands = stands,
                                .joined = joined,
                                .said = said,
                                .left = left,
                                .context = op};
    do {
        Error err = {0};
        Channel *channel = channel_start(op->api, op->options.channel, &taker, &err);
        if (channel) {
            log_info("listening to agents", LOG_T("address", op->options.channel->address),
                     LOG_U("port", channel_port(channel)),
                     LOG_T("host", op->options.channel->host));
            atomic_store(&op->channel, channel);
            return true;
        }
        log_error("agents can't report, and nothing is made until they can",
                  LOG_T("reason", err.code), LOG_T("error", err.message));
    } while (api_sleep(op->api, AGAIN_US));
    return false;
}

void agents_begin(Operator *op)
{
    if (op->options.channel)
        metrics_add_writer(write_agents, op->reports);
}

void agents_end(Operator *op)
{
    Channel *channel = atomic_exchange(&op->channel, NULL);
    if (op->options.channel)
        metrics_drop_writer(op->reports);
    channel_stop(channel);
}

bool agents_wait(Operator *op)
{
    while (!operator_listens(op))
        if (!api_sleep(op->api, TICK_US))
            return false;
    return true;
}

char *agents_terms(Operator *op, ConnectorInput *input)
{
    Channel *channel = atomic_load(&op->channel);
    if (!channel)
        return NULL;
    char *trust = channel_trust(channel);
    input->channel_host = op->options.channel->host;
    input->channel_port = channel_port(channel);
    input->channel_trust = trust;
    return trust;
}

/* --- the line --- */

static void line_up_unit(void *context, const char *namespace_name, const char *name)
{
    AUTO(mem_free) char *key = reports_key('u', namespace_name, name);
    reports_line_up(context, key);
}

/* Whatever stands for a resource is looked at; a Connector's process tells its units' figures. */
static void have_looked(Operator *op, const char *key, bool figures)
{
    const char *space = key + 2, *slash = strchr(space, '/');
    AUTO(mem_free) char *name_space = mem_strndup(space, (size_t)(slash - space));
    if (figures)
        enqueue_light(op, key[0], name_space, slash + 1);
    else
        enqueue(op, key[0], name_space, slash + 1);
    if (key[0] != 'c')
        return;
    if (figures)
        cache_each_name(op->cache, KIND_UNIT, name_space, 0, slash + 1, line_up_unit, op->reports);
    else
        enqueue_units_of(op, name_space, slash + 1);
}

/* Another CA: it goes into what the Pods mount. */
static void look_at_trust(Operator *op, uint64_t *trusted)
{
    AUTO(mem_free) char *trust = channel_trust(atomic_load(&op->channel));
    uint64_t hash = hash_of_text(trust);
    if (*trusted && hash != *trusted) {
        cache_each_name(op->cache, KIND_CONNECTOR, NULL, 0, NULL, enqueue_each,
                        &(Enqueued){op, 'c'});
        cache_each_name(op->cache, KIND_UNIT, NULL, 0, NULL, enqueue_each, &(Enqueued){op, 'u'});
    }
    *trusted = hash;
}

void agents_run(void *argument)
{
    Operator *op = argument;
    int64_t trim_us = 0, scan_us = 0;
    uint64_t trusted = 0;
    bool listens = op->options.channel && open_channel(op);
    while (api_sleep(op->api, TICK_US)) {
        int64_t now_us = clock_mono_us();
        if (now_us > trim_us) { /* what a crowd of changes took is given back */
            malloc_trim(0);
            trim_us = now_us + TRIM_EVERY_US;
            if (listens)
                look_at_trust(op, &trusted);
        }
        bool turn = now_us > scan_us; /* many looks at once cost less than as many one by one */
        if (turn)
            scan_us = now_us + SCAN_US;
        if (turn && listens)
            reports_scan(op->reports, now_us);
        bool figures;
        for (char *key; (key = reports_next(op->reports, now_us, turn, &figures)); free(key))
            have_looked(op, key, figures);
    }
}
