/* links: firn_common */
/* Words of the channel, as anybody who reaches its port may write them: what is taken is written
 * again, and is the same word. */
#include <stdlib.h>

#include "common/channel/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_report(const ChannelReport *a, const ChannelReport *b)
{
    bool same = a->has_flow == b->has_flow && a->whole == b->whole &&
                a->table_count == b->table_count &&
                (!a->has_flow || channel_flow_equals(&a->flow, &b->flow));
    for (size_t i = 0; same && i < a->table_count; i++)
        same = strcmp(a->tables[i].unit, b->tables[i].unit) == 0 &&
               strcmp(a->tables[i].table, b->tables[i].table) == 0 &&
               channel_numbers_equal(&a->tables[i], &b->tables[i]);
    if (!same)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ChannelWord word, again;
    Bytes bytes = {0};
    Error err;
    if (!channel_take(data, size, &word, &err))
        return 0;
    if (word.kind == CHANNEL_HELLO)
        channel_put_hello(&bytes, word.token, word.agent);
    else if (word.kind == CHANNEL_REPORT)
        channel_put_report(&bytes, &word.report);
    if (bytes.used && bytes.used <= CHANNEL_MESSAGE_BYTES_MAX) {
        if (!channel_take(bytes.data, bytes.used, &again, &err) || again.kind != word.kind)
            abort();
        if (word.kind == CHANNEL_REPORT)
            same_report(&word.report, &again.report);
        else if (strcmp(word.token, again.token) != 0)
            abort();
        channel_word_done(&again);
    }
    bytes_done(&bytes);
    channel_word_done(&word);
    return 0;
}
