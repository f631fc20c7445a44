/* links: firn_relay */
/* What waits in a spool: given out in order, there after a restart, cut off behind its last
 * checkpoint, refused where it is damaged, gone when it is released, and one process's alone; and
 * boxes of records as bytes. */
#include "agent/relay/backlog.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/relay/flow.h"
#include "agent/store/driver.h"
#include "agent/topic/envelope.h"
#include "agent/topic/letter.h"
#include "tests/unit/unit.h"

#define SEGMENT 200
#define MUCH ((uint64_t)1 << 30)
#define HEAD 44  /* bytes of a segment's head, … */
#define ENTRY 17 /* … of an entry's, and of a checkpoint */
#define CHECKPOINT (ENTRY + 16)

static char folder[] = "/tmp/firn-backlog-XXXXXX";
static char uri[64];

/* ---------- a store that has bad days ---------- */
static Store *inner;
static StoreDriver driver;
static Store outer = {&driver};
static const char *_Atomic bad_code; /* NULL: a good day */
static atomic_int put_calls;

static bool bad_put(Store *store, const char *at, const void *data, size_t bytes, StoreTag *tag,
                    Error *err)
{
    (void)store;
    const char *code = bad_code;
    atomic_fetch_add(&put_calls, 1);
    if (code)
        return error_set(err, strcmp(code, "AccessDenied") == 0 ? ERROR_CONFIG : ERROR_RETRY, code,
                         "as the test wants it");
    return inner->driver->put(inner, at, data, bytes, tag, err);
}

static bool get_of_inner(Store *store, const char *at, size_t bytes_max, Bytes *ret, StoreTag *tag,
                         Error *err)
{
    (void)store;
    return tag ? store_get_tagged(inner, at, bytes_max, ret, tag, err)
               : store_get(inner, at, bytes_max, ret, err);
}

static bool remove_of_inner(Store *store, const char *at, Error *err)
{
    (void)store;
    return store_delete(inner, at, err);
}

static bool exists_in_inner(Store *store, const char *at, bool *ret, Error *err)
{
    (void)store;
    return store_exists(inner, at, ret, err);
}

static bool list_inner(Store *store, const char *prefix, StoreEach *each, void *context, Error *err)
{
    (void)store;
    return store_list(inner, prefix, each, context, err);
}

static StoreDriver driver = {.put = bad_put,
                             .get = get_of_inner,
                             .remove = remove_of_inner,
                             .exists = exists_in_inner,
                             .list = list_inner};

static int set_up(void **state)
{
    Error err = {0};
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(uri, sizeof uri, "file://%s", folder);
    inner = store_posix_open(folder, &err);
    bad_code = NULL;
    return inner ? 0 : -1;
}

/* The paths of what ends so, in order. */
static size_t files(const char *ending, char paths[16][300])
{
    struct dirent **names;
    size_t found = 0;
    int count = scandir(folder, &names, NULL, alphasort);
    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        size_t bytes = strlen(names[i]->d_name), end = strlen(ending);
        if (bytes > end && strcmp(names[i]->d_name + bytes - end, ending) == 0 && found < 16)
            snprintf(paths[found++], 300, "%s/%s", folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return found;
}

static size_t segments(char paths[16][300])
{
    return files(".spool", paths);
}

static int tear_down(void **state)
{
    Error err = {0};
    (void)state;
    bool ok = store_delete_all(inner, uri, &err);
    store_close(inner);
    return ok && access(folder, F_OK) != 0 ? 0 : -1;
}

static Backlog *try_open(const char *owner, uint64_t most, uint64_t told, Error *err)
{
    return backlog_open(&(BacklogOptions){.store = &outer,
                                          .uri = uri,
                                          .owner = owner,
                                          .bytes_max = most,
                                          .segment_bytes = SEGMENT,
                                          .told = {told, 0}},
                        err);
}

static Backlog *opened(uint64_t most, uint64_t told)
{
    Error err = {0};
    Backlog *backlog = try_open("default/shop", most, told, &err);
    if (!backlog)
        fail_msg("%s", err.message);
    return backlog;
}

static void refused(uint64_t told, const char *code)
{
    Error err = {0};
    Backlog *backlog = try_open("default/shop", MUCH, told, &err);
    assert_null(backlog);
    assert_string_equal(err.code, code);
}

static BacklogRoom room_for(Backlog *backlog, const char *text)
{
    BacklogRoom room;
    Error err = {0};
    if (!backlog_put(backlog, text, strlen(text), &room, &err))
        fail_msg("%s", err.message);
    return room;
}

static void put(Backlog *backlog, const char *text)
{
    BacklogRoom room;
    while ((room = room_for(backlog, text)) == BACKLOG_BUSY)
        backlog_wait(backlog, 1000);
    assert_int_equal(room, BACKLOG_PUT);
}

/* All that was put is written, or an error says why not. */
static bool try_flush(Backlog *backlog, Error *err)
{
    while (!backlog_is_written(backlog)) {
        if (!backlog_flush(backlog, err))
            return false;
        backlog_wait(backlog, 1000);
        if (!backlog_look(backlog, err))
            return false;
    }
    return true;
}

static void flush(Backlog *backlog)
{
    Error err = {0};
    if (!try_flush(backlog, &err))
        fail_msg("%s", err.message);
}

static void check(Backlog *backlog, uint64_t at)
{
    backlog_put_checkpoint(backlog, (RowPosition){at, 0});
    flush(backlog);
    assert_int_equal(backlog_until(backlog).major, at);
}

/* All that is written and was not read, as text: "one two =5 ". */
static const char *rest(Backlog *backlog)
{
    static char text[4096];
    size_t used = 0;
    Error err = {0};
    BacklogEntry entry;
    text[0] = '\0';
    for (bool any = true; any;) {
        if (!backlog_next(backlog, &entry, &any, &err))
            fail_msg("%s", err.message);
        if (any && entry.checkpoint)
            used += (size_t)snprintf(text + used, sizeof text - used, "=%d ", (int)entry.at.major);
        else if (any)
            used += (size_t)snprintf(text + used, sizeof text - used, "%.*s ", (int)entry.bytes,
                                     (const char *)entry.data);
    }
    return text;
}

/* Three segments: one =1, two =2, three =3; behind 0. */
static void begin(void)
{
    Backlog *backlog = opened(MUCH, 0);
    backlog_begin(backlog, (RowPosition){0});
    put(backlog, "one");
    check(backlog, 1);
    put(backlog, "two");
    check(backlog, 2);
    put(backlog, "three");
    check(backlog, 3);
    backlog_close(backlog);
}

static void release(Backlog *backlog, uint64_t at)
{
    Error err = {0};
    if (!backlog_release(backlog, (RowPosition){at, 0}, &err))
        fail_msg("%s", err.message);
}

/* ---------- what is there ---------- */
static void in_order_and_there_again(void **state)
{
    char paths[16][300];
    (void)state;
    Backlog *backlog = opened(MUCH, 0);
    assert_true(backlog_is_empty(backlog));
    assert_string_equal(rest(backlog), "");
    backlog_begin(backlog, (RowPosition){4, 0});
    put(backlog, "one");
    put(backlog, "two");
    assert_string_equal(rest(backlog), ""); /* it is not written */
    assert_false(backlog_is_empty(backlog) || backlog_is_written(backlog));
    flush(backlog);
    assert_string_equal(rest(backlog), "one two ");
    check(backlog, 5);
    put(backlog, "three");
    flush(backlog);
    assert_string_equal(rest(backlog), "=5 three ");
    check(backlog, 6);
    backlog_close(backlog);
    backlog = opened(MUCH, 6);
    assert_int_equal(backlog_from(backlog).major, 4);
    assert_int_equal(backlog_until(backlog).major, 6);
    put(backlog, "four");
    flush(backlog);
    assert_string_equal(rest(backlog), "one two =5 three =6 four ");
    backlog_rewind(backlog);
    assert_string_equal(rest(backlog), "one two =5 three =6 four ");
    backlog_close(backlog);
    backlog = opened(MUCH, 6); /* "four" has no checkpoint: it comes again */
    assert_string_equal(rest(backlog), "one two =5 three =6 ");
    release(backlog, 6);
    assert_true(backlog_is_empty(backlog));
    assert_int_equal(segments(paths), 0);
    put(backlog, "five");
    check(backlog, 7);
    assert_string_equal(rest(backlog), "five =7 ");
    backlog_close(backlog);
    assert_int_equal(files("", paths), 5); /* a segment, the claim, the list; . and .. */
}

/* What a crash left behind the last checkpoint never comes back, whatever is put after. */
static void tails_stay_away(void **state)
{
    (void)state;
    Backlog *backlog = opened(MUCH, 0);
    backlog_begin(backlog, (RowPosition){1, 0});
    put(backlog, "unfinished");
    flush(backlog);
    backlog_close(backlog);
    backlog = opened(MUCH, 1); /* a segment without any checkpoint is no loss */
    assert_true(backlog_is_empty(backlog));
    backlog_begin(backlog, (RowPosition){1, 0});
    put(backlog, "one");
    backlog_put_checkpoint(backlog, (RowPosition){2, 0});
    put(backlog, "tail");
    flush(backlog);
    put(backlog, "more");
    flush(backlog);
    backlog_close(backlog);
    for (int again = 0; again < 2; again++) {
        backlog = opened(MUCH, 2);
        assert_string_equal(rest(backlog), "one =2 ");
        backlog_close(backlog);
    }
    backlog = opened(MUCH, 2);
    put(backlog, "two");
    check(backlog, 3);
    backlog_close(backlog);
    backlog = opened(MUCH, 3);
    assert_string_equal(rest(backlog), "one =2 two =3 ");
    backlog_close(backlog);
}

/* A checkpoint that follows another takes its place: nothing grows while no rows come. */
static void checkpoints_join(void **state)
{
    (void)state;
    Backlog *backlog = opened(MUCH, 0);
    backlog_begin(backlog, (RowPosition){0});
    put(backlog, "one");
    for (uint64_t at = 1; at <= 100; at++)
        backlog_put_checkpoint(backlog, (RowPosition){at, 0});
    assert_int_equal(backlog_bytes(backlog), HEAD + ENTRY + 3 + CHECKPOINT);
    put(backlog, "two");
    check(backlog, 101);
    assert_string_equal(rest(backlog), "one =100 two =101 ");
    backlog_close(backlog);
}

/* A segment goes once the checkpoint behind its last bytes is passed, and the last not before it
 * was read. */
static void segments_go(void **state)
{
    (void)state;
    char text[101];
    memset(text, 'x', sizeof text - 1);
    text[100] = '\0';
    Backlog *backlog = opened(MUCH, 0);
    backlog_begin(backlog, (RowPosition){0});
    put(backlog, "a");
    backlog_put_checkpoint(backlog, (RowPosition){1, 0});
    put(backlog, text); /* another segment … */
    put(backlog, text); /* … whose tail is in a third */
    check(backlog, 2);
    put(backlog, text);
    check(backlog, 3);
    put(backlog, "z");
    flush(backlog);
    uint64_t all = backlog_bytes(backlog);
    (void)rest(backlog);
    release(backlog, 1);
    assert_true(backlog_bytes(backlog) < all);
    all = backlog_bytes(backlog);
    release(backlog, 1);
    assert_int_equal(backlog_bytes(backlog), all);
    release(backlog, 2);
    assert_true(backlog_bytes(backlog) < all);
    assert_int_equal(backlog_from(backlog).major, 2);
    backlog_close(backlog);
    backlog = opened(MUCH, 3);
    release(backlog, 3); /* nothing of it was read */
    assert_false(backlog_is_empty(backlog));
    assert_non_null(strstr(rest(backlog), "=3 "));
    release(backlog, 3);
    assert_true(backlog_is_empty(backlog));
    backlog_close(backlog);
}

/* What Kafka is known to have is not read any more. */
static void released_unread(void **state)
{
    (void)state;
    begin();
    Backlog *backlog = opened(MUCH, 3);
    BacklogEntry entry;
    bool any;
    Error err = {0};
    assert_true(backlog_next(backlog, &entry, &any, &err) && any);
    release(backlog, 2);
    assert_string_equal(rest(backlog), "three =3 ");
    backlog_close(backlog);
}

static void full_is_full(void **state)
{
    (void)state;
    Backlog *backlog = opened(100, 0);
    backlog_begin(backlog, (RowPosition){0});
    put(backlog,
        "one that is longer than the hundred bytes that there may be, and is taken all the "
        "same: it is alone");
    assert_int_equal(room_for(backlog, "more"), BACKLOG_FULL);
    check(backlog, 1); /* what says that it counts is let in */
    (void)rest(backlog);
    release(backlog, 1);
    put(backlog, "more");
    flush(backlog);
    assert_string_equal(rest(backlog), "more ");
    backlog_close(backlog);
}

/* ---------- damage ---------- */
/* Each segment lost: what the source was told of is missed, and what it was not, comes again. */
static void lost(void **state)
{
    char paths[16][300], aside[320];
    (void)state;
    begin();
    assert_int_equal(segments(paths), 3);
    for (size_t i = 1; i < 3; i++) {
        snprintf(aside, sizeof aside, "%s.aside", paths[i]);
        assert_int_equal(rename(paths[i], aside), 0);
        refused(3, "SpoolDamaged");
        assert_int_equal(rename(aside, paths[i]), 0);
    }
    assert_int_equal(unlink(paths[1]), 0);
    Backlog *backlog = opened(MUCH, 1);
    assert_string_equal(rest(backlog), "one =1 ");
    backlog_close(backlog);
    assert_int_equal(segments(paths), 1);
    backlog = opened(MUCH, 1);
    put(backlog, "other");
    check(backlog, 2);
    backlog_close(backlog);
    assert_int_equal(segments(paths), 2);
    assert_int_equal(unlink(paths[0]), 0); /* the first: whoever knows how far Kafka is, sees it */
    backlog = opened(MUCH, 2);
    assert_int_equal(backlog_from(backlog).major, 1);
    backlog_close(backlog);
}

/* A segment cut at every length. */
static void cut_anywhere(void **state)
{
    char paths[16][300];
    (void)state;
    begin();
    assert_int_equal(segments(paths), 3);
    struct stat about;
    uint8_t whole[300];
    assert_int_equal(stat(paths[2], &about), 0);
    assert_int_equal(about.st_size, HEAD + ENTRY + 5 + CHECKPOINT);
    int fd = open(paths[2], O_RDWR);
    assert_int_equal(read(fd, whole, sizeof whole), about.st_size);
    for (off_t bytes = 0; bytes < about.st_size; bytes++) {
        assert_int_equal(ftruncate(fd, bytes), 0);
        refused(3, "SpoolDamaged");
        assert_int_equal(pwrite(fd, whole, (size_t)about.st_size, 0), about.st_size);
    }
    assert_int_equal(ftruncate(fd, HEAD + ENTRY), 0);
    close(fd);
    Backlog *backlog = opened(MUCH, 2);
    assert_string_equal(rest(backlog), "one =1 two =2 ");
    backlog_close(backlog);
}

/* One bit flipped, anywhere: what the source was told of is missed, and nothing wrong is given out.
 */
static void flipped_anywhere(void **state)
{
    char paths[16][300];
    (void)state;
    begin();
    size_t count = segments(paths);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        struct stat about;
        int fd = open(paths[i], O_RDWR);
        assert_int_equal(fstat(fd, &about), 0);
        for (off_t at = 0; at < about.st_size; at++) {
            uint8_t byte;
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            byte ^= (uint8_t)(1u << at % 8);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
            refused(3, "SpoolDamaged");
            byte ^= (uint8_t)(1u << at % 8);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        close(fd);
    }
    Backlog *backlog = opened(MUCH, 3); /* nothing was touched meanwhile */
    assert_string_equal(rest(backlog), "one =1 two =2 three =3 ");
    backlog_close(backlog);
    assert_int_equal(files(".left", paths), 1); /* the list of what counts, as well */
    int fd = open(paths[0], O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, 9), 1);
    close(fd);
    refused(3, "SpoolDamaged");
}

/* ---------- whose it is ---------- */
/* One that was replaced, and goes on: it learns that, and nothing of it counts. */
static void one_at_a_time(void **state)
{
    char paths[16][300];
    Error err = {0};
    (void)state;
    Backlog *old = opened(MUCH, 0);
    backlog_begin(old, (RowPosition){0});
    put(old, "one");
    check(old, 1);
    put(old, "late");
    backlog_put_checkpoint(old, (RowPosition){2, 0});
    Backlog *young = opened(MUCH, 1);
    assert_false(backlog_is_ours(old, &err));
    assert_string_equal(err.code, "SpoolTaken");
    err = (Error){0};
    assert_false(try_flush(old, &err));
    assert_string_equal(err.code, "SpoolTaken");
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_int_equal(backlog_until(old).major, 1); /* nobody is told of it */
    assert_int_equal(segments(paths), 2);          /* though it is there */
    assert_true(backlog_is_ours(young, &err));
    put(young, "two");
    check(young, 3);
    backlog_close(old);
    backlog_close(young);
    young = opened(MUCH, 3);
    assert_string_equal(rest(young), "one =1 two =3 ");
    backlog_close(young);
    assert_int_equal(segments(paths), 2); /* it is cleared away */
    assert_int_equal(files(".claim", paths), 1);
    assert_int_equal(files(".left", paths), 1);
}

static void of_one_connector(void **state)
{
    Error err = {0};
    (void)state;
    begin();
    assert_null(try_open("default/other", MUCH, 0, &err));
    assert_string_equal(err.code, "SpoolFolder");
    assert_non_null(strstr(err.message, "default/shop"));
    Backlog *backlog = opened(MUCH, 3);
    assert_string_equal(rest(backlog), "one =1 two =2 three =3 ");
    backlog_close(backlog);
}

/* ---------- a store that is away ---------- */
static void away_and_back(void **state)
{
    Error err = {0};
    (void)state;
    Backlog *backlog = opened(MUCH, 0);
    backlog_begin(backlog, (RowPosition){0});
    char text[151];
    memset(text, 'x', sizeof text - 1);
    text[150] = '\0';
    bad_code = "Unreachable";
    put_calls = 0;
    put(backlog, text);
    backlog_put_checkpoint(backlog, (RowPosition){1, 0});
    assert_true(backlog_flush(backlog, &err));
    put(backlog, text); /* memory has room for another one, and no more */
    assert_int_equal(room_for(backlog, text), BACKLOG_BUSY);
    backlog_put_checkpoint(backlog, (RowPosition){2, 0});
    while (put_calls < 2) /* it is tried again */
        backlog_wait(backlog, 100);
    assert_true(backlog_look(backlog, &err));
    assert_int_equal(backlog_until(backlog).major, 0);
    bad_code = "DiskFull";
    while (room_for(backlog, text) != BACKLOG_FULL)
        backlog_wait(backlog, 100);
    bad_code = NULL;
    flush(backlog);
    assert_int_equal(backlog_until(backlog).major, 2);
    bad_code = "AccessDenied"; /* that passes only when a person mends it */
    put(backlog, text);
    assert_false(try_flush(backlog, &err));
    assert_string_equal(err.code, "SpoolFolder");
    bad_code = NULL;
    backlog_close(backlog);
    backlog = opened(MUCH, 2);
    backlog_close(backlog);
}

static void noted(void **state)
{
    char paths[16][300];
    (void)state;
    Error err = {0};
    uint8_t *data;
    size_t bytes;
    Backlog *backlog = opened(MUCH, 0);
    assert_true(backlog_noted(backlog, &data, &bytes, &err));
    assert_null(data);
    assert_true(backlog_note(backlog, "before", 6, &err));
    assert_true(backlog_note(backlog, "after", 5, &err));
    backlog_close(backlog);
    for (int again = 0; again < 2; again++) { /* one that notes nothing leaves it */
        backlog = opened(MUCH, 0);
        assert_true(backlog_noted(backlog, &data, &bytes, &err));
        assert_int_equal(bytes, 5);
        assert_memory_equal(data, "after", 5);
        free(data);
        if (again)
            assert_true(backlog_note(backlog, "later", 5, &err));
        backlog_close(backlog);
    }
    assert_int_equal(files(".known", paths), 1);
    assert_int_equal(truncate(paths[0], 8), 0);
    backlog = opened(MUCH, 0);
    assert_true(backlog_noted(backlog, &data, &bytes, &err));
    assert_null(data);
    backlog_close(backlog);
}

/* --- boxes --- */
static char name_a[] = "a", name_b[] = "b";
static RelayTopic topics[] = {{.name = name_a, .partitions = 3}, {.name = name_b, .partitions = 1}};

static RelayTopic *find(void *context, const char *name)
{
    (void)context;
    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        if (strcmp(topics[i].name, name) == 0)
            return &topics[i];
    return NULL;
}

static void fill(Outbox *box)
{
    for (size_t i = 0; i < 6; i++) {
        TopicRecords *to = outbox_to(box, &topics[i / 2 % 2]);
        TopicRecord *record = topic_record_add(to);
        record->key = (TopicSpan){to->bytes.used, 3};
        bytes_put(&to->bytes, "key", 3);
        record->value = (TopicSpan){to->bytes.used, i};
        bytes_put(&to->bytes, "values", i);
        record->hash = i * UINT64_C(0x123456789abcdef);
        record->everywhere = i == 1;
        record->everywhere_from = i == 1 ? 2 : 0;
        record->other_name = i == 3   ? "__debezium.oldkey"
                             : i == 4 ? LETTER_PIECE
                             : i == 5 ? LETTER_KEY_PIECE
                                      : NULL;
    }
}

static void boxes(void **state)
{
    (void)state;
    Outbox box = {0}, again = {0};
    Bytes bytes = {0}, twice = {0};
    fill(&box);
    relay_box_put(&box, &bytes);
    assert_true(relay_box_take(bytes.data, bytes.used, find, NULL, &again));
    assert_int_equal(again.run_count, 3);
    assert_int_equal(again.records.count, 6);
    assert_ptr_equal(again.runs[1].topic, &topics[1]);
    assert_int_equal(again.runs[2].first, 4);
    assert_string_equal(again.records.items[3].other_name, "__debezium.oldkey");
    assert_string_equal(again.records.items[4].other_name, LETTER_PIECE);
    assert_string_equal(again.records.items[5].other_name, LETTER_KEY_PIECE);
    assert_int_equal(again.records.items[5].hash, box.records.items[5].hash);
    relay_box_put(&again, &twice);
    assert_int_equal(bytes.used, twice.used);
    assert_memory_equal(bytes.data, twice.data, bytes.used);
    /* Whatever is changed in it, nothing points outside of it. */
    for (size_t at = 0; at < bytes.used; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes.data[at] ^= (uint8_t)(1u << bit);
            if (relay_box_take(bytes.data, bytes.used, find, NULL, &again))
                for (size_t i = 0; i < again.records.count; i++) {
                    const TopicRecord *record = &again.records.items[i];
                    assert_true(record->value.at + record->value.bytes <= again.records.bytes.used);
                    assert_true(record->key.at + record->key.bytes <= again.records.bytes.used);
                }
            bytes.data[at] ^= (uint8_t)(1u << bit);
        }
    for (size_t used = 0; used < bytes.used; used++) /* cut short */
        assert_false(relay_box_take(bytes.data, used, find, NULL, &again));
    bytes_done(&bytes);
    bytes_done(&twice);
    outbox_done(&box);
    outbox_done(&again);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        EACH(in_order_and_there_again),
        EACH(tails_stay_away),
        EACH(checkpoints_join),
        EACH(segments_go),
        EACH(released_unread),
        EACH(full_is_full),
        EACH(lost),
        EACH(cut_anywhere),
        EACH(flipped_anywhere),
        EACH(one_at_a_time),
        EACH(of_one_connector),
        EACH(away_and_back),
        EACH(noted),
        cmocka_unit_test(boxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
