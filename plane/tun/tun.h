/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TUN plane: packets between a TUN device and the engine.
 *
 * One multi-queue device, one queue and one thread a worker. A thread waits in poll for its queue, for
 * the engine's next deadline or to be stopped; it then reads until the queue is empty or a burst is full,
 * hands the burst to engine_receive, and writes what is to be forwarded and what the engine made. It
 * is the only place of the plane that reads the clock, once per wake-up or burst.
 *
 * Packets carry struct virtio_net_hdr in front, so super-packets of up to 64 KB cross whole in either
 * direction, with partial checksums. The kernel spreads flows over queues by a hash of addresses and ports
 * that this plane gives it as a BPF steering program, so that all packets of a flow meet one
 * queue for good; the kernel's own choice follows who wrote last and would reorder. Where that
 * program may not be loaded, one queue is used.
 */
#ifndef PLANE_TUN_TUN_H
#define PLANE_TUN_TUN_H

#include <net/if.h>

#include "engine/engine.h"

struct tun;

struct tun_options {
    const char *name; /* of the device, shorter than IFNAMSIZ */
    uint32_t workers; /* queues wanted */
    bool left;        /* the device is there, left by an earlier run: take it over */
};

/*
 * Creates the device, with all queues open and MTU 65535, down. A device of that name that exists already is
 * somebody else's: it is refused, whatever it is, and stays untouched. Only one that an earlier run has left
 * is taken over as it is, up if it was. Needs CAP_NET_ADMIN and /dev/net/tun.
 * On failure returns NULL, with a device of our own making gone again, and writes into `error` one
 * sentence that says what to do. `notes` gets sentences, or "", about fall-backs that were taken (one
 * queue only, no USO).
 */
struct tun *tun_open(const struct tun_options *options, char *error, size_t error_size, char *notes,
                     size_t notes_size);

/*
 * Can a device of that name be taken over, as made by this plane and used by nobody? Otherwise false with the
 * reason.
 */
bool tun_can_be_taken_over(const char *name, char *reason, size_t size);

/*
 * From now on the device outlives whoever holds its queues (run --stay); to be recorded before, since nothing
 * but a removal ends it. Returns 0 or an errno.
 */
int tun_persist(const struct tun *tun);

unsigned tun_index(const struct tun *tun);  /* interface index */
uint32_t tun_queues(const struct tun *tun); /* how many threads will run */
bool tun_uso(const struct tun *tun);        /* UDP super-packets cross whole */

/*
 * Starts one thread a queue; worker n of the engine serves queue n. Signals are blocked in them. False if
 * memory or threads are short; none runs then. May be called again after tun_stop.
 *
 * The threads outlast the removal of the device by someone else, doing nothing until stopped.
 */
bool tun_start(struct tun *tun, struct engine *engine);

/* I/O counters, summed over queues. */
struct tun_counters {
    uint64_t reads, writes; /* packets */
    uint64_t write_errors;  /* packets the kernel did not take */
    uint64_t bursts;        /* calls of engine_receive */
};
void tun_count(const struct tun *tun, struct tun_counters *counters);

/* Stops the threads after the bursts they are in, and waits for them. */
void tun_stop(struct tun *tun);

/* Closes all queues; without tun_persist the device is gone thereafter. */
void tun_close(struct tun *tun);

#endif /* PLANE_TUN_TUN_H */
