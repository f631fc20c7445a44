/* Small things about texts that people write: durations, quantities, names, and the name they
 * probably meant. No state; every function may be called from any thread. */
#pragma once

#include "common/attrs.h"
#include "common/bytes.h"

/* "500ms", "30s", "5m", "1h", "5d", "1y" (365 days), and sums of them in falling order ("1h30m").
 * False when it is none, or more than int64 microseconds hold. */
MUST_CHECK bool text_duration_parse(const char *text, int64_t *ret_ms);
/* The shortest single-unit form: 90000 gives "90s". buffer of at least 32 bytes; returns it. */
char *text_duration_format(int64_t ms, char *buffer, size_t buffer_bytes);

/* RFC 3339: "2026-11-22T00:00:00Z", "2026-11-22T01:00:00.5+01:00"; milliseconds since 1970. */
MUST_CHECK bool text_time_parse(const char *text, int64_t *ret_ms);

/* A Kubernetes quantity of bytes: "123", "500M" (10^6), "64Mi" (2^20), k to P and Ki to Pi, with a
 * fraction where it comes out whole ("1.5Gi"). */
MUST_CHECK bool text_quantity_parse(const char *text, uint64_t *ret_bytes);
/* The largest binary unit it is a whole number of: 67108864 gives "64Mi". */
char *text_quantity_format(uint64_t bytes, char *buffer, size_t buffer_bytes);

/* All of the text is one decimal number that fits. */
MUST_CHECK bool text_integer_parse(const char *text, int64_t *ret);

/* A number's text, all of it. */
MUST_CHECK bool text_real_parse(const char *text, size_t bytes, double *ret);

/* Bytes of the well-formed UTF-8 sequence at `at` (Unicode 15, table 3-7), of which no more than
 * `left` are read, and none behind one that does not belong; 0: it is none. */
size_t text_letter_bytes(const uint8_t *at, size_t left);
bool text_is_utf8(const uint8_t *at, size_t bytes);
/* Bytes that do not belong become '?': of a log, or of a letter that was cut. */
void text_mend_utf8(char *text);

/* A DNS-1123 subdomain of at most 253 bytes: what Kubernetes takes as an object's name. */
bool text_is_object_name(const char *text);

/* Edits (insert, delete, replace, swap neighbours) between two words, case ignored; words longer
 * than 64 bytes are `most` away from everything. Stops counting at `most`. */
size_t text_distance(const char *a, const char *b, size_t most);
/* The known name nearest to word, or NULL when none is near enough to be what was meant. */
const char *text_nearest(const char *word, const char *const *known, size_t count);

/* Appends the value as it may stand in a message: in double quotes, control bytes escaped, cut
 * after 80 bytes, a password inside a URL ("//user:secret@host") left out. */
void text_quote(Bytes *to, const char *value);
/* An SQL identifier or literal: the text between two marks, those in it doubled, and nothing else
 * escaped; the caller frees. */
char *text_sql_quote(const char *text, char mark) OWNED_BY(free);
