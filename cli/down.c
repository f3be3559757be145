/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * isthmus down: undoes what saved lists of changes say, where no daemon is left to do it, and removes the
 * session table: of one name, or of all that are found. The configuration need not exist any more.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "control/config.h"
#include "control/log.h"
#include "control/privilege.h"
#include "control/state.h"
#include "control/table_file.h"
#include "control/undo.h"

static bool name_is_safe(const char *name)
{
    return *name != '\0' && strlen(name) < IFNAMSIZ && strchr(name, '/') == NULL && strcmp(name, "..") != 0 &&
           strcmp(name, ".") != 0;
}

/* Undoes what is left of one name. A daemon that runs is a failure only if just this name is meant. */
static int undo_name(const char *name, bool one_of_all)
{
    struct state state;
    char error[512];
    size_t undone;
    switch (state_open_existing(&state, STATE_BASE, name, error, sizeof(error))) {
    case STATE_OPENED:
        break;
    case STATE_ABSENT:
        log_info("nothing to undo for %s", name);
        return EXIT_SUCCESS;
    case STATE_BUSY:
        if (one_of_all) {
            log_info("passed over %s, which runs", name);
            return EXIT_SUCCESS;
        }
        /* fall through */
    case STATE_FAILED:
        log_error("%s", error);
        return EXIT_FAILURE;
    }
    bool done = undo_directory(state.directory, UNDO_SESSIONS, &undone);
    if (done) {
        bool removed = table_file_remove(state.directory);
        state_remove(&state);
        if (undone > 0 || !removed)
            log_info("undid %zu change%s of %s", undone, undone == 1 ? "" : "s", name);
        if (removed)
            log_info("removed the session table of %s", name);
    } else {
        log_error("something is left of %s; what could not be undone is listed in %s", name, state.path);
    }
    state_close(&state);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int undo_config(const char *path)
{
    struct config_error error;
    struct config *config = config_load_keys(path, &error);
    if (config == NULL) {
        log_error("%s; or name the device: isthmus down NAME", error.text);
        return EXIT_FAILURE;
    }
    int status = undo_name(config->plane.name, false);
    config_free(config);
    return status;
}

static int is_name(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && name_is_safe(entry->d_name) && entry->d_type == DT_DIR;
}

static int undo_all(void)
{
    struct dirent **entries = NULL;
    int status = EXIT_SUCCESS;
    int count = scandir(STATE_BASE, &entries, is_name, alphasort);
    if (count <= 0)
        log_info("nothing to undo");
    for (int i = 0; i < count; i++) {
        if (undo_name(entries[i]->d_name, true) != EXIT_SUCCESS)
            status = EXIT_FAILURE;
        free(entries[i]);
    }
    free(entries);
    return status;
}

int command_down(const struct command *command, int argc, char **argv)
{
    struct options_reader reader = {.command = command, .takes = OPTION_CONFIG, .takes_word = true};
    struct options options;
    int status;
    if (!options_read(&reader, argc, argv, &options, &status))
        return status;
    if (options.word != NULL && options.config != NULL)
        return command_misuse(command, "give -c FILE or NAME, not both");
    if (options.word != NULL && !name_is_safe(options.word))
        return command_misuse(command, "NAME is the name of a device");
    log_open();
    if (!privilege_sufficient()) {
        log_error("this needs the right to change devices and routes (CAP_NET_ADMIN): run it as root");
        return EXIT_FAILURE;
    }
    if (options.word != NULL)
        return undo_name(options.word, false);
    return options.config != NULL ? undo_config(options.config) : undo_all();
}
