/* What is deleted and leaves something behind: a Job with the agent's image drops that, for the
 * operator holds no Secret, and then the finalizer goes. What is in the way (a source that can't be
 * reached, a Secret that went with the resource, a quota, a webhook) is said, and tried again until
 * --cleanup-timeout; what is there then stays behind, and is named. A namespace that is going takes
 * nothing new, ever: there it ends at once. */
#include <stdio.h>

#include "common/crash.h"
#include "operator/reconcile/reconcile.h"

#define LOOK_US 2000000
#define CLEANUP_US 300000000
#define PHASE "Deleting"

static int64_t limit_us(const Operator *op)
{
    return op->options.cleanup_us ? op->options.cleanup_us : CLEANUP_US;
}

static int64_t deleted_at_s(const json_t *object, int64_t now_s)
{
    int64_t age_s = time_age_s(object_text(object, "metadata.deletionTimestamp"), now_s);
    return age_s > 0 ? now_s - age_s : now_s;
}

/* "Complete", "Failed", or NULL: it runs. *ret_why: what the Job's controller says of it. */
static const char *job_end(const json_t *job, const char **ret_why)
{
    size_t i;
    json_t *one;
    json_array_foreach(object_at(job, "status.conditions"), i, one)
    {
        const char *type = object_text(one, "type"), *is = object_text(one, "status");
        if (type && is && strcmp(is, "True") == 0 &&
            (strcmp(type, "Complete") == 0 || strcmp(type, "Failed") == 0)) {
            *ret_why = object_text(one, "message");
            return type[0] == 'C' ? "Complete" : "Failed";
        }
    }
    return NULL;
}

static bool finish(Look *look, const Drop *drop, const char *job, Error *err)
{
    return api_delete(look->op->api, KIND_JOB, look->namespace_name, job, err) &&
           api_delete(look->op->api, KIND_CONFIG_MAP, look->namespace_name, job, err) &&
           finalizer_write(look, drop->kind, drop->object, drop->finalizer, false, err);
}

static bool give_up(Look *look, const Drop *drop, const char *job, const char *why, Error *err)
{
    drop->left(look, drop->object, why);
    return finish(look, drop, job, err);
}

/* The last line that the Job's Pods left; the caller's. NULL: they said nothing. */
static char *last_words(Look *look, const Drop *drop)
{
    char label[NAME_BYTES_MAX];
    char *words = NULL;
    name_of_label(look->name, label);
    AUTO(json_free)
    json_t *pods = cache_list(look->op->cache, KIND_POD, look->namespace_name, 0, NULL);
    size_t i;
    json_t *pod;
    json_array_foreach(pods, i, pod)
    {
        const char *role = object_label(pod, LABEL_ROLE), *of = object_label(pod, drop->label);
        const json_t *agent = json_array_get(object_at(pod, "status.containerStatuses"), 0);
        const char *said = object_text(agent, "state.terminated.message");
        if (!role || strcmp(role, "drop") != 0 || !of || strcmp(of, label) != 0 || !said)
            continue;
        size_t bytes = strlen(said);
        while (bytes && said[bytes - 1] == '\n')
            bytes--;
        size_t from = bytes;
        while (from && said[from - 1] != '\n')
            from--;
        free(words);
        words = mem_strndup(said + from, bytes - from);
    }
    return words;
}

static State failed(Look *look, const Drop *drop, const char *job, const char *why)
{
    char until[32];
    AUTO(mem_free) char *words = last_words(look, drop);
    status_time(deleted_at_s(drop->object, look->now_s) + limit_us(look->op) / 1000000, until);
    return state_of(HEALTH_STALLED, PHASE, "DropFailed",
                    "Job %s, which drops %s, fails, and is made again until %s: %.300s", job,
                    drop->what, until,
                    words ? words
                    : why ? why
                          : "it does not say why");
}

/* Everything else of its status stays. */
static bool tell(Look *look, const Drop *drop, const State *state, Error *err)
{
    static const Condition none[] = {{0}};
    static const char *const own[] = {"observedGeneration", "conditions", "phase"};
    AUTO(json_free) json_t *more = json_copy(object_at(drop->object, "status"));
    for (size_t i = 0; more && i < ARRAY_LEN(own); i++)
        json_object_del(more, own[i]);
    return say(look, drop->kind, drop->object, state, none, more, err);
}

/* What it waited for last, by its own word. */
static const char *waited_for(const json_t *object)
{
    const char *phase = object_text(object, "status.phase");
    const char *message = object_text(condition_of(object, "Ready"), "message");
    return phase && strcmp(phase, PHASE) == 0 && message ? message : "nobody was there to do it";
}

bool drop_make(Look *look, const json_t *wanted, const json_t *secrets, Error *err)
{
    size_t i;
    json_t *one;
    json_array_foreach(wanted, i, one)
    {
        /* A namespace that is going has said so before it is asked for its Secrets, which it has
         * removed. */
        State missing;
        if (kind_of(one) == KIND_JOB && !secrets_are_there(look, secrets, &missing))
            return error_set(err, ERROR_CONFIG, missing.reason,
                             "%s again, for what is to be dropped can't be reached without",
                             missing.message);
        if (!child_apply(look->op, NULL, one, err))
            return false;
    }
    return true;
}

static bool step(Look *look, const Drop *drop, const char *job, const json_t *live, Error *err)
{
    const char *why = NULL;
    if (job_end(live, &why)) { /* Failed; what it said goes with it */
        State state = failed(look, drop, job, why);
        return tell(look, drop, &state, err) &&
               api_delete(look->op->api, KIND_JOB, look->namespace_name, job, err);
    }
    if (!live && !drop->begin(look, drop->object, err))
        return false;
    State state = state_of(HEALTH_PROGRESS, PHASE, "Dropping", "Job %s drops %s", job, drop->what);
    /* One that is made again has not done better yet. */
    return condition_is(drop->object, "Stalled", "True", "DropFailed") ||
           tell(look, drop, &state, err);
}

bool drop_run(Look *look, const Drop *drop, Error *err)
{
    char job[NAME_BYTES_MAX];
    const char *why;
    name_of_child(look->name, drop->suffix, job);
    AUTO(json_free)
    json_t *live = cache_get(look->op->cache, KIND_JOB, look->namespace_name, job);
    const char *end = job_end(live, &why);
    if (end && end[0] == 'C') {
        CRASH_POINT("operator-slot-dropped");
        return finish(look, drop, job, err);
    }
    int64_t since_s = look->now_s - deleted_at_s(drop->object, look->now_s);
    if (since_s * 1000000 >= limit_us(look->op)) {
        AUTO(mem_free) char *text = mem_format("not done in time: %s", waited_for(drop->object));
        return give_up(look, drop, job, text, err);
    }
    look_again(look, LOOK_US);
    Error own = {0};
    if (step(look, drop, job, live, &own))
        return true;
    if (strcmp(own.code, "NamespaceTerminating") == 0)
        return give_up(look, drop, job, own.message, err);
    State state;
    if (strcmp(own.code, "PodsRemain") == 0)
        state = state_of(HEALTH_PROGRESS, PHASE, "Stopping", "%s", own.message);
    else if (own.kind == ERROR_CONFIG) /* a person can mend it, and is told */
        state = state_of(HEALTH_STALLED, PHASE, own.code, "%s", own.message);
    else {
        *err = own;
        return false;
    }
    return tell(look, drop, &state, err);
}
