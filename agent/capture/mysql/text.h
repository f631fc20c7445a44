/* Values as text, as a SELECT gives them, into columns: the same that the log's bytes become
 * (value.h). The session speaks utf8mb4 in UTC; FLOATs are asked for as DOUBLEs (c + 0e0), as their
 * own text has six digits. */
#pragma once

#include "agent/capture/mysql/value.h"

/* Appends one value; NULL on success, else the reason, as value_decode. */
MUST_CHECK const char *text_decode(const MyDecoder *decoder, Batch *batch, Column *column,
                                   const uint8_t *at, size_t bytes, Bytes *scratch);
