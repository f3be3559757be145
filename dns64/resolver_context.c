/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration of libunbound: a table of what is always the same, and what follows from the options.
 */
#include "dns64/resolver_context.h"

#include <stdio.h>
#include <unistd.h>

#include <unbound-event.h>

struct setting {
    const char *name, *value;
};

static const struct setting settings[] = {
    {"use-caps-for-id:", "yes"},
    {"qname-minimisation:", "yes"},
};

const char *resolver_anchors(void)
{
    static const char *const files[] = {"/usr/share/dns/root.key", "/var/lib/unbound/root.key"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (access(files[i], R_OK) == 0)
            return files[i];
    }
    return NULL;
}

static int configure(struct ub_ctx *context, const struct resolver_options *options, bool validate)
{
    int failure = ub_ctx_set_option(context, "module-config:", validate ? "validator iterator" : "iterator");
    for (size_t i = 0; i < sizeof settings / sizeof *settings && failure == 0; i++)
        failure = ub_ctx_set_option(context, settings[i].name, settings[i].value);
    for (uint32_t i = 0; i < options->upstream_count && failure == 0; i++)
        failure = ub_ctx_set_fwd(context, options->upstreams[i]);
    if (failure == 0 && validate && options->trust_anchors[0] != 0)
        failure = ub_ctx_add_ta_file(context, options->trust_anchors);
    return failure;
}

struct ub_ctx *resolver_context_open(struct event_base *base, const struct resolver_options *options,
                                     bool validate, char *error, size_t size)
{
    struct ub_ctx *context = ub_ctx_create_event(base);
    int failure = context == NULL ? UB_NOMEM : configure(context, options, validate);
    if (failure != 0) {
        snprintf(error, size, "the resolver cannot be set up: %s", ub_strerror(failure));
        ub_ctx_delete(context);
        return NULL;
    }
    return context;
}

void resolver_context_close(struct ub_ctx *context)
{
    ub_ctx_delete(context);
}
