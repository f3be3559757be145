/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DNS over TLS (RFC 7858) towards one upstream, for a resolver that speaks UDP: Debian's libunbound is built
 * without OpenSSL and has no TLS at all. The resolver sends its questions to a UDP socket on the loopback
 * interface, as to any server, and answers come from there.
 *
 * The upstream is always authenticated: by its name if one is given, otherwise by its address, which has to
 * be in its certificate (RFC 8310 section 8.1, the strict profile). One that cannot be authenticated is one
 * that does not answer.
 *
 * The program has to ignore SIGPIPE.
 */
#ifndef DNS64_TLS_RELAY_H
#define DNS64_TLS_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>

enum {
    TLS_RELAY_PENDING = 4096,      /* questions without an answer yet; one more pushes out the oldest */
    TLS_RELAY_QUESTION = 4096,     /* bytes of a question at most */
    TLS_RELAY_WAITING = 256 << 10, /* bytes of questions that wait to be sent; those above it are lost */
    TLS_RELAY_PATIENCE = 4,        /* seconds until a connection on which nothing comes is given up */
    TLS_RELAY_IDLE = 20,           /* seconds until one that nobody needs is closed */
    TLS_RELAY_PAUSE = 500,         /* milliseconds from a failure to the next attempt to connect */
};

/* Certificates that are trusted, read when this is opened: those in SSL_CERT_FILE, or the system's. */
struct tls_trust;

/* NULL with a sentence. */
struct tls_trust *tls_trust_open(char *error, size_t size);

/*
 * Called when a connection has not come about: because of the certificate that the upstream showed, or for
 * any other reason.
 */
typedef void tls_failed(void *context, bool untrusted);

/* For all relays that have this trust. */
void tls_trust_watch(struct tls_trust *trust, tls_failed *failed, void *context);

/* NULL is allowed. */
void tls_trust_close(struct tls_trust *trust);

struct tls_relay;

/*
 * For "ADDRESS[@PORT][#NAME]", port 853 by default. It connects when the first question comes, and again
 * when one comes after the connection has ended. NULL with a sentence. `trust` must stay.
 */
struct tls_relay *tls_relay_open(struct event_base *base, struct tls_trust *trust, const char *upstream,
                                 char *error, size_t size);

/* The port at 127.0.0.1 where it takes questions. */
uint16_t tls_relay_port(const struct tls_relay *relay);

/* NULL is allowed. */
void tls_relay_close(struct tls_relay *relay);

#endif /* DNS64_TLS_RELAY_H */
