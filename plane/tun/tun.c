/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device: made, set up, given its queues, and closed.
 *
 * A queue is a file descriptor of /dev/net/tun attached to the device by TUNSETIFF. The first one
 * creates the device, and does so with IFF_TUN_EXCL: without it the kernel would have us join a device of
 * that name that exists, be it an administrator's or that of a running daemon, which would lose packets to
 * us. Only to say which of the two it is, the kernel is asked over netlink how many queues are in use. A
 * device that an earlier run has left on purpose is joined: whoever calls knows that it is ours.
 *
 * The device vanishes by itself when a later step fails, since it is made persistent only by a call of its
 * own.
 */
#include "plane/tun/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plane/tun/loop.h"
#include "plane/tun/steer.h"

/* In the kernel since 6.2; both or none. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
    DEVICE_MTU = 65535,
    /*
     * Packets that wait in each queue while its thread is busy with a burst. The kernel's default, 500,
     * overflows when many flows burst at once, and each loss then costs a whole super-packet.
     */
    QUEUE_LENGTH = 2000,
    OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
};

struct tun {
    char name[IFNAMSIZ];
    unsigned index;
    uint32_t queues;
    bool uso;
    uint32_t running; /* threads */
    int stop;         /* eventfd */
    atomic_bool stopping;
    struct loop loops[WORKERS_MAXIMUM];
};

/* Where tun_open writes what it has to say. */
struct report {
    char *error, *notes;
    size_t error_size, notes_size;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct report *report, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(report->error, report->error_size, format, arguments);
    va_end(arguments);
    return false;
}

static void note(const struct report *report, const char *sentence)
{
    size_t used = strlen(report->notes);

    snprintf(report->notes + used, report->notes_size - used, "%s%s", used > 0 ? " " : "", sentence);
}

/* The attributes of one level of a netlink message, by their types; NULL where there is none. */
enum {
    ATTRIBUTES = 256,
};

static int attribute_keep(const struct nlattr *attribute, void *data)
{
    const struct nlattr **attributes = data;
    uint16_t type = mnl_attr_get_type(attribute);

    if (type < ATTRIBUTES)
        attributes[type] = attribute;
    return MNL_CB_OK;
}

static uint8_t attribute_byte(const struct nlattr *attribute)
{
    return attribute != NULL ? mnl_attr_get_u8(attribute) : 0;
}

static uint32_t attribute_number(const struct nlattr *attribute)
{
    return attribute != NULL ? mnl_attr_get_u32(attribute) : 0;
}

/* What the kernel says of a device. */
struct existing {
    bool is_tun;
    bool multi_queue;
    bool persistent;
    uint32_t queues; /* held by anyone */
};

static int describe(const struct nlmsghdr *message, void *data)
{
    const struct nlattr *link[ATTRIBUTES] = {0}, *info[ATTRIBUTES] = {0}, *detail[ATTRIBUTES] = {0};
    struct existing *existing = data;

    mnl_attr_parse(message, sizeof(struct ifinfomsg), attribute_keep, link);
    if (link[IFLA_LINKINFO] != NULL)
        mnl_attr_parse_nested(link[IFLA_LINKINFO], attribute_keep, info);
    if (info[IFLA_INFO_KIND] == NULL || info[IFLA_INFO_DATA] == NULL ||
        strcmp(mnl_attr_get_str(info[IFLA_INFO_KIND]), "tun") != 0)
        return MNL_CB_OK;
    mnl_attr_parse_nested(info[IFLA_INFO_DATA], attribute_keep, detail);
    existing->is_tun = attribute_byte(detail[IFLA_TUN_TYPE]) == IFF_TUN;
    existing->multi_queue = attribute_byte(detail[IFLA_TUN_MULTI_QUEUE]) != 0;
    existing->persistent = attribute_byte(detail[IFLA_TUN_PERSIST]) != 0;
    existing->queues = attribute_number(detail[IFLA_TUN_NUM_QUEUES]) +
                       attribute_number(detail[IFLA_TUN_NUM_DISABLED_QUEUES]);
    return MNL_CB_OK;
}

/* Asks the kernel about a device; returns 0 or an errno. */
static int look_at_existing(const char *name, struct existing *existing)
{
    char buffer[32768]; /* a message about one device is far shorter */
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    struct mnl_socket *netlink = mnl_socket_open(NETLINK_ROUTE);
    ssize_t length = -1;

    *existing = (struct existing){0};
    if (netlink == NULL)
        return errno;
    request->nlmsg_type = RTM_GETLINK;
    request->nlmsg_flags = NLM_F_REQUEST;
    mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(request, IFLA_IFNAME, name);
    if (mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) == 0 &&
        mnl_socket_sendto(netlink, request, request->nlmsg_len) >= 0)
        length = mnl_socket_recvfrom(netlink, buffer, sizeof(buffer));
    bool answered = length >= 0 && mnl_cb_run(buffer, (size_t)length, 0, mnl_socket_get_portid(netlink),
                                              describe, existing) >= 0;
    int failure = errno;
    mnl_socket_close(netlink);
    return answered ? 0 : failure;
}

bool tun_can_be_taken_over(const char *name, char *reason, size_t size)
{
    struct existing existing;
    int error = look_at_existing(name, &existing);
    const char *why = error != 0              ? strerror(error)
                      : !existing.is_tun      ? "it is no TUN device"
                      : !existing.multi_queue ? "it takes one queue only"
                      : !existing.persistent  ? "it is not persistent"
                      : existing.queues > 0   ? "another program uses it"
                                              : NULL;
    if (why != NULL)
        snprintf(reason, size, "%s", why);
    return why == NULL;
}

static void explain_existing(const struct tun *tun, const struct report *report)
{
    struct existing existing;

    if (look_at_existing(tun->name, &existing) == 0 && existing.queues > 0)
        fail(report,
             "device %s is in use by another isthmus or another program; stop that one first, or choose "
             "another plane.name",
             tun->name);
    else
        fail(report, "a device %s exists already; remove it (ip link delete %s) or choose another plane.name",
             tun->name, tun->name);
}

static bool check_name(const char *name, const struct report *report)
{
    size_t length = strlen(name);

    if (length > 0 && length < IFNAMSIZ && strcspn(name, "/:% \t\n\v\f\r") == length &&
        strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
        return true;
    return fail(
        report,
        "\"%s\" cannot be the name of a device; plane.name takes 1 to %d characters without space or / : %%",
        name, IFNAMSIZ - 1);
}

static int explain_driver(const struct report *report)
{
    switch (errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        fail(report,
             "there is no /dev/net/tun; load the tun driver (modprobe tun) or pass the device into the "
             "container");
        break;
    case EPERM:
    case EACCES:
        fail(report, "may not open /dev/net/tun; run as root or with CAP_NET_ADMIN");
        break;
    default:
        fail(report, "cannot open /dev/net/tun: %s", strerror(errno));
    }
    return -1;
}

static int explain_attach(const struct tun *tun, const struct report *report)
{
    switch (errno) {
    case EPERM:
        fail(report, "may not create or use device %s; run as root or with CAP_NET_ADMIN", tun->name);
        break;
    case EBUSY:
        explain_existing(tun, report);
        break;
    default:
        fail(report, "cannot create device %s: %s", tun->name, strerror(errno));
    }
    return -1;
}

/* Returns a descriptor attached to the device, which it makes or joins, or -1 having explained why not. */
static int open_queue(const struct tun *tun, bool make, const struct report *report)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};
    if (make)
        request.ifr_flags = (short)(request.ifr_flags | IFF_TUN_EXCL);
    int queue = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (queue < 0)
        return explain_driver(report);
    memcpy(request.ifr_name, tun->name, IFNAMSIZ);
    if (ioctl(queue, TUNSETIFF, &request) == 0)
        return queue;
    explain_attach(tun, report);
    close(queue);
    return -1;
}

/* The header's fields stay in the byte order of the host, which is the device's own default. */
static bool set_offloads(struct tun *tun, const struct report *report)
{
    int queue = tun->loops[0].queue, header_size = sizeof(struct offload);

    if (ioctl(queue, TUNSETVNETHDRSZ, &header_size) != 0)
        return fail(report, "cannot set the header of device %s: %s", tun->name, strerror(errno));
    tun->uso = ioctl(queue, TUNSETOFFLOAD, (unsigned long)(OFFLOADS | TUN_F_USO4 | TUN_F_USO6)) == 0;
    if (!tun->uso && ioctl(queue, TUNSETOFFLOAD, (unsigned long)OFFLOADS) != 0)
        return fail(report, "cannot set the offloads of device %s: %s", tun->name, strerror(errno));
    if (!tun->uso)
        note(report,
             "This kernel has no UDP super-packets for TUN devices (Linux 6.2 has); UDP in bulk, QUIC "
             "for one, will be slower.");
    return true;
}

static bool set_link(struct tun *tun, const struct report *report)
{
    struct ifreq index = {0}, mtu = {.ifr_mtu = DEVICE_MTU}, length = {.ifr_qlen = QUEUE_LENGTH};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done;

    memcpy(index.ifr_name, tun->name, IFNAMSIZ);
    memcpy(mtu.ifr_name, tun->name, IFNAMSIZ);
    memcpy(length.ifr_name, tun->name, IFNAMSIZ);
    done = control >= 0 && ioctl(control, SIOCGIFINDEX, &index) == 0 && ioctl(control, SIOCSIFMTU, &mtu) == 0;
    if (!done)
        fail(report, "cannot set the MTU of device %s: %s", tun->name, strerror(errno));
    else if (ioctl(control, SIOCSIFTXQLEN, &length) != 0) /* wants the first user namespace's root */
        note(report,
             "The device keeps its short queue, since this container may not change it; bursts may be lost.");
    tun->index = (unsigned)index.ifr_ifindex;
    if (control >= 0)
        close(control);
    return done;
}

/* Gives the device its steering program; false if that cannot be done here. */
static bool steer(const struct tun *tun)
{
    uint64_t seed;
    bool done = false;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return false;
    int program = steer_load(seed);
    if (program >= 0) {
        done = steer_attach(tun->loops[0].queue, program);
        close(program);
    }
    return done;
}

static bool open_queues(struct tun *tun, uint32_t workers, const struct report *report)
{
    if (workers > 1 && !steer(tun)) {
        note(report,
             "The kernel does not take a BPF program that would keep each flow on one queue (that needs "
             "CAP_BPF), so one worker does it all.");
        workers = 1;
    }
    while (tun->queues < workers) {
        int queue = open_queue(tun, false, report);
        if (queue < 0)
            return false;
        tun->loops[tun->queues++].queue = queue;
    }
    return true;
}

static bool device_open(struct tun *tun, const struct tun_options *options, const struct report *report)
{
    uint32_t workers = options->workers < WORKERS_MAXIMUM ? options->workers : WORKERS_MAXIMUM;

    int first = open_queue(tun, !options->left, report);
    if (first < 0)
        return false;
    tun->loops[0].queue = first;
    tun->queues = 1;
    return set_offloads(tun, report) && set_link(tun, report) && open_queues(tun, workers, report);
}

struct tun *tun_open(const struct tun_options *options, char *error, size_t error_size, char *notes,
                     size_t notes_size)
{
    const struct report report = {error, notes, error_size, notes_size};
    struct tun *tun;

    error[0] = notes[0] = '\0';
    if (!check_name(options->name, &report))
        return NULL;
    tun = aligned_alloc(_Alignof(struct tun), sizeof(*tun));
    if (tun == NULL) {
        fail(&report, "no memory for device %s", options->name);
        return NULL;
    }
    memset(tun, 0, sizeof(*tun));
    snprintf(tun->name, sizeof(tun->name), "%s", options->name);
    tun->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (tun->stop < 0)
        fail(&report, "cannot open an event descriptor: %s; raise the limit of open files", strerror(errno));
    else if (device_open(tun, options, &report))
        return tun;
    tun_close(tun);
    return NULL;
}

int tun_persist(const struct tun *tun)
{
    return ioctl(tun->loops[0].queue, TUNSETPERSIST, 1UL) == 0 ? 0 : errno;
}

unsigned tun_index(const struct tun *tun)
{
    return tun->index;
}

uint32_t tun_queues(const struct tun *tun)
{
    return tun->queues;
}

bool tun_uso(const struct tun *tun)
{
    return tun->uso;
}

bool tun_start(struct tun *tun, struct engine *engine)
{
    for (; tun->running < tun->queues; tun->running++) {
        struct loop *loop = &tun->loops[tun->running];

        loop->stop = tun->stop;
        loop->stopping = &tun->stopping;
        loop->worker = engine_worker(engine, tun->running);
        if (!loop_start(loop)) {
            tun_stop(tun);
            return false;
        }
    }
    return true;
}

void tun_count(const struct tun *tun, struct tun_counters *counters)
{
    memset(counters, 0, sizeof(*counters));
    for (uint32_t i = 0; i < tun->queues; i++) {
        const struct loop_counters *of = &tun->loops[i].counters;

        counters->reads += atomic_load_explicit(&of->reads, memory_order_relaxed);
        counters->writes += atomic_load_explicit(&of->writes, memory_order_relaxed);
        counters->write_errors += atomic_load_explicit(&of->write_errors, memory_order_relaxed);
        counters->bursts += atomic_load_explicit(&of->bursts, memory_order_relaxed);
    }
}

void tun_stop(struct tun *tun)
{
    eventfd_t signalled;

    atomic_store(&tun->stopping, true);
    eventfd_write(tun->stop, 1);
    while (tun->running > 0)
        loop_join(&tun->loops[--tun->running]);
    /* so that tun_start works again */
    eventfd_read(tun->stop, &signalled);
    atomic_store(&tun->stopping, false);
}

void tun_close(struct tun *tun)
{
    if (tun->running > 0)
        tun_stop(tun);
    for (uint32_t i = 0; i < tun->queues; i++)
        close(tun->loops[i].queue);
    if (tun->stop >= 0)
        close(tun->stop);
    free(tun);
}
