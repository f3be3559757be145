/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as an IPv4 packet, with any offload state. */
#include "test/fuzz/engine_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_packet(4, data, size);
    return 0;
}
