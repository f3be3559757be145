/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcurl speaks HTTP. Lines are handed on as they come in, so that a list of any length takes
 * little memory. If the answer is to be bytes, only an error comes as lines.
 */
#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/config.h"

enum {
    LINE_MAXIMUM = 65536, /* bytes; an answer with a longer line is not of our daemon */
    HTTP_OK = 200,
    CONNECT_SECONDS = 5,
    URL_MAXIMUM = 4096,
    SILENCE_SECONDS = 10, /* a daemon that sends nothing for so long is stopped or overloaded */
    CHANGE_SECONDS = 150, /* ... unless it is to change something: routes, or millions of sessions */
};

struct exchange {
    CURL *curl;
    client_line *line;
    void *context;
    const struct client_stream *stream; /* instead of lines; or NULL */
    bool broken_off;
    size_t length; /* of the line so far */
    char text[LINE_MAXIMUM];
};

bool client_find(struct client *client, const struct options *options)
{
    struct config_error error;
    const char *path = options->config != NULL ? options->config : DEFAULT_CONFIG;
    const char *socket = options->socket;
    struct config *config = NULL;
    /* Who may use the socket need not be able to read the configuration. */
    if (socket == NULL && (options->config != NULL || access(path, R_OK) == 0)) {
        config = config_load_keys(path, &error);
        if (config == NULL && options->config != NULL) {
            fprintf(stderr, "isthmus: error: %s\n", error.text);
            return false;
        }
    }
    if (socket == NULL)
        socket = config != NULL ? config->control.socket : DEFAULT_SOCKET;
    size_t length = strlen(socket);
    if (length < sizeof(client->socket))
        memcpy(client->socket, socket, length + 1);
    else
        fprintf(stderr, "isthmus: error: %s is too long for the path of a socket\n", socket);
    config_free(config);
    return length < sizeof(client->socket);
}

static long status_of(CURL *curl)
{
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static bool finish_line(struct exchange *exchange)
{
    exchange->text[exchange->length] = '\0';
    exchange->length = 0;
    if (status_of(exchange->curl) == HTTP_OK)
        return exchange->line(exchange->context, exchange->text);
    json_t *object = json_loads(exchange->text, 0, NULL);
    const char *reason = json_string_value(json_object_get(object, "error"));
    fprintf(stderr, "isthmus: error: %s\n", reason != NULL ? reason : exchange->text);
    json_decref(object);
    return true;
}

static size_t on_data(char *data, size_t unit, size_t count, void *context)
{
    struct exchange *exchange = context;
    if (exchange->stream != NULL && status_of(exchange->curl) == HTTP_OK) {
        exchange->broken_off = !exchange->stream->bytes(exchange->stream->context, data, unit * count);
        return exchange->broken_off ? 0 : unit * count;
    }
    for (size_t i = 0; i < unit * count; i++) {
        if (data[i] != '\n' && exchange->length < LINE_MAXIMUM - 1) {
            exchange->text[exchange->length++] = data[i];
        } else if (!finish_line(exchange)) {
            exchange->broken_off = true;
            return 0;
        }
    }
    return unit * count;
}

static void explain(const struct client *client, CURL *curl, CURLcode code)
{
    long number = 0;
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
    if (code == CURLE_OPERATION_TIMEDOUT)
        fprintf(stderr, "isthmus: error: the daemon on %s is silent; if it is not stopped, try again\n",
                client->socket);
    else if (code == CURLE_COULDNT_CONNECT && (number == 0 || number == EAGAIN)) /* its queue is full */
        fprintf(stderr, "isthmus: error: the daemon on %s is busy; try again\n", client->socket);
    else if (code != CURLE_COULDNT_CONNECT)
        fprintf(stderr, "isthmus: error: the daemon on %s broke off: %s\n", client->socket,
                curl_easy_strerror(code));
    else if (number == EACCES || number == EPERM)
        fprintf(stderr, "isthmus: error: you may not use %s; be root or a member of control.group\n",
                client->socket);
    else
        fprintf(stderr,
                "isthmus: error: no daemon answers on %s (%s); start it with isthmus run, or name its "
                "socket with --socket or -c\n",
                client->socket, strerror((int)number));
}

static bool perform(const struct client *client, struct exchange *exchange)
{
    CURLcode code = curl_easy_perform(exchange->curl);
    if (exchange->stream != NULL && *exchange->stream->stopped)
        exchange->broken_off = true;
    if (code == CURLE_OK && exchange->length > 0)
        finish_line(exchange);
    if (code != CURLE_OK && !exchange->broken_off)
        explain(client, exchange->curl, code);
    return (code == CURLE_OK && status_of(exchange->curl) == HTTP_OK) || exchange->broken_off;
}

/* What both kinds of answer need. */
static void prepare(const struct client *client, struct exchange *exchange, const char *path)
{
    CURL *curl = exchange->curl;
    char url[URL_MAXIMUM];
    snprintf(url, sizeof(url), "http://isthmus%s", path);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* http_proxy in the environment is not for us */
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
}

bool client_ask(const struct client *client, const char *method, const char *path, client_line *line,
                void *context)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    CURL *curl = curl_easy_init();
    bool done = false, changes = strcmp(method, "POST") == 0;
    if (exchange != NULL && curl != NULL) {
        *exchange = (struct exchange){.curl = curl, .line = line, .context = context};
        prepare(client, exchange, path);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)(changes ? CHANGE_SECONDS : SILENCE_SECONDS));
        if (changes)
            curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
        done = perform(client, exchange);
    }
    curl_easy_cleanup(curl);
    free(exchange);
    return done;
}

/* The path with the parameters that have a value; false: it is too long. */
static bool add_parameters(CURL *curl, const struct client_stream *stream, char *path, size_t size)
{
    int length = snprintf(path, size, "%s", stream->path);
    char between = '?';
    for (const struct client_parameter *parameter = stream->parameters; parameter->name != NULL;
         parameter++) {
        char *value = parameter->value != NULL ? curl_easy_escape(curl, parameter->value, 0) : NULL;
        if (value == NULL)
            continue;
        if ((size_t)length < size)
            length +=
                snprintf(path + length, size - (size_t)length, "%c%s=%s", between, parameter->name, value);
        curl_free(value);
        between = '&';
    }
    return (size_t)length < size;
}

static int on_socket(void *context, curl_socket_t fd, curlsocktype purpose)
{
    const struct client_stream *stream = context;
    (void)purpose;
    *stream->socket = fd;
    return CURL_SOCKOPT_OK;
}

bool client_follow(const struct client *client, const struct client_stream *stream)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    CURL *curl = curl_easy_init();
    char path[URL_MAXIMUM - 32];
    bool done = false;
    if (exchange != NULL && curl != NULL && !add_parameters(curl, stream, path, sizeof(path))) {
        fprintf(stderr, "isthmus: error: that is too long for a question to the daemon\n");
    } else if (exchange != NULL && curl != NULL) {
        *exchange = (struct exchange){.curl = curl, .stream = stream};
        prepare(client, exchange, path);
        curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, on_socket);
        curl_easy_setopt(curl, CURLOPT_SOCKOPTDATA, (void *)(uintptr_t)stream);
        done = perform(client, exchange);
    }
    curl_easy_cleanup(curl);
    free(exchange);
    return done;
}
