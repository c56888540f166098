/* src/app/seccomp.c - a short list of calls to forbid instead of a long one to allow: libraries learn
 * new calls with every release, and a gateway that dies of a C library update protects nobody. What is
 * forbidden is what an intruder needs and a proxy does not: other processes, mounts, kernels, new
 * programs. A forbidden call fails with EPERM. */
#include "app/worker_int.h"

#include <errno.h>
#include <seccomp.h>

static const char *const forbidden[] = {
    "execve",
    "execveat",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "unshare",
    "setns",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "add_key",
    "request_key",
    "keyctl",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "quotactl",
    "nfsservctl",
    "personality",
    "lookup_dcookie",
    "iopl",
    "ioperm",
    "vmsplice",
    "kcmp",
    "open_by_handle_at",
    "mknod",
    "mknodat",
};

enum vv_err vv_seccomp_install(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    enum vv_err result = VV_OK;
    if (ctx == NULL) {
        return VV_EUNSUPPORTED;
    }
    for (size_t i = 0; i < VV_COUNT(forbidden) && result == VV_OK; i++) {
        const int call = seccomp_syscall_resolve_name(forbidden[i]);
        if (call == __NR_SCMP_ERROR) {
            continue; /* not on this architecture */
        }
        if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), call, 0) != 0) {
            result = VV_EUNSUPPORTED;
        }
    }
    if (result == VV_OK && seccomp_load(ctx) != 0) {
        result = VV_EUNSUPPORTED;
    }
    seccomp_release(ctx);
    return result;
}
