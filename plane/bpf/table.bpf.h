/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session table as kernel programs see it: an array map for each segment, which the daemon has mapped
 * into its memory. The elements are counted by whoever loads the object (plane/bpf/object.c), which also
 * writes the constants.
 *
 * To be included once, before anything that uses the table.
 */
#ifndef PLANE_BPF_TABLE_BPF_H
#define PLANE_BPF_TABLE_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "engine/layout.h"

#define SEGMENT_MAP(name, element)                                                                           \
    struct {                                                                                                 \
        __uint(type, BPF_MAP_TYPE_ARRAY);                                                                    \
        __uint(max_entries, 1);                                                                              \
        __uint(map_flags, BPF_F_MMAPABLE);                                                                   \
        __type(key, __u32);                                                                                  \
        __type(value, element);                                                                              \
    } name SEC(".maps")

SEGMENT_MAP(header, struct table_header);
SEGMENT_MAP(lanes, struct lane);
SEGMENT_MAP(records, struct record);
SEGMENT_MAP(traffic, struct traffic);
SEGMENT_MAP(session6, struct bucket);
SEGMENT_MAP(session4, struct bucket);
SEGMENT_MAP(bindings, struct bucket);
SEGMENT_MAP(subscribers, struct bucket);
SEGMENT_MAP(ports, struct port_map);
SEGMENT_MAP(owners, struct owner_line);
SEGMENT_MAP(half_open, __u64);

WIRE_INLINE void *table_at_bpf(enum segment segment, __u32 index)
{
    switch (segment) {
    case SEGMENT_HEADER:
        return bpf_map_lookup_elem(&header, &index);
    case SEGMENT_LANES:
        return bpf_map_lookup_elem(&lanes, &index);
    case SEGMENT_RECORDS:
        return bpf_map_lookup_elem(&records, &index);
    case SEGMENT_TRAFFIC:
        return bpf_map_lookup_elem(&traffic, &index);
    case SEGMENT_SESSION6:
        return bpf_map_lookup_elem(&session6, &index);
    case SEGMENT_SESSION4:
        return bpf_map_lookup_elem(&session4, &index);
    case SEGMENT_BINDINGS:
        return bpf_map_lookup_elem(&bindings, &index);
    case SEGMENT_SUBSCRIBERS:
        return bpf_map_lookup_elem(&subscribers, &index);
    case SEGMENT_PORTS:
        return bpf_map_lookup_elem(&ports, &index);
    case SEGMENT_OWNERS:
        return bpf_map_lookup_elem(&owners, &index);
    case SEGMENT_HALF_OPEN:
        return bpf_map_lookup_elem(&half_open, &index);
    case SEGMENT_COUNT:
    default:
        return NULL;
    }
}

struct table table_bpf SEC(".data.table");

#endif /* PLANE_BPF_TABLE_BPF_H */
