/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Millions of random steps on a small table, beside a reference that does the same with plain arrays: which
 * sessions and bindings there are, when they end, which ports they have, how many there are of what. Before
 * each step the reference says what must come of it; after each thousand the audit goes through the table;
 * now and then everything is recovered, in place or into another table under other settings, and both must
 * still agree.
 *
 * The reference leaves open what the table may decide: an expired session may go at any time, since whoever
 * meets one may end it; and a binding all of whose sessions have expired may be taken for alive as long as
 * one of them might have lived.
 */
#include "test/engine/reference.h"

enum {
    AUDIT_EVERY = 20000,
    RECOVER_EVERY = 100000,
    STEPS = 5500000,
    REUSES = 200000, /* of one record, whose generation has 16 bits */
};

/* --- the steps ------------------------------------------------------------------------------------ */

static struct worker *some_worker(void)
{
    struct worker *worker = engine_worker(model.engine, model.one_worker ? 0 : dice(WORKERS + 1));
    worker_enter(worker, model.tick * NANOSECONDS);
    worker_leave(worker);
    return worker;
}

/* What session_make must answer. */
static enum made expectation(unsigned endpoint, unsigned remote)
{
    const struct reference_session *session = &model.session[endpoint][remote];
    unsigned network = network_of(endpoint);
    if (sessions_of_network(network) >= network_limit[network])
        return MADE_TABLE_FULL;
    if (sessions_of_subscriber(network, subscriber_of(endpoint)) >= SUBSCRIBER_LIMIT)
        return MADE_SUBSCRIBER_FULL;
    if (records_in_use() >= model.table->constants.records)
        return MADE_TABLE_FULL;
    return session->present && session->expires >= model.tick ? MADE_LOOK_AGAIN : MADE;
}

/* So few of them half-open that none has to yield, which half_open_test.c is about. */
static uint8_t some_state(void)
{
    uint8_t state = (uint8_t)dice(TCP_STATE_COUNT);
    bool many = half_open_count(model.table) >= (int32_t)half_open_limit(model.table) / 2;
    return state_is_half_open(state) && many ? TCP_ESTABLISHED : state;
}

static void make(struct worker *worker, struct session_request *request, const struct found *lead, int joined,
                 unsigned endpoint, unsigned remote)
{
    struct found made;
    enum made expected = expectation(endpoint, remote);
    request->tick = model.tick;
    request->expires = model.tick + 1 + dice(20);
    request->state = some_state();
    request->sessions = network_limit[network_of(endpoint)];
    request->sessions_per_subscriber = SUBSCRIBER_LIMIT;
    assert_int_equal(session_make(&worker->actor, request, lead, &made), expected);
    model.refused[expected]++;
    if (lead != NULL && expected == MADE_LOOK_AGAIN && model.binding[joined].until < request->expires)
        model.binding[joined].until = request->expires; /* it had joined before it lost */
    follow_what_was_free_to_go(endpoint);
    if (expected != MADE)
        return;
    model.made++;
    model.joined += lead != NULL;
    assert_false(model.session[endpoint][remote].present);
    assert_true(ipv6_equal(&made.copy.client, &request->key.client));
    int b = lead != NULL ? joined : add_binding(endpoint, &made, false);
    model.binding[b].present = true; /* even if the expired session that was in the way was its last */
    assert_int_equal(made.copy.lead, model.binding[b].lead);
    assert_int_equal(made.copy.pool, model.binding[b].pool);
    assert_int_equal(from_be16(made.copy.pool_port), model.binding[b].port);
    model.session[endpoint][remote] =
        (struct reference_session){.present = true,
                                   .state = request->state,
                                   .generation = life_generation(made.copy.life),
                                   .record = made.index,
                                   .expires = request->expires,
                                   .binding = b};
    if (model.binding[b].until < request->expires)
        model.binding[b].until = request->expires;
}

/* Compares what binding_find or binding_find4 said with what it may say. */
static void check_lead(bool bound, const struct found *lead, int b)
{
    if (b < 0 || !may_be_alive(b)) {
        assert_false(bound);
    } else if (must_be_alive(b)) {
        assert_true(bound);
    }
    if (bound) {
        assert_int_equal(lead->index, model.binding[b].lead);
        assert_int_equal(life_generation(lead->copy.life), model.binding[b].generation);
    }
}

static bool find_session(unsigned endpoint, unsigned remote, struct found *found)
{
    const struct reference_session *session = &model.session[endpoint][remote];
    struct key6 key = key_of(endpoint, remote);
    bool is_there = session_find6(model.table, &key, hash_key6(model.table, &key), model.tick, found);
    assert_int_equal(is_there, session->present && session->expires >= model.tick);
    if (is_there) {
        assert_int_equal(found->index, session->record);
        assert_int_equal(life_expires(found->copy.life), session->expires);
        assert_int_equal(life_state(found->copy.life), session->state);
    }
    return is_there;
}

static void open_from_ipv6(unsigned endpoint, unsigned remote)
{
    struct worker *worker = some_worker();
    struct found found;
    if (find_session(endpoint, remote, &found))
        return;
    struct session_request request = {.key = key_of(endpoint, remote)};
    struct binding_key key = binding_key_of(&request.key);
    bool bound = binding_find(model.table, &key, model.tick, &found);
    int b = open_binding(endpoint);
    check_lead(bound, &found, b);
    if (!bound) {
        bool expected = a_port_is_free(network_of(endpoint), transport_of(endpoint));
        bool claimed = pool_claim(worker, &request);
        model.exhausted += !claimed;
        assert_int_equal(claimed, expected);
        if (!claimed)
            return;
        uint16_t port = from_be16(request.pool_port);
        assert_true(is_allowed(network_of(endpoint), request.pool, port));
        assert_true(holder_of(network_of(endpoint), transport_of(endpoint), request.pool, port) < 0);
    }
    make(worker, &request, bound ? &found : NULL, b, endpoint, remote);
}

static int some_binding(void)
{
    int first = (int)dice(BINDINGS);
    for (int i = 0; i < BINDINGS; i++)
        if (model.binding[(first + i) % BINDINGS].present)
            return (first + i) % BINDINGS;
    return -1;
}

static void open_from_ipv4(unsigned remote)
{
    struct worker *worker = some_worker();
    int b = some_binding();
    if (b < 0)
        return;
    const struct reference_binding *binding = &model.binding[b];
    unsigned endpoint = binding->endpoint;
    const struct reference_session *session = &model.session[endpoint][remote];
    struct session_request request = {.key = key_of(endpoint, remote)};
    struct key4 key = {.pool = binding->pool,
                       .remote = request.key.remote,
                       .pool_port = to_be16(binding->port),
                       .remote_port = request.key.remote_port,
                       .transport = transport_of(endpoint)};
    struct found found;
    bool is_there = session_find4(model.table, &key, hash_key4(model.table, &key), model.tick, &found);
    assert_int_equal(is_there, session->present && session->expires >= model.tick && session->binding == b);
    if (is_there) {
        assert_int_equal(found.index, session->record);
        return;
    }
    int place = pool_find(model.engine->rules, binding->pool);
    assert_true(place >= 0);
    bool bound =
        binding_find4(model.table, (uint16_t)place, key.transport, key.pool_port, model.tick, &found);
    check_lead(bound, &found, b);
    model.from4 += bound;
    if (bound && filters(network_of(endpoint))) {
        bool permitted = is_permitted(b, remote);
        assert_int_equal(permission_granted(model.table, &found.copy, key.remote, model.tick), permitted);
        model.kept_out += !permitted;
        model.let_in += permitted;
        if (!permitted)
            return;
    }
    if (bound)
        make(worker, &request, &found, b, endpoint, remote);
}

static void touch(unsigned endpoint, unsigned remote)
{
    struct reference_session *session = &model.session[endpoint][remote];
    struct found found;
    if (!find_session(endpoint, remote, &found))
        return;
    uint32_t expires = model.tick + dice(30);
    uint8_t state = some_state();
    bool changes = expires != session->expires || state != session->state;
    assert_true(session_touch(model.table, &found, expires, state));
    if (model.binding[session->binding].closed) /* which has its sessions run out */
        return;
    session->expires = expires;
    session->state = state;
    if (changes && model.binding[session->binding].until < expires)
        model.binding[session->binding].until = expires;
    if (changes) /* from what was read before, nobody may go on */
        assert_false(session_touch(model.table, &found, model.tick + 100, state));
}

static void end(unsigned endpoint, unsigned remote)
{
    const struct reference_session *session = &model.session[endpoint][remote];
    if (!session->present)
        return;
    struct worker *worker = some_worker();
    uint64_t life = record_at(model.table, session->record)->life;
    assert_int_equal(life, life_make(session->expires, session->generation, session->state, PHASE_LIVE));
    assert_true(session_end(&worker->actor, session->record, life));
    assert_false(session_end(&worker->actor, session->record, life));
    drop_session(endpoint, remote);
}

static void sweep(void)
{
    for (unsigned e = 0; e < ENDPOINTS; e++)
        for (unsigned r = 0; r < REMOTES; r++)
            if (model.session[e][r].present && model.session[e][r].expires < model.tick && dice(4) != 0)
                end(e, r);
}

/* Ports inside the ranges, which may be in use, and outside. */
static void make_static(unsigned endpoint)
{
    struct worker *worker = some_worker();
    unsigned network = network_of(endpoint);
    int b = open_binding(endpoint);
    struct session_request request = {.key = key_of(endpoint, 0), .tick = model.tick};
    struct binding_key key = binding_key_of(&request.key);
    request.key.remote = 0;
    request.key.remote_port = 0;
    request.pool = b >= 0 && dice(2) ? model.binding[b].pool : pool_address(network, 0);
    request.pool_port = to_be16((uint16_t)(b >= 0 && dice(2) ? model.binding[b].port : 77 + dice(4)));
    request.address = (uint16_t)pool_find(model.engine->rules, request.pool);
    struct found found;
    bool bound = binding_find(model.table, &key, model.tick, &found);
    check_lead(bound, &found, b);
    bool converts = bound && !model.binding[b].is_static && model.binding[b].pool == request.pool &&
                    to_be16(model.binding[b].port) == request.pool_port;
    bool fits = holder_of(network, key.transport, request.pool, from_be16(request.pool_port)) < 0 && !bound &&
                records_in_use() < model.table->constants.records;
    assert_int_equal(binding_make_static(&worker->actor, &request), converts || fits);
    follow_what_was_free_to_go(endpoint);
    model.converted += converts;
    model.statics_made += fits;
    if (converts)
        model.binding[b].is_static = true;
    if (!converts && fits) {
        assert_true(binding_find(model.table, &key, model.tick, &found));
        (void)add_binding(endpoint, &found, true);
    }
}

static void end_static(void)
{
    struct worker *worker = some_worker();
    int b = some_binding();
    if (b < 0 || !model.binding[b].is_static)
        return;
    struct reference_binding *binding = &model.binding[b];
    unsigned endpoint = binding->endpoint;
    struct key6 key6 = key_of(endpoint, 0);
    struct binding_key key = binding_key_of(&key6);
    struct found found;
    assert_true(binding_find(model.table, &key, model.tick, &found));
    assert_int_equal(found.index, binding->lead);
    binding_end_static(&worker->actor, &found);
    binding->is_static = false;
    binding->closed = true;
    binding->present = false;
    for (unsigned r = 0; r < REMOTES; r++)
        if (model.session[endpoint][r].present && model.session[endpoint][r].binding == b)
            binding->present = true;
    for (unsigned r = 0; dice(4) != 0 && r < REMOTES; r++)
        if (model.session[endpoint][r].present && model.session[endpoint][r].binding == b)
            end(endpoint, r);
}

/* --- recovery ------------------------------------------------------------------------------------- */

static void agree(void)
{
    struct audit audit;
    const char *wrong = audit_exact(model.table, &audit);
    unsigned sessions = 0, leads = 0, statics = 0;
    if (wrong != NULL)
        fail_msg("%s", wrong);
    for (unsigned n = 0; n < NETWORKS; n++) {
        assert_int_equal(header_of(model.table)->sessions[model.number[n]], sessions_of_network(n));
        sessions += sessions_of_network(n);
    }
    for (unsigned b = 0; b < BINDINGS; b++) {
        leads += model.binding[b].present;
        statics += model.binding[b].present && model.binding[b].is_static;
    }
    assert_int_equal(half_open_count(model.table), half_open_sessions());
    assert_true(half_open_count(model.table) <= (int32_t)half_open_limit(model.table));
    assert_int_equal(audit.sessions, sessions);
    assert_int_equal(audit.leads, leads);
    assert_int_equal(audit.statics, statics);
    assert_int_equal(audit.free, model.table->constants.records - records_in_use());
}

static void start(struct table *table, const struct table *previous)
{
    char error[256];
    struct engine_options options = {.table = table,
                                     .settings = &model.settings,
                                     .previous = previous,
                                     .workers = model.geometry.workers,
                                     .seed = random_next(&model.random),
                                     .now = model.tick * NANOSECONDS};
    model.engine = engine_create(&options, error, sizeof(error));
    if (model.engine == NULL)
        fail_msg("%s", error);
    model.table = table;
}

static bool has_address(unsigned network, be32 pool)
{
    return is_allowed(network, pool, 500) || is_allowed(network, pool, 2000) ||
           is_allowed(network, pool, 3000);
}

/* The configuration knows the static bindings, as it would have told to make them; with an address goes what
 * was static there. */
static void configure_statics(void)
{
    for (unsigned b = 0; b < BINDINGS; b++) {
        struct reference_binding *binding = &model.binding[b];
        unsigned network = network_of(binding->endpoint);
        if (!binding->present || !binding->is_static)
            continue;
        if (!has_address(network, binding->pool)) {
            binding->is_static = false;
            binding->present = has_live_session((int)b);
            continue;
        }
        struct nat64_settings *nat64 = &model.settings.nat64[model.number[network]];
        struct key6 key = key_of(binding->endpoint, 0);
        model.statics[network][nat64->static_count++] =
            (struct static_binding){.ipv6 = key.client,
                                    .ipv4 = binding->pool,
                                    .port6 = key.client_port,
                                    .port4 = to_be16(binding->port),
                                    .transport = key.transport};
    }
}

/* Ends sessions of closed bindings, as those do who close them. */
static void end_closed(void)
{
    for (unsigned e = 0; e < ENDPOINTS; e++)
        for (unsigned r = 0; r < REMOTES; r++)
            if (model.session[e][r].present && model.binding[model.session[e][r].binding].closed)
                end(e, r);
}

/* What a recovery may not keep goes from the reference; `may` takes the settings' part. */
static void forget(bool (*goes)(const struct reference_session *session, unsigned endpoint), uint32_t *count)
{
    *count = 0;
    for (unsigned e = 0; e < ENDPOINTS; e++)
        for (unsigned r = 0; r < REMOTES; r++)
            if (model.session[e][r].present && goes(&model.session[e][r], e)) {
                drop_session(e, r);
                ++*count;
            }
}

static bool is_expired(const struct reference_session *session, unsigned endpoint)
{
    (void)endpoint;
    return session->expires < model.tick;
}

static bool is_disallowed(const struct reference_session *session, unsigned endpoint)
{
    const struct reference_binding *binding = &model.binding[session->binding];
    return !binding->is_static && !is_allowed(network_of(endpoint), binding->pool, binding->port);
}

/* Records have moved: learns where to, and that everything else is as it was. */
static void follow_records(void)
{
    struct found found = {.index = NO_RECORD};
    for (unsigned e = 0; e < ENDPOINTS; e++)
        for (unsigned r = 0; r < REMOTES; r++) {
            struct reference_session *session = &model.session[e][r];
            struct key6 key = key_of(e, r);
            bool is_there =
                session_find6(model.table, &key, hash_key6(model.table, &key), model.tick, &found);
            assert_int_equal(is_there, session->present);
            if (!is_there)
                continue;
            assert_int_equal(life_expires(found.copy.life), session->expires);
            assert_int_equal(life_state(found.copy.life), session->state);
            session->record = found.index;
            session->generation = life_generation(found.copy.life);
            model.binding[session->binding].lead = found.copy.lead;
        }
    for (unsigned b = 0; b < BINDINGS; b++) {
        struct reference_binding *binding = &model.binding[b];
        struct key6 key6 = key_of(binding->endpoint, 0);
        struct binding_key key = binding_key_of(&key6);
        if (!binding->present)
            continue;
        assert_true(binding_find(model.table, &key, model.tick, &found));
        assert_int_equal(found.copy.pool, binding->pool);
        assert_int_equal(from_be16(found.copy.pool_port), binding->port);
        assert_int_equal((found.copy.users & USERS_STATIC) != 0, binding->is_static);
        if (found.index != binding->lead) /* a static binding without sessions was made anew */
            assert_true(binding->is_static && users_count(found.copy.users) == 1);
        binding->lead = found.index;
        binding->generation = life_generation(found.copy.life);
        binding->until = model.tick + (uint32_t)users_left(found.copy.users, model.tick);
    }
}

/* A start: over the same table, or over one of another size, with instances in another order and fewer ports.
 */
static void recover_all(bool other)
{
    struct table *old = model.table, *table = old;
    struct engine_continued continued;
    uint32_t expired, disallowed, sessions = 0, bindings = 0;
    end_closed();
    if (other) {
        uint8_t last = model.number[NETWORKS - 1];
        memmove(model.number + 1, model.number, NETWORKS - 1);
        model.number[0] = last;
        model.geometry = (struct geometry){.sessions = SESSIONS + 16 * dice(4),
                                           .addresses = ADDRESSES + dice(2),
                                           .workers = 1 + dice(WORKERS),
                                           .counters = dice(2)};
        model.geometry.workers = WORKERS;
        table = table_create(&model.geometry, random_next(&model.random));
        assert_non_null(table);
        if (table->constants.records < records_used(old)) {
            table_destroy(table);
            model.geometry.sessions = old->constants.records;
            table = table_create(&model.geometry, random_next(&model.random));
        }
    }
    engine_destroy(model.engine);
    forget(is_expired, &expired);
    fill_settings(dice(2));
    configure_statics();
    forget(is_disallowed, &disallowed);
    start(table, other ? old : NULL);
    for (unsigned b = 0; b < BINDINGS; b++)
        for (unsigned e = model.binding[b].endpoint, r = 0, n = 0; model.binding[b].present && r < REMOTES;
             r++)
            if (model.session[e][r].present && model.session[e][r].binding == (int)b) {
                sessions++;
                bindings += n++ == 0;
            }
    engine_continued(model.engine, &continued);
    assert_int_equal(continued.sessions, sessions);
    assert_int_equal(continued.bindings, bindings);
    /* What is both expired and disallowed may be called either. */
    assert_int_equal(continued.expired + continued.disallowed, expired + disallowed);
    assert_true(continued.disallowed >= disallowed);
    assert_int_equal(continued.undone + continued.damaged + continued.no_room, 0);
    follow_records();
    agree();
    model.recovered++;
    if (table != old)
        table_destroy(old);
}

/* --- the test ------------------------------------------------------------------------------------- */

static void set_up(void)
{
    memset(&model, 0, sizeof(model));
    model.random = random_seed(3);
    model.tick = 1000;
    for (uint8_t n = 0; n < NETWORKS; n++)
        model.number[n] = n;
    fill_settings(false);
    model.geometry = (struct geometry){.sessions = SESSIONS, .addresses = ADDRESSES, .workers = WORKERS};
    struct table *table = table_create(&model.geometry, random_next(&model.random));
    assert_non_null(table);
    start(table, NULL);
}

static void step(void)
{
    unsigned endpoint = dice(ENDPOINTS), remote = dice(REMOTES), kind = dice(256);
    if (kind < 120)
        open_from_ipv6(endpoint, remote);
    else if (kind < 160)
        open_from_ipv4(remote);
    else if (kind < 200)
        touch(endpoint, remote);
    else if (kind < 240)
        end(endpoint, remote);
    else if (kind < 246)
        make_static(endpoint);
    else if (kind < 250)
        end_static();
    else if (kind < 254)
        model.tick += dice(6);
    else
        sweep();
}

/* rfc: 6146-3-c, 6146-3.1-d */
static void random_steps_agree_with_a_reference(void **state)
{
    (void)state;
    set_up();
    for (unsigned i = 1; i <= STEPS; i++) {
        step();
        if (i % AUDIT_EVERY == 0)
            agree();
        if (i % RECOVER_EVERY == 0)
            recover_all(i / RECOVER_EVERY % 2 == 0);
    }
    print_message(
        "# %u steps: %llu sessions made, %llu of them joining, %llu from IPv4; refused: %llu full, "
        "%llu subscriber full, %llu had already, %llu without a port; %llu static bindings and %llu "
        "made static; %llu recoveries\n",
        STEPS, model.made, model.joined, model.from4, model.refused[MADE_TABLE_FULL],
        model.refused[MADE_SUBSCRIBER_FULL], model.refused[MADE_LOOK_AGAIN], model.exhausted,
        model.statics_made, model.converted, model.recovered);
    assert_true(model.refused[MADE_TABLE_FULL] > 1000 && model.refused[MADE_SUBSCRIBER_FULL] > 1000 &&
                model.exhausted > 1000 && model.statics_made > 1000 && model.converted > 1000);
    assert_true(model.refused[MADE_LOOK_AGAIN] > 10);
    assert_true(model.kept_out > 1000 && model.let_in > 1000);
    engine_destroy(model.engine);
    table_destroy(model.table);
}

/* One record is used again and again, until its generation has come round three times. */
static void generations_wrap(void **state)
{
    (void)state;
    set_up();
    model.one_worker = true; /* who takes back what it gave back last */
    open_from_ipv6(1, 0);
    model.tick++;
    unsigned wraps = 0;
    uint16_t last = 0;
    for (unsigned i = 0; i < REUSES; i++) {
        open_from_ipv6(0, 0);
        const struct reference_session *session = &model.session[0][0];
        while (!session->present)
            open_from_ipv6(0, 0);
        assert_int_equal(session->record, 1);
        wraps += session->generation < last;
        last = session->generation;
        touch(1, 0);
        if (model.session[1][0].expires < model.tick + 5)
            touch(1, 0);
        end(0, 0);
        if (i % 20000 == 0)
            agree();
    }
    agree();
    assert_int_equal(wraps, REUSES >> 16);
    engine_destroy(model.engine);
    table_destroy(model.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps_agree_with_a_reference),
        cmocka_unit_test(generations_wrap),
    };
    return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
