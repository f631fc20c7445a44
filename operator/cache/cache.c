#include "operator/cache/cache.h"

#include <pthread.h>
#include <stdio.h>

#include "operator/cache/pack.h"
#include "operator/cache/prune.h"

#define BUCKETS_LEAST 256u
#define KEY_BYTES_MAX 512

typedef struct Entry Entry;
/* One of the names by which an entry is found, in the index. */
typedef struct Ref {
    struct Ref *next, **from; /* of its bucket */
    struct Ref *sibling;
    Entry *entry;
    uint64_t hash; /* of `at` and the name */
} Ref;

struct Entry {
    Entry *next;
    Packed *text;
    char *version;
    bool deleted;
    DeploymentCounts *counts; /* of a Deployment */
    char *ref[CACHE_REFS];    /* "\nname\nname" */
    Ref *refs;
    uint64_t list;      /* the list that named it last, of its feed */
    size_t space_bytes; /* of key: the namespace */
    char key[];         /* "namespace/name" */
};

typedef struct Table {
    Entry **buckets;
    Ref **index; /* as many */
    size_t bucket_count, count;
} Table;

struct Cache {
    pthread_mutex_t lock;
    Packer *packer;
    Table tables[KIND_COUNT];
};

struct Feed {
    Cache *cache;
    Kind kind;
    char *namespace_name;
    CacheTaker taker;
    uint64_t list;
    atomic_bool listed;
};

Cache *cache_new(void)
{
    Cache *cache = mem_zalloc(sizeof *cache);
    pthread_mutex_init(&cache->lock, NULL);
    cache->packer = packer_new();
    for (size_t i = 0; i < KIND_COUNT; i++) {
        cache->tables[i].bucket_count = BUCKETS_LEAST;
        cache->tables[i].buckets = mem_array(BUCKETS_LEAST, sizeof(Entry *));
        cache->tables[i].index = mem_array(BUCKETS_LEAST, sizeof(Ref *));
    }
    return cache;
}

static void drop_refs(Entry *entry)
{
    for (Ref *ref = entry->refs, *sibling; ref; ref = sibling) {
        sibling = ref->sibling;
        *ref->from = ref->next;
        if (ref->next)
            ref->next->from = ref->from;
        free(ref);
    }
    entry->refs = NULL;
    for (size_t i = 0; i < CACHE_REFS; i++) {
        free(entry->ref[i]);
        entry->ref[i] = NULL;
    }
}

static void entry_free(Entry *entry)
{
    drop_refs(entry);
    free(entry->text);
    free(entry->version);
    free(entry->counts);
    free(entry);
}

void cache_free(Cache *cache)
{
    if (!cache)
        return;
    for (size_t k = 0; k < KIND_COUNT; k++) {
        for (size_t i = 0; i < cache->tables[k].bucket_count; i++) {
            for (Entry *entry = cache->tables[k].buckets[i], *next; entry; entry = next) {
                next = entry->next;
                entry_free(entry);
            }
        }
        free(cache->tables[k].buckets);
        free(cache->tables[k].index);
    }
    packer_free(cache->packer);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

/* --- the table, under the lock --- */

static uint64_t hash_of_bytes(uint64_t seed, const char *text, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325 ^ seed; /* FNV-1a */
    for (const char *at = text; at < text + bytes; at++)
        hash = (hash ^ (unsigned char)*at) * 0x100000001b3;
    return hash ^ hash >> 32;
}

static uint64_t hash_of(const char *key)
{
    return hash_of_bytes(0, key, strlen(key));
}

static Entry **place_of(Table *table, const char *key)
{
    Entry **at = &table->buckets[hash_of(key) % table->bucket_count];
    while (*at && strcmp((*at)->key, key) != 0)
        at = &(*at)->next;
    return at;
}

static void index_ref(Table *table, Ref *ref)
{
    Ref **bucket = &table->index[ref->hash % table->bucket_count];
    ref->next = *bucket;
    ref->from = bucket;
    if (ref->next)
        ref->next->from = &ref->next;
    *bucket = ref;
}

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : !a && !b;
}

static void index_entry(Table *table, Entry *entry)
{
    for (size_t i = 0; i < CACHE_REFS; i++) {
        const char *name = entry->ref[i];
        while (name && *name) {
            size_t bytes = strcspn(++name, "\n");
            Ref *ref = mem_alloc(sizeof *ref);
            *ref = (Ref){
                .entry = entry, .sibling = entry->refs, .hash = hash_of_bytes(i, name, bytes)};
            entry->refs = ref;
            index_ref(table, ref);
            name += bytes;
        }
    }
}

/* Most keep what they are found by. */
static void take_refs(Table *table, Entry *entry, Kind kind, const json_t *object)
{
    char *ref[CACHE_REFS];
    bool same = true;
    for (size_t i = 0; i < CACHE_REFS; i++) {
        ref[i] = prune_ref(kind, object, i);
        same = same && is_same(ref[i], entry->ref[i]);
    }
    if (same) {
        for (size_t i = 0; i < CACHE_REFS; i++)
            free(ref[i]);
        return;
    }
    drop_refs(entry);
    memcpy(entry->ref, ref, sizeof ref);
    index_entry(table, entry);
}

static void grow(Table *table)
{
    size_t count = table->bucket_count * 4;
    Entry **wider = mem_array(count, sizeof *wider);
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (Entry *entry = table->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            Entry **to = &wider[hash_of(entry->key) % count];
            entry->next = *to;
            *to = entry;
        }
    }
    free(table->buckets);
    table->buckets = wider;
    Ref **before = table->index;
    size_t before_count = table->bucket_count;
    table->bucket_count = count;
    table->index = mem_array(count, sizeof *table->index);
    for (size_t i = 0; i < before_count; i++) {
        for (Ref *ref = before[i], *next; ref; ref = next) {
            next = ref->next;
            index_ref(table, ref);
        }
    }
    free(before);
}

static bool key_of(const char *namespace_name, const char *name, char *key)
{
    int bytes = snprintf(key, KEY_BYTES_MAX, "%s/%s", namespace_name ? namespace_name : "", name);
    return bytes > 0 && bytes < KEY_BYTES_MAX;
}

static json_t *load(const char *text)
{
    json_t *object = json_loads(text, 0, NULL);
    ASSERT(object);
    return object;
}

static json_t *loaded(Cache *cache, const Entry *entry)
{
    AUTO(mem_free) char *text = unpack(cache->packer, entry->text);
    return load(text);
}

static void put(Cache *cache, const char *key, Kind kind, const json_t *object, uint64_t list)
{
    Table *table = &cache->tables[kind];
    AUTO(mem_free) char *text = json_text(object, JSON_COMPACT);
    Entry **at = place_of(table, key), *entry = *at;
    if (!entry) {
        size_t bytes = strlen(key) + 1;
        entry = mem_zalloc(sizeof *entry + bytes);
        memcpy(entry->key, key, bytes);
        entry->space_bytes = strcspn(key, "/");
        *at = entry;
        if (++table->count > table->bucket_count * 2)
            grow(table);
    }
    free(entry->text);
    entry->text = pack(cache->packer, text);
    entry->deleted = object_is_deleted(object);
    if (kind == KIND_DEPLOYMENT) {
        entry->counts = entry->counts ? entry->counts : mem_zalloc(sizeof *entry->counts);
        *entry->counts = deployment_counts(object);
    }
    entry->list = list ? list : entry->list;
    free(entry->version);
    entry->version = object_version(object) ? mem_strdup(object_version(object)) : NULL;
    take_refs(table, entry, kind, object);
}

/* The caller's; NULL: it is not there. */
static char *take_out(Cache *cache, Kind kind, const char *key)
{
    Table *table = &cache->tables[kind];
    Entry **at = place_of(table, key), *entry = *at;
    if (!entry)
        return NULL;
    *at = entry->next;
    table->count--;
    char *text = unpack(cache->packer, entry->text);
    entry_free(entry);
    return text;
}

static bool holds_name(const char *names, const char *name)
{
    size_t bytes = strlen(name);
    for (const char *at = names; at; at = strchr(at + 1, '\n'))
        if (strncmp(at + 1, name, bytes) == 0 && (!at[1 + bytes] || at[1 + bytes] == '\n'))
            return true;
    return false;
}

static bool matches(const Entry *entry, const char *namespace_name, size_t at, const char *value)
{
    if (namespace_name && (strncmp(entry->key, namespace_name, entry->space_bytes) != 0 ||
                           namespace_name[entry->space_bytes]))
        return false;
    return !value || holds_name(entry->ref[at], value);
}

/* --- what watches say --- */

Feed *feed_new(Cache *cache, Kind kind, const char *namespace_name, const CacheTaker *taker)
{
    Feed *feed = mem_zalloc(sizeof *feed);
    *feed = (Feed){.cache = cache,
                   .kind = kind,
                   .namespace_name = namespace_name ? mem_strdup(namespace_name) : NULL,
                   .taker = *taker};
    return feed;
}

void feed_free(Feed *feed)
{
    if (!feed)
        return;
    free(feed->namespace_name);
    free(feed);
}

bool feed_listed(const Feed *feed)
{
    return atomic_load(&feed->listed);
}

static void feed_list_begins(void *context, Kind kind)
{
    Feed *feed = context;
    (void)kind;
    feed->list++;
}

/* A version is opaque by contract, but API servers count in it, and say so since 1.35 (KEP 5504).
 * Only used to tell what was written here from an event on its way that is older, or that one. */
static bool is_news(const json_t *object, const Entry *than)
{
    const char *a = object_version(object), *b = than->version;
    return !a || !b || (strcmp(a, b) != 0 && strtoull(a, NULL, 10) >= strtoull(b, NULL, 10));
}

static bool feed_known(void *context, Kind kind, const ObjectHead *head)
{
    Feed *feed = context;
    char key[KEY_BYTES_MAX];
    if (!head->version[0] || !key_of(head->space, head->name, key))
        return false;
    pthread_mutex_lock(&feed->cache->lock);
    Entry *entry = *place_of(&feed->cache->tables[kind], key);
    bool known = entry && entry->version && strcmp(entry->version, head->version) == 0;
    if (known)
        entry->list = feed->list;
    pthread_mutex_unlock(&feed->cache->lock);
    return known;
}

static void feed_changed(void *context, Kind kind, json_t *object)
{
    Feed *feed = context;
    char key[KEY_BYTES_MAX];
    if (!object_name(object) || !key_of(object_namespace(object), object_name(object), key))
        return;
    AUTO(json_free) json_t *now = prune(kind, object);
    AUTO(json_free) json_t *before = NULL;
    pthread_mutex_lock(&feed->cache->lock);
    Entry *entry = *place_of(&feed->cache->tables[kind], key);
    bool news = !entry || is_news(now, entry);
    before = entry && news ? loaded(feed->cache, entry) : NULL;
    if (news)
        put(feed->cache, key, kind, now, feed->list);
    else
        entry->list = feed->list;
    pthread_mutex_unlock(&feed->cache->lock);
    if (news)
        feed->taker.changed(feed->taker.context, kind, before, now);
}

static void feed_deleted(void *context, Kind kind, json_t *object)
{
    Feed *feed = context;
    char key[KEY_BYTES_MAX];
    if (!object_name(object) || !key_of(object_namespace(object), object_name(object), key))
        return;
    pthread_mutex_lock(&feed->cache->lock);
    AUTO(mem_free) char *text = take_out(feed->cache, kind, key);
    pthread_mutex_unlock(&feed->cache->lock);
    AUTO(json_free) json_t *before = text ? load(text) : prune(kind, object);
    feed->taker.changed(feed->taker.context, kind, before, NULL);
}

static void feed_list_ended(void *context, Kind kind)
{
    Feed *feed = context;
    json_t *gone = json_array();
    pthread_mutex_lock(&feed->cache->lock);
    Table *table = &feed->cache->tables[kind];
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (Entry *entry = table->buckets[i]; entry; entry = entry->next)
            if (entry->list != feed->list && matches(entry, feed->namespace_name, 0, NULL))
                json_array_append_new(gone, loaded(feed->cache, entry));
    }
    pthread_mutex_unlock(&feed->cache->lock);
    size_t i;
    json_t *object;
    json_array_foreach(gone, i, object)
    {
        feed_deleted(feed, kind, object);
    }
    json_decref(gone);
    atomic_store(&feed->listed, true);
}

WatchTaker feed_taker(Feed *feed)
{
    return (WatchTaker){.list_begins = feed_list_begins,
                        .known = feed_known,
                        .changed = feed_changed,
                        .deleted = feed_deleted,
                        .list_ended = feed_list_ended,
                        .context = feed};
}

/* --- reading --- */

/* Its text; the caller's. NULL: it is not there. */
static char *text_of(Cache *cache, Kind kind, const char *namespace_name, const char *name)
{
    char key[KEY_BYTES_MAX];
    if (!name || !key_of(namespace_name, name, key))
        return NULL;
    pthread_mutex_lock(&cache->lock);
    const Entry *entry = *place_of(&cache->tables[kind], key);
    char *text = entry ? unpack(cache->packer, entry->text) : NULL;
    pthread_mutex_unlock(&cache->lock);
    return text;
}

json_t *cache_get(Cache *cache, Kind kind, const char *namespace_name, const char *name)
{
    AUTO(mem_free) char *text = text_of(cache, kind, namespace_name, name);
    return text ? load(text) : NULL;
}

#define PATH(...) ((const char *const[]){__VA_ARGS__, NULL})

json_t *cache_get_brief(Cache *cache, Kind kind, const char *namespace_name, const char *name)
{
    AUTO(mem_free) char *text = text_of(cache, kind, namespace_name, name);
    if (text)
        (void)object_replace(&text, PATH("spec", "outsourcingUnit", "table"), "null");
    return text ? load(text) : NULL;
}

bool cache_counts(Cache *cache, const char *namespace_name, const char *name, DeploymentCounts *ret)
{
    char key[KEY_BYTES_MAX];
    *ret = (DeploymentCounts){0};
    if (!name || !key_of(namespace_name, name, key))
        return false;
    pthread_mutex_lock(&cache->lock);
    const Entry *entry = *place_of(&cache->tables[KIND_DEPLOYMENT], key);
    if (entry)
        *ret = *entry->counts;
    pthread_mutex_unlock(&cache->lock);
    return entry;
}

bool cache_has(Cache *cache, Kind kind, const char *namespace_name, const char *name)
{
    char key[KEY_BYTES_MAX];
    if (!name || !key_of(namespace_name, name, key))
        return false;
    pthread_mutex_lock(&cache->lock);
    const Entry *entry = *place_of(&cache->tables[kind], key);
    bool has = entry && !entry->deleted;
    pthread_mutex_unlock(&cache->lock);
    return has;
}

/* Under the lock. */
static void each_match(Table *table, const char *namespace_name, size_t at, const char *value,
                       void (*each)(void *context, const Entry *entry), void *context)
{
    for (size_t i = 0; !value && i < table->bucket_count; i++)
        for (Entry *entry = table->buckets[i]; entry; entry = entry->next)
            if (matches(entry, namespace_name, at, NULL))
                each(context, entry);
    if (!value)
        return;
    uint64_t hash = hash_of_bytes(at, value, strlen(value));
    const Entry *last = NULL; /* one that has the name twice stands there twice, together */
    for (Ref *ref = table->index[hash % table->bucket_count]; ref; ref = ref->next) {
        if (ref->hash != hash || ref->entry == last ||
            !matches(ref->entry, namespace_name, at, value))
            continue;
        last = ref->entry;
        each(context, last);
    }
}

typedef struct Listing {
    Cache *cache;
    json_t *list;
} Listing;

static void add_loaded(void *context, const Entry *entry)
{
    const Listing *to = context;
    json_array_append_new(to->list, loaded(to->cache, entry));
}

json_t *cache_list(Cache *cache, Kind kind, const char *namespace_name, size_t at,
                   const char *value)
{
    json_t *list = json_array();
    pthread_mutex_lock(&cache->lock);
    each_match(&cache->tables[kind], namespace_name, at, value, add_loaded,
               &(Listing){cache, list});
    pthread_mutex_unlock(&cache->lock);
    return list;
}

typedef struct Naming {
    void (*each)(void *context, const char *namespace_name, const char *name);
    void *context;
} Naming;

static void name_entry(void *context, const Entry *entry)
{
    const Naming *to = context;
    char space[KEY_BYTES_MAX];
    snprintf(space, sizeof space, "%.*s", (int)entry->space_bytes, entry->key);
    to->each(to->context, space, entry->key + entry->space_bytes + 1);
}

void cache_each_name(Cache *cache, Kind kind, const char *namespace_name, size_t at,
                     const char *value,
                     void (*each)(void *context, const char *namespace_name, const char *name),
                     void *context)
{
    pthread_mutex_lock(&cache->lock);
    each_match(&cache->tables[kind], namespace_name, at, value, name_entry,
               &(Naming){each, context});
    pthread_mutex_unlock(&cache->lock);
}

static void put_name(void *context, const char *namespace_name, const char *name)
{
    (void)namespace_name;
    json_array_append_new(context, json_string(name));
}

json_t *cache_names(Cache *cache, Kind kind, const char *namespace_name, size_t at,
                    const char *value)
{
    json_t *names = json_array();
    cache_each_name(cache, kind, namespace_name, at, value, put_name, names);
    return names;
}

char *cache_version(Cache *cache, Kind kind, const char *namespace_name, const char *name)
{
    char key[KEY_BYTES_MAX];
    if (!name || !key_of(namespace_name, name, key))
        return NULL;
    pthread_mutex_lock(&cache->lock);
    const Entry *entry = *place_of(&cache->tables[kind], key);
    char *version = entry && entry->version ? mem_strdup(entry->version) : NULL;
    pthread_mutex_unlock(&cache->lock);
    return version;
}

size_t cache_count(Cache *cache, Kind kind)
{
    pthread_mutex_lock(&cache->lock);
    size_t count = cache->tables[kind].count;
    pthread_mutex_unlock(&cache->lock);
    return count;
}

void cache_put(Cache *cache, Kind kind, const json_t *object)
{
    char key[KEY_BYTES_MAX];
    if (!object_name(object) || !key_of(object_namespace(object), object_name(object), key))
        return;
    AUTO(json_free) json_t *now = prune(kind, object);
    pthread_mutex_lock(&cache->lock);
    const Entry *entry = *place_of(&cache->tables[kind], key);
    /* One that the watch has not named yet is left to it: its list might not name it either. */
    /* What goes with its last finalizer keeps its version; who removed that knows more. */
    bool same = entry && is_same(object_version(now), entry->version);
    if (entry && (same || is_news(now, entry)))
        put(cache, key, kind, now, 0);
    pthread_mutex_unlock(&cache->lock);
}

void cache_said(Cache *cache, Kind kind, const json_t *read, const json_t *status,
                const json_t *now)
{
    char key[KEY_BYTES_MAX];
    const char *version = object_version(now);
    if (!object_same_wish(read, now) || object_is_deleted(read) != object_is_deleted(now) ||
        !version || !key_of(object_namespace(read), object_name(read), key))
        return;
    AUTO(mem_free) char *words = json_text(status, JSON_COMPACT);
    AUTO(mem_free) char *quoted = mem_format("\"%s\"", version);
    pthread_mutex_lock(&cache->lock);
    Entry *entry = *place_of(&cache->tables[kind], key);
    char *text = entry && is_news(now, entry) ? unpack(cache->packer, entry->text) : NULL;
    if (text && object_replace(&text, PATH("metadata", "resourceVersion"), quoted) &&
        object_replace(&text, PATH("status"), words)) {
        free(entry->text);
        free(entry->version);
        entry->text = pack(cache->packer, text);
        entry->version = mem_strdup(version);
    }
    pthread_mutex_unlock(&cache->lock);
    free(text);
}
