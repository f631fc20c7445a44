/* The API, firn.dev/v1alpha1, as tables: every name of it, whether this version runs it (what it
 * does not is FIELD_LATER, or a choice with `later`), what it defaults to and where it goes. */
#include "common/manifest/checks.h"

#define AT(type, member) .offset = offsetof(type, member), .width = sizeof(((type *)NULL)->member)
#define NOWHERE .offset = FIELD_NOWHERE
#define TEXT(name_, type, member, ...)                                                             \
    {                                                                                              \
        .name = (name_), .kind = FIELD_TEXT, AT(type, member), __VA_ARGS__                         \
    }
#define ENUM(name_, choices_, type, member, ...)                                                   \
    {                                                                                              \
        .name = (name_), .kind = FIELD_ENUM, .choices = (choices_), AT(type, member), __VA_ARGS__  \
    }
#define OBJECT(name_, shape_, ...)                                                                 \
    {                                                                                              \
        .name = (name_), .kind = FIELD_OBJECT, .shape = &(shape_), __VA_ARGS__                     \
    }
#define LATER(name_, doc_, ...)                                                                    \
    {                                                                                              \
        .name = (name_), .kind = FIELD_LATER, .doc = (doc_), NOWHERE, __VA_ARGS__                  \
    }
#define ANY(name_, doc_)                                                                           \
    {                                                                                              \
        .name = (name_), .kind = FIELD_ANY, .doc = (doc_), NOWHERE                                 \
    }
#define FIELDS(symbol, ...) static const Field symbol[] = {__VA_ARGS__, {.name = NULL}}
#define SHAPE(symbol, name_, ...)                                                                  \
    FIELDS(symbol##_fields, __VA_ARGS__);                                                          \
    static const Shape symbol = {.name = (name_), .fields = symbol##_fields}
#define PUBLIC_SHAPE(symbol, name_, ...)                                                           \
    FIELDS(symbol##_fields, __VA_ARGS__);                                                          \
    const Shape symbol = {.name = (name_), .fields = symbol##_fields}

/* A whole document, into `type`. What Kubernetes adds (status) is no mistake. */
#define DOCUMENT(symbol, name_, spec_shape, type)                                                  \
    PUBLIC_SHAPE(symbol, name_, ANY("apiVersion", "firn.dev/v1alpha1"), ANY("kind", (name_)),      \
                 OBJECT("metadata", metadata_shape, .offset = offsetof(type, meta),                \
                        .required = true, .doc = "name and namespace"),                            \
                 OBJECT("spec", spec_shape, .required = true, .doc = "what is wanted"),            \
                 ANY("status", "what is, written by the operator"))

#define SECOND_MS 1000LL
#define HOUR_MS (3600 * SECOND_MS)
#define DAY_MS (24 * HOUR_MS)

/* Choices stand in the order of the C enums. */
static const Choice connector_states[] = {
    {"Running", false}, {"Paused", false}, {"Stopped", false}, {0}};
static const Choice unit_states[] = {{"Running", false}, {"Paused", true}, {"Stopped", true}, {0}};
static const Choice source_types[] = {
    {"PostgreSQL", false}, {"MySQL", false}, {"MariaDB", false}, {"DynamoDB", true}, {0}};
static const Choice tls_modes[] = {{"Disable", false},  {"Prefer", false},     {"Require", false},
                                   {"VerifyCa", false}, {"VerifyFull", false}, {0}};
static const Choice snapshot_modes[] = {{"Initial", false}, {"Never", false}, {"Only", false}, {0}};
static const Choice catalog_types[] = {
    {"Rest", false}, {"Glue", true}, {"Jdbc", true}, {"Directory", false}, {0}};
static const Choice catalog_auths[] = {
    {"None", false}, {"Bearer", false}, {"OAuth2", false}, {"SigV4", false}, {0}};
static const Choice kafka_protocols[] = {
    {"PLAINTEXT", false}, {"SSL", false}, {"SASL_PLAINTEXT", false}, {"SASL_SSL", false}, {0}};
static const Choice kafka_mechanisms[] = {{"PLAIN", false},
                                          {"SCRAM-SHA-256", false},
                                          {"SCRAM-SHA-512", false},
                                          {"OAUTHBEARER", false},
                                          {0}};
static const Choice kafka_compressions[] = {{"None", false}, {"Gzip", false}, {"Snappy", false},
                                            {"Lz4", false},  {"Zstd", false}, {0}};
static const Choice cleanup_policies[] = {
    {"Default", false}, {"Delete", false}, {"Compact", false}, {"CompactAndDelete", false}, {0}};
static const Choice stream_formats[] = {{"Json", false}, {"Avro", false}, {0}};
static const Choice deliveries[] = {{"Idempotent", false}, {"Transactional", false}, {0}};
static const Choice record_times[] = {
    {"Adaptive", false}, {"AdaptiveMicroseconds", false}, {"Connect", false}, {0}};
static const Choice record_decimals[] = {
    {"Precise", false}, {"Double", false}, {"String", false}, {0}};
static const Choice record_binaries[] = {
    {"Bytes", false}, {"Base64", false}, {"Base64UrlSafe", false}, {"Hex", false}, {0}};
static const Choice record_intervals[] = {{"Numeric", false}, {"String", false}, {0}};
static const Choice record_hstores[] = {{"Json", false}, {"Map", false}, {0}};
static const Choice record_unsigned[] = {{"Precise", false}, {"Long", false}, {0}};
static const Choice record_unknowns[] = {{"Keep", false}, {"Omit", false}, {0}};
static const Choice table_modes[] = {
    {"Upsert", false}, {"Append", false}, {"TruncateLoad", true}, {"Scd2", true}, {0}};
static const Choice cascade_choices[] = {{"Refuse", false}, {"Ignore", false}, {0}};
static const Choice dropped_columns[] = {{"Keep", false}, {"Drop", false}, {0}};
static const Choice incompatible_changes[] = {{"Stall", false}, {"DeadLetter", false}, {0}};
static const Choice formats[] = {{"Iceberg", false}, {"Delta", true}, {"Hudi", true}, {0}};
static const Choice write_modes[] = {{"MergeOnRead", false}, {"CopyOnWrite", true}, {0}};
static const Choice delete_kinds[] = {{"Position", false}, {"Equality", true}, {0}};
static const Choice deletion_policies[] = {{"Retain", false}, {"Drop", false}, {0}};

SHAPE(metadata_shape, "metadata",
      TEXT("name", ObjectMeta, name, .required = true, .check = check_object_name,
           .doc = "the name of the object in its namespace"),
      TEXT("namespace", ObjectMeta, namespace_name, .fallback = "default",
           .check = check_object_name, .doc = "where the object and all it names live"),
      ANY("labels", "for Kubernetes"), ANY("annotations", "for Kubernetes"),
      ANY("uid", "for Kubernetes"), ANY("resourceVersion", "for Kubernetes"),
      ANY("generation", "for Kubernetes"), ANY("creationTimestamp", "for Kubernetes"),
      ANY("deletionTimestamp", "for Kubernetes"),
      ANY("deletionGracePeriodSeconds", "for Kubernetes"), ANY("generateName", "for Kubernetes"),
      ANY("managedFields", "for Kubernetes"), ANY("ownerReferences", "for Kubernetes"),
      ANY("finalizers", "for Kubernetes"), ANY("selfLink", "for Kubernetes"));

/* A Secret is Kubernetes' own kind; its values are read by secret.c, for no message may quote them.
 */
PUBLIC_SHAPE(secret_shape, "a Secret", ANY("apiVersion", "v1"), ANY("kind", "Secret"),
             OBJECT("metadata", metadata_shape, .required = true, .doc = "name and namespace"),
             ANY("type", "for Kubernetes"), ANY("immutable", "for Kubernetes"),
             ANY("data", "values in base64"), ANY("stringData", "values as they are"));

/* --- Connector --- */

SHAPE(secret_name_shape, "credentialsSecretRef",
      TEXT("name", SecretRef, name, .required = true, .check = check_object_name,
           .doc = "the Secret with the keys username and password, or tls.crt and tls.key"));

SHAPE(secret_ref_shape, "caSecretRef",
      TEXT("name", SecretRef, name, .required = true, .check = check_object_name,
           .doc = "the Secret that holds it"),
      TEXT("key", SecretRef, key, .check = check_secret_key,
           .doc = "its key in the Secret; ca.crt unless given"));

SHAPE(tls_shape, "tls",
      ENUM("mode", tls_modes, ConnectorSpec, tls_mode, .fallback = "Prefer",
           .doc = "how far the connection is encrypted and the server's certificate checked"),
      OBJECT("caSecretRef", secret_ref_shape, .offset = offsetof(ConnectorSpec, tls_ca),
             .doc = "the authority that signed the server's certificate (PEM)"));

SHAPE(captured_shape, "tables",
      {.name = "include",
       .kind = FIELD_TEXTS,
       AT(ConnectorSpec, include),
       .check = check_pattern,
       .doc = "patterns of the tables to capture; all that units name unless given"},
      {.name = "exclude",
       .kind = FIELD_TEXTS,
       AT(ConnectorSpec, exclude),
       .check = check_pattern,
       .doc = "patterns of the tables to leave out"});

SHAPE(snapshot_shape, "snapshot",
      ENUM("mode", snapshot_modes, ConnectorSpec, snapshot_mode, .fallback = "Initial",
           .doc = "whether the rows already there are copied first"),
      {.name = "parallelism",
       .kind = FIELD_INTEGER,
       AT(ConnectorSpec, snapshot_parallelism),
       .fallback = "4",
       .least = 1,
       .most = 64,
       .doc = "connections that copy side by side"},
      {.name = "maxRowsPerSecond",
       .kind = FIELD_INTEGER,
       AT(ConnectorSpec, snapshot_rows_per_second),
       .least = 1,
       .most = 1000000000000,
       .doc = "the limit of the copy, all connections together"});

SHAPE(heartbeat_shape, "heartbeat",
      {.name = "interval",
       .kind = FIELD_DURATION,
       AT(ConnectorSpec, heartbeat_interval_ms),
       .fallback = "10s",
       .least = 100,
       .most = HOUR_MS,
       .doc = "how often an idle source is moved on, so that it can let its log go"},
      TEXT("table", ConnectorSpec, heartbeat_table, .check = check_table,
           .doc = "a table of the source, with columns id integer (its key) and at timestamptz, "
                  "that has a row written to instead of a message"));

SHAPE(postgresql_shape, "postgresql",
      TEXT("slot", ConnectorSpec, pg_slot, .check = check_slot,
           .doc = "the replication slot; firn_ and the Connector's name unless given"),
      TEXT("publication", ConnectorSpec, pg_publication, .check = check_identifier,
           .doc = "the publication; firn_ and the Connector's name unless given"),
      {.name = "manage",
       .kind = FIELD_BOOL,
       AT(ConnectorSpec, pg_manage),
       .fallback = "true",
       .doc = "whether slot and publication are made and dropped by Firn"});

SHAPE(mysql_shape, "mysql",
      ENUM("cascades", cascade_choices, ConnectorSpec, mysql_cascades, .fallback = "Refuse",
           .doc = "whether tables are captured whose foreign keys change rows that the binlog does "
                  "not tell of; such rows stay as they were"),
      {.name = "serverId",
       .kind = FIELD_INTEGER,
       AT(ConnectorSpec, mysql_server_id),
       .least = 1,
       .most = 4294967295,
       .doc = "the number that the agent has among the server's replicas; one of the Connector's "
              "name unless given"});

SHAPE(source_shape, "source",
      ENUM("type", source_types, ConnectorSpec, source_type, .required = true,
           .doc = "the kind of database"),
      {.name = "host",
       .kind = FIELD_TEXTS,
       .one_or_many = true,
       .required = true,
       AT(ConnectorSpec, hosts),
       .check = check_host,
       .doc = "where the database answers; several are tried in order"},
      {.name = "port",
       .kind = FIELD_INTEGER,
       AT(ConnectorSpec, port),
       .least = 1,
       .most = 65535,
       .doc = "the TCP port; 5432 of PostgreSQL and 3306 of MySQL and MariaDB unless given"},
      TEXT("database", ConnectorSpec, database, .required = true, .check = check_identifier,
           .doc = "the database to read; of MySQL and MariaDB what tables' names begin with"),
      OBJECT("credentialsSecretRef", secret_name_shape,
             .offset = offsetof(ConnectorSpec, credentials), .required = true,
             .doc = "names the Secret with username and password, or tls.crt and tls.key"),
      OBJECT("tls", tls_shape, .doc = "encryption of the connection"),
      OBJECT("tables", captured_shape, .doc = "what is captured"),
      OBJECT("snapshot", snapshot_shape, .doc = "the copy of the rows already there"),
      OBJECT("heartbeat", heartbeat_shape, .doc = "what keeps an idle source moving"),
      OBJECT("postgresql", postgresql_shape, .doc = "what only PostgreSQL has"),
      OBJECT("mysql", mysql_shape, .doc = "what only MySQL and MariaDB have"),
      LATER("dynamodb", "what only DynamoDB has"));

/* What belongs to which protocol and mechanism: stream.c. */
SHAPE(kafka_secret_shape, "credentialsSecretRef",
      TEXT("name", SecretRef, name, .required = true, .check = check_object_name,
           .doc = "the Secret with username and password, of OAUTHBEARER clientId and "
                  "clientSecret; with tls.crt and tls.key where clients show a certificate"));

SHAPE(kafka_security_shape, "security",
      ENUM("protocol", kafka_protocols, KafkaSpec, protocol, .fallback = "PLAINTEXT",
           .doc = "the listener's security protocol, as Kafka names it"),
      ENUM("mechanism", kafka_mechanisms, KafkaSpec, mechanism, .fallback = "PLAIN",
           .doc = "how SASL shows who one is"),
      OBJECT("credentialsSecretRef", kafka_secret_shape, .offset = offsetof(KafkaSpec, credentials),
             .doc = "names the Secret that shows who one is"),
      OBJECT("caSecretRef", secret_ref_shape, .offset = offsetof(KafkaSpec, ca),
             .doc = "the authority that signed the brokers' certificates (PEM); the system's "
                    "unless given"),
      {.name = "verifyHost",
       .kind = FIELD_BOOL,
       AT(KafkaSpec, verify_host),
       .fallback = "true",
       .doc = "whether a broker's certificate must be its host's"},
      TEXT("tokenEndpoint", KafkaSpec, token_url, .check = check_url,
           .doc = "where OAUTHBEARER gets its token for clientId and clientSecret"),
      TEXT("tokenScope", KafkaSpec, token_scope, .check = check_line,
           .doc = "the scope that is asked for"),
      TEXT("tokenExtensions", KafkaSpec, token_extensions, .check = check_sasl_extensions,
           .doc = "sent to the brokers with the token: name=value,name=value"),
      OBJECT("tokenCaSecretRef", secret_ref_shape, .offset = offsetof(KafkaSpec, token_ca),
             .doc = "the authority that signed the token endpoint's certificate (PEM); the "
                    "system's unless given"));

SHAPE(strimzi_shape, "strimzi",
      TEXT("cluster", KafkaSpec, strimzi.cluster, .required = true, .check = check_object_name,
           .doc = "the name of Strimzi's Kafka resource"),
      TEXT("namespace", KafkaSpec, strimzi.namespace_name, .check = check_object_name,
           .doc = "where it is; the Connector's unless given"),
      {.name = "port",
       .kind = FIELD_INTEGER,
       AT(KafkaSpec, strimzi.port),
       .least = 1,
       .most = 65535,
       .doc = "the listener's; 9093 with TLS and 9092 without unless given"});

SHAPE(topic_setting_shape, "topicSettings[]",
      TEXT("name", TopicSetting, name, .required = true, .check = check_topic_setting,
           .doc = "a topic's setting as Kafka names it, such as max.message.bytes"),
      TEXT("value", TopicSetting, value, .required = true, .check = check_line,
           .doc = "its value, in quotes"));

SHAPE(stream_kafka_shape, "kafka",
      {.name = "bootstrapServers",
       .kind = FIELD_TEXTS,
       .one_or_many = true,
       AT(StreamSpec, kafka.brokers),
       .check = check_brokers,
       .doc = "brokers to begin with, host:port; several in a list, or with commas between"},
      OBJECT("strimzi", strimzi_shape, .offset = offsetof(StreamSpec, kafka),
             .doc = "a cluster of Strimzi's, in place of bootstrapServers"),
      OBJECT("security", kafka_security_shape, .offset = offsetof(StreamSpec, kafka),
             .doc = "encryption, and how one shows who one is"),
      TEXT("topicPrefix", StreamSpec, topic_prefix, .check = check_topic,
           .doc = "what the topics' names begin with; the Connector's name unless given"),
      TEXT("topicTemplate", StreamSpec, topic_template, .check = check_topic_template,
           .fallback = "{connector}.{schema}.{table}",
           .doc = "a table's topic: {connector} is the prefix; {database}, {schema}, {table}"),
      {.name = "partitions",
       .kind = FIELD_INTEGER,
       AT(StreamSpec, partitions),
       .fallback = "1",
       .least = 1,
       .most = 10000,
       .doc = "partitions of each topic"},
      {.name = "replicationFactor",
       .kind = FIELD_INTEGER,
       AT(StreamSpec, replication),
       .least = 1,
       .most = 100,
       .doc = "replicas of each partition; the brokers' default unless given"},
      {.name = "minInsyncReplicas",
       .kind = FIELD_INTEGER,
       AT(StreamSpec, min_insync_replicas),
       .least = 1,
       .most = 100,
       .doc = "replicas that must have a record before it counts; the brokers' default unless "
              "given"},
      TEXT("retention", StreamSpec, retention, .check = check_retention,
           .doc = "how long records are kept, or Forever; the brokers' default unless given"),
      ENUM("cleanupPolicy", cleanup_policies, StreamSpec, cleanup, .fallback = "Default",
           .doc = "whether old records go by age or when a newer one has their key"),
      {.name = "topicSettings",
       .kind = FIELD_OBJECTS,
       AT(StreamSpec, settings),
       .shape = &topic_setting_shape,
       .item_bytes = sizeof(TopicSetting),
       .doc = "other settings of the topics"},
      ENUM("compression", kafka_compressions, StreamSpec, compression, .fallback = "Lz4",
           .doc = "how batches are compressed"),
      {.name = "buffer",
       .kind = FIELD_QUANTITY,
       AT(StreamSpec, buffer_bytes),
       .fallback = "6Mi",
       .least = 1 << 20,
       .most = 4LL << 30,
       .doc = "memory for records on their way to the brokers"});

SHAPE(registry_secret_shape, "credentialsSecretRef",
      TEXT("name", SecretRef, name, .required = true, .check = check_object_name,
           .doc = "the Secret with username and password, or token"));

SHAPE(registry_shape, "schemaRegistry",
      TEXT("url", StreamSpec, registry_url, .required = true, .check = check_url,
           .doc = "where Confluent's API of the registry answers"),
      OBJECT("credentialsSecretRef", registry_secret_shape,
             .offset = offsetof(StreamSpec, registry_credentials),
             .doc = "names the Secret for the registry"),
      OBJECT("caSecretRef", secret_ref_shape, .offset = offsetof(StreamSpec, registry_ca),
             .doc = "the authority that signed the registry's certificate (PEM)"));

SHAPE(key_columns_shape, "keyColumns[]",
      TEXT("table", KeyColumns, table, .required = true, .check = check_pattern,
           .doc = "a table, or a pattern of tables; the first that matches counts"),
      {.name = "columns",
       .kind = FIELD_TEXTS,
       .required = true,
       AT(KeyColumns, columns),
       .check = check_line,
       .doc = "the columns, as the source names them now"});

#define RECORDS_BOOL(name_, member, fallback_, doc_)                                               \
    {                                                                                              \
        .name = (name_), .kind = FIELD_BOOL, AT(StreamSpec, records.member),                       \
        .fallback = (fallback_), .doc = (doc_)                                                     \
    }
SHAPE(
    records_shape, "records",
    {.name = "keyColumns",
     .kind = FIELD_OBJECTS,
     AT(StreamSpec, records.keys),
     .shape = &key_columns_shape,
     .item_bytes = sizeof(KeyColumns),
     .doc = "what the records of tables are keyed by, and go to partitions by, in place of the "
            "primary key: Debezium's message.key.columns"},
    RECORDS_BOOL("schemas", schemas, "false", "whether each JSON record has its schema with it"),
    RECORDS_BOOL("tombstones", tombstones, "true",
                 "whether a deletion is followed by a record without a value"),
    RECORDS_BOOL("nullsAsDefaults", nulls_as_defaults, "false",
                 "whether a null in a column that has a default is written as that"),
    RECORDS_BOOL("transactions", transactions, "false",
                 "whether records tell of their transaction, and the topic <prefix>.transaction of "
                 "each: Debezium's provide.transaction.metadata"),
    RECORDS_BOOL("messages", messages, "false",
                 "whether messages of the source's log go to the topic <prefix>.message"),
    RECORDS_BOOL("heartbeats", heartbeats, "false",
                 "whether the topic __debezium-heartbeat.<prefix> gets a record at each "
                 "source.heartbeat.interval"),
    RECORDS_BOOL("schemaChanges", schema_changes, "true",
                 "whether statements that change tables go to the topic <prefix>, of MySQL and "
                 "MariaDB: Debezium's include.schema.changes"),
    ENUM("time", record_times, StreamSpec, records.time, .fallback = "Adaptive",
         .doc = "Debezium's time.precision.mode"),
    ENUM("decimal", record_decimals, StreamSpec, records.decimal, .fallback = "Precise",
         .doc = "Debezium's decimal.handling.mode"),
    ENUM("binary", record_binaries, StreamSpec, records.binary, .fallback = "Bytes",
         .doc = "Debezium's binary.handling.mode"),
    ENUM("interval", record_intervals, StreamSpec, records.interval, .fallback = "Numeric",
         .doc = "Debezium's interval.handling.mode"),
    ENUM("hstore", record_hstores, StreamSpec, records.hstore, .fallback = "Json",
         .doc = "Debezium's hstore.handling.mode"),
    ENUM("bigintUnsigned", record_unsigned, StreamSpec, records.bigint_unsigned,
         .fallback = "Precise",
         .doc = "Debezium's bigint.unsigned.handling.mode, of MySQL and MariaDB"),
    ENUM("unknownTypes", record_unknowns, StreamSpec, records.unknown, .fallback = "Keep",
         .doc = "whether columns of types that Debezium does not know are there"));

SHAPE(resnapshot_shape, "resnapshot",
      TEXT("id", StreamSpec, resnapshot_id, .required = true, .check = check_line,
           .doc = "any text; another one asks for another copy"),
      {.name = "tables",
       .kind = FIELD_TEXTS,
       .required = true,
       AT(StreamSpec, resnapshot),
       .check = check_pattern,
       .doc = "patterns of the tables to be copied once more while the stream goes on"});

/* Of tables, and of spools. */
SHAPE(
    storage_secret_shape, "credentialsSecretRef",
    TEXT("name", SecretRef, name, .required = true, .check = check_object_name,
         .doc =
             "the Secret with accessKeyId and secretAccessKey, and sessionToken if there is one"));

SHAPE(
    storage_shape, "storage",
    TEXT("endpoint", StorageSpec, endpoint, .check = check_endpoint,
         .doc = "where the object store answers; Amazon's unless given"),
    TEXT("region", StorageSpec, region, .check = check_region,
         .doc = "the store's region; from the environment unless given"),
    {.name = "pathStyle",
     .kind = FIELD_BOOL,
     AT(StorageSpec, path_style),
     .doc = "whether the bucket stands in the path, not in the host's name; true with an endpoint "
            "unless given"},
    OBJECT("credentialsSecretRef", storage_secret_shape,
           .offset = offsetof(StorageSpec, credentials),
           .doc = "names the Secret for the store; from the environment unless given"),
    OBJECT("caSecretRef", secret_ref_shape, .offset = offsetof(StorageSpec, ca),
           .doc = "the authority that signed the store's certificate (PEM)"));

SHAPE(spool_shape, "spool",
      TEXT("location", StreamSpec, spool_location, .required = true, .check = check_location,
           .doc = "a folder of this Connector alone, on a disk that outlives the Pod, or "
                  "s3://bucket/prefix"),
      OBJECT("storage", storage_shape, .offset = offsetof(StreamSpec, spool_storage),
             .doc = "how the bucket is reached"),
      {.name = "maxBytes",
       .kind = FIELD_QUANTITY,
       AT(StreamSpec, spool_bytes),
       .fallback = "10Gi",
       .least = 1 << 20,
       .most = 1LL << 50,
       .doc = "what it may hold; then the source keeps its log"});

SHAPE(
    stream_shape, "stream",
    OBJECT("kafka", stream_kafka_shape, .required = true, .doc = "the cluster and its topics"),
    ENUM("format", stream_formats, StreamSpec, format, .fallback = "Json",
         .doc = "how records are written"),
    OBJECT("schemaRegistry", registry_shape, .doc = "who keeps Avro's schemas"),
    ENUM("delivery", deliveries, StreamSpec, delivery, .fallback = "Idempotent",
         .doc = "whether records come in Kafka's transactions"),
    OBJECT("records", records_shape, .doc = "how rows stand in the records"),
    OBJECT("spool", spool_shape,
           .doc = "where rows wait while the brokers are slow or away; left out, the source keeps "
                  "them"),
    OBJECT("resnapshot", resnapshot_shape, .doc = "a copy of tables beside the stream"));

SHAPE(agent_shape, "agent", ANY("image", "the agent's image"),
      ANY("resources", "requests and limits of its containers"),
      LATER("tablesPerProcess", "how many tables share a process", .same = "1"),
      ANY("podTemplate", "laid over the Pods that are made"));
SHAPE(unit_agent_shape, "agent", ANY("image", "the agent's image"),
      ANY("resources", "requests and limits of its containers"),
      ANY("podTemplate", "laid over the Pods that are made"));

SHAPE(connector_spec_shape, "a Connector's spec",
      ENUM("state", connector_states, ConnectorSpec, state, .fallback = "Running",
           .doc = "whether it runs"),
      OBJECT("source", source_shape, .required = true, .doc = "the database that is read"),
      {.name = "stream",
       .kind = FIELD_OWNED,
       .shape = &stream_shape,
       .offset = offsetof(ConnectorSpec, stream),
       .width = sizeof(StreamSpec),
       .doc = "the Kafka topics between source and tables"},
      LATER("piiColumns", "columns protected before Kafka"),
      OBJECT("agent", agent_shape, .doc = "how its Pods are made"));

DOCUMENT(connector_shape, "a Connector", connector_spec_shape, ConnectorSpec);

/* --- LakeTable --- */

/* Which of these belong to a Rest catalog, and to which auth: lake.c. */
SHAPE(
    catalog_secret_shape, "credentialsSecretRef",
    TEXT("name", SecretRef, name, .required = true, .check = check_object_name,
         .doc = "the Secret with token, with clientId and clientSecret or credential (id:secret), "
                "or with accessKeyId and secretAccessKey"));

SHAPE(catalog_shape, "catalog",
      ENUM("type", catalog_types, LakeTableSpec, catalog.type, .fallback = "Directory",
           .doc = "what knows the table's newest metadata"),
      TEXT("uri", LakeTableSpec, catalog.uri, .check = check_url,
           .doc = "where the Rest catalog answers, up to the /v1 of its paths"),
      TEXT("warehouse", LakeTableSpec, catalog.warehouse, .check = check_line,
           .doc = "the place under which tables stand as database/table; of a Rest catalog, as the "
                  "server knows it"),
      OBJECT("credentialsSecretRef", catalog_secret_shape,
             .offset = offsetof(LakeTableSpec, catalog.credentials),
             .doc = "names the Secret for the catalog"),
      OBJECT("caSecretRef", secret_ref_shape, .offset = offsetof(LakeTableSpec, catalog.ca),
             .doc = "the authority that signed the catalog's certificate (PEM)"),
      ENUM("auth", catalog_auths, LakeTableSpec, catalog.auth,
           .doc = "how requests show who sends them; by the Secret's keys unless given"),
      TEXT("oauth2Uri", LakeTableSpec, catalog.oauth2_uri, .check = check_url,
           .doc = "where tokens are given out; the catalog itself unless given"),
      TEXT("scope", LakeTableSpec, catalog.scope, .check = check_line,
           .doc = "the OAuth2 scope that is asked for; catalog unless given"),
      TEXT("signingRegion", LakeTableSpec, catalog.signing_region, .check = check_region,
           .doc = "the region requests are signed for; storage.region unless given"),
      TEXT("signingService", LakeTableSpec, catalog.signing_service, .check = check_region,
           .doc = "the service requests are signed for, such as glue or s3tables; execute-api "
                  "unless given"),
      {.name = "vendedCredentials",
       .kind = FIELD_BOOL,
       AT(LakeTableSpec, catalog.vended_credentials),
       .doc = "whether the store is used with credentials that the catalog gives out; true unless "
              "storage has a Secret"});

SHAPE(evolution_shape, "schemaEvolution",
      {.name = "addColumns",
       .kind = FIELD_BOOL,
       AT(LakeTableSpec, add_columns),
       .fallback = "true",
       .doc = "follow columns that the source adds"},
      {.name = "widenTypes",
       .kind = FIELD_BOOL,
       AT(LakeTableSpec, widen_types),
       .fallback = "true",
       .doc = "follow types that the source widens"},
      ENUM("droppedColumns", dropped_columns, LakeTableSpec, dropped_columns, .fallback = "Keep",
           .doc = "whether columns that the source drops stay, null in new rows"),
      ENUM("incompatible", incompatible_changes, LakeTableSpec, incompatible, .fallback = "Stall",
           .doc = "what becomes of a change that the table can't follow: it stops the flow, or, of "
                  "a topic that others fill, its records go to the unit's deadLetter"));

SHAPE(file_shape, "file",
      {.name = "targetSize",
       .kind = FIELD_QUANTITY,
       AT(LakeTableSpec, file_target_bytes),
       .fallback = "256Mi",
       .least = 64 << 10,
       .most = 8LL << 30,
       .doc = "bytes at which a data file is closed"},
      {.name = "compression",
       .kind = FIELD_CODEC,
       AT(LakeTableSpec, zstd_level),
       .fallback = "zstd:3",
       .doc = "the codec of data files and its level"});

SHAPE(expire_shape, "expireSnapshots",
      {.name = "olderThan",
       .kind = FIELD_DURATION,
       AT(LakeTableSpec, expire_older_than_ms),
       .least = SECOND_MS,
       .most = 100 * 365 * DAY_MS,
       .doc = "snapshots older than this go; thinned by age unless given"},
      LATER("retainLast", "snapshots that stay whatever their age", .same = "1"));

/* A day at least: a commit under way must not lose a file. */
SHAPE(orphan_shape, "orphanFiles",
      {.name = "olderThan",
       .kind = FIELD_DURATION,
       AT(LakeTableSpec, orphans_older_than_ms),
       .required = true,
       .least = DAY_MS,
       .most = 100 * 365 * DAY_MS,
       .doc = "files that no snapshot names go when they are older than this"});

SHAPE(maintenance_shape, "maintenance", LATER("compaction", "rewriting small files"),
      OBJECT("expireSnapshots", expire_shape, .doc = "which snapshots stay"),
      OBJECT("orphanFiles", orphan_shape,
             .doc = "which files that no snapshot names go; none go "
                    "unless given"),
      LATER("engine", "who does it", .same = "Firn"));

SHAPE(column_shape, "columns[]",
      TEXT("name", ColumnSpec, name, .required = true, .doc = "the column's name at the source"),
      TEXT("type", ColumnSpec, type, .check = check_column_type,
           .doc = "the type it has in the table: string, or a decimal for a numeric"),
      LATER("required", "refuse rows without a value", .same = "false"),
      TEXT("doc", ColumnSpec, doc, .doc = "what it means"));

/* database and tableName are required of a LakeTable (validate.c); in an outsourcingUnit they
 * default to {schema} and {table}. */
SHAPE(lake_table_spec_shape, "a LakeTable's spec",
      OBJECT("catalog", catalog_shape, .doc = "the catalog the table is in"),
      OBJECT("storage", storage_shape, .offset = offsetof(LakeTableSpec, storage),
             .doc = "the object store the table is in"),
      TEXT("database", LakeTableSpec, database, .check = check_lake_name,
           .doc = "the database (namespace) in the catalog"),
      TEXT("tableName", LakeTableSpec, table_name, .check = check_lake_name,
           .doc = "the table's name in the catalog"),
      TEXT("location", LakeTableSpec, location, .check = check_location,
           .doc = "the table's own folder; warehouse/database/tableName unless given"),
      {.name = "format",
       .kind = FIELD_ENUM,
       .choices = formats,
       NOWHERE,
       .fallback = "Iceberg",
       .doc = "the table format"},
      {.name = "formatVersion",
       .kind = FIELD_INTEGER,
       AT(LakeTableSpec, format_version),
       .fallback = "2",
       .least = 2,
       .most = 3,
       .doc = "the version of the Iceberg format; a table that is there is raised, never lowered"},
      ENUM("mode", table_modes, LakeTableSpec, mode, .fallback = "Upsert",
           .doc = "whether the table holds the source's rows or every change of them"),
      {.name = "idColumns",
       .kind = FIELD_TEXTS,
       AT(LakeTableSpec, id_columns),
       .doc = "the key; the source's own unless given"},
      LATER("timestampColumns", "columns that hold times in another form"),
      LATER("jsonColumns", "columns that hold JSON"), LATER("piiColumns", "columns to protect"),
      {.name = "columns",
       .kind = FIELD_OBJECTS,
       AT(LakeTableSpec, columns),
       .shape = &column_shape,
       .item_bytes = sizeof(ColumnSpec),
       .doc = "types and descriptions of columns, where they are not to follow the source"},
      OBJECT("schemaEvolution", evolution_shape, .doc = "how the table follows the source"),
      {.name = "partitionBy",
       .kind = FIELD_TEXTS,
       AT(LakeTableSpec, partition_by),
       .check = check_partition,
       .doc = "partition transforms, such as day(created_at)"},
      LATER("sortBy", "the order of rows in files"),
      {.name = "writeMode",
       .kind = FIELD_ENUM,
       .choices = write_modes,
       NOWHERE,
       .fallback = "MergeOnRead",
       .doc = "whether deletes stand beside files or files are rewritten"},
      {.name = "deletes",
       .kind = FIELD_ENUM,
       .choices = delete_kinds,
       NOWHERE,
       .fallback = "Position",
       .doc = "how deletes are written"},
      {.name = "commitInterval",
       .kind = FIELD_DURATION,
       AT(LakeTableSpec, commit_interval_ms),
       .fallback = "30s",
       .least = 100,
       .most = DAY_MS,
       .doc = "how often changes become a snapshot"},
      OBJECT("file", file_shape, .doc = "data files"),
      OBJECT("maintenance", maintenance_shape, .doc = "what keeps the table small and fast"),
      LATER("branch", "the branch to write to", .same = "main"),
      LATER("audit", "checks before a branch is published"), LATER("tags", "snapshots with a name"),
      LATER("rollback", "back to an earlier snapshot"),
      ENUM("deletionPolicy", deletion_policies, LakeTableSpec, drop_on_delete, .fallback = "Retain",
           .doc = "what becomes of the table when the resource goes"));

DOCUMENT(lake_table_shape, "a LakeTable", lake_table_spec_shape, LakeTableSpec);

/* --- IngestionUnit --- */

SHAPE(connector_ref_shape, "connectorRef",
      TEXT("name", IngestionUnitSpec, connector, .required = true, .check = check_object_name,
           .doc = "the Connector, in the same namespace"),
      TEXT("table", IngestionUnitSpec, table, .check = check_table,
           .doc = "the captured table, schema.table"),
      {.name = "tables",
       .kind = FIELD_TEXTS,
       AT(IngestionUnitSpec, tables),
       .check = check_pattern,
       .doc = "patterns: one table in the lake for each that matches, now and later"});

SHAPE(lake_table_ref_shape, "lakeTableRef",
      TEXT("name", IngestionUnitSpec, lake_table, .required = true, .check = check_object_name,
           .doc = "the LakeTable, in the same namespace"));

SHAPE(route_table_shape, "lakeTableRef",
      TEXT("name", RouteSpec, lake_table, .required = true, .check = check_object_name,
           .doc = "the LakeTable, in the same namespace"));

SHAPE(route_shape, "a route",
      TEXT("when", RouteSpec, when, .check = check_condition,
           .doc = "which records it takes, of those that no route before it has taken: field == "
                  "'text', or field in ['text', 'text']; all of them unless given"),
      OBJECT("lakeTableRef", route_table_shape, .required = true,
             .doc = "the table that they go to"));

SHAPE(outsourcing_shape, "outsourcingUnit",
      {.name = "table",
       .kind = FIELD_OWNED,
       .required = true,
       .shape = &lake_table_spec_shape,
       .offset = offsetof(IngestionUnitSpec, lake),
       .width = sizeof(LakeTableSpec),
       .doc = "a LakeTable's spec, in place"});

SHAPE(sla_shape, "sla",
      {.name = "freshness",
       .kind = FIELD_DURATION,
       AT(IngestionUnitSpec, freshness_ms),
       .least = SECOND_MS,
       .most = 365 * DAY_MS,
       .doc = "the age at which the table counts as late"});

static const Choice incoming[] = {
    {"Debezium", false}, {"Json", false}, {"Avro", false}, {"Protobuf", false}, {0}};

SHAPE(event_shape, "an event",
      TEXT("name", EventName, name, .required = true, .check = check_line,
           .doc = "the value of nameField"),
      LATER("schema", "a schema of this event alone"),
      LATER("registrySubject", "the subject of this event alone"));

SHAPE(events_shape, "events",
      TEXT("nameField", StreamSpec, event_field, .required = true, .check = check_line,
           .doc = "the field of a record that has the event's name"),
      {.name = "allow",
       .kind = FIELD_OBJECTS,
       .required = true,
       AT(StreamSpec, events),
       .shape = &event_shape,
       .item_bytes = sizeof(EventName),
       .doc = "the events that are taken; others are passed over"});

SHAPE(replay_offset_shape, "an offset",
      {.name = "partition",
       .kind = FIELD_INTEGER,
       AT(ReplayOffset, partition),
       .required = true,
       .least = 0,
       .most = 4095,
       .doc = "its number"},
      {.name = "offset",
       .kind = FIELD_INTEGER,
       AT(ReplayOffset, offset),
       .required = true,
       .least = 0,
       .most = INT64_C(1) << 53, /* what a JSON number holds: the API server reads it as one */
       .doc = "the first record that is read again"});

SHAPE(replay_shape, "replay",
      TEXT("id", StreamSpec, replay_id, .required = true, .check = check_line,
           .doc = "another one asks for another replay; each is done once"),
      TEXT("from", StreamSpec, replay_from, .check = check_replay_start,
           .doc = "Earliest, or the first records of a time on, such as 2026-11-22T00:00:00Z"),
      {.name = "offsets",
       .kind = FIELD_OBJECTS,
       AT(StreamSpec, replay_offsets),
       .shape = &replay_offset_shape,
       .item_bytes = sizeof(ReplayOffset),
       .doc = "where it begins in these partitions; the others go on where they are"});

static const Choice incoming_times[] = {{"Adaptive", false},    {"AdaptiveMicroseconds", false},
                                        {"Connect", false},     {"Microseconds", false},
                                        {"Nanoseconds", false}, {0}};

/* What a record without its schema does not say. */
#define RECORDS_COLUMNS(name_, member, doc_)                                                       \
    {                                                                                              \
        .name = (name_), .kind = FIELD_TEXTS, AT(StreamSpec, records.member), .check = check_line, \
        .doc = (doc_)                                                                              \
    }
SHAPE(unit_records_shape, "a topic's records",
      RECORDS_BOOL("schemas", schemas, "true",
                   "whether each JSON record has its schema with it (schemas.enable of Connect's "
                   "JsonConverter); without it the table's columns say what is taken"),
      ENUM("time", incoming_times, StreamSpec, records.time, .fallback = "Adaptive",
           .doc = "Debezium's time.precision.mode; Adaptive unless given"),
      RECORDS_COLUMNS("milliseconds", milliseconds,
                      "columns that an adaptive mode writes in milliseconds, for they have at most "
                      "3 digits of a second: timestamp(3), datetime"),
      RECORDS_COLUMNS("microseconds", microseconds,
                      "columns that an adaptive mode writes in microseconds, for they have 4 to 6 "
                      "digits of a second: PostgreSQL's timestamp, datetime(6)"),
      RECORDS_COLUMNS(
          "nanoseconds", nanoseconds,
          "columns that an adaptive mode writes in nanoseconds, for they have more than 6 "
          "digits of a second: datetime2(7)"),
      ENUM("decimal", record_decimals, StreamSpec, records.decimal, .fallback = "Precise",
           .doc = "Debezium's decimal.handling.mode; Precise unless given"),
      ENUM("binary", record_binaries, StreamSpec, records.binary, .fallback = "Bytes",
           .doc = "Debezium's binary.handling.mode; Bytes unless given"));

SHAPE(unit_kafka_shape, "kafka",
      TEXT("topic", StreamSpec, topic, .required = true, .check = check_topic,
           .doc = "the topic that is read"),
      {.name = "brokers",
       .kind = FIELD_TEXTS,
       .one_or_many = true,
       AT(StreamSpec, kafka.brokers),
       .check = check_brokers,
       .doc = "brokers to begin with, host:port; several in a list, or with commas between"},
      TEXT("r53", StreamSpec, kafka.r53, .check = check_name_in_dns,
           .doc = "the name in DNS that leads to the brokers, in place of brokers; with a port "
                  "behind a colon, or 9093 with TLS and 9092 without"),
      OBJECT("security", kafka_security_shape, .offset = offsetof(StreamSpec, kafka),
             .doc = "encryption, and how one shows who one is"),
      {.name = "incomingData",
       .kind = FIELD_ENUM,
       .choices = incoming,
       .required = true,
       AT(StreamSpec, incoming),
       .doc = "what its records are"},
      OBJECT("schemaRegistry", registry_shape,
             .doc = "who keeps the schemas of records in Avro and Protobuf; without one they are "
                    "JSON"),
      OBJECT("records", unit_records_shape,
             .doc = "how rows stand in Debezium's records, where these do not say it"),
      TEXT("startFrom", StreamSpec, start_from, .fallback = "Earliest", .check = check_start,
           .doc = "where a table begins that has no commit yet: Earliest, Latest, or the first "
                  "records of a time on, such as 2026-11-22T00:00:00Z"),
      OBJECT("replay", replay_shape, .doc = "records that are read once more"),
      {.name = "retention",
       .kind = FIELD_DURATION,
       AT(StreamSpec, retention_ms),
       .least = SECOND_MS,
       .most = 100 * 365 * DAY_MS,
       .doc = "how long the topic keeps its records at least; less is warned of"},
      TEXT("orderingColumn", StreamSpec, ordering_column, .check = check_line,
           .doc = "of two versions of a key the one counts that has the greater value in this "
                  "column; without it the later record"),
      OBJECT("events", events_shape, .doc = "the events that are taken, by their names"));

SHAPE(to_topic_shape, "toTopic",
      TEXT("topic", IngestionUnitSpec, to_topic, .required = true, .check = check_topic,
           .doc = "its name, in the same cluster; made if it is missing"),
      LATER("format", "how records are written there"));

SHAPE(letters_table_shape, "lakeTableRef",
      TEXT("name", IngestionUnitSpec, dead_letter_table, .required = true,
           .check = check_object_name, .doc = "the LakeTable, in the same namespace"));

SHAPE(dead_letter_shape, "deadLetter",
      TEXT("topic", IngestionUnitSpec, dead_letter, .check = check_topic,
           .doc = "the topic that gets them whole, with reason and place; made if it is missing"),
      OBJECT("lakeTableRef", letters_table_shape,
             .doc = "in place of a topic the table that gets them, with columns of its own"));

SHAPE(ingestion_unit_spec_shape, "an IngestionUnit's spec",
      ENUM("state", unit_states, IngestionUnitSpec, state, .fallback = "Running",
           .doc = "whether it runs"),
      {.name = "numberOfConsumers",
       .kind = FIELD_INTEGER,
       AT(IngestionUnitSpec, consumers),
       .fallback = "1",
       .least = 1,
       .most = 1000,
       .doc = "Pods that fill the table side by side, from a topic"},
      OBJECT("connectorRef", connector_ref_shape, .doc = "the captured table that fills it"),
      {.name = "kafka",
       .kind = FIELD_OWNED,
       .shape = &unit_kafka_shape,
       .offset = offsetof(IngestionUnitSpec, kafka),
       .width = sizeof(StreamSpec),
       .doc = "the topic of others that fills it"},
      LATER("transforms", "what happens to rows on their way"),
      OBJECT("lakeTableRef", lake_table_ref_shape, .doc = "the table that is filled"),
      OBJECT("outsourcingUnit", outsourcing_shape, .doc = "the table that is filled, in place"),
      {.name = "routes",
       .kind = FIELD_OBJECTS,
       AT(IngestionUnitSpec, routes),
       .shape = &route_shape,
       .item_bytes = sizeof(RouteSpec),
       .least = 1,
       .most = 32, /* each reads the topic for itself */
       .doc = "several tables that a topic's records are shared out to, each to the first that "
              "takes it"},
      OBJECT("toTopic", to_topic_shape,
             .doc = "the topic that records go to as they are, in place of a table"),
      OBJECT("sla", sla_shape, .doc = "what is promised to readers"),
      OBJECT("deadLetter", dead_letter_shape,
             .doc = "where records of a topic go that can't be read; without it they stop the "
                    "flow"),
      OBJECT("agent", unit_agent_shape,
             .doc = "how the Pods are made that read a topic of others"));

DOCUMENT(ingestion_unit_shape, "an IngestionUnit", ingestion_unit_spec_shape, IngestionUnitSpec);
