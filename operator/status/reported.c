/* What an agent's own words mean to a status. */
#include <stdio.h>

#include "operator/status/status.h"

#define SHORT_S 3600
#define SHORT_PART 5 /* a fifth of what the source keeps at most */

void reported_done(Reported *reported)
{
    channel_flow_done(&reported->flow);
}

static bool is_phase(const Reported *reported, const char *phase)
{
    return reported->known && strcmp(reported->flow.phase, phase) == 0;
}

static void last_heard(const Reported *reported, char *text, size_t bytes)
{
    char at[32];
    status_time(reported->heard_s, at);
    if (reported->heard_s)
        snprintf(text, bytes, "its agent was heard last at %s", at);
    else
        snprintf(text, bytes, "its agent has not been heard yet");
}

State state_of_reported(const State *by_pods, const Reported *reported)
{
    bool well = by_pods->health == HEALTH_READY && strcmp(by_pods->phase, "Stopped") != 0;
    bool starts = strcmp(by_pods->reason, "Starting") == 0;
    if (!well && !starts)
        return *by_pods;
    if (well && reported->silent) {
        char when[100];
        last_heard(reported, when, sizeof when);
        return state_of(HEALTH_UNKNOWN, "Unknown", "AgentSilent",
                        "%s: what holds now is not known; its Pod is there, so look at its log, "
                        "and whether it reaches the operator",
                        when);
    }
    if (is_phase(reported, "Retrying"))
        return state_of(HEALTH_PROGRESS, "Pending",
                        reported->flow.reason[0] ? reported->flow.reason : "Retrying",
                        "the agent tries again: %s",
                        reported->flow.error ? reported->flow.error : "its log says why");
    if (is_phase(reported, "Snapshotting"))
        return state_of(HEALTH_PROGRESS, "Snapshotting", "Copying",
                        "%lld of about %lld rows were copied", (long long)reported->copied,
                        (long long)reported->to_copy);
    if (well && is_phase(reported, "Paused"))
        return state_of(HEALTH_READY, "Paused", "Paused",
                        "it pauses, as state says: the source keeps its log meanwhile");
    if (well && is_phase(reported, "CatchingUp"))
        return state_of(HEALTH_READY, "CatchingUp", "Streaming", "it catches up with the source");
    return *by_pods;
}

LogSays log_says(const ChannelFlow *flow)
{
    int64_t kept = flow->log_retained_bytes != CHANNEL_NOT_SAID ? flow->log_retained_bytes : 0;
    if (flow->log_status == CHANNEL_NOT_SAID)
        return LOG_SAYS_NOTHING;
    if (flow->log_status >= 4)
        return LOG_SAYS_LOST;
    if (flow->log_status == 3)
        return LOG_SAYS_AT_RISK;
    bool soon = flow->log_headroom_s != CHANNEL_NOT_SAID && flow->log_headroom_s < SHORT_S;
    bool little = flow->log_headroom_bytes != CHANNEL_NOT_SAID &&
                  flow->log_headroom_bytes < (flow->log_headroom_bytes + kept) / SHORT_PART;
    return soon || little ? LOG_SAYS_SHORT : LOG_SAYS_ENOUGH;
}

static Condition condition(const char *type, const char *status, const char *reason,
                           const char *message)
{
    return (Condition){type, status, reason, message};
}

static Condition not_known(const char *type, const Reported *reported)
{
    return reported->silent
               ? condition(type, "Unknown", "AgentSilent", "its agent has fallen silent")
               : condition(type, "Unknown", "NotReported", "the agent has not reported it");
}

static Condition source_reachable(const Reported *reported)
{
    static const char *const lost[] = {"HostUnreachable", "ConnectionLost", "NotPrimary",
                                       "ServerFull"};
    const char *reason = reported->flow.reason;
    if (is_phase(reported, "Snapshotting") || is_phase(reported, "CatchingUp") ||
        is_phase(reported, "Streaming") || is_phase(reported, "Paused"))
        return condition("SourceReachable", "True", "Reachable", "the agent reads it");
    for (size_t i = 0; is_phase(reported, "Retrying") && i < ARRAY_LEN(lost); i++)
        if (strcmp(reason, lost[i]) == 0)
            return condition("SourceReachable", "False", lost[i],
                             reported->flow.error ? reported->flow.error : "");
    return not_known("SourceReachable", reported);
}

static Condition snapshot_complete(const Reported *reported)
{
    if (reported->copying)
        return condition("SnapshotComplete", "False", "Copying", "tables are being copied");
    if (is_phase(reported, "CatchingUp") || is_phase(reported, "Streaming") ||
        is_phase(reported, "Paused"))
        return condition("SnapshotComplete", "True", "Complete", "every table was copied whole");
    return not_known("SnapshotComplete", reported);
}

static Condition log_headroom(const Reported *reported)
{
    switch (reported->known ? log_says(&reported->flow) : LOG_SAYS_NOTHING) {
    case LOG_SAYS_LOST:
        return condition("LogHeadroom", "False", "LogLost",
                         "the source has dropped log that is needed: the tables have to be loaded "
                         "afresh");
    case LOG_SAYS_AT_RISK:
        return condition("LogHeadroom", "False", "LogAtRisk",
                         "the source may drop log that is needed at any time: let it keep more, or "
                         "see why the agent is behind");
    case LOG_SAYS_SHORT:
        return condition("LogHeadroom", "False", "LogShort",
                         "little is left of the log that the source keeps: let it keep more, or "
                         "see why the agent is behind");
    case LOG_SAYS_ENOUGH:
        return condition("LogHeadroom", "True", "Enough", "the source keeps what is needed");
    case LOG_SAYS_NOTHING:
        break;
    }
    return not_known("LogHeadroom", reported);
}

void conditions_of_connector(const Reported *reported, Condition ret[4])
{
    Reported silent = *reported;
    silent.known = reported->known && !reported->silent; /* what was once is not what is */
    silent.copying = silent.known ? reported->copying : 0;
    ret[0] = source_reachable(&silent);
    ret[1] = snapshot_complete(&silent);
    ret[2] = log_headroom(&silent);
    ret[3] = (Condition){0};
}

/* FeedRetention's numbers (agent/ingest/flow.h). */
static Condition topic_retention(const Reported *reported)
{
    bool known = reported->known && !reported->silent;
    switch (known ? reported->flow.retention_status : CHANNEL_NOT_SAID) {
    case 1:
        return condition("TopicRetention", "True", "Kept",
                         "its topic keeps records for as long as is needed");
    case 2:
        return condition("TopicRetention", "False", "CommitsHurried",
                         "a quarter of the time that its topic keeps records is less than the "
                         "table's commitInterval, so that it is committed that often: raise the "
                         "topic's retention.ms, or write a shorter commitInterval");
    case 3:
        return condition("TopicRetention", "False", "RetentionLimited",
                         "its topic has a limit in bytes, and may drop records earlier than "
                         "spec.kafka.retention says: take retention.bytes away, or leave out "
                         "spec.kafka.retention");
    case 4:
        return condition("TopicRetention", "False", "RetentionShort",
                         "its topic keeps records for less than spec.kafka.retention says: raise "
                         "its retention.ms, or write what it keeps");
    default:
        return not_known("TopicRetention", reported);
    }
}

void conditions_of_unit(const Reported *reported, int64_t promised_ms, bool of_topic,
                        Condition ret[4])
{
    bool known = reported->known && !reported->silent;
    int64_t fresh_ms = reported->flow.freshness_ms, dead = reported->flow.dead_letters;
    ret[0] = !promised_ms ? condition("Fresh", "Unknown", "NoPromise", "spec.sla promises nothing")
             : !known || fresh_ms == CHANNEL_NOT_SAID ? not_known("Fresh", reported)
             : fresh_ms <= promised_ms
                 ? condition("Fresh", "True", "InTime", "as fresh as spec.sla promises")
                 : condition("Fresh", "False", "Late", "older than spec.sla promises");
    ret[1] =
        !known || dead == CHANNEL_NOT_SAID ? not_known("DeadLetters", reported)
        : dead ? condition("DeadLetters", "True", "Some", "records that can't be applied are there")
               : condition("DeadLetters", "False", "None", "");
    ret[2] = of_topic ? topic_retention(reported) : (Condition){0};
    ret[3] = (Condition){0};
}

/* --- a table --- */

static bool is_of_columns(const char *reason)
{
    static const char *const reasons[] = {
        "SchemaIncompatible", "SchemaUndecided",     "SchemaMismatch", "SchemaChanged",
        "KeyChanged",         "SourceTableReplaced", "TableRenamed",   "Unpublished",
        "ColumnsPending",     "ColumnsChanged"};
    for (size_t i = 0; reason && i < ARRAY_LEN(reasons); i++)
        if (strcmp(reasons[i], reason) == 0)
            return true;
    return false;
}

/* What tries again says itself why; of what has ended its Pod's log told the unit. */
static Condition schema_in_sync(const Reported *reported, const json_t *ready, bool alone)
{
    bool retries = is_phase(reported, "Retrying");
    const char *reason = retries ? reported->flow.reason : object_text(ready, "reason");
    const char *message = retries ? reported->flow.error : object_text(ready, "message");
    if (is_of_columns(reason))
        return condition("SchemaInSync", alone ? "False" : "Unknown", reason,
                         message ? message : "");
    if (is_phase(reported, "Snapshotting") || is_phase(reported, "CatchingUp") ||
        is_phase(reported, "Streaming") || is_phase(reported, "Paused"))
        return condition("SchemaInSync", "True", "InSync", "it has the columns of its source");
    return not_known("SchemaInSync", reported);
}

static Condition maintained(const Reported *reported, int64_t upkeep)
{
    if (reported->known && upkeep == 1)
        return condition("Maintained", "True", "ByCommits",
                         "its commits expire old snapshots and merge small manifests; data files "
                         "are not compacted");
    if (reported->known && upkeep == 2)
        return condition("Maintained", "False", "NotAllowed",
                         "old snapshots stay, for gc.enabled is false or the catalog does not let "
                         "them be removed: set it, or have the catalog expire them");
    if (reported->known && upkeep == 3)
        return condition("Maintained", "False", "OrphansStay",
                         "files that no snapshot names can't be removed: the log of its Pods' "
                         "container maintain says why");
    return not_known("Maintained", reported);
}

void conditions_of_table(const Reported *reported, const json_t *ready, bool alone, int64_t upkeep,
                         Condition ret[3])
{
    Reported heard = *reported;
    heard.known = reported->known && !reported->silent;
    ret[0] = schema_in_sync(&heard, ready, alone);
    ret[1] = maintained(&heard, upkeep);
    ret[2] = (Condition){0};
}
