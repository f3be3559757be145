/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the lists of the control API show: one description of columns, from which the daemon makes lines of
 * JSON and `isthmus show` makes tables. The tests check doc/api.md against it.
 */
#ifndef CONTROL_COLUMNS_H
#define CONTROL_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_line;

struct column {
    const char *key;     /* in JSON */
    const char *heading; /* in tables; NULL: only in JSON */
    bool to_the_right;   /* numbers */
    void (*write)(struct json_line *line, const void *record);
};

struct columns {
    const struct column *at;
    size_t count;
    size_t always;                       /* so many of them are there for every record; the others */
    bool (*has_all)(const void *record); /* ... for those of which this is true; NULL: for all */
};

/* Names of instances, which records state as numbers, and the status of the daemon come along. */
struct status {
    bool ready, uso, bpf;
    const char *device;
    const char *interfaces; /* with a blank between */
    uint64_t uptime_seconds;
    uint64_t sessions, bindings, sessions_limit;
    uint64_t nat64_instances, siit_instances, mappings;
    uint32_t workers, mtu_ipv6, mtu_ipv4, captures, fragments_held;
    uint64_t fragments_bytes;
};
struct entry_record {
    const struct engine_entry *entry;
    const char *instance;
};
struct pool_record {
    const struct engine_pool *pool;
    const char *instance;
};
struct counter_record {
    const char *name, *class, *sentence, *clause;
    uint64_t packets, bytes; /* of a verdict */
    uint64_t count;          /* of anything else */
};
struct latency_record {
    uint64_t from, below; /* milliseconds; below 0: without an end */
    uint64_t lookups;
};

extern const struct columns status_columns;   /* of struct status; shown as one line each */
extern const struct columns session_columns;  /* of struct entry_record */
extern const struct columns binding_columns;  /* of struct entry_record */
extern const struct columns pool_columns;     /* of struct pool_record */
extern const struct columns verdict_columns;  /* of struct counter_record */
extern const struct columns activity_columns; /* of struct counter_record: what is no verdict */
extern const struct columns dns_columns;      /* of struct counter_record: of the name service */
extern const struct columns latency_columns;  /* of struct latency_record */

/*
 * Writes a JSON object with the columns of the record, in their order, and a newline into `text`. Returns
 * the length, without a final zero, or 0 if it does not fit into `size` bytes.
 */
size_t columns_line(const struct columns *columns, const void *record, char *text, size_t size);

#endif /* CONTROL_COLUMNS_H */
