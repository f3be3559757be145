/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of a message that came to one of the sockets. */
#ifndef DNS64_QUERIES_H
#define DNS64_QUERIES_H

#include "dns64/worker.h"

struct arrival {
    const uint8_t *bytes;
    size_t size;
    bool cut; /* there was more of it than is read */
    const struct reply_path *path;
};

/*
 * Answers, refuses, or leaves it with the questions under way. False if it got no answer since it is no query
 * at all: who sends that over a connection has no business with it.
 */
bool queries_receive(struct dns_worker *worker, const struct arrival *arrival);

/* Counts what is not answered as it asks, and shows it to who looks. */
void queries_note(struct dns_worker *worker, const struct arrival *arrival, enum dns64_counter reason);

#endif /* DNS64_QUERIES_H */
