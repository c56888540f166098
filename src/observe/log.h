/* src/observe/log.h - the product's own messages: one line each, to standard error or a file.
 *
 * Model:   level, component, message, then key=value pairs; text on a terminal, JSON when asked.
 *          Never on the data path (debug excepted, which is off by default); a burst of the same
 *          message is folded ("... 41 more"). Control bytes are escaped; secrets are never
 *          passed in.
 * Threads: any; one write(2) per line. Ownership: nothing is kept.
 */
#ifndef VV_OBSERVE_LOG_H
#define VV_OBSERVE_LOG_H
#include "base/defs.h"

enum vv_log_level { VV_LOG_DEBUG, VV_LOG_INFO, VV_LOG_WARN, VV_LOG_ERROR };
enum vv_log_format { VV_LOG_TEXT, VV_LOG_JSON };
void vv_log_setup(enum vv_log_level level, enum vv_log_format format, int fd);
enum vv_log_level vv_log_level_now(void);
void vv_log(enum vv_log_level level, const char *component, const char *fmt, ...) VV_PRINTF(3, 4);
/* Writes the counts of folded messages whose time (5 s) is over at wall_ns; UINT64_MAX: all of
 * them. The control thread calls it once a second, the end of the process with UINT64_MAX. */
void vv_log_flush(uint64_t wall_ns);
#define vv_debug(component, ...)                                                                   \
    do {                                                                                           \
        if (VV_UNLIKELY(vv_log_level_now() == VV_LOG_DEBUG))                                       \
            vv_log(VV_LOG_DEBUG, component, __VA_ARGS__);                                          \
    } while (0)
#define vv_info(component, ...) vv_log(VV_LOG_INFO, component, __VA_ARGS__)
#define vv_warn(component, ...) vv_log(VV_LOG_WARN, component, __VA_ARGS__)
#define vv_error(component, ...) vv_log(VV_LOG_ERROR, component, __VA_ARGS__)
#endif
