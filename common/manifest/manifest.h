/* The three resources as C structs: what a user writes, checked. The operator validates with it,
 * the agent runs it. Texts are UTF-8, owned by the Manifest; a pointer that may be NULL says so.
 * Durations are in milliseconds, sizes in bytes. The API is firn.dev/v1alpha1; fields of it that
 * this version does not run yet are refused by name ("not supported yet"), never ignored.
 *
 *   parse.c     libyaml events → a tree with lines (yaml.h) → structs
 *   validate.c  what goes beyond one field
 *   lake.c      catalog and storage of a table, and their Secrets
 *   stream.c    the Kafka topics of a Connector, and their Secrets
 *   events.c    the topic of a unit, that others fill
 *   routes.c    the LakeTables that a unit names
 *   request.c   what is asked for once: tables to be copied again
 *   expand.c    patterns: connectorRef.tables and outsourcingUnit → owned units and tables */
#pragma once

#include "common/attrs.h"
#include "common/error.h"

/* A Secret, by reference: only the reference is in the structs. Resolved by secret_get when needed.
 */
typedef struct SecretRef {
    char *name; /* NULL: not given */
    char *key;  /* NULL: the default of the place that uses it */
} SecretRef;

typedef enum UnitState { STATE_RUNNING, STATE_PAUSED, STATE_STOPPED } UnitState;
typedef enum SourceType {
    SOURCE_POSTGRESQL,
    SOURCE_MYSQL,
    SOURCE_MARIADB,
    SOURCE_DYNAMODB
} SourceType;
typedef enum TlsMode {
    TLS_DISABLE,
    TLS_PREFER,
    TLS_REQUIRE,
    TLS_VERIFY_CA,
    TLS_VERIFY_FULL
} TlsMode;
typedef enum SnapshotMode { SNAPSHOT_INITIAL, SNAPSHOT_NEVER, SNAPSHOT_ONLY } SnapshotMode;
typedef enum CatalogType {
    CATALOG_REST,
    CATALOG_GLUE,
    CATALOG_JDBC,
    CATALOG_DIRECTORY
} CatalogType;
typedef enum Cascades { CASCADES_REFUSE, CASCADES_IGNORE } Cascades;
typedef enum DroppedColumns { DROPPED_KEEP, DROPPED_DROP } DroppedColumns;
typedef enum Incompatible { INCOMPATIBLE_STALL, INCOMPATIBLE_DEAD_LETTER } Incompatible;
typedef enum TableMode { MODE_UPSERT, MODE_APPEND, MODE_TRUNCATE_LOAD, MODE_SCD2 } TableMode;

typedef struct TextList {
    char **texts;
    size_t count;
} TextList;

typedef struct ObjectMeta {
    char *name;
    char *namespace_name; /* "default" if not given */
    int line;             /* of the document in its file */
    const char *file;     /* as given on the command line */
} ObjectMeta;

/* Tables to be copied again, once for the id: the annotation firn.dev/resnapshot of a Connector. */
#define ANNOTATION_RESNAPSHOT "firn.dev/resnapshot"
#define COPY_REQUEST_BYTES 64 /* of the annotation's id, with its end */
typedef struct CopyRequest {
    char *id;        /* NULL: nothing is asked for */
    char by[256];    /* "": not said */
    TextList tables; /* patterns */
} CopyRequest;
void copy_request_done(CopyRequest *request);
void copy_request_of(CopyRequest *ret, const char *id, const TextList *tables); /* id NULL: none */
/* CONFIG "BadRequest" names what is wrong with the annotation's text; then *ret is empty. */
MUST_CHECK bool copy_request_parse(const char *text, CopyRequest *ret, Error *err);
bool copy_request_names(const CopyRequest *request, const char *table_name);

/* From where a partition is to be read. */
typedef struct ReplayOffset {
    uint32_t partition;
    uint64_t offset;
} ReplayOffset;
typedef struct ReplayOffsets {
    ReplayOffset *items;
    size_t count;
} ReplayOffsets;
/* Where the table of a unit is to go on from, once for the id: the annotations firn.dev/positions
 * (other offsets of its topic) and firn.dev/rollback (an older snapshot, with the offsets that it
 * was committed at) of an IngestionUnit. */
#define ANNOTATION_POSITIONS "firn.dev/positions"
#define ANNOTATION_ROLLBACK "firn.dev/rollback"
typedef enum UnitRequestKind { UNIT_NOTHING, UNIT_POSITIONS, UNIT_ROLLBACK } UnitRequestKind;
typedef struct UnitRequest {
    UnitRequestKind kind;
    char id[COPY_REQUEST_BYTES];
    char by[256];          /* "": not said */
    char *target;          /* as it was written; NULL: nothing is asked for */
    int64_t at_ms;         /* INT64_MIN: not by time */
    int64_t snapshot;      /* of a rollback; 0: not by id */
    bool latest;           /* of positions; Earliest when nothing else is said */
    ReplayOffsets offsets; /* of positions, in these partitions alone; none: in all */
} UnitRequest;
void unit_request_done(UnitRequest *request);
/* As copy_request_parse. */
MUST_CHECK bool unit_request_parse(UnitRequestKind kind, const char *text, UnitRequest *ret,
                                   Error *err);

typedef enum KafkaProtocol {
    KAFKA_PLAINTEXT,
    KAFKA_SSL,
    KAFKA_SASL_PLAINTEXT,
    KAFKA_SASL_SSL
} KafkaProtocol;
typedef enum KafkaMechanism {
    KAFKA_PLAIN,
    KAFKA_SCRAM_SHA_256,
    KAFKA_SCRAM_SHA_512,
    KAFKA_OAUTHBEARER
} KafkaMechanism;

/* How a Kafka cluster is reached. What is resolved from Secrets is wiped by manifest_free and never
 * logged. */
typedef struct KafkaSpec KafkaSpec;
struct KafkaSpec {
    TextList brokers; /* "host:port"; of strimzi, its bootstrap service; of r53, that name */
    char *r53;        /* NULL: not given */
    struct {
        char *cluster; /* NULL: not given */
        char *namespace_name;
        uint16_t port;
    } strimzi;
    KafkaProtocol protocol;
    KafkaMechanism mechanism; /* of the two SASL protocols */
    SecretRef credentials;    /* username and password; clientId and clientSecret (OAUTHBEARER);
                                 tls.crt and tls.key, alone or beside them */
    SecretRef ca;
    bool verify_host;                                 /* that the certificate is the host's */
    char *token_url, *token_scope, *token_extensions; /* OAUTHBEARER; NULL: not given */
    SecretRef token_ca;
    char *username, *password; /* of OAUTHBEARER: client id, client secret */
    char *client_pem, *client_key_pem;
    char *ca_pem, *token_ca_pem; /* NULL: the system's */
};

typedef enum KafkaCompression {
    KAFKA_NONE,
    KAFKA_GZIP,
    KAFKA_SNAPPY,
    KAFKA_LZ4,
    KAFKA_ZSTD
} KafkaCompression;
typedef enum CleanupPolicy {
    CLEANUP_DEFAULT,
    CLEANUP_DELETE,
    CLEANUP_COMPACT,
    CLEANUP_COMPACT_DELETE
} CleanupPolicy;
typedef enum StreamFormat { STREAM_JSON, STREAM_AVRO } StreamFormat;
typedef enum StreamIncoming {
    INCOMING_DEBEZIUM,
    INCOMING_JSON, /* plain: the record is the row */
    INCOMING_AVRO, /* … */
    INCOMING_PROTOBUF,
} StreamIncoming;
typedef enum StreamDelivery { DELIVERY_IDEMPOTENT, DELIVERY_TRANSACTIONAL } StreamDelivery;

#define KAFKA_SETTINGS_MAX 64
typedef struct TopicSetting {
    char *name, *value;
} TopicSetting;
typedef struct TopicSettings {
    TopicSetting *items;
    size_t count;
} TopicSettings;

/* How values stand in the records, as Debezium's options of the same meaning have them; in the
 * order of agent/topic/topic.h's. */
typedef enum RecordTime {
    RECORD_TIME_ADAPTIVE,
    RECORD_TIME_ADAPTIVE_MICROSECONDS,
    RECORD_TIME_CONNECT,
    RECORD_TIME_MICROSECONDS, /* of topics that others fill, these */
    RECORD_TIME_NANOSECONDS
} RecordTime;
typedef enum RecordUnit {
    RECORD_UNIT_UNKNOWN,
    RECORD_MILLISECONDS,
    RECORD_MICROSECONDS,
    RECORD_NANOSECONDS
} RecordUnit;
typedef enum RecordDecimal {
    RECORD_DECIMAL_PRECISE,
    RECORD_DECIMAL_DOUBLE,
    RECORD_DECIMAL_STRING
} RecordDecimal;
typedef enum RecordBinary {
    RECORD_BINARY_BYTES,
    RECORD_BINARY_BASE64,
    RECORD_BINARY_BASE64_URL,
    RECORD_BINARY_HEX
} RecordBinary;
typedef enum RecordInterval { RECORD_INTERVAL_NUMERIC, RECORD_INTERVAL_STRING } RecordInterval;
typedef enum RecordHstore { RECORD_HSTORE_JSON, RECORD_HSTORE_MAP } RecordHstore;
typedef enum RecordUnsigned { RECORD_UNSIGNED_PRECISE, RECORD_UNSIGNED_LONG } RecordUnsigned;
typedef enum RecordUnknown { RECORD_UNKNOWN_KEEP, RECORD_UNKNOWN_OMIT } RecordUnknown;

/* An event that is taken. */
typedef struct EventName {
    char *name;
} EventName;
typedef struct EventNames {
    EventName *items;
    size_t count;
} EventNames;

/* What the records of tables are keyed by, in place of the tables' own keys. */
typedef struct KeyColumns {
    char *table; /* pattern of "schema.table" */
    TextList columns;
} KeyColumns;
typedef struct KeyColumnsList {
    KeyColumns *items;
    size_t count;
} KeyColumnsList;

typedef struct RecordsSpec RecordsSpec;
struct RecordsSpec {
    KeyColumnsList keys; /* the first pattern that matches a table counts */
    bool schemas; /* JSON: each record with its schema. Of a unit's spec.kafka false, too, for
                     what is no envelope in JSON */
    bool tombstones;
    bool nulls_as_defaults;
    bool transactions;   /* a topic of transactions, and in each record the one that it is of */
    bool messages;       /* a topic for the log's logical messages */
    bool heartbeats;     /* a topic for them, at source.heartbeat.interval */
    bool schema_changes; /* MySQL, MariaDB: a topic for statements that change tables */
    RecordTime time;
    RecordDecimal decimal;
    RecordBinary binary;
    RecordInterval interval;
    RecordHstore hstore;
    RecordUnsigned bigint_unsigned;
    RecordUnknown unknown;
    /* of a unit's spec.kafka: columns whose source has so many digits of a second, where `time`
     * goes by that */
    TextList milliseconds, microseconds, nanoseconds;
};

/* How an object store is reached: a table's spec.storage, a stream's spool.storage. What is
 * resolved from Secrets is wiped by manifest_free and never logged. */
typedef struct StorageSpec {
    char *endpoint; /* NULL: Amazon's */
    char *region;   /* NULL: from the environment */
    bool path_style;
    SecretRef credentials; /* keys accessKeyId, secretAccessKey[, sessionToken]; NULL name: from the
                              environment */
    SecretRef ca;
    char *access_key, *secret_key, *session_token;
    char *ca_pem;
} StorageSpec;

/* Connector spec.stream */
typedef struct StreamSpec StreamSpec;
struct StreamSpec {
    KafkaSpec kafka;
    char *topic_prefix;   /* default: the Connector's name */
    char *topic_template; /* with {connector} (the prefix), {database}, {schema}, {table} */
    uint32_t partitions;
    uint32_t replication;         /* 0: the brokers' default */
    uint32_t min_insync_replicas; /* 0: the brokers' default */
    int64_t retention_ms;         /* 0: the brokers' default; INT64_MAX: for ever. Of a unit's
                                     spec.kafka what is expected; 0: nothing */
    char *retention;              /* as written */
    CleanupPolicy cleanup;        /* CLEANUP_DEFAULT: the brokers' */
    TopicSettings settings;       /* any other of Kafka's, for the topics that are made */
    KafkaCompression compression;
    uint64_t buffer_bytes;     /* rows on their way to Kafka */
    char *spool_location;      /* where they wait while it is slow or away; NULL: at the source */
    StorageSpec spool_storage; /* of a place on S3 */
    uint64_t spool_bytes;
    StreamFormat format;
    char *registry_url;             /* Avro */
    SecretRef registry_credentials; /* username and password, or token */
    SecretRef registry_ca;
    char *registry_username, *registry_password, *registry_token, *registry_ca_pem;
    StreamDelivery delivery;
    RecordsSpec records;
    char *resnapshot_id;     /* NULL: none is asked for */
    TextList resnapshot;     /* patterns of the tables that are copied once more, once for the id */
    char *topic;             /* of an IngestionUnit's spec.kafka: the one that is read … */
    StreamIncoming incoming; /* … what its records are … */
    char *event_field;       /* … which field has an event's name; NULL: all are taken … */
    EventNames events;       /* … those that are taken … */
    char *ordering_column;   /* … of two versions of a key, what the newer has more of; NULL: the
                                later record is … */
    char *start_from;        /* … where a new table begins: Earliest, Latest, or a time, … */
    bool start_latest;
    int64_t start_ms;  /* … which is this; INT64_MIN: none … */
    char *replay_id;   /* … what is to be read once more, once for the id; NULL: nothing … */
    char *replay_from; /* … from Earliest or a time on, or … */
    int64_t replay_ms; /* … INT64_MIN: Earliest … */
    ReplayOffsets replay_offsets; /* … in these partitions */
};

typedef struct ConnectorSpec {
    ObjectMeta meta;
    UnitState state;
    SourceType source_type;
    TextList hosts;
    uint16_t port;
    char *database;
    SecretRef credentials; /* keys username, password; tls.crt, tls.key */
    TlsMode tls_mode;
    SecretRef tls_ca;
    TextList include; /* "schema.table" with * and ? */
    TextList exclude;
    SnapshotMode snapshot_mode;
    uint32_t snapshot_parallelism;
    uint64_t snapshot_rows_per_second; /* 0: no limit */
    int64_t heartbeat_interval_ms;
    char *heartbeat_table; /* "schema.table"; NULL: heartbeats are messages */
    char *pg_slot;         /* default firn_<name> with what a slot name can't have turned to _ */
    char *pg_publication;
    bool pg_manage;
    uint32_t mysql_server_id; /* 0: one of the name's */
    Cascades mysql_cascades;  /* of foreign keys, where the binlog has none of them */
    StreamSpec *stream;       /* NULL: straight from source to table */
    char *resnapshot;         /* the annotation; NULL: there is none */
    /* resolved from the Secret at load; wiped by manifest_free. Never logged. */
    char *username;
    char *password;                    /* NULL: the client's certificate says enough */
    char *client_pem, *client_key_pem; /* both or neither */
    char *ca_pem;                      /* NULL */
} ConnectorSpec;

/* What is said of a column of the source. */
typedef struct ColumnSpec {
    char *name;
    char *type; /* Iceberg's, as the table has it; NULL: the one that the source's type becomes */
    char *doc;  /* NULL */
} ColumnSpec;

typedef struct ColumnList {
    ColumnSpec *items;
    size_t count;
} ColumnList;

typedef enum CatalogAuth { AUTH_NONE, AUTH_BEARER, AUTH_OAUTH2, AUTH_SIGV4 } CatalogAuth;

/* spec.catalog. What is resolved from Secrets is wiped by manifest_free and never logged. */
typedef struct CatalogSpec {
    CatalogType type;
    char *uri;        /* Rest */
    char *warehouse;  /* Directory: a location; Rest: as the server knows it; NULL: not given */
    CatalogAuth auth; /* Rest; not given: by the Secret's keys: token, or clientId and
                         clientSecret (or credential, "id:secret"), or accessKeyId */
    SecretRef credentials; /* NULL name: none */
    SecretRef ca;
    char *oauth2_uri, *scope;               /* NULL: the protocol's own */
    char *signing_region, *signing_service; /* SigV4 */
    bool vended_credentials;                /* default: when storage has no credentials */
    char *token, *client_id, *client_secret;
    char *access_key, *secret_key, *session_token;
    char *ca_pem;
} CatalogSpec;

typedef struct LakeTableSpec {
    ObjectMeta meta;
    CatalogSpec catalog;
    StorageSpec storage;
    char *database;
    char *table_name;
    char *location; /* NULL: <warehouse>/<database>/<tableName> */
    int format_version;
    TableMode mode;
    TextList id_columns; /* empty: the source's key */
    ColumnList columns;
    bool add_columns, widen_types; /* schemaEvolution */
    DroppedColumns dropped_columns;
    Incompatible incompatible; /* what becomes of records whose columns it can't follow */
    TextList partition_by;
    int64_t commit_interval_ms;
    uint64_t file_target_bytes;
    int zstd_level;
    int64_t expire_older_than_ms;  /* 0: the thinning of law 10 */
    int64_t orphans_older_than_ms; /* 0: they stay */
    bool drop_on_delete;
} LakeTableSpec;

/* One of several tables that a unit's records are shared out to: each goes to the first whose
 * condition holds. */
typedef struct RouteSpec {
    char *when;       /* as common/condition.h reads it; NULL: always */
    char *lake_table; /* name */
} RouteSpec;
typedef struct RouteList {
    RouteSpec *items;
    size_t count;
} RouteList;

typedef struct IngestionUnitSpec {
    ObjectMeta meta;
    UnitState state;
    uint32_t consumers; /* Pods; a process of its own does not ask */
    char *connector;    /* name, same namespace; "" with kafka */
    StreamSpec *kafka;  /* NULL; spec.kafka: a topic that others fill */
    char *table;        /* "schema.table"; NULL when tables is given */
    TextList tables;    /* patterns */
    char *lake_table;   /* name; NULL when lake or routes are given */
    RouteList routes;
    char *to_topic; /* in place of a table; NULL: a table */
    LakeTableSpec
        *lake; /* outsourcingUnit.table; with patterns its texts may hold {schema} and {table} */
    char *dead_letter;          /* the topic of records that can't be read, or … */
    char *dead_letter_table;    /* … the LakeTable of them; both NULL: they stop the flow */
    int64_t freshness_ms;       /* sla; 0: none */
    char *positions, *rollback; /* the annotations; NULL: there is none */
} IngestionUnitSpec;

typedef struct Manifest {
    ConnectorSpec *connectors;
    size_t connector_count;
    LakeTableSpec *tables;
    size_t table_count;
    IngestionUnitSpec *units;
    size_t unit_count;
    struct SecretStore *secrets; /* private */
} Manifest;

void manifest_free(Manifest *manifest); /* wipes what was secret */

typedef struct ManifestOptions {
    const char *const *files; /* "-" is standard input; a folder stands for its *.yaml */
    size_t file_count;
    const char *secrets_folder; /* NULL; <folder>/<secret name>/<key> */
} ManifestOptions;

/* Findings: every one, not only the first. */
typedef struct Finding {
    char *file;
    int line;      /* 1-based; 0: of the whole file */
    char *object;  /* "Connector/shop", or "" */
    char *path;    /* "spec.source.tables.include[0]", or "" */
    char *message; /* names the value and the way out */
} Finding;
typedef struct Findings {
    Finding *items;
    size_t count;
} Findings;
void findings_done(Findings *findings);

/* Parses and checks all files together (references between documents included). False with at least
 * one finding when anything is wrong, then *ret is NULL. Secrets are resolved only when
 * resolve_secrets. */
MUST_CHECK bool manifest_load(const ManifestOptions *options, bool resolve_secrets, Manifest **ret,
                              Findings *findings);

/* The whole of a text, for tests and fuzzing. `name` stands for the file. */
MUST_CHECK bool manifest_parse(const char *name, const char *text, size_t bytes, Manifest **ret,
                               Findings *findings);

/* In what a column's values come, a time's of a day (is_time) or a timestamp's without zone;
 * RECORD_UNIT_UNKNOWN: the mode leaves it open, and the lists do not say it. */
RecordUnit manifest_time_unit(const RecordsSpec *records, const char *column, bool is_time);
/* Are the unit's records envelopes in JSON without schemas, of which its tables' columns say what
 * they have? */
bool manifest_declares_records(const IngestionUnitSpec *unit);

/* Does "schema.table" match the pattern ("public.*", "public.order_?")? */
bool manifest_pattern_matches(const char *pattern, const char *name);
/* … any of them? */
bool manifest_patterns_match(const TextList *patterns, const char *name);
/* Is it of the tables that the connector captures: included, where anything is, and not excluded?
 */
bool manifest_chooses(const ConnectorSpec *spec, const char *name);

/* The unit and table that a pattern unit makes for one source table: *ret_table is the caller's to
 * free with lake_table_free; *ret_unit_name (caller frees) its name. */
void lake_table_free(LakeTableSpec *table);
MUST_CHECK bool manifest_expand(const IngestionUnitSpec *unit, const char *schema_name,
                                const char *table_name, LakeTableSpec **ret_table,
                                char **ret_unit_name, Error *err);
/* How many LakeTables the unit names that its rows go to: lakeTableRef's, or that of each route. */
size_t manifest_table_count(const IngestionUnitSpec *unit);
/* The name of the LakeTable that the unit names in this place: those that its rows go to, then its
 * dead letters'. NULL: there are no more. */
const char *manifest_table_name(const IngestionUnitSpec *unit, size_t at);
const LakeTableSpec *manifest_find_table(const Manifest *manifest, const char *namespace_name,
                                         const char *name);

/* Has a table, of its own or made by a unit, anything to be done beside filling it? */
bool manifest_is_maintained(const Manifest *manifest);

/* What this version validates and does not run yet, as findings: `run` refuses it.
 * False: there is some. */
MUST_CHECK bool manifest_runs(const Manifest *manifest, Findings *findings);

const ConnectorSpec *manifest_find_connector(const Manifest *manifest, const char *namespace_name,
                                             const char *name);
