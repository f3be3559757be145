/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which queue of the device a packet goes to: a small BPF program that the kernel asks for each packet it
 * gives to the device. Theory of operation in steer.c.
 */
#ifndef PLANE_TUN_STEER_H
#define PLANE_TUN_STEER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Loads the program; the seed keeps strangers from aiming all their flows at one queue. Returns its file
 * descriptor, or -1 with errno: EPERM where CAP_BPF is needed and missing.
 */
int steer_load(uint64_t seed);

/* Gives the program to the device that `queue` is attached to; the descriptor may be closed thereafter. */
bool steer_attach(int queue, int program_descriptor);

#endif /* PLANE_TUN_STEER_H */
