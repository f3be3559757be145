/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Captures of what the programs decide on themselves; what they hand over or let pass is none of this.
 *
 *     capture_received    before the first byte is changed   -> the processor's room
 *     capture_decided     when the verdict is counted        -> what it has become behind it, all of it into
 *                                                               the ring that the daemon reads
 *
 * While no capture runs that is a word to look at, each time. The ring wakes nobody up, since whoever reads a
 * capture looks into it anyway.
 */
#ifndef PLANE_BPF_CAPTURE_BPF_H
#define PLANE_BPF_CAPTURE_BPF_H

#include "plane/bpf/captured.h"
#include "plane/bpf/processor.bpf.h"

/* A record in the making. */
struct capture_room {
    struct plane_captured head;
    uint8_t bytes[2 * CAPTURED_PART];
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct capture_room);
} capture_rooms SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, CAPTURED_RING);
} captured SEC(".maps");

struct plane_capture plane_capture SEC(".data.capture");

WIRE_INLINE bool is_captured(void)
{
    return __builtin_expect(atomic_load32(&plane_capture.snap) != 0, 0);
}

WIRE_INLINE struct capture_room *capture_room_here(void)
{
    uint32_t zero = 0;
    return bpf_map_lookup_elem(&capture_rooms, &zero);
}

/* How many bytes of a packet are kept. */
WIRE_INLINE uint32_t capture_part(uint32_t length)
{
    uint32_t snap = atomic_load32(&plane_capture.snap);
    uint32_t part = length < snap ? length : snap;
    return part < CAPTURED_PART ? part : CAPTURED_PART - 1;
}

/* Reads so many bytes of a packet, or none. That one is the least, old verifiers do not learn by comparing.
 */
WIRE_INLINE uint32_t capture_bytes(struct __sk_buff *skb, uint32_t network, uint8_t *to, uint32_t part)
{
    uint32_t kept = 1 + below(CAPTURED_PART, part - 1);
    return part != 0 && bpf_skb_load_bytes(skb, network, to, kept) == 0 ? kept : 0;
}

/* Keeps a packet of `length` bytes at the position `network`. Returns how many bytes were kept. */
TABLE_FUNCTION uint32_t capture_received(struct __sk_buff *skb, uint32_t network, uint32_t length)
{
    struct capture_room *room = capture_room_here();
    if (absent(room) || bpf_ktime_get_coarse_ns() > atomic_load64(&plane_control.alive_until))
        return 0; /* who wanted it was killed */
    uint32_t kept = capture_bytes(skb, network, room->bytes, capture_part(length));
    room->head = (struct plane_captured){.time = bpf_ktime_get_ns(), .length = length, .kept = kept};
    return kept;
}

/* What was kept has met this verdict, and has become `length` bytes; 0: it is not sent on. False: missed. */
TABLE_FUNCTION bool capture_decided(struct __sk_buff *skb, uint32_t network, uint32_t verdict,
                                    uint32_t length)
{
    struct capture_room *room = capture_room_here();
    if (absent(room) || room->head.kept == 0)
        return false;
    uint32_t front = below(CAPTURED_PART, room->head.kept);
    uint32_t kept = capture_bytes(skb, network, room->bytes + front, capture_part(length));
    room->head.verdict = verdict;
    room->head.result_length = length;
    room->head.result_kept = kept;
    if (bpf_ringbuf_output(&captured, room, sizeof(room->head) + front + kept, BPF_RB_NO_WAKEUP) == 0)
        return true;
    (void)atomic_add64(&plane_capture.missed, 1);
    return false;
}

/* Of a packet that is dropped as it came, both in one. */
WIRE_INLINE void capture_dropped(struct __sk_buff *skb, const struct processor *processor,
                                 enum verdict verdict)
{
    if (is_captured() && capture_received(skb, processor->network, processor->length) > 0)
        (void)capture_decided(skb, processor->network, verdict, 0);
}

#endif /* PLANE_BPF_CAPTURE_BPF_H */
