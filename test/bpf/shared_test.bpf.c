// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Proof that wire/ and the accessors of the session table compile for the BPF target, over maps as the kernel
 * would hold them. Nothing here is run; a header that stops being fit for BPF stops the build.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "engine/layout.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct table_header);
} header_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 4);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct lane);
} lanes_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1024);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct record);
} records_map SEC(".maps");

struct index_map {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 256);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct bucket);
};
struct index_map session6_map SEC(".maps");
struct index_map session4_map SEC(".maps");
struct index_map bindings_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, TRANSPORT_COUNT);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct port_map);
} ports_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 3 * 4096);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct owner_line);
} owners_map SEC(".maps");

static inline __attribute__((always_inline)) void *table_at_bpf(enum segment segment, __u32 index)
{
    switch (segment) {
    case SEGMENT_HEADER:
        return bpf_map_lookup_elem(&header_map, &index);
    case SEGMENT_LANES:
        return bpf_map_lookup_elem(&lanes_map, &index);
    case SEGMENT_RECORDS:
        return bpf_map_lookup_elem(&records_map, &index);
    case SEGMENT_SESSION6:
        return bpf_map_lookup_elem(&session6_map, &index);
    case SEGMENT_SESSION4:
        return bpf_map_lookup_elem(&session4_map, &index);
    case SEGMENT_BINDINGS:
        return bpf_map_lookup_elem(&bindings_map, &index);
    case SEGMENT_PORTS:
        return bpf_map_lookup_elem(&ports_map, &index);
    case SEGMENT_OWNERS:
        return bpf_map_lookup_elem(&owners_map, &index);
    default:
        return NULL;
    }
}

#include "engine/random.h"
#include "engine/sessions.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/rfc6052.h"
#include "wire/transport.h"

SEC("tc")
int look_up(struct __sk_buff *skb)
{
    struct table table = {.constants = {.records = 1024, .buckets = 256, .addresses = 1, .lanes = 4}};
    struct rfc6052_prefix prefix = {.length = 96};
    struct key6 key = {.client_port = (be16)skb->mark, .transport = TRANSPORT_UDP};
    struct key4 key4 = {.pool_port = (be16)skb->mark, .transport = TRANSPORT_UDP};
    struct binding_key binding = {.client_port = key.client_port, .transport = key.transport};
    struct ipv6_address remote = rfc6052_embed(&prefix, skb->priority);
    key.remote = rfc6052_extract(&prefix, &remote);
    __u32 tick = (__u32)(bpf_ktime_get_ns() / 1000000000ull);
    __u32 found = session_find6(&table, &key, hash_key6(&table, &key), tick);
    if (found == NO_RECORD)
        found = session_find4(&table, &key4, hash_key4(&table, &key4), tick);
    if (found == NO_RECORD)
        found = binding_find(&table, &binding, tick);
    if (found == NO_RECORD)
        found = binding_find4(&table, 0, key.transport, key.client_port, tick);
    if (found == NO_RECORD)
        return (int)checksum_fold(checksum_pseudo_tail(8, PROTOCOL_UDP));
    struct record *record = record_at(&table, found);
    if (record == NULL)
        return -1;
    return session_touch(&table, record, atomic_load64(&record->life), tick + 300, 0);
}

SEC("tc")
int make(struct __sk_buff *skb)
{
    struct table table = {.constants = {.records = 1024, .buckets = 256, .addresses = 1, .lanes = 4}};
    struct random random = random_seed(skb->hash);
    struct port_map *map = port_map_at(&table, 0, TRANSPORT_UDP);
    if (map == NULL)
        return -1;
    int port = ports_claim(map, (be16)skb->mark, random_next(&random));
    if (port < 0)
        return -1;
    __u32 index = records_take(&table, 0);
    if (index == NO_RECORD) {
        ports_release(map, (__u16)port);
        return -1;
    }
    __u64 slot = slot_make(skb->hash, 1, index);
    if (!index_publish(&table, SEGMENT_SESSION6, skb->hash, slot))
        records_push(&table, 0, index);
    else
        index_withdraw(&table, SEGMENT_SESSION6, skb->hash, slot);
    return port;
}

char _license[] SEC("license") = "Dual BSD/GPL";
