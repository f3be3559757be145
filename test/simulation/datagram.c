/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Questions and answers in single datagrams: UDP, and ping. A question without an answer is asked again. The
 * first byte of UDP data is the round, so that late answers are known as such; a ping has it in its length.
 */
#include "test/engine/packets.h"
#include "test/simulation/world.h"

enum {
    HEADER = 8,
};

static const uint64_t first_patience = 700 * MILLISECOND, longest_patience = 3 * SECOND;

/* Bytes of a message in a round: rounds differ, as far as there is room. */
static uint32_t size_of(const struct exchange *exchange, unsigned from, uint32_t round)
{
    uint32_t size = exchange->size[from];
    return size > round ? size - round : size;
}

static void fill(const struct exchange *exchange, unsigned from, uint32_t round, uint8_t *data)
{
    uint32_t size = size_of(exchange, from, round);
    if (exchange->kind == EXCHANGE_PING)
        from = 0; /* the answer is the question */
    for (uint32_t i = 0; i < size; i++)
        data[i] = exchange_byte(exchange, from, round * 1000 + i);
    if (exchange->kind == EXCHANGE_UDP && size > 0)
        data[0] = (uint8_t)round;
}

static uint8_t protocol_of(const struct end *end)
{
    if (end->exchange->kind == EXCHANGE_UDP)
        return IP_UDP;
    return end->host->side == SIDE6 ? IP_ICMPV6 : IP_ICMPV4;
}

static uint8_t ping_type(const struct end *end, bool answer)
{
    return end->host->side == SIDE6 ? (answer ? 129 : 128) : (answer ? 0 : 8);
}

static void send_message(struct end *end, uint32_t round)
{
    struct exchange *exchange = end->exchange;
    uint32_t length = HEADER + size_of(exchange, end->number, round);
    uint8_t *bytes = calloc(1, length);
    if (bytes == NULL)
        abort();
    if (exchange->kind == EXCHANGE_UDP) {
        put(bytes, 2, end->port);
        put(bytes + 2, 2, end->remote_port);
        put(bytes + 4, 2, length);
    } else {
        bytes[0] = ping_type(end, end->number == 1);
        put(bytes + 4, 2, end->port != 0 ? end->port : end->remote_port);
        put(bytes + 6, 2, exchange->number);
    }
    fill(exchange, end->number, round, bytes + HEADER);
    host_send(end, protocol_of(end), bytes, length);
    free(bytes);
}

/* --- asking --------------------------------------------------------------------------------------- */

static void wake(void *context, void *argument);

static void ask(struct exchange *exchange)
{
    struct clock *clock = &exchange->world->clock;
    exchange->timer = clock->now + exchange->patience;
    clock_enter(clock, &(struct event){.time = exchange->timer, .act = wake, .argument = exchange});
    send_message(&exchange->end[0], exchange->round);
}

static void wake(void *context, void *argument)
{
    struct world *world = context;
    struct exchange *exchange = argument;
    if (!exchange->used || exchange->timer != world->clock.now || exchange_is_over(exchange))
        return;
    if (exchange->patience * 2 <= longest_patience)
        exchange->patience *= 2;
    ask(exchange);
}

void datagram_begin(struct exchange *exchange)
{
    exchange->patience = first_patience;
    ask(exchange);
}

/* The error tells which of the two must send shorter ones; an answer will be asked for again. */
void datagram_again(struct exchange *exchange)
{
    if (!exchange_is_over(exchange) && exchange->timer > exchange->world->clock.now &&
        exchange->timer - exchange->world->clock.now <= longest_patience)
        ask(exchange);
}

static void ask_next(struct exchange *exchange)
{
    struct clock *clock = &exchange->world->clock;
    if (++exchange->round == exchange->rounds) {
        exchange_ended(&exchange->end[0], OUTCOME_DONE);
        return;
    }
    exchange->patience = first_patience;
    exchange->timer = clock->now + 1 + exchange->pause;
    clock_enter(clock, &(struct event){.time = exchange->timer, .act = wake, .argument = exchange});
}

/* --- receiving ------------------------------------------------------------------------------------ */

/* Is that what `from` sends in any round? Which one it is goes to *round. */
static bool is_message(const struct exchange *exchange, unsigned from, const uint8_t *data, uint32_t length,
                       uint32_t *round)
{
    static uint8_t expected[IP_LONGEST];
    for (*round = 0; *round < exchange->rounds; ++*round) {
        if (length != size_of(exchange, from, *round))
            continue;
        fill(exchange, from, *round, expected);
        if (memcmp(expected, data, length) == 0)
            return true;
    }
    return false;
}

static void refuse(struct end *end, const struct ip *ip)
{
    uint8_t bytes[1280], *whole = malloc(IP_LONGEST + 64);
    bool six = end->host->side == SIDE6;
    if (whole == NULL)
        abort();
    uint32_t length = ip_write(ip, whole), most = six ? 1280 - 48 : 576 - 28;
    uint32_t mtu = host_path_mtu(end->host, &end->remote); /* fragments of errors are not translated */
    if (!six && mtu < 576)
        most = mtu - 28;
    memset(bytes, 0, HEADER);
    bytes[0] = six ? 1 : 3;
    bytes[1] = six ? 4 : 3;
    memcpy(bytes + HEADER, whole, length < most ? length : most);
    free(whole);
    host_send(end, six ? IP_ICMPV6 : IP_ICMPV4, bytes, HEADER + (length < most ? length : most));
}

void datagram_receive(struct end *end, const struct ip *ip)
{
    struct exchange *exchange = end->exchange;
    const uint8_t *bytes = ip->payload;
    uint32_t round;
    if (exchange->kind == EXCHANGE_PING && (bytes[0] != ping_type(end, end->number == 0) || bytes[1] != 0))
        world_fails(exchange->world, "%s: a wrong ICMP type", exchange_name(exchange));
    if (!is_message(exchange, 1 - end->number, bytes + HEADER, ip->length - HEADER, &round))
        world_fails(exchange->world, "%s: %u bytes that nobody sent", exchange_name(exchange),
                    ip->length - HEADER);
    if (end->number == 1 && exchange->closed)
        refuse(end, ip);
    else if (end->number == 1)
        send_message(end, round);
    else if (round == exchange->round && exchange->timer <= exchange->world->clock.now + longest_patience)
        ask_next(exchange);
}

const char *datagram_check_quoted(const struct end *end, const struct ip *ip)
{
    static uint8_t expected[IP_LONGEST];
    const struct exchange *exchange = end->exchange;
    uint32_t data = ip->length - HEADER;
    bool whole = ip->length == ip->stated && !ip->fragmented;
    if (exchange->kind == EXCHANGE_UDP && !ip->fragmented && be(ip->payload + 4, 2) != ip->stated)
        return "a wrong UDP length";
    bool without = exchange->kind == EXCHANGE_UDP && be(ip->payload + 6, 2) == 0;
    /* The engine quotes what it received: with offloads half of a checksum. */
    if (whole && !without && exchange->world->plan.offloads == 0 && ip_sum(ip) != 0xffff)
        return "a wrong checksum";
    for (uint32_t round = 0; round < exchange->rounds; round++) {
        if (size_of(exchange, end->number, round) < data)
            continue;
        fill(exchange, end->number, round, expected);
        if (memcmp(expected, ip->payload + HEADER, data) == 0)
            return NULL;
    }
    return "other data than was sent";
}
