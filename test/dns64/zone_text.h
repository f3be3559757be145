/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records as zone files write them, one a line, with all that a line of a test needs in it:
 *
 *     www.example. 300 A 192.0.2.1
 *     OWNER TTL TYPE DATA
 *
 * Types and their data:
 *
 *     A, AAAA              an address
 *     CNAME, DNAME, NS, PTR, NSEC   a name (the bitmap of NSEC stays empty)
 *     MX                   a number and a name
 *     SOA                  a name and the last field; the rest is made up
 *     SVCB, HTTPS          a number, a name, and words ipv4hint=ADDRESS
 *     RRSIG                the type that is covered; the rest is made up
 *     TXT                  one word
 *     any other            hexadecimal digits, and so for TYPE123, where 123 may be any of the above
 */
#ifndef TEST_DNS64_ZONE_TEXT_H
#define TEST_DNS64_ZONE_TEXT_H

#include "dns64/message.h"

enum { ZONE_RDATA = 1024, ZONE_ERROR = 120 };

struct zone_record {
    struct dns_name owner;
    uint16_t type, rdata_length;
    uint32_t ttl;
    uint8_t rdata[ZONE_RDATA]; /* flat */
};

/* The number of a type; false if there is none of that name. */
bool zone_type(const char *name, uint16_t *type);

/* The name of a type, in static memory until the next call. */
const char *zone_type_name(uint16_t type);

/* A network, ADDRESS[/LENGTH], IPv4 as ::ffff:0:0/96; false if it is none. */
bool zone_network(const char *text, struct ipv6_address *address, uint8_t *length);

/* Reads one record, changing the text. False with a sentence. */
bool zone_record_read(struct zone_record *record, char *text, char error[ZONE_ERROR]);

#endif /* TEST_DNS64_ZONE_TEXT_H */
