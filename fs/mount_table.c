#include "mount_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Puts the bytes back that the table writes as \040. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        unsigned byte;
        if (sscanf(from, "\\%3o", &byte) == 1) {
            *to = (char)byte;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = 0;
}

/* "ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG]... - TYPE SOURCE OPTIONS".  NULL: it is not
 * like that.  The mountpoint is in `line`. */
static const char *parse(char *line, struct mount_place *out)
{
    int at = 0;
    if (sscanf(line, "%*d %*d %31s %*s %n", out->device, &at) != 1 || at == 0)
        return NULL;
    char *where = line + at;
    char *end = strchr(where, ' ');
    const char *type = end ? strstr(end, " - ") : NULL;
    if (!type)
        return NULL;
    out->is_weir = strncmp(type, " - fuse.weir ", strlen(" - fuse.weir ")) == 0;
    *end = 0;
    unescape(where);
    return where;
}

enum mount_found mount_table_find(const char *path, struct mount_place *out)
{
    FILE *table = fopen("/proc/self/mountinfo", "re");
    if (!table)
        return MOUNT_NO_TABLE;
    char *line = NULL;
    size_t room = 0;
    enum mount_found found = MOUNT_NONE;
    while (getline(&line, &room, table) > 0) {
        struct mount_place place;
        const char *where = parse(line, &place);
        if (!where || strcmp(where, path) != 0)
            continue;
        *out = place;
        found = MOUNT_FOUND;
    }
    free(line);
    (void)fclose(table);
    return found;
}
