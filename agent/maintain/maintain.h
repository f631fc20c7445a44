/* What keeps lake tables in order beside what fills them, by no commit of its own: so far, that
 * files which no snapshot names are removed (spec.maintenance.orphanFiles).
 *
 *   maintain.c   which tables, and when: a thread, or once
 *   orphans.c    one table's orphans (agent/table/iceberg/orphans.c says which these are)
 *
 * It asks nobody who fills the table, and needs nobody to run: what it may remove follows from the
 * table alone. So it may be the process that fills the tables, one beside it, or one that is run
 * by hand; several do each other no harm, and one of them works a day. */
#pragma once

#include "common/error.h"
#include "common/manifest/manifest.h"

typedef struct Maintainer Maintainer;

/* Each table some minutes after the start, then once a day, by a thread; what fails is logged,
 * counted, and tried again an hour later. The manifest outlives it. NULL: nothing is asked. */
void maintain_stop(Maintainer *maintainer); /* NULL is fine; ends what is under way */
Maintainer *maintain_start(const Manifest *manifest) OWNED_BY(maintain_stop);

/* Each table now, whoever did it when. dry_run: prints what would be removed. Goes on with the next
 * one where one fails; *err is the first one's. */
MUST_CHECK bool maintain_once(const Manifest *manifest, bool dry_run, Error *err);
