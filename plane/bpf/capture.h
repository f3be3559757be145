/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's side of captures: reads the ring that the programs fill while a capture runs, and gives what
 * it finds to the engine's captures, whose filters apply. All of that is memory that is mapped when the
 * source is opened.
 */
#ifndef PLANE_BPF_CAPTURE_H
#define PLANE_BPF_CAPTURE_H

#include "engine/capture.h"
#include "plane/bpf/object.h"

struct capture_source;

/* NULL: the object has no such maps, or they cannot be mapped. */
struct capture_source *capture_source_open(struct object *object);

/*
 * Tells the programs whether to capture, which is when captures of the engine run, and hands on what they
 * have captured; not without end, however fast they are. To be called from the control plane's thread when a
 * capture has begun or ended, and before each look into one.
 */
void capture_source_read(struct capture_source *source, struct engine *engine);

/* NULL is ignored. The programs capture no more. */
void capture_source_close(struct capture_source *source);

#endif /* PLANE_BPF_CAPTURE_H */
