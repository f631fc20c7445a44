/* The Pods meet the restricted standard whatever the user lays over them by default: no root, no
 * writable root file system, no capabilities, the runtime's seccomp profile, no token of the API's:
 * the one that they get says to the operator alone which Pod they are.
 * https://kubernetes.io/docs/concepts/security/pod-security-standards */
#include <stdio.h>

#include "common/channel/channel.h"
#include "operator/cache/cache.h"
#include "operator/desired/desired.h"

#define USER 65532
#define GRACE_S 60 /* longer than --stop-timeout */
#define TOKEN_S 3600

json_t *pod_probe(const char *path, const char *port, int period_s, int failures)
{
    return packed(json_pack("{s{ss ss} si si si}", "httpGet", "path", path, "port", port,
                            "periodSeconds", period_s, "failureThreshold", failures,
                            "timeoutSeconds", 3));
}

static json_t *arguments(const PodInput *input)
{
    json_t *list = packed(json_pack("[s s s s s s s]", input->command,
                                    "--file=/etc/firn/manifest/manifest.yaml",
                                    "--secrets=/etc/firn/secrets", "--http=0.0.0.0:8080",
                                    "--log-format=json", "--progress=never", "--stop-timeout=50s"));
    if (input->from->maintains)
        json_array_append_new(list, json_string("--no-maintenance"));
    if (input->from->orders)
        json_array_append_new(list, json_string("--orders=/etc/firn/manifest/orders.json"));
    if (input->from->channel_host) {
        AUTO(mem_free)
        char *channel =
            mem_format("--channel=%s:%u", input->from->channel_host, input->from->channel_port);
        json_array_append_new(list, json_string(channel));
        json_array_append_new(list, json_string("--channel-ca=/etc/firn/manifest/channel-ca.crt"));
        json_array_append_new(list, json_string("--channel-token=/etc/firn/channel/token"));
    }
    return list;
}

static json_t *drop_arguments(void)
{
    return packed(json_pack("[s s s s s]", "drop", "--yes",
                            "--file=/etc/firn/manifest/manifest.yaml",
                            "--secrets=/etc/firn/secrets", "--log-format=json"));
}

static json_t *mounts(const json_t *secrets, bool reports)
{
    json_t *list =
        packed(json_pack("[{ss ss sb} {ss ss}]", "name", "manifest", "mountPath",
                         "/etc/firn/manifest", "readOnly", 1, "name", "tmp", "mountPath", "/tmp"));
    size_t i;
    json_t *name;
    json_array_foreach(secrets, i, name)
    {
        AUTO(mem_free) char *volume = mem_format("secret-%zu", i);
        AUTO(mem_free) char *path = mem_format("/etc/firn/secrets/%s", json_string_value(name));
        json_array_append_new(list, packed(json_pack("{ss ss sb}", "name", volume, "mountPath",
                                                     path, "readOnly", 1)));
    }
    if (reports)
        json_array_append_new(list, packed(json_pack("{ss ss sb}", "name", "channel", "mountPath",
                                                     "/etc/firn/channel", "readOnly", 1)));
    return list;
}

static json_t *volumes(const char *config_map, const json_t *secrets, bool reports)
{
    json_t *list =
        packed(json_pack("[{ss s{ss si}} {ss s{}}]", "name", "manifest", "configMap", "name",
                         config_map, "defaultMode", 0444, "name", "tmp", "emptyDir"));
    size_t i;
    json_t *name;
    json_array_foreach(secrets, i, name)
    {
        AUTO(mem_free) char *volume = mem_format("secret-%zu", i);
        json_array_append_new(list, packed(json_pack("{ss s{sO si}}", "name", volume, "secret",
                                                     "secretName", name, "defaultMode", 0440)));
    }
    if (reports)
        json_array_append_new(
            list,
            packed(json_pack("{ss s{s[{s{ss si ss}}] si}}", "name", "channel", "projected",
                             "sources", "serviceAccountToken", "audience", CHANNEL_AUDIENCE,
                             "expirationSeconds", TOKEN_S, "path", "token", "defaultMode", 0440)));
    return list;
}

/* As the Connector says, or a unit that has none. */
static const json_t *agent_of(const PodInput *input)
{
    const json_t *connector = input->from->connector;
    return object_at(connector ? connector : input->owner, "spec.agent");
}

static json_t *container(const PodInput *input)
{
    const json_t *agent = agent_of(input);
    const char *image = json_string_value(json_object_get(agent, "image"));
    bool drops = strcmp(input->command, "drop") == 0;
    json_t *one = packed(json_pack(
        "{ss ss ss so so s[{ss ss}] s{sb sb s{s[s]}} s{s{ss ss} s{ss}} ss}", "name", "agent",
        "image", image ? image : input->from->defaults->image, "imagePullPolicy",
        input->from->defaults->pull_policy, "args", drops ? drop_arguments() : arguments(input),
        "volumeMounts", mounts(input->from->secrets, !drops && input->from->channel_host), "env",
        "name", "TMPDIR", "value", "/tmp", "securityContext", "allowPrivilegeEscalation", 0,
        "readOnlyRootFilesystem", 1, "capabilities", "drop", "ALL", "resources", "requests", "cpu",
        "100m", "memory", "256Mi", "limits", "memory", "1Gi", "terminationMessagePolicy",
        "FallbackToLogsOnError"));
    if (json_object_get(agent, "resources"))
        overlay(json_object_get(one, "resources"), json_object_get(agent, "resources"));
    if (!drops) {
        json_object_set_new(one, "ports",
                            packed(json_pack("[{ss si ss}]", "name", "http", "containerPort",
                                             AGENT_PORT, "protocol", "TCP")));
        json_object_set_new(one, "livenessProbe", pod_probe("/healthz", "http", 10, 6));
        json_object_set_new(one, "readinessProbe", pod_probe("/readyz", "http", 5, 3));
    }
    return one;
}

static void put_owned_labels(json_t *template, const PodInput *input)
{
    json_t *labels = object_at(template, "metadata.labels");
    if (!json_is_object(labels)) { /* an overlay put something odd in its place */
        labels = json_object();
        json_object_set_new(json_object_get(template, "metadata"), "labels", labels);
    }
    json_object_update(labels, (json_t *)(uintptr_t)input->labels);
    json_object_set_new(labels, LABEL_MANAGED_BY, json_string(LABEL_MANAGED_BY_VALUE));
    json_object_set_new(labels, "app.kubernetes.io/component", json_string(input->command));
}

/* Of what the user lays over the agents' Pods a Job takes what places its Pod and lets it run, and
 * not what would keep it from ending, or make it do something else: other containers (those that
 * run before it, or beside it as initContainers do, end with it), when it is restarted, and of the
 * agent's container how it is called and watched. */
static json_t *laid_over_jobs(const json_t *over)
{
    static const char *const calls[] = {
        "command", "args", "ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"};
    json_t *copy = json_deep_copy(over), *spec = json_object_get(copy, "spec");
    json_t *containers = json_object_get(spec, "containers");
    json_object_del(spec, "restartPolicy");
    for (size_t i = json_array_size(containers); i-- > 0;) {
        json_t *one = json_array_get(containers, i);
        const char *name = object_text(one, "name");
        if (!name || strcmp(name, "agent") != 0)
            json_array_remove(containers, i);
        for (size_t c = 0; c < ARRAY_LEN(calls); c++)
            json_object_del(one, calls[c]);
    }
    if (!json_array_size(containers)) /* or there would be none */
        json_object_del(spec, "containers");
    return copy;
}

json_t *pod_template(const PodInput *input)
{
    const ConnectorInput *from = input->from;
    bool drops = strcmp(input->command, "drop") == 0;
    json_t *containers = json_array();
    json_array_append_new(containers, container(input));
    json_t *template = packed(json_pack(
        "{s{s{} s{ss ss}} s{ss sb si so so s{sb si si si s{ss}}}}", "metadata", "labels",
        "annotations", ANNOTATION_MANIFEST, from->manifest_hash, ANNOTATION_SECRETS,
        from->secrets_hash, "spec", "serviceAccountName", drops ? "default" : input->name,
        "automountServiceAccountToken", 0, "terminationGracePeriodSeconds", GRACE_S, "containers",
        containers, "volumes", volumes(input->name, from->secrets, !drops && from->channel_host),
        "securityContext", "runAsNonRoot", 1, "runAsUser", USER, "runAsGroup", USER, "fsGroup",
        USER, "seccompProfile", "type", "RuntimeDefault"));
    json_t *spec = json_object_get(template, "spec");
    if (drops)
        json_object_set_new(spec, "restartPolicy", json_string("Never"));
    else
        json_object_set_new(
            spec, "topologySpreadConstraints",
            packed(json_pack("[{si ss ss s{sO}}]", "maxSkew", 1, "topologyKey",
                             "kubernetes.io/hostname", "whenUnsatisfiable", "ScheduleAnyway",
                             "labelSelector", "matchLabels", input->labels)));
    if (from->orders && !from->channel_host) /* nobody can tell it otherwise */
        json_object_set_new(object_at(template, "metadata.annotations"), ANNOTATION_ORDERS,
                            json_string(from->orders));
    const char *restart = object_annotation(input->owner, ANNOTATION_RESTART);
    if (!restart)
        restart = object_annotation(from->connector, ANNOTATION_RESTART);
    if (restart)
        json_object_set_new(object_at(template, "metadata.annotations"), ANNOTATION_RESTART,
                            json_string(restart));
    const json_t *over = json_object_get(agent_of(input), "podTemplate");
    AUTO(json_free) json_t *of_job = drops ? laid_over_jobs(over) : NULL;
    overlay(template, drops ? of_job : over);
    sidecar_put(template, from->maintains && !drops);
    put_owned_labels(template, input);
    return template;
}
