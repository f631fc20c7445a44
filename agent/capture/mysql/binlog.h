/* Events of the binlog, as a server sends or writes them: their headers, and what stands in each.
 * Pure: bytes in, structs that point into them out. Every length is checked before it is used.
 *
 *   event        header, content, 4 bytes CRC-32 of what stands before (where checksums are on)
 *   header, 19   uint32 time, uint8 type, uint32 server id, uint32 event's bytes, uint32 end in the
 *                file, uint16 flags
 *   format 15    uint16 version (4), 50 bytes server's version, uint32 time, uint8 19, for each
 *                type the bytes of its fixed part, uint8 checksums (0 none, 1 CRC-32), CRC-32
 *   rotate 4     uint64 offset, the next file's name
 *   query 2      uint32 thread, uint32 seconds, uint8 schema's bytes, uint16 error, uint16 bytes of
 *                variables, variables, schema, 0, text
 *   xid 16       uint64
 *   gtid 33      uint8 flags, 16 bytes uuid, int64 number, …; 34: of a transaction without one
 *   gtid 42      with a tag, in MySQL's serialization: numbers of 1 to 9 bytes, the first byte's
 *                trailing one bits are how many more; fields by their number
 *   gtid 162     MariaDB: uint64 sequence, uint32 domain, uint8 flags, …; server is the header's
 *   heartbeat    27: the file's name, the offset is the header's; 41: fields (packed kind, packed
 *                bytes): 1 name, 2 packed offset; 0 ends them
 *   payload 40   a whole transaction, compressed: fields as 41's: 1 bytes, 2 packed algorithm (0
 *                zstd, 255 none), 3 packed bytes once unpacked; 0 ends them, then the events, which
 *                have no checksums
 *   query 165, rows 166 to 171   MariaDB, compressed: unpack.h
 *
 * Little-endian but where said.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication.html
 * https://mariadb.com/kb/en/replication-protocol/ */
#pragma once

#include "agent/capture/mysql/endian.h"
#include "agent/capture/mysql/gtid.h"
#include "common/bytes.h"

/* A longer event is refused: a server's largest packet is 1 GiB. */
#define BINLOG_EVENT_MAX (((size_t)1 << 30) + 65536)
#define BINLOG_HEADER_BYTES 19
#define BINLOG_FLAG_ARTIFICIAL 0x20 /* made by the server for us, stands in no file */
#define BINLOG_FLAG_IGNORABLE 0x80  /* may be passed over by whoever does not know it */

typedef enum BinlogType {
    EVENT_QUERY = 2,
    EVENT_STOP = 3,
    EVENT_ROTATE = 4,
    EVENT_INTVAR = 5,
    EVENT_LOAD_FIRST = 6, /* … 12: LOAD DATA of statements */
    EVENT_LOAD_LAST = 12,
    EVENT_RAND = 13,
    EVENT_USER_VAR = 14,
    EVENT_FORMAT = 15,
    EVENT_XID = 16,
    EVENT_BEGIN_LOAD = 17,
    EVENT_EXECUTE_LOAD = 18,
    EVENT_TABLE_MAP = 19,
    EVENT_WRITE_V1 = 23,
    EVENT_UPDATE_V1 = 24,
    EVENT_DELETE_V1 = 25,
    EVENT_INCIDENT = 26,
    EVENT_HEARTBEAT = 27,
    EVENT_IGNORABLE = 28,
    EVENT_ROWS_QUERY = 29,
    EVENT_WRITE = 30,
    EVENT_UPDATE = 31,
    EVENT_DELETE = 32,
    EVENT_GTID = 33,
    EVENT_ANONYMOUS_GTID = 34,
    EVENT_PREVIOUS_GTIDS = 35,
    EVENT_TRANSACTION_CONTEXT = 36,
    EVENT_VIEW_CHANGE = 37,
    EVENT_XA_PREPARE = 38,
    EVENT_PARTIAL_UPDATE = 39,
    EVENT_PAYLOAD = 40,
    EVENT_HEARTBEAT_V2 = 41,
    EVENT_GTID_TAGGED = 42,
    EVENT_MARIADB_FIRST = 160,
    EVENT_ANNOTATE_ROWS = 160,
    EVENT_BINLOG_CHECKPOINT = 161,
    EVENT_MARIADB_GTID = 162,
    EVENT_GTID_LIST = 163,
    EVENT_START_ENCRYPTION = 164,
    EVENT_QUERY_COMPRESSED = 165,
    EVENT_WRITE_V1_COMPRESSED = 166,
    EVENT_UPDATE_V1_COMPRESSED = 167,
    EVENT_DELETE_V1_COMPRESSED = 168,
    EVENT_WRITE_COMPRESSED = 169,
    EVENT_UPDATE_COMPRESSED = 170,
    EVENT_DELETE_COMPRESSED = 171,
} BinlogType;

/* What the latest format description said; a stream begins without one. */
typedef struct BinlogFormat {
    bool checksums; /* before a format description: what was agreed with the server */
    bool mariadb;
    bool known;
    uint8_t fixed_bytes[256]; /* of each type */
    char version[51];
} BinlogFormat;

typedef struct BinlogEvent {
    uint32_t time; /* seconds since 1970, when its statement began */
    uint8_t type;
    uint32_t server;
    uint32_t bytes; /* with header and checksum */
    uint32_t end;   /* in its file, modulo 2^32; 0: it stands in none */
    uint16_t flags;
    Reader content; /* without header and checksum */
} BinlogEvent;

/* One event, which has to be as long as it says. A format description is taken over into *format.
 * DATA "BadEvent" for what is none, "BadChecksum" where the bytes are not those that were sent. */
MUST_CHECK bool binlog_event(BinlogFormat *format, const uint8_t *data, size_t bytes,
                             BinlogEvent *ret, Error *err);
/* As binlog_event, of one that stands in a payload. */
MUST_CHECK bool binlog_event_inside(const BinlogFormat *format, const uint8_t *data, size_t bytes,
                                    BinlogEvent *ret, Error *err);
const char *binlog_type_name(uint8_t type); /* "update rows", for messages */

/* --- what stands in them; DATA "BadEvent" --- */
typedef struct RotateEvent {
    uint64_t offset;
    const char *name; /* without NUL */
    size_t name_bytes;
} RotateEvent;
MUST_CHECK bool rotate_read(const BinlogEvent *event, RotateEvent *ret, Error *err);

typedef struct QueryEvent {
    uint32_t thread;
    uint16_t error;
    const char *schema, *text; /* without NUL */
    size_t schema_bytes, text_bytes;
} QueryEvent;
/* unpacked: memory for a compressed one, kept from call to call; *ret points into it. */
MUST_CHECK bool query_read(const BinlogEvent *event, Bytes *unpacked, QueryEvent *ret, Error *err);

/* What a query's text does to the transaction around it. Comments and blanks are passed over. */
typedef enum QueryKind {
    QUERY_OTHER, /* DDL, in a row log; ends what was open, and is its own transaction */
    QUERY_BEGIN,
    QUERY_COMMIT,
    QUERY_ROLLBACK, /* of everything. Rows before it in the transaction are void */
    QUERY_SAVEPOINT,
    QUERY_ROLLBACK_TO, /* a savepoint: its name is what follows. Rows since then are void */
    QUERY_XA,          /* XA START, END, PREPARE, COMMIT, ROLLBACK */
    QUERY_CHANGE,      /* INSERT, UPDATE, DELETE, REPLACE, LOAD: the log has statements, not rows */
} QueryKind;
QueryKind query_kind(const char *text, size_t bytes);

typedef struct GtidEvent {
    bool anonymous; /* no GTID: gtid_mode is off */
    Gtid gtid;
    bool standalone;   /* MariaDB: the next event is the whole transaction */
    bool ddl;          /* MariaDB */
    bool prepared_xa;  /* MariaDB: the transaction is prepared by XA, and no more */
    int64_t commit_us; /* MySQL: since 1970, at the server that it began at; 0: not said */
} GtidEvent;
MUST_CHECK bool gtid_read(const BinlogEvent *event, GtidEvent *ret, Error *err);
/* Of EVENT_PREVIOUS_GTIDS and EVENT_GTID_LIST, at a file's head: all that ran before. *ret is the
 * caller's to end, on false too. */
MUST_CHECK bool gtids_before_read(const BinlogEvent *event, GtidSet *ret, Error *err);

typedef struct HeartbeatEvent {
    const char *name;
    size_t name_bytes;
    uint64_t offset;
} HeartbeatEvent;
MUST_CHECK bool heartbeat_read(const BinlogEvent *event, HeartbeatEvent *ret, Error *err);

MUST_CHECK bool xid_read(const BinlogEvent *event, uint64_t *ret, Error *err);

typedef struct IncidentEvent {
    uint16_t kind; /* 1: events were lost */
    const char *text;
    size_t text_bytes;
} IncidentEvent;
MUST_CHECK bool incident_read(const BinlogEvent *event, IncidentEvent *ret, Error *err);

/* DATA "BadEvent": "a … event of n bytes …: what". */
bool binlog_bad(const BinlogEvent *event, const char *what, Error *err);
