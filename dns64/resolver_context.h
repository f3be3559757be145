/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a context of libunbound is made and configured; for the resolver alone.
 */
#ifndef DNS64_RESOLVER_CONTEXT_H
#define DNS64_RESOLVER_CONTEXT_H

#include <stddef.h>

#include <event2/event.h>
#include <unbound.h>

#include "dns64/resolver.h"

/*
 * Makes one that is ready to be asked: it has read all files that it will ever read, and has its random
 * numbers. NULL with a sentence. Where the options say to validate, one that is not `checked` hands out what
 * is bogus like anything else; it is used less and has a fourth of the memory.
 */
struct ub_ctx *resolver_context_open(struct event_base *base, const struct resolver_options *options,
                                     bool checked, char *error, size_t size);

/* Ends it; callbacks of lookups under way are called. NULL is allowed. */
void resolver_context_close(struct ub_ctx *context);

#endif /* DNS64_RESOLVER_CONTEXT_H */
