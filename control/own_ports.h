/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ports of the machine's own addresses that are to be its clients', kept apart from those of its
 * programs.
 *
 *     a socket is bound to one             refused: it would not get its packets once a client has the port
 *     a connection happens to have one     said; it ends some time
 *     the kernel may give one away         it is told not to, by net.ipv4.ip_local_reserved_ports
 *
 * That setting is a list which others write to as well. So what is put on it is recorded range by range, and
 * taken off it again, whatever else has come to stand there.
 */
#ifndef CONTROL_OWN_PORTS_H
#define CONTROL_OWN_PORTS_H

#include "control/config.h"

enum {
    PORT_SET_WORDS = 65536 / 64,
    PORT_SET_TEXT = 4000, /* bytes of a list that the kernel takes at once */
};

struct port_set {
    uint64_t word[PORT_SET_WORDS];
};

/* Ports, without ICMP's identifiers, of entries that name an interface. */
void own_ports(const struct config *config, struct port_set *ports);

/* A number that changes with them; 0: there are none. */
uint64_t own_ports_sum(const struct config *config);

/* "80,1000-1999", as the kernel writes and reads it; "" is none. False: it is no such list, or is too long.
 */
bool port_set_read(struct port_set *ports, const char *text);
bool port_set_print(const struct port_set *ports, char *text, size_t size);

/* "1000-1999" alone. */
bool port_range_read(const char *text, uint32_t *low, uint32_t *high);

/* The next range at or after *low; false: there is none. */
bool port_set_next(const struct port_set *ports, uint32_t *low, uint32_t *high);
void port_set_add(struct port_set *ports, uint32_t low, uint32_t high);
void port_set_remove(struct port_set *ports, uint32_t low, uint32_t high);

/*
 * False, with a sentence, if a socket is bound to one of the ports at an address that a pool entry has, or if
 * the machine would have too few left for its own connections.
 */
bool own_ports_check(const struct config *config, char *error, size_t size);

/* The same for a list of sockets as in /proc/net: how many connections have one is added up. */
struct socket_list {
    const char *protocol; /* TCP or UDP, ... */
    uint8_t transport;    /* ... enum transport */
    bool ipv6;
};
bool own_ports_check_list(const struct config *config, const struct socket_list *list, FILE *file,
                          uint32_t *connections, char *error, size_t size);

/* The kernel's list: the setting as a set. Returns 0 or an errno. */
int reserved_ports_read(struct port_set *ports);
int reserved_ports_write(const struct port_set *ports);

#endif /* CONTROL_OWN_PORTS_H */
