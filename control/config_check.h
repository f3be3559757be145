/* SPDX-License-Identifier: BSD-2-Clause */
/* What a configuration must fulfil beyond each key's own rule. */
#ifndef CONTROL_CONFIG_CHECK_H
#define CONTROL_CONFIG_CHECK_H

#include "control/config_document.h"

/* Returns false with the first contradiction in *error, placed by the document that the struct was read from.
 */
bool config_check(const struct config *config, struct config_source *source, struct config_error *error);

#endif /* CONTROL_CONFIG_CHECK_H */
