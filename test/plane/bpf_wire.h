/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's translator on real devices (made of test/plane/bpf_lab.h): packets come in at a TAP device
 * with the program at its ingress, with any offload state, and leave by another, or by the TUN device to the
 * engine; the readers of both see the offload state again.
 *
 *     bpf_wire_send --> in0  program --+--> out0       --> bpf_wire_receive: translated
 *                                      +--> isthmus0   --> bpf_wire_receive: handed over
 *
 * A write to such a device returns when the packet has been dealt with.
 */
#ifndef TEST_PLANE_BPF_WIRE_H
#define TEST_PLANE_BPF_WIRE_H

#include "test/plane/bpf_lab.h"

/* How packets come in. */
enum bpf_wire_way {
    BPF_WIRE_ETHERNET, /* as they are */
    BPF_WIRE_PADDED,   /* filled up to the least length of an Ethernet frame */
    BPF_WIRE_CLONED,   /* while somebody listens to the interface, with whom they are shared */
    BPF_WIRE_PIECES,   /* spread over pages from the first bytes on */
    BPF_WIRE_PLAIN,    /* at a TUN device, without an Ethernet header */
    BPF_WIRE_WAYS,
};
extern const char *const bpf_wire_names[BPF_WIRE_WAYS];

/* bpf_lab_open, and the devices. NULL, or why they cannot be made. */
const char *bpf_wire_open(const char *object, enum bpf_wire_way way);

/* Puts the program to the interface, if it is not there; after the first bpf_lab_table. */
bool bpf_wire_attach(void);

/* Sends the packet and finds out what the program did with it; BPF_LAB_UNFIT: the kernel did not take it, or
 * dropped it before. If the program has decided or handed over, `packet` is what came out. */
enum bpf_lab_fate bpf_wire_receive(struct packet *packet, enum verdict *verdict);

#endif /* TEST_PLANE_BPF_WIRE_H */
