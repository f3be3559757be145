/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Explicit address mappings (RFC 7757): pairs of an IPv4 and an IPv6 prefix, of which the bits after the
 * prefix are carried over. In both directions the longest matching prefix decides.
 *
 * A table is built once from a list and never changed, so that any number of workers read it without care;
 * a changed list is another table. A look-up tries the prefix lengths that occur in the list, the longest
 * first, each by one hash, so what it costs depends on how many lengths there are and not on how many
 * mappings.
 */
#ifndef ENGINE_EAM_H
#define ENGINE_EAM_H

#include <stddef.h>

#include "wire/ipv6.h"

struct eam {
    struct ipv6_address ipv6; /* bits behind the prefix are zero */
    be32 ipv4;
    uint8_t length6, length4; /* bits of the prefixes; 32 - length4 <= 128 - length6 */
};

struct eam_table;

/* What is wrong with a list, and where. */
struct eam_problem {
    const char *sentence; /* NULL: nothing */
    uint32_t entry,
        other; /* indices; `other` is that of the mapping which has the same prefix, if it is that */
};

/*
 * A table of n mappings, which are copied. NULL if memory is short (then `problem` has no sentence) or if a
 * mapping is impossible: a suffix of IPv4 longer than that of IPv6, bits behind a prefix, or a prefix that an
 * earlier one has (RFC 7757 section 5: MAY refuse).
 */
struct eam_table *eam_build(const struct eam *mappings, uint32_t n, struct eam_problem *problem);

/* NULL is ignored. */
void eam_free(struct eam_table *table);

uint32_t eam_count(const struct eam_table *table);

/* One of them, in the order of the list. */
const struct eam *eam_at(const struct eam_table *table, uint32_t number);

/* Bytes that it takes. */
size_t eam_memory(const struct eam_table *table);

/* RFC 7757 sections 3.3.1 and 3.3.2. False: no mapping matches; *to is unchanged. The table may be NULL. */
bool eam_to6(const struct eam_table *table, be32 from, struct ipv6_address *to);
bool eam_to4(const struct eam_table *table, const struct ipv6_address *from, be32 *to);

#endif /* ENGINE_EAM_H */
