/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of packets for which there is no session and none could be made.
 *
 * The verdict is found here, as the engine would. Where the sender is to get an ICMP error, or a SYN is to be
 * stored, the packet goes to the engine, which comes to the same verdict and does that. But a packet costs
 * the engine much more than it does here, and of such packets anybody can send as many as he likes: so no
 * more of them are given to it than it has a use for, in each of the periods of an eighth of a second:
 *
 *     errors   twice of what translation.icmp-errors-per-second allows (settings `answers`), since only the
 *              engine knows when it has made that many
 *     SYNs     enough to have a new one in each of its WAITING_SYNS places once a second (settings `stores`)
 *
 * The rest ends here with the verdict, as does everything of this kind while no daemon runs.
 */
#ifndef PLANE_BPF_REFUSE_BPF_H
#define PLANE_BPF_REFUSE_BPF_H

#include "engine/opening.h"
#include "plane/bpf/capture.bpf.h"
#include "plane/bpf/processor.bpf.h"

enum {
    PERIOD_SHIFT = 27,  /* of a period in nanoseconds: 134 ms */
    BARREN_SWEEPS = 32, /* in a period, of SWEEP_FOR_ROOM records each */
    VERDICT_ROOM = 64,
};
_Static_assert((int)VERDICT_COUNT <= (int)VERDICT_ROOM, "so many are below a power of two");

/* False: so many have been spent in this period. */
WIRE_INLINE bool can_spend(const struct processor *processor, uint32_t what, uint64_t most)
{
    const struct budget *budget = &processor->budgets[what];
    return budget->period != bpf_ktime_get_coarse_ns() >> PERIOD_SHIFT || budget->spent < most;
}

WIRE_INLINE void spend(struct processor *processor, uint32_t what)
{
    struct budget *budget = &processor->budgets[what];
    uint64_t period = bpf_ktime_get_coarse_ns() >> PERIOD_SHIFT;
    budget->spent = budget->period == period ? budget->spent + 1 : 1;
    budget->period = period;
}

WIRE_INLINE int drop_packet(struct __sk_buff *skb, struct processor *processor, enum verdict verdict)
{
    uint32_t number = below(VERDICT_ROOM, (uint32_t)verdict);
    if (number >= VERDICT_COUNT)
        return TC_ACT_SHOT;
    count_packet(processor, (enum verdict)number, processor->length);
    capture_dropped(skb, processor, (enum verdict)number);
    return TC_ACT_SHOT;
}

/* Whose senders get an ICMP error; compare engine/icmp_reply.c. */
WIRE_INLINE bool is_answered(enum verdict verdict)
{
    return verdict == VERDICT_PORTS_EXHAUSTED || verdict == VERDICT_TABLE_FULL ||
           verdict == VERDICT_SUBSCRIBER_FULL || verdict == VERDICT_NON_GLOBAL ||
           verdict == VERDICT_BAD_DESTINATION || verdict == VERDICT_FILTERED;
}

/*
 * In a pool of many addresses the engine may find a port yet, see claim.bpf.h; and when it gets there, those
 * who were in each other's way here have gone.
 */
WIRE_INLINE bool may_succeed(enum verdict verdict)
{
    return verdict == VERDICT_PORTS_EXHAUSTED || verdict == VERDICT_CONTENTION;
}

WIRE_INLINE bool is_for_engine(struct processor *processor, const struct plane_settings *plane,
                               enum verdict verdict)
{
    bool answers = is_answered(verdict) && plane->translation.icmp_errors_per_second != 0;
    if ((!answers && !may_succeed(verdict)) || !has_daemon() ||
        !can_spend(processor, BUDGET_ANSWERS, plane->answers))
        return false;
    spend(processor, BUDGET_ANSWERS);
    return true;
}

/* The end of a packet. */
WIRE_INLINE int refuse_packet(struct __sk_buff *skb, struct processor *processor,
                              const struct plane_settings *plane, enum verdict verdict)
{
    return is_for_engine(processor, plane, verdict) ? to_engine(processor, plane)
                                                    : drop_packet(skb, processor, verdict);
}

/* Is it a SYN from outside that may not pass, or not yet? */
WIRE_INLINE bool is_for_store(const struct processor *processor, enum verdict verdict)
{
    const struct tcp_header *tcp = (const void *)processor->transport;
    return processor->key4.transport == TRANSPORT_TCP && flags_are_syn(tcp->flags) &&
           (verdict == VERDICT_NO_BINDING || verdict == VERDICT_FILTERED || verdict == VERDICT_TABLE_FULL ||
            verdict == VERDICT_SUBSCRIBER_FULL || verdict == VERDICT_INDEX_FULL);
}

/*
 * The end of a packet from outside. A SYN is for the engine to store, for the client may call too, and gets
 * no answer at once. rfc: 6146-3.5.2.2-b, 6146-3.5.2.2-c, 5382-REQ4-a
 */
WIRE_INLINE int keep_out(struct __sk_buff *skb, struct processor *processor,
                         const struct plane_settings *plane, enum verdict verdict)
{
    if (!is_for_store(processor, verdict))
        return refuse_packet(skb, processor, plane, verdict);
    if (!has_daemon() || !can_spend(processor, BUDGET_STORES, plane->stores))
        return drop_packet(skb, processor, verdict);
    spend(processor, BUDGET_STORES);
    return to_engine(processor, plane);
}

#endif /* PLANE_BPF_REFUSE_BPF_H */
