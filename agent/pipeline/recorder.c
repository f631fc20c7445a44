/* The thread that writes and reads the confirmed record. A store may think for a minute, or be away
 * for longer; meanwhile the capture thread goes on reading and answers the source's keepalives. One
 * job at a time: agent/commit/confirm.h asks for no second before the first is answered. */
#include "agent/pipeline/flow.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue.h"

struct Recorder {
    Flow *flow;
    Thread *thread;
    Queue *asked;         /* ConfirmAction */
    atomic_bool answered; /* what follows is the capture thread's until it takes it */
    RecordAnswer answer;
};

static CommitAnswer answer_of(ConfirmKind kind, bool ok, const Error *why)
{
    if (ok)
        return ANSWER_DONE;
    if (why->kind == ERROR_RETRY)
        return ANSWER_UNKNOWN;
    return kind == CONFIRM_WRITE_RECORD && why->kind == ERROR_CONFLICT ? ANSWER_CONFLICT
                                                                       : ANSWER_FAILED;
}

static void serve(Recorder *recorder, ConfirmAction action)
{
    RecordAnswer *answer = &recorder->answer;
    *answer = (RecordAnswer){.kind = action.kind};
    bool ok = action.kind == CONFIRM_WRITE_RECORD
                  ? record_write(recorder->flow, action.position, &answer->error)
                  : record_read(recorder->flow, &answer->recorded, &answer->error);
    answer->answer = answer_of(action.kind, ok, &answer->error);
    atomic_store(&recorder->answered, true);
}

static void run(void *argument)
{
    Recorder *recorder = argument;
    void *at;
    while (queue_take(recorder->asked, &at, -1) == QUEUE_OK) {
        ConfirmAction action = *(ConfirmAction *)at;
        free(at);
        serve(recorder, action);
    }
}

Recorder *recorder_start(Flow *flow)
{
    Recorder *recorder = mem_zalloc(sizeof *recorder);
    recorder->flow = flow;
    recorder->asked = queue_new(1, sizeof(ConfirmAction), free);
    recorder->thread = thread_start("recorder", run, recorder);
    return recorder;
}

void recorder_stop(Recorder *recorder)
{
    queue_close(recorder->asked);
    thread_join(recorder->thread);
    queue_free(recorder->asked);
    free(recorder);
}

void recorder_ask(Recorder *recorder, ConfirmAction action)
{
    ASSERT(action.kind == CONFIRM_WRITE_RECORD || action.kind == CONFIRM_READ_RECORD);
    ConfirmAction *moved = mem_alloc(sizeof *moved);
    *moved = action;
    QueueResult result = queue_put(recorder->asked, moved, sizeof *moved, 0);
    ASSERT(result == QUEUE_OK);
}

bool recorder_take(Recorder *recorder, RecordAnswer *ret)
{
    if (!atomic_load(&recorder->answered))
        return false;
    *ret = recorder->answer;
    atomic_store(&recorder->answered, false);
    return true;
}
