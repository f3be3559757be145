/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as configuration: refused with a sentence, or printed in a form that is read as the same. */
#include <stdlib.h>
#include <string.h>

#include "control/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct config *config)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    config_print(config, out);
    fclose(out);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_error error = {""};
    struct config *config = config_parse("fuzz", (const char *)data, size, &error);
    if (config == NULL && (error.text[0] == 0 || strpbrk(error.text, "\n\r") != NULL))
        abort();
    if (config == NULL)
        return 0;
    char *once = print(config);
    struct config *again = config_parse("print", once, strlen(once), &error);
    char *twice = again == NULL ? NULL : print(again);
    if (twice == NULL || strcmp(once, twice) != 0 || !config_reloadable(config, again, &error))
        abort();
    free(once);
    free(twice);
    config_free(config);
    config_free(again);
    return 0;
}
