/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HTTP on a listening socket, served by the event loop's own thread.
 *
 * What is answered stands in a table of routes (portal/api.c). A reply is one JSON text, or a stream that is
 * asked for the next piece whenever the client has taken the last, so a list of any length takes
 * a fixed amount of memory and other clients are served in between. A stream that has nothing at the moment
 * is asked again a little later, and ends when its client has gone.
 */
#ifndef PORTAL_HTTP_H
#define PORTAL_HTTP_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/*
 * Writes the next piece, at most `size` bytes (HTTP_PIECE at least), and returns its length; 0 ends the
 * stream, HTTP_LATER means that there is nothing now.
 */
typedef size_t http_stream(void *context, char *text, size_t size);

enum {
    HTTP_PIECE = 8192,
};

#define HTTP_LATER SIZE_MAX

struct http_reply {
    unsigned status;     /* 200 unless set */
    char *text;          /* made with malloc, taken over; or NULL: */
    http_stream *stream; /* called until it returns 0 */
    void *stream_context;
    void (*stream_free)(void *context);
    const char *stream_type; /* media type; NULL: lines of JSON */
    void *request;           /* for http_parameter */
};

/* The value of a parameter behind the path that is asked for, ?name=value; NULL: it is not there. */
const char *http_parameter(const struct http_reply *reply, const char *name);

struct http_route {
    const char *method, *path;
    void (*answer)(void *context, struct http_reply *reply);
};

struct http;

struct http_options {
    uv_loop_t *loop;
    int listener; /* taken over, also on failure */
    const struct http_route *routes;
    size_t route_count;
    void *context; /* of the routes */
};

/* NULL with a sentence on failure. */
struct http *http_open(const struct http_options *options, char *error, size_t size);

/* Closes all connections. What is left of it is freed when the loop has run once more. */
void http_close(struct http *http);

#endif /* PORTAL_HTTP_H */
