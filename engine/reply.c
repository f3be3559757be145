/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets that the engine makes itself, into the worker's output queue: ICMP errors and TCP probes.
 *
 * The rate of ICMP errors is one for the whole engine (RFC 4443 section 2.4 (f), RFC 7915 sections 4.4
 * and 5.4). It is kept as one number, the time at which the bucket would be full again: an error moves it on
 * by 1/rate of a second and is sent if that is not more than one second ahead. Most errors only save their
 * receiver time; path MTU discovery does not work without its own. So the last quarter of the bucket is for
 * those, and whoever provokes other errors, from either side, cannot keep them back.
 */
#include "engine/icmp_reply.h"
#include "engine/siit.h"
#include "engine/worker.h"

#include "wire/checksum.h"
#include "wire/transport.h"

enum { RESERVE_RATE = 8 }; /* with fewer errors a second a quarter of them is too little to divide */

/* rfc: 7915-4.4-b, 4443-2.4-f, 4443-2.4-g, 5508-REQ9-a, 5508-REQ10-h, 5382-REQ4-d, 6146-5.3-a */
static bool rate_allows(struct worker *worker, enum verdict why)
{
    uint64_t *arrival = &worker->engine->icmp_arrival;
    uint32_t rate = worker->settings->translation.icmp_errors_per_second;
    bool needed = why == VERDICT_TOO_BIG_IPV6 || why == VERDICT_TOO_BIG_IPV4;
    uint64_t ahead = needed || rate < RESERVE_RATE ? NANOSECONDS : NANOSECONDS - NANOSECONDS / 4;
    if (rate == 0)
        return false;
    for (unsigned tries = 0; tries < CREATE_TRIES; tries++) {
        uint64_t full = atomic_load64(arrival);
        uint64_t next = (full > worker->now ? full : worker->now) + NANOSECONDS / rate;
        if (next > worker->now + ahead)
            return false;
        if (atomic_swap_if64(arrival, full, next))
            return true;
    }
    return false;
}

/* The buffer behind the queue's last packet, as a packet to build into; false: the queue is full. */
static bool next_output(struct worker *worker, struct packet *packet)
{
    struct output *output = &worker->output;
    if (output->count == OUTPUT_QUEUE)
        return false;
    uint32_t place = (output->first + output->count) % OUTPUT_QUEUE;
    *packet = (struct packet){.buffer = output->packet[place].bytes, .capacity = OUTPUT_PACKET};
    return true;
}

static void commit_output(struct worker *worker, const struct packet *packet, enum verdict why)
{
    struct output *output = &worker->output;
    uint32_t place = (output->first + output->count) % OUTPUT_QUEUE;
    output->packet[place].length = packet->length;
    output->packet[place].why = why;
    output->count++;
}

/* The nat64 instance that a packet concerns, as far as its addresses tell; -1 if they do not. */
static int concerned_instance(const struct worker *worker, const struct packet *packet,
                              const struct description *description)
{
    if (description->version == 6)
        return instance_of(worker->settings, &((const struct ipv6_header *)packet_data(packet))->destination);
    int there = pool_find(worker->rules, load_be32(packet_data(packet) + 16));
    return there >= 0 ? worker->rules->pool.address[there].instance : -1;
}

/*
 * The addresses of the instance that a packet concerns.
 * rfc: 4443-2.2-a
 */
static struct icmp_sources concerned_sources(const struct worker *worker, const struct packet *packet,
                                             const struct description *description)
{
    int instance = concerned_instance(worker, packet, description);
    struct siit_claim claim;
    if (instance < 0 && siit_claim(worker->settings, packet_data(packet), &claim))
        return (struct icmp_sources){.address6 = claim.siit->address6, .address4 = claim.siit->address4};
    for (uint32_t i = 0; instance < 0 && i < worker->settings->nat64_count; i++)
        instance = worker->settings->nat64[i].prefix.length != 0 ? (int)i : -1;
    const struct nat64_settings *nat64 = &worker->settings->nat64[instance >= 0 ? instance : 0];
    return (struct icmp_sources){.address6 = nat64->address6, .address4 = nat64->address4};
}

static bool has_source(const struct icmp_sources *sources, uint8_t version)
{
    static const struct ipv6_address none;
    return version == 6 ? !ipv6_equal(&sources->address6, &none) : sources->address4 != 0;
}

void reply_error(struct worker *worker, const struct packet *packet, const struct description *description,
                 enum verdict why)
{
    if (!icmp_reply_due(packet, description, why))
        return;
    struct icmp_sources sources = concerned_sources(worker, packet, description);
    struct packet reply;
    if (!has_source(&sources, description->version) || !next_output(worker, &reply) ||
        !rate_allows(worker, why) ||
        !icmp_reply_build(&reply, packet, description, why, &sources, &worker->translation)) {
        atomic_count(&worker->counters.icmp_errors_suppressed, 1);
        return;
    }
    commit_output(worker, &reply, why);
    atomic_count(&worker->counters.icmp_errors_sent, 1);
}

bool reply_has_room(const struct worker *worker)
{
    return worker->output.count < OUTPUT_QUEUE;
}

/* rfc: 6146-3.5.2.2-x */
void reply_probe(struct worker *worker, const struct record *record)
{
    struct packet packet;
    if (!next_output(worker, &packet))
        return;
    const struct nat64_settings *nat64 = &worker->settings->nat64[record->instance];
    struct ipv6_header ip = {.version_class_label = ipv6_first_word(0),
                             .payload_length = to_be16(sizeof(struct tcp_header)),
                             .next_header = PROTOCOL_TCP,
                             .hop_limit = 64,
                             .source = rfc6052_embed(&nat64->prefix, record->remote),
                             .destination = record->client};
    struct tcp_header tcp = {.source = record->remote_port,
                             .destination = record->client_port,
                             .data_offset = (sizeof(struct tcp_header) / 4) << 4,
                             .flags = TCP_ACK};
    uint64_t sum = checksum_pseudo_tail(sizeof(tcp), PROTOCOL_TCP);
    sum = checksum_add_address(sum, &ip.source);
    sum = checksum_add_address(sum, &ip.destination);
    sum = checksum_add_bytes(sum, &tcp, sizeof(tcp));
    tcp.checksum = (be16)~checksum_fold(sum);
    __builtin_memcpy(packet.buffer, &ip, sizeof(ip));
    __builtin_memcpy(packet.buffer + sizeof(ip), &tcp, sizeof(tcp));
    packet.length = sizeof(ip) + sizeof(tcp);
    commit_output(worker, &packet, VERDICT_COUNT);
    atomic_count(&worker->counters.probes_sent, 1);
}

bool reply_pull(struct worker *worker, struct packet *packet)
{
    struct output *output = &worker->output;
    if (output->count == 0)
        return false;
    packet->length = output->packet[output->first].length;
    packet->offload = (struct offload){0};
    __builtin_memcpy(packet_data(packet), output->packet[output->first].bytes, packet->length);
    if (is_captured(worker))
        capture_made(worker, packet, output->packet[output->first].why);
    output->first = (output->first + 1) % OUTPUT_QUEUE;
    output->count--;
    return true;
}
