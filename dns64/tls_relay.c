/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One UDP socket, one TLS connection, and in between a ring of who has asked. A question gets an id of our
 * own, which says where in the ring it stands: whoever asks us chose the old one for a port of his own, and
 * on the connection all ids of all ports meet. An answer is sent to where the question came from, with the
 * old id.
 *
 * Nothing here waits for a single answer and nothing is sent twice: the resolver has timers for both. When
 * a connection ends, what was on it is forgotten.
 *
 *     CLOSED --question--> CONNECTING --handshake--> OPEN
 *        ^                     |                       |
 *        +------- failure, silence, idleness ----------+
 */
#include "dns64/tls_relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire/bytes.h"

enum {
    TLS_PORT = 853,
    HEADER = 12,        /* bytes of a message that has nothing else */
    MESSAGE = 65535,    /* bytes of one that has much else */
    BURST = 64,         /* datagrams taken at one go, so that others have their turn */
    CHUNK = 16 * 1024,  /* bytes of a TLS record */
    LONGEST_NAME = 255, /* characters of a name to authenticate */
};

enum state { CLOSED, CONNECTING, OPEN };

/* Who asked, and with which id. */
struct pending {
    struct sockaddr_in from;
    uint16_t id;  /* as it was asked */
    uint16_t our; /* as it was passed on; its low bits are the place in the ring */
    bool waits;
};

struct tls_relay {
    struct event_base *base;
    struct tls_trust *trust;
    struct sockaddr_storage address; /* of the upstream */
    socklen_t address_length;
    char name[LONGEST_NAME + 1]; /* to authenticate it by; empty: by its address */
    char text[INET6_ADDRSTRLEN]; /* its address */

    int udp;
    uint16_t port;
    struct event *on_udp;

    enum state state;
    int tcp;
    SSL *tls;
    struct event *readable, *writable, *tick; /* exist while it is not closed */
    struct evbuffer *out;
    uint64_t progress; /* milliseconds: when something came last, or the attempt was begun */
    uint64_t failed;   /* when it failed last; 0: it did not */
    size_t filled;     /* bytes in `in` */
    uint8_t in[2 + MESSAGE];

    uint32_t next;    /* counts questions */
    uint32_t waiting; /* those in the ring without an answer */
    struct pending ring[TLS_RELAY_PENDING];
};

/*** Certificates ***/

struct tls_trust {
    SSL_CTX *context;
    tls_failed *failed; /* NULL: nobody wants to know */
    void *failed_context;
};

static SSL_CTX *read_certificates(char *error, size_t size)
{
    static const char system_file[] = "/etc/ssl/certs/ca-certificates.crt";
    const char *named = getenv("SSL_CERT_FILE"), *file = named != NULL ? named : system_file;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) {
        snprintf(error, size, "TLS cannot be used: there is no memory for it");
        return NULL;
    }
    if (SSL_CTX_load_verify_file(context, file) != 1) {
        snprintf(error, size, "certificates for upstreams with TLS cannot be read from %s: install %s", file,
                 named != NULL ? "that file" : "ca-certificates");
        ERR_clear_error();
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    return context;
}

struct tls_trust *tls_trust_open(char *error, size_t size)
{
    struct tls_trust *trust = calloc(1, sizeof *trust);
    if (trust == NULL) {
        snprintf(error, size, "TLS cannot be used: there is no memory for it");
        return NULL;
    }
    trust->context = read_certificates(error, size);
    if (trust->context != NULL)
        return trust;
    free(trust);
    return NULL;
}

void tls_trust_watch(struct tls_trust *trust, tls_failed *failed, void *context)
{
    trust->failed = failed;
    trust->failed_context = context;
}

void tls_trust_close(struct tls_trust *trust)
{
    if (trust == NULL)
        return;
    SSL_CTX_free(trust->context);
    free(trust);
}

/*** The connection ***/

static uint64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void drop_event(struct event **event)
{
    if (*event != NULL)
        event_free(*event);
    *event = NULL;
}

/* Ends the connection, if there is one, and with it what was asked on it. */
static void disconnect(struct tls_relay *relay)
{
    drop_event(&relay->readable);
    drop_event(&relay->writable);
    drop_event(&relay->tick);
    SSL_free(relay->tls);
    if (relay->tcp >= 0)
        close(relay->tcp);
    relay->tls = NULL;
    relay->tcp = -1;
    relay->state = CLOSED;
    relay->filled = 0;
    relay->waiting = 0;
    evbuffer_drain(relay->out, evbuffer_get_length(relay->out));
    for (uint32_t i = 0; i < TLS_RELAY_PENDING; i++)
        relay->ring[i].waits = false;
}

/* What breaks later only costs the questions that were asked on it. */
static void tell_of_failure(const struct tls_relay *relay)
{
    const struct tls_trust *trust = relay->trust;
    if (relay->state == CONNECTING && trust->failed != NULL)
        trust->failed(trust->failed_context,
                      relay->tls != NULL && SSL_get_verify_result(relay->tls) != X509_V_OK);
}

static void fail(struct tls_relay *relay)
{
    relay->failed = milliseconds();
    tell_of_failure(relay);
    disconnect(relay);
}

/* True if there is nothing to do but wait for the socket; false if it is all over, which *relay knows. */
static bool wait_on(struct tls_relay *relay, int result)
{
    switch (SSL_get_error(relay->tls, result)) {
    case SSL_ERROR_WANT_READ:
        return true;
    case SSL_ERROR_WANT_WRITE:
        event_add(relay->writable, NULL);
        return true;
    case SSL_ERROR_ZERO_RETURN: /* it was closed in good order, as servers do with idle ones */
        disconnect(relay);
        return false;
    default:
        ERR_clear_error();
        fail(relay);
        return false;
    }
}

/* Gives one answer, `message`, to whom it belongs. */
static void deliver(struct tls_relay *relay, uint8_t *message, size_t size)
{
    if (size < HEADER)
        return;
    uint16_t our = from_be16(load_be16(message));
    struct pending *pending = &relay->ring[our % TLS_RELAY_PENDING];
    if (!pending->waits || pending->our != our)
        return;
    pending->waits = false;
    relay->waiting--;
    store_be16(message, to_be16(pending->id));
    /* An answer that the socket does not take is lost as one on the way is. */
    (void)sendto(relay->udp, message, size, MSG_DONTWAIT, (struct sockaddr *)&pending->from,
                 sizeof pending->from);
}

/* Takes whole messages from the bytes that came; each has its length before it (RFC 7858 section 3.3). */
static void take_messages(struct tls_relay *relay)
{
    size_t at = 0;
    while (relay->filled - at >= 2) {
        size_t length = from_be16(load_be16(relay->in + at));
        if (relay->filled - at - 2 < length)
            break;
        deliver(relay, relay->in + at + 2, length);
        at += 2 + length;
    }
    relay->filled -= at;
    memmove(relay->in, relay->in + at, relay->filled);
}

static bool receive(struct tls_relay *relay)
{
    for (;;) {
        int got = SSL_read(relay->tls, relay->in + relay->filled, (int)(sizeof relay->in - relay->filled));
        if (got <= 0)
            return wait_on(relay, got);
        relay->progress = milliseconds();
        relay->failed = 0;
        relay->filled += (size_t)got;
        take_messages(relay); /* after which there is room: a whole message fits */
    }
}

static bool transmit(struct tls_relay *relay)
{
    size_t length;
    while ((length = evbuffer_get_length(relay->out)) > 0) {
        length = length < CHUNK ? length : CHUNK;
        int sent = SSL_write(relay->tls, evbuffer_pullup(relay->out, (ssize_t)length), (int)length);
        if (sent <= 0)
            return wait_on(relay, sent);
        evbuffer_drain(relay->out, (size_t)sent);
    }
    return true;
}

/* Does what can be done now: the handshake, then sending and receiving. */
static void advance(struct tls_relay *relay)
{
    if (relay->state == CONNECTING) {
        int result = SSL_do_handshake(relay->tls);
        if (result != 1) {
            wait_on(relay, result);
            return;
        }
        relay->state = OPEN;
        relay->progress = milliseconds();
    }
    if (transmit(relay))
        receive(relay);
}

static void on_socket(evutil_socket_t socket, short what, void *argument)
{
    (void)socket, (void)what;
    advance(argument);
}

/* Once a second. */
static void on_tick(evutil_socket_t socket, short what, void *argument)
{
    struct tls_relay *relay = argument;
    uint64_t quiet = milliseconds() - relay->progress;
    (void)socket, (void)what;
    if ((relay->state == CONNECTING || relay->waiting > 0) && quiet > TLS_RELAY_PATIENCE * 1000)
        fail(relay);
    else if (relay->state == OPEN && quiet > TLS_RELAY_IDLE * 1000)
        disconnect(relay);
}

static bool prepare_tls(struct tls_relay *relay)
{
    relay->tls = SSL_new(relay->trust->context);
    if (relay->tls == NULL || SSL_set_fd(relay->tls, relay->tcp) != 1)
        return false;
    SSL_set_connect_state(relay->tls);
    if (relay->name[0] == 0)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(relay->tls), relay->text) == 1;
    SSL_set_hostflags(relay->tls, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(relay->tls, relay->name) == 1 &&
           SSL_set_tlsext_host_name(relay->tls, relay->name) == 1;
}

static bool prepare_events(struct tls_relay *relay)
{
    relay->readable = event_new(relay->base, relay->tcp, EV_READ | EV_PERSIST, on_socket, relay);
    relay->writable = event_new(relay->base, relay->tcp, EV_WRITE, on_socket, relay);
    relay->tick = event_new(relay->base, -1, EV_PERSIST, on_tick, relay);
    return relay->readable != NULL && relay->writable != NULL && relay->tick != NULL &&
           event_add(relay->readable, NULL) == 0 && event_add(relay->writable, NULL) == 0 &&
           event_add(relay->tick, &(struct timeval){.tv_sec = 1}) == 0;
}

static bool start_connecting(struct tls_relay *relay)
{
    int on = 1;
    relay->tcp = socket(relay->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (relay->tcp < 0)
        return false;
    setsockopt(relay->tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(relay->tcp, (struct sockaddr *)&relay->address, relay->address_length) != 0 &&
        errno != EINPROGRESS)
        return false;
    return prepare_tls(relay) && prepare_events(relay);
}

/* True if there is a connection, or the beginning of one. */
static bool connected(struct tls_relay *relay)
{
    uint64_t now = milliseconds();
    if (relay->state != CLOSED)
        return true;
    if (relay->failed != 0 && now - relay->failed < TLS_RELAY_PAUSE)
        return false;
    relay->state = CONNECTING;
    relay->progress = now;
    if (start_connecting(relay))
        return true;
    ERR_clear_error();
    fail(relay);
    return false;
}

/*** Questions ***/

/* Enters who asked. The oldest makes room: its asker has long stopped waiting. */
static uint16_t enter(struct tls_relay *relay, const struct sockaddr_in *from, uint16_t id)
{
    uint16_t our = (uint16_t)relay->next++;
    struct pending *pending = &relay->ring[our % TLS_RELAY_PENDING];
    if (relay->waiting == 0) /* whoever was silent before did so because nobody asked */
        relay->progress = milliseconds();
    if (!pending->waits)
        relay->waiting++;
    *pending = (struct pending){.from = *from, .id = id, .our = our, .waits = true};
    return our;
}

static void pass_on(struct tls_relay *relay, uint8_t *question, size_t size, const struct sockaddr_in *from)
{
    if (size < HEADER || !connected(relay) || evbuffer_get_length(relay->out) + 2 + size > TLS_RELAY_WAITING)
        return;
    uint8_t length[2];
    store_be16(length, to_be16((uint16_t)size));
    store_be16(question, to_be16(enter(relay, from, from_be16(load_be16(question)))));
    evbuffer_add(relay->out, length, sizeof length);
    evbuffer_add(relay->out, question, size);
}

static void on_datagram(evutil_socket_t socket, short what, void *argument)
{
    struct tls_relay *relay = argument;
    uint8_t question[TLS_RELAY_QUESTION];
    (void)what;
    for (int i = 0; i < BURST; i++) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t size = recvfrom(socket, question, sizeof question, MSG_DONTWAIT | MSG_TRUNC,
                                (struct sockaddr *)&from, &length);
        if (size < 0)
            break;
        if ((size_t)size <= sizeof question)
            pass_on(relay, question, (size_t)size, &from);
    }
    if (relay->state == OPEN)
        transmit(relay);
}

/*** Opening and closing ***/

/* Reads "ADDRESS[@PORT][#NAME]". */
static bool parse_upstream(struct tls_relay *relay, const char *upstream)
{
    char text[INET6_ADDRSTRLEN + 32], port[8];
    size_t length = strcspn(upstream, "#"), address = strcspn(upstream, "@#");
    if (length >= sizeof text || address >= sizeof relay->text || length - address >= sizeof port)
        return false;
    if (upstream[length] == '#') {
        size_t name = strlen(upstream + length + 1);
        if (name >= sizeof relay->name)
            return false;
        memcpy(relay->name, upstream + length + 1, name);
    }
    memcpy(relay->text, upstream, address);
    snprintf(port, sizeof port, "%d", TLS_PORT);
    if (upstream[address] == '@')
        snprintf(port, sizeof port, "%.*s", (int)(length - address - 1), upstream + address + 1);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(relay->text, port, &hints, &found) != 0)
        return false;
    memcpy(&relay->address, found->ai_addr, found->ai_addrlen);
    relay->address_length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool listen_on_loopback(struct tls_relay *relay)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    relay->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (relay->udp < 0 || bind(relay->udp, (struct sockaddr *)&at, sizeof at) != 0 ||
        getsockname(relay->udp, (struct sockaddr *)&at, &length) != 0)
        return false;
    relay->port = ntohs(at.sin_port);
    relay->on_udp = event_new(relay->base, relay->udp, EV_READ | EV_PERSIST, on_datagram, relay);
    return relay->on_udp != NULL && event_add(relay->on_udp, NULL) == 0;
}

struct tls_relay *tls_relay_open(struct event_base *base, struct tls_trust *trust, const char *upstream,
                                 char *error, size_t size)
{
    struct tls_relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL || (relay->out = evbuffer_new()) == NULL) {
        snprintf(error, size, "there is no memory for upstream %s", upstream);
        free(relay);
        return NULL;
    }
    relay->base = base;
    relay->trust = trust;
    relay->udp = relay->tcp = -1;
    if (!parse_upstream(relay, upstream)) {
        snprintf(error, size, "upstream %s is no address: ADDRESS, ADDRESS@PORT or either with #NAME",
                 upstream);
    } else if (!listen_on_loopback(relay)) {
        snprintf(error, size, "no socket on the loopback interface for upstream %s: %s", upstream,
                 strerror(errno));
    } else {
        return relay;
    }
    tls_relay_close(relay);
    return NULL;
}

uint16_t tls_relay_port(const struct tls_relay *relay)
{
    return relay->port;
}

void tls_relay_close(struct tls_relay *relay)
{
    if (relay == NULL)
        return;
    disconnect(relay);
    drop_event(&relay->on_udp);
    if (relay->udp >= 0)
        close(relay->udp);
    evbuffer_free(relay->out);
    free(relay);
}
