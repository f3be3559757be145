/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf_verify OBJECT: loads the programs of an object and prints what this kernel's verifier says of each, as
 * TAP:
 *
 *     ok 1 - translate_ethernet: 74718 instructions, stack 312+8+0+64+0+8+56+56+0
 *
 * The instructions are those it went through, of which there may be a million. The kernel tells their number
 * in the verifier's log; since Linux 5.16 also elsewhere. Of a program that is refused for something else
 * than their number the end of the way to where it is comes after that.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PROGRAMS = 16,
    STATISTICS = 4, /* levels of the verifier's log */
    WAY = 1,
    LOG_SIZE = (1 << 24) - 1, /* the most that Linux 5.15 takes */
    LINES = 20,               /* of a log */
};

static char logs[PROGRAMS][LOG_SIZE];

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
    (void)level;
    (void)format;
    (void)arguments;
    return 0;
}

/* The line that begins so, without that; or "". */
static const char *line_of(const char *log, const char *beginning)
{
    static char line[256];
    const char *found = strstr(log, beginning);
    if (found == NULL)
        return "";
    snprintf(line, sizeof(line), "%s", found + strlen(beginning));
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static void print_end(const char *log)
{
    const char *from = log + strlen(log);
    for (unsigned lines = 0; from > log && (from[-1] != '\n' || lines++ <= LINES);)
        from--;
    for (; *from != '\0'; from += strcspn(from, "\n"), from += *from == '\n')
        printf("# %.*s\n", (int)strcspn(from, "\n"), from);
}

static int load(const char *path, unsigned level, struct bpf_object **object)
{
    struct bpf_program *program;
    unsigned number = 0;
    *object = bpf_object__open_file(path, NULL);
    if (*object == NULL)
        return -1;
    bpf_object__for_each_program(program, *object)
    {
        if (number == PROGRAMS)
            return -1;
        logs[number][0] = '\0';
        bpf_program__set_log_level(program, level);
        bpf_program__set_log_buf(program, logs[number++], LOG_SIZE);
    }
    return bpf_object__load(*object);
}

/* The kernel was asked about programs up to the one that it refused, if it did. */
static void report(const struct bpf_object *object, bool refused)
{
    struct bpf_program *program;
    unsigned number = 0, asked = 0;
    for (unsigned i = 0; i < PROGRAMS; i++)
        asked = logs[i][0] != '\0' ? i + 1 : asked;
    bpf_object__for_each_program(program, object)
    {
        const char *log = logs[number++];
        unsigned long processed = strtoul(line_of(log, "processed "), NULL, 10);
        printf("%sok %u - %s: ", refused && number >= asked ? "not " : "", number,
               bpf_program__name(program));
        if (number <= asked)
            printf("%lu instructions, stack %s\n", processed, line_of(log, "stack depth "));
        else
            printf("not tried\n");
    }
    printf("1..%u\n", number);
}

int main(int count, char **arguments)
{
    struct bpf_object *object = NULL;
    (void)libbpf_set_print(keep_quiet);
    int error = count == 2 ? load(arguments[1], STATISTICS, &object) : -1;
    if (object == NULL) {
        fprintf(stderr, "usage: bpf_verify OBJECT\n");
        return 2;
    }
    report(object, error != 0);
    bpf_object__close(object);
    if (error == 0)
        return 0;
    if (error == -E2BIG)
        return 1;
    (void)load(arguments[1], WAY, &object);
    for (unsigned i = 0; i < PROGRAMS; i++)
        if (strstr(logs[i], "processed ") != NULL)
            print_end(logs[i]);
    bpf_object__close(object);
    return 1;
}
