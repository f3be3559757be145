/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs that go on with a packet after another, by tail calls; their numbers are those of the slots.
 */
#ifndef PLANE_BPF_PROGRAMS_BPF_H
#define PLANE_BPF_PROGRAMS_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum {
    PROGRAM_ETHERNET,
    PROGRAM_PLAIN,
    PROGRAM_OPEN_OUTGOING,
    PROGRAM_OPEN_INCOMING,
    PROGRAM_STATELESS_6,
    PROGRAM_STATELESS_4,
    PROGRAM_JUDGE,
    PROGRAM_BETWEEN,
    PROGRAM_COUNT,
};

int translate_ethernet(struct __sk_buff *skb);
int translate_plain(struct __sk_buff *skb);
int open_outgoing(struct __sk_buff *skb);
int open_incoming(struct __sk_buff *skb);
int stateless_6(struct __sk_buff *skb);
int stateless_4(struct __sk_buff *skb);
int judge(struct __sk_buff *skb);
int translate_between(struct __sk_buff *skb);

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, PROGRAM_COUNT);
    __uint(key_size, sizeof(__u32));
    __array(values, int(struct __sk_buff *));
} programs SEC(".maps") = {
    .values =
        {
            [PROGRAM_ETHERNET] = (void *)&translate_ethernet,
            [PROGRAM_PLAIN] = (void *)&translate_plain,
            [PROGRAM_OPEN_OUTGOING] = (void *)&open_outgoing,
            [PROGRAM_OPEN_INCOMING] = (void *)&open_incoming,
            [PROGRAM_STATELESS_6] = (void *)&stateless_6,
            [PROGRAM_STATELESS_4] = (void *)&stateless_4,
            [PROGRAM_JUDGE] = (void *)&judge,
            [PROGRAM_BETWEEN] = (void *)&translate_between,
        },
};

#endif /* PLANE_BPF_PROGRAMS_BPF_H */
