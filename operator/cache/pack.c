#include "operator/cache/pack.h"

#include <zstd.h>

#define LEVEL 1
#define TEXT_BYTES_MAX (64u << 20)

/* What objects' texts are like: sorted, as API servers send them, and without spaces. Nothing
 * depends on its words but how small they become. What is most frequent stands at the end. */
static const char common_words[] =
    "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"annotations\":{"
    "\"deployment.kubernetes.io/revision\":\"1\"},\"strategy\":{\"rollingUpdate\":{\"maxSurge\":1,"
    "\"maxUnavailable\":0},\"type\":\"RollingUpdate\"},\"type\":\"Recreate\"},\"template\":{"
    "\"automountServiceAccountToken\":false,\"containers\":[{\"args\":[\"--log-format=json\"],"
    "\"env\":[{\"name\":\"\",\"valueFrom\":{\"fieldRef\":{\"apiVersion\":\"v1\",\"fieldPath\":"
    "\"metadata.name\"}}}],\"image\":\"\",\"imagePullPolicy\":\"IfNotPresent\",\"livenessProbe\":{"
    "\"failureThreshold\":3,\"httpGet\":{\"path\":\"/healthz\",\"port\":\"http\",\"scheme\":"
    "\"HTTP\"},\"periodSeconds\":10,\"successThreshold\":1,\"timeoutSeconds\":1},"
    "\"readinessProbe\":{\"startupProbe\":{\"initialDelaySeconds\":\"ports\":[{\"containerPort\":"
    "8080,\"name\":\"http\",\"protocol\":\"TCP\"}],\"resources\":{\"limits\":{\"cpu\":\"1\","
    "\"memory\":\"256Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"}},"
    "\"securityContext\":{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},"
    "\"readOnlyRootFilesystem\":true},\"terminationMessagePath\":\"/dev/termination-log\","
    "\"terminationMessagePolicy\":\"FallbackToLogsOnError\",\"volumeMounts\":[{\"mountPath\":"
    "\"/etc/firn\",\"name\":\"manifest\",\"readOnly\":true}],\"dnsPolicy\":\"ClusterFirst\","
    "\"restartPolicy\":\"Always\",\"schedulerName\":\"default-scheduler\",\"seccompProfile\":{"
    "\"type\":\"RuntimeDefault\"},\"serviceAccountName\":\"terminationGracePeriodSeconds\":"
    "\"topologySpreadConstraints\":[{\"labelSelector\":{\"matchLabels\":{\"maxSkew\":1,"
    "\"topologyKey\":\"kubernetes.io/hostname\",\"whenUnsatisfiable\":\"ScheduleAnyway\"}],"
    "\"volumes\":[{\"configMap\":{\"defaultMode\":420,\"name\":\"emptyDir\":{\"sizeLimit\":"
    "\"secret\":{\"secretName\":\"projected\":{\"sources\":[{\"serviceAccountToken\":{"
    "\"audience\":\"firn-channel\",\"expirationSeconds\":3600,\"path\":\"token\"}}]"
    "\"status\":{\"availableReplicas\":1,\"conditions\":[{\"lastUpdateTime\":"
    "\"MinimumReplicasAvailable\",\"NewReplicaSetAvailable\",\"Progressing\"},\"Available\"}],"
    "\"readyReplicas\":1,\"replicas\":1,\"updatedReplicas\":1},\"Pod\",\"PodScheduled\","
    "\"ContainersReady\",\"Initialized\",\"containerStatuses\":[{\"lastState\":{},\"name\":"
    "\"agent\",\"ready\":true,\"restartCount\":0,\"state\":{\"running\":{\"startedAt\":"
    "\"phase\":\"Running\",\"podIP\":\"10.\"kind\":\"ServiceAccount\",\"ConfigMap\","
    "\"NetworkPolicy\",\"egress\":[{}],\"ingress\":[{\"ports\":[{\"podSelector\":{\"policyTypes\":["
    "\"apiVersion\":\"policy/v1\",\"kind\":\"PodDisruptionBudget\",\"spec\":{\"maxUnavailable\":1,"
    "\"selector\":{\"matchLabels\":{\"app.kubernetes.io/name\":\"firn-agent\",\"labels\":{"
    "\"app.kubernetes.io/managed-by\":\"firn-operator\",\"firn.dev/connector\":\"firn.dev/unit\":"
    "\"firn.dev/pattern\":\"firn.dev/role\":\"ingest\",\"capture\"},\"ownerReferences\":[{"
    "\"apiVersion\":\"firn.dev/v1alpha1\",\"blockOwnerDeletion\":true,\"controller\":true,\"kind\":"
    "\"Connector\",\"name\":\"uid\":\"finalizers\":[\"firn.dev/source\"],\"spec\":{\"agent\":{},"
    "\"source\":{\"credentialsSecretRef\":{\"name\":\"database\":\"host\":\"port\":5432,"
    "\"postgresql\":{\"manage\":true},\"snapshot\":{\"mode\":\"Initial\",\"parallelism\":4},"
    "\"tls\":"
    "{\"mode\":\"Prefer\"},\"type\":\"PostgreSQL\"},\"state\":\"Running\",\"MySQL\",\"MariaDB\","
    "\"stream\":{\"format\":\"Avro\",\"delivery\":\"Idempotent\",\"kafka\":{\"bootstrapServers\":"
    "{\"apiVersion\":\"firn.dev/v1alpha1\",\"kind\":\"LakeTable\",\"metadata\":{"
    "\"creationTimestamp\":\"2026-01-01T00:00:00Z\",\"generation\":1,\"name\":\"\",\"namespace\":"
    "\"\",\"resourceVersion\":\"\",\"uid\":\"\"},\"spec\":{\"branch\":\"main\",\"catalog\":{"
    "\"credentialsSecretRef\":{\"name\":\"type\":\"Rest\",\"uri\":\"http://\",\"warehouse\":\"s3://"
    "\"type\":\"Directory\"},\"commitInterval\":\"30s\",\"columns\":[{\"name\":\"\",\"type\":"
    "\"string\"}],\"database\":\"\",\"deletes\":\"Position\",\"deletionPolicy\":\"Retain\","
    "\"file\":"
    "{\"compression\":\"zstd:3\",\"targetSize\":\"256Mi\"},\"format\":\"Iceberg\","
    "\"formatVersion\":2,\"idColumns\":[\"id\"],\"maintenance\":{\"compaction\":{\"engine\":"
    "\"Firn\"},\"mode\":\"Upsert\",\"Append\",\"partitionBy\":[\"schemaEvolution\":{"
    "\"addColumns\":true,\"droppedColumns\":\"Keep\",\"incompatible\":\"Stall\",\"widenTypes\":"
    "true},\"storage\":{\"endpoint\":\"pathStyle\":true,\"region\":\"tableName\":\"\","
    "\"writeMode\":"
    "\"MergeOnRead\"},\"status\":{\"conditions\":[\"phase\":\"Streaming\",\"type\":\"SchemaInSync\""
    ",\"reason\":\"InSync\",\"Maintained\",\"ByCommits\",\"commits expire old snapshots and merge "
    "small manifests\"unit\":\"connector\":"
    "{\"apiVersion\":\"firn.dev/v1alpha1\",\"kind\":\"IngestionUnit\",\"metadata\":{\"annotations\""
    ":{},\"creationTimestamp\":\"2026-01-01T00:00:00Z\",\"generation\":1,\"name\":\"\","
    "\"namespace\":\"\",\"resourceVersion\":\"\",\"uid\":\"\"},\"spec\":{\"connectorRef\":{"
    "\"name\":\"\",\"table\":\"public.\"},\"lakeTableRef\":{\"name\":\"\"},\"numberOfConsumers\":1,"
    "\"kafka\":{\"brokers\":\"kafka:9092\",\"events\":{\"allow\":[{\"nameField\":\"incomingData\":"
    "\"Json\",\"startFrom\":\"Earliest\",\"topic\":\"\"},\"outsourcingUnit\":{\"table\":{"
    "\"sla\":{\"freshness\":\"1h\"},\"state\":\"Running\"},\"status\":{\"conditions\":[{"
    "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\",\"message\":\"its IngestionUnit is new\","
    "\"the Deployment is being made\",\"Creating\",\"no agent has reported yet\",\"it follows the "
    "source\",\"observedGeneration\":1,\"reason\":\"Pending\",\"status\":\"Unknown\",\"type\":"
    "\"Ready\"},{\"lastTransitionTime\":\"2026-01-01T00:00:00Z\",\"message\":\"\","
    "\"observedGeneration\":1,\"reason\":\"Settled\",\"status\":\"False\",\"type\":\"Reconciling\"}"
    ",{\"lastTransitionTime\":\"2026-01-01T00:00:00Z\",\"message\":\"\",\"observedGeneration\":1,"
    "\"reason\":\"NotStalled\",\"status\":\"False\",\"type\":\"Stalled\"},{\"lastTransitionTime\":"
    "\"2026-01-01T00:00:00Z\",\"message\":\"\",\"observedGeneration\":1,\"reason\":\"NotReported\","
    "\"status\":\"Unknown\",\"type\":\"Fresh\"},{\"lastTransitionTime\":\"2026-01-01T00:00:00Z\","
    "\"message\":\"\",\"observedGeneration\":1,\"reason\":\"None\",\"status\":\"False\",\"type\":"
    "\"DeadLetters\"}],\"freshAt\":\"2026-01-01T00:00:00Z\",\"lag\":\"0 records\",\"lakeTable\":"
    "\"\",\"observedGeneration\":1,\"phase\":\"Streaming\",\"replicas\":1,\"rows\":0,\"selector\":"
    "\"firn.dev/unit=\"}}";

struct Packer {
    ZSTD_CCtx *packing;
    ZSTD_DCtx *unpacking;
    ZSTD_CDict *words;
    ZSTD_DDict *same_words;
    Bytes scratch;
};

Packer *packer_new(void)
{
    Packer *packer = mem_zalloc(sizeof *packer);
    *packer = (Packer){
        .packing = ZSTD_createCCtx(),
        .unpacking = ZSTD_createDCtx(),
        .words = ZSTD_createCDict(common_words, sizeof common_words - 1, LEVEL),
        .same_words = ZSTD_createDDict(common_words, sizeof common_words - 1),
    };
    ASSERT(packer->packing && packer->unpacking && packer->words && packer->same_words);
    return packer;
}

void packer_free(Packer *packer)
{
    if (!packer)
        return;
    ZSTD_freeCCtx(packer->packing);
    ZSTD_freeDCtx(packer->unpacking);
    ZSTD_freeCDict(packer->words);
    ZSTD_freeDDict(packer->same_words);
    bytes_done(&packer->scratch);
    free(packer);
}

Packed *pack(Packer *packer, const char *text)
{
    size_t bytes = strlen(text), most = ZSTD_compressBound(bytes);
    ASSERT(bytes <= TEXT_BYTES_MAX);
    packer->scratch.used = 0;
    bytes_reserve(&packer->scratch, most);
    size_t used = ZSTD_compress_usingCDict(packer->packing, packer->scratch.data, most, text, bytes,
                                           packer->words);
    ASSERT(!ZSTD_isError(used));
    Packed *packed = mem_alloc(sizeof *packed + used);
    *packed = (Packed){.bytes = (uint32_t)used, .text_bytes = (uint32_t)bytes};
    memcpy(packed->data, packer->scratch.data, used);
    return packed;
}

char *unpack(Packer *packer, const Packed *packed)
{
    char *text = mem_alloc(packed->text_bytes + (size_t)1);
    size_t used = ZSTD_decompress_usingDDict(packer->unpacking, text, packed->text_bytes,
                                             packed->data, packed->bytes, packer->same_words);
    ASSERT(used == packed->text_bytes);
    text[used] = '\0';
    return text;
}
