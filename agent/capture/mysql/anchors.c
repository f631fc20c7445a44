/* See anchors.h. */
#include "agent/capture/mysql/anchors.h"

#include <pthread.h>
#include <string.h>

#include "common/mem.h"

typedef struct Run {
    Gtid last;
    uint64_t from; /* MySQL: the first number; MariaDB: only the latest of a domain counts */
} Run;

typedef struct Mark {
    uint64_t place;
    size_t runs; /* so many of them lie before it */
} Mark;

struct MyAnchors {
    pthread_mutex_t lock; /* of all below */
    bool known;
    GtidSet base; /* what lies before the first mark */
    Run *runs;
    size_t run_count, runs_held;
    Mark *marks; /* by place */
    size_t mark_count, marks_held;
};

MyAnchors *my_anchors_new(bool mariadb)
{
    MyAnchors *anchors = mem_zalloc(sizeof *anchors);
    pthread_mutex_init(&anchors->lock, NULL);
    anchors->base = gtid_set_new(mariadb);
    return anchors;
}

void my_anchors_free(MyAnchors *anchors)
{
    if (!anchors)
        return;
    gtid_set_done(&anchors->base);
    pthread_mutex_destroy(&anchors->lock);
    free(anchors->runs);
    free(anchors->marks);
    free(anchors);
}

static void put_mark(MyAnchors *anchors, uint64_t place)
{
    if (anchors->mark_count && anchors->marks[anchors->mark_count - 1].place >= place)
        return;
    if (anchors->mark_count == anchors->marks_held) {
        anchors->marks_held = anchors->marks_held ? anchors->marks_held * 2 : 16;
        anchors->marks = mem_regrow(anchors->marks, anchors->marks_held, sizeof *anchors->marks);
    }
    anchors->marks[anchors->mark_count++] = (Mark){place, anchors->run_count};
}

void my_anchors_begin(MyAnchors *anchors, const GtidSet *set, uint64_t place)
{
    pthread_mutex_lock(&anchors->lock);
    gtid_set_done(&anchors->base);
    anchors->base = gtid_set_copy(set);
    anchors->known = true;
    anchors->run_count = anchors->mark_count = 0;
    put_mark(anchors, place);
    pthread_mutex_unlock(&anchors->lock);
}

bool my_anchors_known(MyAnchors *anchors)
{
    pthread_mutex_lock(&anchors->lock);
    bool known = anchors->known;
    pthread_mutex_unlock(&anchors->lock);
    return known;
}

static bool same_source(const Gtid *a, const Gtid *b)
{
    if (a->mariadb)
        return a->domain == b->domain;
    return memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0 && strcmp(a->tag, b->tag) == 0;
}

/* Does it go on with the latest run, which no mark has closed? */
static bool joins(const MyAnchors *anchors, const Gtid *gtid)
{
    if (!anchors->run_count || anchors->marks[anchors->mark_count - 1].runs == anchors->run_count)
        return false;
    const Run *run = &anchors->runs[anchors->run_count - 1];
    return same_source(&run->last, gtid) && (gtid->mariadb || gtid->number == run->last.number + 1);
}

static void put_run(MyAnchors *anchors, const Gtid *gtid)
{
    if (joins(anchors, gtid)) {
        anchors->runs[anchors->run_count - 1].last = *gtid;
        return;
    }
    if (anchors->run_count == anchors->runs_held) {
        anchors->runs_held = anchors->runs_held ? anchors->runs_held * 2 : 16;
        anchors->runs = mem_regrow(anchors->runs, anchors->runs_held, sizeof *anchors->runs);
    }
    anchors->runs[anchors->run_count++] = (Run){.last = *gtid, .from = gtid->number};
}

void my_anchors_add(MyAnchors *anchors, const Gtid *gtid)
{
    pthread_mutex_lock(&anchors->lock);
    if (anchors->known && gtid)
        put_run(anchors, gtid);
    anchors->known = anchors->known && gtid;
    pthread_mutex_unlock(&anchors->lock);
}

void my_anchors_mark(MyAnchors *anchors, uint64_t place)
{
    pthread_mutex_lock(&anchors->lock);
    if (anchors->known)
        put_mark(anchors, place);
    pthread_mutex_unlock(&anchors->lock);
}

static void add_run(GtidSet *set, const Run *run)
{
    if (set->mariadb)
        (void)gtid_set_add(set, &run->last);
    else
        gtid_set_add_interval(set, &run->last, (GtidInterval){run->from, run->last.number});
}

void my_anchors_confirm(MyAnchors *anchors, uint64_t place)
{
    size_t first = 0;
    pthread_mutex_lock(&anchors->lock);
    while (first + 1 < anchors->mark_count && anchors->marks[first + 1].place <= place)
        first++;
    if (first) {
        size_t runs = anchors->marks[first].runs;
        for (size_t i = 0; i < runs; i++)
            add_run(&anchors->base, &anchors->runs[i]);
        anchors->run_count -= runs;
        if (anchors->run_count) /* or there may never have been one */
            memmove(anchors->runs, anchors->runs + runs,
                    anchors->run_count * sizeof *anchors->runs);
        anchors->mark_count -= first;
        memmove(anchors->marks, anchors->marks + first,
                anchors->mark_count * sizeof *anchors->marks);
        for (size_t i = 0; i < anchors->mark_count; i++)
            anchors->marks[i].runs -= runs;
    }
    pthread_mutex_unlock(&anchors->lock);
}

char *my_anchors_at(MyAnchors *anchors, RowPosition at)
{
    char *text = NULL;
    pthread_mutex_lock(&anchors->lock);
    for (size_t i = anchors->mark_count; !at.minor && i > 0 && !text; i--) {
        const Mark *mark = &anchors->marks[i - 1];
        if (mark->place != at.major)
            continue;
        GtidSet set = gtid_set_copy(&anchors->base);
        for (size_t k = 0; k < mark->runs; k++)
            add_run(&set, &anchors->runs[k]);
        text = gtid_set_format(&set);
        gtid_set_done(&set);
    }
    pthread_mutex_unlock(&anchors->lock);
    return text;
}
