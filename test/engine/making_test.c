/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making and ending sessions: against a trivial reference, and by several threads at once. After each test
 * every session is ended, and then nothing may be left: no index entry, no port, no owner, no record that is
 * not free.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/making.h"
#include "engine/memory.h"
#include "engine/random.h"

enum {
    SESSIONS = 512,
    THREADS = 4,
    FIRST_PORT = 2000,
    LIMIT = SESSIONS,
};

static struct table *table;
static uint32_t subscriber_limit = LIMIT;

static void open_table(unsigned ports)
{
    struct geometry geometry = {.sessions = SESSIONS, .addresses = 1, .workers = THREADS};
    table = table_create(&geometry, 11);
    assert_non_null(table);
    header_of(table)->instance[0].subscriber_prefix = 128;
    for (unsigned i = 0; i < ports; i++)
        ports_allow(port_map_at(table, 0, TRANSPORT_UDP), (uint16_t)(FIRST_PORT + i));
}

static struct key6 key_of(unsigned client, unsigned remote)
{
    struct key6 key = {.remote = to_be32(0xc0000200u + remote), .transport = TRANSPORT_UDP};
    key.client.bytes[0] = 0x20;
    key.client.bytes[15] = (uint8_t)client;
    key.client_port = to_be16((uint16_t)(4000 + client));
    key.remote_port = to_be16(53);
    return key;
}

static uint32_t find6(const struct key6 *key, uint32_t tick)
{
    struct found found;
    return session_find6(table, key, hash_key6(table, key), tick, &found) ? found.index : NO_RECORD;
}

static uint32_t find_port(be16 port, uint32_t tick)
{
    struct found found;
    return binding_find4(table, 0, TRANSPORT_UDP, port, tick, &found) ? found.index : NO_RECORD;
}

/* What the policy does: look up, join or claim, make, and again if a rival was in the way. */
static enum made open_session(struct actor *actor, struct random *random, const struct key6 *key,
                              uint32_t tick, uint32_t *index)
{
    enum made made = MADE_LOOK_AGAIN;
    struct found found;
    for (unsigned tries = 0; tries < 64 && made == MADE_LOOK_AGAIN; tries++) {
        *index = find6(key, tick);
        if (*index != NO_RECORD)
            return MADE;
        struct binding_key binding = {
            .client = key->client, .client_port = key->client_port, .transport = key->transport};
        struct session_request request = {.key = *key,
                                          .tick = tick,
                                          .expires = tick + 10,
                                          .sessions = LIMIT,
                                          .sessions_per_subscriber = subscriber_limit};
        struct found lead;
        bool bound = binding_find(table, &binding, tick, &lead);
        if (!bound) {
            int port =
                ports_claim(port_map_at(table, 0, TRANSPORT_UDP), key->client_port, random_next(random));
            if (port < 0)
                return MADE_TABLE_FULL;
            request.pool = to_be32(0xcb007101u);
            request.pool_port = to_be16((uint16_t)port);
        }
        made = session_make(actor, &request, bound ? &lead : NULL, &found);
        *index = found.index;
    }
    return made;
}

static void end_everything(struct actor *actor)
{
    for (uint32_t i = 0; i < records_used(table); i++) {
        uint64_t life = atomic_load64(&record_at(table, i)->life);
        if (life_phase(life) == PHASE_LIVE)
            assert_true(session_end(actor, i, life));
    }
}

static void nothing_is_left(void)
{
    for (enum segment which = SEGMENT_SESSION6; which <= SEGMENT_SUBSCRIBERS; which++)
        for (uint32_t i = 0; i < table->constants.buckets; i++) {
            const struct bucket *bucket = bucket_at(table, which, i);
            assert_int_equal(bucket->strays, 0);
            for (unsigned j = 0; j < BUCKET_SLOTS; j++)
                assert_int_equal(bucket->slot[j], 0);
        }
    for (uint32_t i = 0; i < records_used(table); i++)
        assert_int_equal(life_phase(record_at(table, i)->life), PHASE_FREE);
    for (unsigned port = 0; port < 65536; port++)
        assert_int_equal(*owner_at(table, 0, TRANSPORT_UDP, (uint16_t)port), 0);
    assert_int_equal(port_map_at(table, 0, TRANSPORT_UDP)->used, 0);
    assert_int_equal(header_of(table)->sessions[0], 0);
}

/* The table can be filled to the brim again. */
static void all_records_come_back(struct actor *actor)
{
    unsigned taken = 0;
    while (records_take(table, actor->lane) != NO_RECORD)
        taken++;
    assert_int_equal(taken, table->constants.records);
}

static void one_binding_for_all_sessions_of_a_port(void **state)
{
    (void)state;
    open_table(100);
    struct actor actor = {.table = table};
    struct random random = random_seed(1);
    uint32_t first, second, other;
    struct key6 a = key_of(1, 1), b = key_of(1, 2), c = key_of(2, 1);
    assert_int_equal(open_session(&actor, &random, &a, 100, &first), MADE);
    assert_int_equal(open_session(&actor, &random, &b, 100, &second), MADE);
    assert_int_equal(open_session(&actor, &random, &c, 100, &other), MADE);
    assert_int_equal(record_at(table, first)->pool_port, record_at(table, second)->pool_port);
    assert_int_not_equal(record_at(table, first)->pool_port, record_at(table, other)->pool_port);
    assert_int_equal(users_count(record_at(table, first)->users), 2);
    assert_int_equal(record_at(table, second)->lead, first);

    struct key4 key4 = record_key4(record_at(table, second));
    struct found found;
    assert_true(session_find4(table, &key4, hash_key4(table, &key4), 100, &found));
    assert_int_equal(found.index, second);
    assert_int_equal(find_port(record_at(table, first)->pool_port, 100), first);

    /* The binding outlives its first session, on the same record and port, as long as the second lives. */
    assert_true(session_end(&actor, first, record_at(table, first)->life));
    assert_int_equal(find6(&a, 100), NO_RECORD);
    assert_int_equal(find_port(record_at(table, second)->pool_port, 100), first);
    assert_true(session_end(&actor, second, record_at(table, second)->life));
    assert_int_equal(find_port(key4.pool_port, 100), NO_RECORD);
    end_everything(&actor);
    nothing_is_left();
    all_records_come_back(&actor);
    table_destroy(table);
}

static void expired_is_absent_and_replaced(void **state)
{
    (void)state;
    open_table(100);
    struct actor actor = {.table = table};
    struct random random = random_seed(1);
    struct key6 key = key_of(1, 1);
    uint32_t first, second;
    assert_int_equal(open_session(&actor, &random, &key, 100, &first), MADE);
    be16 port = record_at(table, first)->pool_port;
    assert_int_equal(find6(&key, 110), first);
    assert_int_equal(find6(&key, 111), NO_RECORD);
    assert_int_equal(find_port(port, 110), first);
    assert_int_equal(find_port(port, 111), NO_RECORD);
    assert_int_equal(open_session(&actor, &random, &key, 111, &second), MADE);
    assert_int_equal(header_of(table)->sessions[0], 1);
    end_everything(&actor);
    nothing_is_left();
    table_destroy(table);
}

static void a_full_table_refuses_and_recovers(void **state)
{
    (void)state;
    open_table(1000);
    struct actor actor = {.table = table};
    struct random random = random_seed(1);
    uint32_t index;
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct key6 key = key_of(i % 200, i / 200);
        assert_int_equal(open_session(&actor, &random, &key, 100, &index), MADE);
    }
    struct key6 more = key_of(250, 1);
    uint32_t used = port_map_at(table, 0, TRANSPORT_UDP)->used;
    assert_int_equal(open_session(&actor, &random, &more, 100, &index), MADE_TABLE_FULL);
    assert_int_equal(port_map_at(table, 0, TRANSPORT_UDP)->used, used);
    end_everything(&actor);
    nothing_is_left();
    assert_int_equal(open_session(&actor, &random, &more, 100, &index), MADE);
    table_destroy(table);
}

static void static_bindings_stay(void **state)
{
    (void)state;
    open_table(100);
    struct actor actor = {.table = table};
    struct random random = random_seed(1);
    struct key6 key = key_of(1, 1);
    struct session_request request = {
        .key = key, .pool = to_be32(0xcb007101u), .pool_port = to_be16(80), .tick = 100};
    assert_true(binding_make_static(&actor, &request));
    assert_false(binding_make_static(&actor, &request));
    uint32_t lead = find_port(to_be16(80), 1000000);
    assert_int_not_equal(lead, NO_RECORD);
    uint32_t index;
    assert_int_equal(open_session(&actor, &random, &key, 100, &index), MADE);
    assert_int_equal(record_at(table, index)->pool_port, to_be16(80));
    end_everything(&actor);
    assert_int_equal(find_port(to_be16(80), 200), lead);
    /* A closed binding takes nobody in and ends with the session it has. */
    assert_int_equal(open_session(&actor, &random, &key, 100, &index), MADE);
    struct found binding = {.index = NO_RECORD};
    assert_true(binding_find4(table, 0, TRANSPORT_UDP, to_be16(80), 100, &binding));
    binding_end_static(&actor, &binding);
    assert_int_equal(find_port(to_be16(80), 100), NO_RECORD);
    assert_false(binding_join(record_at(table, lead), life_generation(binding.copy.life), 110));
    end_everything(&actor);
    nothing_is_left();
    assert_true(ports_claim(port_map_at(table, 0, TRANSPORT_UDP), to_be16(80), 1) >= 1024);
    table_destroy(table);
}

/* --- several threads ------------------------------------------------------------------------------ */

struct contender {
    struct actor actor;
    struct random random;
    struct key6 key;
    uint32_t index;
    enum made made;
    unsigned rounds;
};

static pthread_barrier_t barrier;

static void *open_at_once(void *argument)
{
    struct contender *contender = argument;
    pthread_barrier_wait(&barrier);
    contender->made =
        open_session(&contender->actor, &contender->random, &contender->key, 100, &contender->index);
    return NULL;
}

static void contend(struct contender contenders[THREADS])
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_at_once, &contenders[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
}

static void prepare(struct contender contenders[THREADS])
{
    memset(contenders, 0, THREADS * sizeof(contenders[0]));
    for (unsigned i = 0; i < THREADS; i++) {
        contenders[i].actor = (struct actor){.table = table, .lane = i};
        contenders[i].random = random_seed(i + 1);
    }
}

static void the_same_flow_at_once_is_one_session(void **state)
{
    (void)state;
    open_table(200); /* losers hold a port for a moment, too */
    struct contender contenders[THREADS];
    prepare(contenders);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < THREADS; i++)
            contenders[i].key = key_of(round, 1);
        contend(contenders);
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(contenders[i].made, MADE);
            assert_int_equal(contenders[i].index, contenders[0].index);
        }
        assert_int_equal(header_of(table)->sessions[0], round + 1);
        assert_int_equal(port_map_at(table, 0, TRANSPORT_UDP)->used, round + 1);
    }
    end_everything(&contenders[0].actor);
    nothing_is_left();
    table_destroy(table);
}

static void flows_of_one_port_at_once_share_one_binding(void **state)
{
    (void)state;
    open_table(200); /* losers hold a port for a moment, too */
    struct contender contenders[THREADS];
    prepare(contenders);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < THREADS; i++)
            contenders[i].key = key_of(round, i);
        contend(contenders);
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(contenders[i].made, MADE);
            assert_int_equal(record_at(table, contenders[i].index)->pool_port,
                             record_at(table, contenders[0].index)->pool_port);
        }
        assert_int_equal(port_map_at(table, 0, TRANSPORT_UDP)->used, round + 1);
    }
    end_everything(&contenders[0].actor);
    nothing_is_left();
    table_destroy(table);
}

static void the_last_port_goes_to_one(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 100; round++) {
        open_table(1);
        struct contender contenders[THREADS];
        prepare(contenders);
        for (unsigned i = 0; i < THREADS; i++)
            contenders[i].key = key_of(i, 1);
        contend(contenders);
        unsigned made = 0;
        for (unsigned i = 0; i < THREADS; i++)
            made += contenders[i].made == MADE;
        assert_int_equal(made, 1);
        end_everything(&contenders[0].actor);
        nothing_is_left();
        table_destroy(table);
    }
}

/* Opens and ends sessions of a few clients and remotes, so that threads meet all the time. */
static void *churn(void *argument)
{
    struct contender *contender = argument;
    for (unsigned round = 0; round < contender->rounds; round++) {
        uint64_t random = random_next(&contender->random);
        uint32_t tick = 100 + round / 64;
        struct key6 key = key_of((unsigned)random % 8, (unsigned)(random >> 8) % 8);
        uint32_t index;
        enum made made = open_session(&contender->actor, &contender->random, &key, tick, &index);
        if (made == MADE && (random >> 16) % 2 == 0) {
            uint64_t life = atomic_load64(&record_at(table, index)->life);
            if (life_phase(life) == PHASE_LIVE)
                (void)session_end(&contender->actor, index, life);
        }
    }
    return NULL;
}

static void churning_threads_leave_nothing(void **state)
{
    (void)state;
    open_table(40);
    struct contender contenders[THREADS];
    pthread_t threads[THREADS];
    prepare(contenders);
    for (unsigned i = 0; i < THREADS; i++) {
        contenders[i].rounds = 50000;
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &contenders[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    end_everything(&contenders[0].actor);
    nothing_is_left();
    uint64_t created = 0, ended = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        created += contenders[i].actor.sessions_created;
        ended += contenders[i].actor.sessions_ended;
    }
    assert_int_equal(created, ended);
    assert_true(created > 1000);
    all_records_come_back(&contenders[0].actor);
    table_destroy(table);
}

/* One thread, a million random steps, against an array that says which sessions should exist. */
static void random_steps_agree_with_a_reference(void **state)
{
    (void)state;
    enum { CLIENTS = 16, REMOTES = 16 };
    static uint32_t expires[CLIENTS][REMOTES];
    memset(expires, 0, sizeof(expires));
    open_table(100);
    struct actor actor = {.table = table};
    struct random random = random_seed(3);
    for (unsigned step = 0; step < 1000000; step++) {
        uint64_t dice = random_next(&random);
        unsigned client = (unsigned)dice % CLIENTS, remote = (unsigned)(dice >> 8) % REMOTES;
        uint32_t tick = 100 + step / 200;
        struct key6 key = key_of(client, remote);
        uint32_t index = find6(&key, tick);
        assert_int_equal(index != NO_RECORD, expires[client][remote] >= tick);
        if ((dice >> 16) % 4 != 0) {
            assert_int_equal(open_session(&actor, &random, &key, tick, &index), MADE);
            if (expires[client][remote] < tick)
                expires[client][remote] = tick + 10;
        } else if (index != NO_RECORD) {
            assert_true(session_end(&actor, index, record_at(table, index)->life));
            expires[client][remote] = 0;
        }
    }
    end_everything(&actor);
    nothing_is_left();
    all_records_come_back(&actor);
    table_destroy(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_binding_for_all_sessions_of_a_port),
        cmocka_unit_test(expired_is_absent_and_replaced),
        cmocka_unit_test(a_full_table_refuses_and_recovers),
        cmocka_unit_test(static_bindings_stay),
        cmocka_unit_test(the_same_flow_at_once_is_one_session),
        cmocka_unit_test(flows_of_one_port_at_once_share_one_binding),
        cmocka_unit_test(the_last_port_goes_to_one),
        cmocka_unit_test(churning_threads_leave_nothing),
        cmocka_unit_test(random_steps_agree_with_a_reference),
    };
    return cmocka_run_group_tests_name("making", tests, NULL, NULL);
}
