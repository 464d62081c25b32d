/* Mounts as whoever hands a mounted /dev/fuse on does:
 *
 *   passfd DIR N COMMAND...   mounts on DIR what will be served through descriptor N, then becomes
 *                             COMMAND */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    int number = atoi(argv[2]), device = open("/dev/fuse", O_RDWR);
    if (device < 0 || dup2(device, number) < 0) {
        perror("/dev/fuse");
        return 2;
    }
    if (device != number)
        (void)close(device);
    char options[128];
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u", number,
             (unsigned)getuid(), (unsigned)getgid());
    if (mount("passed", argv[1], "fuse.weir", MS_RDONLY | MS_NOSUID | MS_NODEV, options) != 0) {
        fprintf(stderr, "passfd: %s: %s\n", argv[1], strerror(errno));
        return 2;
    }
    (void)execv(argv[3], argv + 3);
    perror(argv[3]);
    return 2;
}
