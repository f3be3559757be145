/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lifetimes below what the RFCs forbid to go below. Some are refused as errors (the schema's ranges); those
 * of TCP are not, because laboratories want to see sessions end and busy networks to be rid of the dead, but
 * whoever takes that on should know.
 */
#include "control/config_warn.h"

#include <stddef.h>
#include <stdio.h>

#include "control/log.h"

/* A lifetime and the least it should be; 0 stands for that of another key. */
struct floor {
    const char *key;
    size_t offset;
    uint32_t least;
    const char *least_text, *clause, *price;
};

static const struct floor floors[] = {
    {"tcp-established", offsetof(struct nat64_timeouts, tcp_established), TCP_ESTABLISHED_SECONDS, "2h4m",
     "RFC 6146 section 3.5.2.2 and RFC 5382 REQ-5 forbid", "connections that are idle for longer break"},
    {"tcp-transitory", offsetof(struct nat64_timeouts, tcp_transitory), TCP_TRANSITORY_SECONDS, "4m",
     "RFC 5382 REQ-5 forbids", "slow connections may break while they open or close"},
    {"tcp-closing", offsetof(struct nat64_timeouts, tcp_closing), TCP_TRANSITORY_SECONDS, "4m",
     "RFC 5382 REQ-5 forbids", "slow connections may break while they close"},
};

enum { FLOORS = sizeof(floors) / sizeof(floors[0]) };

/* rfc: 6146-3.5.2.2-h, 5382-REQ5-b */
bool config_warning(const struct config *config, unsigned *position, char text[static 256])
{
    while (*position < config->settings.nat64_count * FLOORS) {
        unsigned instance = *position / FLOORS;
        const struct floor *floor = &floors[(*position)++ % FLOORS];
        const struct nat64_timeouts *timeouts = &config->settings.nat64[instance].timeouts;
        uint32_t seconds = *(const uint32_t *)(const void *)((const char *)timeouts + floor->offset);
        if (seconds == 0 || seconds >= floor->least)
            continue;
        snprintf(text, 256, "nat64[%u].timeouts.%s is below %s, which %s: %s", instance, floor->key,
                 floor->least_text, floor->clause, floor->price);
        return true;
    }
    return false;
}

void config_warn(const struct config *config)
{
    char text[256];
    for (unsigned position = 0; config_warning(config, &position, text);)
        log_warning("%s", text);
}
