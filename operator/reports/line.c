#include "operator/reports/reports.h"

void owner_line_up(Reports *reports, Owner *owner)
{
    if (owner->in_line)
        return;
    owner->in_line = true;
    owner->after = NULL;
    if (reports->last)
        reports->last->after = owner;
    else
        reports->first = owner;
    reports->last = owner;
}

void line_put_key(Reports *reports, const char *text)
{
    size_t bytes = strlen(text) + 1;
    Key *key = mem_alloc(sizeof *key + bytes);
    key->next = NULL;
    memcpy(key->text, text, bytes);
    *reports->end = key;
    reports->end = &key->next;
    reports->key_count++;
}

void reports_line_up(Reports *reports, const char *key)
{
    pthread_mutex_lock(&reports->lock);
    line_put_key(reports, key);
    pthread_mutex_unlock(&reports->lock);
}

static char *take_word(Reports *reports, int64_t now_us)
{
    Owner *owner = reports->first;
    reports->first = owner->after;
    if (!reports->first)
        reports->last = NULL;
    owner->in_line = false;
    /* Its figures come along, the first time and when there is something to be written anyway. */
    owner_show(owner);
    if (owner->due_us != INT64_MAX)
        owner->due_us = now_us + reports->figures_us;
    return mem_strdup(owner->key);
}

static char *take_key(Reports *reports, int64_t now_us)
{
    Key *key = reports->keys;
    reports->keys = key->next;
    if (!reports->keys)
        reports->end = &reports->keys;
    reports->key_count--;
    Owner *owner = owner_find(reports, key->text);
    if (owner) {
        /* Not before all that stand in line now have had their turn. */
        int64_t line_us = (int64_t)reports->key_count * (1000000 / REPORTS_WRITES_PER_S);
        owner->due_us = now_us + (line_us > reports->figures_us ? line_us : reports->figures_us);
        owner_show(owner);
    }
    char *text = mem_strdup(key->text);
    free(key);
    return text;
}

char *reports_next(Reports *reports, int64_t now_us, bool turn, bool *ret_figures)
{
    char *key = NULL;
    pthread_mutex_lock(&reports->lock);
    if (reports->first || (turn && reports->keys)) {
        Bucket before = reports->bucket;
        *ret_figures = !reports->first;
        if (bucket_take(&reports->bucket, 1, now_us) > 0)
            reports->bucket = before; /* later */
        else
            key = reports->first ? take_word(reports, now_us) : take_key(reports, now_us);
    }
    pthread_mutex_unlock(&reports->lock);
    return key;
}
