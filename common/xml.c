#include "common/xml.h"

#include <expat.h>
#include <limits.h>
#include <string.h>

#include "common/bytes.h"

#define DEPTH_MAX 16
#define TEXT_BYTES_MAX ((size_t)64 << 10)
#define PATH_BYTES_MAX 1024

typedef struct XmlRead {
    XML_Parser parser;
    XmlEach *each;
    void *context;
    size_t depth;
    Bytes texts[DEPTH_MAX]; /* of the open elements; kept for the next one at this depth */
    char path[PATH_BYTES_MAX];
    size_t path_bytes;
    const char *wrong; /* a limit that was passed */
    bool stopped;      /* by the callback */
} XmlRead;

static void stop(XmlRead *r, const char *wrong)
{
    if (!r->wrong)
        r->wrong = wrong;
    XML_StopParser(r->parser, XML_FALSE);
}

static void on_start(void *context, const char *name, const char **attributes)
{
    XmlRead *r = context;
    (void)attributes;
    if (r->wrong || r->stopped)
        return;
    const char *colon = strrchr(name, ':');
    const char *local = colon ? colon + 1 : name;
    size_t bytes = strlen(local);
    if (r->depth == DEPTH_MAX || bytes + 2 > PATH_BYTES_MAX - r->path_bytes) {
        stop(r, "its elements are nested too deep");
        return;
    }
    bytes_clear(&r->texts[r->depth++]);
    if (r->path_bytes)
        r->path[r->path_bytes++] = '/';
    memcpy(r->path + r->path_bytes, local, bytes + 1);
    r->path_bytes += bytes;
}

static void on_text(void *context, const char *text, int bytes)
{
    XmlRead *r = context;
    if (r->wrong || r->stopped || !r->depth)
        return;
    Bytes *to = &r->texts[r->depth - 1];
    if ((size_t)bytes > TEXT_BYTES_MAX - to->used)
        stop(r, "a text in it is too long");
    else
        bytes_put(to, text, (size_t)bytes);
}

static void on_end(void *context, const char *name)
{
    XmlRead *r = context;
    (void)name;
    if (r->wrong || r->stopped || !r->depth)
        return;
    Bytes *text = &r->texts[--r->depth];
    bytes_put_u8(text, '\0');
    if (!r->each(r->context, r->path, (const char *)text->data)) {
        r->stopped = true;
        XML_StopParser(r->parser, XML_FALSE);
    }
    const char *slash = memrchr(r->path, '/', r->path_bytes);
    r->path_bytes = slash ? (size_t)(slash - r->path) : 0;
    r->path[r->path_bytes] = '\0';
}

static void on_doctype(void *context, const char *name, const char *system, const char *public,
                       int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    stop(context, "it has a document type");
}

bool xml_read(const void *data, size_t bytes, XmlEach *each, void *context, Error *err)
{
    if (bytes > INT_MAX)
        return error_set(err, ERROR_DATA, "BadXml", "the XML is too large");
    XmlRead r = {.parser = XML_ParserCreate(NULL), .each = each, .context = context};
    ASSERT(r.parser);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    bool ok = XML_Parse(r.parser, data, (int)bytes, XML_TRUE) == XML_STATUS_OK && !r.wrong;
    if (!ok && !r.stopped)
        error_set(err, ERROR_DATA, "BadXml", "the answer is no XML that is expected here: %s",
                  r.wrong ? r.wrong : XML_ErrorString(XML_GetErrorCode(r.parser)));
    XML_ParserFree(r.parser);
    for (size_t i = 0; i < DEPTH_MAX; i++) {
        if (r.texts[i].data) /* keys may have stood there */
            explicit_bzero(r.texts[i].data, r.texts[i].held);
        bytes_done(&r.texts[i]);
    }
    return ok && !r.stopped;
}
