/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names that are answered here; the contract is in the header.
 *
 * A zone of our own is one name with data and, below it, nothing. Its answers carry AA, for by RFC 8880 it is
 * we who have authority over them, and never AD, for nobody has signed them. Where the names are asked for is
 * .arpa, so all other questions are let pass after a look at their last six bytes.
 *
 * CD says that the client validates by itself. A name in a zone that may be signed is then resolved the usual
 * way, since without signatures it would be refused (RFC 6147 section 5.5 item 3). Not so ipv4only.arpa: its
 * delegation is insecure just to let DNS64 answer at will, and RFC 8880 section 7.1 has the answer generated
 * whatever the query says. The same section has DS resolved the usual way, to prove that very thing; DS
 * stands above the cut between zones, so that goes for each of them.
 */
#include "dns64/local.h"

#include <string.h>

enum { ADDRESSES = 2, MAPPED_MAXIMUM = ADDRESSES * RULES_PREFIXES };

/* A zone of our own: its name and what is asked of it that is not empty. */
struct zone {
    uint8_t length;
    const uint8_t *name;
    bool ipv4only;    /* A and AAAA */
    bool pointer;     /* PTR */
    bool whatever_cd; /* answered with CD, too */
    bool all_names;   /* names below exist, empty */
};

static const uint8_t ipv4only_arpa[] = "\10ipv4only\4arpa";
static const uint8_t reverse_170[] = "\003170\0010\0010\003192\7in-addr\4arpa";
static const uint8_t reverse_171[] = "\003171\0010\0010\003192\7in-addr\4arpa";
static const uint8_t resolver_arpa[] = "\10resolver\4arpa";

/* RFC 8880 sections 7.1 and 7.2, RFC 9462 section 4. rfc: 8880-7.1-k, 8880-7.2-a */
static const struct zone zones[] = {
    {sizeof(ipv4only_arpa), ipv4only_arpa, .ipv4only = true, .whatever_cd = true},
    {sizeof(reverse_170), reverse_170, .pointer = true},
    {sizeof(reverse_171), reverse_171, .pointer = true},
    {sizeof(resolver_arpa), resolver_arpa, .all_names = true},
};

/* 192.0.0.170 and .171, which stand for "IPv4 only" (RFC 7050 section 2.2). */
static const uint8_t well_known[ADDRESSES][4] = {{192, 0, 0, 170}, {192, 0, 0, 171}};

/* An answer under construction. */
struct making {
    const struct inquiry_question *question;
    struct answer *answer;
    struct dns_writer writer;
};

static struct dns_name name_of(const uint8_t *wire, size_t length)
{
    struct dns_name name = {.length = (uint8_t)length};
    memcpy(name.wire, wire, length);
    return name;
}

/*** Making ***/

static void begin(struct making *making, uint16_t rcode)
{
    const struct inquiry_question *question = making->question;
    const struct dns_header header = {
        .rcode = rcode, .response = true, .authoritative = true, .recursion_available = true};
    dns_writer_open(&making->writer, making->answer->message, DNS_MESSAGE_MAX, &header);
    dns_writer_question(&making->writer, &question->name, question->type, question->class);
    making->answer->rcode = (uint8_t)rcode;
}

/* A record of the name that was asked for; there is room for all that is written here. */
static void add(struct making *making, const void *rdata, size_t length, uint32_t ttl)
{
    const struct dns_data data = {.owner = &making->question->name,
                                  .rdata = rdata,
                                  .type = making->question->type,
                                  .class = DNS_CLASS_IN,
                                  .rdata_length = (uint16_t)length,
                                  .ttl = ttl};
    (void)dns_writer_record(&making->writer, &data);
}

static enum local_kind finish(struct making *making, uint32_t ttl, bool synthesized)
{
    struct answer *answer = making->answer;
    answer->size = answer->core = (uint32_t)dns_writer_finish(&making->writer);
    answer->ttl = ttl;
    answer->error = synthesized ? ANSWER_ERROR_SYNTHESIZED : ANSWER_ERROR_NONE;
    answer->secure = false;
    answer->synthesized = synthesized;
    return LOCAL_ANSWERED;
}

static uint8_t *put32(uint8_t *at, uint32_t number)
{
    store_be32(at, to_be32(number));
    return at + 4;
}

/* The SOA record that goes with "there is none", by the pattern of RFC 6303 section 3. */
static void add_soa(struct making *making, const struct zone *zone, uint32_t ttl)
{
    static const uint8_t nobody[] = "\6nobody\7invalid";
    const struct dns_name owner = name_of(zone->name, zone->length);
    uint8_t rdata[DNS_NAME_MAX + sizeof(nobody) + 20], *at = rdata;
    struct dns_data data = {
        .owner = &owner, .rdata = rdata, .type = DNS_TYPE_SOA, .class = DNS_CLASS_IN, .ttl = ttl};
    memcpy(at, zone->name, zone->length); /* who has the zone: itself */
    at += zone->length;
    memcpy(at, nobody, sizeof(nobody)); /* who answers for it */
    at += sizeof(nobody);
    at = put32(at, 1);      /* serial */
    at = put32(at, 3600);   /* refresh */
    at = put32(at, 1200);   /* retry */
    at = put32(at, 604800); /* expire */
    at = put32(at, ttl);    /* of what there is not */
    data.rdata_length = (uint16_t)(at - rdata);
    dns_writer_section(&making->writer, DNS_AUTHORITY);
    (void)dns_writer_record(&making->writer, &data);
}

static enum local_kind make_negative(struct making *making, const struct zone *zone, uint16_t rcode,
                                     const struct dns_rules *rules)
{
    uint32_t ttl = rules->negative_ttl < LOCAL_TTL_OF_RULES ? rules->negative_ttl : LOCAL_TTL_OF_RULES;
    begin(making, rcode);
    add_soa(making, zone, ttl);
    return finish(making, ttl, false);
}

/*** ipv4only.arpa ***/

/* rfc: 8880-7.1-a, 7050-4-a */
static enum local_kind make_ipv4(struct making *making)
{
    begin(making, DNS_RCODE_NOERROR);
    for (unsigned i = 0; i < ADDRESSES; i++)
        add(making, well_known[i], sizeof(well_known[i]), LOCAL_TTL);
    return finish(making, LOCAL_TTL, false);
}

/* Is 192.0.0.170 or .171 among the IPv4 addresses that are reached under the prefix? */
static bool reaches_well_known(const struct rules_prefix *prefix)
{
    for (unsigned i = 0; i < ADDRESSES; i++) {
        struct ipv6_address mapped = {.bytes = {[10] = 0xff, [11] = 0xff}};
        memcpy(mapped.bytes + 12, well_known[i], 4);
        for (uint32_t network = 0; network < prefix->ipv4_count; network++)
            if (rules_network_contains(&prefix->ipv4[network], &mapped))
                return true;
    }
    return false;
}

/*
 * Those of the view whose IPv4 addresses include the well-known ones; if there are none, the whole view.
 * rfc: 7050-5.1-a
 */
static rules_view told_prefixes(const struct dns_rules *rules, rules_view view)
{
    rules_view told = 0;
    for (uint32_t i = 0; i < rules->prefix_count; i++)
        if ((view >> i & 1) != 0 && reaches_well_known(&rules->prefixes[i]))
            told |= (rules_view)(1u << i);
    return told != 0 ? told : view;
}

/* Of entries with one prefix the first: a record stands in its set once. */
static rules_view without_repetitions(const struct dns_rules *rules, rules_view view)
{
    for (uint32_t i = 0; i < rules->prefix_count; i++)
        for (uint32_t j = i + 1; j < rules->prefix_count && (view >> i & 1) != 0; j++) {
            const struct rfc6052_prefix *one = &rules->prefixes[i].prefix,
                                        *other = &rules->prefixes[j].prefix;
            if (one->length == other->length && ipv6_equal(&one->address, &other->address))
                view &= (rules_view) ~(1u << j);
        }
    return view;
}

/*
 * What tells a host which prefixes there are, in the order of the configuration, which it keeps (RFC 7050
 * section 3). Under 64:ff9b::/96, too: these addresses are not global, but nobody sends to them, and they are
 * what that section looks for. A host takes what it learns for a prefix of all IPv4 addresses (section 5.1),
 * so one that is for some of them only is not told, unless there is no other.
 * rfc: 8880-7.1-b, 7050-3-a, 7050-5-a
 */
static enum local_kind make_ipv6(struct making *making, const struct zone *zone,
                                 const struct dns_rules *rules)
{
    rules_view told = without_repetitions(rules, told_prefixes(rules, making->question->view));
    if (told == 0)
        return make_negative(making, zone, DNS_RCODE_NOERROR, rules);
    begin(making, DNS_RCODE_NOERROR);
    for (uint32_t i = 0; i < rules->prefix_count; i++)
        for (unsigned j = 0; j < ADDRESSES && (told >> i & 1) != 0; j++) {
            struct ipv6_address address = rfc6052_embed(&rules->prefixes[i].prefix, load_be32(well_known[j]));
            add(making, &address, sizeof(address), LOCAL_TTL_OF_RULES);
        }
    return finish(making, LOCAL_TTL_OF_RULES, true);
}

static enum local_kind make_pointer(struct making *making, uint32_t ttl, bool synthesized)
{
    begin(making, DNS_RCODE_NOERROR);
    add(making, ipv4only_arpa, sizeof(ipv4only_arpa), ttl);
    return finish(making, ttl, synthesized);
}

/*** Which names ***/

/* The zone of our own in which the name lies, with or without labels before it. */
static const struct zone *zone_of(const struct dns_name *name, bool *below)
{
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        struct dns_name apex = name_of(zones[i].name, zones[i].length);
        if (dns_name_within(name, &apex)) {
            *below = name->length > apex.length;
            return &zones[i];
        }
    }
    return NULL;
}

/* rfc: 8880-7.1-i, 8880-7.1-m, 8880-7.1-n, 8880-7.1-o, 8880-7.1-p */
static enum local_kind answer_zone(struct making *making, const struct zone *zone, bool below,
                                   const struct dns_rules *rules)
{
    uint16_t type = making->question->type;
    if (making->question->checking_disabled && !zone->whatever_cd)
        return LOCAL_NONE;
    if (below && !zone->all_names)
        return make_negative(making, zone, DNS_RCODE_NXDOMAIN, rules);
    if (!below && type == DNS_TYPE_DS)
        return LOCAL_NONE;
    if (zone->ipv4only && type == DNS_TYPE_A)
        return make_ipv4(making);
    if (zone->ipv4only && type == DNS_TYPE_AAAA)
        return make_ipv6(making, zone, rules);
    if (zone->pointer && type == DNS_TYPE_PTR)
        return make_pointer(making, LOCAL_TTL, false);
    return make_negative(making, zone, DNS_RCODE_NOERROR, rules);
}

static bool is_well_known(be32 ipv4)
{
    return ipv4 == load_be32(well_known[0]) || ipv4 == load_be32(well_known[1]);
}

/*
 * The IPv4 address behind an IPv6 address. 64:ff9b::/96 counts in any case (RFC 6147 section 5.3.1), and so
 * do addresses under it that are not global: we make none, but routers between us and a destination show up
 * with theirs in a traceroute.
 */
static bool stands_for(const struct dns_rules *rules, const struct ipv6_address *address, be32 *ipv4)
{
    static const struct rfc6052_prefix prefix = {.address = {{0x00, 0x64, 0xff, 0x9b}}, .length = 96};
    if (rules_extract(rules, address, ipv4))
        return true;
    if (!rfc6052_contains(&prefix, address))
        return false;
    *ipv4 = rfc6052_extract(&prefix, address);
    return true;
}

/* rfc: 8880-7.2.1-a, 8880-7.2.1-b, 6147-5.3.1-a */
static enum local_kind answer_reverse(struct making *making, const struct dns_rules *rules,
                                      struct dns_name *target)
{
    const struct inquiry_question *question = making->question;
    struct ipv6_address address;
    be32 ipv4;
    if (question->type != DNS_TYPE_PTR || question->checking_disabled ||
        !dns_name_to_ipv6(&question->name, &address) || !stands_for(rules, &address, &ipv4))
        return LOCAL_NONE;
    if (is_well_known(ipv4))
        return make_pointer(making, LOCAL_TTL_OF_RULES, true);
    *target = dns_name_of_ipv4(ipv4);
    return LOCAL_REVERSE;
}

/* A resolver without prefixes is none of DNS64, and one behind it may know better. rfc: 8880-7.1-j */
enum local_kind local_answer(const struct inquiry_question *question, const struct dns_rules *rules,
                             struct answer *answer, struct dns_name *target)
{
    static const uint8_t arpa[] = "\4arpa";
    const struct dns_name *name = &question->name;
    struct making making;
    const struct zone *zone;
    bool below;
    if (rules->prefix_count == 0 || question->class != DNS_CLASS_IN || name->length < sizeof(arpa) ||
        memcmp(name->wire + name->length - sizeof(arpa), arpa, sizeof(arpa)) != 0)
        return LOCAL_NONE;
    making.question = question;
    making.answer = answer;
    zone = zone_of(name, &below);
    return zone != NULL ? answer_zone(&making, zone, below, rules) : answer_reverse(&making, rules, target);
}
