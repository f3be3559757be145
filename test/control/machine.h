/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A network namespace and a temporary directory for tests that change a machine. Where a namespace
 * cannot be made the tests skip, and say so.
 */
#ifndef TEST_CONTROL_MACHINE_H
#define TEST_CONTROL_MACHINE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

__attribute__((unused)) static bool machine_available;

/* A group set-up: from here on the process is alone with its network. */
__attribute__((unused)) static int machine_enter(void **state)
{
    (void)state;
    machine_available = access("/dev/net/tun", R_OK | W_OK) == 0 && unshare(CLONE_NEWNET) == 0;
    return 0;
}

__attribute__((unused)) static void machine_need(void)
{
    if (machine_available)
        return;
    print_message("# skipped: needs CAP_NET_ADMIN, CAP_SYS_ADMIN and /dev/net/tun\n");
    skip();
}

/* A device that lives as long as the descriptor. */
__attribute__((unused)) static int machine_device(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
    return fd;
}

/* A new directory; it is removed by directory_remove. */
__attribute__((unused)) static char *directory_make(void)
{
    static char path[64];
    /* In memory, as /run is. */
    snprintf(path, sizeof(path), "%s/isthmus-test-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

__attribute__((unused)) static void directory_remove(const char *path)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

#endif /* TEST_CONTROL_MACHINE_H */
