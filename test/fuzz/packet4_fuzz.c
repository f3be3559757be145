/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a packet that begins like an IPv4 one, with any offload state, into an engine whose earlier
 * sessions have all ended but one.
 */
#include "test/fuzz/engine_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A UDP packet from the client with the static binding, so that ICMP errors can be about a session. */
static void open_session(struct fuzz_engine *fuzz)
{
    static const uint8_t opening[48] = {
        0x60, 0, 0,    0,          0, 8,   17, 64,   0x20, 0x01, 0x0d, 0xb8, [23] = 1, 0x20, 0x01, 0x0d,
        0xb8, 0, 0x64, [36] = 203, 0, 113, 2,  0x9c, 0x40, 0,    53,   0,    8,        0,    1};
    uint8_t buffer[FUZZ_HEADROOM + sizeof(opening)];
    struct packet packet = {
        .buffer = buffer, .capacity = sizeof(buffer), .offset = FUZZ_HEADROOM, .length = sizeof(opening)};
    memcpy(packet_data(&packet), opening, sizeof(opening));
    FUZZ_CHECK(fuzz_receive(fuzz, &packet) == VERDICT_TRANSLATED_6TO4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_engine fuzz;
    if (fuzz.now > FUZZ_END_OF_TIME) /* the clock must not wrap in a long run */
        fuzz_engine_destroy(&fuzz);
    if (fuzz.engine == NULL || fuzz.now > FUZZ_END_OF_TIME)
        fuzz_engine_create(&fuzz);
    fuzz.now += (nanoseconds)(TCP_ESTABLISHED_SECONDS + 100) * 1000000000u;
    fuzz_expire(&fuzz);
    open_session(&fuzz);
    fuzz_one_packet(&fuzz, data, size);
    return 0;
}
