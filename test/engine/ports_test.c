/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/ports.h"
#include "engine/random.h"

static struct port_map map;
static struct random generator;

static void allow(unsigned low, unsigned high)
{
    memset(&map, 0, sizeof(map));
    generator = random_seed(7);
    for (unsigned port = low; port <= high; port++)
        ports_allow(&map, (uint16_t)port);
}

static int claim(unsigned wanted)
{
    return ports_claim(&map, to_be16((uint16_t)wanted), random_next(&generator));
}

/* rfc: 6146-3.5.1.1-b, 6146-3.5.1.1-c, 6146-3.5.1.1-d */
static void class_and_parity_are_kept(void **state)
{
    (void)state;
    allow(0, 65535);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned wanted = (unsigned)random_next(&generator) & 0xffff;
        int port = claim(wanted);
        assert_in_range(port, 0, 65535);
        assert_int_equal(port & 1, wanted & 1);
        if (wanted >= 1024)
            assert_true(port >= 1024);
        else
            assert_true(port < 1024);
        ports_release(&map, (uint16_t)port);
    }
    assert_int_equal(map.used, 0);
}

static void another_class_when_the_own_has_none(void **state)
{
    (void)state;
    allow(1024, 65535);
    assert_true(claim(80) >= 1024);
    allow(100, 200);
    assert_in_range(claim(5000), 100, 200);
}

/*
 * Each port comes out once, the other parity when the own is gone, and then nothing.
 * rfc: 6146-3.5.1.1-e, 6146-3.1-d
 */
static void every_port_exactly_once(void **state)
{
    (void)state;
    static uint8_t seen[65536];
    memset(seen, 0, sizeof(seen));
    allow(40000, 40999);
    for (unsigned i = 0; i < 1000; i++) {
        int port = claim(2001);
        assert_in_range(port, 40000, 40999);
        assert_int_equal(seen[port], 0);
        seen[port] = 1;
        assert_int_equal(port & 1, i < 500 ? 1 : 0);
    }
    assert_int_equal(claim(2001), -1);
    assert_int_equal(claim(2000), -1);
    assert_int_equal(map.used, 1000);
    ports_release(&map, 40500);
    assert_int_equal(claim(2001), 40500);
    assert_int_equal(claim(2001), -1);
}

static void ports_of_the_whole_range_come_out(void **state)
{
    (void)state;
    allow(0, 65535);
    for (unsigned i = 0; i < 65536; i++)
        assert_true(claim(i) >= 0);
    assert_int_equal(claim(1), -1);
    for (unsigned i = 0; i < 65536; i++)
        ports_release(&map, (uint16_t)i);
    assert_int_equal(map.used, 0);
    for (unsigned i = 0; i < 65536; i++)
        assert_true(claim(65535) >= 0);
    assert_int_equal(claim(1), -1);
}

static void a_port_outside_the_ranges_does_not_become_available(void **state)
{
    (void)state;
    allow(1024, 1025);
    assert_false(ports_take(&map, 80));
    map.used++; /* as a static binding would */
    ports_release(&map, 80);
    assert_true(claim(1024) >= 1024);
    assert_true(claim(1024) >= 1024);
    assert_int_equal(claim(80), -1);
}

/*
 * RFC 6056: with nearly all ports free, one hundred claims should not be neighbours.
 * rfc: 7857-9-a
 */
static void choice_is_spread(void **state)
{
    (void)state;
    allow(1024, 65535);
    int previous = claim(1024);
    unsigned near = 0;
    for (unsigned i = 0; i < 100; i++) {
        int port = claim(1024);
        near += abs(port - previous) < 128;
        previous = port;
    }
    assert_true(near < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_and_parity_are_kept),
        cmocka_unit_test(another_class_when_the_own_has_none),
        cmocka_unit_test(every_port_exactly_once),
        cmocka_unit_test(ports_of_the_whole_range_come_out),
        cmocka_unit_test(a_port_outside_the_ranges_does_not_become_available),
        cmocka_unit_test(choice_is_spread),
    };
    return cmocka_run_group_tests_name("ports", tests, NULL, NULL);
}
