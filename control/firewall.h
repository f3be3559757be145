/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A firewall may keep translated packets from passing: a warning at start, nothing more.
 */
#ifndef CONTROL_FIREWALL_H
#define CONTROL_FIREWALL_H

/* Warns of each nf_tables chain that forwarded packets go through and whose policy is to drop. */
void firewall_warn(void);

#endif /* CONTROL_FIREWALL_H */
