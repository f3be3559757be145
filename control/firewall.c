/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nf_tables is asked for its chains; iptables of today keeps its chains there as well. Whether a
 * rule lets our packets pass before the policy drops them cannot be told without evaluating the
 * rules, so the warning says what to look for. No answer, or no right to ask, means no warning.
 */
#include "control/firewall.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdbool.h>
#include <string.h>

#include "control/log.h"

enum {
    ATTRIBUTES = 32,
    ANSWER_SIZE = 32768,
};

struct attributes {
    const struct nlattr *at[ATTRIBUTES];
};

static int collect(const struct nlattr *attribute, void *data)
{
    struct attributes *attributes = data;
    uint16_t type = mnl_attr_get_type(attribute);
    if (type < ATTRIBUTES)
        attributes->at[type] = attribute;
    return MNL_CB_OK;
}

static uint32_t number_of(const struct nlattr *attribute)
{
    return ntohl(mnl_attr_get_u32(attribute));
}

static int on_chain(const struct nlmsghdr *message, void *data)
{
    const struct nfgenmsg *info = mnl_nlmsg_get_payload(message);
    struct attributes chain = {0}, hook = {0};
    (void)data;
    mnl_attr_parse(message, sizeof(*info), collect, &chain);
    if (chain.at[NFTA_CHAIN_HOOK] == NULL || chain.at[NFTA_CHAIN_POLICY] == NULL ||
        chain.at[NFTA_CHAIN_TABLE] == NULL || chain.at[NFTA_CHAIN_NAME] == NULL)
        return MNL_CB_OK;
    mnl_attr_parse_nested(chain.at[NFTA_CHAIN_HOOK], collect, &hook);
    bool forwards = info->nfgen_family == NFPROTO_IPV4 || info->nfgen_family == NFPROTO_IPV6 ||
                    info->nfgen_family == NFPROTO_INET;
    if (!forwards || hook.at[NFTA_HOOK_HOOKNUM] == NULL ||
        number_of(hook.at[NFTA_HOOK_HOOKNUM]) != NF_INET_FORWARD ||
        number_of(chain.at[NFTA_CHAIN_POLICY]) != NF_DROP)
        return MNL_CB_OK;
    log_warning(
        "the firewall drops forwarded %spackets that no rule accepts (table %s, chain %s): accept those from "
        "and to isthmus's device there",
        info->nfgen_family == NFPROTO_IPV4   ? "IPv4 "
        : info->nfgen_family == NFPROTO_IPV6 ? "IPv6 "
                                             : "",
        mnl_attr_get_str(chain.at[NFTA_CHAIN_TABLE]), mnl_attr_get_str(chain.at[NFTA_CHAIN_NAME]));
    return MNL_CB_OK;
}

static void list_chains(struct mnl_socket *socket)
{
    static _Alignas(struct nlmsghdr) char buffer[ANSWER_SIZE];
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    struct nfgenmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
    message->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    message->nlmsg_seq = 1;
    info->nfgen_family = NFPROTO_UNSPEC;
    info->version = NFNETLINK_V0;
    int status = mnl_socket_sendto(socket, message, message->nlmsg_len) < 0 ? -1 : 1;
    while (status > 0) {
        ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
        status = length < 0
                     ? -1
                     : mnl_cb_run(buffer, (size_t)length, 1, mnl_socket_get_portid(socket), on_chain, NULL);
    }
}

void firewall_warn(void)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (socket == NULL)
        return;
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0)
        list_chains(socket);
    mnl_socket_close(socket);
}
