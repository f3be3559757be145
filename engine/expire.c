/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sweep. A session past its lifetime is absent for every look-up already; the sweep only gives back its
 * record, its port and its places in the indexes. The plane's workers share the records in strides of
 * SWEEP_RECORDS, worker w taking every `workers`th stride, and each visits one stride a time, at intervals
 * that bring it round in SWEEP_PERIOD_SECONDS. The control plane's worker sweeps nothing, since nobody
 * would send the probes it makes.
 *
 * An established TCP session has the long lifetime TCP_EST + TCP_TRANS; when TCP_EST of it has passed in
 * silence, the client is probed and the session becomes transitory for the rest (RFC 6146 section 3.5.2.2).
 */
#include "engine/worker.h"

#include "engine/fragments.h"
#include "engine/tcp_state.h"
#include "engine/waiting.h"

/*
 * For want of room in the queue the next sweep will do it.
 * rfc: 6146-3.5.2.2-w
 */
static void probe_if_silent(struct worker *worker, uint32_t index, uint64_t life)
{
    struct record *record = record_at(worker->actor.table, index);
    struct record copy;
    if (!record_read(record, life_generation(life), &copy))
        return;
    const struct nat64_settings *nat64 = &worker->settings->nat64[copy.instance];
    if (copy.transport != TRANSPORT_TCP || !reply_has_room(worker) ||
        nat64->timeouts.tcp_transitory >= nat64->timeouts.tcp_established ||
        life_expires(life) > worker->tick + nat64->timeouts.tcp_transitory)
        return;
    uint64_t silent = life_make(life_expires(life), life_generation(life), TCP_TRANS, PHASE_LIVE);
    if (atomic_swap_if64(&record->life, life, silent))
        reply_probe(worker, &copy);
}

/*
 * Returns whether it ended a session.
 * rfc: 6146-3.5.2.2-o, 6146-3.5.2.2-ab, 6146-3.5.2.2-ai
 */
static bool visit(struct worker *worker, uint32_t index)
{
    uint64_t life = atomic_load64(&record_at(worker->actor.table, index)->life);
    if (life_phase(life) != PHASE_LIVE)
        return false;
    if (life_expires(life) < worker->tick)
        return session_end(&worker->actor, index, life);
    if (life_state(life) == TCP_ESTABLISHED)
        probe_if_silent(worker, index, life);
    return false;
}

/*
 * Visits the rest of the worker's stride, or as much of it as ends SWEEP_ENDS sessions. Returns the time
 * until the next visit.
 */
static nanoseconds sweep(struct worker *worker)
{
    uint32_t workers = worker->engine->workers;
    uint32_t used = records_used(worker->actor.table);
    uint32_t ended = 0;
    uint32_t i = worker->sweep;
    uint64_t stride = i / SWEEP_RECORDS;
    for (; i < used && i / SWEEP_RECORDS == stride; i++) {
        if (ended == SWEEP_ENDS) {
            worker->sweep = i;
            return 0;
        }
        ended += visit(worker, i);
    }
    uint64_t next = (stride + workers) * SWEEP_RECORDS;
    worker->sweep = next < used ? (uint32_t)next : worker->actor.lane * SWEEP_RECORDS;
    return SWEEP_PERIOD_SECONDS * NANOSECONDS / (used / (SWEEP_RECORDS * workers) + 1);
}

void engine_expire(struct worker *worker, nanoseconds now)
{
    if (now < engine_next_deadline(worker))
        return;
    worker_enter(worker, now);
    if (now >= worker->deadline)
        worker->deadline = now + sweep(worker);
    waiting_expire(worker);
    if (now >= worker->fragments_due)
        fragments_expire(worker);
    worker_leave(worker);
}

void sweep_for_room(struct worker *worker)
{
    uint32_t used = records_used(worker->actor.table);
    for (uint32_t i = 0; i < SWEEP_FOR_ROOM && i < used; i++) {
        worker->hand = worker->hand + 1 < used ? worker->hand + 1 : 0;
        (void)visit(worker, worker->hand);
    }
}

nanoseconds engine_next_deadline(const struct worker *worker)
{
    nanoseconds due = waiting_due(worker);
    if (worker->fragments_due < due)
        due = worker->fragments_due;
    return due < worker->deadline ? due : worker->deadline;
}
