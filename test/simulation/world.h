/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulated world: hosts of two families, a wire and a router to each, and between them the gateway with
 * the engine in it.
 *
 *     host -- wire -- router -- wire -- gateway -- wire -- router -- wire -- host
 *          mtu.host         mtu.gateway    |
 *                                        engine
 *
 * Each seed draws a plan: what the engine is told to do, how bad the wires are, which exchanges there will
 * be. The wires are bad until `calm`, and from then on lose nothing, so that whatever is not finished a while
 * later never will be: that is what makes "always finishes" a thing to test. Hosts believe nothing: each byte
 * and each header field that arrives is compared with what was sent or ought to be, and the first difference
 * ends the run with its seed.
 */
#ifndef TEST_SIMULATION_WORLD_H
#define TEST_SIMULATION_WORLD_H

#include <setjmp.h>

#include "engine/engine.h"
#include "engine/random.h"
#include "test/simulation/assembly.h"
#include "test/simulation/clock.h"
#include "test/simulation/ip.h"

enum {
    HOSTS = 12,
    EXCHANGES_AT_ONCE = 24,
    PATHS_KNOWN = 16,
    LONGEST_TRANSFER = 60000,
    HOPS = 64,                 /* what every packet starts with */
    SERVICE = 8000,            /* port of static bindings, number k having 8000 + k outside */
    LINGER = 40,               /* seconds that an exchange is remembered: longer than a packet lives */
    PATIENCE = 400,            /* seconds after the calm and all pauses, when an exchange must be finished */
    POOL_FIRST = 0xc0000201,   /* 192.0.2.1 and .2 */
    MAPPED_FIRST = 0xc0000210, /* 192.0.2.16/28 are the hosts 2001:db8:300::/124 */
    EXTRA_DELAY = 500,         /* milliseconds, at most, of a packet that is overtaken */
};

enum side {
    SIDE6,
    SIDE4,
    SIDES,
};

enum host_kind {
    HOST_CLIENT,       /* IPv6, behind nat64 */
    HOST_MAPPED,       /* IPv6, with a mapping of siit */
    HOST_TRANSLATABLE, /* IPv6, with an address under the siit prefix */
    HOST_SERVER,       /* IPv4 */
    HOST_KINDS,
};

/* What a host has learned of the path to an address. */
struct path_known {
    struct address to;
    uint32_t mtu;
};

struct host {
    enum host_kind kind;
    enum side side;
    struct address address, router;
    struct {
        uint32_t host, gateway; /* of the wires on either side of its router */
    } mtu;
    struct path_known known[PATHS_KNOWN];
    unsigned known_next;
    struct assemblies assemblies;
};

enum exchange_kind {
    EXCHANGE_TCP,
    EXCHANGE_UDP,
    EXCHANGE_PING,
    EXCHANGE_KINDS,
};

enum outcome {
    OUTCOME_NONE,
    OUTCOME_DONE,
    OUTCOME_REFUSED,  /* TCP: a reset in answer to the SYN */
    OUTCOME_RESET,    /* TCP: a reset later */
    OUTCOME_NO_HOST,  /* an ICMP error */
    OUTCOME_NO_PORT,  /* the same */
    OUTCOME_FILTERED, /* the same */
    OUTCOMES,
};

/* How the two ends know each other. */
enum relation {
    RELATION_NAT64, /* client to server */
    RELATION_CALL,  /* server to a client's static binding */
    RELATION_NAT64_HAIRPIN,
    RELATION_SIIT,
    RELATION_SIIT_HAIRPIN,
    RELATIONS,
};

/* One end of a TCP connection; positions count from the SYN, which is 0. */
struct tcp {
    uint32_t own_start, peer_start;    /* sequence numbers of the SYNs */
    uint32_t size, peer_size;          /* bytes of data */
    uint32_t acknowledged, next, most; /* own: up to where the peer has it; next to be sent; ever sent */
    uint32_t got;                      /* of the peer's: all before */
    uint32_t largest;                  /* segment that the peer wants */
    uint32_t window;                   /* bytes under way */
    uint32_t pause_at, reset_at;       /* positions; 0: none */
    uint64_t pause, quiet_until;
    uint64_t timer, patience;
    bool closes_second, is_reset;
};

struct end {
    struct exchange *exchange;
    struct host *host;
    unsigned number; /* 0: who begins */
    uint16_t port;
    struct address remote; /* as this end sees the other */
    uint16_t remote_port;
    bool knows;  /* address and port of the other; else it learns them from the first packet, ... */
    bool varies; /* ... and for UDP from every packet: a client's binding may have ended meanwhile */
    struct tcp tcp;
    enum outcome outcome;
};

struct exchange {
    struct world *world;
    bool used;
    uint32_t number;
    enum exchange_kind kind;
    enum relation relation;
    struct end end[2];
    enum outcome expected;  /* at the end that begins */
    enum outcome tolerates; /* an error that may come and means nothing */
    uint64_t begins, due, forgotten;
    bool nobody;    /* there is no such host */
    bool closed;    /* nobody listens */
    bool both_call; /* TCP: both ends begin */
    uint8_t tos;
    /* UDP and ping */
    uint32_t rounds, round, size[2];
    uint64_t pause, timer, patience;
    bool without_checksum;
};

/* What a seed draws. */
struct plan {
    bool nat64, siit, fragments, address_dependent;
    uint32_t workers;
    uint32_t lost, doubled, overtaken; /* packets in 1000, until calm */
    uint64_t delay;
    uint64_t calm;
    uint32_t mtu[SIDES]; /* of the gateway's own wires */
    uint32_t exchanges;
    uint32_t offloads; /* bursts in 1000 whose packets come as from a network card */
    uint32_t longest;  /* bytes of a datagram */
    uint32_t changes;  /* of paths and settings, while all this goes on */
};

struct gateway {
    struct settings settings[2]; /* the one in force, and one to replace it */
    unsigned current;
    struct pool_range pool;
    struct static_binding statics[3 * TRANSPORT_COUNT];
    bool busy[3]; /* which of the clients' static bindings an exchange uses */
    struct paths *paths;
    struct table *table;
    struct engine *engine;
    struct waiting_packet *first, *last; /* that have arrived */
    unsigned waiting;
    bool polling;
    uint64_t expiring; /* when engine_expire is to be called next */
    uint64_t passes, steps, audits;
    struct mapping *mappings;
    uint32_t mapping_count;
    uint32_t probes;
};

struct world {
    uint64_t seed;
    struct random random;
    struct clock clock;
    struct plan plan;
    struct gateway gateway;
    struct host hosts[HOSTS];
    unsigned host_count;
    struct address prefix64, prefix65; /* of nat64 and of siit */
    struct exchange exchanges[EXCHANGES_AT_ONCE];
    uint32_t begun, finished, outcomes[OUTCOMES];
    uint64_t audit_every;
    bool loud;
    uint64_t packets_sent, packets_lost, errors_received, mixed;
    char why[512];
    jmp_buf failed;
};

/* --- main.c --- */

/* Ends the run: something is wrong. */
void world_fails(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* A number below `sides`; true so many times in a thousand. */
uint32_t dice(struct world *world, uint32_t sides);
bool chance(struct world *world, uint32_t of_1000);

/* --- wire.c --- */

/* A host sends a packet, of the size of its own wire at most, or the gateway does. */
void wire_from_host(struct world *world, struct host *host, const struct ip *ip);
void wire_from_gateway(struct world *world, const uint8_t *bytes, uint32_t length);

struct host *host_at(struct world *world, const struct address *address);

/* --- gateway.c --- */

void gateway_open(struct world *world);
void gateway_close(struct world *world);
void gateway_arrive(struct world *world, const uint8_t *bytes, uint32_t length);

/* Path MTUs and settings as they are now. */
void gateway_follow(struct world *world);

/* When everything is over: lets all that the engine knows end, and looks whether anything is left. */
void gateway_check_emptied(struct world *world);
void gateway_audit(struct world *world);

/* --- mapping.c: what may be expected of bindings, from outside --- */

void mapping_check(struct world *world, const struct ip *before, const struct ip *after);

/* --- host.c --- */

/* A packet has arrived at a host. */
void host_receive(struct world *world, struct host *host, const uint8_t *bytes, uint32_t length);

/* Sends an upper-layer packet to the end's other end, in pieces where the path wants it. */
void host_send(struct end *end, uint8_t protocol, uint8_t *payload, uint32_t length);

/* The longest packet that the host believes the path to take. */
uint32_t host_path_mtu(const struct host *host, const struct address *to);

/* --- exchange.c --- */

/* The next exchange begins, if there is room for one. */
void exchange_begin(struct world *world);

/* The end of this host that a packet is for; NULL: none. `learn`: it may be the first. */
struct end *exchange_find(struct world *world, const struct host *host, enum exchange_kind kind,
                          const struct ip *ip, const uint16_t ports[2]);

/* One end has come to its end. */
void exchange_ended(struct end *end, enum outcome outcome);
bool exchange_is_over(const struct exchange *exchange);
uint8_t exchange_byte(const struct exchange *exchange, unsigned from, uint32_t position);
const char *exchange_name(const struct exchange *exchange);

/* --- tcp.c, datagram.c --- */

void tcp_begin(struct end *end);
void tcp_receive(struct end *end, const struct ip *ip);
void tcp_again(struct end *end);  /* the path has become narrower */
void tcp_probed(struct end *end); /* the engine asks whether it is still there */

/* What is quoted of a segment that this end sent: NULL, or what is wrong. */
const char *tcp_check_quoted(const struct end *end, const struct ip *ip);

void datagram_begin(struct exchange *exchange);
void datagram_receive(struct end *end, const struct ip *ip);
void datagram_again(struct exchange *exchange);
const char *datagram_check_quoted(const struct end *end, const struct ip *ip);

#endif /* TEST_SIMULATION_WORLD_H */
