/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as the records of a table that somebody left: whatever engine_create makes of them is exact, and
 * so is what is left when all of it has ended. The first byte tells how many records there are and whether
 * they are taken over from another table; the rest are records, laid over those of a few real sessions by
 * xor, so that zeros leave sessions that live.
 */
#include "engine/worker.h"
#include "test/engine/audit.h"
#include "test/fuzz/engine_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_some(struct fuzz_engine *fuzz)
{
    for (unsigned i = 0; i < 12; i++) {
        struct key6 key = {.remote = to_be32(0xcb007101u + i % 3), .transport = (uint8_t)(i % 2)};
        key.client = (struct ipv6_address){{0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)(i / 3)}};
        key.client_port = to_be16(5000);
        struct session_request request = {
            .key = key, .tick = 1000, .expires = 1100, .sessions = 100, .sessions_per_subscriber = 50};
        struct binding_key binding = binding_key_of(&key);
        struct found lead, made;
        bool bound = binding_find(fuzz->table, &binding, 1000, &lead);
        worker_enter(fuzz->worker, fuzz->now);
        if (bound || pool_claim(fuzz->worker, &request))
            (void)session_make(&fuzz->worker->actor, &request, bound ? &lead : NULL, &made);
        worker_leave(fuzz->worker);
    }
}

static void be_exact(const struct table *table)
{
    struct audit audit;
    const char *wrong = audit_exact(table, &audit);
    if (wrong != NULL)
        fprintf(stderr, "%s\n", wrong);
    FUZZ_CHECK(wrong == NULL);
}

static void start(struct fuzz_engine *fuzz, struct table *table, const struct table *previous)
{
    char error[256];
    struct engine_options options = {.table = table,
                                     .settings = &fuzz->settings,
                                     .previous = previous,
                                     .workers = 1,
                                     .seed = 1,
                                     .now = fuzz->now};
    engine_destroy(fuzz->engine);
    fuzz->engine = engine_create(&options, error, sizeof(error));
    FUZZ_CHECK(fuzz->engine != NULL);
    be_exact(table);
}

static void end_all(struct fuzz_engine *fuzz, struct table *table)
{
    struct actor *actor = &engine_worker(fuzz->engine, 0)->actor;
    for (uint32_t i = 0; i < records_used(table); i++)
        (void)session_end(actor, i, record_at(table, i)->life);
    be_exact(table);
    FUZZ_CHECK(header_of(table)->sessions[0] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_engine fuzz;
    const struct geometry geometry = {.sessions = 64, .addresses = 2, .workers = 1};
    if (size == 0)
        return 0;
    fuzz_engine_create(&fuzz);
    open_some(&fuzz);
    uint32_t records = data[0] % 64;
    if (records > records_used(fuzz.table))
        header_of(fuzz.table)->fresh = records;
    uint8_t *bytes = (uint8_t *)record_at(fuzz.table, 0);
    for (size_t i = 1; i < size && i <= records_used(fuzz.table) * sizeof(struct record); i++)
        bytes[i - 1] ^= data[i];
    struct table *old = fuzz.table;
    struct table *table = data[0] < 128 ? old : table_create(&geometry, 3);
    start(&fuzz, table, table != old ? old : NULL);
    end_all(&fuzz, table);
    if (table != old)
        table_destroy(table);
    fuzz_engine_destroy(&fuzz);
    return 0;
}
