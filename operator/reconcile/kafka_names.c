/* What a resource is called in Kafka: "firn-<namespace>-<name>", a unit's consumer group and a
 * Connector's transactional id. Kafka has no namespaces, so a-b/c and a/b-c are called the same,
 * and would take each other's partitions, or end each other's transactions, for ever. Nothing that
 * runs is renamed for it (the offsets of a group may be all that is known of a position): the
 * younger of two that would meet on the same brokers has to be. */
#include "operator/reconcile/reconcile.h"

#define AGAIN_US 10000000 /* that the other one went is not told */

static void put_each(json_t *to, const char *list)
{
    while (list && *(list += strspn(list, ", "))) {
        size_t bytes = strcspn(list, ", ");
        json_array_append_new(to, json_stringn(list, bytes));
        list += bytes;
    }
}

static void put_strimzi(json_t *to, const json_t *kafka, const char *namespace_name)
{
    const char *cluster = object_text(kafka, "strimzi.cluster");
    const char *own = object_text(kafka, "strimzi.namespace");
    json_int_t port = json_integer_value(object_at(kafka, "strimzi.port"));
    for (json_int_t at = port ? port : 9092; cluster && at <= (port ? port : 9093); at++) {
        AUTO(mem_free)
        char *text = mem_format("%s-kafka-bootstrap.%s.svc:%lld", cluster,
                                own ? own : namespace_name, (long long)at);
        json_array_append_new(to, json_string(text));
    }
}

/* Where a resource meets others, in the words of its spec; the caller's. */
static json_t *brokers_of(const json_t *kafka, const char *namespace_name)
{
    static const char *const fields[] = {"bootstrapServers", "brokers", "r53"};
    json_t *list = json_array(), *one;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        json_t *field = json_object_get(kafka, fields[i]);
        put_each(list, json_string_value(field));
        size_t at;
        json_array_foreach(field, at, one)
        {
            put_each(list, json_string_value(one));
        }
    }
    put_strimzi(list, kafka, namespace_name);
    return list;
}

/* They are one cluster's when they have one in common. */
static bool share(const json_t *a, const json_t *b)
{
    size_t i, k;
    json_t *one, *other;
    json_array_foreach(a, i, one)
    {
        json_array_foreach(b, k, other)
        {
            if (json_equal(one, other))
                return true;
        }
    }
    return false;
}

/* The Kafka in which it is called so; NULL: in none. The caller's. */
static json_t *kafka_of(Operator *op, Kind kind, const json_t *object)
{
    const char *delivery = object_text(object, "spec.stream.delivery");
    if (kind == KIND_CONNECTOR)
        return delivery && strcmp(delivery, "Transactional") == 0
                   ? json_incref(object_at(object, "spec.stream.kafka"))
                   : NULL;
    json_t *own = object_at(object, "spec.kafka");
    if (own)
        return json_incref(own);
    AUTO(json_free)
    json_t *connector = cache_get(op->cache, KIND_CONNECTOR, object_namespace(object),
                                  object_text(object, "spec.connectorRef.name"));
    return json_incref(object_at(connector, "spec.stream.kafka"));
}

static bool meets(Operator *op, Kind kind, const json_t *object, const json_t *brokers,
                  const char *namespace_name, const char *name)
{
    AUTO(json_free) json_t *other = cache_get(op->cache, kind, namespace_name, name);
    if (!other || object_is_deleted(other) || !object_is_elder(other, object))
        return false;
    AUTO(json_free) json_t *kafka = kafka_of(op, kind, other);
    AUTO(json_free) json_t *theirs = brokers_of(kafka, namespace_name);
    return share(brokers, theirs);
}

bool kafka_name_taken(Look *look, Kind kind, const json_t *object, State *ret)
{
    AUTO(json_free) json_t *kafka = kafka_of(look->op, kind, object);
    AUTO(json_free) json_t *brokers = brokers_of(kafka, look->namespace_name);
    AUTO(mem_free) char *text = mem_format("%s-%s", look->namespace_name, look->name);
    for (char *at = text; (at = strchr(at, '-')); at++) {
        *at = '\0';
        bool own = strcmp(text, look->namespace_name) == 0;
        bool taken = !own && meets(look->op, kind, object, brokers, text, at + 1);
        if (taken)
            *ret = state_of(HEALTH_STALLED, "Stalled", "NameTaken",
                            "%s %s of namespace %s is older, on the same brokers, and has the same "
                            "name there: firn-%s-%s; rename this one",
                            kinds[kind].name, at + 1, text, text, at + 1);
        *at = '-';
        if (taken) {
            look_again(look, AGAIN_US);
            return true;
        }
    }
    return false;
}
