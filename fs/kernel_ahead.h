/* kernel_ahead.h - how far the kernel itself reads ahead on a mount. */
#ifndef WEIR_FS_KERNEL_AHEAD_PRIVATE_H
#define WEIR_FS_KERNEL_AHEAD_PRIVATE_H

#include <stddef.h>

/* Asks the kernel to read `bytes` ahead on the mount with this device ("MAJOR:MINOR"), which takes
 * root, and says how far it reads now.  Needs nothing of the mount itself. */
size_t kernel_ahead_raise(const char *device, size_t bytes);

#endif
