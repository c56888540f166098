/* src/base/defs.h - the few words every file uses: asserts, attributes, units of time and share.
 *
 * Units:  VV_MS, VV_SEC are nanoseconds; VV_PPM is parts per million (1.0).
 * Errors: VV_ASSERT is for our own bugs and stays on in release; input is never asserted.
 */
#ifndef VV_BASE_DEFS_H
#define VV_BASE_DEFS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VV_MUST_CHECK __attribute__((warn_unused_result))
#define VV_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define VV_NORETURN __attribute__((noreturn))
#define VV_UNUSED __attribute__((unused))
#define VV_HOT __attribute__((hot))
#define VV_COLD __attribute__((cold, noinline))
#define VV_LIKELY(x) __builtin_expect(!!(x), 1)
#define VV_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define VV_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define VV_CACHE_LINE 64
#define VV_ALIGNED(n) __attribute__((aligned(n)))

#define VV_US UINT64_C(1000)
#define VV_MS UINT64_C(1000000)
#define VV_SEC UINT64_C(1000000000)
#define VV_MINUTE (60 * VV_SEC)
#define VV_HOUR (60 * VV_MINUTE)
#define VV_DAY (24 * VV_HOUR)
#define VV_PPM UINT64_C(1000000)
#define VV_KIB UINT64_C(1024)
#define VV_MIB (1024 * VV_KIB)
#define VV_GIB (1024 * VV_MIB)

/* The struct that embeds `member` at `ptr`. */
#define VV_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Runs `fn(&variable)` when the variable leaves its scope: `VV_AUTO(vv_close_fd) int fd = ...`. */
#define VV_AUTO(fn) __attribute__((cleanup(fn)))

VV_NORETURN void vv_panic(const char *file, int line, const char *what);
#define VV_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (VV_UNLIKELY(!(cond))) {                                                                \
            vv_panic(__FILE__, __LINE__, #cond);                                                   \
        }                                                                                          \
    } while (0)

static inline uint64_t vv_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t vv_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
#endif
