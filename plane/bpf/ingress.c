/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stands at our place is found out by a list of all filters: the kernel's answer to the question for one
 * filter depends on what others there are. Whether it is ours its name says, which rtnetlink tells anybody.
 */
#include "plane/bpf/ingress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PREFERENCE = 6464, /* of our filter; the kernel tries filters in this order */
    HANDLE = 0x6464,
    REPLY = 32768, /* bytes that the kernel writes at a time, at most */
    REQUEST = 256,
};

#define CLSACT  "clsact"
#define PROGRAM "bpf"     /* the kind of filter */
#define NAME    "isthmus" /* of our filter */

/* --- talking to the kernel ------------------------------------------------------------------------ */

/* Sends the request and gives the answers to the function. Returns 0 or an errno. */
static int ask(struct nlmsghdr *request, mnl_cb_t function, void *data)
{
    char reply[REPLY];
    struct mnl_socket *netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    int more = MNL_CB_ERROR;
    if (netlink == NULL)
        return errno;
    request->nlmsg_seq = (uint32_t)time(NULL);
    if (mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) == 0 &&
        mnl_socket_sendto(netlink, request, request->nlmsg_len) >= 0)
        more = MNL_CB_OK;
    while (more == MNL_CB_OK) {
        ssize_t length = mnl_socket_recvfrom(netlink, reply, sizeof(reply));
        more = length < 0 ? MNL_CB_ERROR
                          : mnl_cb_run(reply, (size_t)length, request->nlmsg_seq,
                                       mnl_socket_get_portid(netlink), function, data);
    }
    int error = more == MNL_CB_ERROR ? errno : 0;
    mnl_socket_close(netlink);
    return error;
}

static struct tcmsg *begin(char request[static REQUEST], uint16_t type, uint16_t flags, unsigned interface)
{
    struct nlmsghdr *header = mnl_nlmsg_put_header(request);
    struct tcmsg *traffic = mnl_nlmsg_put_extra_header(header, sizeof(*traffic));
    header->nlmsg_type = type;
    header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    traffic->tcm_ifindex = (int)interface;
    return traffic;
}

/* --- links ---------------------------------------------------------------------------------------- */

static enum ingress_link link_of(unsigned type)
{
    switch (type) {
    case ARPHRD_ETHER:
        return INGRESS_ETHERNET;
    case ARPHRD_NONE:
    case ARPHRD_RAWIP:
    case ARPHRD_PPP:
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
        return INGRESS_PLAIN;
    default:
        return INGRESS_UNKNOWN;
    }
}

enum ingress_link ingress_link(const char *interface)
{
    struct ifreq request = {0};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0)
        return INGRESS_UNKNOWN;
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    bool known = ioctl(control, SIOCGIFHWADDR, &request) == 0;
    close(control);
    return known ? link_of(request.ifr_hwaddr.sa_family) : INGRESS_UNKNOWN;
}

/* --- filters -------------------------------------------------------------------------------------- */

/* Filters at one side of an interface. */
struct filters {
    unsigned count;
    bool ours;   /* is among them */
    bool others; /* have our preference */
};

/* One of them, as the kernel tells of it. */
struct told {
    bool program, named;
};

static int look_at_option(const struct nlattr *attribute, void *data)
{
    struct told *told = data;
    if (mnl_attr_get_type(attribute) == TCA_BPF_NAME &&
        mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
        told->named = strcmp(mnl_attr_get_str(attribute), NAME) == 0;
    return MNL_CB_OK;
}

static int look_at_attribute(const struct nlattr *attribute, void *data)
{
    struct told *told = data;
    if (mnl_attr_get_type(attribute) == TCA_KIND && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
        told->program = strcmp(mnl_attr_get_str(attribute), PROGRAM) == 0;
    else if (mnl_attr_get_type(attribute) == TCA_OPTIONS)
        return mnl_attr_parse_nested(attribute, look_at_option, told);
    return MNL_CB_OK;
}

/* For each preference there is an answer without a handle, before those of its filters. */
static int look_at_filter(const struct nlmsghdr *message, void *data)
{
    struct filters *filters = data;
    const struct tcmsg *traffic = mnl_nlmsg_get_payload(message);
    struct told told = {.program = false};
    if (message->nlmsg_type != RTM_NEWTFILTER)
        return MNL_CB_OK;
    filters->count++;
    if (TC_H_MAJ(traffic->tcm_info) >> 16 != PREFERENCE)
        return MNL_CB_OK;
    (void)mnl_attr_parse(message, sizeof(*traffic), look_at_attribute, &told);
    if (told.program && told.named && traffic->tcm_handle == HANDLE)
        filters->ours = true;
    else if (!told.program || traffic->tcm_handle != 0)
        filters->others = true;
    return MNL_CB_OK;
}

/* Returns 0 or an errno. */
static int list_filters(unsigned interface, uint32_t direction, struct filters *filters)
{
    char request[REQUEST];
    struct tcmsg *traffic = begin(request, RTM_GETTFILTER, NLM_F_DUMP, interface);
    traffic->tcm_parent = TC_H_MAKE(TC_H_CLSACT, direction);
    return ask((struct nlmsghdr *)(void *)request, look_at_filter, filters);
}

bool ingress_attached(unsigned interface)
{
    struct filters filters = {.count = 0};
    return list_filters(interface, TC_H_MIN_INGRESS, &filters) == 0 && filters.ours;
}

bool ingress_taken(unsigned interface)
{
    struct filters filters = {.count = 0};
    return list_filters(interface, TC_H_MIN_INGRESS, &filters) == 0 && filters.others;
}

/* A request about our filter. */
static struct nlmsghdr *about_filter(char request[static REQUEST], uint16_t type, uint16_t flags,
                                     unsigned interface)
{
    struct nlmsghdr *header = (struct nlmsghdr *)(void *)request;
    struct tcmsg *traffic = begin(request, type, (uint16_t)(NLM_F_ACK | flags), interface);
    traffic->tcm_handle = HANDLE;
    traffic->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
    traffic->tcm_info = TC_H_MAKE((uint32_t)PREFERENCE << 16, htons(ETH_P_ALL));
    mnl_attr_put_strz(header, TCA_KIND, PROGRAM);
    return header;
}

static int send_filter(struct nlmsghdr *header, int program)
{
    struct nlattr *options = mnl_attr_nest_start(header, TCA_OPTIONS);
    mnl_attr_put_u32(header, TCA_BPF_FD, (uint32_t)program);
    mnl_attr_put_strz(header, TCA_BPF_NAME, NAME);
    mnl_attr_put_u32(header, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
    mnl_attr_nest_end(header, options);
    return ask(header, NULL, NULL);
}

static int add_filter(unsigned interface, int program, bool replace)
{
    char request[REQUEST];
    uint16_t flags = (uint16_t)(NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL));
    return send_filter(about_filter(request, RTM_NEWTFILTER, flags, interface), program);
}

static int remove_filter(unsigned interface)
{
    char request[REQUEST];
    return ask(about_filter(request, RTM_DELTFILTER, 0, interface), NULL, NULL);
}

static int change_discipline(unsigned interface, uint16_t type, uint16_t flags)
{
    char request[REQUEST];
    struct nlmsghdr *header = (struct nlmsghdr *)(void *)request;
    struct tcmsg *traffic = begin(request, type, (uint16_t)(NLM_F_ACK | flags), interface);
    traffic->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
    traffic->tcm_parent = TC_H_CLSACT;
    mnl_attr_put_strz(header, TCA_KIND, CLSACT);
    return ask(header, NULL, NULL);
}

/* Removes the discipline if nobody has a filter in it. */
static int remove_discipline(unsigned interface)
{
    struct filters filters = {.count = 0};
    int error = list_filters(interface, TC_H_MIN_INGRESS, &filters);
    if (error == 0)
        error = list_filters(interface, TC_H_MIN_EGRESS, &filters);
    if (error != 0 || filters.count > 0)
        return error;
    return change_discipline(interface, RTM_DELQDISC, 0);
}

int ingress_attach(unsigned interface, int program, bool *made)
{
    struct filters filters = {.count = 0};
    int error = change_discipline(interface, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
    *made = error == 0;
    if (error == EEXIST)
        error = list_filters(interface, TC_H_MIN_INGRESS, &filters);
    if (error == 0)
        error = filters.others ? EBUSY : add_filter(interface, program, filters.ours);
    if (error != 0 && *made) {
        (void)remove_discipline(interface);
        *made = false;
    }
    return error == EEXIST ? EBUSY : error;
}

int egress_attach(unsigned device, int program)
{
    char request[REQUEST];
    int error = change_discipline(device, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
    if (error != 0 && error != EEXIST)
        return error;
    struct nlmsghdr *header = about_filter(request, RTM_NEWTFILTER, NLM_F_CREATE, device);
    struct tcmsg *traffic = mnl_nlmsg_get_payload(header);
    traffic->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);
    return send_filter(header, program);
}

void egress_detach(unsigned device)
{
    (void)change_discipline(device, RTM_DELQDISC, 0);
}

int ingress_detach(unsigned interface, bool made)
{
    int error = 0;
    if (ingress_attached(interface))
        error = remove_filter(interface);
    if (error == 0 && made)
        error = remove_discipline(interface);
    bool gone = error == ENODEV || error == ENOENT || error == EINVAL; /* the last: no discipline */
    return gone ? 0 : error;
}
