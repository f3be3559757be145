/* SPDX-License-Identifier: BSD-2-Clause */
/* The keeper opens the configuration, undoes at the end, and does so also when the daemon just dies. */
#include "test/control/machine.h"

#include <dirent.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "control/changes.h"
#include "control/keeper.h"
#include "control/setup_change.h"
#include "plane/bpf/ingress.h"

static const char *directory;
static char base[96], config[96], made[96], socket_path[96];
static struct state state;

static int set_up(void **context)
{
    char error[256];
    (void)context;
    directory = directory_make();
    snprintf(base, sizeof(base), "%s/run", directory);
    snprintf(config, sizeof(config), "%s/config", directory);
    snprintf(made, sizeof(made), "%s/made", directory);
    snprintf(socket_path, sizeof(socket_path), "%s/socket", directory);
    return state_open(&state, base, "test0", error, sizeof(error)) ? 0 : -1;
}

static int tear_down(void **context)
{
    (void)context;
    state_close(&state);
    directory_remove(directory);
    return 0;
}

static void start(struct keeper *keeper)
{
    static const char *const files[] = {"", config};
    struct keeper_options options = {.state = &state,
                                     .config = config,
                                     .files = files,
                                     .file_count = 2,
                                     .socket = socket_path,
                                     .device = "test0"};
    assert_true(keeper_start(keeper, &options));
}

/* A change that is easy to look at: a directory. */
static void change_something(void)
{
    struct change change = {.kind = CHANGE_DIRECTORY};
    struct changes *changes = changes_create(state.directory);
    assert_non_null(changes);
    snprintf(change.subject, sizeof(change.subject), "%s", made);
    assert_true(changes_append(changes, &change));
    assert_int_equal(mkdir(made, 0755), 0);
    changes_close(changes);
}

static void test_opens_the_configuration(void **context)
{
    struct keeper keeper;
    char text[16] = "";
    (void)context;
    start(&keeper);
    assert_int_equal(keeper_open_config(&keeper), -1);
    assert_int_equal(errno, ENOENT);
    int fd = open(config, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "plane:", 6), 6);
    close(fd);
    fd = keeper_open_config(&keeper);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, text, sizeof(text)), 6);
    assert_string_equal(text, "plane:");
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    assert_true(keeper_finish(&keeper));
}

/* What the daemon means is compared with what the file says; a file that says something else changes nothing.
 */
static void test_routes_are_those_of_the_file(void **context)
{
    static const char text[] = "plane: {name: test0, routes: false}\n"
                               "nat64: [{prefix: \"64:ff9b::/96\", pool: [{address: 192.0.2.1}]}]\n";
    struct keeper keeper;
    struct config_error problem;
    char error[512] = "";
    (void)context;
    start(&keeper);
    assert_false(keeper_prepare(&keeper, 1, error, sizeof(error)));
    assert_non_null(strstr(error, "config"));
    int fd = open(config, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    struct config *parsed = config_load(config, &problem);
    assert_non_null(parsed);
    uint64_t fingerprint = setup_fingerprint(parsed);
    parsed->plane.routes = true;
    assert_true(setup_fingerprint(parsed) != fingerprint);
    config_free(parsed);
    assert_false(keeper_prepare(&keeper, fingerprint + 1, error, sizeof(error)));
    assert_non_null(strstr(error, "was changed while it was read"));
    assert_false(keeper_prepare(&keeper, fingerprint, error, sizeof(error)));
    assert_non_null(strstr(error, "over test0")); /* there is no such device */
    assert_true(keeper_settle(&keeper, true, error, sizeof(error)));
    change_something();
    assert_true(keeper_finish(&keeper));
    assert_int_not_equal(access(made, F_OK), 0);
}

/* By number, of those that were named; a number beyond them opens nothing. */
static void test_opens_further_files(void **context)
{
    struct keeper keeper;
    char text[16] = "";
    (void)context;
    start(&keeper);
    int fd = open(config, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "plane:", 6), 6);
    close(fd);
    fd = keeper_open_file(&keeper, 1);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, text, sizeof(text)), 6);
    close(fd);
    for (unsigned number = 0; number < 300; number += 2) {
        assert_int_equal(keeper_open_file(&keeper, number), -1);
        assert_int_equal(errno, ENOENT);
    }
    assert_true(keeper_finish(&keeper));
}

/* How many files a process has open. */
static unsigned count_files(pid_t process)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)process);
    DIR *files = opendir(path);
    assert_non_null(files);
    while (readdir(files) != NULL)
        count++;
    closedir(files);
    return count;
}

/* As many as the kernel lets through, from a daemon that somebody has taken over. */
static void test_takes_no_more_files_than_it_asks_for(void **context)
{
    char message = 'x';
    (void)context;
    for (unsigned count = 1; count <= 16; count++) {
        struct keeper keeper;
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(16 * sizeof(int))];
        } control = {.bytes = ""};
        struct iovec part = {.iov_base = &message, .iov_len = 1};
        struct msghdr with = {.msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = CMSG_SPACE(count * sizeof(int))};
        start(&keeper);
        assert_int_equal(keeper_open_config(&keeper), -1); /* it has begun */
        unsigned before = count_files(keeper.process);
        control.header = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int))};
        for (unsigned i = 0; i < count; i++)
            memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &keeper.socket, sizeof(int));
        assert_int_equal(sendmsg(keeper.socket, &with, MSG_NOSIGNAL), 1);
        assert_int_equal(keeper_open_config(&keeper), -1);
        assert_int_equal(errno, ENOENT);
        unsigned kept = count == INGRESS_UNKNOWN ? count : 0; /* those may be its programs */
        assert_int_equal(count_files(keeper.process), before + kept);
        if (kept != 0)
            kill(keeper.process, SIGKILL); /* its own end would keep it waiting */
        assert_int_equal(keeper_finish(&keeper), kept == 0);
    }
}

static void test_undoes_at_the_end(void **context)
{
    struct keeper keeper;
    (void)context;
    start(&keeper);
    change_something();
    assert_true(keeper_finish(&keeper));
    assert_int_equal(access(made, F_OK), -1);
    assert_int_equal(access(base, F_OK), -1);
}

static void test_undoes_when_the_daemon_dies(void **context)
{
    struct keeper keeper;
    (void)context;
    pid_t daemon = fork();
    if (daemon == 0) {
        start(&keeper);
        change_something();
        _exit(0);
    }
    assert_int_equal(waitpid(daemon, NULL, 0), daemon);
    for (int i = 0; i < 300 && access(base, F_OK) == 0; i++)
        usleep(10000);
    assert_int_equal(access(made, F_OK), -1);
    assert_int_equal(access(base, F_OK), -1);
}

static void test_leaves_when_told(void **context)
{
    struct keeper keeper;
    (void)context;
    start(&keeper);
    change_something();
    keeper_leave(&keeper);
    assert_true(keeper_finish(&keeper));
    assert_int_equal(access(made, F_OK), 0);
    assert_int_equal(faccessat(state.directory, "changes", F_OK, 0), 0);
}

static void test_end_is_noticed(void **context)
{
    struct keeper keeper;
    (void)context;
    start(&keeper);
    assert_false(keeper_gone(&keeper));
    assert_int_equal(kill(keeper.process, SIGKILL), 0);
    bool gone = false;
    for (int i = 0; i < 300 && !gone; i++) {
        usleep(10000);
        gone = keeper_gone(&keeper);
    }
    assert_true(gone);
    assert_int_equal(keeper_open_config(&keeper), -1);
    assert_int_equal(errno, EPIPE);
    assert_false(keeper_finish(&keeper));
}

/* A keeper that does not answer costs a moment; an answer that comes later is not taken for the next one's.
 */
static void test_stopped_keeper_is_not_waited_for(void **context)
{
    struct keeper keeper;
    char text[16] = "";
    (void)context;
    int fd = open(config, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    start(&keeper);
    assert_int_equal(kill(keeper.process, SIGSTOP), 0);
    alarm(20);
    assert_int_equal(keeper_open_config(&keeper), -1);
    alarm(0);
    assert_int_equal(errno, ETIMEDOUT);
    assert_false(keeper_gone(&keeper));
    assert_int_equal(kill(keeper.process, SIGCONT), 0);
    usleep(100000);
    assert_int_equal(unlink(config), 0);
    close(fd);
    fd = open(config, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "new", 3), 3);
    close(fd);
    fd = keeper_open_config(&keeper);
    assert_int_equal(read(fd, text, sizeof(text)), 3);
    close(fd);
    assert_true(keeper_finish(&keeper));
}

/* The question was given up, its answer comes while another is waited for. */
static void test_late_answer_is_not_the_next_ones(void **context)
{
    struct keeper keeper;
    (void)context;
    int fd = open(config, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    start(&keeper);
    assert_int_equal(kill(keeper.process, SIGSTOP), 0);
    assert_int_equal(keeper_open_config(&keeper), -1);
    assert_int_equal(errno, ETIMEDOUT);
    pid_t waker = fork();
    if (waker == 0) {
        usleep(200000);
        _exit(kill(keeper.process, SIGCONT));
    }
    assert_int_equal(keeper_open_file(&keeper, 5), -1); /* there is no such file */
    assert_int_equal(errno, ENOENT);
    assert_int_equal(waitpid(waker, NULL, 0), waker);
    assert_true(keeper_finish(&keeper));
}

/* The device up, a list of changes, a configuration that wants a route, and a keeper. */
static int start_with_routes(struct keeper *keeper, uint64_t *fingerprint)
{
    static const char text[] = "plane: {name: test0}\n"
                               "nat64: [{prefix: \"2001:db8:64::/96\", pool: [{address: 192.0.2.1}]}]\n";
    struct config_error problem;
    machine_need();
    int device = machine_device("test0");
    assert_int_equal(system("ip link set test0 up"), 0);
    int fd = open(config, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    struct config *parsed = config_load(config, &problem);
    assert_non_null(parsed);
    *fingerprint = setup_fingerprint(parsed);
    config_free(parsed);
    start(keeper);
    struct changes *changes = changes_create(state.directory);
    assert_non_null(changes);
    changes_close(changes);
    return device;
}

static bool has_route(void)
{
    return system("ip route show | grep -q '192.0.2.1 dev test0'") == 0;
}

/* Routes that come too late for their reload do not stay. */
static void test_late_routes_are_taken_back(void **context)
{
    struct keeper keeper;
    uint64_t fingerprint;
    char error[512] = "";
    (void)context;
    int device = start_with_routes(&keeper, &fingerprint);
    assert_true(keeper_prepare(&keeper, fingerprint, error, sizeof(error)));
    assert_true(has_route());
    assert_true(keeper_settle(&keeper, false, error, sizeof(error)));
    assert_false(has_route());
    assert_int_equal(kill(keeper.process, SIGSTOP), 0);
    keeper.patience = 100;
    assert_false(keeper_prepare(&keeper, fingerprint, error, sizeof(error)));
    assert_non_null(strstr(error, "does not answer"));
    assert_int_equal(kill(keeper.process, SIGCONT), 0);
    close(keeper_open_config(&keeper)); /* answered after the others */
    assert_false(has_route());
    assert_true(keeper_finish(&keeper));
    close(device);
}

/* A route that somebody else has made is used, and stays. */
static void test_routes_of_others_are_left_alone(void **context)
{
    struct keeper keeper;
    uint64_t fingerprint;
    char error[512] = "";
    (void)context;
    int device = start_with_routes(&keeper, &fingerprint);
    assert_int_equal(system("ip route add 192.0.2.1 dev test0"), 0);
    assert_true(keeper_prepare(&keeper, fingerprint, error, sizeof(error)));
    assert_true(keeper_settle(&keeper, false, error, sizeof(error)));
    assert_true(has_route());
    assert_true(keeper_prepare(&keeper, fingerprint, error, sizeof(error)));
    assert_true(keeper_settle(&keeper, true, error, sizeof(error)));
    assert_true(has_route());
    assert_int_equal(system("ip -6 route show | grep -q '2001:db8:64::/96 dev test0'"), 0);
    assert_true(keeper_finish(&keeper));
    assert_true(has_route());
    assert_int_not_equal(system("ip -6 route show | grep -q '2001:db8:64::/96 dev test0'"), 0);
    close(device);
}

static void test_proxy_entries_are_made_again(void **context)
{
    struct keeper keeper;
    struct change change = {.kind = CHANGE_PROXY, .subject = "192.0.2.9", .before = "test0"};
    (void)context;
    machine_need();
    int device = machine_device("test0");
    start(&keeper);
    struct changes *changes = changes_create(state.directory);
    assert_true(changes_append(changes, &change));
    changes_close(changes);
    assert_int_equal(system("ip link set test0 up"), 0);
    keeper_answer_again(&keeper);
    keeper_answer_again(&keeper);       /* once is enough */
    close(keeper_open_config(&keeper)); /* answered after the others */
    assert_int_equal(system("ip neigh show proxy | grep -q '192.0.2.9 dev test0 *proxy'"), 0);
    assert_true(keeper_finish(&keeper));
    assert_int_equal(system("test -z \"$(ip neigh show proxy)\""), 0);
    close(device);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_opens_the_configuration),
        FILE_TEST(test_opens_further_files),
        FILE_TEST(test_takes_no_more_files_than_it_asks_for),
        FILE_TEST(test_routes_are_those_of_the_file),
        FILE_TEST(test_undoes_at_the_end),
        FILE_TEST(test_undoes_when_the_daemon_dies),
        FILE_TEST(test_leaves_when_told),
        FILE_TEST(test_end_is_noticed),
        FILE_TEST(test_stopped_keeper_is_not_waited_for),
        FILE_TEST(test_late_answer_is_not_the_next_ones),
        FILE_TEST(test_late_routes_are_taken_back),
        FILE_TEST(test_routes_of_others_are_left_alone),
        FILE_TEST(test_proxy_entries_are_made_again),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
