/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stateful policy (RFC 6146): which addresses a packet gets, and the bindings and sessions that remember
 * it.
 *
 * Both directions look for the session first, since almost every packet has one. Without one, the client's
 * side makes a session and, if need be, a binding; the IPv4 side makes a session for any remote that
 * addresses a binding, or, with address-dependent filtering, for those that the binding has a session with
 * (section 3.5, engine/permissions.h); other SYNs are stored for a while (engine/waiting.h). A TCP segment
 * that is no SYN makes none, but passes if there is a binding (section 3.5.2.2, CLOSED).
 *
 * ICMP errors pass by the session or binding of the packet they quote, and neither refresh nor end it
 * (RFC 5508 REQ-6).
 */
#include "engine/worker.h"

#include "engine/lifetime.h"
#include "engine/opening.h"
#include "engine/permissions.h"
#include "engine/waiting.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

/* Kept out of the functions that every packet goes through, with all that it needs on the stack. */
#define RARELY __attribute__((noinline, cold))

/* The word of life of a session whose packet, which this worker has at hand, has passed. */
WIRE_INLINE uint64_t life_after(const struct worker *worker, const struct found *found, bool from_ipv6,
                                uint8_t flags)
{
    const struct passing passing = {.tick = worker->tick, .from_ipv6 = from_ipv6, .tcp_flags = flags};
    return lifetime_after(&worker->settings->nat64[found->copy.instance].timeouts, &found->copy, &passing);
}

static __attribute__((noinline)) bool change_life(struct worker *worker, struct found *found, bool from_ipv6,
                                                  uint8_t flags)
{
    for (unsigned tries = 0; tries < CREATE_TRIES; tries++) {
        uint64_t next = life_after(worker, found, from_ipv6, flags);
        if (session_touch(worker->actor.table, found, life_expires(next), life_state(next))) {
            uint8_t before = life_state(found->copy.life), state = life_state(next);
            if (state != before && state_is_half_open(state) && !state_is_half_open(before))
                (void)half_open_enter(&worker->actor, found->index, life_generation(found->copy.life));
            return true;
        }
        uint64_t life = atomic_load64(&record_at(worker->actor.table, found->index)->life);
        if (life_phase(life) != PHASE_LIVE || life_generation(life) != life_generation(found->copy.life))
            return false;
        found->copy.life = life;
    }
    return true; /* others have refreshed it as often */
}

/*
 * A packet has passed: moves the session's state and end (sections 3.5.1, 3.5.2.2, 3.5.3), which within a
 * second nearly always are what they were. False: the session has ended since it was found.
 * rfc: 6146-3.5.1-b, 6146-3.5.1-i, 6146-3.5.3-b, 6146-3.5.2.2-u
 */
static bool refresh(struct worker *worker, struct found *found, bool from_ipv6, uint8_t flags)
{
    return life_after(worker, found, from_ipv6, flags) == found->copy.life ||
           change_life(worker, found, from_ipv6, flags);
}

static bool opens(const struct description *description)
{
    return flags_open(description->kind == PACKET_TCP, description->tcp_flags);
}

/*
 * May the remote not stand behind the well-known prefix (RFC 6052 section 3.1)?
 * rfc: 6052-3.1-b
 */
static bool is_forbidden(const struct nat64_settings *nat64, be32 remote)
{
    return !nat64->translate_non_global && rfc6052_is_well_known(&nat64->prefix) &&
           ipv4_is_non_global(remote);
}

/*
 * For ICMP queries both ports are the identifier.
 * rfc: 6146-3.6.1-a, 6146-3.6-a
 */
static void endpoints_from4(const struct record *record, be32 remote, be16 remote_port, struct endpoints4 *to)
{
    bool query = record->transport == TRANSPORT_ICMP;
    *to = (struct endpoints4){.source = record->pool,
                              .destination = remote,
                              .source_port = record->pool_port,
                              .destination_port = query ? record->pool_port : remote_port};
}

/* rfc: 6146-3.6.1-b, 6146-3.6.2-a, 4787-REQ9-b */
static void endpoints_from6(const struct worker *worker, const struct record *record, be32 remote,
                            be16 remote_port, struct endpoints6 *to)
{
    bool query = record->transport == TRANSPORT_ICMP;
    to->source = rfc6052_embed(&worker->settings->nat64[record->instance].prefix, remote);
    to->destination = record->client;
    to->source_port = query ? record->client_port : remote_port;
    to->destination_port = record->client_port;
}

static struct session_request new_request(const struct worker *worker, const struct key6 *key, bool from_ipv6)
{
    const struct nat64_settings *nat64 = &worker->settings->nat64[key->instance];
    uint32_t sessions = nat64->sessions, own = nat64->sessions_per_subscriber;
    struct session_request request = {.key = *key,
                                      .tick = worker->tick,
                                      .state = state_first(key->transport, from_ipv6),
                                      .sessions = from_ipv6 ? sessions : share_of_outside(sessions),
                                      .sessions_per_subscriber = from_ipv6 ? own : share_of_outside(own)};
    request.expires = lifetime_first(&nat64->timeouts, key->transport, worker->tick);
    return request;
}

/*
 * session_make, within the limits. Sessions that have expired but are not yet swept count, so before a new
 * one is refused some of them are looked for.
 */
static enum made make_session(struct worker *worker, struct session_request *request,
                              const struct found *lead, struct found *session)
{
    enum made made = session_make(&worker->actor, request, lead, session);
    if (made != MADE_TABLE_FULL && made != MADE_SUBSCRIBER_FULL)
        return made;
    sweep_for_room(worker);
    if (lead == NULL && !pool_claim(worker, request))
        return made;
    return session_make(&worker->actor, request, lead, session);
}

bool nat64_claim_ahead(struct worker *worker, const struct description *description, const struct key6 *key,
                       struct session_request *request)
{
    const struct table *table = worker->actor.table;
    struct binding_key binding = binding_key_of(key);
    struct found lead;
    if (!opens(description) || binding_find(table, &binding, worker->tick, &lead))
        return false;
    *request = new_request(worker, key, true);
    if (!pool_claim(worker, request))
        return false;
    /* Nearly the last ports are left to those who are sure to use one. */
    const struct port_map *map = port_map_at(table, request->address, key->transport);
    if (atomic_load32(&map->free) < BURST_MAXIMUM * table->constants.lanes) {
        nat64_unclaim(worker, request);
        return false;
    }
    struct key4 key4 = {.pool = request->pool,
                        .remote = key->remote,
                        .pool_port = request->pool_port,
                        .remote_port = key->remote_port,
                        .transport = key->transport};
    __builtin_prefetch(owner_at(table, request->address, key->transport, from_be16(request->pool_port)), 1);
    __builtin_prefetch(bucket_at(table, SEGMENT_SESSION4, hash_bucket(table, hash_key4(table, &key4))), 1);
    return true;
}

void nat64_unclaim(struct worker *worker, const struct session_request *request)
{
    const struct table *table = worker->actor.table;
    ports_release(port_map_at(table, request->address, request->key.transport),
                  from_be16(request->pool_port));
    if (request->astray)
        (void)pairing_leave(table, &request->key.client, request->key.instance, request->address);
}

/* The port claimed ahead, or else one claimed now, if need be after a look for expired sessions. */
static bool claim(struct worker *worker, struct outgoing *flow, struct session_request *request)
{
    if (flow->ahead != NULL) {
        *request = *flow->ahead;
        flow->ahead = NULL;
        return true;
    }
    if (pool_claim(worker, request))
        return true;
    sweep_for_room(worker);
    return pool_claim(worker, request);
}

/*
 * If the other side's SYN was here first, both have sent theirs now (section 3.5.2.2, V4 INIT), and the one
 * that is stored is dropped in silence. Not before there is a session: a SYN that is not translated leaves it
 * to be answered (RFC 5382 REQ-4).
 * rfc: 6146-3.5.2.2-g, 5382-REQ2-b, 5382-REQ4-b
 */
static void meet_waiting(struct worker *worker, struct found *session)
{
    struct key4 key = record_key4(&session->copy);
    if (waiting_claim(worker, hash_key4(worker->actor.table, &key)))
        (void)refresh(worker, session, false, TCP_SYN);
}

/*
 * No session yet for a packet from the client; VERDICT_CONTENTION means look again.
 * rfc: 6146-3.5.1-a, 6146-3.5.1-b, 6146-3.5.3-a, 6146-3.5.3-b, 6146-3.5.2.2-a, 6146-3.5.2.2-e
 * rfc: 6146-3.5.2.2-f, 6146-5.2-a, 5508-REQ1-a, 5508-REQ1-b
 */
RARELY static enum verdict open_outgoing(struct worker *worker, const struct description *description,
                                         struct outgoing *flow, struct endpoints4 *to)
{
    const struct key6 *key = flow->key;
    struct binding_key binding = binding_key_of(key);
    struct found lead;
    bool bound = binding_find(worker->actor.table, &binding, worker->tick, &lead);
    if (!opens(description)) {
        if (!bound)
            return VERDICT_NO_SESSION;
        endpoints_from4(&lead.copy, key->remote, key->remote_port, to);
        return VERDICT_COUNT;
    }
    struct session_request request = new_request(worker, key, true);
    if (!bound && !claim(worker, flow, &request))
        return VERDICT_PORTS_EXHAUSTED;
    enum made made = make_session(worker, &request, bound ? &lead : NULL, &flow->session);
    if (made != MADE) {
        flow->session.index = NO_RECORD;
        return verdict_of_making(made);
    }
    if (key->transport == TRANSPORT_TCP)
        meet_waiting(worker, &flow->session);
    endpoints_from4(&flow->session.copy, key->remote, key->remote_port, to);
    return VERDICT_COUNT;
}

enum verdict nat64_outgoing(struct worker *worker, const struct description *description,
                            struct outgoing *flow, struct endpoints4 *to)
{
    enum verdict verdict = VERDICT_CONTENTION;
    struct found *session = &flow->session;
    for (unsigned tries = 0; tries < CREATE_TRIES && verdict == VERDICT_CONTENTION; tries++) {
        if ((session->index != NO_RECORD ||
             session_find6(worker->actor.table, flow->key, flow->hash, worker->tick, session)) &&
            refresh(worker, session, true, description->tcp_flags)) {
            endpoints_from4(&session->copy, session->copy.remote, session->copy.remote_port, to);
            return VERDICT_COUNT;
        }
        session->index = NO_RECORD;
        verdict = open_outgoing(worker, description, flow, to);
    }
    return verdict;
}

/*
 * What becomes of a packet from outside that may not pass: a SYN is stored, for the client may call too.
 * rfc: 6146-3.5.2.2-b, 6146-3.5.2.2-c, 5382-REQ4-a
 */
static enum verdict keep_out(struct worker *worker, const struct description *description,
                             const struct incoming *flow, const struct nat64_settings *nat64,
                             enum verdict verdict)
{
    if (description->kind != PACKET_TCP || !flags_are_syn(description->tcp_flags) || description->fragmented)
        return verdict;
    waiting_store(worker, flow->packet, description, flow->hash, nat64->timeouts.tcp_syn);
    return VERDICT_SYN_STORED;
}

/*
 * No session yet for a packet from outside; VERDICT_CONTENTION means look again.
 * rfc: 6146-3.5.1-e, 6146-3.5.1-g, 6146-3.5.1-i, 6146-3.5.3-d, 6146-3.5.3-e, 6146-3.5.2.2-d
 * rfc: 6146-3.5.2.2-e, 6146-3.5.2.2-f, 4787-REQ8-a, 7857-7-a
 */
RARELY static enum verdict open_incoming(struct worker *worker, const struct description *description,
                                         struct incoming *flow, struct endpoints6 *to)
{
    const struct key4 *key = flow->key;
    int there = pool_find(worker->rules, key->pool);
    struct found lead;
    if (there < 0)
        return VERDICT_NOT_OURS;
    const struct pool_address *address = &worker->rules->pool.address[there];
    const struct nat64_settings *nat64 = &worker->settings->nat64[address->instance];
    if (!binding_find4(worker->actor.table, address->place, key->transport, key->pool_port, worker->tick,
                       &lead))
        return address->shared ? VERDICT_NO_BINDING
                               : keep_out(worker, description, flow, nat64, VERDICT_NO_BINDING);
    const struct record *binding = &lead.copy;
    if (is_forbidden(nat64, key->remote))
        return VERDICT_NON_GLOBAL;
    if (nat64->filtering == FILTERING_ADDRESS_DEPENDENT &&
        !permission_granted(worker->actor.table, binding, key->remote, worker->tick))
        return keep_out(worker, description, flow, nat64, VERDICT_FILTERED);
    endpoints_from6(worker, binding, key->remote, key->remote_port, to);
    if (!opens(description))
        return VERDICT_COUNT;
    struct key6 key6 = {.client = binding->client,
                        .remote = key->remote,
                        .client_port = binding->client_port,
                        .remote_port = key->remote_port,
                        .transport = key->transport,
                        .instance = binding->instance};
    struct session_request request = new_request(worker, &key6, false);
    enum made made = make_session(worker, &request, &lead, &flow->session);
    if (made == MADE)
        return VERDICT_COUNT;
    flow->session.index = NO_RECORD;
    if (made != MADE_LOOK_AGAIN) /* whatever the reason, a SYN gets no answer at once (RFC 5382 REQ-4) */
        (void)keep_out(worker, description, flow, nat64, VERDICT_COUNT);
    return verdict_of_making(made);
}

enum verdict nat64_incoming(struct worker *worker, const struct description *description,
                            struct incoming *flow, struct endpoints6 *to)
{
    enum verdict verdict = VERDICT_CONTENTION;
    struct found *session = &flow->session;
    for (unsigned tries = 0; tries < CREATE_TRIES && verdict == VERDICT_CONTENTION; tries++) {
        if ((session->index != NO_RECORD ||
             session_find4(worker->actor.table, flow->key, flow->hash, worker->tick, session)) &&
            refresh(worker, session, false, description->tcp_flags)) {
            endpoints_from6(worker, &session->copy, session->copy.remote, session->copy.remote_port, to);
            return VERDICT_COUNT;
        }
        session->index = NO_RECORD;
        verdict = open_incoming(worker, description, flow, to);
    }
    return verdict;
}

static int transport_of(const struct description *quoted)
{
    switch (quoted->kind) {
    case PACKET_TCP:
        return TRANSPORT_TCP;
    case PACKET_UDP:
        return TRANSPORT_UDP;
    case PACKET_ICMP_QUERY:
        return TRANSPORT_ICMP;
    default:
        return -1;
    }
}

static const uint8_t *quoted_packet(const struct packet *packet, const struct description *description)
{
    return packet_data(packet) + description->transport + sizeof(struct icmp_header);
}

/*
 * An ICMPv6 error about a packet that went to a client: quoted source = the remote, quoted destination = the
 * client. It goes on to the remote, whoever it was sent to, as if the pool address had sent it (sections 3.4,
 * 3.6.1 and 3.7).
 * rfc: 6146-3.5-d, 6146-3.6.2-a, 6146-3.7-c, 5508-REQ5-a, 5508-REQ5-d, 7857-7.1-a
 */
enum verdict nat64_outgoing_error(struct worker *worker, const struct packet *packet,
                                  const struct description *description, const struct description *quoted,
                                  struct error_endpoints4 *to)
{
    const struct table *table = worker->actor.table;
    const struct ipv6_header *outer = (const void *)packet_data(packet);
    const struct ipv6_header *inner = (const void *)quoted_packet(packet, description);
    int transport = transport_of(quoted);
    int instance = instance_of(worker->settings, &inner->source);
    if (transport < 0 || instance < 0 || instance_of(worker->settings, &outer->destination) != instance)
        return VERDICT_ICMP_INNER;
    const struct rfc6052_prefix *prefix = &worker->settings->nat64[instance].prefix;
    struct key6 key = {.client = inner->destination,
                       .remote = rfc6052_extract(prefix, &inner->source),
                       .client_port = quoted->destination_port,
                       .remote_port = transport == TRANSPORT_ICMP ? 0 : quoted->source_port,
                       .transport = (uint8_t)transport,
                       .instance = (uint8_t)instance};
    struct binding_key binding = binding_key_of(&key);
    struct found found;
    if (!session_find6(table, &key, hash_key6(table, &key), worker->tick, &found) &&
        !binding_find(table, &binding, worker->tick, &found))
        return VERDICT_ICMP_NO_SESSION;
    if (is_forbidden(&worker->settings->nat64[instance], key.remote))
        return VERDICT_NON_GLOBAL;
    const struct record *record = &found.copy;
    be16 identifier = record->pool_port;
    to->to = (struct endpoints4){.source = record->pool, .destination = key.remote};
    to->quoted_to =
        (struct endpoints4){.source = key.remote,
                            .destination = record->pool,
                            .source_port = transport == TRANSPORT_ICMP ? identifier : quoted->source_port,
                            .destination_port = record->pool_port};
    return VERDICT_COUNT;
}

/*
 * An ICMPv4 error about a packet that left a pool address: quoted source = pool, quoted destination = the
 * remote.
 * rfc: 7915-4.1-l, 6146-3.5-d, 6146-3.6.2-a, 6146-3.7-c, 5508-REQ4-a, 5508-REQ7-a, 4787-REQ12-b
 */
enum verdict nat64_incoming_error(struct worker *worker, const struct packet *packet,
                                  const struct description *description, const struct description *quoted,
                                  struct error_endpoints6 *to)
{
    const struct table *table = worker->actor.table;
    const struct ipv4_header *outer = (const void *)packet_data(packet);
    const struct ipv4_header *inner = (const void *)quoted_packet(packet, description);
    int transport = transport_of(quoted);
    if (transport < 0)
        return VERDICT_ICMP_INNER;
    struct key4 key = {.pool = inner->source,
                       .remote = inner->destination,
                       .pool_port = quoted->source_port,
                       .remote_port = transport == TRANSPORT_ICMP ? 0 : quoted->destination_port,
                       .transport = (uint8_t)transport};
    struct found found;
    if (!session_find4(table, &key, hash_key4(table, &key), worker->tick, &found)) {
        int there = pool_find(worker->rules, key.pool);
        if (there < 0 || !binding_find4(table, worker->rules->pool.address[there].place, key.transport,
                                        key.pool_port, worker->tick, &found))
            return VERDICT_ICMP_NO_SESSION;
    }
    const struct record *record = &found.copy;
    if (is_forbidden(&worker->settings->nat64[record->instance], key.remote))
        return VERDICT_NON_GLOBAL;
    const struct rfc6052_prefix *prefix = &worker->settings->nat64[record->instance].prefix;
    bool query = transport == TRANSPORT_ICMP;
    to->to =
        (struct endpoints6){.source = rfc6052_embed(prefix, outer->source), .destination = record->client};
    to->quoted_to =
        (struct endpoints6){.source = record->client,
                            .destination = rfc6052_embed(prefix, key.remote),
                            .source_port = record->client_port,
                            .destination_port = query ? record->client_port : quoted->destination_port};
    return VERDICT_COUNT;
}
