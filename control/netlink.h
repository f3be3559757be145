/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Talking to the kernel about links, addresses, routes and neighbours (rtnetlink, over libmnl).
 *
 * All functions work in the network namespace in which netlink_open was called, and wait for the answer.
 * Those that change something need CAP_NET_ADMIN. They return 0 or an errno.
 */
#ifndef CONTROL_NETLINK_H
#define CONTROL_NETLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct netlink;

/* NULL and errno on failure. */
struct netlink *netlink_open(void);
void netlink_close(struct netlink *netlink);

int netlink_link_up(struct netlink *netlink, unsigned index);
int netlink_link_remove(struct netlink *netlink, unsigned index);

/* An address with its length: of a route's destination, or of an interface with that of its subnet. */
struct network {
    int family; /* AF_INET or AF_INET6 */
    uint8_t address[16];
    uint8_t length;
};

bool network_is_link_local(const struct network *network);

/* Reads "ADDRESS/LENGTH". */
bool network_parse(const char *text, struct network *network);
enum {
    NETWORK_TEXT = 64,
};
void network_print(const struct network *network, char text[static NETWORK_TEXT]);

/* An address of a device, of scope host: the kernel takes it for no packet's source. It goes with the device.
 */
int netlink_address_add(struct netlink *netlink, const struct network *address, unsigned index);

/* A unicast route to a device. Adding one that exists is EEXIST, removing one that does not is ESRCH. */
int netlink_route_add(struct netlink *netlink, const struct network *to, unsigned index);
int netlink_route_remove(struct netlink *netlink, const struct network *to, unsigned index);

/*
 * The same for many routes, with one exchange for a hundred. All are tried; the first error is returned, and
 * *failed is the number of the route that it is about. To remove what does not exist is no error here.
 */
int netlink_routes_add(struct netlink *netlink, const struct network *to, size_t count, unsigned index,
                       size_t *failed);
int netlink_routes_remove(struct netlink *netlink, const struct network *to, size_t count, unsigned index,
                          size_t *failed);

/* Answering ARP for an IPv4 address (network byte order) on an interface that does not have it. */
int netlink_proxy_add(struct netlink *netlink, uint32_t address, unsigned index);
int netlink_proxy_remove(struct netlink *netlink, uint32_t address, unsigned index);

/* Walks what the kernel has. `visit` is called for each; it must not use the same netlink. */
struct netlink_link {
    unsigned index, mtu;
    uint32_t ipv6_mtu; /* what a router advertised or an operator set for IPv6 alone; 0: not known */
    bool up, running, loopback;
    bool port;    /* of a bridge, a bond or a team: packets come in by that */
    bool removed; /* told by netlink_events only */
    char name[IFNAMSIZ];
};
struct netlink_address {
    unsigned index;
    struct network network; /* the local address, with the length of its subnet */
    bool global, usable;    /* scope is global; not tentative, deprecated or failed */
};
struct netlink_route { /* one next hop of a unicast route of any table but `local` */
    struct network to;
    bool usable;            /* its link has a carrier and is up */
    unsigned index;         /* of its device; 0: by a next hop object that the kernel does not tell more of */
    uint32_t mtu;           /* its metric, or 0 */
    uint32_t table, metric; /* of routes to one prefix in one table that with the lowest metric is used */
};
typedef void netlink_visit_link(void *context, const struct netlink_link *link);
typedef void netlink_visit_address(void *context, const struct netlink_address *address);
typedef void netlink_visit_route(void *context, const struct netlink_route *route);
int netlink_links(struct netlink *netlink, netlink_visit_link *visit, void *context);
int netlink_addresses(struct netlink *netlink, netlink_visit_address *visit, void *context);
int netlink_routes(struct netlink *netlink, int family, netlink_visit_route *visit, void *context);

/*
 * A second socket that hears of changes of links. netlink_events reads what has come and visits every link
 * that it is about, as the link was then. False if events were lost in a burst: look at all links instead.
 */
struct netlink *netlink_watch_links(void);
int netlink_fd(const struct netlink *netlink);
bool netlink_events(struct netlink *netlink, netlink_visit_link *visit, void *context);

/*
 * One that hears of changes of links and routes, and one of links and addresses, for who then looks at all
 * of them anew. netlink_drain throws away what has come, up to some hundreds of messages.
 */
struct netlink *netlink_watch_routes(void);
struct netlink *netlink_watch_addresses(void);
void netlink_drain(struct netlink *netlink);

#endif /* CONTROL_NETLINK_H */
