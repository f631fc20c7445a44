/* The table, for the one that commits: a thread, so that the consumer reads on meanwhile. It does
 * what the coordinator says, one thing at a time.
 *
 * What a commit took is in the table's hands until its answer is settled. A commit after one that
 * did not go through may be of other pieces, or meet a table that others have rewritten: then the
 * table is opened anew, and its pieces are taken again. */
#include <stdio.h>
#include <string.h>

#include "agent/ingest/flow.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define TABLE_MEMORY_BYTES ((size_t)16 << 20)
#define SWEEP_US INT64_C(3600000000)      /* between two looks at what others have left … */
#define SWEEP_ALL_US INT64_C(86400000000) /* … and where all data files are listed for it … */
#define LEFT_AGE_US INT64_C(86400000000)  /* … that is older than a day */

struct Committer {
    CommitterOptions options;
    Thread *thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    CommitJob *job;       /* under the lock */
    CommitResult *result; /* … */
    TableFigures figures; /* … */
    bool stop;            /* … */
    bool failed;          /* … */
    Error error;
    /* the thread's own */
    Lake *lake;
    Table *table;
    int64_t claimed;  /* snapshot of the claim that the table's index goes with */
    bool renew;       /* before the next commit */
    int64_t sweep_us; /* the next one is due … */
    int64_t sweep_all_us;
    CommitJob *applied; /* whose pieces the table has taken; NULL: none */
};

void commit_job_free(CommitJob *job)
{
    if (!job)
        return;
    free(job->pieces);
    free(job->lanes);
    free(job->done);
    free(job);
}

void commit_result_free(CommitResult *result)
{
    if (!result)
        return;
    free(result->lanes);
    free(result->replayed);
    free(result->requested);
    lane_position_done(&result->back);
    free(result);
}

/* ---------- the table ---------- */
static void forget(Committer *committer)
{
    table_close(TAKE(committer->table));
    commit_job_free(TAKE(committer->applied));
    committer->renew = false;
}

/* The columns that it lacks, in a commit of their own, at the position where the table stands:
 * consumers stage nothing before. */
static bool evolve(Committer *committer, Error *err)
{
    Table *table = committer->table;
    TableView view;
    CommitAnswer answer;
    int64_t id, sequence;
    Error why = {0};
    table_view(table, 0, 0, &view);
    if (!view.has_claim)
        return error_set(err, ERROR_CONFIG, "SchemaMismatch",
                         "the table was made with other columns, and holds nothing: drop it");
    if (!table_evolve(table, committer->options.columns, NULL, err)) {
        /* another process gave it others since they were compared: they are once more */
        if (committer->options.spec->incompatible == INCOMPATIBLE_DEAD_LETTER &&
            strcmp(err->code, "SchemaIncompatible") == 0)
            err->kind = ERROR_RETRY;
        return false;
    }
    AUTO(mem_free) LaneValue *lanes = mem_array((size_t)view.lane_count + 1, sizeof *lanes);
    memcpy(lanes, view.lanes, view.lane_count * sizeof *lanes);
    char source[POSITION_SOURCE_BYTES];
    snprintf(source, sizeof source, "%s", view.source);
    if (!table_send_lanes(table, source, lanes, view.lane_count, &answer, &id, &sequence, &why)) {
        *err = why;
        return false;
    }
    if (answer == ANSWER_DONE) {
        log_info("the table has new columns", LOG_T("table", committer->options.name));
        return true;
    }
    return error_set(err, ERROR_RETRY, "ColumnsPending",
                     "its new columns are not committed: %.300s", why.message);
}

static bool open_table(Committer *committer, Error *err)
{
    const CommitterOptions *own = &committer->options;
    if (committer->table)
        return true;
    if (!committer->lake)
        committer->lake = lake_open(own->spec, err);
    if (!committer->lake)
        return false;
    const TableOptions options = {.spec = own->spec,
                                  .unit = own->unit,
                                  .source = own->columns,
                                  .catalog = committer->lake->catalog,
                                  .warehouse = lake_tables(committer->lake),
                                  .memory_bytes_max = TABLE_MEMORY_BYTES,
                                  .create = true,
                                  .lanes = true,
                                  .ordering = own->ordering};
    committer->table = table_open(&options, err);
    if (!committer->table)
        return error_wrap(err, "table %s", own->name);
    if (table_raised_from(committer->table))
        log_info("format version raised", LOG_T("table", own->name),
                 LOG_I("from", table_raised_from(committer->table)),
                 LOG_I("to", own->spec->format_version));
    if (table_lacks_columns(committer->table) && !evolve(committer, err)) {
        table_close(TAKE(committer->table));
        return error_wrap(err, "table %s", own->name);
    }
    TableView view;
    table_view(committer->table, 0, 0, &view);
    committer->claimed = view.has_claim ? view.snapshot : 0;
    if (own->replay && !view.has_claim)
        table_set_asked(committer->table, "replay",
                        own->replay); /* it has nothing to read once more */
    return true;
}

/* To where the job says, in a change of its own: then nothing fits that was staged before. */
static bool go(Committer *committer, const CommitJob *job, Error *err)
{
    const CommitterOptions *own = &committer->options;
    CommitAnswer answer = ANSWER_FAILED;
    int64_t id, sequence;
    Error why = {0};
    TableView view;
    forget(committer);
    if (!open_table(committer, err))
        return false;
    table_view(committer->table, 0, 0, &view);
    const char *done = table_asked(committer->table, job->what);
    if (done && strcmp(done, job->done) == 0)
        return true; /* by another process, meanwhile */
    if (view.head != job->head)
        return error_set(err, ERROR_RETRY, "Moved", "the table has moved on");
    table_set_asked(committer->table, job->what, job->done);
    CRASH_POINT("ingest-before-rewind");
    if (job->snapshot) {
        answer = table_roll_back(committer->table, job->snapshot, job->source, job->lanes,
                                 job->lane_count, &why);
        forget(committer); /* it is loaded as it is then */
    } else if (!table_send_lanes(committer->table, job->source, job->lanes, job->lane_count,
                                 &answer, &id, &sequence, &why)) {
        *err = why;
        return error_wrap(err, "table %s", own->name);
    }
    if (answer != ANSWER_DONE) {
        forget(committer);
        return error_set(err, why.kind == ERROR_CONFIG ? ERROR_CONFIG : ERROR_RETRY,
                         "RewindPending", "the way to another position is not committed: %.300s",
                         why.message);
    }
    CRASH_POINT("ingest-rewound");
    if (!job->snapshot)
        committer->claimed = id;
    return true;
}

static char *text_or_null(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

/* What the table says of what was asked for; of a rollback, where it leads. */
static void look_back(const Committer *committer, CommitResult *ret)
{
    const UnitRequest *request = committer->options.request;
    const char *what = request->kind == UNIT_ROLLBACK ? "rollback" : "positions";
    ret->replayed = text_or_null(table_asked(committer->table, "replay"));
    ret->requested = text_or_null(table_asked(committer->table, what));
    if (request->kind == UNIT_ROLLBACK && ret->view.has_claim)
        (void)!table_find_back(committer->table, request->snapshot, request->at_ms,
                               &ret->back_snapshot, &ret->back, &ret->back_error);
}

static void copy_view(const TableView *view, CommitResult *to)
{
    to->view = *view;
    if (!view->has_claim)
        return;
    snprintf(to->source, sizeof to->source, "%s", view->source);
    to->lanes = mem_array((size_t)view->lane_count + 1, sizeof *to->lanes);
    memcpy(to->lanes, view->lanes, view->lane_count * sizeof *to->lanes);
    to->view.source = to->source;
    to->view.lanes = to->lanes;
}

/* The table holds our commit: what was taken for it is the table's. */
static void found(Committer *committer, int64_t commit)
{
    table_found(committer->table);
    commit_job_free(TAKE(committer->applied));
    committer->claimed = commit;
}

static bool load(Committer *committer, const CommitJob *job, CommitResult *ret, Error *err)
{
    TableView view;
    if (job->lanes && !go(committer, job, err))
        return false;
    bool fresh = !committer->table;
    if (!open_table(committer, err))
        return false;
    if (fresh)
        table_view(committer->table, job->commit, job->head, &view);
    else if (!table_look(committer->table, job->commit, job->head, &view, err))
        return error_wrap(err, "table %s", committer->options.name);
    bool ours =
        job->commit && (view.ours_found || (view.has_claim && view.snapshot == job->commit));
    if (ours && committer->applied)
        found(committer, job->commit);
    else if (ours)
        committer->claimed = view.snapshot;
    /* What others changed the index does not know: files rewritten, and rows of another process of
     * this unit. */
    bool moved = view.has_claim && view.snapshot != committer->claimed;
    committer->renew =
        committer->renew || moved ||
        (view.head != job->head && view.foreign == FOREIGN_REWROTE && !fresh && !ours);
    copy_view(&view, ret);
    look_back(committer, ret);
    ret->ok = true;
    return true;
}

/* ---------- commits ---------- */
static bool same_pieces(const CommitJob *a, const CommitJob *b)
{
    if (a->piece_count != b->piece_count || a->barrier.kind != b->barrier.kind ||
        row_position_compare(a->barrier.at, b->barrier.at) != 0)
        return false;
    for (size_t i = 0; i < a->piece_count; i++)
        if (a->pieces[i].id.worker != b->pieces[i].id.worker ||
            a->pieces[i].id.number != b->pieces[i].id.number)
            return false;
    return true;
}

static bool take_piece(Committer *committer, const PieceName *piece, Error *err)
{
    char name[PIECE_NAME_BYTES];
    Error why = {0};
    if (table_take_staged(committer->table, piece_name(piece, name), &why))
        return true;
    *err = why;
    if (strcmp(why.code, "BaseRowMissing") == 0)
        (void)error_set(err, ERROR_CONFIG, "BaseRowMissing",
                        "%.200s: read the topic again from where the row begins (kafka.replay), or "
                        "go on behind the record (the annotation firn.dev/positions), and have the "
                        "source log whole rows (REPLICA IDENTITY FULL); behind a Connector: "
                        "stream.resnapshot",
                        why.message);
    return error_wrap(err, "table %s", committer->options.name);
}

static bool take_pieces(Committer *committer, const CommitJob *job, Error *err)
{
    for (size_t i = 0; i < job->piece_count; i++)
        if (!take_piece(committer, &job->pieces[i], err))
            return false;
    return job->barrier.kind != BARRIER_TRUNCATE ||
           table_truncate(committer->table, job->barrier.at, err);
}

/* An id for a commit that was never sent: no snapshot has it. */
static int64_t no_id(void)
{
    return clock_wall_us();
}

/* Takes the job, where true. */
static bool commit(Committer *committer, CommitJob **job, CommitResult *ret, Error *err)
{
    CommitJob *own = *job;
    TableView view;
    if (committer->renew || (committer->applied && !same_pieces(committer->applied, own)))
        forget(committer);
    if (!open_table(committer, err))
        return false;
    table_view(committer->table, 0, 0, &view);
    if (view.head != own->head) {
        ret->answer = ANSWER_CONFLICT;
        ret->id = no_id();
        (void)error_set(&ret->error, ERROR_CONFLICT, "Moved", "the table has moved on");
        return true;
    }
    if (!committer->applied) {
        if (!take_pieces(committer, own, err))
            return false;
        CRASH_POINT("ingest-pieces-taken");
    }
    commit_job_free(committer->applied);
    committer->applied = TAKE(*job);
    if (!table_send_lanes(committer->table, own->source, own->lanes, own->lane_count, &ret->answer,
                          &ret->id, &ret->sequence, &ret->error)) {
        *err = ret->error;
        return error_wrap(err, "table %s", committer->options.name);
    }
    return true;
}

/* ---------- what others have left ---------- */
typedef struct Stands {
    const LaneValue *lanes;
    uint32_t lane_count;
} Stands;

static bool is_dead(void *context, const char *name)
{
    const Stands *stands = context;
    PieceName piece;
    return piece_name_parse(name, &piece) &&
           piece_is_dead(&piece, stands->lanes, stands->lane_count);
}

/* The table stands at the job's lanes, by the head that it was just given: whoever commits on that
 * or behind begins there, so that what begins before is nobody's. */
static void sweep(Committer *committer, const CommitJob *job)
{
    Error why = {0};
    Stands stands = {job->lanes, job->lane_count};
    int64_t age_us = clock_asked_us("FIRN_LEFT_MS", LEFT_AGE_US);
    if (clock_mono_us() < committer->sweep_us)
        return;
    committer->sweep_us = clock_mono_us() + SWEEP_US;
    int64_t before_us = clock_wall_us() - age_us;
    bool all = clock_mono_us() >= committer->sweep_all_us;
    if (all)
        committer->sweep_all_us = clock_mono_us() + SWEEP_ALL_US;
    if (!table_sweep_staged(committer->table, before_us, is_dead, &stands, &why) ||
        !table_sweep_unfinished(committer->table, before_us, &why) ||
        (all && !table_sweep_undescribed(committer->table, before_us, is_dead, &stands, &why)))
        log_info("what others have left is not removed", LOG_T("table", committer->options.name),
                 LOG_T("reason", why.code), LOG_T("error", why.message));
}

/* False: the table can't go on. */
static bool settle(Committer *committer, CommitResult *ret, Error *err)
{
    if (ret->answer == ANSWER_DONE) {
        if (committer->applied)
            sweep(committer, committer->applied);
        commit_job_free(TAKE(committer->applied));
        committer->claimed = ret->id;
        CRASH_POINT("ingest-committed");
        return true;
    }
    log_info("commit did not go through", LOG_T("table", committer->options.name),
             LOG_T("reason", ret->error.code), LOG_T("error", ret->error.message));
    if (ret->answer != ANSWER_FAILED || ret->error.kind == ERROR_RETRY)
        return true;
    *err = ret->error;
    return error_wrap(err, "table %s", committer->options.name);
}

static bool work(Committer *committer, CommitJob **job, CommitResult *ret, Error *err)
{
    switch ((*job)->kind) {
    case JOB_FORGET:
        forget(committer);
        return true;
    case JOB_LOAD: {
        Error why = {0};
        if (load(committer, *job, ret, &why) || why.kind == ERROR_RETRY) {
            if (!ret->ok)
                log_info("the table could not be loaded", LOG_T("table", committer->options.name),
                         LOG_T("reason", why.code), LOG_T("error", why.message));
            ret->error = why;
            return true;
        }
        *err = why;
        return false;
    }
    case JOB_COMMIT:
        return commit(committer, job, ret, err) && settle(committer, ret, err);
    case JOB_RESEND:
        ret->id = (*job)->commit;
        ret->answer = table_resend(committer->table, &ret->sequence, &ret->error);
        return settle(committer, ret, err);
    }
    return false;
}

/* ---------- the thread ---------- */
static void run(void *argument)
{
    Committer *committer = argument;
    pthread_mutex_lock(&committer->lock);
    for (;;) {
        while (!committer->stop && !committer->job)
            pthread_cond_wait(&committer->wake, &committer->lock);
        if (committer->stop)
            break;
        CommitJob *job = TAKE(committer->job);
        pthread_mutex_unlock(&committer->lock);
        CommitResult *result = mem_zalloc(sizeof *result);
        Error err = {0};
        TableFigures figures = {0};
        result->kind = job->kind;
        result->ticket = job->ticket;
        bool ok = work(committer, &job, result, &err);
        commit_job_free(job);
        if (committer->table)
            table_figures(committer->table, &figures);
        pthread_mutex_lock(&committer->lock);
        if (committer->table)
            committer->figures = figures;
        committer->result = result;
        if (!ok) {
            committer->failed = true;
            committer->error = err;
        }
    }
    pthread_mutex_unlock(&committer->lock);
    forget(committer);
    lake_close(committer->lake);
}

Committer *committer_start(const CommitterOptions *options)
{
    Committer *committer = mem_zalloc(sizeof *committer);
    committer->options = *options;
    pthread_mutex_init(&committer->lock, NULL);
    pthread_cond_init(&committer->wake, NULL);
    committer->thread = thread_start("commit", run, committer);
    return committer;
}

void committer_stop(Committer *committer)
{
    if (!committer)
        return;
    pthread_mutex_lock(&committer->lock);
    committer->stop = true;
    pthread_cond_signal(&committer->wake);
    pthread_mutex_unlock(&committer->lock);
    thread_join(committer->thread);
    commit_job_free(committer->job);
    commit_result_free(committer->result);
    pthread_mutex_destroy(&committer->lock);
    pthread_cond_destroy(&committer->wake);
    free(committer);
}

void committer_ask(Committer *committer, CommitJob *job)
{
    pthread_mutex_lock(&committer->lock);
    ASSERT(!committer->job && !committer->result);
    committer->job = job;
    pthread_cond_signal(&committer->wake);
    pthread_mutex_unlock(&committer->lock);
}

bool committer_take(Committer *committer, CommitResult **ret, Error *err)
{
    pthread_mutex_lock(&committer->lock);
    *ret = TAKE(committer->result);
    bool ok = !committer->failed;
    if (!ok)
        *err = committer->error;
    pthread_mutex_unlock(&committer->lock);
    return ok;
}

void committer_figures(Committer *committer, TableFigures *ret)
{
    pthread_mutex_lock(&committer->lock);
    *ret = committer->figures;
    pthread_mutex_unlock(&committer->lock);
}
