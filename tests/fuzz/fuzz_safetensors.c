/* Any bytes: weir_layout_find() takes them for a .safetensors file and its parts cover them. */
#include <stdlib.h>

#include "layout_cover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct weir_source src;
    struct weir_layout *layout;
    weir_source_from_memory(data, len, &src);
    if (weir_layout_find(&src, "fuzz.safetensors", &layout) != WEIR_OK)
        abort();
    if (layout_broken_rule(layout, len))
        abort();
    weir_layout_free(layout);
    return 0;
}
