/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Resolving, validating and caching of what is in the DNS: libunbound, by its event interface, one for each
 * worker. Its configuration is ours ("validator iterator", no synthesis of its own, 0x20, QNAME
 * minimisation), not that of the machine's unbound.
 *
 * Two contexts stand behind it where validation is on. libunbound takes no CD, and what is bogus comes out of
 * its cache without data. So lookups that are not to be checked go to a context of their own, which gives out
 * what is bogus like anything else.
 *
 * Upstreams with TLS are behind a relay (dns64/tls_relay.h), for which the program has to ignore SIGPIPE.
 *
 * Lookups have a deadline of ours. What libunbound finds later it keeps, and the next asks for it get it.
 */
#ifndef DNS64_RESOLVER_H
#define DNS64_RESOLVER_H

#include <event2/event.h>

#include "dns64/inquiry.h"

enum {
    RESOLVER_UPSTREAMS = 16,
    RESOLVER_TEXT = 320, /* of an upstream: "192.0.2.53@853#dns.example" */
    RESOLVER_PATH = 256,
    RESOLVER_LOOKUPS = 4096, /* under way at once, of one resolver: each is about 10 KiB of libunbound's */
    RESOLVER_SHARES = 4096,  /* askers that are told apart */
    RESOLVER_SHARE = 256,    /* lookups under way of one of them: it gets no more than half of the sockets */
    RESOLVER_STEP = 100,     /* milliseconds, of which patience is a multiple */
    RESOLVER_AVOIDED = 32,   /* ranges of ports that questions do not come from */
};

struct resolver_ports {
    uint16_t low, high;
};

struct resolver_options {
    uint32_t upstream_count;                           /* 0: from the root */
    char upstreams[RESOLVER_UPSTREAMS][RESOLVER_TEXT]; /* ADDRESS[@PORT][#NAME] */
    bool tls;                                          /* towards them all */
    bool validate;
    char trust_anchors[RESOLVER_PATH]; /* the file, read at open; empty: resolver_anchors() */
    uint32_t memory;                   /* bytes of libunbound's own caches, about */
    uint32_t avoided_count;
    struct resolver_ports avoided[RESOLVER_AVOIDED]; /* ports of this machine's that are somebody else's */
};

struct resolver;

/*
 * Called when a lookup has ended, from the loop or, for what is known already, from within resolver_ask. The
 * message is gone when it returns, or when it asks for something else.
 */
typedef void resolver_done(void *context, const struct looked_up *result);

/* Who asks, and for how long it waits. */
struct resolver_asker {
    resolver_done *done;
    void *context;
    uint32_t share;    /* below RESOLVER_SHARES: on whose account the lookup goes */
    unsigned patience; /* milliseconds, rounded up to RESOLVER_STEP */
};

/*
 * NULL with a sentence. Asks nothing yet, and reads all files that it will ever need, so that rights may be
 * dropped after.
 */
struct resolver *resolver_open(struct event_base *base, const struct resolver_options *options, char *error,
                               size_t size);

/*
 * Looks up, and calls `done` once, with LOOKUP_TIMEOUT if nothing came in time, and with LOOKUP_BUSY at once
 * if too many are under way, in all or of this share. One that has timed out counts as under way until
 * libunbound has given it up, too.
 */
void resolver_ask(struct resolver *resolver, const struct lookup *lookup, const struct resolver_asker *asker);

/* Tells of connections to upstreams with TLS that do not come about, and whether it was for their
 * certificate. */
void resolver_watch_tls(struct resolver *resolver, void (*failed)(void *context, bool untrusted),
                        void *context);

/* Ends it, without calling anybody; not from within resolver_done. NULL is allowed. */
void resolver_close(struct resolver *resolver);

/* The file of trust anchors that the distribution has; NULL if there is none. */
const char *resolver_anchors(void);

/* Why a file of trust anchors cannot be read, or has none: a sentence without an end. NULL: nothing is wrong.
 */
const char *resolver_anchors_fault(const char *file);

#endif /* DNS64_RESOLVER_H */
