/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three things wake it: a message on the socket, the timer for whichever interface is next, and a change
 * of links or addresses. After a change, which seldom comes alone, nothing is listened to for a moment; then
 * all interfaces are looked at anew, so messages that were lost cost nothing.
 *
 * What is sent and when is decided in dns64/advertisement.c and dns64/advertiser.c.
 */
#include "control/advertise.h"

#include <errno.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "control/log.h"
#include "control/netlink.h"
#include "dns64/advertiser.h"

enum {
    SETTLE_MILLISECONDS = 200, /* in which more changes may come */
    READS_AT_ONCE = 32,        /* messages, before the loop sees to others */
    MESSAGE_SIZE = 1500,       /* of a message that is looked at; a longer one is cut off, so refused */
    DISCOVERY_HOPS = 255,
    MILLISECOND = 1000 * 1000,
    SECOND = 1000 * MILLISECOND,
};

/* One entry of ra, and what is known of its interface. */
struct advertised_link {
    char name[IFNAMSIZ];
    struct advertisement content;
    bool link_local_server; /* the source is announced as DNS server, too */
    struct advertiser advertiser;
    unsigned index; /* 0: it cannot be sent on */
    struct ipv6_address source;
    bool failed; /* the last attempt to send, which was said */
    bool rival;  /* another sender on this interface, which was said */
};

struct advertise {
    int socket;
    struct netlink *events;
    struct advertise_servers servers;
    uint32_t count;
    struct advertised_link links[RA_INTERFACES_MAXIMUM];
    uv_poll_t readable, changed;
    uv_timer_t due, settle;
};

/* An interface as it is now. */
struct sight {
    const char *name;
    unsigned index; /* 0: there is none that is up */
    struct ipv6_address wanted;
    bool found; /* `source` is a link-local address that may be used */
    struct ipv6_address source;
};

static void on_settled(uv_timer_t *handle);
static void on_due(uv_timer_t *handle);

static struct advertisement make_content(const struct config *config, const struct config_ra *ra,
                                         const struct advertise_servers *servers)
{
    struct advertisement content = {.router_lifetime = ra->default_route ? ra->lifetime : 0,
                                    .lifetime = ra->lifetime};
    if (ra->pref64.length != 0)
        advertisement_add_prefix(&content, &ra->pref64);
    for (uint32_t i = 0; ra->pref64.length == 0 && i < config->settings.nat64_count; i++)
        advertisement_add_prefix(&content, &config->settings.nat64[i].prefix);
    for (uint32_t i = 0; ra->rdnss && i < servers->count; i++)
        advertisement_add_server(&content, &servers->addresses[i]);
    return content;
}

static bool set_option(int socket, int level, int name, int value)
{
    return setsockopt(socket, level, name, &value, sizeof(value)) == 0;
}

/* Hears messages of router discovery and nothing else; what it sends does not come back to this machine. */
static bool open_raw(int *opened)
{
    struct icmp6_filter filter;
    *opened = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6);
    if (*opened < 0)
        return false;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ND_ROUTER_SOLICIT, &filter);
    ICMP6_FILTER_SETPASS(ND_ROUTER_ADVERT, &filter);
    return setsockopt(*opened, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)) == 0 &&
           set_option(*opened, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
           set_option(*opened, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) &&
           set_option(*opened, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, DISCOVERY_HOPS) &&
           set_option(*opened, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
}

static bool make_links(struct advertise *advertise, const struct config *config)
{
    const struct advertise_servers *servers = &advertise->servers;
    for (advertise->count = 0; advertise->count < config->ra_count; advertise->count++) {
        const struct config_ra *ra = &config->ra[advertise->count];
        struct advertised_link *link = &advertise->links[advertise->count];
        uint64_t seed;
        if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
            return false;
        memcpy(link->name, ra->interface, sizeof(link->name));
        link->content = make_content(config, ra, servers);
        link->link_local_server = ra->rdnss && servers->any;
        link->advertiser = advertiser_make(seed);
    }
    return true;
}

struct advertise *advertise_open(const struct config *config, const struct advertise_servers *servers,
                                 char *error, size_t size)
{
    struct advertise *advertise = calloc(1, sizeof(*advertise));
    if (advertise == NULL) {
        snprintf(error, size, "out of memory; free some and try again");
        return NULL;
    }
    advertise->servers = *servers;
    if (open_raw(&advertise->socket) && make_links(advertise, config) &&
        (advertise->events = netlink_watch_addresses()) != NULL)
        return advertise;
    if (errno == EPERM)
        snprintf(
            error, size,
            "router advertisements need the right to open raw sockets (CAP_NET_RAW): run isthmus as root, "
            "or leave out ra");
    else
        snprintf(error, size, "cannot open the socket for router advertisements: %s", strerror(errno));
    advertise_close(advertise);
    return NULL;
}

static void see_link(void *context, const struct netlink_link *link)
{
    struct sight *sight = context;
    if (strcmp(link->name, sight->name) == 0 && link->up && link->running)
        sight->index = link->index;
}

/* Of several link-local addresses the one that is in use stays: hosts know routers by it. */
static void see_address(void *context, const struct netlink_address *address)
{
    struct sight *sight = context;
    if (address->index != sight->index || address->network.family != AF_INET6 || !address->usable ||
        !network_is_link_local(&address->network))
        return;
    if (sight->found && memcmp(address->network.address, sight->wanted.bytes, 16) != 0)
        return;
    sight->found = true;
    memcpy(sight->source.bytes, address->network.address, 16);
}

/* True if it could be looked at. */
static bool look_at(const struct advertised_link *link, struct sight *sight)
{
    struct netlink *netlink = netlink_open();
    *sight = (struct sight){.name = link->name, .wanted = link->source};
    bool seen = netlink != NULL && netlink_links(netlink, see_link, sight) == 0 &&
                (sight->index == 0 || netlink_addresses(netlink, see_address, sight) == 0);
    netlink_close(netlink);
    return seen;
}

/* The link-layer address, which is announced so that hosts need not ask for it. */
static void read_link_address(int socket, struct advertised_link *link)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, link->name, sizeof(link->name));
    link->content.has_link_address =
        ioctl(socket, SIOCGIFHWADDR, &request) == 0 && request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
    if (link->content.has_link_address)
        memcpy(link->content.link_address, request.ifr_hwaddr.sa_data, LINK_ADDRESS_SIZE);
}

/* That it is a member already is no error: memberships outlive a link that is down. */
static void join(const struct advertise *advertise, const struct advertised_link *link)
{
    struct ipv6_mreq request = {.ipv6mr_interface = link->index};
    static const struct ipv6_address all_routers = {{0xff, 0x02, [15] = 0x02}};
    memcpy(&request.ipv6mr_multiaddr, &all_routers, sizeof(all_routers));
    if (setsockopt(advertise->socket, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request)) != 0 &&
        errno != EADDRINUSE)
        log_warning("%s: cannot hear hosts that ask for router advertisements: %s; they are told in time",
                    link->name, strerror(errno));
}

static void begin_sending(struct advertise *advertise, struct advertised_link *link, nanoseconds now)
{
    join(advertise, link);
    read_link_address(advertise->socket, link);
    link->failed = false;
    advertiser_start(&link->advertiser, link->content.lifetime, now);
    log_info("%s: sending router advertisements every %us at most", link->name,
             advertiser_interval(link->content.lifetime));
}

/* Follows what has become of an interface. */
static void follow(struct advertise *advertise, struct advertised_link *link, nanoseconds now)
{
    struct sight sight;
    if (!look_at(link, &sight))
        return;
    unsigned index = sight.found ? sight.index : 0;
    if (index == link->index && (index == 0 || ipv6_equal(&sight.source, &link->source)))
        return;
    link->index = index;
    if (index == 0) {
        advertiser_lose(&link->advertiser);
        log_info("%s is gone, or down, or without a link-local address: no router advertisements there until "
                 "that changes",
                 link->name);
        return;
    }
    link->source = sight.source;
    begin_sending(advertise, link, now);
}

static struct advertisement to_send(const struct advertised_link *link)
{
    struct advertisement content = link->content;
    if (link->link_local_server)
        advertisement_add_server(&content, &link->source);
    return content;
}

/* From the link-local address, on the interface, to all nodes of the link. */
static bool send_message(int socket, const struct advertised_link *link, const uint8_t *message,
                         size_t length)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_scope_id = link->index};
    static const struct ipv6_address all_nodes = {{0xff, 0x02, [15] = 0x01}};
    struct in6_pktinfo from = {.ipi6_ifindex = link->index};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(from))] = {0};
    struct iovec data = {.iov_base = (void *)(uintptr_t)message, .iov_len = length};
    struct msghdr header = {.msg_name = &to,
                            .msg_namelen = sizeof(to),
                            .msg_iov = &data,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    memcpy(&to.sin6_addr, &all_nodes, sizeof(all_nodes));
    memcpy(&from.ipi6_addr, &link->source, sizeof(link->source));
    struct cmsghdr *part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = IPPROTO_IPV6;
    part->cmsg_type = IPV6_PKTINFO;
    part->cmsg_len = CMSG_LEN(sizeof(from));
    memcpy(CMSG_DATA(part), &from, sizeof(from));
    return sendmsg(socket, &header, 0) == (ssize_t)length;
}

static void send_due(struct advertise *advertise, struct advertised_link *link, nanoseconds now)
{
    uint8_t message[ADVERTISEMENT_SIZE];
    enum advertiser_action action = advertiser_due(&link->advertiser, now);
    if (action == ADVERTISER_WAIT)
        return;
    struct advertisement content = to_send(link);
    if (action == ADVERTISER_SEND_FINAL)
        content = advertisement_final(&content);
    bool failed = !send_message(advertise->socket, link, message, advertisement_write(&content, message));
    if (failed && !link->failed)
        log_warning("%s: cannot send router advertisements: %s; going on trying", link->name,
                    strerror(errno));
    link->failed = failed;
    if (!advertiser_fresh(&link->advertiser))
        advertisement_forget_withdrawn(&link->content);
}

/* When the first of all interfaces has something to send. */
static bool next_deadline(const struct advertise *advertise, nanoseconds *next)
{
    bool any = false;
    for (uint32_t i = 0; i < advertise->count; i++) {
        nanoseconds when;
        if (!advertiser_deadline(&advertise->links[i].advertiser, &when) || (any && when >= *next))
            continue;
        *next = when;
        any = true;
    }
    return any;
}

static void set_timer(struct advertise *advertise, nanoseconds now)
{
    nanoseconds next = now;
    if (!next_deadline(advertise, &next))
        uv_timer_stop(&advertise->due);
    else
        uv_timer_start(&advertise->due, on_due, next > now ? (next - now + MILLISECOND - 1) / MILLISECOND : 0,
                       0);
}

static void send_all_due(struct advertise *advertise, nanoseconds now)
{
    for (uint32_t i = 0; i < advertise->count; i++)
        send_due(advertise, &advertise->links[i], now);
}

static void on_due(uv_timer_t *handle)
{
    struct advertise *advertise = handle->data;
    nanoseconds now = uv_hrtime();
    send_all_due(advertise, now);
    set_timer(advertise, now);
}

/* What the kernel says beside a message; false if it does not say where that came from. */
static bool read_control(struct msghdr *header, struct discovery *discovery, unsigned *index)
{
    struct in6_pktinfo to;
    *index = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_HOPLIMIT) {
            memcpy(&discovery->hop_limit, CMSG_DATA(part), sizeof(discovery->hop_limit));
        } else if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
            memcpy(&to, CMSG_DATA(part), sizeof(to));
            memcpy(&discovery->destination, &to.ipi6_addr, sizeof(discovery->destination));
            *index = to.ipi6_ifindex;
        }
    }
    return *index != 0;
}

/*
 * Another program of this machine offers a default route from the address that we send from, and we do not:
 * for hosts the two are one router, whose route goes with each advertisement of ours.
 */
static void look_at_rival(struct advertised_link *link, const struct discovery *discovery)
{
    if (link->rival || link->content.router_lifetime != 0 || !ipv6_equal(&discovery->source, &link->source) ||
        !discovery_offers_route(discovery))
        return;
    link->rival = true;
    log_warning(
        "%s: another program on this machine advertises it there as default router; hosts drop that route "
        "with each advertisement of isthmus: set ra[].default-route to true, or leave %s out of ra and "
        "let that program announce the prefix",
        link->name, link->name);
}

static void take(struct advertised_link *link, const struct discovery *discovery, nanoseconds now)
{
    if (solicitation_valid(discovery))
        advertiser_solicited(&link->advertiser, now);
    else
        look_at_rival(link, discovery);
}

/* Reads one message; false: there is none. */
static bool read_discovery(struct advertise *advertise, nanoseconds now)
{
    uint8_t message[MESSAGE_SIZE];
    struct sockaddr_in6 from = {0};
    _Alignas(struct cmsghdr) char control[256];
    struct iovec data = {.iov_base = message, .iov_len = sizeof(message)};
    struct msghdr header = {.msg_name = &from,
                            .msg_namelen = sizeof(from),
                            .msg_iov = &data,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    struct discovery discovery = {.message = message};
    unsigned index;
    ssize_t length = recvmsg(advertise->socket, &header, 0);
    if (length < 0)
        return false;
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || !read_control(&header, &discovery, &index))
        return true;
    discovery.length = (size_t)length;
    memcpy(&discovery.source, &from.sin6_addr, sizeof(discovery.source));
    for (uint32_t i = 0; i < advertise->count; i++)
        if (advertise->links[i].index == index)
            take(&advertise->links[i], &discovery, now);
    return true;
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct advertise *advertise = handle->data;
    nanoseconds now = uv_hrtime();
    (void)status;
    (void)events;
    for (int i = 0; i < READS_AT_ONCE && read_discovery(advertise, now); i++)
        continue;
    set_timer(advertise, now);
}

static void on_changed(uv_poll_t *handle, int status, int events)
{
    struct advertise *advertise = handle->data;
    (void)status;
    (void)events;
    uv_poll_stop(handle);
    uv_timer_start(&advertise->settle, on_settled, SETTLE_MILLISECONDS, 0);
}

/* What has been heard by now is thrown away before the look; what changes from here on is heard. */
static void on_settled(uv_timer_t *handle)
{
    struct advertise *advertise = handle->data;
    nanoseconds now = uv_hrtime();
    netlink_drain(advertise->events);
    for (uint32_t i = 0; i < advertise->count; i++)
        follow(advertise, &advertise->links[i], now);
    set_timer(advertise, now);
    if (uv_poll_start(&advertise->changed, UV_READABLE, on_changed) != 0)
        uv_timer_start(handle, on_settled, SETTLE_MILLISECONDS, 0);
}

int advertise_start(struct advertise *advertise, uv_loop_t *loop)
{
    uv_timer_init(loop, &advertise->due);
    uv_timer_init(loop, &advertise->settle);
    advertise->due.data = advertise->settle.data = advertise;
    advertise->readable.data = advertise->changed.data = advertise;
    int status = uv_poll_init(loop, &advertise->readable, advertise->socket);
    if (status == 0)
        status = uv_poll_init(loop, &advertise->changed, netlink_fd(advertise->events));
    if (status == 0)
        status = uv_poll_start(&advertise->readable, UV_READABLE, on_readable);
    if (status == 0)
        on_settled(&advertise->settle);
    for (uint32_t i = 0; status == 0 && i < advertise->count; i++)
        if (advertise->links[i].index == 0)
            log_warning("%s, named in ra, is not there, or down, or has no link-local address yet; router "
                        "advertisements begin when that changes",
                        advertise->links[i].name);
    return status;
}

static bool same_content(const struct advertisement *a, const struct advertisement *b)
{
    uint8_t one[ADVERTISEMENT_SIZE], other[ADVERTISEMENT_SIZE];
    size_t length = advertisement_write(a, one);
    return length == advertisement_write(b, other) && memcmp(one, other, length) == 0;
}

void advertise_change(struct advertise *advertise, const struct config *config,
                      const struct advertise_servers *servers)
{
    nanoseconds now = uv_hrtime();
    if (servers != NULL)
        advertise->servers = *servers;
    for (uint32_t i = 0; i < advertise->count && i < config->ra_count; i++) {
        struct advertised_link *link = &advertise->links[i];
        const struct advertisement old = to_send(link);
        struct advertisement content = make_content(config, &config->ra[i], &advertise->servers);
        content.has_link_address = old.has_link_address;
        memcpy(content.link_address, old.link_address, sizeof(content.link_address));
        link->content = content;
        link->link_local_server = config->ra[i].rdnss && advertise->servers.any;
        const struct advertisement new = to_send(link);
        if (same_content(&new, &old))
            continue;
        advertisement_withdraw(&link->content, &old);
        if (link->index != 0)
            advertiser_start(&link->advertiser, content.lifetime, now);
    }
    set_timer(advertise, now);
}

static void wait_until(nanoseconds when)
{
    nanoseconds now = uv_hrtime();
    if (when <= now)
        return;
    struct timespec rest = {.tv_sec = (time_t)((when - now) / SECOND),
                            .tv_nsec = (long)((when - now) % SECOND)};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        continue;
}

/* One for each interface: more would take three seconds each, and the lifetimes end by themselves. */
void advertise_finish(struct advertise *advertise)
{
    nanoseconds next = 0;
    for (uint32_t i = 0; i < advertise->count; i++)
        advertiser_stop(&advertise->links[i].advertiser, 1, uv_hrtime());
    while (next_deadline(advertise, &next)) {
        wait_until(next);
        send_all_due(advertise, uv_hrtime());
    }
}

void advertise_close(struct advertise *advertise)
{
    if (advertise == NULL)
        return;
    netlink_close(advertise->events);
    if (advertise->socket >= 0)
        close(advertise->socket);
    free(advertise);
}
