/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * By the ioctl of ethtool. The kernel has a list of names, and for each interface blocks of 32 bits, one for
 * each name, of what is on, what is asked for and what can be changed.
 */
#include "control/feature.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FEATURES_MAXIMUM = 128, /* Linux 6.18 has 66 */
    BLOCKS = FEATURES_MAXIMUM / 32,
};

/* The kernel's structs end in arrays without a length; these are the same with one. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-variable-sized-type-not-at-end"
#endif
struct strings_size {
    struct ethtool_sset_info head;
    uint32_t size;
};
struct strings {
    struct ethtool_gstrings head;
    char name[FEATURES_MAXIMUM][ETH_GSTRING_LEN];
};
struct states {
    struct ethtool_gfeatures head;
    struct ethtool_get_features_block block[BLOCKS];
};
struct wishes {
    struct ethtool_sfeatures head;
    struct ethtool_set_features_block block[BLOCKS];
};

/* Returns what the ioctl does, or a negative errno. */
static int ask(const char *interface, void *request)
{
    struct ifreq ask = {.ifr_data = request};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0)
        return -errno;
    snprintf(ask.ifr_name, sizeof(ask.ifr_name), "%s", interface);
    int status = ioctl(control, SIOCETHTOOL, &ask);
    int error = errno;
    close(control);
    return status < 0 ? -error : status;
}

/* The number of the feature, and how many there are, or a negative errno. */
static int find(const char *interface, const char *feature, uint32_t *count)
{
    struct strings_size sizes = {.head = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1 << ETH_SS_FEATURES}};
    struct strings strings = {.head = {.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES}};
    int status = ask(interface, &sizes);
    if (status < 0)
        return status;
    if (sizes.size > FEATURES_MAXIMUM)
        return -E2BIG;
    strings.head.len = *count = sizes.size;
    status = ask(interface, &strings);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i < *count; i++)
        if (strncmp(strings.name[i], feature, ETH_GSTRING_LEN) == 0)
            return (int)i;
    return -ENOENT;
}

int feature_read(const char *interface, const char *feature, bool *on)
{
    uint32_t count = 0;
    int number = find(interface, feature, &count);
    struct states states = {.head = {.cmd = ETHTOOL_GFEATURES, .size = (count + 31) / 32}};
    int status = number < 0 ? number : ask(interface, &states);
    if (status < 0)
        return -status;
    *on = (states.block[number / 32].active >> (number % 32) & 1) != 0;
    return 0;
}

int feature_set(const char *interface, const char *feature, bool on)
{
    uint32_t count = 0;
    int number = find(interface, feature, &count);
    struct wishes wishes = {.head = {.cmd = ETHTOOL_SFEATURES, .size = (count + 31) / 32}};
    if (number < 0)
        return -number;
    wishes.block[number / 32].valid = 1u << (number % 32);
    wishes.block[number / 32].requested = on ? 1u << (number % 32) : 0;
    int status = ask(interface, &wishes);
    if (status < 0)
        return -status;
    bool now = !on;
    status = feature_read(interface, feature, &now);
    return status != 0 ? status : now == on ? 0 : EBUSY;
}
