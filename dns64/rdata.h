/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data of records whose type has names in them that may be compressed.
 *
 * A pointer means something in its own message only, so data with names are never copied as they are. Which
 * types that concerns is fixed for ever by RFC 3597 section 4: those of RFC 1035, which we compress as well,
 * and some later ones that others have compressed, which we read and write out. To every other type names are
 * bytes like others.
 *
 * One walk serves who makes such data flat and who writes them into a message: it hands the pieces, in their
 * order, to a sink.
 */
#ifndef DNS64_RDATA_H
#define DNS64_RDATA_H

#include "dns64/message.h"

/* Takes pieces of data; false: there is no room for it, and the walk ends. */
struct dns_sink {
    void *holder;
    bool (*bytes)(void *holder, const uint8_t *bytes, size_t n);
    bool (*name)(void *holder, const struct dns_name *name, bool compress);
};

/* The data of `length` bytes at `at` of what the reader reads. */
struct dns_rdata {
    const struct dns_reader *reader;
    size_t at, length;
    uint16_t type;
};

/* DNS_UNSOUND if the data do not have the form of their type; the sink may have taken pieces before. */
enum dns_written dns_rdata_walk(const struct dns_rdata *rdata, const struct dns_sink *sink);

#endif /* DNS64_RDATA_H */
