/* SPDX-License-Identifier: BSD-2-Clause */
/* The version, which the build states. */
#ifndef CONTROL_VERSION_H
#define CONTROL_VERSION_H

#ifndef ISTHMUS_VERSION
#define ISTHMUS_VERSION "0.1.0"
#endif

#endif /* CONTROL_VERSION_H */
