/* One Connector's changes into Kafka: source → batch → records → topics, a topic for each table.
 * The sibling of agent/pipeline, and like it run again and again by agent/supervise.
 *
 *   relay.c        what agent/supervise runs; one attempt from open to close
 *   bind.c         tables → topics: made or checked, schemas registered, what was sent before
 *   key.c          the records' keys, where others are declared than the tables' own
 *   grow.c         more partitions, by a barrier
 *   copy.c         the initial copy: readers side by side, each encoding by itself
 *   beside.c       a copy of single tables beside the stream
 *   stream.c       the capture thread: reads the log, encodes, sends, confirms late
 *   outbox.c       records gathered, handed to Kafka, acknowledged or committed
 *   others.c       records of no table: heartbeats, messages of the log, its statements
 *   transactions.c transaction metadata
 *   spooled.c      rows wait in a folder or a bucket while Kafka is slow or away; given.c: they go
 * on backlog.c      what waits there (backlog.h); place.c: whose the place is, and what counts of
 *                  it; box.c: records as bytes
 *   dead_letter.c  records that are too large for their topic, values that can't be written
 *   state.c        what stands in the state topic (state.h)
 *   progress.c     metrics
 *
 * Threads: the capture thread does everything but what the copy's readers do: it alone sends. When
 * Kafka takes nothing more (the stream's buffer is full), it reads nothing and answers keepalives;
 * that reaches the source's socket.
 *
 * A record is confirmed to the source when it and all before it are acknowledged, never earlier
 * (law 1). Idempotent: the source's word is the position; what was sent after it is sent again
 * after a crash, with the same positions. Transactional: rows, the tables' state and the position
 * are in one Kafka transaction, and that position counts, however far behind the source's is.
 * Another instance is kept off by the slot that is held, and fenced by its transactional id there.
 *
 * The copy comes first, as a consumer of Debezium's topics is used to: rows with op r, the slot
 * held meanwhile; the stream begins behind the first snapshot. After a crash what is missing is
 * read in a new one: then the stream brings changes that the later snapshot shows already, and a
 * topic that is folded by key is right once the stream has passed it. A copy that begins anew
 * (columns changed meanwhile; --resnapshot) empties the topic for its readers first: op t.
 *
 * Markers in every partition: TRUNCATE (op t), and the end of a table's copy: neither key nor
 * value, the header's kind is TOPIC_KIND_COPIED. Topics that are compacted take no record without a
 * key: they get none, and TRUNCATE at the source stops the flow ("TruncateCompacted"). */
#pragma once

#include "agent/supervise/supervise.h"

/* The Connector has a stream; it and the list outlive what is made. */
Supervised *relay_new(const ConnectorSpec *connector, const TextList *resnapshot)
    OWNED_BY(supervised_free);

/* `firn-agent drop`: the state topic goes, so that a capture begins anew; topics with rows stay.
 * Says on stdout what went. */
MUST_CHECK bool relay_drop(const ConnectorSpec *connector, Error *err);
