/* SPDX-License-Identifier: BSD-2-Clause */
/* isthmus check: the configuration in canonical form, headed by the memory it takes as YAML comments. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/options.h"
#include "control/config.h"
#include "control/config_warn.h"
#include "control/dns.h"
#include "control/state.h"
#include "engine/fragments.h"
#include "engine/limits.h"
#include "engine/paths.h"

static const double mebibyte = 1024 * 1024;

static void print_table_memory(const struct config *config)
{
    const struct geometry *geometry = &config->geometry;
    struct table_memory memory = table_memory(geometry);
    printf("# Memory, when everything is in use: %.1f MiB, as a file that must fit in %s/%s\n",
           (double)(memory.sessions + memory.addresses) / mebibyte, STATE_BASE, config->plane.name);
    printf("#   %u sessions%s: %.1f MiB, %zu bytes each\n", geometry->sessions,
           geometry->counters ? " with counters" : "", (double)memory.sessions / mebibyte,
           memory.sessions / geometry->sessions);
    printf("#   %u pool addresses: %.1f MiB, %zu bytes each\n", geometry->addresses,
           (double)memory.addresses / mebibyte, memory.addresses / geometry->addresses);
    printf("# Memory for fragments, when all of it is in use: %.1f MiB\n",
           (double)fragments_memory(&config->settings, geometry->workers) / mebibyte);
}

static void print_memory(const struct config *config)
{
    for (uint32_t i = 0; i < config->settings.siit_count; i++) {
        const struct siit_settings *siit = &config->settings.siit[i];
        printf("# Memory for %u mappings of siit %s: %.1f MiB\n", eam_count(siit->eam), siit->name,
               (double)eam_memory(siit->eam) / mebibyte);
    }
    if (config->settings.nat64_count > 0) /* else the table is the smallest there is */
        print_table_memory(config);
    printf("# Memory for path MTUs: up to %.1f MiB, by this machine's routes, and as much again for a moment "
           "when they change\n",
           2.0 * PATH_RANGES_MAXIMUM * sizeof(struct path_range) / mebibyte);
    if (config->dns64 != NULL) {
        struct dns_memory memory = dns_memory(config);
        printf("# Memory for the name service: %.1f MiB, of which %u cached answers take most, and about "
               "%.0f MiB "
               "for what it learns of the DNS\n",
               (double)memory.server / mebibyte, config->dns64->cache_entries,
               (double)memory.resolvers / mebibyte);
    }
    printf("# Memory for captures: about %.0f MiB for each that runs, up to %d\n", CAPTURE_MEMORY / mebibyte,
           CAPTURES_MAXIMUM);
}

int command_check(const struct command *command, int argc, char **argv)
{
    struct options_reader reader = {.command = command, .takes = OPTION_CONFIG};
    struct options options;
    struct config_error error;
    char lacking[512];
    int status;
    if (!options_read(&reader, argc, argv, &options, &status))
        return status;
    struct config *config = config_load(options.config != NULL ? options.config : DEFAULT_CONFIG, &error);
    if (config == NULL) {
        fprintf(stderr, "isthmus: error: %s\n", error.text);
        return EXIT_FAILURE;
    }
    bool complete = dns_check(config, lacking, sizeof(lacking));
    if (complete) {
        config_warn(config);
        print_memory(config);
        config_print(config, stdout);
    } else {
        fprintf(stderr, "isthmus: error: %s\n", lacking);
    }
    config_free(config);
    return complete ? command_written() : EXIT_FAILURE;
}
