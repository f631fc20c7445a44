/* `firn-agent maintain` beside the agent: the same image, manifest, Secrets and folders, little
 * memory of its own, so that what lists a table of a million files never ends who fills it; and no
 * token: it speaks to no operator. */
#include <string.h>

#include "operator/desired/desired.h"

#define NAME "maintain"

static size_t find(const json_t *containers, const char *name)
{
    size_t i;
    const json_t *one;
    json_array_foreach(containers, i, one)
    {
        const char *is = json_string_value(json_object_get(one, "name"));
        if (is && strcmp(is, name) == 0)
            return i;
    }
    return json_array_size(containers);
}

static void remove_mount(json_t *container, const char *volume)
{
    json_t *mounts = json_object_get(container, "volumeMounts");
    size_t at = find(mounts, volume);
    if (at < json_array_size(mounts))
        json_array_remove(mounts, at);
}

static json_t *container_like(const json_t *agent)
{
    json_t *one = json_deep_copy(agent);
    json_object_set_new(one, "name", json_string(NAME));
    json_object_set_new(
        one, "args",
        packed(json_pack("[s s s s s]", "maintain", "--file=/etc/firn/manifest/manifest.yaml",
                         "--secrets=/etc/firn/secrets", "--http=0.0.0.0:8081",
                         "--log-format=json")));
    json_object_set_new(one, "ports",
                        packed(json_pack("[{ss si ss}]", "name", NAME, "containerPort",
                                         MAINTAIN_PORT, "protocol", "TCP")));
    json_object_set_new(one, "resources",
                        packed(json_pack("{s{ss ss} s{ss}}", "requests", "cpu", "10m", "memory",
                                         "32Mi", "limits", "memory", "256Mi")));
    json_object_set_new(one, "livenessProbe", pod_probe("/healthz", NAME, 10, 6));
    json_object_del(one, "readinessProbe"); /* the Pod is ready when the agent is */
    json_object_del(one, "startupProbe");
    remove_mount(one, "channel");
    return one;
}

void sidecar_put(json_t *template, bool maintains)
{
    json_t *containers = object_at(template, "spec.containers");
    size_t own = find(containers, NAME);
    json_t *over = json_incref(json_array_get(containers, own));
    if (over && (maintains || !json_object_get(over, "image")))
        json_array_remove(containers, own);
    size_t agent = find(containers, "agent");
    if (maintains && agent < json_array_size(containers)) {
        json_t *one = container_like(json_array_get(containers, agent));
        if (over)
            overlay(one, over);
        json_array_append_new(containers, one);
        /* whose log is meant where nobody says */
        json_t *annotations = object_at(template, "metadata.annotations");
        json_object_set_new(annotations, "kubectl.kubernetes.io/default-container",
                            json_string("agent"));
    }
    json_decref(over);
}
