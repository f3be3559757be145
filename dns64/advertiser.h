/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When one interface sends router advertisements (RFC 4861 sections 6.2.2 to 6.2.6). No I/O; time is an
 * argument, in nanoseconds of any clock that does not go back.
 *
 *               start                      stop
 *     SILENT ----------> ADVERTISING ----------------> CEASING
 *        ^                    |                           |
 *        |      lose          |        lose, or the       |
 *        +--------------------+<----- last final one -----+
 *
 * There is one timer. In ADVERTISING it says when the next advertisement goes to all nodes: at random between
 * a third and the whole of the interval, earlier at first, and earlier still if somebody asks. Whoever asks
 * is answered by that one, too, so a storm of solicitations brings one advertisement in three seconds.
 */
#ifndef DNS64_ADVERTISER_H
#define DNS64_ADVERTISER_H

#include "engine/engine.h"
#include "engine/random.h"

enum {
    /* RFC 4861 section 10 */
    ADVERTISER_INITIAL_SECONDS = 16,     /* MAX_INITIAL_RTR_ADVERT_INTERVAL */
    ADVERTISER_INITIAL_COUNT = 3,        /* MAX_INITIAL_RTR_ADVERTISEMENTS */
    ADVERTISER_FINAL_COUNT = 3,          /* MAX_FINAL_RTR_ADVERTISEMENTS */
    ADVERTISER_APART_SECONDS = 3,        /* MIN_DELAY_BETWEEN_RAS */
    ADVERTISER_DELAY_MILLISECONDS = 500, /* MAX_RA_DELAY_TIME */

    /* RFC 4861 section 6.2.1: MaxRtrAdvInterval, its least value and its default */
    ADVERTISER_INTERVAL_MINIMUM = 4,
    ADVERTISER_INTERVAL_DEFAULT = 600,

    /* What is announced lives for three intervals, so two may be lost (RFC 8781 section 4.1, RFC 8106 5.1).
     */
    ADVERTISER_INTERVALS = 3,
    ADVERTISED_LIFETIME_MINIMUM = ADVERTISER_INTERVALS * ADVERTISER_INTERVAL_MINIMUM,
};

enum advertiser_state {
    ADVERTISER_SILENT,      /* no interface to send on, or nothing to say */
    ADVERTISER_ADVERTISING, /* the timer is the next advertisement's */
    ADVERTISER_CEASING,     /* the timer is the next final one's */
};

struct advertiser {
    enum advertiser_state state;
    struct random random;
    nanoseconds shortest, longest; /* between two unsolicited advertisements */
    nanoseconds next;              /* when the next goes out, unless SILENT */
    nanoseconds last;              /* when the last one went out */
    bool sent;                     /* there was a last one */
    uint32_t initial;              /* how many of the first are to come */
    uint32_t final;                /* how many of the last are to come */
};

/* What is to be sent now. */
enum advertiser_action {
    ADVERTISER_WAIT,
    ADVERTISER_SEND,
    ADVERTISER_SEND_FINAL, /* all lifetimes 0 */
};

/* Silent at first. The seed is secret, or others could foretell and answer first. */
struct advertiser advertiser_make(uint64_t seed);

/* MaxRtrAdvInterval in seconds for what lives so long: a third of it, 4 s at least, 10 minutes at most. */
uint32_t advertiser_interval(uint32_t lifetime);

/*
 * The interface can send, or what it sends has changed: the first advertisements come quickly. `lifetime` is
 * that of what is announced, in seconds.
 */
void advertiser_start(struct advertiser *advertiser, uint32_t lifetime, nanoseconds now);

/* A valid solicitation came. */
void advertiser_solicited(struct advertiser *advertiser, nanoseconds now);

/* Nothing is announced any more: `finals` (at most 3) last advertisements follow if there was a first. */
void advertiser_stop(struct advertiser *advertiser, uint32_t finals, nanoseconds now);

/* The interface is gone or cannot send: nobody can be told anything. */
void advertiser_lose(struct advertiser *advertiser);

/* True with the time at which advertiser_due has something to do; false while SILENT. */
bool advertiser_deadline(const struct advertiser *advertiser, nanoseconds *when);

/* What is due now; the caller sends it. An attempt that fails counts: the next comes in its time. */
enum advertiser_action advertiser_due(struct advertiser *advertiser, nanoseconds now);

/* True while hosts are still to be told of what was withdrawn: until the first ones are out. */
bool advertiser_fresh(const struct advertiser *advertiser);

#endif /* DNS64_ADVERTISER_H */
