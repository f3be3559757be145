/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the engine's records to the bytes of a pcapng file.
 *
 * The file is made a block at a time into a buffer, from which pieces of any length are taken. How many
 * records were missed is said in a block of statistics whenever that has grown and there is nothing else to
 * say, or it has not been said for a while.
 */
#include "portal/capture.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/daemon.h"
#include "control/dns_capture.h"
#include "control/pcapng.h"
#include "control/version.h"
#include "engine/capture.h"

enum {
    STATUS_BAD_REQUEST = 400,
    STATUS_UNAVAILABLE = 503,
    REPORT_RECORDS = 1000, /* after so many at the latest it is said how many were missed */
    NAME_MAXIMUM = 64,
};

struct stream {
    const struct daemon *daemon;
    struct capture *capture;
    uint64_t wall; /* nanoseconds from the engine's clock to the time of day */
    uint64_t missed;
    unsigned unreported; /* records since it was said how many were missed */
    struct pcapng block;
    size_t taken; /* bytes of the block */
    uint8_t bytes[];
};

/* --- what is asked for ---------------------------------------------------------------------------- */

/* Adds one verdict or reason of the name service, or all of a class; false: there is no such name. */
static bool add_verdict(struct capture_filter *filter, const char *name)
{
    static const char *const classes[] = {
        [VERDICT_FORWARDED] = "forwarded", /* whole or in pieces */
        [VERDICT_DIVIDED] = "forwarded",   [VERDICT_HELD] = "held",
        [VERDICT_REFUSED] = "refused",     [VERDICT_DROPPED] = "dropped",
    };
    uint64_t reasons = dns_capture_reasons(name);
    bool found = reasons != 0;
    filter->reasons |= reasons;
    for (unsigned i = 0; i < VERDICT_COUNT; i++) {
        if (strcmp(name, verdict_texts[i].name) == 0 || strcmp(name, classes[verdict_texts[i].class]) == 0)
            found = filter->verdicts[i] = true;
    }
    return found;
}

static bool read_verdicts(const char *list, struct capture_filter *filter, char *error, size_t size)
{
    if (list == NULL) {
        memset(filter->verdicts, true, sizeof(filter->verdicts));
        filter->probes = true;
        filter->reasons = UINT64_MAX;
        return true;
    }
    while (true) {
        char name[NAME_MAXIMUM];
        size_t length = strcspn(list, ",");
        snprintf(name, sizeof(name), "%.*s", (int)(length < sizeof(name) ? length : sizeof(name)), list);
        if (!add_verdict(filter, name)) {
            for (char *at = name; *at != '\0'; at++) /* it goes into JSON */
                if (*at < ' ' || *at > '~' || *at == '"' || *at == '\\')
                    *at = '?';
            snprintf(
                error, size,
                "there is no verdict %s; isthmus show counters --all lists them, and isthmus show dns --all "
                "what follows on dns-; forwarded, held, refused, dropped and dns mean all of their class",
                name);
            return false;
        }
        if (list[length] == '\0')
            return true;
        list += length + 1;
    }
}

static bool read_address(const char *text, struct capture_filter *filter, char *error, size_t size)
{
    if (text == NULL)
        return true;
    if (inet_pton(AF_INET6, text, filter->address6.bytes) == 1)
        filter->family = 6;
    else if (inet_pton(AF_INET, text, &filter->address4) == 1)
        filter->family = 4;
    else
        snprintf(error, size, "address must be an IPv4 or IPv6 address");
    return filter->family != 0;
}

static bool read_snap(const char *text, struct capture_filter *filter, char *error, size_t size)
{
    char *end;
    filter->snap = CAPTURE_SNAP_DEFAULT;
    if (text == NULL)
        return true;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value < 1 || value > PACKET_MAXIMUM) {
        snprintf(error, size, "snaplen must be a number from 1 to %d", PACKET_MAXIMUM);
        return false;
    }
    filter->snap = (uint32_t)value;
    return true;
}

static bool read_filter(const struct http_reply *reply, struct capture_filter *filter, char *error,
                        size_t size)
{
    *filter = (struct capture_filter){0};
    return read_verdicts(http_parameter(reply, "verdict"), filter, error, size) &&
           read_address(http_parameter(reply, "address"), filter, error, size) &&
           read_snap(http_parameter(reply, "snaplen"), filter, error, size);
}

/* --- what is answered ----------------------------------------------------------------------------- */

static void set_wall(struct stream *stream)
{
    struct timespec day, engine;
    clock_gettime(CLOCK_REALTIME, &day);
    clock_gettime(CLOCK_MONOTONIC, &engine);
    stream->wall = (uint64_t)((day.tv_sec - engine.tv_sec) * 1000000000 + day.tv_nsec - engine.tv_nsec);
}

static void comment(const struct captured *record, char *text, size_t size)
{
    if (record->kind == CAPTURE_MESSAGE) {
        dns_capture_comment(record, text, size);
        return;
    }
    if (record->verdict >= VERDICT_COUNT) {
        snprintf(text, size,
                 "Made by isthmus: a probe that asks whether an idle connection still lives. "
                 "(RFC 6146 3.5.2.2)");
        return;
    }
    const struct verdict_text *verdict = &verdict_texts[record->verdict];
    if (record->kind != CAPTURE_RECEIVED && verdict->class == VERDICT_FORWARDED) {
        snprintf(text, size, "Result of %s.", verdict->name);
        return;
    }
    bool clause = verdict->clause[0] != '\0';
    snprintf(text, size, "%s%s: %s%s%s%s", record->kind == CAPTURE_MADE ? "Made by isthmus on " : "",
             verdict->name, verdict->sentence, clause ? " (" : "", verdict->clause, clause ? ")" : "");
}

static void put_record(struct stream *stream, const struct captured *record)
{
    char text[PCAPNG_TEXT_MAXIMUM];
    comment(record, text, sizeof(text));
    const struct pcapng_packet packet = {.time = record->time + stream->wall,
                                         .length = record->length,
                                         .kept = record->kept,
                                         .bytes = (const uint8_t *)(record + 1),
                                         .outbound =
                                             record->kind == CAPTURE_RESULT || record->kind == CAPTURE_MADE,
                                         .queue = record->worker,
                                         .number = (uint64_t)record->worker << 48 | record->number,
                                         .comment = text};
    pcapng_packet(&stream->block, &packet);
}

/* The next block into the empty buffer; false: there is nothing to say. */
static bool next_block(struct stream *stream)
{
    const struct captured *record = capture_next(stream->capture);
    uint64_t missed = capture_missed(stream->capture);
    stream->block.length = stream->taken = 0;
    if (missed != stream->missed && (record == NULL || stream->unreported >= REPORT_RECORDS)) {
        pcapng_statistics(&stream->block, uv_hrtime() + stream->wall, missed);
        stream->missed = missed;
        stream->unreported = 0;
        return true;
    }
    if (record == NULL)
        return false;
    put_record(stream, record);
    capture_release(stream->capture);
    stream->unreported++;
    return true;
}

static size_t next_bytes(void *context, char *text, size_t size)
{
    struct stream *stream = context;
    size_t at = 0;
    set_wall(stream);
    bpf_plane_capture(stream->daemon);
    while (at < size && (stream->taken < stream->block.length || next_block(stream))) {
        size_t left = stream->block.length - stream->taken;
        size_t length = left < size - at ? left : size - at;
        memcpy(text + at, stream->bytes + stream->taken, length);
        stream->taken += length;
        at += length;
    }
    return at > 0 ? at : HTTP_LATER;
}

static void end_stream(void *context)
{
    struct stream *stream = context;
    capture_stop(stream->daemon->engine, stream->capture);
    bpf_plane_capture(stream->daemon);
    free(stream);
}

static struct stream *start_stream(const struct daemon *daemon, const struct capture_filter *filter,
                                   char *error, size_t size)
{
    size_t room = filter->snap + 2 * PCAPNG_TEXT_MAXIMUM + PCAPNG_OVERHEAD_MAXIMUM;
    struct stream *stream = calloc(1, sizeof(*stream) + room);
    if (stream == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }
    stream->capture = capture_start(daemon->engine, filter, error, size);
    if (stream->capture == NULL) {
        free(stream);
        return NULL;
    }
    stream->daemon = daemon;
    bpf_plane_capture(daemon);
    stream->block = (struct pcapng){.bytes = stream->bytes, .size = room};
    const struct pcapng_interface interface = {.name = daemon->config->plane.name,
                                               .description = "what isthmus receives (in) and sends (out)",
                                               .snap = filter->snap};
    pcapng_section(&stream->block, "isthmus " ISTHMUS_VERSION);
    pcapng_interface(&stream->block, &interface);
    return stream;
}

void answer_capture(void *context, struct http_reply *reply)
{
    struct capture_filter filter;
    char error[256], text[sizeof(error) + 32];
    struct stream *stream = NULL;
    const struct daemon *daemon = context;
    reply->status = STATUS_BAD_REQUEST;
    if (read_filter(reply, &filter, error, sizeof(error))) {
        filter.guests = daemon->dns_server != NULL ? daemon->workers : 0;
        reply->status = STATUS_UNAVAILABLE;
        stream = start_stream(daemon, &filter, error, sizeof(error));
    }
    if (stream == NULL) {
        snprintf(text, sizeof(text), "{\"error\": \"%s\"}\n", error);
        reply->text = strdup(text);
        return;
    }
    reply->status = 200;
    reply->stream = next_bytes;
    reply->stream_context = stream;
    reply->stream_free = end_stream;
    reply->stream_type = "application/octet-stream";
}
