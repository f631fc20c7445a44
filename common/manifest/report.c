/* Findings: collected all, each with its place, so that a user mends a file in one go. Their number
 * is limited because the file is anybody's. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/manifest/shape.h"
#include "common/mem.h"
#include "common/text.h"

#define FINDINGS_MAX 1000u

void findings_done(Findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        Finding *finding = &findings->items[i];
        free(finding->file);
        free(finding->object);
        free(finding->path);
        free(finding->message);
    }
    free(findings->items);
    *findings = (Findings){0};
}

void report_done(Report *report)
{
    bytes_done(&report->path);
}

static void finding_add(Report *report, int line, const char *below, const char *message)
{
    Findings *findings = report->findings;
    if (findings->count > FINDINGS_MAX)
        return;
    bool last = findings->count == FINDINGS_MAX;
    /* Grows by half or so: the capacity is a power of two that follows from the count. */
    if ((findings->count & (findings->count - 1)) == 0)
        findings->items = mem_regrow(findings->items, findings->count ? findings->count * 2 : 1,
                                     sizeof *findings->items);
    const char *path = (const char *)report->path.data;
    findings->items[findings->count++] = (Finding){
        .file = mem_strdup(report->file),
        .line = last ? 0 : line,
        .object = mem_strdup(last || !report->object ? "" : report->object),
        .path = last ? mem_strdup("")
                     : mem_format("%.*s%s%s", (int)report->path.used, path ? path : "",
                                  below && report->path.used ? "." : "", below ? below : ""),
        .message = mem_strdup(last ? "there are more than 1000 findings: the others are not shown"
                                   : message),
    };
}

void report_at(Report *report, int line, const char *below, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *message = NULL;
    ASSERT(vasprintf(&message, format, args) >= 0);
    va_end(args);
    finding_add(report, line, below, message);
    free(message);
}

void report_value(Report *report, int line, const char *below, const char *value,
                  const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *rest = NULL;
    ASSERT(vasprintf(&rest, format, args) >= 0);
    va_end(args);
    Bytes message = {0};
    text_quote(&message, value);
    bytes_put_u8(&message, ' ');
    bytes_put(&message, rest, strlen(rest) + 1);
    finding_add(report, line, below, (const char *)message.data);
    bytes_done(&message);
    free(rest);
}

typedef struct Sortable {
    Finding finding;
    size_t file; /* the first finding of the same file */
    size_t index;
} Sortable;

static int compare(const void *left, const void *right)
{
    const Sortable *a = left, *b = right;
    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->finding.line != b->finding.line)
        return a->finding.line < b->finding.line ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

void findings_sort(Findings *findings)
{
    Sortable *sorted = mem_array(findings->count, sizeof *sorted);
    for (size_t i = 0; i < findings->count; i++) {
        size_t file = 0;
        while (strcmp(findings->items[file].file, findings->items[i].file) != 0)
            file++;
        sorted[i] = (Sortable){.finding = findings->items[i], .file = file, .index = i};
    }
    qsort(sorted, findings->count, sizeof *sorted, compare);
    for (size_t i = 0; i < findings->count; i++)
        findings->items[i] = sorted[i].finding;
    free(sorted);
}
