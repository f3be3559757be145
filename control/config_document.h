/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From bytes to YAML nodes with positions, and from a key's path back to its position for later blame.
 */
#ifndef CONTROL_CONFIG_DOCUMENT_H
#define CONTROL_CONFIG_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "control/config.h"

enum {
    CONFIG_BYTES_MAXIMUM = 1 << 20, /* of the file */
    CONFIG_DEPTH_MAXIMUM = 8,       /* of collections in collections; the keys need six */
};

struct config_source {
    const char *name; /* of the file, for messages */
    const char *text;
    size_t length;
    yaml_document_t document;
};

/* Reads source->text into source->document, which the caller deletes. False: *error says why, nothing is
 * left. */
bool config_document_load(struct config_source *source, struct config_error *error);

/* Writes "NAME:LINE:COLUMN: " and the sentence. Always false, to be returned. */
__attribute__((format(printf, 4, 5))) bool config_complain(const struct config_source *source,
                                                           const yaml_mark_t *mark,
                                                           struct config_error *error, const char *format,
                                                           ...);

/* Where the value at `path`, "nat64[1].pool[0].ports", stands; if absent, the nearest that encloses it. */
yaml_mark_t config_document_locate(struct config_source *source, const char *path);

#endif /* CONTROL_CONFIG_DOCUMENT_H */
