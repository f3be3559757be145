/* SPDX-License-Identifier: BSD-2-Clause */
/* The supervisor's socket gets the datagram, by path or abstract name. */
#include "test/control/machine.h"

#include <inttypes.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "control/notify.h"

static int listen_on(const char *name, size_t length)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, length);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(
        bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
        0);
    return fd;
}

static void expect(int fd, const char *text)
{
    char got[128] = "";
    assert_int_equal(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT), strlen(text));
    assert_string_equal(got, text);
}

static void test_path(void **state)
{
    const char *directory = directory_make();
    char path[96];
    (void)state;
    snprintf(path, sizeof(path), "%s/notify", directory);
    int fd = listen_on(path, strlen(path) + 1);
    setenv("NOTIFY_SOCKET", path, 1);
    assert_true(notify_supervisor("READY=1"));
    expect(fd, "READY=1");
    close(fd);
    assert_false(notify_supervisor("STOPPING=1")); /* nobody there any more */
    directory_remove(directory);
}

static void test_abstract_name(void **state)
{
    char name[64];
    (void)state;
    snprintf(name, sizeof(name), "@isthmus-test-%ld", (long)getpid());
    setenv("NOTIFY_SOCKET", name, 1);
    size_t length = strlen(name);
    name[0] = '\0';
    int fd = listen_on(name, length);
    assert_true(notify_supervisor("STOPPING=1"));
    expect(fd, "STOPPING=1");
    close(fd);
}

static void test_reload_carries_the_time(void **state)
{
    char name[64], got[128] = "";
    struct timespec now;
    uint64_t stated;
    (void)state;
    snprintf(name, sizeof(name), "@isthmus-test-%ld", (long)getpid());
    setenv("NOTIFY_SOCKET", name, 1);
    size_t length = strlen(name);
    name[0] = '\0';
    int fd = listen_on(name, length);
    assert_true(notify_reloading());
    assert_true(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT) > 0);
    assert_int_equal(sscanf(got, "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &stated), 1);
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t microseconds = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    assert_true(stated <= microseconds && microseconds - stated < 10000000);
    close(fd);
}

static void test_no_supervisor(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_false(notify_supervisor("READY=1"));
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_false(notify_supervisor("READY=1"));
    setenv("NOTIFY_SOCKET", "/", 1);
    assert_false(notify_supervisor("READY=1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_abstract_name),
        cmocka_unit_test(test_reload_carries_the_time),
        cmocka_unit_test(test_no_supervisor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
