/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine behind a pipe: test/oracle/compare.py writes commands, one a line, and reads what came of them.
 *
 *     new                      forgets the engine, if there is one; standard settings again
 *     set KEY VALUE            see test/vector_settings.h for this line and the next two
 *     pool ADDRESS[+COUNT] LOW-HIGH TRANSPORTS
 *     static TRANSPORT [IPV6]:PORT IPV4:PORT
 *     siit KEY VALUE           see test/vectors_run.c for this line and the next
 *     eam IPV4[/N] IPV6[/N]
 *     at NANOSECONDS           the time from now on
 *     in HEX[,HEX]...          packets, in one burst; "-" is a packet of no bytes
 *     expire                   engine_expire until nothing is due
 *     list                     sessions and bindings
 *
 * The answer is any number of lines and then one with a lone ".":
 *
 *     verdict NAME [HEX]       of each packet; its bytes if it was forwarded
 *     made HEX                 each packet the engine made
 *     session TRANSPORT STATE SECONDS CLIENT PORT POOL PORT REMOTE PORT     addresses in hex, no colons
 *     binding TRANSPORT STATE SESSIONS CLIENT PORT POOL PORT
 *     error SENTENCE
 *
 * A packet that goes in lies in a piece of memory of its own with no byte behind it, so that a build with the
 * address sanitizer notices whoever reads or writes past its end.
 */
#include "engine/engine.h"
#include "engine/table.h"
#include "test/vector.h"
#include "test/vector_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADROOM = 2 * PACKET_HEADROOM,
    LINE = 4 * PACKET_MAXIMUM,
    EXPIRE_CALLS = 4096,
    ADDRESSES = 64,
};

struct session {
    struct vector_settings settings;
    struct table *table;
    struct engine *engine;
    nanoseconds now;
};

static void print_hex(const uint8_t *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    static char text[2 * (HEADROOM + PACKET_MAXIMUM) + 1];
    for (size_t i = 0; i < length; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    fwrite(text, 1, 2 * length, stdout);
}

static void end_engine(struct session *session)
{
    if (session->engine != NULL)
        engine_destroy(session->engine);
    if (session->table != NULL)
        table_destroy(session->table);
    vector_free_mappings(&session->settings);
    session->engine = NULL;
    session->table = NULL;
}

static bool need_engine(struct session *session)
{
    char error[256] = "table_create: out of memory";
    if (session->engine != NULL)
        return true;
    const struct geometry geometry = {
        .sessions = session->settings.all.nat64[0].sessions, .addresses = ADDRESSES, .workers = 1};
    session->table = table_create(&geometry, 1);
    if (session->table != NULL && vector_build_mappings(&session->settings)) {
        struct engine_options options = {.table = session->table,
                                         .settings = &session->settings.all,
                                         .workers = 1,
                                         .seed = 20261121,
                                         .now = session->now};
        session->engine = engine_create(&options, error, sizeof(error));
    }
    if (session->engine == NULL) {
        printf("error %s\n", error);
        end_engine(session);
    }
    return session->engine != NULL;
}

static void print_made(struct session *session)
{
    static uint8_t buffer[HEADROOM + PACKET_MAXIMUM];
    for (uint32_t number = 0; number <= 1; number++) {
        struct packet packet = {.buffer = buffer, .capacity = sizeof(buffer), .offset = HEADROOM};
        while (engine_pull(engine_worker(session->engine, number), &packet)) {
            printf("made ");
            print_hex(packet_data(&packet), packet.length);
            printf("\n");
            packet = (struct packet){.buffer = buffer, .capacity = sizeof(buffer), .offset = HEADROOM};
        }
    }
}

static unsigned digit(char letter)
{
    if (letter >= '0' && letter <= '9')
        return (unsigned)(letter - '0');
    return letter >= 'a' && letter <= 'f' ? (unsigned)(letter - 'a') + 10 : 0;
}

/* A packet of the bytes `hex` tells, with the headroom planes give. False if memory is short. */
static bool make_packet(const char *hex, struct packet *packet)
{
    uint32_t length = (uint32_t)strlen(hex) / 2; /* none of "-" */
    *packet = (struct packet){.buffer = malloc(HEADROOM + length),
                              .capacity = HEADROOM + length,
                              .offset = HEADROOM,
                              .length = length};
    for (uint32_t i = 0; i < length && packet->buffer != NULL; i++)
        packet->buffer[HEADROOM + i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return packet->buffer != NULL;
}

static void print_verdict(enum verdict verdict, const struct packet *packet)
{
    if (verdict >= VERDICT_COUNT) {
        printf("error the verdict is none\n");
        return;
    }
    printf("verdict %s ", verdict_texts[verdict].name);
    if (verdict_texts[verdict].class == VERDICT_FORWARDED)
        print_hex(packet_data(packet), packet->length);
    printf("\n");
    if (packet->offload.flags != 0 || packet->offload.gso_type != OFFLOAD_GSO_NONE)
        printf("error a packet without offload came out with it\n");
}

static void receive(struct session *session, char *hexes)
{
    struct packet packets[BURST_MAXIMUM];
    enum verdict verdicts[BURST_MAXIMUM];
    unsigned n = 0;
    if (!need_engine(session))
        return;
    for (char *rest = NULL, *hex = strtok_r(hexes, ",", &rest); hex != NULL; hex = strtok_r(NULL, ",", &rest))
        if (n == BURST_MAXIMUM || !make_packet(hex, &packets[n++])) {
            printf("error too many packets, or out of memory\n");
            break;
        }
    for (unsigned i = 0; i < n; i++)
        verdicts[i] = VERDICT_COUNT;
    engine_receive(engine_worker(session->engine, 0), packets, n, session->now, verdicts);
    for (unsigned i = 0; i < n; i++)
        print_verdict(verdicts[i], &packets[i]);
    print_made(session); /* the pieces of packets that are cut up are cut from those */
    for (unsigned i = 0; i < n; i++)
        free(packets[i].buffer);
}

static void expire(struct session *session)
{
    if (!need_engine(session))
        return;
    struct worker *worker = engine_worker(session->engine, 0);
    unsigned calls = 0;
    do {
        engine_expire(worker, session->now);
        print_made(session);
    } while (engine_next_deadline(worker) <= session->now && ++calls < EXPIRE_CALLS);
    if (calls == EXPIRE_CALLS)
        printf("error engine_next_deadline stays in the past\n");
}

static void print_entry(const struct engine_entry *entry)
{
    static const char *const transports[TRANSPORT_COUNT] = {"tcp", "udp", "icmp"};
    printf("%s %s %s %u ", entry->is_session ? "session" : "binding", transports[entry->transport],
           entry->state, entry->is_session ? entry->expires_in : entry->sessions);
    print_hex(entry->client.bytes, sizeof(entry->client.bytes));
    printf(" %u ", ntohs(entry->client_port));
    printf("%08x %u", ntohl(entry->pool_address), ntohs(entry->pool_port));
    if (entry->is_session)
        printf(" %08x %u", ntohl(entry->remote4), ntohs(entry->remote_port));
    printf("\n");
}

static void list(struct session *session)
{
    struct engine_entry entries[64];
    if (!need_engine(session))
        return;
    for (int sessions = 0; sessions <= 1; sessions++)
        for (uint32_t position = 0; position < engine_capacity(session->engine);) {
            uint32_t n =
                engine_list(session->engine, sessions == 1, &position, 4096, entries, 64, session->now);
            for (uint32_t i = 0; i < n; i++)
                print_entry(&entries[i]);
        }
}

static void command(struct session *session, const char *name, char *rest)
{
    bool good = true;
    if (strcmp(name, "in") == 0)
        receive(session, rest);
    else if (strcmp(name, "at") == 0)
        session->now = strtoull(rest, NULL, 10);
    else if (strcmp(name, "expire") == 0)
        expire(session);
    else if (strcmp(name, "list") == 0)
        list(session);
    else if (strcmp(name, "set") == 0)
        good = session->engine == NULL && vector_set(&session->settings, rest);
    else if (strcmp(name, "pool") == 0)
        good = session->engine == NULL && vector_pool(&session->settings, rest);
    else if (strcmp(name, "static") == 0)
        good = session->engine == NULL && vector_static(&session->settings, rest);
    else if (strcmp(name, "siit") == 0)
        good = session->engine == NULL && vector_siit(&session->settings, rest);
    else if (strcmp(name, "eam") == 0)
        good = session->engine == NULL && vector_eam(&session->settings, rest);
    else if (strcmp(name, "new") == 0) {
        end_engine(session);
        vector_settings_standard(&session->settings);
    } else
        good = false;
    if (!good)
        printf("error cannot do: %s %s\n", name, rest);
}

int main(void)
{
    static char line[LINE];
    static struct session session;
    vector_settings_standard(&session.settings);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = strchr(line, ' ');
        if (rest != NULL)
            *rest++ = '\0';
        command(&session, line, rest != NULL ? rest : line + strlen(line));
        printf(".\n");
        fflush(stdout);
    }
    end_engine(&session);
    return 0;
}
