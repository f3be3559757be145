/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of the configuration file: one table, from which the reader, the printer, the comparison for
 * reload and the tests of the manual page work.
 */
#ifndef CONTROL_CONFIG_SCHEMA_H
#define CONTROL_CONFIG_SCHEMA_H

#include "control/config.h"
#include "control/config_values.h"

/* Where a key's field stands. */
enum key_home {
    HOME_CONFIG,   /* in struct config */
    HOME_ENTRY,    /* in the entry of the list that the key is in */
    HOME_DNS64,    /* in what config.dns64 points to */
    HOME_PARALLEL, /* in an array of struct config with one element for each nat64 entry */
};

struct config_key {
    const char *path; /* "nat64[].pool[].ports"; [] stands for each entry of a list */
    struct value_rule rule;
    enum key_home home;
    size_t offset; /* of the field; of a list: of its entries or of the pointer to them; likewise a group */
    size_t count_offset;  /* of a list: of the uint32_t that counts its entries */
    bool allocated;       /* a list whose entries, or a group whose keys, stand behind a pointer */
    bool tacit;           /* is not printed while it is null */
    bool live;            /* a running daemon can change it; of a list: with all that is in it */
    const char *fallback; /* the default, as it would be written; NULL: none, the key must be there */
    const char *help;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

enum {
    CONFIG_KEYS_MAXIMUM = 128, /* rows of the table */
    CONFIG_PATH_SIZE = 128,    /* of a path with numbers, "nat64[15].pool[1023].protocols" */

    /* struct geometry in engine/table.h */
    TABLE_SESSIONS_MINIMUM = 64,
    TABLE_SESSIONS_MAXIMUM = 1 << 28,
    TABLE_ADDRESSES_MAXIMUM = 4096,
};

/* The root: what has the keys of the first level below it. */
extern const struct config_key config_root;

/* The struct that fields are found in: the whole, the entry of the innermost list, the nat64 entry's number.
 */
struct config_place {
    struct config *config;
    void *entry;
    uint32_t instance;
};

/* The key after `previous` (NULL: the first) among those directly below `parent`; NULL: no more. */
const struct config_key *config_next_child(const struct config_key *parent,
                                           const struct config_key *previous);

/* The key's last name: "ports". */
const char *config_key_name(const struct config_key *key);

/* The field of a key that has a value, of a list the first of its entries, of an allocated group its struct
 * or NULL. */
void *config_field(const struct config_key *key, const struct config_place *place);

/* Makes room for the entries of a list, or the group, that stands behind a pointer; false: memory is short.
 */
bool config_allocate(const struct config_key *key, const struct config_place *place, size_t count);

uint32_t *config_list_count(const struct config_key *list, const struct config_place *place);

/* The place of one entry of a list. */
struct config_place config_list_entry(const struct config_key *list, const struct config_place *place,
                                      uint32_t number);

#endif /* CONTROL_CONFIG_SCHEMA_H */
