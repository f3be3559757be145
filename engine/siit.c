/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packet has two addresses, an ICMP error four: two of its own and two of the packet it quotes, which
 * travelled the other way. Which rules hold for which is all that is decided here.
 *
 * Hairpinning. Two hosts with mappings may know each other by IPv4 behind the prefix:
 *
 *     from A6 to prefix:B4    --- to IPv4 --->    from A4 to B4    --- to IPv6 --->    from prefix:A4 to B6
 *
 * B answers prefix:A4, so on the way back to IPv6 the source must not be translated by A's mapping (RFC 7757
 * section 4.2.1). "Simple" hairpinning observes that for everything that comes from IPv4; "intrinsic"
 * hairpinning turns such packets round here, both passes at once, and only for those.
 */
#include "engine/siit.h"

#include "engine/worker.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

/* How an address was translated. */
enum way {
    WAY_NONE,
    WAY_MAPPING,
    WAY_PREFIX,
};

/* --- single addresses ---------------------------------------------------------------------------- */

static bool has_prefix(const struct siit_settings *siit)
{
    return siit->prefix.length != 0;
}

static bool under_prefix(const struct siit_settings *siit, const struct ipv6_address *address)
{
    return has_prefix(siit) && rfc6052_contains(&siit->prefix, address);
}

/*
 * May it not stand behind the well-known prefix (RFC 6052 section 3.1)?
 * rfc: 6052-3.1-b
 */
static bool is_forbidden(const struct siit_settings *siit, enum way way, be32 address)
{
    return way == WAY_PREFIX && !siit->translate_non_global && rfc6052_is_well_known(&siit->prefix) &&
           ipv4_is_non_global(address);
}

/* rfc: 6052-3.3-d, 7757-3.3.2-b */
static enum way to_ipv4(const struct siit_settings *siit, const struct ipv6_address *from, be32 *to)
{
    if (eam_to4(siit->eam, from, to))
        return WAY_MAPPING;
    if (!under_prefix(siit, from) || !rfc6052_embeds(&siit->prefix, from))
        return WAY_NONE;
    *to = rfc6052_extract(&siit->prefix, from);
    return WAY_PREFIX;
}

/* rfc: 6052-3.3-d, 7757-3.3.1-b, 7757-4.2.1-d */
static enum way to_ipv6(const struct siit_settings *siit, bool by_mapping, be32 from, struct ipv6_address *to)
{
    if (by_mapping && eam_to6(siit->eam, from, to))
        return WAY_MAPPING;
    if (!has_prefix(siit))
        return WAY_NONE;
    *to = rfc6052_embed(&siit->prefix, from);
    return WAY_PREFIX;
}

static bool is_mapped(const struct siit_settings *siit, be32 address)
{
    struct ipv6_address unused;
    return eam_to6(siit->eam, address, &unused);
}

/*
 * The source of an error from a hop that has no IPv4 address: one of those configured, the same each time, so
 * that a trace shows one hop as one; without any, the translator's own (RFC 6791 sections 3.2 and 5). 0:
 * none.
 * rfc: 7915-6-c, 6791-5-a, 6791-5-b
 */
static be32 source_for_hop(const struct siit_settings *siit, const struct ipv6_address *hop)
{
    if (siit->icmp_source.count == 0)
        return siit->address4;
    uint64_t sum = 0;
    for (unsigned i = 0; i < sizeof(hop->bytes); i += 4)
        sum = (sum ^ load_be32(hop->bytes + i)) * 0x9e3779b97f4a7c15ull;
    uint32_t place = (uint32_t)((sum >> 32) * siit->icmp_source.count >> 32);
    return to_be32(from_be32(siit->icmp_source.first) + place);
}

/* --- whose a packet is --------------------------------------------------------------------------- */

/* rfc: 7915-5.6-b */
static bool claim6(const struct settings *settings, const struct ipv6_address *destination,
                   struct siit_claim *claim)
{
    for (uint32_t i = 0; i < settings->siit_count; i++) {
        claim->siit = &settings->siit[i];
        claim->by_prefix = !eam_to4(claim->siit->eam, destination, &claim->destination.ipv4);
        if (!claim->by_prefix)
            return true;
        if (under_prefix(claim->siit, destination)) {
            claim->destination.ipv4 = rfc6052_extract(&claim->siit->prefix, destination);
            return true;
        }
    }
    return false;
}

/* rfc: 7915-4.6-b */
static bool claim4(const struct settings *settings, be32 destination, struct siit_claim *claim)
{
    const struct siit_settings *any = NULL;
    claim->by_prefix = false;
    for (uint32_t i = 0; i < settings->siit_count; i++) {
        claim->siit = &settings->siit[i];
        if (eam_to6(claim->siit->eam, destination, &claim->destination.ipv6))
            return true;
        if (any == NULL && has_prefix(claim->siit))
            any = claim->siit;
    }
    if (any == NULL)
        return false;
    claim->siit = any;
    claim->by_prefix = true;
    claim->destination.ipv6 = rfc6052_embed(&any->prefix, destination);
    return true;
}

bool siit_ipv4_of(const struct settings *settings, const struct ipv6_address *address, be32 *ipv4)
{
    struct siit_claim claim;
    if (!claim6(settings, address, &claim))
        return false;
    *ipv4 = claim.destination.ipv4;
    return true;
}

bool siit_claim(const struct settings *settings, const uint8_t *data, struct siit_claim *claim)
{
    claim->turned = false;
    if (data[0] >> 4 == 6)
        return claim6(settings, &((const struct ipv6_header *)data)->destination, claim);
    return claim4(settings, ((const struct ipv4_header *)data)->destination, claim);
}

/* --- from IPv4 ----------------------------------------------------------------------------------- */

/* A packet on its way through a policy. */
struct passage {
    struct worker *worker;
    struct packet *packet;
    const struct description *description;
    struct siit_claim *claim;
    const struct translation_settings *settings;
    bool returns; /* from IPv4: RFC 7757 section 4.2.1 holds */
};

static const void *quoted_header(const struct passage *passage)
{
    return packet_data(passage->packet) + passage->description->transport + sizeof(struct icmp_header);
}

/*
 * All three addresses but the destination of the error, which claims it. The source may be one that no packet
 * may come from: translated all the same, to find out what is wrong (RFC 7915 section 4.1).
 * rfc: 7915-4.1-l, 7757-3.2-c, 7757-4.2.1-b, 7757-4.2.1-c
 */
static enum verdict incoming_error(const struct passage *passage, const struct ipv4_header *outer)
{
    const struct siit_settings *siit = passage->claim->siit;
    struct description quoted;
    enum verdict verdict = describe_quoted(passage->packet, passage->description, &quoted);
    if (verdict != VERDICT_COUNT)
        return verdict;
    const struct ipv4_header *inner = quoted_header(passage);
    bool from_target = outer->source == inner->destination; /* rule 3 */
    struct error_endpoints6 to = {
        .to.destination = passage->claim->destination.ipv6,
        .quoted_to = {.source_port = quoted.source_port, .destination_port = quoted.destination_port}};
    enum way source = to_ipv6(siit, true, inner->source, &to.quoted_to.source);
    enum way destination = to_ipv6(siit, !passage->returns, inner->destination, &to.quoted_to.destination);
    if (to_ipv6(siit, !(passage->returns && from_target), outer->source, &to.to.source) == WAY_NONE ||
        source == WAY_NONE || destination == WAY_NONE)
        return VERDICT_UNMAPPED;
    if (is_forbidden(siit, source, inner->source) || is_forbidden(siit, destination, inner->destination))
        return VERDICT_NON_GLOBAL;
    return translate_error_4to6(passage->packet, passage->description, &quoted, &to, passage->settings);
}

/*
 * A number that means an extension header or ICMP in IPv6 is no transport protocol of IPv4: passed on, the
 * payload would be taken for what it never was.
 * rfc: 7915-4.1-i
 */
static bool means_else_in_ipv6(uint8_t protocol)
{
    switch (protocol) {
    case PROTOCOL_HOP_BY_HOP:
    case PROTOCOL_ROUTING:
    case PROTOCOL_FRAGMENT:
    case PROTOCOL_DESTINATION_OPTIONS:
    case PROTOCOL_ICMPV6:
        return true;
    default:
        return false;
    }
}

/* rfc: 7757-4.2.1-a */
static enum verdict incoming(const struct passage *passage)
{
    const struct ipv4_header *header = (const void *)packet_data(passage->packet);
    const struct description *description = passage->description;
    const struct siit_claim *claim = passage->claim;
    if (ipv4_illegal_source(header->destination))
        return VERDICT_BAD_DESTINATION;
    if (is_forbidden(claim->siit, claim->by_prefix ? WAY_PREFIX : WAY_MAPPING, header->destination))
        return VERDICT_NON_GLOBAL;
    if (description->kind == PACKET_ICMP_ERROR && !description->fragmented)
        return incoming_error(passage, header);
    if (ipv4_illegal_source(header->source))
        return VERDICT_BAD_SOURCE;
    if (description->kind >= PACKET_FRAGMENT && means_else_in_ipv6(description->protocol))
        return VERDICT_PROTOCOL;
    struct endpoints6 to = {.destination = claim->destination.ipv6,
                            .source_port = description->source_port,
                            .destination_port = description->destination_port};
    enum way way = to_ipv6(claim->siit, !passage->returns, header->source, &to.source);
    if (way == WAY_NONE)
        return VERDICT_UNMAPPED;
    if (is_forbidden(claim->siit, way, header->source))
        return VERDICT_NON_GLOBAL;
    return translate_4to6(passage->packet, description, &to, passage->settings);
}

/* --- from IPv6 ----------------------------------------------------------------------------------- */

/*
 * Between two networks of one family no MTU of the other matters; whether the next hop takes the packet the
 * kernel will find out.
 */
static struct translation_settings settings_of_hairpin(const struct translation_settings *settings)
{
    struct translation_settings hairpin = *settings;
    hairpin.mtu6 = hairpin.mtu4 = hairpin.lowest_ipv6_mtu = PACKET_MAXIMUM;
    hairpin.paths6 = hairpin.paths4 = NULL;
    return hairpin;
}

/* The second pass may refuse what the first has rewritten. */
static void before_turning(const struct passage *passage)
{
    if (is_captured(passage->worker))
        capture_before_rewriting(passage->worker, passage->packet);
}

/*
 * The second pass: what has just become IPv4 becomes IPv6 again. The hop that it is about to lose it is given
 * before, since it lost one already (RFC 7757 section 4.2.2); the header's checksum is read by nobody.
 * rfc: 7757-4.2.2-b, 7757-4.2.2-c
 */
static enum verdict turn_round(const struct passage *first)
{
    struct ipv4_header *header = (void *)packet_data(first->packet);
    struct description description;
    struct siit_claim claim = {.siit = first->claim->siit};
    struct passage second = *first;
    enum verdict verdict = packet_describe(first->packet, &description);
    if (verdict != VERDICT_COUNT)
        return verdict;
    first->claim->turned = true;
    header->ttl++;
    second.description = &description;
    second.claim = &claim;
    second.returns = true;
    claim.by_prefix = to_ipv6(claim.siit, true, header->destination, &claim.destination.ipv6) != WAY_MAPPING;
    verdict = incoming(&second);
    return verdict == VERDICT_TRANSLATED_4TO6 ? VERDICT_TRANSLATED_HAIRPIN : verdict;
}

/* rfc: 7757-3.2-c, 7757-4.2.2-a */
static enum verdict outgoing_error(const struct passage *passage, const struct ipv6_header *outer)
{
    const struct siit_settings *siit = passage->claim->siit;
    struct translation_settings hairpin;
    struct passage turning = *passage;
    struct description quoted;
    enum verdict verdict = describe_quoted(passage->packet, passage->description, &quoted);
    if (verdict != VERDICT_COUNT)
        return verdict;
    const struct ipv6_header *inner = quoted_header(passage);
    struct error_endpoints4 to = {
        .to.destination = passage->claim->destination.ipv4,
        .quoted_to = {.source_port = quoted.source_port, .destination_port = quoted.destination_port}};
    enum way source = to_ipv4(siit, &inner->source, &to.quoted_to.source);
    enum way destination = to_ipv4(siit, &inner->destination, &to.quoted_to.destination);
    enum way hop = to_ipv4(siit, &outer->source, &to.to.source);
    if (hop == WAY_NONE || is_forbidden(siit, hop, to.to.source) || ipv4_illegal_source(to.to.source))
        to.to.source = source_for_hop(siit, &outer->source);
    if (source == WAY_NONE || destination == WAY_NONE || to.to.source == 0)
        return VERDICT_UNMAPPED;
    if (is_forbidden(siit, source, to.quoted_to.source) ||
        is_forbidden(siit, destination, to.quoted_to.destination))
        return VERDICT_NON_GLOBAL;
    bool turns = siit->hairpin == SIIT_HAIRPIN_INTRINSIC && source == WAY_PREFIX &&
                 is_mapped(siit, to.quoted_to.source);
    if (turns) {
        before_turning(passage);
        hairpin = settings_of_hairpin(passage->settings);
        turning.settings = &hairpin;
    }
    verdict = translate_error_6to4(passage->packet, passage->description, &quoted, &to, turning.settings);
    return turns && verdict == VERDICT_TRANSLATED_6TO4 ? turn_round(&turning) : verdict;
}

/*
 * A packet for a host that has a mapping itself.
 * rfc: 7757-4.2-a
 */
static enum verdict hairpin(const struct passage *passage, const struct endpoints4 *to)
{
    const struct translation_settings settings = settings_of_hairpin(passage->settings);
    struct passage turning = *passage;
    if (is_forbidden(passage->claim->siit, WAY_PREFIX, to->source))
        return VERDICT_NON_GLOBAL;
    turning.settings = &settings;
    before_turning(passage);
    enum verdict verdict = translate_6to4(passage->packet, passage->description, to, &settings,
                                          next_identification(passage->worker, passage->packet));
    return verdict == VERDICT_TRANSLATED_6TO4 ? turn_round(&turning) : verdict;
}

/* What is wrong with a destination under the prefix. */
static enum verdict judge_destination(const struct siit_claim *claim, const struct ipv6_header *header)
{
    if (claim->by_prefix && !rfc6052_embeds(&claim->siit->prefix, &header->destination))
        return VERDICT_EMBEDDED_BITS;
    if (ipv4_illegal_source(claim->destination.ipv4))
        return VERDICT_BAD_DESTINATION;
    if (is_forbidden(claim->siit, claim->by_prefix ? WAY_PREFIX : WAY_MAPPING, claim->destination.ipv4))
        return VERDICT_NON_GLOBAL;
    return VERDICT_COUNT;
}

/* rfc: 7757-3.2-c, 7757-4.2.2-a */
static enum verdict outgoing(const struct passage *passage)
{
    const struct ipv6_header *header = (const void *)packet_data(passage->packet);
    const struct description *description = passage->description;
    const struct siit_claim *claim = passage->claim;
    if (ipv6_illegal_source(&header->source) || ipv6_is_link_local(&header->source))
        return VERDICT_BAD_SOURCE;
    enum verdict verdict = judge_destination(claim, header);
    if (verdict != VERDICT_COUNT)
        return verdict;
    if (description->kind == PACKET_ICMP_ERROR && !description->fragmented)
        return outgoing_error(passage, header);
    if (description->kind >= PACKET_FRAGMENT && description->protocol == PROTOCOL_ICMPV4)
        return VERDICT_PROTOCOL;
    struct endpoints4 to = {.destination = claim->destination.ipv4,
                            .source_port = description->source_port,
                            .destination_port = description->destination_port};
    enum way way = to_ipv4(claim->siit, &header->source, &to.source);
    if (way == WAY_NONE)
        return VERDICT_UNMAPPED;
    if (ipv4_illegal_source(to.source))
        return VERDICT_BAD_SOURCE;
    if (is_forbidden(claim->siit, way, to.source))
        return VERDICT_NON_GLOBAL;
    if (claim->siit->hairpin == SIIT_HAIRPIN_INTRINSIC && claim->by_prefix &&
        is_mapped(claim->siit, to.destination))
        return hairpin(passage, &to);
    return translate_6to4(passage->packet, description, &to, passage->settings,
                          next_identification(passage->worker, passage->packet));
}

enum verdict siit_translate(struct worker *worker, struct packet *packet,
                            const struct description *description, struct siit_claim *claim)
{
    struct passage passage = {.worker = worker,
                              .packet = packet,
                              .description = description,
                              .claim = claim,
                              .settings = &worker->translation,
                              .returns = claim->siit->hairpin == SIIT_HAIRPIN_SIMPLE};
    return description->version == 6 ? outgoing(&passage) : incoming(&passage);
}
