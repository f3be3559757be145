/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What lies in the ring when the first capture begins was put there at the end of an earlier one, by a
 * program that was still at it, and is thrown away.
 */
#include "plane/bpf/capture.h"

#include <bpf/libbpf.h>
#include <stdlib.h>

#include "engine/atomic.h"
#include "plane/bpf/captured.h"

struct capture_source {
    struct ring_buffer *ring;
    struct plane_capture *control;
    struct engine *engine; /* NULL: nobody wants it */
    uint64_t missed;       /* as far as captures know */
    size_t left;           /* bytes that may be read until somebody else has a turn */
};

/* Less than 0: enough for now. libbpf has taken the record off by then. */
static int take_record(void *context, void *bytes, size_t size)
{
    struct capture_source *source = context;
    const struct plane_captured *head = bytes;
    const uint8_t *packet = (const uint8_t *)(head + 1);
    if (source->engine != NULL && size >= sizeof(*head) &&
        (size_t)head->kept + head->result_kept <= size - sizeof(*head)) {
        const struct capture_decision decision = {.time = head->time,
                                                  .verdict = (uint8_t)head->verdict,
                                                  .received = packet,
                                                  .result = packet + head->kept,
                                                  .length = head->length,
                                                  .kept = head->kept,
                                                  .result_length = head->result_length,
                                                  .result_kept = head->result_kept};
        capture_decision(source->engine, &decision);
    }
    if (source->left < size)
        return -1;
    source->left -= size;
    return 0;
}

static void read_ring(struct capture_source *source, struct engine *engine)
{
    uint64_t missed = atomic_load64(&source->control->missed);
    source->engine = engine;
    source->left = CAPTURED_RING;
    (void)ring_buffer__consume(source->ring);
    if (engine != NULL && missed != source->missed)
        capture_lost(engine, missed - source->missed);
    source->missed = missed;
}

struct capture_source *capture_source_open(struct object *object)
{
    struct capture_source *source = calloc(1, sizeof(*source));
    int ring = object_map(object, "captured");
    if (source == NULL)
        return NULL;
    source->control = object_map_memory(object, ".data.capture");
    source->ring = ring >= 0 ? ring_buffer__new(ring, take_record, source, NULL) : NULL;
    if (source->control != NULL && source->ring != NULL)
        return source;
    capture_source_close(source);
    return NULL;
}

void capture_source_read(struct capture_source *source, struct engine *engine)
{
    uint32_t wanted = capture_snap(engine), before = atomic_load32(&source->control->snap);
    if (wanted != 0 && wanted < CAPTURED_SNAP_LEAST)
        wanted = CAPTURED_SNAP_LEAST;
    if (before != 0 || wanted != 0)
        read_ring(source, before != 0 ? engine : NULL);
    atomic_store32(&source->control->snap, wanted);
}

void capture_source_close(struct capture_source *source)
{
    if (source == NULL)
        return;
    if (source->control != NULL)
        atomic_store32(&source->control->snap, 0);
    ring_buffer__free(source->ring);
    free(source);
}
