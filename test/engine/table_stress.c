/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_stress [SECONDS [THREADS [SEED]]]: actors, readers and a sweeper at once on a table so small that
 * they meet all the time. Made for the thread sanitizer; without it, what it finds is what the end of it
 * shows: when everything is ended, nothing may be left. Prints TAP, and the seed it began with.
 *
 * A reader checks what a session may promise: that a whole copy belongs to the key it was found by, and that
 * a session and its binding have the same port.
 */
#include "engine/worker.h"
#include "test/engine/audit.h"

#include <pthread.h>
#include <time.h>

enum {
    SESSIONS = 64,
    THREADS_DEFAULT = 4,
    THREADS_MAXIMUM = 6,
    CLIENTS = 6,
    REMOTES = 6,
    PORTS = 4, /* fewer than clients */
    FIRST_PORT = 2000,
    SUBSCRIBER_LIMIT = 12,
    STATIC_PORT = 80,
    TRIES = 8,
    SECONDS_DEFAULT = 3,
};

struct thread {
    pthread_t thread;
    struct actor actor;
    struct random random;
    uint64_t operations, made, found;
    const char *wrong;
};

static struct table *table;
static uint32_t tick = 100; /* atomic: seconds, much faster than real ones */
static uint32_t stop;       /* atomic */

static struct key6 key_of(unsigned client, unsigned remote)
{
    struct key6 key = {.remote = to_be32(0xc0000200u + remote), .transport = TRANSPORT_UDP};
    key.client.bytes[0] = 0x20;
    key.client.bytes[7] = (uint8_t)(client % 2);
    key.client.bytes[15] = (uint8_t)client;
    key.client_port = to_be16((uint16_t)(4000 + client));
    key.remote_port = to_be16(53);
    return key;
}

static void complain(struct thread *thread, const char *wrong)
{
    if (thread->wrong == NULL)
        thread->wrong = wrong;
}

static bool find(struct thread *thread, const struct key6 *key, uint32_t now, struct found *found)
{
    if (!session_find6(table, key, hash_key6(table, key), now, found))
        return false;
    struct key4 key4 = record_key4(&found->copy);
    if (key4.transport != key->transport || key4.remote != key->remote || found->copy.address != 0)
        complain(thread, "a copy is not whole");
    thread->found++;
    if (table->constants.counters) {
        struct traffic *traffic = traffic_at(table, found->index);
        (void)__atomic_fetch_add(&traffic->packets6, 1, __ATOMIC_RELAXED);
    }
    return true;
}

static void open_session(struct thread *thread, const struct key6 *key, uint32_t now)
{
    struct binding_key binding = binding_key_of(key);
    enum made made = MADE_LOOK_AGAIN;
    struct found found, lead;
    for (unsigned tries = 0; tries < TRIES && made == MADE_LOOK_AGAIN; tries++) {
        struct session_request request = {.key = *key,
                                          .tick = now,
                                          .expires = now + 3,
                                          .sessions = SESSIONS - 40,
                                          .sessions_per_subscriber = SUBSCRIBER_LIMIT};
        if (find(thread, key, now, &found)) {
            (void)session_touch(table, &found, now + 3, (uint8_t)(now % 8));
            return;
        }
        bool bound = binding_find(table, &binding, now, &lead);
        if (!bound) {
            int port = ports_claim(port_map_at(table, 0, TRANSPORT_UDP), key->client_port,
                                   random_next(&thread->random));
            if (port < 0)
                return;
            request.pool = to_be32(0xcb007101u);
            request.pool_port = to_be16((uint16_t)port);
        }
        made = session_make(&thread->actor, &request, bound ? &lead : NULL, &found);
        thread->made += made == MADE;
    }
}

static void open_from_ipv4(struct thread *thread, unsigned port, unsigned remote, uint32_t now)
{
    struct key4 key = {.pool = to_be32(0xcb007101u),
                       .remote = to_be32(0xc0000200u + remote),
                       .pool_port = to_be16((uint16_t)(FIRST_PORT + port)),
                       .remote_port = to_be16(53),
                       .transport = TRANSPORT_UDP};
    struct found found, lead;
    if (session_find4(table, &key, hash_key4(table, &key), now, &found)) {
        if (found.copy.pool_port != key.pool_port || found.copy.remote != key.remote)
            complain(thread, "a copy found from IPv4 is not whole");
        return;
    }
    if (!binding_find4(table, 0, TRANSPORT_UDP, key.pool_port, now, &lead))
        return;
    struct session_request request = {.key = {.client = lead.copy.client,
                                              .remote = key.remote,
                                              .client_port = lead.copy.client_port,
                                              .remote_port = key.remote_port,
                                              .transport = key.transport},
                                      .tick = now,
                                      .expires = now + 3,
                                      .sessions = SESSIONS - 40,
                                      .sessions_per_subscriber = SUBSCRIBER_LIMIT};
    thread->made += session_make(&thread->actor, &request, &lead, &found) == MADE;
}

static void end_session(struct thread *thread, const struct key6 *key)
{
    struct found found;
    if (find(thread, key, 0, &found))
        (void)session_end(&thread->actor, found.index, found.copy.life);
}

/* Makes the client's binding static, or ends one that is. */
static void change_static(struct thread *thread, const struct key6 *key, uint32_t now)
{
    struct binding_key binding = binding_key_of(key);
    struct found lead;
    bool bound = binding_find(table, &binding, now, &lead);
    struct session_request request = {
        .key = *key, .pool = to_be32(0xcb007101u), .pool_port = to_be16(STATIC_PORT), .tick = now};
    request.key.remote = 0;
    request.key.remote_port = 0;
    if (bound && (lead.copy.users & USERS_STATIC) != 0) {
        binding_end_static(&thread->actor, &lead);
        return;
    }
    if (bound)
        request.pool_port = lead.copy.pool_port;
    (void)binding_make_static(&thread->actor, &request);
}

static void sweep(struct thread *thread, uint32_t now)
{
    uint32_t used = records_used(table);
    for (uint32_t i = 0; i < used; i++) {
        uint64_t life = atomic_load64(&record_at(table, i)->life);
        if (life_phase(life) == PHASE_LIVE && life_expires(life) < now)
            (void)session_end(&thread->actor, i, life);
    }
}

/* As a list of the table does: every record, whatever becomes of it meanwhile. */
static void walk(struct thread *thread, uint32_t now)
{
    uint32_t used = records_used(table);
    struct record copy;
    for (uint32_t i = 0; i < used; i++) {
        const struct record *record = record_at(table, i);
        uint64_t life = atomic_load64(&record->life);
        if (!record_read(record, life_generation(life), &copy) || !life_is_session(copy.life, now))
            continue;
        struct key6 key = key_of(copy.client.bytes[15], from_be32(copy.remote) & 0xff);
        if (!record_has_key6(&copy, &key))
            complain(thread, "a copy in a walk is not whole");
        thread->found++;
    }
}

static void *act(void *argument)
{
    struct thread *thread = argument;
    while (atomic_load32(&stop) == 0) {
        uint64_t random = random_next(&thread->random);
        uint32_t now = atomic_load32(&tick) - (uint32_t)(random >> 60) % 2; /* a second behind, perhaps */
        unsigned kind = (unsigned)random % 64;
        struct key6 key = key_of((unsigned)(random >> 8) % CLIENTS, (unsigned)(random >> 16) % REMOTES);
        thread->operations++;
        if (kind < 40)
            open_session(thread, &key, now);
        else if (kind < 48)
            open_from_ipv4(thread, (unsigned)(random >> 24) % PORTS, (unsigned)(random >> 16) % REMOTES, now);
        else if (kind < 60)
            end_session(thread, &key);
        else if (kind < 62)
            change_static(thread, &key, now);
        else if (kind == 62)
            sweep(thread, now);
        else
            walk(thread, now);
        if (random >> 52 == 0)
            (void)atomic_add32(&tick, 1);
    }
    return NULL;
}

static void end_everything(struct actor *actor)
{
    for (uint32_t i = 0; i < records_used(table); i++) {
        const struct record *record = record_at(table, i);
        struct found lead = {.index = i};
        if (life_phase(record->life) == PHASE_LIVE)
            (void)session_end(actor, i, record->life);
        lead.copy = *record;
        if (audit_leads(record, i) && (record->users & USERS_STATIC) != 0)
            binding_end_static(actor, &lead);
    }
}

/* What is wrong when all have stopped, or NULL. */
static const char *judge(const struct thread threads[], unsigned n)
{
    static struct audit audit;
    struct actor actor = {.table = table};
    const char *wrong = audit_exact(table, &audit);
    uint64_t created = 0, ended = 0;
    for (unsigned i = 0; i < n && wrong == NULL; i++)
        wrong = threads[i].wrong;
    end_everything(&actor);
    if (wrong == NULL)
        wrong = audit_exact(table, &audit);
    if (wrong == NULL && (audit.sessions != 0 || audit.leads != 0 || audit.free != table->constants.records))
        wrong = "something is left when everything has been ended";
    for (unsigned i = 0; i < n; i++) {
        created += threads[i].actor.sessions_created;
        ended += threads[i].actor.sessions_ended;
    }
    return wrong == NULL && created != ended + actor.sessions_ended ? "the actors' counts differ" : wrong;
}

static void open_table(uint64_t seed)
{
    struct geometry geometry = {
        .sessions = SESSIONS, .addresses = 1, .workers = THREADS_MAXIMUM, .counters = 1};
    table = table_create(&geometry, seed);
    if (table == NULL)
        abort();
    header_of(table)->instance[0].subscriber_prefix = 64;
    for (unsigned i = 0; i < PORTS; i++)
        ports_allow(port_map_at(table, 0, TRANSPORT_UDP), (uint16_t)(FIRST_PORT + i));
}

int main(int argc, char **argv)
{
    struct thread threads[THREADS_MAXIMUM] = {0};
    unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : SECONDS_DEFAULT;
    unsigned n = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : THREADS_DEFAULT;
    struct timespec pause;
    (void)clock_gettime(CLOCK_REALTIME, &pause);
    uint64_t seed =
        argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)pause.tv_sec * 1000000 + (uint64_t)pause.tv_nsec;
    uint64_t operations = 0, made = 0, found = 0;
    if (n < 1 || n > THREADS_MAXIMUM)
        n = THREADS_DEFAULT;
    printf("1..1\n# seed %llu, %u threads, %u s\n", (unsigned long long)seed, n, seconds);
    (void)fflush(stdout);
    open_table(seed);
    for (unsigned i = 0; i < n; i++) {
        threads[i].actor = (struct actor){.table = table, .lane = i};
        threads[i].random = random_seed(seed + i);
        if (pthread_create(&threads[i].thread, NULL, act, &threads[i]) != 0)
            abort();
    }
    pause = (struct timespec){.tv_sec = seconds};
    (void)nanosleep(&pause, NULL);
    atomic_store32(&stop, 1);
    for (unsigned i = 0; i < n; i++) {
        (void)pthread_join(threads[i].thread, NULL);
        operations += threads[i].operations;
        made += threads[i].made;
        found += threads[i].found;
    }
    const char *wrong = judge(threads, n);
    printf("# %llu operations: %llu sessions made, %llu found\n", (unsigned long long)operations,
           (unsigned long long)made, (unsigned long long)found);
    printf("%sok 1 - actors at once leave nothing behind%s%s\n", wrong == NULL ? "" : "not ",
           wrong == NULL ? "" : ": ", wrong == NULL ? "" : wrong);
    table_destroy(table);
    return wrong != NULL;
}
