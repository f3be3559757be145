/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libbpf attaches and detaches; what it does not tell, whether a discipline has filters of others, the kernel
 * is asked over netlink. Ours are known by the names of the programs, which the kernel keeps.
 */
#include "plane/bpf/ingress.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PREFERENCE = 6464, /* of our filter; the kernel tries filters in this order */
    HANDLE = 0x6464,
};

/* Linux has it, the C library's <net/if_arp.h> not. */
#ifndef ARPHRD_RAWIP
#define ARPHRD_RAWIP 519
#endif

#define OUR_NAMES "translate_" /* how the names of our programs begin */

enum ingress_link ingress_link(const char *interface)
{
    struct ifreq request = {0};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0)
        return INGRESS_UNKNOWN;
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    bool known = ioctl(control, SIOCGIFHWADDR, &request) == 0;
    close(control);
    switch (known ? request.ifr_hwaddr.sa_family : ARPHRD_LOOPBACK) {
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

static struct bpf_tc_hook hook_of(unsigned interface)
{
    return (struct bpf_tc_hook){
        .sz = sizeof(struct bpf_tc_hook), .ifindex = (int)interface, .attach_point = BPF_TC_INGRESS};
}

static struct bpf_tc_opts place_of_ours(void)
{
    return (struct bpf_tc_opts){.sz = sizeof(struct bpf_tc_opts), .handle = HANDLE, .priority = PREFERENCE};
}

/* Is the program with this number one of ours? */
static bool is_ours(uint32_t id)
{
    struct bpf_prog_info info = {0};
    uint32_t length = sizeof(info);
    int program = bpf_prog_get_fd_by_id(id);
    if (program < 0)
        return false;
    bool ours = bpf_obj_get_info_by_fd(program, &info, &length) == 0 &&
                strncmp(info.name, OUR_NAMES, strlen(OUR_NAMES)) == 0;
    close(program);
    return ours;
}

bool ingress_attached(unsigned interface)
{
    struct bpf_tc_hook hook = hook_of(interface);
    struct bpf_tc_opts place = place_of_ours();
    return bpf_tc_query(&hook, &place) == 0 && is_ours(place.prog_id);
}

int ingress_attach(unsigned interface, int program, bool *made)
{
    struct bpf_tc_hook hook = hook_of(interface);
    struct bpf_tc_opts place = place_of_ours();
    int error = bpf_tc_hook_create(&hook);
    *made = error == 0;
    if (error != 0 && error != -EEXIST)
        return -error;
    place.prog_fd = program;
    if (ingress_attached(interface))
        place.flags = BPF_TC_F_REPLACE;
    error = bpf_tc_attach(&hook, &place);
    if (error == 0)
        return 0;
    if (*made)
        (void)ingress_detach(interface, true);
    *made = false;
    return error == -EEXIST ? EBUSY : -error;
}

static int count_filter(const struct nlmsghdr *message, void *data)
{
    unsigned *filters = data;
    *filters += message->nlmsg_type == RTM_NEWTFILTER;
    return MNL_CB_OK;
}

/* How many filters there are for one direction, or one if the kernel does not tell. */
static unsigned count_filters(unsigned interface, uint32_t direction)
{
    char buffer[32768];
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    struct tcmsg *traffic = mnl_nlmsg_put_extra_header(request, sizeof(*traffic));
    struct mnl_socket *netlink = mnl_socket_open(NETLINK_ROUTE);
    unsigned filters = 0;
    int more = netlink != NULL ? MNL_CB_OK : MNL_CB_ERROR;

    request->nlmsg_type = RTM_GETTFILTER;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    traffic->tcm_ifindex = (int)interface;
    traffic->tcm_parent = TC_H_MAKE(TC_H_CLSACT, direction);
    if (netlink != NULL && (mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) != 0 ||
                            mnl_socket_sendto(netlink, request, request->nlmsg_len) < 0))
        more = MNL_CB_ERROR;
    while (more == MNL_CB_OK) {
        ssize_t length = mnl_socket_recvfrom(netlink, buffer, sizeof(buffer));
        more = length < 0 ? MNL_CB_ERROR
                          : mnl_cb_run(buffer, (size_t)length, 0, mnl_socket_get_portid(netlink),
                                       count_filter, &filters);
    }
    if (netlink != NULL)
        mnl_socket_close(netlink);
    return more == MNL_CB_STOP ? filters : 1;
}

int ingress_detach(unsigned interface, bool made)
{
    struct bpf_tc_hook hook = hook_of(interface);
    struct bpf_tc_opts place = place_of_ours();
    int error = 0;
    if (ingress_attached(interface))
        error = bpf_tc_detach(&hook, &place);
    if (error == 0 && made && count_filters(interface, TC_H_MIN_INGRESS) == 0 &&
        count_filters(interface, TC_H_MIN_EGRESS) == 0) {
        hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS; /* means: the discipline itself */
        error = bpf_tc_hook_destroy(&hook);
    }
    bool gone = error == -ENODEV || error == -ENOENT || error == -EINVAL; /* the last: no discipline */
    return gone ? 0 : -error;
}
