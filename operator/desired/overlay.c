#include "operator/desired/desired.h"

/* What tells the items of a list apart, as Kubernetes merges them; NULL: nothing does. */
static const char *key_of(const json_t *list)
{
    static const char *const keys[] = {"mountPath", "name", "containerPort", "key"};
    const json_t *first = json_array_get(list, 0);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (json_is_object(first) && json_object_get(first, keys[i]))
            return keys[i];
    return NULL;
}

static json_t *item_named(const json_t *list, const char *key, const json_t *value)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (json_equal(json_object_get(item, key), value))
            return item;
    }
    return NULL;
}

static void overlay_list(json_t *base, const json_t *over, const char *key)
{
    size_t i;
    json_t *item;
    json_array_foreach(over, i, item)
    {
        json_t *same = item_named(base, key, json_object_get(item, key));
        if (same)
            overlay(same, item);
        else
            json_array_append_new(base, json_deep_copy(item));
    }
}

void overlay(json_t *base, const json_t *over)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)over, name, value)
    {
        json_t *old = json_object_get(base, name);
        const char *key = json_is_array(value) ? key_of(value) : NULL;
        if (json_is_null(value))
            json_object_del(base, name);
        else if (json_is_object(value) && json_is_object(old))
            overlay(old, value);
        else if (key && json_is_array(old))
            overlay_list(old, value, key);
        else
            json_object_set_new(base, name, json_deep_copy(value));
    }
}

bool overlay_holds(const json_t *live, const json_t *wanted)
{
    if (json_is_object(wanted)) {
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)wanted, name, value)
        {
            if (!overlay_holds(json_object_get(live, name), value))
                return false;
        }
        return json_is_object(live);
    }
    if (json_is_array(wanted)) {
        if (!json_is_array(live) || json_array_size(live) != json_array_size(wanted))
            return false;
        for (size_t i = 0; i < json_array_size(wanted); i++)
            if (!overlay_holds(json_array_get(live, i), json_array_get(wanted, i)))
                return false;
        return true;
    }
    return json_equal(live, wanted);
}
