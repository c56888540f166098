/* src/observe/log_int.h - the log with its time given, so that tests need no clock.
 * Threads: any, as in log.h. Units: wall_ns since 1970. */
#ifndef VV_OBSERVE_LOG_INT_H
#define VV_OBSERVE_LOG_INT_H
#include "observe/log.h"
#include <stdarg.h>

void vv_log_at(uint64_t wall_ns, enum vv_log_level level, const char *component, const char *fmt,
               va_list args);
#endif
