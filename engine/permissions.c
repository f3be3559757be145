/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/permissions.h"

void permissions_begin(const struct table *table, const struct settings *settings)
{
    struct table_header *header = header_of(table);
    uint32_t had = atomic_load32(&header->filtered);
    uint32_t wanted = had | permissions_wanted(settings);
    struct found session;
    if (wanted == had)
        return;
    atomic_store32(&header->filtered, wanted);
    atomic_settle(); /* who does not see this has made its session before, and it is seen here */
    for (session.index = 0; session.index < records_used(table); session.index++) {
        const struct record *record = record_at(table, session.index);
        uint64_t life = atomic_load64(&record->life);
        if (life_phase(life) == PHASE_LIVE && record_read(record, life_generation(life), &session.copy))
            (void)permission_enter(table, &session);
    }
}
