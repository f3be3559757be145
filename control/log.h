/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the daemon says while it runs: one line an event on standard error, nothing per packet. It never waits
 * for whoever reads there.
 */
#ifndef CONTROL_LOG_H
#define CONTROL_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level {
    LOG_LEVEL_ERROR,   /* the daemon cannot do what it was asked */
    LOG_LEVEL_WARNING, /* it can, but a person should look at something */
    LOG_LEVEL_INFO,    /* it did something worth knowing */
};

enum {
    LOG_LINE = 1024, /* bytes of a line at most, the newline included */
};

/* Decides the form of the lines: if standard error is the journal's (JOURNAL_STREAM) each starts with its
 * priority, as in "<4>". */
void log_open(void);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Writes into `line` what a message becomes: prefix, the text with control characters escaped, a newline.
 * Returns the length. A text too long is cut short and ends in "...".
 */
size_t log_line(char line[static LOG_LINE], enum log_level level, bool journal, const char *text);

#endif /* CONTROL_LOG_H */
