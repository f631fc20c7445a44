/* A column's values: how the log writes them, what they become, and the way there. A decoder is
 * chosen once per column (types.c); then a value's bytes go straight into a batch.
 *
 *   TINYINT, SMALLINT, MEDIUMINT, INT, BIGINT   1, 2, 3, 4, 8 bytes, little-endian
 *   FLOAT, DOUBLE   4, 8 bytes, IEEE 754            YEAR   1 byte, years since 1900; 0: 0000
 *   DECIMAL         decimal.h                       dates and times   temporal.h
 *   BIT             (bits + 7) / 8 bytes, big-endian
 *   ENUM            1 or 2 bytes, the label's number from 1; 0: what was no label, ''
 *   SET             1 to 8 bytes, a bit per label, the first is the lowest
 *   CHAR, BINARY    1 or 2 bytes length (2 when more than 255 bytes fit), without what it is padded
 *                   with: blanks, which the server does not show either, or in a BINARY zeros
 *   VARCHAR, VARBINARY   the same, as they are      BLOB, TEXT   1 to 4 bytes length, the bytes
 *   JSON            4 bytes length, json.h          VECTOR   the same, floats of 4 bytes
 *   GEOMETRY        the same, uint32 SRID, then WKB */
#pragma once

#include "agent/capture/mysql/charset.h"
#include "agent/capture/mysql/table_map.h"
#include "agent/capture/mysql/temporal.h"
#include "agent/record/batch.h"

typedef enum MyForm {
    FORM_MY_INT,   /* up to 4 bytes, fits int32 */
    FORM_MY_LONG,  /* fits int64 */
    FORM_MY_ULONG, /* BIGINT UNSIGNED: decimal(20,0) */
    FORM_MY_FLOAT,
    FORM_MY_DOUBLE,
    FORM_MY_YEAR,
    FORM_MY_DECIMAL,
    FORM_MY_DATE,
    FORM_MY_TIME,
    FORM_MY_TIMESTAMP,   /* DATETIME */
    FORM_MY_TIMESTAMPTZ, /* TIMESTAMP */
    FORM_MY_BOOL,        /* BIT(1) */
    FORM_MY_TEXT,
    FORM_MY_BINARY,
    FORM_MY_PADDED, /* BINARY(n) */
    FORM_MY_WKB,
    FORM_MY_VECTOR,
    FORM_MY_UUID,    /* MariaDB's, as BINARY(16) */
    FORM_MY_PRINTED, /* text that is made: BIT, ENUM, SET, JSON, INET, wide DECIMAL, and what the
                      * user asked to be a string */
} MyForm;

typedef struct MyDecoder {
    MyForm form;
    MyColumn column;      /* as the log has it; owns nothing */
    uint32_t fixed_bytes; /* of a value; 0: a length of column.length_bytes stands before it */
    __int128 limit;       /* FORM_MY_DECIMAL: 10 ^ precision */
    bool stands_in;       /* what is no date and no moment is null, or 1970 */
    Charset charset;      /* of text and labels */
    char **labels;        /* in UTF-8, owned */
    uint32_t *label_bytes;
    uint32_t label_count;
} MyDecoder;

void my_decoder_done(MyDecoder *decoder);

/* Which of the source's types becomes which of Iceberg's: README's table. wanted: what the user
 * asked for, NULL: nothing. False when there is no such type; *ret_why says why, static. *ret is
 * the caller's to end, on false too; *ret_type is the caller's (type_done). */
MUST_CHECK bool my_decoder_choose(const MyColumn *column, const Collations *collations,
                                  const Type *wanted, MyDecoder *ret, Type *ret_type,
                                  const char **ret_why);

/* The value's bytes, without its length. False when there are fewer. */
MUST_CHECK static inline bool value_take(const MyDecoder *decoder, Reader *in, const uint8_t **ret,
                                         uint32_t *ret_bytes)
{
    uint64_t bytes = decoder->fixed_bytes;
    if (!bytes && UNLIKELY(!reader_le(in, decoder->column.length_bytes, &bytes)))
        return false;
    *ret_bytes = (uint32_t)bytes;
    return reader_take(in, bytes, ret);
}

/* Appends one value. NULL on success, else the reason, a static text that goes on from "value ";
 * then the row must be undone (batch_row_undo). scratch: memory kept from call to call. */
MUST_CHECK const char *value_decode(const MyDecoder *decoder, Batch *batch, Column *column,
                                    const uint8_t *at, uint32_t bytes, Bytes *scratch);
/* A date or time as its form wants it, also from text.h; `why` not NULL: it is none. */
MUST_CHECK const char *value_put_moment(const MyDecoder *decoder, Batch *batch, Column *column,
                                        const Moment *moment);
/* As text, as the server shows it; TIMESTAMPs in UTC. NULL or the reason. */
MUST_CHECK const char *value_print(const MyDecoder *decoder, const uint8_t *at, uint32_t bytes,
                                   Bytes *to);
