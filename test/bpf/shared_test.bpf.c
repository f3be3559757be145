// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The session table's own code as BPF programs, over array maps that user space has mapped: what
 * test/bpf/shared_test.c loads, and what tool/check-bpf compiles together with all of wire/.
 *
 * The number of an actor comes in as the packet's mark (programs for TC, which can be repeated and so
 * measured) or as the only word of the context (for a program that user space calls). Its struct call lies in
 * `calls`.
 */
#include "plane/bpf/table.bpf.h"

#include "engine/half_open.c"
#include "engine/making.c"
#include "engine/random.h"
#include "test/bpf/operations.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/rfc6052.h"
#include "wire/transport.h"

struct actors actors SEC(".data.actors");

WIRE_INLINE const struct table *the_table(void)
{
    return &table_bpf;
}

WIRE_INLINE struct call *call_of(__u32 number)
{
    return &actors.calls[below(CALLS, number)];
}

struct number {
    __u32 number;
};

/* One operation, asked for by user space. */
SEC("syscall")
int call_by_user(struct number *context)
{
    struct call *call = call_of(context->number);
    call->result = call_perform(call);
    return 0;
}

/* A static binding of the client's port, on port 80 of the first address. */
SEC("syscall")
int make_static(struct number *context)
{
    struct call *call = call_of(context->number);
    call_make_key(call);
    call->request = (struct session_request){
        .key = call->key, .pool = to_be32(0xc6336400u), .pool_port = to_be16(80), .tick = call->tick};
    call->result = binding_make_static(call_actor(call), &call->request);
    return 0;
}

SEC("syscall")
int end_static(struct number *context)
{
    struct call *call = call_of(context->number);
    call->result = call_find_binding(call) && binding_end_static(call_actor(call), &call->lead);
    return 0;
}

/* What such a call costs by itself. */
SEC("syscall")
int call_nothing(struct number *context)
{
    return (int)context->number;
}

SEC("tc")
int churn(struct __sk_buff *skb)
{
    (void)call_churn(call_of(skb->mark), atomic_load32(&actors.now));
    return 0;
}

/* --- measurements, each a run of the program net of `measure_nothing` ------------------------------- */

WIRE_INLINE struct call *choose(struct __sk_buff *skb)
{
    struct call *call = call_of(skb->mark);
    call->client = (__u32)(((call_random(call) >> 32) * call->clients) >> 32);
    call->remote = call->client & 0xff;
    return call;
}

SEC("tc")
int measure_nothing(struct __sk_buff *skb)
{
    call_make_key(choose(skb));
    return 0;
}

SEC("tc")
int measure_find6(struct __sk_buff *skb)
{
    struct call *call = choose(skb);
    call->ended += call_find6(call);
    return 0;
}

/* The IPv4 key is known only from the record, so that is read first: two cache misses, as with a packet's. */
SEC("tc")
int measure_find4(struct __sk_buff *skb)
{
    struct call *call = choose(skb);
    const struct record *record = record_at(the_table(), call->client);
    if (absent(record))
        return 0;
    call->session.copy.pool = record->pool;
    call->session.copy.pool_port = record->pool_port;
    call->session.copy.remote = record->remote;
    call->session.copy.remote_port = record->remote_port;
    call->session.copy.transport = record->transport;
    call->ended += call_find4(call);
    return 0;
}

SEC("tc")
int measure_binding(struct __sk_buff *skb)
{
    struct call *call = choose(skb);
    call->ended += call_find_binding(call);
    return 0;
}

/* A session with a binding that is not there yet, and its end. */
SEC("tc")
int measure_open_end(struct __sk_buff *skb)
{
    struct call *call = choose(skb);
    call->client += call->clients;
    if (call_open(call) == MADE)
        (void)call_end(call, call->session.index, call->session.copy.life);
    else
        call->refused[0]++;
    return 0;
}

SEC("tc")
int measure_claim_release(struct __sk_buff *skb)
{
    struct call *call = choose(skb);
    if (!call_claim(call))
        return 0;
    struct port_map *map = port_map_at(the_table(), call->request.address, TRANSPORT_UDP);
    if (!absent(map))
        ports_release(map, from_be16(call->request.pool_port));
    return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
