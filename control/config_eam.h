/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mappings of the siit entries: their file, their table, and the IPv4 networks that they cover.
 *
 * A file of mappings has one a line, "IPV4[/LENGTH] IPV6[/LENGTH]"; blank lines and what follows a '#' do not
 * count. It may have a hundred thousand, so nothing here compares all with all.
 */
#ifndef CONTROL_CONFIG_EAM_H
#define CONTROL_CONFIG_EAM_H

#include "control/config_document.h"

enum {
    EAM_FILE_MAXIMUM = 64 << 20,   /* bytes of a file of mappings */
    EAM_MAPPINGS_MAXIMUM = 1 << 20 /* of an entry, in all */
};

/*
 * Fills settings.siit from what was read: mappings and their tables. Without `files` those in files are left
 * out. False with a message that names the entry, or file and line: an unreadable file, an impossible
 * mapping, two mappings of one prefix, or an entry that claims what belongs to another one.
 */
bool config_siit_complete(struct config *config, const struct config_files *files,
                          struct config_source *source, struct config_error *error);

void config_siit_free(struct config *config);

/* IPv4 addresses from first to last, as numbers. */
struct ipv4_span {
    uint32_t first, last;
};

/*
 * What all mappings of all entries cover: in order, apart, never one where the last ended. An array to be
 * freed, NULL if memory is short.
 */
struct ipv4_span *config_siit_spans(const struct config *config, uint32_t *count);

#endif /* CONTROL_CONFIG_EAM_H */
