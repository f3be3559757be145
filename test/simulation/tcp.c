/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small TCP: real headers, a window, everything again from the first byte that is not acknowledged when
 * nothing comes for a while. Positions count from the SYN: it has position 0, the first byte of data 1, and
 * the FIN stands behind the last. Out of order nothing is kept.
 *
 * Both ends know beforehand what the other will send, so that a segment can be judged byte by byte, however
 * late it comes.
 */
#include "test/engine/packets.h"
#include "test/simulation/world.h"

enum {
    FIN = 0x01,
    SYN = 0x02,
    RST = 0x04,
    PUSH = 0x08,
    ACK = 0x10,
    HEADER = 20,
    MSS_OPTION = 4,
    SEGMENT = 9000,
};

static const uint64_t first_patience = 400 * MILLISECOND, longest_patience = 3 * SECOND;

static struct world *world_of(const struct end *end)
{
    return end->exchange->world;
}

static uint32_t ip_header(const struct end *end)
{
    return end->host->side == SIDE6 ? 40 : 20;
}

/* --- sending ------------------------------------------------------------------------------------ */

struct segment {
    uint32_t position, length; /* of data */
    uint8_t flags;
};

static void write_options(const struct end *end, uint8_t *bytes)
{
    bytes[12] = (HEADER + MSS_OPTION) / 4 << 4;
    bytes[HEADER] = 2;
    bytes[HEADER + 1] = MSS_OPTION;
    put(bytes + HEADER + 2, 2, end->host->mtu.host - ip_header(end) - HEADER);
}

static void send_segment(struct end *end, const struct segment *segment)
{
    const struct tcp *tcp = &end->tcp;
    uint8_t bytes[HEADER + MSS_OPTION + SEGMENT] = {0};
    bool syn = (segment->flags & SYN) != 0;
    uint32_t header = HEADER + (syn ? MSS_OPTION : 0);
    put(bytes, 2, end->port);
    put(bytes + 2, 2, end->remote_port);
    put(bytes + 4, 4, tcp->own_start + segment->position);
    if ((segment->flags & ACK) != 0)
        put(bytes + 8, 4, tcp->peer_start + tcp->got);
    bytes[12] = HEADER / 4 << 4;
    bytes[13] = segment->flags;
    put(bytes + 14, 2, 65535);
    if (syn)
        write_options(end, bytes);
    for (uint32_t i = 0; i < segment->length; i++)
        bytes[header + i] = exchange_byte(end->exchange, end->number, segment->position + i);
    host_send(end, IP_TCP, bytes, header + segment->length);
}

static uint8_t acknowledging(const struct end *end)
{
    return end->tcp.got > 0 ? ACK : 0;
}

static void send_nothing(struct end *end)
{
    send_segment(end, &(struct segment){.position = end->tcp.next, .flags = ACK});
}

static uint32_t room(const struct end *end)
{
    uint32_t room = host_path_mtu(end->host, &end->remote) - ip_header(end) - HEADER;
    return room < end->tcp.largest ? room : end->tcp.largest;
}

/* Up to where the application has given something to send by now. */
static uint32_t available(struct end *end)
{
    struct tcp *tcp = &end->tcp;
    uint32_t data = tcp->size + 1;
    uint64_t now = world_of(end)->clock.now;
    if (tcp->pause != 0 && tcp->acknowledged >= tcp->pause_at) {
        tcp->quiet_until = now + tcp->pause;
        tcp->pause = 0;
    }
    if (tcp->pause != 0 && tcp->pause_at < data)
        return tcp->pause_at;
    if (now < tcp->quiet_until)
        return tcp->acknowledged;
    bool may_close = !tcp->closes_second || tcp->got == tcp->peer_size + 2;
    return data + may_close;
}

static void wake(void *context, void *argument);

static void wake_at(struct end *end, uint64_t time)
{
    if (end->tcp.timer == time)
        return;
    end->tcp.timer = time;
    clock_enter(&world_of(end)->clock, &(struct event){.time = time, .act = wake, .argument = end});
}

static void set_timer(struct end *end)
{
    struct tcp *tcp = &end->tcp;
    uint64_t now = world_of(end)->clock.now;
    if (tcp->next > tcp->acknowledged || end->exchange->expected == OUTCOME_RESET)
        wake_at(end, now + tcp->patience);
    else if (now < tcp->quiet_until)
        wake_at(end, tcp->quiet_until);
    else
        tcp->timer = NEVER;
}

static void send_what_may(struct end *end)
{
    struct tcp *tcp = &end->tcp;
    uint32_t end_position = available(end), most = room(end);
    if (end_position > tcp->acknowledged + tcp->window)
        end_position = tcp->acknowledged + tcp->window;
    while (tcp->next < end_position) {
        struct segment segment = {.position = tcp->next, .flags = ACK};
        uint32_t data = tcp->size + 1 > tcp->next ? tcp->size + 1 - tcp->next : 0;
        uint32_t left = end_position - tcp->next;
        segment.length = data < left ? data : left;
        if (segment.length > most)
            segment.length = most;
        tcp->next += segment.length;
        if (tcp->next == tcp->size + 1 && tcp->next < end_position) {
            segment.flags |= FIN;
            tcp->next++;
        }
        send_segment(end, &segment);
    }
}

static void output(struct end *end)
{
    struct tcp *tcp = &end->tcp;
    if (end->outcome != OUTCOME_NONE || tcp->is_reset)
        return;
    if (tcp->acknowledged == 0) {
        send_segment(end, &(struct segment){.flags = SYN | acknowledging(end)});
        tcp->next = 1;
    } else if (tcp->got > 0) {
        send_what_may(end);
    }
    if (tcp->next > tcp->most)
        tcp->most = tcp->next;
    set_timer(end);
}

static void wake(void *context, void *argument)
{
    struct world *world = context;
    struct end *end = argument;
    struct tcp *tcp = &end->tcp;
    if (!end->exchange->used || tcp->timer != world->clock.now || end->outcome != OUTCOME_NONE)
        return;
    bool all = tcp->next == tcp->acknowledged;
    tcp->next = tcp->acknowledged;
    if (tcp->patience * 2 <= longest_patience)
        tcp->patience *= 2;
    if (all && tcp->got > 0 && end->exchange->expected == OUTCOME_RESET)
        send_nothing(end); /* is the other still there? */
    output(end);
}

void tcp_begin(struct end *end)
{
    if (end->tcp.next > 0)
        return; /* the other was faster */
    end->tcp.patience = first_patience;
    output(end);
}

void tcp_again(struct end *end)
{
    if (end->outcome != OUTCOME_NONE)
        return;
    end->tcp.next = end->tcp.acknowledged;
    output(end);
}

void tcp_probed(struct end *end)
{
    if (end->outcome == OUTCOME_NONE && !end->tcp.is_reset)
        send_nothing(end);
}

/* --- receiving ---------------------------------------------------------------------------------- */

/* What has arrived, in positions. */
struct arrived {
    uint8_t flags;
    uint32_t position, acknowledged, length;
    const uint8_t *data;
    uint32_t largest;
};

/* Takes a segment of `from` apart; what contradicts what that end can have sent is wrong. */
static const char *read_segment(const struct end *from, const struct ip *ip, struct arrived *arrived)
{
    const uint8_t *bytes = ip->payload;
    uint32_t header = (bytes[12] >> 4) * 4u;
    const struct tcp *tcp = &from->tcp;
    *arrived = (struct arrived){.flags = bytes[13], .position = be(bytes + 4, 4) - tcp->own_start};
    if (header < HEADER || header > ip->length)
        return "a segment with an impossible header";
    if ((arrived->flags & RST) == 0 && be(bytes + 14, 2) != 65535)
        return "a segment with another window";
    arrived->data = bytes + header;
    arrived->length = ip->length - header;
    if ((arrived->flags & ACK) != 0) {
        arrived->acknowledged = be(bytes + 8, 4) - tcp->peer_start;
        if (arrived->acknowledged > tcp->peer_size + 2)
            return "a segment that acknowledges what was not sent";
    }
    if (arrived->position + arrived->length > tcp->size + 2 || arrived->position > tcp->size + 2)
        return "a segment that is too far";
    if ((arrived->flags & SYN) != 0) {
        if (arrived->position != 0 || header != HEADER + MSS_OPTION || bytes[HEADER] != 2 ||
            bytes[HEADER + 1] != MSS_OPTION)
            return "a SYN that is none";
        arrived->largest = be(bytes + HEADER + 2, 2);
    }
    for (uint32_t i = 0; i < arrived->length; i++)
        if (arrived->data[i] != exchange_byte(from->exchange, from->number, arrived->position + i))
            return "a segment with wrong data";
    bool whole = ip->length == ip->stated; /* not so where it is quoted */
    if ((arrived->flags & FIN) != 0 && whole && arrived->position + arrived->length != tcp->size + 1)
        return "a FIN at the wrong place";
    return NULL;
}

static struct end *other(const struct end *end)
{
    return &end->exchange->end[1 - end->number];
}

/* The answer to what has no connection. */
static void refuse(struct end *end, const struct arrived *arrived)
{
    uint8_t bytes[HEADER] = {0};
    bool acked = (arrived->flags & ACK) != 0;
    if ((arrived->flags & RST) != 0)
        return;
    put(bytes, 2, end->port);
    put(bytes + 2, 2, end->remote_port);
    bytes[12] = HEADER / 4 << 4;
    bytes[13] = acked ? RST : RST | ACK;
    put(bytes + 4, 4, end->tcp.own_start + arrived->acknowledged);
    if (!acked)
        put(bytes + 8, 4,
            end->tcp.peer_start + arrived->position + arrived->length + ((arrived->flags & SYN) != 0) +
                ((arrived->flags & FIN) != 0));
    host_send(end, IP_TCP, bytes, HEADER);
}

static void take_reset(struct end *end, const struct arrived *arrived)
{
    struct tcp *tcp = &end->tcp;
    if (tcp->got == 0) {
        if (arrived->acknowledged == 1)
            exchange_ended(end, OUTCOME_REFUSED);
    } else if (arrived->position == tcp->got) {
        exchange_ended(end, OUTCOME_RESET);
    } /* else it is out of date, or early; what is sent again will bring another */
}

/* The application has had enough. */
static bool gives_up(struct end *end)
{
    struct tcp *tcp = &end->tcp;
    if (tcp->reset_at == 0 || tcp->got == 0 || tcp->acknowledged == 0)
        return false;
    send_segment(end, &(struct segment){.position = tcp->next, .flags = RST | ACK});
    tcp->is_reset = true;
    exchange_ended(end, OUTCOME_RESET);
    return true;
}

static void take_segment(struct end *end, const struct arrived *arrived)
{
    struct tcp *tcp = &end->tcp;
    bool syn = (arrived->flags & SYN) != 0, fin = (arrived->flags & FIN) != 0;
    uint32_t before = tcp->acknowledged, until = arrived->position + arrived->length + syn + fin;
    if (syn && arrived->largest < tcp->largest + 100000)
        tcp->largest = arrived->largest;
    if (arrived->position <= tcp->got && until > tcp->got && (syn || tcp->got > 0))
        tcp->got = until;
    if (tcp->got > 0 && arrived->acknowledged > tcp->acknowledged) {
        if (arrived->acknowledged > tcp->most)
            world_fails(world_of(end), "%s: acknowledged before it was sent", exchange_name(end->exchange));
        tcp->acknowledged = arrived->acknowledged;
        if (tcp->next < tcp->acknowledged)
            tcp->next = tcp->acknowledged;
        tcp->patience = first_patience;
    }
    if (gives_up(end))
        return;
    uint32_t next = tcp->next;
    if (tcp->acknowledged > before || (syn && tcp->acknowledged == 0) ||
        world_of(end)->clock.now >= tcp->quiet_until)
        output(end);
    bool answers = until > arrived->position;
    if (tcp->next == next && answers && tcp->acknowledged > 0)
        send_nothing(end);
    if (tcp->acknowledged == tcp->size + 2 && tcp->got == tcp->peer_size + 2)
        exchange_ended(end, OUTCOME_DONE);
}

void tcp_receive(struct end *end, const struct ip *ip)
{
    struct tcp *tcp = &end->tcp;
    struct arrived arrived;
    const char *wrong = read_segment(other(end), ip, &arrived);
    if (wrong != NULL)
        world_fails(world_of(end), "%s: %s", exchange_name(end->exchange), wrong);
    if (tcp->patience == 0)
        tcp->patience = first_patience;
    if (tcp->is_reset || end->outcome == OUTCOME_RESET || (end->number == 1 && end->exchange->closed))
        refuse(end, &arrived);
    else if ((arrived.flags & RST) != 0)
        take_reset(end, &arrived);
    else
        take_segment(end, &arrived);
}

const char *tcp_check_quoted(const struct end *end, const struct ip *ip)
{
    struct arrived arrived;
    uint32_t position = be(ip->payload + 4, 4) - end->tcp.own_start;
    if (position > end->tcp.size + 2)
        return "a sequence number that was not sent";
    if (ip->length < HEADER || ip->length < (ip->payload[12] >> 4) * 4u)
        return NULL;
    /* The engine quotes what it received: with offloads half of a checksum. */
    if (ip->length == ip->stated && world_of(end)->plan.offloads == 0 && ip_sum(ip) != 0xffff)
        return "a wrong checksum";
    return read_segment(end, ip, &arrived);
}
