/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel settings that forwarding through the device needs; part of setup.c. */
#ifndef CONTROL_SETUP_SETTINGS_H
#define CONTROL_SETUP_SETTINGS_H

#include "control/setup.h"

/* False only if it is certain that the kernel has no IPv6 at all. */
bool setup_have_ipv6(void);

/* Before the device goes up: how it treats packets. */
void setup_device_settings(const struct setup *setup);

/* Forwarding of both families on the whole machine. */
void setup_forwarding(const struct setup *setup);

/* Proxy ARP on the interface answers without the delay that is meant to let an owner answer first. */
void setup_answer_at_once(const struct setup *setup, const char *interface);

#endif /* CONTROL_SETUP_SETTINGS_H */
