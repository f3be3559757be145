/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first rows are held back to learn how wide the columns are; later ones may only widen them. Nothing is
 * cut short: a cell wider than its column pushes the rest of its row.
 *
 * Columns that not every row has are shown if one of the rows held back has them. The first row that has them
 * later brings them in, below headings of its own.
 */
#include "cli/table.h"

#include <inttypes.h>
#include <string.h>

enum {
    CELL_MAXIMUM = 512,
};

static void cell_text(const json_t *object, const struct column *column, char text[static CELL_MAXIMUM])
{
    const json_t *value = json_object_get(object, column->key);
    if (json_is_integer(value))
        snprintf(text, CELL_MAXIMUM, "%" PRIu64, (uint64_t)json_integer_value(value));
    else if (json_is_boolean(value))
        snprintf(text, CELL_MAXIMUM, "%s", json_is_true(value) ? "yes" : "no");
    else
        snprintf(text, CELL_MAXIMUM, "%s", json_is_string(value) ? json_string_value(value) : "");
}

/* Makes the columns fit the object; true if it brings in columns that were not shown. */
static bool widen(struct text_table *table, const json_t *object)
{
    char text[CELL_MAXIMUM];
    bool more = table->shown < table->columns->count &&
                json_object_get(object, table->columns->at[table->shown].key) != NULL;
    if (more)
        table->shown = table->columns->count;
    for (size_t i = 0; i < table->shown; i++) {
        cell_text(object, &table->columns->at[i], text);
        if (strlen(text) > table->widths[i])
            table->widths[i] = strlen(text);
    }
    return more;
}

/* One line: of the object, or with NULL of the headings. */
static void print_row(const struct text_table *table, const json_t *object)
{
    char text[CELL_MAXIMUM];
    size_t blanks = 0; /* owed before the next cell, so that no line ends in blanks */
    for (size_t i = 0; i < table->shown; i++) {
        const struct column *column = &table->columns->at[i];
        if (column->heading == NULL)
            continue;
        if (object != NULL)
            cell_text(object, column, text);
        else
            snprintf(text, sizeof(text), "%s", column->heading);
        size_t fill = strlen(text) < table->widths[i] ? table->widths[i] - strlen(text) : 0;
        if (column->to_the_right)
            blanks += fill;
        if (*text != '\0') {
            fprintf(table->out, "%*s%s", (int)blanks, "", text);
            blanks = 0;
        }
        blanks += column->to_the_right ? 2 : fill + 2;
    }
    fputc('\n', table->out);
}

void table_start(struct text_table *table, const struct columns *columns, FILE *out)
{
    memset(table, 0, sizeof(*table));
    table->columns = columns;
    table->shown = columns->always;
    table->out = out;
    for (size_t i = 0; i < columns->count; i++)
        table->widths[i] = columns->at[i].heading != NULL ? strlen(columns->at[i].heading) : 0;
}

static void print_held(struct text_table *table)
{
    for (size_t i = 0; i < table->held; i++)
        widen(table, table->objects[i]);
    print_row(table, NULL);
    for (size_t i = 0; i < table->held; i++) {
        print_row(table, table->objects[i]);
        json_decref(table->objects[i]);
    }
    table->held = 0;
}

void table_add(struct text_table *table, json_t *object)
{
    table->rows++;
    if (table->rows <= TABLE_ROWS_HELD) {
        table->objects[table->held++] = object;
        return;
    }
    if (table->held > 0)
        print_held(table);
    if (widen(table, object))
        print_row(table, NULL);
    print_row(table, object);
    json_decref(object);
}

void table_end(struct text_table *table)
{
    if (table->held > 0)
        print_held(table);
}
