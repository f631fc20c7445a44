/* links: firn_common */
/* A manifest as anybody may write it: parsed, checked, and, when it is good, expanded. */
#include <stdint.h>
#include <stdlib.h>

#include "common/manifest/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    Manifest *manifest;
    Findings findings;
    if (manifest_parse("fuzz", (const char *)data, bytes, &manifest, &findings)) {
        for (size_t i = 0; i < manifest->unit_count; i++) {
            LakeTableSpec *table;
            char *name;
            if (manifest_expand(&manifest->units[i], "public", "order_lines", &table, &name,
                                NULL)) {
                lake_table_free(table);
                free(name);
            }
        }
        manifest_free(manifest);
    } else if (findings.count == 0) {
        abort(); /* refused without a word */
    }
    findings_done(&findings);
    return 0;
}
