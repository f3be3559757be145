/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration: text in, checked struct out, canonical text back.
 *
 * One schema table (name, type, range, default, help) drives parsing, printing, `isthmus check` and the
 * manual page. The YAML text is read with libyaml into document nodes, which carry positions, so that
 * each error names file, line and column, what was found and what is allowed. Nothing is applied on error.
 *
 *     config_schema.c    the table of keys
 *     config_values.c    text <-> value for each type of key; config_values_dns.c: those of dns64
 *     config_document.c  bytes -> YAML nodes
 *     config_parse.c     nodes -> struct, by the table
 *     config_check.c     what no single key can be blamed for
 *     config_eam.c       the mappings of siit: their file, their table, their networks
 *     config_print.c     struct -> text, by the table; and which keys a reload would change
 */
#ifndef CONTROL_CONFIG_H
#define CONTROL_CONFIG_H

#include <net/if.h>
#include <stdio.h>
#include <sys/un.h>

#include "control/config_values.h"
#include "dns64/clients.h"
#include "engine/settings.h"
#include "engine/table.h"

enum plane_type {
    PLANE_AUTO, /* the eBPF plane where it can be had, else TUN */
    PLANE_TUN,
    PLANE_BPF,
};

/* What becomes of packets that the eBPF plane has translated. */
enum plane_forward {
    FORWARD_DIRECT, /* straight to the neighbour */
    FORWARD_STACK,  /* through the kernel's routing and firewall */
};

enum {
    PLANE_INTERFACES_MAXIMUM = 64, /* that may be named; without names there is no limit */
    PLANE_PINS_SIZE = 96,
};

/* An entry of siit: what the engine is told, and what is written in the file. */
struct config_siit {
    struct siit_settings settings; /* as written; without the mappings */
    char eam_file[200];            /* empty: none */
    uint32_t eam_count;            /* mappings in the configuration itself */
    struct eam *eam;
    uint32_t mapping_count; /* all: those, then those of eam_file */
    struct eam *mappings;
};

enum {
    RA_INTERFACES_MAXIMUM = 16, /* a thing for links with hosts, of which a machine has few */
};

/* An entry of ra: what hosts of an interface are told by router advertisements. */
struct config_ra {
    char interface[IFNAMSIZ];
    struct rfc6052_prefix pref64; /* length 0: the prefixes of nat64 */
    uint32_t lifetime;            /* seconds */
    bool rdnss, default_route;
};

enum {
    DNS64_LISTENS_MAXIMUM = 32,
    DNS64_UPSTREAMS_MAXIMUM = 16,
};

/* The name service. What is absent is filled in by control/dns.c. */
struct config_dns64 {
    uint32_t listen_count;
    struct config_endpoint listen[DNS64_LISTENS_MAXIMUM];
    uint32_t upstream_count; /* 0: names are resolved from the root */
    struct config_upstream upstream[DNS64_UPSTREAMS_MAXIMUM];
    bool validate;
    char trust_anchors[200]; /* empty: the distribution's */
    uint32_t prefix_count;   /* 0: those of nat64, for everybody and everything */
    struct rules_prefix prefixes[RULES_PREFIXES];
    uint32_t excluded_count;
    struct rules_network excluded[RULES_NETWORKS];
    uint32_t name_count;
    struct dns_name *names;
    uint32_t cache_entries, negative_ttl;
    uint32_t client_count; /* 0: loopback and the networks of this machine's links */
    struct rules_network clients[CLIENTS_NETWORKS];
    uint32_t rate;
    uint32_t tcp_connections, tcp_idle;
    bool serve_stale;
};

struct config {
    struct {
        enum plane_type type;
        char name[IFNAMSIZ]; /* the TUN device; also names state under /run/isthmus */
        uint32_t workers;    /* as configured, or the number of CPUs */
        uint32_t mtu6, mtu4; /* 0: that of each destination is its route's */
        bool routes;
        uint32_t interface_count; /* 0: all that qualify, see control/interfaces.h */
        char interfaces[PLANE_INTERFACES_MAXIMUM][IFNAMSIZ];
        enum plane_forward forward;
        char pins[PLANE_PINS_SIZE]; /* directory in a bpffs; the name is appended */
    } plane;
    /* As written. What is absent (translation.mtu6 and mtu4, address6, address4: 0) the daemon fills in a
     * copy. */
    struct settings settings;
    uint32_t siit_count;
    struct config_siit siit[SIIT_INSTANCES_MAXIMUM];
    struct config_dns64 *dns64; /* NULL: no name service */
    uint32_t ra_count;
    struct config_ra ra[RA_INTERFACES_MAXIMUM];
    struct geometry geometry; /* of the table: sums over the instances; counters if any of them counts */
    uint32_t nat64_addresses[NAT64_INSTANCES_MAXIMUM]; /* limits.addresses of each instance */
    struct {
        char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
        char group[32];
        char user[32];
    } control;
};

/*
 * A message of one line: "FILE:LINE:COLUMN: key: what is wrong; what is allowed", or "FILE: ..." where no
 * place in the file is to blame.
 */
struct config_error {
    char text[512];
};

/* How files that the configuration names are opened for reading: a descriptor, or -1 and errno. */
struct config_files {
    int (*open)(void *context, const char *path);
    void *context;
};

/* Reads and checks a file. Returns NULL and fills *error; the result is freed with config_free. */
struct config *config_load(const char *path, struct config_error *error);

/* The same without the mappings that stand in files of their own: for those who only look for a name. */
struct config *config_load_keys(const char *path, struct config_error *error);

/* The same from memory; `name` stands for the file in errors. */
struct config *config_parse(const char *name, const char *text, size_t length, struct config_error *error);

/* The same, with a way to the files that it names. */
struct config *config_parse_with(const char *name, const char *text, size_t length,
                                 const struct config_files *files, struct config_error *error);

void config_free(struct config *config);

/* Prints the canonical form with every value stated; it parses to the same configuration. */
void config_print(const struct config *config, FILE *out);

/*
 * May a running daemon go from `old` to `new` by reload? Otherwise false, and *error names the first key
 * that needs a restart: "plane.name: needs restart". Reloadable: all of nat64 and siit within the geometry of
 * the table, translation options, and who gets which answers of the name service. Both are as config_load
 * returned them. On success the new geometry becomes the old one, for the table stays: room for sessions,
 * addresses and counts, once made, is there until the restart, also while it is not used.
 */
bool config_reloadable(const struct config *old, struct config *new, struct config_error *error);

/*
 * The keys by which two configurations differ: "nat64[0].limits.sessions", "nat64[1].pool". Of lists with
 * another number of entries only the list is named, and of long ones also if just an entry differs.
 */
enum { CONFIG_DIFFERENCES = 24 };
struct config_differences {
    uint32_t count; /* all; the first are named */
    char path[CONFIG_DIFFERENCES][128];
};
void config_compare(const struct config *old, const struct config *new,
                    struct config_differences *differences);

#endif /* CONTROL_CONFIG_H */
