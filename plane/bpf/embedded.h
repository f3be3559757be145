/* SPDX-License-Identifier: BSD-2-Clause */
/* The file of the kernel's programs, which the build puts into this one (tool/embed-object). */
#ifndef PLANE_BPF_EMBEDDED_H
#define PLANE_BPF_EMBEDDED_H

#include <stdint.h>

extern const uint8_t embedded_object[], embedded_object_end[];

#endif /* PLANE_BPF_EMBEDDED_H */
