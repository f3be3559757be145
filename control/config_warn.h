/* SPDX-License-Identifier: BSD-2-Clause */
/* What a configuration may say but an operator should know the price of. */
#ifndef CONTROL_CONFIG_WARN_H
#define CONTROL_CONFIG_WARN_H

#include "control/config.h"

/*
 * The next warning about a configuration that config_load accepted, as a sentence in `text`; *position is 0
 * at first. False: there are no more.
 */
bool config_warning(const struct config *config, unsigned *position, char text[static 256]);

/* Logs all of them. */
void config_warn(const struct config *config);

#endif /* CONTROL_CONFIG_WARN_H */
