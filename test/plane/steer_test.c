/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The steering program, run by the kernel on packets of our making (BPF_PROG_TEST_RUN). That the device
 * heeds it is tested in tun_test.c.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "plane/tun/steer.h"

static uint32_t steered(int program, const uint8_t *packet, uint32_t length)
{
    uint8_t frame[14 + 128] = {0}; /* the kernel takes an Ethernet header off before the program runs */
    union bpf_attr attributes;

    memcpy(frame + 14, packet, length);
    memset(&attributes, 0, sizeof(attributes));
    attributes.test.prog_fd = (uint32_t)program;
    attributes.test.data_in = (uint64_t)(uintptr_t)frame;
    attributes.test.data_size_in = 14 + length;
    assert_int_equal(syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof(attributes)), 0);
    return attributes.test.retval;
}

static int load_program(uint64_t seed)
{
    int program = steer_load(seed);

    if (program < 0) {
        print_message("# skipped: BPF programs cannot be loaded here: %s\n", strerror(errno));
        skip();
    }
    return program;
}

/* Headers of 2001:db8::1 -> 64:ff9b::192.0.2.1, port 40000 -> 443, and of 192.0.2.1 -> 198.51.100.1 */
static const uint8_t tcp6[60] = {0x60, 0, 0, 0, 0, 20, 6,   64, 0x20, 1, 0xd,  0xb8, 0,    0,   0,
                                 0,    0, 0, 0, 0, 0,  0,   0,  1,    0, 0x64, 0xff, 0x9b, 0,   0,
                                 0,    0, 0, 0, 0, 0,  192, 0,  2,    1, 0x9c, 0x40, 1,    0xbb};
static const uint8_t udp4[28] = {0x45, 0, 0, 28,  0,  0,   0x40, 0,    64,   17, 0,    0, 192,
                                 0,    2, 1, 198, 51, 100, 1,    0x9c, 0x40, 1,  0xbb, 0, 8};

/* True if the program gives the same for the packet with other ports, at `ports`. */
static bool blind_to_ports(int program, const uint8_t *packet, uint32_t length, unsigned ports)
{
    uint8_t other[64];

    memcpy(other, packet, length);
    other[ports + 1] ^= 0x55;
    other[ports + 3] ^= 0x33;
    return steered(program, packet, length) == steered(program, other, length);
}

static void test_steering_follows_ports(void **state)
{
    int program = load_program(1), other_seed = load_program(2);
    uint8_t packet[64];
    uint32_t result6 = steered(program, tcp6, sizeof(tcp6)), result4 = steered(program, udp4, sizeof(udp4));

    (void)state;
    memcpy(packet, tcp6, sizeof(tcp6));
    packet[7] = 63;  /* hop limit */
    packet[3] = 9;   /* flow label */
    packet[47] = 99; /* sequence number */
    assert_int_equal(steered(program, packet, sizeof(tcp6)), result6);
    assert_false(blind_to_ports(program, packet, sizeof(tcp6), 40));
    packet[6] = IPPROTO_UDP;
    assert_false(blind_to_ports(program, packet, sizeof(tcp6), 40));

    memcpy(packet, udp4, sizeof(udp4));
    packet[8] = 63; /* TTL */
    assert_int_equal(steered(program, packet, sizeof(udp4)), result4);
    assert_false(blind_to_ports(program, packet, sizeof(udp4), 20));
    assert_int_not_equal(steered(other_seed, udp4, sizeof(udp4)), result4);
    packet[9] = IPPROTO_TCP;
    assert_false(blind_to_ports(program, packet, sizeof(udp4), 20));
    close(program);
    close(other_seed);
}

static void test_steering_ignores_ports_that_may_lack(void **state)
{
    int program = load_program(1);
    uint8_t packet[64];

    (void)state;
    memcpy(packet, udp4, sizeof(udp4));
    packet[6] = 0x20; /* more fragments */
    assert_true(blind_to_ports(program, packet, sizeof(udp4), 20));
    packet[6] = 0;
    packet[7] = 1; /* a later fragment */
    assert_true(blind_to_ports(program, packet, sizeof(udp4), 20));
    memcpy(packet, udp4, sizeof(udp4));
    packet[9] = IPPROTO_ICMP;
    assert_true(blind_to_ports(program, packet, sizeof(udp4), 20));
    memcpy(packet, udp4, sizeof(udp4));
    packet[0] = 0x46; /* options */
    assert_true(blind_to_ports(program, packet, sizeof(udp4), 20));
    memcpy(packet, tcp6, sizeof(tcp6));
    packet[6] = IPPROTO_FRAGMENT;
    assert_true(blind_to_ports(program, packet, sizeof(tcp6), 40));
    close(program);
}

/* A worker sees all fragments of a datagram, the first included, whatever headers some of them have more. */
static void test_steering_keeps_fragments_together(void **state)
{
    int program = load_program(1);
    uint8_t first[64], later[64];

    (void)state;
    memcpy(first, udp4, sizeof(udp4));
    memcpy(later, udp4, sizeof(udp4));
    first[6] = 0x20; /* more fragments; the ports follow */
    later[6] = 0;
    later[7] = 64; /* the last one, at 512, with payload where ports would be */
    memset(later + 20, 0x77, 8);
    assert_int_equal(steered(program, first, sizeof(udp4)), steered(program, later, sizeof(udp4)));
    later[6] = 0x20; /* one in the middle */
    assert_int_equal(steered(program, first, sizeof(udp4)), steered(program, later, sizeof(udp4)));
    first[0] = 0x46; /* options that stand in the first fragment alone (RFC 791 section 3.1) */
    assert_int_equal(steered(program, first, sizeof(udp4)), steered(program, later, sizeof(udp4)));

    memcpy(first, tcp6, sizeof(tcp6));
    memcpy(later, tcp6, sizeof(tcp6));
    first[6] = later[6] = IPPROTO_FRAGMENT;
    first[40] = later[40] = IPPROTO_TCP;
    first[43] = 1;
    memset(later + 42, 0x55, 18); /* offset, identification, payload */
    assert_int_equal(steered(program, first, sizeof(tcp6)), steered(program, later, sizeof(tcp6)));
    first[6] = IPPROTO_HOPOPTS; /* the fragment header comes behind */
    assert_int_equal(steered(program, first, sizeof(tcp6)), steered(program, later, sizeof(tcp6)));
    close(program);
}

static void test_steering_spreads_addresses(void **state)
{
    int program = load_program(1);
    unsigned odd6 = 0, odd4 = 0;
    uint8_t packet[64];

    (void)state;
    for (uint8_t i = 0; i < 100; i++) {
        memcpy(packet, tcp6, sizeof(tcp6));
        packet[6] = IPPROTO_ICMPV6;
        packet[39] = i; /* the last byte of the destination, which enters the hash last */
        odd6 += steered(program, packet, sizeof(tcp6)) & 1;
        memcpy(packet, udp4, sizeof(udp4));
        packet[9] = IPPROTO_ICMP;
        packet[15] = i;
        odd4 += steered(program, packet, sizeof(udp4)) & 1;
    }
    assert_in_range(odd6, 25, 75);
    assert_in_range(odd4, 25, 75);
    close(program);
}

static void test_steering_takes_any_packet(void **state)
{
    int program = load_program(1);
    uint8_t packet[64];

    (void)state;
    memcpy(packet, tcp6, sizeof(tcp6));
    for (uint32_t length = 1; length < 40; length++)
        assert_int_equal(steered(program, packet, length), 0);
    assert_int_equal(steered(program, packet, 40), steered(program, packet, 43)); /* no ports there */
    packet[0] = 0x70;
    assert_int_equal(steered(program, packet, 60), 0);
    close(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steering_follows_ports),
        cmocka_unit_test(test_steering_ignores_ports_that_may_lack),
        cmocka_unit_test(test_steering_keeps_fragments_together),
        cmocka_unit_test(test_steering_spreads_addresses),
        cmocka_unit_test(test_steering_takes_any_packet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
