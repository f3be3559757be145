/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The forms of data with names, as rows of a table: every one of them is some bytes of a fixed number, then
 * character strings, then names, then what remains.
 */
#include "dns64/rdata.h"

enum {
    NAMES_MAX = 2,
    ANY_REST = -1, /* any number of bytes behind the names */
    SOA_REST = 20, /* serial, refresh, retry, expire, minimum */
};

struct form {
    uint16_t type;
    uint8_t fixed, strings, names;
    int8_t rest;
    bool compress; /* a type of RFC 1035 */
};

static const struct form forms[] = {
    {DNS_TYPE_NS, 0, 0, 1, 0, true},
    {3 /* MD */, 0, 0, 1, 0, true},
    {4 /* MF */, 0, 0, 1, 0, true},
    {DNS_TYPE_CNAME, 0, 0, 1, 0, true},
    {DNS_TYPE_SOA, 0, 0, 2, SOA_REST, true},
    {7 /* MB */, 0, 0, 1, 0, true},
    {8 /* MG */, 0, 0, 1, 0, true},
    {9 /* MR */, 0, 0, 1, 0, true},
    {DNS_TYPE_PTR, 0, 0, 1, 0, true},
    {14 /* MINFO */, 0, 0, 2, 0, true},
    {DNS_TYPE_MX, 2, 0, 1, 0, true},
    {17 /* RP */, 0, 0, 2, 0, false},
    {18 /* AFSDB */, 2, 0, 1, 0, false},
    {21 /* RT */, 2, 0, 1, 0, false},
    {24 /* SIG */, 18, 0, 1, ANY_REST, false},
    {26 /* PX */, 2, 0, 2, 0, false},
    {30 /* NXT */, 0, 0, 1, ANY_REST, false},
    {DNS_TYPE_SRV, 6, 0, 1, 0, false},
    {35 /* NAPTR */, 4, 3, 1, 0, false},
    {DNS_TYPE_DNAME, 0, 0, 1, 0, false}, /* RFC 6672 section 2.5 */
};

static const struct form *form_of(uint16_t type)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (forms[i].type == type)
            return &forms[i];
    return NULL;
}

/* Moves *at behind the fixed bytes and the strings; false: they pass the end. */
static bool skip_head(const struct form *form, const uint8_t *bytes, size_t *at, size_t end)
{
    *at += form->fixed;
    for (unsigned i = 0; i < form->strings; i++) {
        if (*at >= end)
            return false;
        *at += 1u + bytes[*at];
    }
    return *at <= end;
}

enum dns_written dns_rdata_walk(const struct dns_rdata *rdata, const struct dns_sink *sink)
{
    const struct form *form = form_of(rdata->type);
    const uint8_t *bytes = rdata->reader->bytes;
    size_t head = rdata->at, end = rdata->at + rdata->length, rest;
    struct dns_name names[NAMES_MAX];
    if (form == NULL)
        return sink->bytes(sink->holder, bytes + head, rdata->length) ? DNS_WRITTEN : DNS_FULL;
    if (!skip_head(form, bytes, &head, end))
        return DNS_UNSOUND;
    rest = head;
    for (unsigned i = 0; i < form->names; i++)
        if (!dns_reader_name(rdata->reader, &rest, &names[i]))
            return DNS_UNSOUND;
    /* A name may have been read from behind the data: the end of the data is not that of the message. */
    if (rest > end || (form->rest != ANY_REST && end - rest != (size_t)form->rest))
        return DNS_UNSOUND;
    if (!sink->bytes(sink->holder, bytes + rdata->at, head - rdata->at))
        return DNS_FULL;
    for (unsigned i = 0; i < form->names; i++)
        if (!sink->name(sink->holder, &names[i], form->compress))
            return DNS_FULL;
    return sink->bytes(sink->holder, bytes + rest, end - rest) ? DNS_WRITTEN : DNS_FULL;
}
