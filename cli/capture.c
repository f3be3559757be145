/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * isthmus capture: what the daemon records, into a file or a pipe.
 *
 * The daemon sends a pcapng file. It is written on by whole blocks, so that it can be ended anywhere
 * and is still a file, and so that packets can be counted. The file is not touched before the first block,
 * that is, not if the daemon refuses.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/client.h"
#include "control/pcapng.h"
#include "engine/packet.h"

enum {
    BLOCK_MAXIMUM = PACKET_MAXIMUM + 4096, /* bytes; the daemon's are shorter */
};

struct recording {
    const char *path; /* NULL: standard output */
    FILE *file;       /* NULL: not open yet */
    uint64_t packets, missed, limit;
    bool started, full, failed;
    size_t length; /* of the block so far */
    uint8_t block[BLOCK_MAXIMUM];
};

static volatile sig_atomic_t connection = -1, stopped;

/* What the daemon has sent by then is still written. */
static void hang_up(void)
{
    if (connection >= 0)
        shutdown(connection, SHUT_RDWR);
}

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
    hang_up();
}

static uint32_t number_at(const struct recording *recording, size_t position)
{
    uint32_t number;
    memcpy(&number, recording->block + position, sizeof(number));
    return number;
}

static void fail(struct recording *recording, const char *what)
{
    fprintf(stderr, "isthmus: error: %s%s%s\n", recording->path != NULL ? recording->path : "standard output",
            what, strerror(errno));
    recording->failed = true;
}

static bool open_file(struct recording *recording)
{
    recording->file = recording->path == NULL ? stdout : fopen(recording->path, "we");
    if (recording->file == NULL)
        fail(recording, " cannot be written: ");
    return recording->file != NULL;
}

static bool write_block(struct recording *recording)
{
    if (fwrite(recording->block, recording->length, 1, recording->file) == 1)
        return true;
    fail(recording, " cannot be written any more: ");
    return false;
}

/* The block is whole. False: that was the last one. */
static bool take_block(struct recording *recording)
{
    uint32_t type = number_at(recording, 0);
    if (recording->file == NULL && !open_file(recording))
        return false;
    if (!write_block(recording))
        return false;
    if (type == PCAPNG_INTERFACE && !recording->started) {
        recording->started = true;
        fprintf(stderr, "isthmus: capturing; Ctrl-C ends it\n");
    }
    if (type == PCAPNG_STATISTICS && recording->length >= PCAPNG_MISSED_POSITION + sizeof(uint64_t))
        memcpy(&recording->missed, recording->block + PCAPNG_MISSED_POSITION, sizeof(uint64_t));
    if (type == PCAPNG_PACKET)
        recording->full = ++recording->packets == recording->limit;
    return !recording->full;
}

/* How many bytes the block needs to be whole, as far as it is known yet. */
static size_t block_length(const struct recording *recording)
{
    return recording->length < 2 * sizeof(uint32_t) ? 2 * sizeof(uint32_t) : number_at(recording, 4);
}

static bool add(struct recording *recording, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        size_t need = block_length(recording);
        if (need > BLOCK_MAXIMUM || (recording->length >= 8 && need < PCAPNG_BLOCK_MINIMUM)) {
            fprintf(stderr, "isthmus: error: what the daemon sends is no capture\n");
            recording->failed = true;
            return false;
        }
        size_t part = need - recording->length < length ? need - recording->length : length;
        memcpy(recording->block + recording->length, bytes, part);
        recording->length += part;
        bytes += part;
        length -= part;
        if (recording->length < 8 || recording->length < block_length(recording))
            continue;
        if (!take_block(recording))
            return false;
        recording->length = 0;
    }
    return true;
}

/* A reader at the other end of a pipe sees packets as they come. */
static bool on_bytes(void *context, const void *bytes, size_t length)
{
    struct recording *recording = context;
    bool more = add(recording, bytes, length);
    if (!recording->failed && recording->file != NULL && fflush(recording->file) != 0)
        fail(recording, " cannot be written any more: ");
    if (stopped)
        hang_up(); /* again: the signal may have come before there was a connection */
    return more && !recording->failed;
}

static bool read_number(const char *text, uint64_t maximum, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && *number >= 1 && *number <= maximum;
}

/* EXIT_SUCCESS, or the misuse has been said. */
static int check_options(const struct command *command, const struct options *options, uint64_t *limit)
{
    uint8_t address[16];
    uint64_t number;
    *limit = 0;
    if (options->count != NULL && !read_number(options->count, UINT64_MAX, limit))
        return command_misuse(command, "--count must be a number from 1, not %s", options->count);
    if (options->snaplen != NULL && !read_number(options->snaplen, PACKET_MAXIMUM, &number))
        return command_misuse(command, "--snaplen must be a number of bytes from 1 to %d, not %s",
                              PACKET_MAXIMUM, options->snaplen);
    if (options->address != NULL && inet_pton(AF_INET, options->address, address) != 1 &&
        inet_pton(AF_INET6, options->address, address) != 1)
        return command_misuse(command, "--address must be an IPv4 or IPv6 address, not %s", options->address);
    if (options->config != NULL && read_number(options->config, UINT64_MAX, &number))
        return command_misuse(command, "-c names a configuration; --count %s ends after so many packets",
                              options->config);
    return EXIT_SUCCESS;
}

static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void say_summary(const struct recording *recording)
{
    fprintf(stderr, "%" PRIu64 " packet%s captured\n%" PRIu64 " packet%s missed%s\n", recording->packets,
            recording->packets == 1 ? "" : "s", recording->missed, recording->missed == 1 ? "" : "s",
            recording->missed == 0 ? "" : ": they came faster than they were written");
}

static bool record(const struct client *client, const struct options *options, struct recording *recording)
{
    const struct client_parameter parameters[] = {{"verdict", options->verdict},
                                                  {"address", options->address},
                                                  {"snaplen", options->snaplen},
                                                  {NULL, NULL}};
    const struct client_stream stream = {.path = "/v1/capture",
                                         .parameters = parameters,
                                         .bytes = on_bytes,
                                         .context = recording,
                                         .socket = &connection,
                                         .stopped = &stopped};
    watch_signals();
    bool done = client_follow(client, &stream);
    connection = -1;
    if (recording->started)
        say_summary(recording);
    if (recording->file != NULL && fclose(recording->file) != 0 && !recording->failed)
        fail(recording, " cannot be written: ");
    /* Only this end, a signal or a failure ends a capture: if it was none of them, it was the daemon. */
    if (done && !recording->full && !stopped && !recording->failed)
        fprintf(stderr, "isthmus: error: the daemon has ended the capture; has it stopped?\n");
    return done && (recording->full || stopped) && !recording->failed;
}

int command_capture(const struct command *command, int argc, char **argv)
{
    struct options_reader reader = {.command = command,
                                    .takes = OPTION_CONFIG | OPTION_SOCKET | OPTION_VERDICT | OPTION_ADDRESS |
                                             OPTION_SNAPLEN | OPTION_COUNT | OPTION_WRITE};
    struct options options;
    struct client client;
    uint64_t limit;
    int status;
    if (!options_read(&reader, argc, argv, &options, &status))
        return status;
    status = check_options(command, &options, &limit);
    if (status != EXIT_SUCCESS)
        return status;
    bool to_output = options.write == NULL || strcmp(options.write, "-") == 0;
    if (to_output && isatty(STDOUT_FILENO))
        return command_misuse(command,
                              "a capture is not for a terminal: name a file with -w FILE, or pipe it "
                              "into tshark -r -");
    if (!client_find(&client, &options))
        return EXIT_FAILURE;
    struct recording *recording = calloc(1, sizeof(*recording));
    if (recording == NULL) {
        fprintf(stderr, "isthmus: error: out of memory\n");
        return EXIT_FAILURE;
    }
    recording->path = to_output ? NULL : options.write;
    recording->limit = limit;
    bool done = record(&client, &options, recording);
    free(recording);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
