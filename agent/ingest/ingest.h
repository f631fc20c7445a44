/* One Connector's topics, or one that others fill, into the tables of units: topic → rows → pieces
 * → snapshots. The third sibling of agent/relay (source → topics) and agent/pipeline (source →
 * tables); like them run again and again by agent/supervise.
 *
 *   ingest.c     what agent/supervise runs: which topic fills which table, a thread for each
 *   feed.c       one table's thread: what it opens, its loop, its end
 *   columns.c    what the rows of a topic are: from the Connector's state, from the registry
 *   fit.c        and of these what the table can follow, where other records are dead letters
 *   forward.c    in place of all that: a topic into another one
 *   topics.c     topics that are written to
 *   letters.c    records that can't be read → the dead letters
 *   letter_table.c  … and these → a table
 *   lanes.c      records → rows → pieces: drives agent/commit/worker.h
 *   fresh.c      how old the oldest record is that is not in the table
 *   group.c      drives agent/commit/coordinator.h, and what the processes say to each other
 *   rewind.c     a table goes on from elsewhere: replays, other positions, rollbacks
 *   committer.c  a thread that owns the table: loads it, takes pieces, commits
 *   control.h    the words of the control topic, in bytes
 *
 * A unit with routes has a Feed for each of its tables, each with its own group, position and
 * reading of the topic: so each table is its own fence, a route that is added begins by itself, and
 * none waits for another. What it costs is the reading; a record of another route is looked through
 * only as far as the field that tells.
 *
 * A table of dead letters has a Feed, too: it reads the topic "firn-<namespace>-<unit>-letters", to
 * which the unit's other Feeds write what they can't read (durable there before they pass it), and
 * its key is the record's place, so that a letter that was written twice is there once.
 *
 * Every process of a unit is a consumer of one group ("firn-<namespace>-<unit>"); the owner of
 * partition 0 commits for all. Workers stage pieces beside the table (agent/table/stage_file.h) and
 * say so on the topic "firn-<namespace>-<unit>-control"; the table is the fence. A restart begins
 * at the table's position; offsets in Kafka are for lag tools.
 *
 * Positions. A lane's value is (next offset, source position passed). Of our topics the position is
 * the header's (major, minor), made (major, 4 * minor + kind): 0 a TRUNCATE, 1 a row, 2 the new row
 * of a key's change (whose old row has the same position). The marker of more partitions is known
 * by its epoch, that of a copy's end is passed over. Rows of the source's copy have none: what
 * comes again of them is written again, which is right in Upsert, and in Append a copy that begins
 * anew begins with a TRUNCATE. Of topics that others fill no row has one: a record is taken once,
 * as the topic has it, and passed is {rewinds so far, 0}: a value that a table had never comes
 * back. A rollback of a table that a Connector's topic fills goes back to the very value: what was
 * staged from there on is right again.
 *
 * Memory: what is fetched ahead (32 MiB), and files being written, which end early above 96 MiB;
 * both of all tables together, but 4 MiB of each; the coordinator's index beside (agent/table). */
#pragma once

#include "agent/supervise/supervise.h"

/* The Connector has a stream; manifest and Connector outlive it. unit: only the IngestionUnit of
 * that name; NULL: all of the Connector's. */
Supervised *ingest_new(const Manifest *manifest, const ConnectorSpec *connector, const char *unit)
    OWNED_BY(supervised_free);
/* A unit's own topic, which others fill (spec.kafka). */
Supervised *ingest_new_topic(const Manifest *manifest, const IngestionUnitSpec *unit)
    OWNED_BY(supervised_free);
/* Has the Connector a unit that is to run (of that name)? */
bool ingest_has_units(const Manifest *manifest, const ConnectorSpec *connector, const char *unit);
