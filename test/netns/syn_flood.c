/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flood of SYNs from random sources at a steady rate: a program for the end-to-end tests.
 *
 *     syn_flood DEVICE MAC SOURCE DESTINATION RANDOM-BITS PORT RATE SECONDS
 *
 * SOURCE and DESTINATION are IPv6 or IPv4 addresses. Of the source all bits behind the first 48, or 8, are
 * random; of the destination the last RANDOM-BITS, at most 16. PORT 0 is a random one. Packets go to the link
 * address MAC by a packet socket. Prints how many were sent. It catches up with at most a little of what it
 * missed when it was kept from running.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

enum {
    BATCH = 32,
    PACKET = 40 + 20, /* the longer header, and that of TCP */
    FIXED_6 = 6,      /* bytes of a source that are not random */
    FIXED_4 = 1,
    CATCH_UP_NANOSECONDS = 4 * 1000 * 1000,
    SECOND = 1000 * 1000 * 1000,
};

struct flood {
    int socket;
    struct sockaddr_ll to;
    uint8_t packet[BATCH][PACKET];
    uint64_t random;
    size_t header, address; /* bytes of the IP header, of an address */
    uint8_t source[16], destination[16];
    uint32_t spread, port;
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "syn_flood: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

/* Marsaglia's xorshift. */
static uint64_t next(struct flood *flood)
{
    flood->random ^= flood->random << 13;
    flood->random ^= flood->random >> 7;
    flood->random ^= flood->random << 17;
    return flood->random;
}

static uint32_t sum(const uint8_t *bytes, size_t length, uint32_t before)
{
    for (size_t i = 0; i < length; i += 2)
        before += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    return before;
}

static void put_checksum(uint8_t *at, uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    at[0] = (uint8_t)(sum >> 8);
    at[1] = (uint8_t)sum;
}

static void put_header(const struct flood *flood, uint8_t *packet)
{
    static const uint8_t ipv6[8] = {0x60, 0, 0, 0, 0, 20, 6, 64};
    static const uint8_t ipv4[12] = {0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6};
    if (flood->address == 16) {
        memcpy(packet, ipv6, sizeof(ipv6));
        return;
    }
    memcpy(packet, ipv4, sizeof(ipv4));
    put_checksum(packet + 10, sum(packet, 20, 0));
}

static void put_packet(struct flood *flood, uint8_t *packet)
{
    size_t fixed = flood->address == 16 ? FIXED_6 : FIXED_4;
    uint8_t *source = packet + flood->header - 2 * flood->address, *destination = source + flood->address;
    uint8_t *tcp = packet + flood->header;
    memcpy(source, flood->source, flood->address);
    for (size_t i = fixed; i < flood->address; i++)
        source[i] = (uint8_t)(next(flood) >> 16);
    memcpy(destination, flood->destination, flood->address);
    uint64_t random = next(flood);
    uint32_t low = (uint32_t)destination[flood->address - 2] << 8 | destination[flood->address - 1];
    low += (uint32_t)(random >> 32) & flood->spread;
    destination[flood->address - 2] = (uint8_t)(low >> 8);
    destination[flood->address - 1] = (uint8_t)low;
    put_header(flood, packet);
    uint32_t port = flood->port != 0 ? flood->port : (uint32_t)random >> 16;
    const uint8_t header[20] = {(uint8_t)(random >> 8 | 4),
                                (uint8_t)random,
                                (uint8_t)(port >> 8),
                                (uint8_t)port,
                                (uint8_t)(random >> 24),
                                1,
                                2,
                                3,
                                [12] = 0x50,
                                2,
                                0xff,
                                0xff};
    memcpy(tcp, header, sizeof(header));
    put_checksum(tcp + 16, sum(source, 2 * flood->address + sizeof(header), 6 + sizeof(header)));
}

static uint32_t send_batch(struct flood *flood)
{
    struct mmsghdr messages[BATCH] = {0};
    struct iovec data[BATCH];
    for (int i = 0; i < BATCH; i++) {
        put_packet(flood, flood->packet[i]);
        data[i] = (struct iovec){.iov_base = flood->packet[i], .iov_len = flood->header + 20};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &flood->to, .msg_namelen = sizeof(flood->to), .msg_iov = &data[i], .msg_iovlen = 1};
    }
    int sent = sendmmsg(flood->socket, messages, BATCH, 0);
    if (sent < 0 && errno != ENOBUFS && errno != EINTR)
        give_up("sendmmsg");
    return sent < 0 ? 0 : (uint32_t)sent;
}

static uint64_t run(struct flood *flood, uint32_t rate, uint32_t seconds)
{
    int64_t due = nanoseconds(), end = due + (int64_t)seconds * SECOND;
    uint64_t sent = 0;
    for (int64_t now = due; now < end; now = nanoseconds()) {
        if (now < due) {
            const struct timespec at = {.tv_sec = due / SECOND, .tv_nsec = due % SECOND};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        } else if (now - due > CATCH_UP_NANOSECONDS) {
            due = now - CATCH_UP_NANOSECONDS;
        }
        due += (int64_t)BATCH * SECOND / rate;
        sent += send_batch(flood);
    }
    return sent;
}

static void prepare(struct flood *flood, char **arguments)
{
    bool ipv6 = strchr(arguments[3], ':') != NULL;
    unsigned mac[6];
    flood->address = ipv6 ? 16 : 4;
    flood->header = ipv6 ? 40 : 20;
    flood->to = (struct sockaddr_ll){.sll_family = AF_PACKET,
                                     .sll_protocol = htons(ipv6 ? ETH_P_IPV6 : ETH_P_IP),
                                     .sll_ifindex = (int)if_nametoindex(arguments[1]),
                                     .sll_halen = 6};
    errno = EINVAL;
    if (inet_pton(ipv6 ? AF_INET6 : AF_INET, arguments[3], flood->source) != 1 ||
        inet_pton(ipv6 ? AF_INET6 : AF_INET, arguments[4], flood->destination) != 1 ||
        sscanf(arguments[2], "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6)
        give_up("arguments");
    for (int i = 0; i < 6; i++)
        flood->to.sll_addr[i] = (uint8_t)mac[i];
    flood->spread = (1u << strtoul(arguments[5], NULL, 10)) - 1;
    flood->port = (uint32_t)strtoul(arguments[6], NULL, 10);
    if (getrandom(&flood->random, sizeof(flood->random), 0) != sizeof(flood->random))
        give_up("getrandom");
    flood->random |= 1;
    flood->socket = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* protocol 0: it receives nothing */
    if (flood->socket < 0 || flood->to.sll_ifindex == 0)
        give_up(arguments[1]);
}

int main(int argc, char **argv)
{
    static struct flood flood;
    uint32_t rate = argc == 9 ? (uint32_t)strtoul(argv[7], NULL, 10) : 0;
    if (rate == 0) {
        fputs("usage: syn_flood DEVICE MAC SOURCE DESTINATION RANDOM-BITS PORT RATE SECONDS\n", stderr);
        return 2;
    }
    prepare(&flood, argv);
    printf("sent %llu\n", (unsigned long long)run(&flood, rate, (uint32_t)strtoul(argv[8], NULL, 10)));
    return EXIT_SUCCESS;
}
