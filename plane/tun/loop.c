/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread of one queue.
 *
 *     read until the queue is empty or the burst is full -> engine_receive -> write what is FORWARDED
 *     deadline of the engine reached                     -> engine_expire
 *     either of both                                     -> write what the engine made itself
 *     the queue was empty                                -> wait in poll for packets, deadline or stop
 *
 * System calls are most of the cost of a small packet, so there are as few as can be: one read and one
 * write a packet. Only a read that finds the queue empty says that it is time to wait, so under load,
 * when bursts are full, nothing else is called.
 *
 * A slot of the packet memory:
 *
 *     | 6 unused | virtio_net_hdr | headroom, 2 x PACKET_HEADROOM | the packet, PACKET_MAXIMUM bytes |
 *                                 ^ struct packet's buffer        ^ its data
 *
 * The kernel wants struct virtio_net_hdr directly in front of the packet, in one piece with it. So a
 * packet is read ten bytes in front of where its data shall begin, and the header, long copied into the
 * packet's offload state, is overwritten as the engine takes headroom; before writing it is put back in front
 * of wherever the data begins by then. The first sixteen bytes of a slot are not part of the buffer that the
 * engine sees, so there is always room for that.
 *
 * When the device is removed from under us, or its queue fails otherwise, reads fail at once and poll returns
 * at once. The thread then only waits to be stopped and tries again now and then.
 */
#define _GNU_SOURCE 1 /* ppoll */

#include "plane/tun/loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    OFFLOAD_SIZE = sizeof(struct offload),
    SLOT_FRONT = 16,
    /* ICMP errors need twice what other packets do, see struct packet */
    SLOT_HEADROOM = 2 * PACKET_HEADROOM,
    SLOT_CAPACITY = SLOT_HEADROOM + PACKET_MAXIMUM,

    /*
     * Slots start at an odd number of cache lines from each other: were they a multiple of the page size
     * apart, the headers of a whole burst would compete for one set of each cache.
     */
    CACHE_LINE = 64,
    SLOT_LINES = ((SLOT_FRONT + SLOT_CAPACITY + CACHE_LINE - 1) / CACHE_LINE) | 1,
    SLOT_SIZE = SLOT_LINES * CACHE_LINE,

    /* One slot more than a burst: for what the engine made itself. */
    LOOP_MEMORY = (BURST_MAXIMUM + 1) * SLOT_SIZE,

    /*
     * A burst ends when it has this many bytes: super-packets gain nothing from longer bursts, but must still
     * be in the core's own cache when they are written.
     */
    BURST_BYTES = 256 * 1024,

    FAILED_RETRY_NANOSECONDS = 100 * 1000 * 1000,
};

/* What a queue had to give. */
enum supply {
    SUPPLY_MORE,   /* the burst ended first */
    SUPPLY_EMPTY,  /* nothing is left */
    SUPPLY_FAILED, /* the device is gone or broken */
};

static const nanoseconds second = 1000 * 1000 * 1000;

/* A counter has one writer, so it needs no atomic addition. */
static void count(_Atomic uint64_t *counter, uint64_t more)
{
    uint64_t sum = atomic_load_explicit(counter, memory_order_relaxed) + more;
    atomic_store_explicit(counter, sum, memory_order_relaxed);
}

static nanoseconds clock_read(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (nanoseconds)now.tv_sec * second + (nanoseconds)now.tv_nsec;
}

/* Lays the empty packet `number` into its slot. */
static void packet_prepare(const struct loop *loop, unsigned number, struct packet *packet)
{
    packet->buffer = loop->memory + (size_t)number * SLOT_SIZE + SLOT_FRONT;
    packet->capacity = SLOT_CAPACITY;
    packet->offset = SLOT_HEADROOM;
    packet->length = 0;
    memset(&packet->offload, 0, sizeof(packet->offload));
}

static enum supply packet_read(const struct loop *loop, struct packet *packet)
{
    uint8_t *header = packet_data(packet) - OFFLOAD_SIZE;
    ssize_t length = read(loop->queue, header, OFFLOAD_SIZE + PACKET_MAXIMUM);

    if (length < OFFLOAD_SIZE)
        return length < 0 && (errno == EAGAIN || errno == EINTR) ? SUPPLY_EMPTY : SUPPLY_FAILED;
    memcpy(&packet->offload, header, OFFLOAD_SIZE);
    /* the kernel also says when it has verified a checksum, which is nothing to the engine */
    packet->offload.flags &= OFFLOAD_PARTIAL;
    packet->length = (uint32_t)(length - OFFLOAD_SIZE);
    return SUPPLY_MORE;
}

/* A packet that the kernel does not take is lost, as on any wire: to try again could hold up all others. */
static void packet_write(struct loop *loop, const struct packet *packet)
{
    uint8_t *header = packet_data(packet) - OFFLOAD_SIZE;
    size_t length = OFFLOAD_SIZE + (size_t)packet->length;

    memcpy(header, &packet->offload, OFFLOAD_SIZE);
    if (write(loop->queue, header, length) == (ssize_t)length)
        count(&loop->counters.writes, 1);
    else
        count(&loop->counters.write_errors, 1);
}

static enum supply burst_read(const struct loop *loop, struct packet packets[], unsigned *n)
{
    enum supply supply = SUPPLY_MORE;
    uint32_t bytes = 0;

    for (*n = 0; *n < BURST_MAXIMUM && bytes < BURST_BYTES; (*n)++) {
        packet_prepare(loop, *n, &packets[*n]);
        supply = packet_read(loop, &packets[*n]);
        if (supply != SUPPLY_MORE)
            break;
        bytes += packets[*n].length;
    }
    return supply;
}

/* The pieces of packet `number` of the burst, in its turn, so that a flow keeps its order. */
static void pieces_write(struct loop *loop, unsigned number)
{
    struct packet piece;

    packet_prepare(loop, BURST_MAXIMUM, &piece);
    while (engine_pull_pieces(loop->worker, number, &piece)) {
        packet_write(loop, &piece);
        packet_prepare(loop, BURST_MAXIMUM, &piece);
    }
}

static void burst_translate(struct loop *loop, struct packet packets[], unsigned n, nanoseconds now)
{
    enum verdict verdicts[BURST_MAXIMUM];

    engine_receive(loop->worker, packets, n, now, verdicts);
    for (unsigned i = 0; i < n; i++)
        if (verdict_texts[verdicts[i]].class == VERDICT_FORWARDED)
            packet_write(loop, &packets[i]);
        else if (verdict_texts[verdicts[i]].class <= VERDICT_HELD)
            pieces_write(loop, i);
    count(&loop->counters.reads, n);
    count(&loop->counters.bursts, 1);
}

static void outputs_write(struct loop *loop)
{
    struct packet packet;

    packet_prepare(loop, BURST_MAXIMUM, &packet);
    while (engine_pull(loop->worker, &packet)) {
        packet_write(loop, &packet);
        packet_prepare(loop, BURST_MAXIMUM, &packet);
    }
}

/* Waits for a packet, the engine's deadline or the end; a failed queue is not listened to. */
static void wait_for_work(const struct loop *loop, enum supply supply, nanoseconds now)
{
    nanoseconds until = engine_next_deadline(loop->worker);
    nanoseconds pause = until > now ? until - now : 0;
    struct pollfd awaited[] = {{.fd = loop->stop, .events = POLLIN}, {.fd = loop->queue, .events = POLLIN}};

    if (supply == SUPPLY_FAILED) {
        awaited[1].fd = -1;
        pause = FAILED_RETRY_NANOSECONDS;
    }
    const struct timespec timeout = {.tv_sec = (time_t)(pause / second), .tv_nsec = (long)(pause % second)};
    ppoll(awaited, 2, &timeout, NULL);
}

static void *loop_run(void *argument)
{
    struct loop *loop = argument;
    struct packet packets[BURST_MAXIMUM];
    unsigned n;

    while (!atomic_load_explicit(loop->stopping, memory_order_relaxed)) {
        enum supply supply = burst_read(loop, packets, &n);
        nanoseconds now = clock_read();
        bool due = engine_next_deadline(loop->worker) <= now;

        if (n > 0)
            burst_translate(loop, packets, n, now);
        if (due)
            engine_expire(loop->worker, now);
        if (n > 0 || due)
            outputs_write(loop);
        if (supply != SUPPLY_MORE)
            wait_for_work(loop, supply, now);
    }
    return NULL;
}

/* Signals are for the thread of the control plane: this one inherits a mask that blocks them all. */
static bool thread_start(struct loop *loop)
{
    sigset_t all, before;
    int failed;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&loop->thread, NULL, loop_run, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0;
}

bool loop_start(struct loop *loop)
{
    void *memory = mmap(NULL, LOOP_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return false;
    loop->memory = memory;
    if (thread_start(loop))
        return true;
    munmap(memory, LOOP_MEMORY);
    return false;
}

void loop_join(struct loop *loop)
{
    pthread_join(loop->thread, NULL);
    munmap(loop->memory, LOOP_MEMORY);
    loop->memory = NULL;
}
