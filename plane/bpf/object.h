/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The BPF object in the kernel: its maps, as many elements in each as the geometry of a session table asks
 * for (in `processors`, as there can be processors) and mapped into this program's memory, and its programs.
 * Whatever object defines the maps of
 * plane/bpf/table.bpf.h can be opened.
 *
 *     object_open      reads the file, makes the maps, has the kernel verify the programs
 *     object_memory    -> table_format() or table_attach()
 *     object_constants the programs' copy of what that table's handle has
 */
#ifndef PLANE_BPF_OBJECT_H
#define PLANE_BPF_OBJECT_H

#include "engine/layout.h"

struct object;

struct object_options {
    const char *path;            /* of the object file; or NULL: */
    const void *image;           /* the file in memory, ... */
    size_t image_size;           /* ... and its length */
    const char *const *programs; /* names of those to be loaded, then NULL; or NULL: all */
    const int *segments;         /* maps of a table of this geometry to be used; NULL: they are made */
    struct geometry geometry;
    uint32_t mappings; /* of siit, as configured; there will be room for more */
};

/* NULL with a sentence in `error`: among others where the kernel is too old, or CAP_BPF is missing. */
struct object *object_open(const struct object_options *options, char *error, size_t size);

/* Ends the maps and programs that nothing else holds: no interface, no pin, no other program. */
void object_close(struct object *object);

/* The table's segments, zeroed at first, for table_format() and table_attach(). */
void *const *object_memory(const struct object *object);

/* Tells the programs the constants of the table that lies there. Returns 0 or an errno. */
int object_constants(const struct object *object, const struct table *table);

/* The name of the map of a segment. */
const char *object_segment(unsigned segment);

/*
 * Pins the maps and programs in a directory of a bpffs, by their names; of the program's own data
 * only .data.control, as `control`. Returns 0 or an errno, and then some may be pinned.
 */
int object_pin(const struct object *object, const char *directory);

/* Descriptors, owned by the object; -1: it has none of that name. */
int object_program(const struct object *object, const char *name);
int object_map(const struct object *object, const char *name);

/* The only element of a map that can be mapped, or its first; NULL: it cannot. Mapped at the first call. */
void *object_map_memory(struct object *object, const char *name);

/* The whole array. */
struct object_array {
    uint8_t *memory;
    size_t element; /* bytes from one to the next */
    uint32_t count; /* 0: it cannot be mapped */
};
struct object_array object_array(struct object *object, const char *name);

/* How many numbers processors can have; there may be gaps, for which nobody asks. */
uint32_t object_processors(void);

/* How many instructions the verifier went through for all programs, or 0 if it did not tell. */
unsigned object_verified(const struct object *object);

#endif /* PLANE_BPF_OBJECT_H */
