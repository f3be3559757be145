/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line is built in a buffer and handed to the kernel in one write, so that lines of the daemon and of
 * its keeper never mix. A reader that has stopped reading, of a pipe say, must not stop the daemon: a line
 * that does not fit is dropped, and the next that does is preceded by how many were. Text may hold names from
 * outside (device names, paths, parts of the configuration file); escaping keeps one event on one line and a
 * terminal's state its own.
 */
#include "control/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool to_journal;
static unsigned long lost; /* lines since the last that was written */

/* The variable names the journal's socket, and is inherited by those whose standard error is another. */
void log_open(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[64];
    struct stat status;
    if (stream == NULL || fstat(STDERR_FILENO, &status) != 0) {
        to_journal = false;
        return;
    }
    snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    to_journal = strcmp(stream, ours) == 0;
}

/* The priorities of syslog(3) that the journal understands in angle brackets. */
static const char *prefix_of(enum log_level level, bool journal)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return journal ? "<3>" : "isthmus: error: ";
    case LOG_LEVEL_WARNING:
        return journal ? "<4>" : "isthmus: warning: ";
    case LOG_LEVEL_INFO:
        break;
    }
    return journal ? "<6>" : "isthmus: ";
}

size_t log_line(char line[static LOG_LINE], enum log_level level, bool journal, const char *text)
{
    static const char cut[] = "...\n";
    const size_t end = LOG_LINE - sizeof(cut) - 4; /* an escaped character takes four bytes */
    size_t at = (size_t)snprintf(line, LOG_LINE, "%s", prefix_of(level, journal));
    for (; *text != '\0'; text++) {
        unsigned char character = (unsigned char)*text;
        if (at > end) {
            memcpy(line + at, cut, sizeof(cut));
            return at + sizeof(cut) - 1;
        }
        if (character < 0x20 || character == 0x7f)
            at += (size_t)snprintf(line + at, LOG_LINE - at, "\\x%02x", character);
        else
            line[at++] = (char)character;
    }
    line[at++] = '\n';
    line[at] = '\0';
    return at;
}

/* False if that would have to wait, or fails. */
static bool put(enum log_level level, const char *text)
{
    char line[LOG_LINE];
    size_t length = log_line(line, level, to_journal, text);
    struct pollfd stream = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&stream, 1, 0) == 1 && (stream.revents & POLLOUT) != 0 &&
           write(STDERR_FILENO, line, length) == (ssize_t)length;
}

static void say(enum log_level level, const char *format, va_list arguments)
{
    char text[LOG_LINE], gap[LOG_LINE];
    vsnprintf(text, sizeof(text), format, arguments);
    snprintf(gap, sizeof(gap), "%lu line%s of the log %s lost, for nobody read them in time", lost,
             lost == 1 ? "" : "s", lost == 1 ? "was" : "were");
    if (lost > 0 && put(LOG_LEVEL_WARNING, gap))
        lost = 0;
    if (lost > 0 || !put(level, text))
        lost++;
}

void log_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(LOG_LEVEL_ERROR, format, arguments);
    va_end(arguments);
}

void log_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(LOG_LEVEL_WARNING, format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(LOG_LEVEL_INFO, format, arguments);
    va_end(arguments);
}
