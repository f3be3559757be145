/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lookups under way. Each has a slot, from the call of resolver_ask until libunbound is done with it, which
 * calls back exactly once for each; a slot whose deadline passes has told its asker so, and stays taken.
 *
 * Cancelling would free slots earlier and be wrong: libunbound then merely keeps silent about a lookup, and
 * goes on with it until it has an answer to keep. Nothing in libunbound bounds the lookups under way, so
 * somebody who asks for names of servers that never answer would fill the memory. A slot that is taken for
 * as long as there is something in libunbound is the bound.
 *
 * Nor is that enough. A lookup of a silent server holds a socket of libunbound's for as long as it lasts, the
 * others stand in line for one, and nobody is served out of turn. So nobody may have as many lookups under
 * way as there are sockets, or the names of one client that lead nowhere would be the end of all others'.
 *
 * Deadlines are timers of the loop, one for each slot that was ever in use at the same time as the others,
 * kept with it, and with what libevent calls a common timeout: those of one patience stand in a queue, to
 * which adding and removing costs the same however many there are. libevent has 256 such queues and
 * complains on stderr of every timer that would be one more, so patience comes in steps.
 */
#include "dns64/resolver.h"

#include <stdio.h>
#include <stdlib.h>

#include <unbound-event.h>

#include "dns64/message.h"
#include "dns64/resolver_context.h"
#include "dns64/tls_relay.h"

struct slot {
    struct resolver *resolver;
    struct event *deadline; /* NULL until the slot was used once */
    resolver_done *done;    /* NULL: the asker knows that it took too long */
    void *context;
    uint32_t generation; /* counts its uses */
    uint32_t share;      /* on whose account it is */
    uint32_t next;       /* of those that are free */
};

enum { NONE = RESOLVER_LOOKUPS };

struct resolver {
    struct event_base *base;
    struct resolver_options options; /* with TLS the upstreams are the relays */
    struct tls_trust *trust;
    struct tls_relay *relays[RESOLVER_UPSTREAMS];
    struct ub_ctx *checked;   /* keeps what is bogus to itself, if it validates */
    struct ub_ctx *unchecked; /* does not; NULL if nothing is validated */
    bool closing;
    uint32_t free;                    /* the first free slot, or NONE */
    uint16_t shares[RESOLVER_SHARES]; /* slots taken */
    struct slot slots[RESOLVER_LOOKUPS];
};

static void finish(resolver_done *done, void *context, enum lookup_state state)
{
    done(context, &(struct looked_up){.state = state});
}

/* The asker hears of it; libunbound goes on. */
static void on_deadline(evutil_socket_t socket, short what, void *argument)
{
    struct slot *slot = argument;
    resolver_done *done = slot->done;
    (void)socket;
    (void)what;
    slot->done = NULL;
    finish(done, slot->context, LOOKUP_TIMEOUT);
}

static struct slot *take(struct resolver *resolver, uint32_t share)
{
    if (resolver->free == NONE || resolver->shares[share] >= RESOLVER_SHARE)
        return NULL;
    struct slot *slot = &resolver->slots[resolver->free];
    if (slot->deadline == NULL && (slot->deadline = evtimer_new(resolver->base, on_deadline, slot)) == NULL)
        return NULL;
    resolver->free = slot->next;
    resolver->shares[share]++;
    slot->resolver = resolver;
    slot->share = share;
    return slot;
}

static void give_back(struct slot *slot)
{
    struct resolver *resolver = slot->resolver;
    evtimer_del(slot->deadline);
    resolver->shares[slot->share]--;
    slot->generation++;
    slot->done = NULL;
    slot->next = resolver->free;
    resolver->free = (uint32_t)(slot - resolver->slots);
}

/*
 * What libunbound says. With an rcode of its own, which is SERVFAIL, there is nothing in the buffer to look
 * at; without one there is a message. Whatever other error the servers give, REFUSED or FORMERR, has become
 * SERVFAIL; for a few seconds the same failure comes from the cache, and then as a message.
 */
static struct looked_up result_of(int rcode, const uint8_t *message, int size, int security)
{
    static const enum lookup_state states[] = {LOOKUP_INSECURE, LOOKUP_BOGUS, LOOKUP_SECURE};
    struct dns_header header;
    if (rcode != 0 || message == NULL || size < 0 || !dns_header_read(&header, message, (size_t)size))
        return (struct looked_up){.state = LOOKUP_FAILED};
    if (header.rcode == DNS_RCODE_SERVFAIL && states[security] != LOOKUP_BOGUS)
        return (struct looked_up){.state = LOOKUP_FAILED};
    return (struct looked_up){.state = states[security], .message = message, .size = (size_t)size};
}

/* The slot is free before the asker is called, who may ask for more. */
static void on_result(void *argument, int rcode, void *message, int size, int security, char *reason,
                      int rate_limited)
{
    struct slot *slot = argument;
    struct looked_up result = result_of(rcode, message, size, security);
    (void)reason;
    (void)rate_limited;
    if (slot->resolver->closing)
        return;
    resolver_done *done = slot->done;
    void *context = slot->context;
    give_back(slot);
    if (done != NULL)
        done(context, &result);
}

static struct ub_ctx *context_for(const struct resolver *resolver, const struct lookup *lookup)
{
    return lookup->unchecked && resolver->unchecked != NULL ? resolver->unchecked : resolver->checked;
}

/* What stands for the queue of this patience in libevent; the time itself if it has no more queues. */
static const struct timeval *queue_of(struct resolver *resolver, struct timeval *patience)
{
    const struct timeval *common = event_base_init_common_timeout(resolver->base, patience);
    return common != NULL ? common : patience;
}

static void arm(struct resolver *resolver, struct slot *slot, unsigned patience)
{
    patience = (patience + RESOLVER_STEP - 1) / RESOLVER_STEP * RESOLVER_STEP;
    struct timeval wait = {.tv_sec = patience / 1000, .tv_usec = (suseconds_t)(patience % 1000 * 1000)};
    evtimer_add(slot->deadline, queue_of(resolver, &wait));
}

void resolver_ask(struct resolver *resolver, const struct lookup *lookup, const struct resolver_asker *asker)
{
    struct ub_ctx *library = context_for(resolver, lookup);
    struct slot *slot = take(resolver, asker->share);
    if (slot == NULL) {
        finish(asker->done, asker->context, LOOKUP_BUSY);
        return;
    }
    uint32_t generation = slot->generation;
    slot->done = asker->done;
    slot->context = asker->context;

    char name[DNS_NAME_TEXT_MAX];
    dns_name_print(&lookup->name, name);
    if (ub_resolve_event(library, name, lookup->type, lookup->class, slot, on_result, NULL) != 0) {
        give_back(slot);
        finish(asker->done, asker->context, LOOKUP_BUSY);
    } else if (slot->generation == generation) { /* otherwise it has been answered from the cache */
        arm(resolver, slot, asker->patience);
    }
}

/* Puts a relay before each upstream. */
static bool relay_upstreams(struct resolver *resolver, char *error, size_t size)
{
    struct resolver_options *options = &resolver->options;
    resolver->trust = tls_trust_open(error, size);
    if (resolver->trust == NULL)
        return false;
    for (uint32_t i = 0; i < options->upstream_count; i++) {
        resolver->relays[i] =
            tls_relay_open(resolver->base, resolver->trust, options->upstreams[i], error, size);
        if (resolver->relays[i] == NULL)
            return false;
        snprintf(options->upstreams[i], RESOLVER_TEXT, "127.0.0.1@%u", tls_relay_port(resolver->relays[i]));
    }
    return true;
}

struct resolver *resolver_open(struct event_base *base, const struct resolver_options *options, char *error,
                               size_t size)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL) {
        snprintf(error, size, "no memory for the resolver");
        return NULL;
    }
    resolver->base = base;
    resolver->options = *options;
    for (uint32_t i = 0; i < RESOLVER_LOOKUPS; i++)
        resolver->slots[i].next = i + 1;
    bool ready = options->upstream_count == 0 || !options->tls || relay_upstreams(resolver, error, size);
    if (ready)
        resolver->checked = resolver_context_open(base, &resolver->options, true, error, size);
    if (resolver->checked != NULL && options->validate)
        resolver->unchecked = resolver_context_open(base, &resolver->options, false, error, size);
    if (resolver->checked == NULL || (options->validate && resolver->unchecked == NULL)) {
        resolver_close(resolver);
        return NULL;
    }
    return resolver;
}

void resolver_watch_tls(struct resolver *resolver, void (*failed)(void *context, bool untrusted),
                        void *context)
{
    if (resolver->trust != NULL)
        tls_trust_watch(resolver->trust, failed, context);
}

void resolver_close(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    resolver->closing = true;
    resolver_context_close(resolver->checked);
    resolver_context_close(resolver->unchecked);
    for (uint32_t i = 0; i < RESOLVER_UPSTREAMS; i++)
        tls_relay_close(resolver->relays[i]);
    tls_trust_close(resolver->trust);
    for (uint32_t i = 0; i < RESOLVER_LOOKUPS; i++) {
        if (resolver->slots[i].deadline != NULL)
            event_free(resolver->slots[i].deadline);
    }
    free(resolver);
}
