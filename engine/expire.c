/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sweep. A session past its lifetime is absent for every look-up already; the sweep only gives back its
 * record, its port and its places in the indexes. The plane's workers share the records in strides of
 * SWEEP_RECORDS, worker w taking every `workers`th stride, and each visits one stride a time, at intervals
 * that bring it round in SWEEP_PERIOD_SECONDS. The control plane's worker sweeps nothing, since
 * nobody sends what a sweep makes there; it only frees the records that it has retired.
 *
 * An established TCP session has the long lifetime TCP_EST + TCP_TRANS; when TCP_EST of it has passed in
 * silence, the client is probed and the session becomes transitory for the rest (RFC 6146 section 3.5.2.2).
 */
#include "engine/worker.h"

#include "engine/tcp_state.h"

static void probe_if_silent(struct worker *worker, struct record *record, uint64_t life)
{
    const struct nat64_settings *nat64 = &worker->settings->nat64[record->instance];
    if (nat64->timeouts.tcp_transitory >= nat64->timeouts.tcp_established)
        return;
    if (record->transport != TRANSPORT_TCP || life_state(life) != TCP_ESTABLISHED ||
        life_expires(life) > worker->tick + nat64->timeouts.tcp_transitory)
        return;
    if (atomic_swap_if64(&record->life, life, life_make(life_expires(life), TCP_TRANS, PHASE_LIVE)))
        reply_probe(worker, record);
}

static void visit(struct worker *worker, uint32_t index)
{
    struct record *record = record_at(worker->actor.table, index);
    uint64_t life = atomic_load64(&record->life);
    if (life_phase(life) != PHASE_LIVE)
        return;
    if (life_expires(life) < worker->tick)
        (void)session_end(&worker->actor, index, life);
    else
        probe_if_silent(worker, record, life);
}

/* Visits the worker's next stride; returns how many visits bring it round the table. */
static uint32_t sweep(struct worker *worker)
{
    uint32_t workers = worker->engine->workers;
    uint32_t used = records_used(worker->actor.table);
    uint32_t own = worker->actor.lane * SWEEP_RECORDS;
    uint32_t first = worker->sweep < used ? worker->sweep : own;
    for (uint32_t i = first; i < used && i - first < SWEEP_RECORDS; i++)
        visit(worker, i);
    uint64_t next = (uint64_t)first + (uint64_t)SWEEP_RECORDS * workers;
    worker->sweep = next < used ? (uint32_t)next : own;
    return used / (SWEEP_RECORDS * workers) + 1;
}

void engine_expire(struct worker *worker, nanoseconds now)
{
    const struct table *table = worker->actor.table;
    uint32_t rounds = 1;
    if (now < worker->deadline)
        return;
    if (worker->actor.lane < worker->engine->workers) {
        worker_enter(worker, now);
        rounds = sweep(worker);
        worker_leave(worker);
    }
    records_reclaim(table, worker->actor.lane, &worker->actor.retired, SWEEP_RECORDS);
    worker->deadline = now + SWEEP_PERIOD_SECONDS * NANOSECONDS / rounds;
}

nanoseconds engine_next_deadline(const struct worker *worker)
{
    return worker->deadline;
}
