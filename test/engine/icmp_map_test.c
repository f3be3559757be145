/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every type and code against what RFC 7915 sections 4.2 and 5.2 say, written down here a second time as
 * results; what is not listed must have no counterpart.
 */
#include "engine/icmp_map.h"
#include "test/engine/packets.h"

enum { DROPPED = -1 };

static const struct icmp_mtu about = {.mtu6 = 1500, .mtu4 = 1500, .quoted_length = 1500};

/* Type and code of the result in one number, or DROPPED. The rest is a pointer that both families know. */
static int map(bool from4, unsigned type, unsigned code)
{
    struct icmp_header from = {.type = (uint8_t)type, .code = (uint8_t)code}, to = {0};
    bool mapped = from4 ? icmp_error_4to6(&from, &about, &to) : icmp_error_6to4(&from, &about, &to);
    return mapped ? to.type << 8 | to.code : DROPPED;
}

static int expected4(unsigned type, unsigned code)
{
    static const int unreachable[] = {0x100, 0x100, 0x401, 0x104, 0x200, 0x100, 0x100,   0x100,
                                      0x100, 0x101, 0x101, 0x100, 0x100, 0x101, DROPPED, 0x101};
    if (type == 3)
        return code < 16 ? unreachable[code] : DROPPED;
    if (type == 11)
        return (int)(0x300 | code);
    return type == 12 && (code == 0 || code == 2) ? 0x400 : DROPPED;
}

static int expected6(unsigned type, unsigned code)
{
    static const int unreachable[] = {0x301, 0x30a, 0x301, 0x301, 0x303};
    if (type == 1)
        return code < 5 ? unreachable[code] : DROPPED;
    if (type == 2)
        return 0x304;
    if (type == 3)
        return (int)(0xb00 | code);
    if (type == 4)
        return code == 0 ? 0xc00 : code == 1 ? 0x302 : DROPPED;
    return DROPPED;
}

/* rfc: 7915-4.2-a, 7915-4.2-g, 7915-4.2-l, 7915-5.2-b, 7915-5.2-f, 7915-5.2-h */
static void every_type_and_code_is_mapped(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++)
        for (unsigned code = 0; code < 256; code++) {
            assert_int_equal(map(true, type, code), expected4(type, code));
            assert_int_equal(map(false, type, code), expected6(type, code));
        }
}

static void echo_types_are_mapped(void **state)
{
    (void)state;
    assert_int_equal(icmp_query_4to6(8), 128);
    assert_int_equal(icmp_query_4to6(0), 129);
    assert_int_equal(icmp_query_6to4(128), 8);
    assert_int_equal(icmp_query_6to4(129), 0);
}

/* rfc: 7915-4.2-m */
static void pointers_from_4_are_mapped(void **state)
{
    static const int figure3[] = {0,       1,       4, 4, DROPPED, DROPPED, DROPPED, DROPPED, 7,  6,
                                  DROPPED, DROPPED, 8, 8, 8,       8,       24,      24,      24, 24};
    (void)state;
    for (unsigned pointer = 0; pointer < 256; pointer++) {
        struct icmp_header from = {.type = 12, .rest = {(uint8_t)pointer}}, to = {0};
        int expected = pointer < 20 ? figure3[pointer] : DROPPED;
        assert_int_equal(icmp_error_4to6(&from, &about, &to), expected != DROPPED);
        if (expected != DROPPED)
            assert_int_equal(be(to.rest, 4), expected);
    }
}

/* rfc: 7915-5.2-i */
static void pointers_from_6_are_mapped(void **state)
{
    static const int figure6[] = {0, 1, DROPPED, DROPPED, 2, 2, 9, 8};
    (void)state;
    for (unsigned pointer = 0; pointer < 300; pointer++) {
        struct icmp_header from = {.type = 4}, to = {0};
        int expected = pointer < 8 ? figure6[pointer] : pointer < 24 ? 12 : pointer < 40 ? 16 : DROPPED;
        put(from.rest, 4, pointer);
        assert_int_equal(icmp_error_6to4(&from, &about, &to), expected != DROPPED);
        if (expected != DROPPED)
            assert_int_equal(be(to.rest, 4), (uint32_t)expected << 24);
    }
    struct icmp_header huge = {.type = 4, .rest = {1, 0, 0, 6}}, to = {0};
    assert_false(icmp_error_6to4(&huge, &about, &to));
}

static void protocol_unreachable_points_to_next_header(void **state)
{
    struct icmp_header from = {.type = 3, .code = 2, .rest = {9, 9, 9, 9}}, to = {0};
    (void)state;
    assert_true(icmp_error_4to6(&from, &about, &to));
    assert_int_equal(be(to.rest, 4), 6);
}

static uint32_t mtu6_for(uint32_t reported, uint32_t mtu6, uint32_t mtu4, uint32_t quoted)
{
    struct icmp_mtu with = {.mtu6 = mtu6, .mtu4 = mtu4, .quoted_length = quoted};
    struct icmp_header from = {.type = 3, .code = 4}, to = {0};
    put(from.rest + 2, 2, reported);
    assert_true(icmp_error_4to6(&from, &with, &to));
    return be(to.rest, 4);
}

/* rfc: 7915-4.2-h, 7915-4.2-i, 7915-4.2-j */
static void mtu_from_4_is_adjusted(void **state)
{
    (void)state;
    assert_int_equal(mtu6_for(1400, 1500, 1500, 1500), 1420);
    assert_int_equal(mtu6_for(9000, 1500, 9000, 9000), 1500);
    assert_int_equal(mtu6_for(9000, 9000, 1400, 9000), 1420);
    assert_int_equal(mtu6_for(576, 1500, 1500, 1500), 1280);
    assert_int_equal(mtu6_for(65535, 100000, 100000, 1500), 65555);
    /* No MTU: the greatest plateau of RFC 1191 below the length of the packet in error. */
    assert_int_equal(mtu6_for(0, 9000, 9000, 1500), 1512);
    assert_int_equal(mtu6_for(0, 9000, 9000, 1492), 1280);
    assert_int_equal(mtu6_for(0, 9000, 9000, 1493), 1512);
    assert_int_equal(mtu6_for(0, 9000, 9000, 4352), 2022);
    assert_int_equal(mtu6_for(0, 70000, 70000, 65535), 32020);
    assert_int_equal(mtu6_for(0, 1500, 1500, 9000), 1500);
    assert_int_equal(mtu6_for(0, 1500, 1500, 100), 1280);
}

static uint32_t mtu4_for(uint32_t reported, uint32_t mtu6, uint32_t mtu4, bool fragment)
{
    struct icmp_mtu with = {.mtu6 = mtu6, .mtu4 = mtu4, .quoted_has_fragment = fragment};
    struct icmp_header from = {.type = 2}, to = {0};
    put(from.rest, 4, reported);
    assert_true(icmp_error_6to4(&from, &with, &to));
    assert_int_equal(be(to.rest, 2), 0);
    return be(to.rest + 2, 2);
}

/* rfc: 7915-5.2-g */
static void mtu_from_6_is_adjusted(void **state)
{
    (void)state;
    assert_int_equal(mtu4_for(1400, 1500, 1500, false), 1380);
    assert_int_equal(mtu4_for(1400, 1500, 1500, true), 1372);
    assert_int_equal(mtu4_for(9000, 1500, 1500, false), 1480);
    assert_int_equal(mtu4_for(9000, 9000, 1400, false), 1400);
    assert_int_equal(mtu4_for(1280, 1500, 1500, false), 1260);
    assert_int_equal(mtu4_for(0xffffffff, 1500, 1500, false), 1480);
    assert_int_equal(mtu4_for(0xffffffff, 100000, 100000, false), 0xffff);
    assert_int_equal(mtu4_for(0, 1500, 1500, false), 68);
    assert_int_equal(mtu4_for(19, 1500, 1500, true), 68);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_code_is_mapped),
        cmocka_unit_test(echo_types_are_mapped),
        cmocka_unit_test(pointers_from_4_are_mapped),
        cmocka_unit_test(pointers_from_6_are_mapped),
        cmocka_unit_test(protocol_unreachable_points_to_next_header),
        cmocka_unit_test(mtu_from_4_is_adjusted),
        cmocka_unit_test(mtu_from_6_is_adjusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
