/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interfaces are made by ip and wg. What lies below a VLAN or WireGuard has the link's name and a `u` behind
 * it; each link's WireGuard has a /30 of 198.51.100.0/24 of its own there, so that nothing but it is carried.
 * The two TUN devices are opened by the process that carries packets between them, and are gone with it.
 */
#include "test/plane/links.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PACKET = 65536,
};

__attribute__((format(printf, 1, 2))) static bool command(const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    return system(line) == 0; /* NOLINT(cert-env33-c): links are made by the programs of every day */
}

bool link_possible(const char *kind)
{
    if (strcmp(kind, "vlan") == 0)
        return command("ip link add possible0 type veth peer name possible1 && "
                       "ip link add link possible0 name possible2 type vlan id 2 2>/dev/null; "
                       "found=$?; ip link delete possible0; exit $found");
    if (strcmp(kind, "wireguard") == 0)
        return command("wg --version >/dev/null 2>&1 && ip link add possible0 type wireguard 2>/dev/null && "
                       "ip link delete possible0");
    if (strcmp(kind, "tun") == 0)
        return access("/dev/net/tun", R_OK | W_OK) == 0;
    return strcmp(kind, "ethernet") == 0;
}

bool link_has_header(const char *kind)
{
    return strcmp(kind, "ethernet") == 0 || strcmp(kind, "vlan") == 0;
}

/* --- TUN devices with a process between them -------------------------------------------------------- */

static int open_device(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int device = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    return device >= 0 && ioctl(device, TUNSETIFF, &request) == 0 ? device : -1;
}

static bool enter(pid_t host)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/net", host);
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    return namespace >= 0 && setns(namespace, CLONE_NEWNET) == 0;
}

static void carry_on(const int devices[2])
{
    static uint8_t packet[PACKET];
    struct pollfd ready[2] = {{.fd = devices[0], .events = POLLIN}, {.fd = devices[1], .events = POLLIN}};
    while (poll(ready, 2, -1) > 0) {
        for (unsigned i = 0; i < 2; i++) {
            ssize_t length = read(devices[i], packet, sizeof(packet));
            if (length > 0 && write(devices[1 - i], packet, (size_t)length) < 0)
                continue; /* the device is down: the packet is lost, as on any wire */
        }
    }
}

static void carry(const char *name, pid_t host, int ready)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int devices[2] = {open_device(name), -1};
    if (devices[0] < 0 || !enter(host) || (devices[1] = open_device("host0")) < 0 ||
        write(ready, "r", 1) != 1)
        _exit(1);
    carry_on(devices);
    _exit(1);
}

static bool start_carrier(struct link *link, pid_t host)
{
    int ready[2];
    char told = 0;
    if (pipe(ready) != 0)
        return false;
    link->carrier = fork();
    if (link->carrier == 0) {
        close(ready[0]);
        carry(link->name, host, ready[1]);
    }
    close(ready[1]);
    bool well = link->carrier > 0 && read(ready[0], &told, 1) == 1;
    close(ready[0]);
    return well;
}

/* --- all ------------------------------------------------------------------------------------------- */

static bool make_pair(const char *near, const char *far, pid_t host)
{
    return command("ip link add %s type veth peer name %s netns %d && ip link set %s up && "
                   "nsenter -t %d -n ip link set %s up",
                   near, far, host, near, host, far);
}

static bool make_vlan(const char *name, const char *below, pid_t host)
{
    return make_pair(below, "host0u", host) &&
           command("ip link add link %s name %s type vlan id 64 && "
                   "nsenter -t %d -n ip link add link host0u name host0 type vlan id 64",
                   below, name, host);
}

/* Keys are made for the link alone. */
static bool make_wireguard(const char *name, const char *below, pid_t host)
{
    unsigned first = name[0] == 'l' ? 0 : 4; /* a /30 for each */
    return make_pair(below, "host0u", host) &&
           command("set -e; far='nsenter -t %d -n'; "
                   "ip address add 198.51.100.%u/30 dev %s; $far ip address add 198.51.100.%u/30 dev host0u; "
                   "ip link add %s type wireguard; $far ip link add host0 type wireguard; "
                   "near_key=$(wg genkey); far_key=$(wg genkey); "
                   "keys=$(mktemp); trap 'rm -f $keys' EXIT; "
                   "echo $near_key >$keys; wg set %s listen-port 6464 private-key $keys "
                   "peer $(echo $far_key | wg pubkey) allowed-ips 0.0.0.0/0,::/0 "
                   "endpoint 198.51.100.%u:6464; "
                   "echo $far_key >$keys; $far wg set host0 listen-port 6464 private-key $keys "
                   "peer $(echo $near_key | wg pubkey) allowed-ips 0.0.0.0/0,::/0 "
                   "endpoint 198.51.100.%u:6464",
                   host, first + 1, below, first + 2, name, name, first + 2, first + 1);
}

bool link_make(struct link *link, const char *kind, const char *name, pid_t host)
{
    char below[IFNAMSIZ];
    bool made = false;
    snprintf(below, sizeof(below), "%su", name);
    *link = (struct link){.name = name};
    if (strcmp(kind, "ethernet") == 0)
        return make_pair(name, "host0", host);
    if (strcmp(kind, "vlan") == 0)
        made = make_vlan(name, below, host);
    else if (strcmp(kind, "wireguard") == 0)
        made = make_wireguard(name, below, host);
    else if (strcmp(kind, "tun") == 0)
        made = start_carrier(link, host);
    return made && command("ip link set %s up && nsenter -t %d -n ip link set host0 up", name, host);
}

void link_remove(struct link *link)
{
    if (link->carrier > 0) {
        kill(link->carrier, SIGKILL);
        waitpid(link->carrier, NULL, 0);
    }
    link->carrier = 0;
    if (link->name != NULL)
        (void)command("ip link delete %s 2>/dev/null; ip link delete %su 2>/dev/null", link->name,
                      link->name);
    link->name = NULL;
}
