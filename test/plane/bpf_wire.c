/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/plane/bpf_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "plane/bpf/ingress.h"
#include "wire/transport.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
    LINK_HEADER = 14,
    FRAME_LEAST = 60, /* bytes of an Ethernet frame without its checksum */
    PATIENCE = 1000,  /* milliseconds until a packet is there that must come */
    PIECES = 16,      /* that a packet is brought in, one a page */
    PIECE = 7,        /* bytes of the first ones, the Ethernet header apart */
    FRAME_MAXIMUM = 65535 + 40 + LINK_HEADER + 20,
    OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
};

const char *const bpf_wire_names[BPF_WIRE_WAYS] = {
    [BPF_WIRE_ETHERNET] = "ethernet", [BPF_WIRE_PADDED] = "padded", [BPF_WIRE_CLONED] = "cloned",
    [BPF_WIRE_PIECES] = "pieces",     [BPF_WIRE_PLAIN] = "plain",
};

static struct {
    enum bpf_wire_way way;
    int in, out, engine, listener;
    bool attached;
} wire;

static const uint8_t neighbour[6] = {2, 0, 0, 0, 0, 1};

/* --- devices ---------------------------------------------------------------------------------------- */

static int make_device(const char *name, int flags)
{
    struct ifreq request = {.ifr_flags = (short)(flags | IFF_NO_PI | IFF_VNET_HDR)};
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (device < 0 || ioctl(device, TUNSETIFF, &request) != 0)
        return -1;
    if (ioctl(device, TUNSETOFFLOAD, (unsigned long)(OFFLOADS | TUN_F_USO4 | TUN_F_USO6)) != 0 &&
        ioctl(device, TUNSETOFFLOAD, (unsigned long)OFFLOADS) != 0)
        return -1;
    return device;
}

static int listen_to(const char *name)
{
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
    int listener = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (listener >= 0 && bind(listener, (const struct sockaddr *)&at, sizeof(at)) == 0)
        return listener;
    return -1;
}

static const char *make_devices(void)
{
    static const char *const commands = "ip link del isthmus0 && ip link del way0";
    static const char *const setup =
        "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 && "
        "ip link set in0 mtu 65521 up && ip link set out0 mtu 65521 up && ip link set isthmus0 mtu 65535 up "
        "&& "
        "ip address add 198.18.0.2/24 dev out0 && ip neigh add 198.18.0.1 lladdr 02:00:00:00:00:01 dev out0 "
        "&& "
        "ip -6 neigh add fe80::1 lladdr 02:00:00:00:00:01 dev out0 && "
        "ip route add default via 198.18.0.1 && ip -6 route add default via fe80::1 dev out0";
    int in = wire.way == BPF_WIRE_PLAIN    ? IFF_TUN
             : wire.way == BPF_WIRE_PIECES ? IFF_TAP | IFF_NAPI | IFF_NAPI_FRAGS
                                           : IFF_TAP;
    if (system(commands) != 0) /* NOLINT(cert-env33-c): as in bpf_lab.c */
        return "cannot remove the devices of the lab";
    wire.in = make_device("in0", in);
    wire.out = make_device("out0", IFF_TAP);
    wire.engine = make_device("isthmus0", IFF_TUN);
    if (wire.in < 0 || wire.out < 0 || wire.engine < 0)
        return "cannot make TUN and TAP devices";
    if (system(setup) != 0) /* NOLINT(cert-env33-c) */
        return "cannot set the devices up";
    if (wire.way != BPF_WIRE_PLAIN &&
        system("ip link set in0 address 02:00:00:00:00:02") != 0) /* NOLINT(cert-env33-c) */
        return "cannot give the device an address";
    wire.listener = wire.way == BPF_WIRE_CLONED ? listen_to("in0") : -1;
    return NULL;
}

const char *bpf_wire_open(const char *object, enum bpf_wire_way way)
{
    wire.way = way;
    const char *reason = bpf_lab_open(object);
    return reason != NULL ? reason : make_devices();
}

bool bpf_wire_attach(void)
{
    bool made;
    const char *program = wire.way == BPF_WIRE_PLAIN ? "translate_plain" : "translate_ethernet";
    if (!wire.attached)
        wire.attached =
            ingress_attach(if_nametoindex("in0"), object_program(bpf_lab_object(), program), &made) == 0;
    return wire.attached;
}

/* --- frames ----------------------------------------------------------------------------------------- */

struct frame {
    struct virtio_net_hdr offload;
    uint32_t length;
    uint8_t bytes[FRAME_MAXIMUM];
};

static uint32_t link_header(void)
{
    return wire.way == BPF_WIRE_PLAIN ? 0 : LINK_HEADER;
}

/* Is it what its headers say? Of others more bytes might make something else. */
static bool is_complete(const struct packet *packet)
{
    struct description description;
    struct packet copy = *packet;
    return packet_describe(&copy, &description) == VERDICT_COUNT;
}

static void make_frame(const struct packet *packet, struct frame *frame)
{
    static const uint8_t link[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 3};
    uint32_t front = link_header();
    const uint8_t *ip = packet_data(packet);
    memset(frame, 0, sizeof(*frame));
    if (front != 0) {
        memcpy(frame->bytes, link, sizeof(link));
        store_be16(frame->bytes + 12, to_be16(packet->length > 0 && ip[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6));
    }
    memcpy(frame->bytes + front, ip, packet->length);
    frame->length = front + packet->length;
    if (wire.way == BPF_WIRE_PADDED && frame->length < FRAME_LEAST && is_complete(packet))
        frame->length = FRAME_LEAST;
    memcpy(&frame->offload, &packet->offload, sizeof(frame->offload));
    if ((frame->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0)
        frame->offload.csum_start = (uint16_t)(frame->offload.csum_start + front);
    if (frame->offload.hdr_len != 0)
        frame->offload.hdr_len = (uint16_t)(frame->offload.hdr_len + front);
}

/* One piece holds the Ethernet header and stays in the packet's own memory; the others become pages of it. */
static unsigned cut_up(struct frame *frame, struct iovec parts[PIECES + 1])
{
    unsigned count = 0;
    uint32_t at = 0;
    parts[count++] = (struct iovec){&frame->offload, sizeof(frame->offload)};
    while (at < frame->length) {
        uint32_t left = frame->length - at;
        uint32_t piece = at == 0 ? LINK_HEADER : count < PIECES ? PIECE : left;
        if (piece > left)
            piece = left;
        parts[count++] = (struct iovec){frame->bytes + at, piece};
        at += piece;
    }
    return count;
}

static bool write_frame(struct frame *frame)
{
    struct iovec parts[PIECES + 1] = {{&frame->offload, sizeof(frame->offload)},
                                      {frame->bytes, frame->length}};
    unsigned count = wire.way == BPF_WIRE_PIECES ? cut_up(frame, parts) : 2;
    return writev(wire.in, parts, (int)count) >= 0;
}

static bool read_frame(int device, struct frame *frame)
{
    struct iovec parts[2] = {{&frame->offload, sizeof(frame->offload)}, {frame->bytes, sizeof(frame->bytes)}};
    ssize_t length = readv(device, parts, 2);
    if (length < (ssize_t)sizeof(frame->offload))
        return false;
    frame->length = (uint32_t)length - (uint32_t)sizeof(frame->offload);
    return true;
}

/* What the kernel says without having been asked goes to others than the neighbour, and to multicast. */
static bool is_ours(int device, const struct frame *frame)
{
    if (device == wire.engine)
        return frame->length > 0 && (frame->bytes[0] >> 4 != 6 || frame->bytes[24] != 0xff);
    return frame->length > LINK_HEADER && memcmp(frame->bytes, neighbour, sizeof(neighbour)) == 0;
}

static bool await_frame(int device, struct frame *frame)
{
    struct pollfd wait = {.fd = device, .events = POLLIN};
    while (poll(&wait, 1, PATIENCE) > 0)
        if (read_frame(device, frame) && is_ours(device, frame))
            return true;
    return false;
}

static void drain(int device)
{
    static struct frame frame;
    while (read_frame(device, &frame))
        ;
}

/* Of headers the kernel says how much of the packet lies in one piece, which is another thing. */
static uint16_t headers_of(const struct packet *packet)
{
    const struct offload *offload = &packet->offload;
    const struct tcp_header *tcp = (const void *)(packet_data(packet) + offload->checksum_start);
    bool udp = (offload->gso_type & ~OFFLOAD_GSO_ECN) == OFFLOAD_GSO_UDP;
    return (uint16_t)(offload->checksum_start + (udp ? 8u : tcp_header_length(tcp)));
}

static void read_packet(const struct frame *frame, uint32_t front, struct packet *packet)
{
    struct offload *offload = &packet->offload;
    packet->length = frame->length - front;
    if (packet->length > packet->capacity - packet->offset)
        abort();
    memcpy(packet_data(packet), frame->bytes + front, packet->length);
    memcpy(offload, &frame->offload, sizeof(*offload));
    offload->flags &= OFFLOAD_PARTIAL;
    offload->header_length = 0;
    if (offload->flags == 0)
        offload->checksum_start = offload->checksum_offset = 0;
    else
        offload->checksum_start = (uint16_t)(offload->checksum_start - front);
    if (offload->gso_type != OFFLOAD_GSO_NONE)
        offload->header_length = headers_of(packet);
}

/* --- what became of it ------------------------------------------------------------------------------ */

static uint64_t all_of(const struct plane_counters *counters)
{
    uint64_t sum = counters->handed_over + counters->passed;
    for (unsigned i = 0; i < VERDICT_COUNT; i++)
        sum += counters->packets[i];
    return sum;
}

static enum bpf_lab_fate find_fate(const struct plane_counters *before, enum verdict *verdict)
{
    struct plane_counters after;
    bpf_lab_count(&after);
    if (all_of(&after) == all_of(before))
        return BPF_LAB_UNFIT;
    if (all_of(&after) != all_of(before) + 1)
        abort();
    for (unsigned i = 0; i < VERDICT_COUNT; i++)
        if (after.packets[i] != before->packets[i]) {
            *verdict = (enum verdict)i;
            return BPF_LAB_DECIDED;
        }
    return after.passed != before->passed ? BPF_LAB_PASSED : BPF_LAB_HANDED_OVER;
}

__attribute__((noreturn)) static void lost(const char *where, const struct packet *packet)
{
    const struct offload *offload = &packet->offload;
    fprintf(stderr, "the packet did not arrive at %s: offload %u %u %u %u %u %u, %u bytes", where,
            offload->flags, offload->gso_type, offload->header_length, offload->gso_size,
            offload->checksum_start, offload->checksum_offset, packet->length);
    for (uint32_t i = 0; i < packet->length && i < 128; i++)
        fprintf(stderr, "%s%02x", i % 32 == 0 ? "\n  " : i % 4 == 0 ? " " : "", packet_data(packet)[i]);
    fprintf(stderr, "\n");
    exit(1);
}

/*
 * Not a packet with less room in front than the kernel would give it, and none with an offload state that
 * does not fit: who brings packets into the kernel is trusted with it, and programs are not told.
 * Super-packets of one segment are none to the kernel, which does not count what follows the IP packet.
 */
static bool can_be_sent(const struct packet *packet)
{
    struct description description;
    struct packet copy = *packet;
    enum verdict verdict = packet_describe(&copy, &description);
    if (packet->offset < PACKET_HEADROOM || verdict == VERDICT_BAD_OFFLOAD)
        return false;
    return packet->offload.gso_type == OFFLOAD_GSO_NONE ||
           (verdict == VERDICT_COUNT &&
            copy.length > (uint32_t)headers_of(packet) + packet->offload.gso_size);
}

enum bpf_lab_fate bpf_wire_receive(struct packet *packet, enum verdict *verdict)
{
    static struct frame frame;
    struct plane_counters before;
    if (!can_be_sent(packet))
        return BPF_LAB_UNFIT;
    drain(wire.out);
    drain(wire.engine);
    bpf_lab_count(&before);
    make_frame(packet, &frame);
    if (!write_frame(&frame))
        return BPF_LAB_UNFIT;
    enum bpf_lab_fate fate = find_fate(&before, verdict);
    if (fate == BPF_LAB_DECIDED && verdict_texts[*verdict].class == VERDICT_FORWARDED) {
        if (!await_frame(wire.out, &frame))
            lost("out0", packet);
        read_packet(&frame, LINK_HEADER, packet);
    } else if (fate == BPF_LAB_HANDED_OVER) {
        if (!await_frame(wire.engine, &frame))
            lost("isthmus0", packet);
        read_packet(&frame, 0, packet);
    }
    if (wire.listener >= 0)
        while (recv(wire.listener, &frame, sizeof(frame), MSG_DONTWAIT) > 0)
            ;
    return fate;
}
