/* A reader of the copy, for copy.c, which reads ranges in the shared snapshot, and beside.c, which
 * reads chunks of the key, each in a snapshot of its own. */
#pragma once

#include "agent/capture/mysql/mysql.h"
#include "agent/capture/mysql/text.h"

typedef struct MyReader {
    CopyReader base;
    Mysql *mysql;
    MySession *session; /* of the range being read, or NULL; beside: its own */
    int wake_fd;
    atomic_bool cancelled;
    MyTable *table; /* of the range being read; NULL: none */
    uint32_t number;
    MyDecoder *decoders; /* one for each field of it */
    uint32_t decoder_count;
    bool ended, any_batch;
    Batch *batch;
    Bytes scratch;
    Mysql *stream;    /* beside: whose stream is told of chunks; else NULL */
    uint64_t said_at; /* beside: where the latest word was said */
    char *said_gtids; /* what lies before that; NULL: not known */
} MyReader;

/* Of the session's connection, by its wire: the library's own reading wants a socket that blocks.
 */
MUST_CHECK bool my_reader_command(MyReader *reader, const char *sql, Error *err);
/* The answer's rows follow: my_reader_row. */
MUST_CHECK bool my_reader_ask(MyReader *reader, const char *sql, size_t *ret_columns, Error *err);
/* The next row's packet; *ret_end: there is none. */
MUST_CHECK bool my_reader_row(MyReader *reader, Reader *ret, bool *ret_end, Error *err);
/* The table stays as it is until the savepoint is left, or the transaction ends; RETRY
 * "ColumnsChanged" when it is not as it was when its columns were read. */
MUST_CHECK bool my_reader_hold(MyReader *reader, const MyTable *table, Error *err);
/* Asks for the table's rows; where: "" or " WHERE …". Then my_copy_next. */
MUST_CHECK bool my_reader_start(MyReader *reader, uint32_t number, const char *where, Error *err);
