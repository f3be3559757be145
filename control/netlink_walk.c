/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walks over the kernel's links, addresses and routes. Attributes that are not known are skipped; a
 * message that lacks what is needed is passed over.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/ipv6.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "control/netlink_socket.h"

enum {
    ATTRIBUTES = 64, /* more types than any of the messages here has use for */
};

/* The attributes of a message by their type. */
struct attributes {
    const struct nlattr *at[ATTRIBUTES];
};

struct walk {
    union {
        netlink_visit_link *link;
        netlink_visit_address *address;
        netlink_visit_route *route;
    } visit;
    void *context;
};

static int collect(const struct nlattr *attribute, void *data)
{
    struct attributes *attributes = data;
    uint16_t type = mnl_attr_get_type(attribute);
    if (type < ATTRIBUTES)
        attributes->at[type] = attribute;
    return MNL_CB_OK;
}

static uint32_t number_of(const struct nlattr *attribute, uint32_t otherwise)
{
    if (attribute == NULL || mnl_attr_get_payload_len(attribute) < sizeof(uint32_t))
        return otherwise;
    return mnl_attr_get_u32(attribute);
}

static size_t address_size(int family)
{
    return family == AF_INET ? 4 : 16;
}

/* Copies an address that is there and long enough. */
static bool copy_address(struct network *network, const struct nlattr *attribute)
{
    size_t size = address_size(network->family);
    if (attribute == NULL || mnl_attr_get_payload_len(attribute) < size)
        return false;
    memcpy(network->address, mnl_attr_get_payload(attribute), size);
    return true;
}

/* IFLA_AF_SPEC / AF_INET6 / IFLA_INET6_CONF: an array of numbers. */
static uint32_t ipv6_mtu(const struct nlattr *families)
{
    struct attributes family = {0}, inside = {0};
    uint32_t mtu;
    if (families == NULL)
        return 0;
    mnl_attr_parse_nested(families, collect, &family);
    if (family.at[AF_INET6] == NULL)
        return 0;
    mnl_attr_parse_nested(family.at[AF_INET6], collect, &inside);
    const struct nlattr *numbers = inside.at[IFLA_INET6_CONF];
    if (numbers == NULL || mnl_attr_get_payload_len(numbers) < (DEVCONF_MTU6 + 1) * sizeof(mtu))
        return 0;
    memcpy(&mtu, (const uint8_t *)mnl_attr_get_payload(numbers) + DEVCONF_MTU6 * sizeof(mtu), sizeof(mtu));
    return mtu;
}

/* IFLA_LINKINFO / IFLA_INFO_SLAVE_KIND: what it is a part of. What is in a VRF is none. */
static bool is_port(const struct nlattr *kinds)
{
    struct attributes inside = {0};
    if (kinds == NULL)
        return false;
    mnl_attr_parse_nested(kinds, collect, &inside);
    const struct nlattr *kind = inside.at[IFLA_INFO_SLAVE_KIND];
    return kind != NULL && strncmp(mnl_attr_get_payload(kind), "vrf", mnl_attr_get_payload_len(kind)) != 0;
}

static int on_link(const struct nlmsghdr *message, void *data)
{
    const struct walk *walk = data;
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    struct attributes attributes = {0};
    struct netlink_link link = {.index = (unsigned)info->ifi_index,
                                .up = (info->ifi_flags & IFF_UP) != 0,
                                .running = (info->ifi_flags & IFF_RUNNING) != 0,
                                .removed = message->nlmsg_type == RTM_DELLINK,
                                .loopback = (info->ifi_flags & IFF_LOOPBACK) != 0};
    if (info->ifi_family != AF_UNSPEC) /* a bridge tells of its ports, which says nothing of the links */
        return MNL_CB_OK;
    mnl_attr_parse(message, sizeof(*info), collect, &attributes);
    link.mtu = number_of(attributes.at[IFLA_MTU], 0);
    link.ipv6_mtu = ipv6_mtu(attributes.at[IFLA_AF_SPEC]);
    link.port = is_port(attributes.at[IFLA_LINKINFO]);
    if (attributes.at[IFLA_IFNAME] != NULL)
        strncpy(link.name, mnl_attr_get_str(attributes.at[IFLA_IFNAME]), sizeof(link.name) - 1);
    walk->visit.link(walk->context, &link);
    return MNL_CB_OK;
}

static int on_address(const struct nlmsghdr *message, void *data)
{
    const struct walk *walk = data;
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
    struct attributes attributes = {0};
    if (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)
        return MNL_CB_OK;
    mnl_attr_parse(message, sizeof(*info), collect, &attributes);
    uint32_t flags = number_of(attributes.at[IFA_FLAGS], info->ifa_flags);
    struct netlink_address address = {
        .index = info->ifa_index,
        .network = {.family = info->ifa_family, .length = info->ifa_prefixlen},
        .global = info->ifa_scope == RT_SCOPE_UNIVERSE,
        .usable = (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED)) == 0,
    };
    /* On a link with a peer IFA_ADDRESS is the peer's; IPv6 otherwise states the local address there. */
    if (copy_address(&address.network, attributes.at[IFA_LOCAL]) ||
        copy_address(&address.network, attributes.at[IFA_ADDRESS]))
        walk->visit.address(walk->context, &address);
    return MNL_CB_OK;
}

static void visit_next_hops(const struct walk *walk, struct netlink_route *route, const struct nlattr *hops)
{
    const char *at = mnl_attr_get_payload(hops);
    size_t left = mnl_attr_get_payload_len(hops);
    struct rtnexthop hop;
    while (left >= sizeof(hop)) {
        memcpy(&hop, at, sizeof(hop));
        size_t step = ((size_t)hop.rtnh_len + 3) & ~(size_t)3; /* next hops are aligned to four bytes */
        route->index = (unsigned)hop.rtnh_ifindex;
        route->usable = (hop.rtnh_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) == 0;
        walk->visit.route(walk->context, route);
        if (step < sizeof(hop) || step >= left)
            break;
        at += step;
        left -= step;
    }
}

static uint32_t mtu_metric(const struct nlattr *metrics)
{
    struct attributes attributes = {0};
    if (metrics == NULL)
        return 0;
    mnl_attr_parse_nested(metrics, collect, &attributes);
    return number_of(attributes.at[RTAX_MTU], 0);
}

static int on_route(const struct nlmsghdr *message, void *data)
{
    const struct walk *walk = data;
    const struct rtmsg *info = mnl_nlmsg_get_payload(message);
    struct netlink_route route = {
        .to = {.family = info->rtm_family, .length = info->rtm_dst_len},
        .usable = (info->rtm_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) == 0,
    };
    struct attributes attributes = {0};
    if (info->rtm_type != RTN_UNICAST || info->rtm_table == RT_TABLE_LOCAL ||
        (info->rtm_flags & RTM_F_CLONED) != 0)
        return MNL_CB_OK;
    mnl_attr_parse(message, sizeof(*info), collect, &attributes);
    copy_address(&route.to, attributes.at[RTA_DST]); /* a default route has none */
    route.table = number_of(attributes.at[RTA_TABLE], info->rtm_table);
    route.metric = number_of(attributes.at[RTA_PRIORITY], 0);
    route.mtu = mtu_metric(attributes.at[RTA_METRICS]);
    route.index = number_of(attributes.at[RTA_OIF], 0);
    if (attributes.at[RTA_MULTIPATH] != NULL)
        visit_next_hops(walk, &route, attributes.at[RTA_MULTIPATH]);
    else if (route.index != 0 || attributes.at[RTA_NH_ID] != NULL)
        walk->visit.route(walk->context, &route);
    return MNL_CB_OK;
}

int netlink_links(struct netlink *netlink, netlink_visit_link *visit, void *context)
{
    struct walk walk = {.visit.link = visit, .context = context};
    struct nlmsghdr *message = netlink_request(netlink, RTM_GETLINK, NLM_F_DUMP);
    mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
    return netlink_exchange(netlink, message, on_link, &walk);
}

int netlink_addresses(struct netlink *netlink, netlink_visit_address *visit, void *context)
{
    struct walk walk = {.visit.address = visit, .context = context};
    struct nlmsghdr *message = netlink_request(netlink, RTM_GETADDR, NLM_F_DUMP);
    mnl_nlmsg_put_extra_header(message, sizeof(struct ifaddrmsg));
    return netlink_exchange(netlink, message, on_address, &walk);
}

int netlink_routes(struct netlink *netlink, int family, netlink_visit_route *visit, void *context)
{
    struct walk walk = {.visit.route = visit, .context = context};
    struct nlmsghdr *message = netlink_request(netlink, RTM_GETROUTE, NLM_F_DUMP);
    struct rtmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
    info->rtm_family = (unsigned char)family;
    return netlink_exchange(netlink, message, on_route, &walk);
}

bool netlink_events(struct netlink *netlink, netlink_visit_link *visit, void *context)
{
    struct walk walk = {.visit.link = visit, .context = context};
    ssize_t length = mnl_socket_recvfrom(netlink->socket, netlink->answer, sizeof(netlink->answer));
    if (length > 0)
        mnl_cb_run(netlink->answer, (size_t)length, 0, 0, on_link, &walk);
    return length >= 0 || errno != ENOBUFS;
}
