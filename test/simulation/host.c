/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hosts. They take what is for them apart and believe nothing: lengths, checksums, addresses, hops, traffic
 * class, and of ICMP errors every byte that is quoted. They learn path MTUs (RFC 1191, RFC 8201), fragment
 * what is longer, and put together what comes in fragments.
 */
#include "test/engine/packets.h"
#include "test/simulation/world.h"

/* Fails unless the condition holds. */
static void must(struct world *world, bool condition, const struct exchange *exchange, const char *what)
{
    if (!condition)
        world_fails(world, "%s%s%s", exchange != NULL ? exchange_name(exchange) : "",
                    exchange != NULL ? ": " : "", what);
}

static bool is_error(const struct ip *ip)
{
    if (ip->protocol == IP_ICMPV4)
        return ip->payload[0] != 0 && ip->payload[0] != 8;
    return ip->protocol == IP_ICMPV6 && ip->payload[0] < 128;
}

/* --- sending ------------------------------------------------------------------------------------ */

uint32_t host_path_mtu(const struct host *host, const struct address *to)
{
    uint32_t mtu = host->mtu.host;
    for (unsigned i = 0; i < PATHS_KNOWN; i++)
        if (host->known[i].mtu != 0 && host->known[i].mtu < mtu && address_equal(&host->known[i].to, to))
            mtu = host->known[i].mtu;
    return mtu;
}

static void learn_path(struct host *host, const struct address *to, uint32_t mtu)
{
    for (unsigned i = 0; i < PATHS_KNOWN; i++)
        if (host->known[i].mtu != 0 && address_equal(&host->known[i].to, to)) {
            host->known[i].mtu = mtu;
            return;
        }
    host->known[host->known_next++ % PATHS_KNOWN] = (struct path_known){*to, mtu};
}

struct sending {
    struct world *world;
    struct host *host;
};

static void send_piece(void *context, const struct ip *ip)
{
    const struct sending *sending = context;
    wire_from_host(sending->world, sending->host, ip);
}

void host_send(struct end *end, uint8_t protocol, uint8_t *payload, uint32_t length)
{
    struct exchange *exchange = end->exchange;
    struct world *world = exchange->world;
    struct host *host = end->host;
    struct ip ip = {.source = host->address,
                    .destination = end->remote,
                    .protocol = protocol,
                    .hops = HOPS,
                    .tos = exchange->tos,
                    .df = host->side == SIDE4 && (protocol == IP_TCP || exchange->number % 2 == 0),
                    .identification = (uint32_t)random_next(&world->random),
                    .label = host->side == SIDE6 ? dice(world, 1 << 20) : 0,
                    .payload = payload,
                    .length = length,
                    .stated = length};
    uint32_t mtu = host_path_mtu(host, &end->remote);
    if (host->side == SIDE4)
        ip.identification &= 0xffff;
    ip_seal(&ip, payload);
    if (protocol == IP_UDP && exchange->without_checksum && host->side == SIDE4)
        put(payload + 6, 2, 0);
    if (ip_length(&ip) + 8 <= mtu && !is_error(&ip) && chance(world, 50)) /* errors must not be cut later */
        ip.options = 8;
    if (ip_length(&ip) <= mtu) {
        wire_from_host(world, host, &ip);
        return;
    }
    must(world, protocol != IP_TCP, exchange, "a segment is longer than the path takes");
    ip.df = false;
    ip_cut(&ip, mtu, send_piece, &(struct sending){world, host});
}

/* --- what every packet must have ---------------------------------------------------------------- */

static bool is_hairpin(const struct exchange *exchange)
{
    return exchange->relation == RELATION_NAT64_HAIRPIN || exchange->relation == RELATION_SIIT_HAIRPIN;
}

/* Passes through the engine on the way. */
static unsigned passes(const struct exchange *exchange)
{
    const struct settings *settings = &exchange->world->gateway.settings[0];
    bool simple = settings->siit[0].hairpin == SIIT_HAIRPIN_SIMPLE;
    return exchange->relation == RELATION_NAT64_HAIRPIN ||
                   (exchange->relation == RELATION_SIIT_HAIRPIN && simple)
               ? 2
               : 1;
}

static uint8_t expected_tos(const struct end *end)
{
    const struct exchange *exchange = end->exchange;
    const struct translation_settings *translation = &exchange->world->gateway.settings[0].translation;
    bool six = end->host->side == SIDE6;
    uint8_t tos = exchange->tos;
    if ((!six || is_hairpin(exchange)) && translation->tos >= 0)
        tos = (uint8_t)translation->tos;
    return six && translation->zeroize_traffic_class ? 0 : tos;
}

static void check_header(const struct end *end, const struct ip *ip, bool cut)
{
    const struct exchange *exchange = end->exchange;
    struct world *world = exchange->world;
    must(world, ip->hops == HOPS - 2 - passes(exchange), exchange, "a wrong hop limit");
    must(world, ip->tos == expected_tos(end), exchange, "a wrong traffic class");
    must(world, ip->label == 0, exchange, "a flow label that nobody set");
    bool long_one = ip_length(ip) > IPV4_FRAGMENTABLE_MTU;
    bool joined = world->plan.offloads != 0 && exchange->kind == EXCHANGE_TCP; /* with longer segments */
    if (end->host->side == SIDE4 && !cut && !(joined && ip->df))
        must(world, ip->df == long_one, exchange, "a wrong DF");
}

/* --- ICMP errors ---------------------------------------------------------------------------------- */

/* The address that another side's address has here. */
static bool is_seen_as(const struct world *world, const struct address *here, const struct address *there)
{
    struct address by64 = address_embed(&world->prefix64, there);
    struct address by65 = address_embed(&world->prefix65, there);
    return address_equal(here, &by64) || address_equal(here, &by65) || address_equal(here, there);
}

/* May an error about this end's packets come from there? */
static bool may_complain(const struct end *end, const struct address *source)
{
    struct world *world = end->exchange->world;
    uint32_t number = address_number(source);
    if (address_equal(source, &end->remote) || address_equal(source, &end->host->router))
        return true;
    for (unsigned i = 0; i < world->host_count; i++)
        if (world->hosts[i].side == SIDE4 && is_seen_as(world, source, &world->hosts[i].router))
            return true;
    struct address four = address_of4(number);
    bool own =
        (number >= 0xc00002f8u && number <= 0xc00002fbu) || number == 0xc00002fdu || number == 0xc00002feu;
    if (source->version == 4 || (own && is_seen_as(world, source, &four)))
        return own;
    return source->bytes[5] == 0x0f && (source->bytes[15] == 1 || source->bytes[15] == 2);
}

/* RFC 1191 section 7.1 */
static uint32_t plateau_below(uint32_t length)
{
    static const uint32_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};
    for (unsigned i = 0; i < sizeof(plateaus) / sizeof(plateaus[0]); i++)
        if (plateaus[i] < length)
            return plateaus[i];
    return 68;
}

static void narrow_path(struct end *end, const struct ip *quoted, uint32_t mtu)
{
    struct world *world = end->exchange->world;
    uint32_t length = ip_length(quoted) - quoted->length + quoted->stated;
    if (mtu == 0 && end->host->side == SIDE4)
        mtu = plateau_below(length);
    must(world, mtu < length, end->exchange, "an MTU that the packet did not exceed");
    must(world, mtu >= (end->host->side == SIDE6 ? 1280 : 68), end->exchange, "an impossible MTU");
    if (mtu >= host_path_mtu(end->host, &end->remote))
        return; /* this is known already */
    learn_path(end->host, &end->remote, mtu);
    if (end->exchange->kind == EXCHANGE_TCP)
        tcp_again(end);
    else
        datagram_again(end->exchange);
}

static enum outcome outcome_of(const struct host *host, uint8_t type, uint8_t code)
{
    if (host->side == SIDE6 && type == 1)
        return code == 0 || code == 3 ? OUTCOME_NO_HOST : code == 4 ? OUTCOME_NO_PORT : OUTCOME_NONE;
    if (host->side == SIDE4 && type == 3)
        return code <= 1    ? OUTCOME_NO_HOST
               : code == 3  ? OUTCOME_NO_PORT
               : code == 13 ? OUTCOME_FILTERED
                            : OUTCOME_NONE;
    return OUTCOME_NONE;
}

static void take_error(struct end *end, const struct ip *ip, const struct ip *quoted)
{
    struct world *world = end->exchange->world;
    uint8_t type = ip->payload[0], code = ip->payload[1];
    bool six = end->host->side == SIDE6;
    const char *wrong = end->exchange->kind == EXCHANGE_TCP ? tcp_check_quoted(end, quoted)
                                                            : datagram_check_quoted(end, quoted);
    must(world, may_complain(end, &ip->source), end->exchange, "an error from who has nothing to say");
    if (wrong != NULL)
        world_fails(world, "%s: an error quotes %s", exchange_name(end->exchange), wrong);
    world->errors_received++;
    if (six ? type == 2 : type == 3 && code == 4) {
        narrow_path(end, quoted, be(ip->payload + (six ? 4 : 6), six ? 4 : 2));
        return;
    }
    if (type == (six ? 3 : 11) && code == 1 && end->exchange->kind != EXCHANGE_TCP)
        return; /* not all fragments have come in time */
    enum outcome outcome = outcome_of(end->host, type, code);
    if (outcome == OUTCOME_NONE)
        world_fails(world, "%s: an error of type %u, code %u", exchange_name(end->exchange), type, code);
    if (end->outcome == OUTCOME_NONE && outcome == end->exchange->expected && end->number == 0)
        exchange_ended(end, outcome);
    else
        must(world, end->exchange->tolerates == outcome || end->outcome == outcome, end->exchange,
             "an error that has no cause");
}

static enum exchange_kind kind_of(uint8_t protocol)
{
    return protocol == IP_TCP ? EXCHANGE_TCP : protocol == IP_UDP ? EXCHANGE_UDP : EXCHANGE_PING;
}

static void receive_error(struct world *world, struct host *host, const struct ip *ip)
{
    struct ip quoted, turned;
    uint16_t ports[2];
    must(world, ip->length >= 8 + 28, NULL, "an ICMP error quotes next to nothing");
    const char *wrong = ip_read(&quoted, ip->payload + 8, ip->length - 8, true);
    if (wrong == NULL && quoted.length < 8)
        wrong = "too little";
    if (wrong != NULL)
        world_fails(world, "an ICMP error quotes %s", wrong);
    bool query = quoted.protocol == IP_ICMPV4 || quoted.protocol == IP_ICMPV6;
    turned = quoted;
    turned.source = quoted.destination;
    turned.destination = quoted.source;
    ports[0] = (uint16_t)be(quoted.payload + (query ? 4 : 2), 2);
    ports[1] = (uint16_t)be(quoted.payload + (query ? 4 : 0), 2);
    struct end *end = exchange_find(world, host, kind_of(quoted.protocol), &turned, ports);
    must(world, end != NULL, NULL, "an ICMP error about a packet that nobody sent");
    take_error(end, ip, &quoted);
}

/* --- receiving ------------------------------------------------------------------------------------ */

static bool is_probe(const struct host *host, const struct ip *ip)
{
    return host->kind == HOST_CLIENT && ip->protocol == IP_TCP && ip->length == 20 &&
           ip->payload[13] == 0x10 && be(ip->payload + 4, 4) == 0 && be(ip->payload + 8, 4) == 0;
}

/* The upper-layer protocol's part: ports of sender and receiver. False: of two packets' fragments mixed up.
 */
static bool read_ports(struct world *world, const struct ip *ip, bool cut, uint16_t ports[2])
{
    bool query = ip->protocol == IP_ICMPV4 || ip->protocol == IP_ICMPV6;
    uint32_t least = ip->protocol == IP_TCP ? 20 : 8;
    if (ip->protocol != IP_TCP && ip->protocol != IP_UDP && !query)
        world_fails(world, "a host got a packet of protocol %u", ip->protocol);
    must(world, ip->length >= least, NULL, "a transport header is cut off");
    if (ip->protocol == IP_UDP) {
        must(world, be(ip->payload + 4, 2) == ip->length, NULL, "a wrong UDP length");
        must(world, be(ip->payload + 6, 2) != 0, NULL, "a UDP packet came without a checksum");
    }
    if (ip_sum(ip) != 0xffff && cut && ip->source.version == 4) {
        world->mixed++; /* 16 bits of identification are few for all who share an address */
        return false;
    }
    if (ip_sum(ip) != 0xffff)
        world_fails(world, "a wrong checksum: protocol %u, %u bytes", ip->protocol, ip->length);
    ports[0] = (uint16_t)be(ip->payload + (query ? 4 : 0), 2);
    ports[1] = (uint16_t)be(ip->payload + (query ? 4 : 2), 2);
    return true;
}

void host_receive(struct world *world, struct host *host, const uint8_t *bytes, uint32_t length)
{
    struct ip ip;
    uint16_t ports[2];
    const char *wrong = ip_read(&ip, bytes, length, false);
    bool cut = ip.fragmented;
    if (wrong != NULL)
        world_fails(world, "a host got a packet with %s", wrong);
    must(world, address_equal(&ip.destination, &host->address), NULL, "a packet came to the wrong host");
    must(world, ip.options == 0, NULL, "options of the other family came through");
    if (cut && !assembly_add(&host->assemblies, &ip, world->clock.now))
        return;
    if (!read_ports(world, &ip, cut, ports))
        return;
    if (is_error(&ip)) {
        receive_error(world, host, &ip);
        return;
    }
    struct end *end = exchange_find(world, host, kind_of(ip.protocol), &ip, ports);
    if (end == NULL && is_probe(host, &ip))
        return;
    if (end == NULL)
        world_fails(world, "a packet for nobody: protocol %u, port %u to %u", ip.protocol, ports[0],
                    ports[1]);
    if (is_probe(host, &ip)) {
        world->gateway.probes++;
        tcp_probed(end);
        return;
    }
    check_header(end, &ip, cut);
    if (end->exchange->kind == EXCHANGE_TCP)
        tcp_receive(end, &ip);
    else
        datagram_receive(end, &ip);
}
