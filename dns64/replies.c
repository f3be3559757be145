/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replies; the contract is in the header.
 *
 * ANY gets what RFC 8482 section 4.2 proposes, a HINFO record that names the RFC. It is as small as an error,
 * so there is nothing to amplify, but unlike an error it does not make clients go and ask the next server,
 * and they may keep it. That goes for TCP, too: a cache that does not ask on has no full answer to give.
 */
#include "dns64/replies.h"

#include "dns64/tcp.h"
#include "dns64/udp.h"

enum {
    FLAGS_HIGH = 2,     /* the byte of the header with QR, opcode, AA, TC and RD */
    FLAG_TRUNCATED = 2, /* in it */
    TYPE_HINFO = 13,
    ANY_TTL = 3600, /* seconds; long enough that who insists on ANY does not ask often */
};

size_t reply_limit(const struct client_query *client)
{
    return client->path->connection != NULL ? DNS_MESSAGE_MAX
                                            : dns_query_udp_limit(client->query, SERVER_UDP_SIZE);
}

uint8_t *reply_begin(struct dns_worker *worker, const struct reply_path *path)
{
    return path->connection != NULL ? tcp_reply_begin(worker) : udp_reply_begin(worker, path);
}

struct sockaddr_in6 reply_path_local(const struct dns_worker *worker, const struct reply_path *path)
{
    return path->connection != NULL ? tcp_local(path->connection) : udp_local(worker, path);
}

static void end(struct dns_worker *worker, const struct reply_path *path, size_t size)
{
    if (path->connection != NULL)
        tcp_reply_end(worker, path, size);
    else
        udp_reply_end(worker, path, size);
}

void reply_answer(struct dns_worker *worker, const struct client_query *client, const struct answer *answer,
                  struct reply_age age)
{
    const struct answer_wish wish = {
        .limit = reply_limit(client),
        .age = age.age,
        .udp_size = SERVER_UDP_SIZE,
        .stale = age.stale,
    };
    uint8_t *reply = reply_begin(worker, client->path);
    size_t size = answer_reply(answer, client->query, &wish, reply);
    if ((reply[FLAGS_HIGH] & FLAG_TRUNCATED) != 0)
        dns_worker_count(worker, DNS64_TRUNCATED);
    end(worker, client->path, size);
}

void reply_refusal(struct dns_worker *worker, const struct client_query *client, uint16_t rcode,
                   enum answer_error error)
{
    uint8_t *reply = reply_begin(worker, client->path);
    size_t size = answer_refusal(client->query, rcode, error, SERVER_UDP_SIZE, reply, DNS_UDP_SIZE_PLAIN);
    end(worker, client->path, size);
}

void reply_truncated(struct dns_worker *worker, const struct client_query *client)
{
    uint8_t *reply = reply_begin(worker, client->path);
    size_t size = answer_refusal(client->query, DNS_RCODE_NOERROR, ANSWER_ERROR_NONE, SERVER_UDP_SIZE, reply,
                                 DNS_UDP_SIZE_PLAIN);
    reply[FLAGS_HIGH] |= FLAG_TRUNCATED;
    end(worker, client->path, size);
}

void reply_any(struct dns_worker *worker, const struct client_query *client)
{
    static const uint8_t text[] = "\7RFC8482"; /* the zero byte behind it is the second text, empty */
    const struct dns_data data = {
        .owner = &client->query->question.asked,
        .rdata = text,
        .type = TYPE_HINFO,
        .class = DNS_CLASS_IN,
        .rdata_length = sizeof(text),
        .ttl = ANY_TTL,
    };
    struct dns_writer writer;
    uint8_t *reply = reply_begin(worker, client->path);
    dns_writer_reply(&writer, reply, reply_limit(client), client->query, DNS_RCODE_NOERROR, SERVER_UDP_SIZE);
    dns_writer_record(&writer, &data);
    end(worker, client->path, dns_writer_finish(&writer));
}
