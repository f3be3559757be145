/* SPDX-License-Identifier: BSD-2-Clause */
/* What the table says of itself while nobody changes it, counted from the records up. */
#ifndef TEST_BPF_AUDIT_H
#define TEST_BPF_AUDIT_H

#include "engine/layout.h"

struct audit {
    uint32_t sessions;    /* records LIVE */
    uint32_t bindings;    /* leads with users, and how many users they have */
    uint32_t users;       /* that they say */
    uint32_t held;        /* records ever used that lie on no stack */
    uint32_t ports_taken; /* allowed and not available */
    uint32_t ports_used;  /* as the port maps count */
    uint32_t ports_free;
    uint32_t ports_available;
    uint32_t ports_hidden; /* available, but the summary does not lead there */
    uint32_t counted;      /* sessions as the header counts */
    uint32_t subscribed;   /* as the subscribers' words count */
    uint32_t entries[3];   /* slots in each index */
    uint32_t strays;       /* in all indexes, as the buckets count, minus those that there are */
    uint32_t wrong;        /* contradictions that no death excuses */
    const char *why;       /* the last of them */
};

void audit_table(const struct table *table, uint32_t tick, struct audit *audit);

/* Whether everything adds up to the last count. */
bool audit_is_exact(const struct table *table, const struct audit *audit);

void audit_print(const char *title, const struct audit *audit);

#endif /* TEST_BPF_AUDIT_H */
