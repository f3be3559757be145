/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs a fuzz target over the files of folders, without a fuzzer: what was once found stays found.
 *
 * Linked with one target; prints a line of TAP a file, in the order of their names. A file that makes the
 * target crash ends the program, and the runner counts that; its name stands in the last comment.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Reads a whole file into memory of exactly its size, so that a read beyond it is noticed. */
static uint8_t *read_file(const char *path, size_t *size)
{
    uint8_t *data = NULL;
    long length;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        *size = (size_t)length;
        data = malloc(*size > 0 ? *size : 1);
        if (data != NULL && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    }
    (void)fclose(file);
    return data;
}

static bool replay(const char *folder, const char *name)
{
    char path[4096];
    size_t size = 0;
    uint8_t *data;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    data = read_file(path, &size);
    if (data == NULL) {
        printf("# cannot read %s\n", path);
        return false;
    }
    printf("# %s, %zu bytes\n", path, size);
    (void)fflush(stdout);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return true;
}

int main(int argc, char **argv)
{
    struct dirent **entries = NULL;
    const char *folder = argc > 1 ? argv[1] : ".";
    int failures = 0;
    int n = scandir(folder, &entries, is_visible, alphasort);
    if (n <= 0) {
        printf("1..1\nnot ok 1 - the corpus %s is missing or empty\n", folder);
        free(entries);
        return 1;
    }
    printf("1..%d\n", n);
    for (int i = 0; i < n; i++) {
        bool fine = replay(folder, entries[i]->d_name);
        printf("%sok %d - %s\n", fine ? "" : "not ", i + 1, entries[i]->d_name);
        failures += !fine;
        free(entries[i]);
    }
    free(entries);
    return failures > 0;
}
