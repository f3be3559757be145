/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libmicrohttpd speaks the protocol. It runs without threads: it shows one epoll descriptor that becomes
 * readable when there is something to do, and a time at which it wants to be called anyway (time-outs,
 * connections that wait for their next piece). Both are handles of the loop, and either calls MHD_run.
 *
 * A stream that has nothing is suspended, since libmicrohttpd would ask it over and over, and resumed by
 * another timer. A suspended connection is not watched, so the stream looks itself whether its client is
 * still there.
 */
#include "portal/http.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAXIMUM = 64,
    IDLE_SECONDS = 5,                   /* after which a client that sends no request is cut off */
    READING_SECONDS = 600,              /* ... and one that stops reading: a person pages through a list */
    CONNECTION_MEMORY = 4 * HTTP_PIECE, /* bytes a connection may take */
    LATER_MILLISECONDS = 20,            /* until a stream that had nothing is asked again */
};

/* A reply that is a stream, under way. */
struct stream {
    struct http_reply reply;
    struct http *http;
    struct MHD_Connection *connection;
    struct stream *next; /* of those that are suspended */
};

struct http {
    struct http_options options;
    struct MHD_Daemon *daemon;
    struct stream *suspended;
    uv_poll_t poll;
    uv_timer_t timer, later;
    int open_handles;
};

static void on_later(uv_timer_t *handle);

static const struct http_route *find_route(const struct http *http, const char *method, const char *path,
                                           const char **allowed)
{
    *allowed = NULL;
    for (size_t i = 0; i < http->options.route_count; i++) {
        const struct http_route *route = &http->options.routes[i];
        if (strcmp(route->path, path) != 0)
            continue;
        if (strcmp(route->method, method) == 0)
            return route;
        *allowed = route->method;
    }
    return NULL;
}

const char *http_parameter(const struct http_reply *reply, const char *name)
{
    return MHD_lookup_connection_value(reply->request, MHD_GET_ARGUMENT_KIND, name);
}

static bool client_gone(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd client = {.fd = info->connect_fd, .events = POLLRDHUP};
    return poll(&client, 1, 0) != 0;
}

static void suspend(struct stream *stream)
{
    struct http *http = stream->http;
    stream->next = http->suspended;
    http->suspended = stream;
    MHD_suspend_connection(stream->connection);
    if (!uv_is_active((uv_handle_t *)&http->later))
        uv_timer_start(&http->later, on_later, LATER_MILLISECONDS, 0);
}

static void resume_all(struct http *http)
{
    struct stream *stream = http->suspended;
    http->suspended = NULL;
    for (; stream != NULL; stream = stream->next)
        MHD_resume_connection(stream->connection);
}

static ssize_t next_piece(void *context, uint64_t position, char *text, size_t size)
{
    struct stream *stream = context;
    (void)position;
    size_t length = stream->reply.stream(stream->reply.stream_context, text, size);
    if (length == 0)
        return (ssize_t)MHD_CONTENT_READER_END_OF_STREAM;
    if (length != HTTP_LATER)
        return (ssize_t)length;
    if (client_gone(stream->connection))
        return (ssize_t)MHD_CONTENT_READER_END_WITH_ERROR;
    suspend(stream);
    return 0;
}

static void free_stream(void *context)
{
    struct stream *stream = context;
    if (stream->reply.stream_free != NULL)
        stream->reply.stream_free(stream->reply.stream_context);
    free(stream);
}

static struct MHD_Response *make_stream(struct http *http, struct MHD_Connection *connection,
                                        const struct http_reply *reply)
{
    struct stream *stream = malloc(sizeof(*stream));
    if (stream == NULL) {
        if (reply->stream_free != NULL)
            reply->stream_free(reply->stream_context);
        return NULL;
    }
    *stream = (struct stream){.reply = *reply, .http = http, .connection = connection};
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HTTP_PIECE, next_piece, stream, free_stream);
    if (response == NULL)
        free_stream(stream);
    return response;
}

static const char *media_type(const struct http_reply *reply)
{
    if (reply->stream == NULL)
        return "application/json";
    return reply->stream_type != NULL ? reply->stream_type : "application/x-ndjson";
}

static struct MHD_Response *make_text(char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        free(text);
    return response;
}

static enum MHD_Result send_reply(struct http *http, struct MHD_Connection *connection,
                                  const struct http_reply *reply, const char *allowed)
{
    struct MHD_Response *response = NULL;
    if (reply->stream != NULL)
        response = make_stream(http, connection, reply);
    else if (reply->text != NULL)
        response = make_text(reply->text);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, media_type(reply));
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (allowed != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allowed);
    if (reply->stream != NULL)
        MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)READING_SECONDS);
    enum MHD_Result result = MHD_queue_response(connection, reply->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Called once for the header, for each piece of a body, and once more; the last call answers. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    static char header_seen;
    struct http *http = context;
    struct http_reply reply = {.status = MHD_HTTP_OK, .request = connection};
    const char *allowed;
    (void)version;
    (void)upload;
    if (*state == NULL) {
        *state = &header_seen;
        return MHD_YES;
    }
    if (*upload_size > 0) { /* no request needs a body */
        *upload_size = 0;
        return MHD_YES;
    }
    const struct http_route *route = find_route(http, method, path, &allowed);
    if (route != NULL) {
        route->answer(http->options.context, &reply);
    } else if (allowed != NULL) {
        reply.status = MHD_HTTP_METHOD_NOT_ALLOWED;
        reply.text = strdup("{\"error\": \"this path wants another method\"}\n");
    } else {
        reply.status = MHD_HTTP_NOT_FOUND;
        reply.text = strdup("{\"error\": \"no such path; doc/api.md lists them\"}\n");
    }
    return send_reply(http, connection, &reply, allowed);
}

static void on_timer(uv_timer_t *handle);

static void run(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait;
    MHD_run(http->daemon);
    if (MHD_get_timeout(http->daemon, &wait) == MHD_YES)
        uv_timer_start(&http->timer, on_timer, wait, 0);
    else
        uv_timer_stop(&http->timer);
}

static void on_timer(uv_timer_t *handle)
{
    run(handle->data);
}

static void on_later(uv_timer_t *handle)
{
    resume_all(handle->data);
    run(handle->data);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    run(handle->data);
}

static void on_closed(uv_handle_t *handle)
{
    struct http *http = handle->data;
    if (--http->open_handles > 0)
        return;
    MHD_stop_daemon(http->daemon); /* closes the epoll descriptor, which the loop no longer watches */
    free(http);
}

static bool hang_into_loop(struct http *http)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(http->options.loop, &http->poll, info->epoll_fd) != 0)
        return false;
    uv_timer_init(http->options.loop, &http->timer);
    uv_timer_init(http->options.loop, &http->later);
    http->poll.data = http->timer.data = http->later.data = http;
    http->open_handles = 3;
    return uv_poll_start(&http->poll, UV_READABLE, on_readable) == 0;
}

struct http *http_open(const struct http_options *options, char *error, size_t size)
{
    struct http *http = calloc(1, sizeof(*http));
    if (http != NULL) {
        http->options = *options;
        http->daemon = MHD_start_daemon(
            MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, http,
            MHD_OPTION_LISTEN_SOCKET, options->listener, MHD_OPTION_CONNECTION_LIMIT,
            (unsigned)CONNECTIONS_MAXIMUM, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
    }
    if (http == NULL || http->daemon == NULL) {
        close(options->listener);
        free(http);
        snprintf(error, size, "cannot serve HTTP on the control socket");
        return NULL;
    }
    if (hang_into_loop(http))
        return http;
    snprintf(error, size, "cannot watch the control socket");
    if (http->open_handles > 0) {
        http_close(http);
    } else {
        MHD_stop_daemon(http->daemon);
        free(http);
    }
    return NULL;
}

void http_close(struct http *http)
{
    resume_all(http); /* libmicrohttpd stops without connections that are suspended only */
    uv_close((uv_handle_t *)&http->poll, on_closed);
    uv_close((uv_handle_t *)&http->timer, on_closed);
    uv_close((uv_handle_t *)&http->later, on_closed);
}
