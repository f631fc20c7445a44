/* links: firn_relay */
/* What waits on disk: given out in order, there after a restart, cut off where it is torn, refused
 * where it is damaged, gone when it is released; and boxes of records as bytes. */
#include "agent/relay/backlog.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/relay/flow.h"
#include "agent/topic/envelope.h"
#include "agent/topic/letter.h"
#include "tests/unit/unit.h"

#define SEGMENT 200
#define MUCH ((uint64_t)1 << 30)

static char folder[] = "/tmp/firn-backlog-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static char *files(bool remove_them)
{
    static char names[4096];
    size_t used = 0;
    DIR *listing = opendir(folder);
    names[0] = '\0';
    for (struct dirent *each; (each = readdir(listing));) {
        char path[512];
        if (each->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, each->d_name);
        if (strstr(each->d_name, ".spool"))
            used += (size_t)snprintf(names + used, sizeof names - used, "%s ", path);
        if (remove_them)
            unlink(path);
    }
    closedir(listing);
    return names;
}

static int tear_down(void **state)
{
    (void)state;
    files(true);
    return rmdir(folder);
}

static Backlog *opened(uint64_t most, RowPosition told)
{
    Error err = {0};
    Backlog *backlog = backlog_open(folder, most, SEGMENT, told, &err);
    if (!backlog)
        fail_msg("%s", err.message);
    return backlog;
}

static void refused(RowPosition told, const char *code)
{
    Error err = {0};
    Backlog *backlog = backlog_open(folder, MUCH, SEGMENT, told, &err);
    assert_null(backlog);
    assert_string_equal(err.code, code);
}

static void put(Backlog *backlog, const char *text)
{
    bool is_full;
    Error err = {0};
    assert_true(backlog_put(backlog, text, strlen(text), &is_full, &err));
    assert_false(is_full);
}

static void check(Backlog *backlog, uint64_t at)
{
    bool is_full;
    Error err = {0};
    assert_true(backlog_put_checkpoint(backlog, (RowPosition){at, 0}, &is_full, &err));
    assert_false(is_full);
    assert_true(backlog_sync(backlog, &err));
}

/* All that was not read, as text: "one two =5 ". */
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

/* =0 one =1 two =2 */
static void begin(uint64_t at)
{
    Error err = {0};
    Backlog *backlog = opened(MUCH, (RowPosition){0});
    assert_true(backlog_begin(backlog, (RowPosition){at, 0}, &err));
    put(backlog, "one");
    check(backlog, 1);
    put(backlog, "two");
    check(backlog, 2);
    backlog_close(backlog);
}

static void release(Backlog *backlog, uint64_t at)
{
    Error err = {0};
    if (!backlog_release(backlog, (RowPosition){at, 0}, &err))
        fail_msg("%s", err.message);
}

static void in_order_and_there_again(void **state)
{
    (void)state;
    Backlog *backlog = opened(MUCH, (RowPosition){0});
    assert_true(backlog_is_empty(backlog));
    assert_string_equal(rest(backlog), "");
    put(backlog, "one");
    put(backlog, "two");
    assert_string_equal(rest(backlog), "one two ");
    check(backlog, 5);
    put(backlog, "three");
    assert_string_equal(rest(backlog), "=5 three ");
    check(backlog, 6);
    backlog_close(backlog);
    backlog = opened(MUCH, (RowPosition){6, 0});
    assert_int_equal(backlog_until(backlog).major, 6);
    put(backlog, "four");
    assert_string_equal(rest(backlog), "one two =5 three =6 four ");
    backlog_rewind(backlog);
    assert_string_equal(rest(backlog), "one two =5 three =6 four ");
    backlog_close(backlog);
    backlog = opened(MUCH, (RowPosition){6, 0}); /* "four" has no checkpoint: it comes again */
    assert_string_equal(rest(backlog), "one two =5 three =6 ");
    release(backlog, 6);
    assert_true(backlog_is_empty(backlog));
    assert_string_equal(files(false), "");
    put(backlog, "five");
    check(backlog, 7);
    assert_string_equal(rest(backlog), "five =7 ");
    backlog_close(backlog);
}

/* A segment goes once the checkpoint behind its last bytes is passed, and not before it was read.
 */
static void segments_go(void **state)
{
    (void)state;
    char text[101];
    memset(text, 'x', sizeof text - 1);
    text[100] = '\0';
    Backlog *backlog = opened(MUCH, (RowPosition){0});
    put(backlog, "a");
    check(backlog, 1);
    put(backlog, text); /* the first segment's tail */
    put(backlog, text); /* another one */
    check(backlog, 2);
    put(backlog, text);
    check(backlog, 3);
    put(backlog, "z");
    uint64_t all = backlog_bytes(backlog);
    (void)rest(backlog);
    release(backlog, 1);
    assert_int_equal(backlog_bytes(backlog), all);
    release(backlog, 2);
    assert_true(backlog_bytes(backlog) < all);
    backlog_close(backlog);
    backlog = opened(MUCH, (RowPosition){3, 0});
    all = backlog_bytes(backlog);
    release(backlog, 3); /* nothing of it was read */
    assert_false(backlog_is_empty(backlog));
    assert_non_null(strstr(rest(backlog), "=3 "));
    release(backlog, 3);
    assert_true(backlog_is_empty(backlog));
    backlog_close(backlog);
}

static void full_is_full(void **state)
{
    (void)state;
    bool is_full;
    Error err = {0};
    Backlog *backlog = opened(100, (RowPosition){0});
    put(backlog,
        "one that is longer than the hundred bytes that there may be, and is taken all the "
        "same: it is alone");
    assert_true(backlog_put(backlog, "more", 4, &is_full, &err));
    assert_true(is_full);
    check(backlog, 1); /* what says that it counts is let in */
    (void)rest(backlog);
    release(backlog, 1);
    put(backlog, "more");
    assert_string_equal(rest(backlog), "more ");
    backlog_close(backlog);
}

/* Of a file of two groups, cut at every length: whole groups are there, the rest is not, and what
 * the source was told of is missed. */
static void torn_anywhere(void **state)
{
    (void)state;
    static const struct {
        off_t least;
        uint64_t until;
        const char *rest;
    } parts[] = {{147, 2, "=0 one =1 two =2 "}, {94, 1, "=0 one =1 "}, {41, 0, "=0 "}, {0, 0, ""}};
    begin(0);
    char name[600];
    struct stat about;
    snprintf(name, sizeof name, "%s", files(false));
    name[strlen(name) - 1] = '\0';
    assert_int_equal(stat(name, &about), 0);
    assert_int_equal(about.st_size, parts[0].least);
    size_t part = 0;
    for (off_t bytes = about.st_size; bytes >= 40; bytes--) {
        part += bytes < parts[part].least;
        assert_int_equal(truncate(name, bytes), 0);
        if (part && bytes > 41)
            refused((RowPosition){2, 0}, "SpoolDamaged");
        Backlog *backlog = opened(MUCH, (RowPosition){parts[part].until, 0});
        assert_int_equal(backlog_until(backlog).major, parts[part].until);
        assert_string_equal(rest(backlog), parts[part].rest);
        backlog_close(backlog);
        /* what was cut off is there again, for the next length */
        if (bytes > 41) {
            files(true);
            begin(0);
        }
    }
    assert_string_equal(files(false), "");
}

/* One bit flipped, anywhere: what the source was told of is missed, and nothing wrong is given out.
 */
static void flipped_anywhere(void **state)
{
    (void)state;
    begin(0);
    char name[600];
    snprintf(name, sizeof name, "%s", files(false));
    name[strlen(name) - 1] = '\0';
    struct stat about;
    assert_int_equal(stat(name, &about), 0);
    for (off_t at = 0; at < about.st_size; at++) {
        uint8_t byte;
        int fd = open(name, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (uint8_t)(1u << at % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        refused((RowPosition){2, 0}, "SpoolDamaged");
        byte ^= (uint8_t)(1u << at % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    Backlog *backlog = opened(MUCH, (RowPosition){2, 0}); /* nothing was touched meanwhile */
    assert_string_equal(rest(backlog), "=0 one =1 two =2 ");
    backlog_close(backlog);
}

static void one_at_a_time(void **state)
{
    (void)state;
    Backlog *backlog = opened(MUCH, (RowPosition){0});
    refused((RowPosition){0}, "SpoolTaken");
    backlog_close(backlog);
    backlog_close(opened(MUCH, (RowPosition){0}));
    Error err = {0};
    assert_null(backlog_open("/proc/nothing/here", MUCH, 0, (RowPosition){0}, &err));
    assert_string_equal(err.code, "SpoolFolder");
}

static void kept_beside(void **state)
{
    (void)state;
    Error err = {0};
    uint8_t *data;
    size_t bytes;
    Backlog *backlog = opened(MUCH, (RowPosition){0});
    assert_true(backlog_kept(backlog, "known", &data, &bytes, &err));
    assert_null(data);
    assert_true(backlog_keep(backlog, "known", "before", 6, &err));
    assert_true(backlog_keep(backlog, "known", "after", 5, &err));
    assert_true(backlog_kept(backlog, "known", &data, &bytes, &err));
    assert_int_equal(bytes, 5);
    assert_memory_equal(data, "after", 5);
    free(data);
    char name[600];
    snprintf(name, sizeof name, "%s/known", folder);
    assert_int_equal(truncate(name, 8), 0);
    assert_true(backlog_kept(backlog, "known", &data, &bytes, &err));
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
        EACH(segments_go),
        EACH(full_is_full),
        EACH(torn_anywhere),
        EACH(flipped_anywhere),
        EACH(one_at_a_time),
        EACH(kept_beside),
        cmocka_unit_test(boxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
