/* The files beside this one, as they are, within the program. */
#include <string.h>

#include "operator/page/page.h"

#define EMBED(symbol, file)                                                                        \
    __asm__(".section .rodata\n" #symbol "_begin:\n.incbin \"" PAGE_FOLDER "/" file "\"\n" #symbol \
            "_end:\n.byte 0\n.previous\n");                                                        \
    extern const char symbol##_begin[], symbol##_end[]

EMBED(page_html, "page.html");
EMBED(page_css, "page.css");
EMBED(page_js, "page.js");
EMBED(page_icon, "icon.svg");

static const Asset assets[] = {
    {"/", "text/html; charset=utf-8", page_html_begin, page_html_end},
    {"/page.css", "text/css; charset=utf-8", page_css_begin, page_css_end},
    {"/page.js", "text/javascript; charset=utf-8", page_js_begin, page_js_end},
    {"/icon.svg", "image/svg+xml", page_icon_begin, page_icon_end},
};

const Asset *asset_of(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(assets); i++)
        if (strcmp(assets[i].path, path) == 0)
            return &assets[i];
    return NULL;
}
