/* tools/metrics-page.c - prints docs/reference/metrics.md; ./dev compiles it against the build. */
#include "observe/metrics.h"

#include <stdio.h>

int main(void)
{
    struct vv_sb out = VV_SB_INIT;
    vv_metrics_reference(&out);
    const bool ok = !out.failed && fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0;
    vv_sb_fini(&out);
    return ok ? 0 : 1;
}
