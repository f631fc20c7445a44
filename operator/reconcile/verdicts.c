#include <pthread.h>
#include <stdio.h>

#include "operator/reconcile/reconcile.h"

struct Verdicts {
    pthread_mutex_t lock;
    json_t *known;  /* key → [health, phase, reason, message] */
    json_t *looked; /* "c/namespace/name" → when a Connector was looked at, monotonic µs */
};

Verdicts *verdicts_new(void)
{
    Verdicts *verdicts = mem_zalloc(sizeof *verdicts);
    pthread_mutex_init(&verdicts->lock, NULL);
    verdicts->known = json_object();
    verdicts->looked = json_object();
    return verdicts;
}

void verdicts_free(Verdicts *verdicts)
{
    if (!verdicts)
        return;
    json_decref(verdicts->known);
    json_decref(verdicts->looked);
    pthread_mutex_destroy(&verdicts->lock);
    free(verdicts);
}

static char *key_of(char kind, const char *namespace_name, const char *name)
{
    return mem_format("%c/%s/%s", kind, namespace_name, name);
}

bool verdicts_set(Verdicts *verdicts, char kind, const char *namespace_name, const char *name,
                  const State *state)
{
    AUTO(mem_free) char *key = key_of(kind, namespace_name, name);
    bool small = trees_pause();
    json_t *next =
        state ? json_pack("[isss]", (int)state->health, state->phase, state->reason, state->message)
              : NULL;
    pthread_mutex_lock(&verdicts->lock);
    json_t *before = json_object_get(verdicts->known, key);
    bool changed = next ? !before || !json_equal(before, next) : before != NULL;
    if (next)
        json_object_set_new(verdicts->known, key, next);
    else
        json_object_del(verdicts->known, key);
    pthread_mutex_unlock(&verdicts->lock);
    trees_resume(small);
    return changed;
}

bool verdicts_get(Verdicts *verdicts, char kind, const char *namespace_name, const char *name,
                  State *ret)
{
    AUTO(mem_free) char *key = key_of(kind, namespace_name, name);
    pthread_mutex_lock(&verdicts->lock);
    json_t *known = json_object_get(verdicts->known, key);
    if (known)
        *ret = state_of((Health)json_integer_value(json_array_get(known, 0)),
                        json_string_value(json_array_get(known, 1)),
                        json_string_value(json_array_get(known, 2)), "%s",
                        json_string_value(json_array_get(known, 3)));
    pthread_mutex_unlock(&verdicts->lock);
    return known;
}

void verdicts_looked(Verdicts *verdicts, const char *namespace_name, const char *connector,
                     int64_t now_us)
{
    AUTO(mem_free) char *key = key_of('c', namespace_name, connector);
    bool small = trees_pause();
    pthread_mutex_lock(&verdicts->lock);
    if (now_us)
        json_object_set_new(verdicts->looked, key, json_integer(now_us));
    else
        json_object_del(verdicts->looked, key);
    pthread_mutex_unlock(&verdicts->lock);
    trees_resume(small);
}

int64_t verdicts_looked_at(Verdicts *verdicts, const char *namespace_name, const char *connector)
{
    AUTO(mem_free) char *key = key_of('c', namespace_name, connector);
    pthread_mutex_lock(&verdicts->lock);
    int64_t at_us = json_integer_value(json_object_get(verdicts->looked, key));
    pthread_mutex_unlock(&verdicts->lock);
    return at_us;
}
