/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request is one message with NLM_F_ACK; the answer is an errno. The walks are in netlink_walk.c.
 */
#include "control/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/netlink_socket.h"

enum {
    DRAIN_MAXIMUM = 512, /* messages; more than the socket holds */
};

static struct netlink *open_groups(unsigned groups)
{
    struct netlink *netlink = calloc(1, sizeof(*netlink));
    if (netlink == NULL)
        return NULL;
    netlink->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (netlink->socket == NULL || mnl_socket_bind(netlink->socket, groups, MNL_SOCKET_AUTOPID) < 0) {
        netlink_close(netlink);
        return NULL;
    }
    netlink->sequence = (unsigned)time(NULL);
    return netlink;
}

struct netlink *netlink_open(void)
{
    return open_groups(0);
}

struct netlink *netlink_watch_links(void)
{
    return open_groups(RTMGRP_LINK);
}

struct netlink *netlink_watch_routes(void)
{
    return open_groups(RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV6_IFINFO |
                       1u << (RTNLGRP_NEXTHOP - 1));
}

struct netlink *netlink_watch_addresses(void)
{
    return open_groups(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
}

/* A message is gone whole, however little of it is read; that some were lost (ENOBUFS) is one more. */
void netlink_drain(struct netlink *netlink)
{
    char byte;
    for (int i = 0; i < DRAIN_MAXIMUM; i++)
        if (recv(netlink_fd(netlink), &byte, sizeof(byte), MSG_DONTWAIT) < 0 && errno != ENOBUFS)
            return;
}

void netlink_close(struct netlink *netlink)
{
    if (netlink == NULL)
        return;
    int error = errno;
    if (netlink->socket != NULL)
        mnl_socket_close(netlink->socket);
    free(netlink);
    errno = error;
}

int netlink_fd(const struct netlink *netlink)
{
    return mnl_socket_get_fd(netlink->socket);
}

struct nlmsghdr *netlink_request(struct netlink *netlink, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *message = mnl_nlmsg_put_header(netlink->request);
    message->nlmsg_type = type;
    message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    message->nlmsg_seq = ++netlink->sequence;
    return message;
}

int netlink_exchange(struct netlink *netlink, const struct nlmsghdr *message, mnl_cb_t visit, void *context)
{
    unsigned port = mnl_socket_get_portid(netlink->socket);
    int status = 1;
    if (mnl_socket_sendto(netlink->socket, message, message->nlmsg_len) < 0)
        return errno;
    while (status > 0) {
        ssize_t length = mnl_socket_recvfrom(netlink->socket, netlink->answer, sizeof(netlink->answer));
        if (length < 0)
            return errno;
        status = mnl_cb_run(netlink->answer, (size_t)length, netlink->sequence, port, visit, context);
    }
    return status < 0 ? errno : 0;
}

static int acknowledged(struct netlink *netlink, struct nlmsghdr *message)
{
    message->nlmsg_flags |= NLM_F_ACK;
    return netlink_exchange(netlink, message, NULL, NULL);
}

int netlink_link_up(struct netlink *netlink, unsigned index)
{
    struct nlmsghdr *message = netlink_request(netlink, RTM_NEWLINK, 0);
    struct ifinfomsg *link = mnl_nlmsg_put_extra_header(message, sizeof(*link));
    link->ifi_index = (int)index;
    link->ifi_change = IFF_UP;
    link->ifi_flags = IFF_UP;
    return acknowledged(netlink, message);
}

int netlink_link_remove(struct netlink *netlink, unsigned index)
{
    struct nlmsghdr *message = netlink_request(netlink, RTM_DELLINK, 0);
    struct ifinfomsg *link = mnl_nlmsg_put_extra_header(message, sizeof(*link));
    link->ifi_index = (int)index;
    return acknowledged(netlink, message);
}

int netlink_address_add(struct netlink *netlink, const struct network *own, unsigned index)
{
    size_t size = own->family == AF_INET ? 4 : 16;
    struct nlmsghdr *message = netlink_request(netlink, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
    struct ifaddrmsg *address = mnl_nlmsg_put_extra_header(message, sizeof(*address));
    address->ifa_family = (unsigned char)own->family;
    address->ifa_prefixlen = own->length;
    address->ifa_scope = RT_SCOPE_HOST;
    address->ifa_index = index;
    mnl_attr_put(message, IFA_LOCAL, size, own->address);
    mnl_attr_put(message, IFA_ADDRESS, size, own->address);
    return acknowledged(netlink, message);
}

void netlink_put_route(struct nlmsghdr *message, bool add, const struct network *to, unsigned index)
{
    struct rtmsg *route = mnl_nlmsg_put_extra_header(message, sizeof(*route));
    route->rtm_family = (unsigned char)to->family;
    route->rtm_dst_len = to->length;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = add ? RTPROT_STATIC : RTPROT_UNSPEC;
    route->rtm_scope = !add ? RT_SCOPE_NOWHERE : to->family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    route->rtm_type = RTN_UNICAST;
    mnl_attr_put(message, RTA_DST, to->family == AF_INET ? 4 : 16, to->address);
    mnl_attr_put_u32(message, RTA_OIF, index);
}

int netlink_route_add(struct netlink *netlink, const struct network *to, unsigned index)
{
    struct nlmsghdr *message = netlink_request(netlink, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    netlink_put_route(message, true, to, index);
    return acknowledged(netlink, message);
}

int netlink_route_remove(struct netlink *netlink, const struct network *to, unsigned index)
{
    struct nlmsghdr *message = netlink_request(netlink, RTM_DELROUTE, 0);
    netlink_put_route(message, false, to, index);
    return acknowledged(netlink, message);
}

static int ignore_answer(const struct nlmsghdr *message, void *context)
{
    (void)message;
    (void)context;
    return MNL_CB_OK;
}

static int request_proxy(struct netlink *netlink, uint16_t type, uint32_t address, unsigned index)
{
    struct nlmsghdr *message = netlink_request(netlink, type, type == RTM_NEWNEIGH ? NLM_F_CREATE : 0);
    struct ndmsg *neighbour = mnl_nlmsg_put_extra_header(message, sizeof(*neighbour));
    neighbour->ndm_family = AF_INET;
    neighbour->ndm_ifindex = (int)index;
    neighbour->ndm_state = type == RTM_GETNEIGH ? 0 : NUD_PERMANENT;
    neighbour->ndm_flags = NTF_PROXY;
    mnl_attr_put_u32(message, NDA_DST, address);
    message->nlmsg_flags |= NLM_F_ACK;
    return netlink_exchange(netlink, message, ignore_answer, NULL);
}

/* The kernel does not refuse a proxy entry that exists, so it is asked first. */
int netlink_proxy_add(struct netlink *netlink, uint32_t address, unsigned index)
{
    if (request_proxy(netlink, RTM_GETNEIGH, address, index) == 0)
        return EEXIST;
    return request_proxy(netlink, RTM_NEWNEIGH, address, index);
}

int netlink_proxy_remove(struct netlink *netlink, uint32_t address, unsigned index)
{
    return request_proxy(netlink, RTM_DELNEIGH, address, index);
}

bool network_is_link_local(const struct network *network)
{
    return network->family == AF_INET6 ? network->address[0] == 0xfe && (network->address[1] & 0xc0) == 0x80
                                       : network->address[0] == 169 && network->address[1] == 254;
}

bool network_parse(const char *text, struct network *network)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    char *end;
    memset(network, 0, sizeof(*network));
    if (slash == NULL || (size_t)(slash - text) >= sizeof(address))
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    network->family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
    unsigned long length = strtoul(slash + 1, &end, 10);
    if (end == slash + 1 || *end != '\0' || length > (network->family == AF_INET ? 32 : 128))
        return false;
    network->length = (uint8_t)length;
    return inet_pton(network->family, address, network->address) == 1;
}

void network_print(const struct network *network, char text[static NETWORK_TEXT])
{
    char address[INET6_ADDRSTRLEN];
    inet_ntop(network->family, network->address, address, sizeof(address));
    snprintf(text, NETWORK_TEXT, "%s/%u", address, network->length);
}
