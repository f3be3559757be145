/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables for a person, from JSON objects and a description of columns.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <jansson.h>
#include <stdio.h>

#include "control/columns.h"

enum {
    TABLE_COLUMNS_MAXIMUM = 16,
    TABLE_ROWS_HELD = 1000, /* from which the widths are taken; rows after them are printed as they come */
};

struct text_table {
    const struct columns *columns;
    FILE *out;
    size_t widths[TABLE_COLUMNS_MAXIMUM];
    size_t shown; /* columns: those that every row has, or all, since a row had all */
    size_t held;  /* rows */
    size_t rows;
    json_t *objects[TABLE_ROWS_HELD];
};

void table_start(struct text_table *table, const struct columns *columns, FILE *out);

/* Takes the object over. */
void table_add(struct text_table *table, json_t *object);

/* Prints what is held. A table without rows prints nothing. */
void table_end(struct text_table *table);

#endif /* CLI_TABLE_H */
