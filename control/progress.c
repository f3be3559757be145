/* SPDX-License-Identifier: BSD-2-Clause */
#include "control/progress.h"

#include <inttypes.h>
#include <uv.h>

#include "control/log.h"

#define PERIOD UINT64_C(2000000000) /* nanoseconds between two lines, and before the first */

struct progress progress_begin(const char *what)
{
    return (struct progress){.what = what, .spoke = uv_hrtime()};
}

void progress_say(struct progress *progress, uint64_t done, uint64_t all)
{
    uint64_t now = uv_hrtime();
    if (now - progress->spoke < PERIOD || all == 0)
        return;
    progress->spoke = now;
    log_info("%s: %" PRIu64 " %%", progress->what, (uint64_t)((double)done * 100 / (double)all));
}
