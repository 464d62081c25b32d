/* err.h - the one error type of the project.
 *
 * A value says what the caller can do about it; a weir_diag, where a call takes one, says where it
 * happened.  cli/ turns a value into an exit code, fs/ into an errno, both in one place. */
#ifndef WEIR_CODEC_ERR_H
#define WEIR_CODEC_ERR_H

#define WEIR_MUST_CHECK __attribute__((warn_unused_result))

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weir_err {
    WEIR_OK = 0,
    WEIR_ERR_INVALID,     /* the caller's arguments make no sense: fix the call */
    WEIR_ERR_IO,          /* a read or write failed or came up short: a retry may help */
    WEIR_ERR_NOT_FOUND,   /* no such file, tensor or entry: another name may help */
    WEIR_ERR_CHANGED,     /* the input changed while it was read: start again */
    WEIR_ERR_CORRUPT,     /* the bytes break docs/format.md: a retry cannot help */
    WEIR_ERR_MISMATCH,    /* well formed, but not the bytes that were promised or expected */
    WEIR_ERR_UNSUPPORTED, /* well formed, but a version or feature unknown here: upgrade */
    WEIR_ERR_NETWORK,     /* the other side is gone or refuses: retry later */
    WEIR_ERR_NOMEM,       /* allocation refused or budget too small: nothing was changed */
    WEIR_ERR_CANCELLED,   /* the caller asked to stop: nothing half-done is left */
    WEIR_ERR_ABSENT,      /* well formed, but this part was not fetched: fetch it */
} weir_err;

/* Human detail on calls that touch the outside world.  Owned by the caller, who may pass NULL.
 * Written only on error; always NUL-terminated; one line without a full stop. */
struct weir_diag {
    char text[512];
};

/* printf-style; a NULL `diag` is fine.  Text that does not fit is cut. */
void weir_diag_set(struct weir_diag *diag, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Static English text, never NULL, also for values that are not in the enum. */
const char *weir_err_text(weir_err err);

#ifdef __cplusplus
}
#endif

#endif
