/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every advertisement goes to all nodes, also an answer (RFC 4861 section 6.2.6 leaves the choice), so there
 * is one schedule, in which an answer is an advertisement that comes early. The next one may always come at
 * any time from three seconds after the last: the shortest interval is not shorter than that.
 */
#include "dns64/advertiser.h"

static const nanoseconds second = 1000 * 1000 * 1000, millisecond = 1000 * 1000;

struct advertiser advertiser_make(uint64_t seed)
{
    return (struct advertiser){.state = ADVERTISER_SILENT, .random = random_seed(seed)};
}

/* rfc: 8781-4.1-d */
uint32_t advertiser_interval(uint32_t lifetime)
{
    uint32_t interval = lifetime / ADVERTISER_INTERVALS;
    if (interval < ADVERTISER_INTERVAL_MINIMUM)
        return ADVERTISER_INTERVAL_MINIMUM;
    return interval > ADVERTISER_INTERVAL_DEFAULT ? ADVERTISER_INTERVAL_DEFAULT : interval;
}

/* Evenly between the two, both included; the remainder's bias is far below what a clock shows. */
static nanoseconds between(struct advertiser *advertiser, nanoseconds low, nanoseconds high)
{
    return low + random_next(&advertiser->random) % (high - low + 1);
}

static nanoseconds answer_delay(struct advertiser *advertiser)
{
    return between(advertiser, 0, ADVERTISER_DELAY_MILLISECONDS * millisecond);
}

/* Not before three seconds have passed since the last one. */
static nanoseconds rate_limited(const struct advertiser *advertiser, nanoseconds when)
{
    nanoseconds earliest = advertiser->last + ADVERTISER_APART_SECONDS * second;
    return advertiser->sent && when < earliest ? earliest : when;
}

/* Section 6.2.4: after each advertisement, whatever it was for. */
static void schedule_next(struct advertiser *advertiser, nanoseconds now)
{
    nanoseconds interval = between(advertiser, advertiser->shortest, advertiser->longest);
    if (advertiser->initial > 0 && interval > ADVERTISER_INITIAL_SECONDS * second)
        interval = ADVERTISER_INITIAL_SECONDS * second;
    advertiser->next = now + interval;
}

void advertiser_start(struct advertiser *advertiser, uint32_t lifetime, nanoseconds now)
{
    advertiser->longest = advertiser_interval(lifetime) * second;
    advertiser->shortest = advertiser->longest / 3;
    if (advertiser->shortest < ADVERTISER_APART_SECONDS * second)
        advertiser->shortest = ADVERTISER_APART_SECONDS * second;
    advertiser->state = ADVERTISER_ADVERTISING;
    advertiser->initial = ADVERTISER_INITIAL_COUNT;
    advertiser->final = 0;
    advertiser->next = rate_limited(advertiser, now) + answer_delay(advertiser);
}

/* Section 6.2.6. One that is scheduled already answers this one, too. */
void advertiser_solicited(struct advertiser *advertiser, nanoseconds now)
{
    if (advertiser->state != ADVERTISER_ADVERTISING)
        return;
    nanoseconds answer = rate_limited(advertiser, now) + answer_delay(advertiser);
    if (answer < advertiser->next)
        advertiser->next = answer;
}

void advertiser_stop(struct advertiser *advertiser, uint32_t finals, nanoseconds now)
{
    if (advertiser->state != ADVERTISER_ADVERTISING || !advertiser->sent || finals == 0) {
        advertiser_lose(advertiser);
        return;
    }
    advertiser->state = ADVERTISER_CEASING;
    advertiser->initial = 0;
    advertiser->final = finals < ADVERTISER_FINAL_COUNT ? finals : ADVERTISER_FINAL_COUNT;
    advertiser->next = rate_limited(advertiser, now);
}

/* The time of the last one stays: the interface may be back within three seconds. */
void advertiser_lose(struct advertiser *advertiser)
{
    advertiser->state = ADVERTISER_SILENT;
    advertiser->initial = advertiser->final = 0;
}

bool advertiser_deadline(const struct advertiser *advertiser, nanoseconds *when)
{
    if (advertiser->state == ADVERTISER_SILENT)
        return false;
    *when = advertiser->next;
    return true;
}

static enum advertiser_action send_regular(struct advertiser *advertiser, nanoseconds now)
{
    if (advertiser->initial > 0)
        advertiser->initial--;
    schedule_next(advertiser, now);
    return ADVERTISER_SEND;
}

static enum advertiser_action send_final(struct advertiser *advertiser, nanoseconds now)
{
    advertiser->next = now + ADVERTISER_APART_SECONDS * second;
    if (--advertiser->final == 0)
        advertiser_lose(advertiser);
    return ADVERTISER_SEND_FINAL;
}

enum advertiser_action advertiser_due(struct advertiser *advertiser, nanoseconds now)
{
    if (advertiser->state == ADVERTISER_SILENT || now < advertiser->next)
        return ADVERTISER_WAIT;
    advertiser->sent = true;
    advertiser->last = now;
    return advertiser->state == ADVERTISER_ADVERTISING ? send_regular(advertiser, now)
                                                       : send_final(advertiser, now);
}

bool advertiser_fresh(const struct advertiser *advertiser)
{
    return advertiser->initial > 0;
}
