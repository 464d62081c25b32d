#include "codec/path.h"

#include <stddef.h>
#include <string.h>

#include "codec/store.h"

enum { MAX_COMPONENT_BYTES = 255 };

static bool is_dots(const char *component, size_t n)
{
    return (n == 1 && component[0] == '.') ||
           (n == 2 && component[0] == '.' && component[1] == '.');
}

bool weir_path_is_valid(const char *path)
{
    if (strnlen(path, WEIR_MAX_PATH_BYTES + 1) > WEIR_MAX_PATH_BYTES)
        return false;
    for (;;) {
        size_t n = strcspn(path, "/");
        if (n == 0 || n > MAX_COMPONENT_BYTES || is_dots(path, n))
            return false;
        if (path[n] == '\0')
            return true;
        path += n + 1;
    }
}

bool weir_path_target_stays_inside(const char *path, const char *target)
{
    size_t target_bytes = strnlen(target, WEIR_MAX_PATH_BYTES + 1);
    if (target_bytes == 0 || target_bytes > WEIR_MAX_PATH_BYTES || target[0] == '/')
        return false;

    size_t depth = 0; /* of the directory that the walk is in; the root's is 0 */
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
        depth++;
    for (bool named = false; *target;) {
        size_t n = strcspn(target, "/");
        if (n == 2 && is_dots(target, n)) {
            if (named || depth == 0)
                return false;
            depth--;
        } else if (n > 0 && !is_dots(target, n)) {
            named = true;
        }
        target += n + (target[n] == '/');
    }
    return true;
}
