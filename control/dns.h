/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The name service of the daemon: from the configuration to the server in dns64/, and what the configuration
 * leaves to the machine.
 *
 * Ports below 1024 take a right that the daemon gives up, so the server is opened before and its threads are
 * started after. Who may ask is, unless the configuration says it, whoever is on one of this machine's links;
 * addresses come and go, so that is looked at anew each time that one has.
 *
 * Everything here runs in the daemon's thread; the server's threads see rules only, which are replaced as a
 * whole.
 */
#ifndef CONTROL_DNS_H
#define CONTROL_DNS_H

#include <uv.h>

#include "control/advertise.h"
#include "control/config.h"
#include "dns64/server.h"

struct dns;

struct dns_options {
    const struct config *config; /* with dns64; in use until dns_change names another */
    uint32_t workers;
    void (*seen)(void *context, const struct server_seen *seen); /* as in struct server_options */
    void *seen_context;
};

/* Opens sockets and reads trust anchors. NULL with a sentence. */
struct dns *dns_open(const struct dns_options *options, char *error, size_t size);

/* Starts threads, and begins to follow addresses. Returns 0 or an error of libuv. */
int dns_start(struct dns *dns, uv_loop_t *loop);

/* For those who count. */
struct server *dns_server(const struct dns *dns);

/*
 * A reload, in two steps: the first can fail, for memory, and changes nothing. If the second does, which
 * takes very bad luck after the first, names are answered as before and a warning says so. What was prepared
 * and is not wanted goes by dns_discard, which takes NULL, too.
 */
struct server_rules *dns_prepare(const struct config *config);
void dns_change(struct dns *dns, const struct config *config, struct server_rules *rules);
void dns_discard(struct server_rules *rules);

/* Ends threads and closes sockets. */
void dns_stop(struct dns *dns);

/* When the loop has closed its handles. NULL is allowed. */
void dns_close(struct dns *dns);

/* What router advertisements tell of it; nothing if there is no name service. */
struct advertise_servers dns_advertised(const struct config *config);

/* "[::1]:53, 192.0.2.53:53": where it listens; the end is left off if there is no room. */
void dns_print_listens(const struct config_dns64 *dns64, char *text, size_t size);

/* Bytes that it takes when all is in use. */
struct dns_memory {
    size_t server;    /* answers, questions, clients */
    size_t resolvers; /* about: what libunbound keeps */
};
struct dns_memory dns_memory(const struct config *config);

/* False, with a sentence, if the machine lacks what the configuration needs: the file of trust anchors. */
bool dns_check(const struct config *config, char *error, size_t size);

#endif /* CONTROL_DNS_H */
