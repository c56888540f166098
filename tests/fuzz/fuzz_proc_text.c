/* tests/fuzz/fuzz_proc_text.c - any text of /proc or of a control group is read within its bounds,
 * fills names that end, and says the same twice. */
#include "os/system.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEVICES 4
struct said {
    struct vv_system s;
    uint64_t number[3];
};

/* Every parser gets the text: what is wrong for one is a corpus for the other. */
static void read_all(struct vv_str text, struct said *ret)
{
    struct vv_system *s = &ret->s;
    struct vv_str rest = text;
    memset(ret, 0, sizeof(*ret));
    vv_system_clear(s);
    vv_system_parse_stat(text, 100, &s->cpu);
    vv_system_parse_loadavg(text, &s->cpu);
    vv_system_parse_meminfo(text, &s->memory);
    vv_system_parse_vmstat(text, 4096, &s->vm);
    s->disks = vv_system_parse_diskstats(text, s->disk, DEVICES);
    s->nics = vv_system_parse_net_dev(text, s->nic, DEVICES);
    vv_system_parse_snmp(text, &s->tcp);
    vv_system_parse_pressure(text, &s->io_pressure);
    vv_system_parse_self_stat(text, &s->process);
    vv_system_parse_self_status(text, &s->process);
    vv_system_parse_self_io(text, &s->process);
    vv_system_parse_cpu_stat(text, &s->cgroup);
    vv_system_parse_memory_events(text, &s->cgroup);
    ret->number[0] = vv_system_parse_cpu_max(text);
    const struct vv_str first = vv_str_cut(&rest, '\n');
    ret->number[1] = vv_system_parse_cpu_quota(first, rest);
    ret->number[2] = vv_system_parse_number(text);
    for (int i = 0; i < 2; i++) {
        const struct vv_str path =
            vv_system_cgroup_path(text, i == 0 ? VV_STR("") : VV_STR("memory"));
        VV_ASSERT(path.n == 0 ||
                  (path.p[0] == '/' && path.p >= text.p && path.p + path.n <= text.p + text.n));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct said one, two;
    if (size > 16384) {
        return 0;
    }
    char *copy = malloc(size > 0 ? size : 1); /* exact, so that a sanitizer sees a read too far */
    VV_ASSERT(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    read_all((struct vv_str){copy, size}, &one);
    read_all((struct vv_str){copy, size}, &two);
    free(copy);
    VV_ASSERT(memcmp(&one, &two, sizeof(one)) == 0);
    VV_ASSERT(one.s.disks <= DEVICES && one.s.nics <= DEVICES);
    for (size_t i = 0; i < one.s.disks; i++) {
        VV_ASSERT(one.s.disk[i].name[0] != '\0' &&
                  memchr(one.s.disk[i].name, '\0', VV_SYSTEM_NAME) != NULL);
    }
    for (size_t i = 0; i < one.s.nics; i++) {
        VV_ASSERT(one.s.nic[i].name[0] != '\0' &&
                  memchr(one.s.nic[i].name, '\0', VV_SYSTEM_NAME) != NULL);
    }
    return 0;
}
