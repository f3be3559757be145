/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Encoder of the packet language.
 *
 * Layers are appended one after the other. What a layer cannot know yet (lengths, the number of the next
 * protocol, checksums) is noted in the *scope*, the IP packet the layer belongs to, and filled in when the
 * scope ends. A scope inside a scope is a packet quoted in an ICMP error; it ends first, so that the
 * checksum around it covers its final bytes.
 */
#include "test/vector.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORDS = 24,  /* of a layer */
    LAYERS = 32, /* of a packet */
    TEXT = 8192, /* bytes of a packet's text */
    SCOPES = 4,  /* packets within packets */
};

struct layer {
    char *words[WORDS];
    bool used[WORDS];
    unsigned count;
};

/* What is known of the transport header of a scope. */
struct checksum_note {
    bool present;
    bool compute; /* false: written as it is */
    bool partial;
    bool udp;
    uint32_t start, position;
    uint16_t off_by;
    uint8_t protocol;
};

struct scope {
    uint32_t start;
    uint8_t version;
    bool length_auto, checksum_auto;
    uint16_t checksum_off_by;
    uint32_t next_position; /* of a next-header field still to be filled, 0: none */
    struct checksum_note transport;
};

struct encoder {
    struct vector_encoding *encoding;
    struct vector_packet *packet;
    struct layer layers[LAYERS];
    unsigned layer_count;
    struct scope scopes[SCOPES];
    unsigned depth; /* scopes open */
    uint32_t header_end;
    bool failed;
    bool header_length_auto;
};

static bool fail(struct encoder *encoder, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct encoder *encoder, const char *format, ...)
{
    va_list arguments;
    if (!encoder->failed) {
        va_start(arguments, format);
        /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start stands in the line before */
        vsnprintf(encoder->encoding->error, VECTOR_ERROR, format, arguments);
        va_end(arguments);
    }
    encoder->failed = true;
    return false;
}

bool vector_number(const char *text, uint32_t *number)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 0);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > UINT32_MAX)
        return false;
    *number = (uint32_t)value;
    return true;
}

const uint32_t *vector_variable(const struct vector_variables *variables, const char *name)
{
    for (unsigned i = 0; i < variables->count; i++)
        if (strcmp(variables->entries[i].name, name) == 0)
            return &variables->entries[i].value;
    return NULL;
}

/* Bytes and fields */

static void put_byte(struct encoder *encoder, uint8_t byte)
{
    if (encoder->packet->length >= VECTOR_PACKET)
        fail(encoder, "the packet is longer than %d bytes", VECTOR_PACKET);
    else
        encoder->packet->bytes[encoder->packet->length++] = byte;
}

static void put_number(struct encoder *encoder, uint32_t value, unsigned width)
{
    for (unsigned i = width; i-- > 0;)
        put_byte(encoder, (uint8_t)(value >> (8 * i)));
}

static void set_number(struct vector_packet *packet, uint32_t position, uint32_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        packet->bytes[position + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
}

static uint32_t get_number(const uint8_t *bytes, uint32_t length, uint32_t position, unsigned width)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value = value << 8 | (position + i < length ? bytes[position + i] : 0);
    return value;
}

static void label(struct encoder *encoder, const struct layer *layer, const char *key, unsigned width)
{
    struct vector_packet *packet = encoder->packet;
    if (packet->label_count == VECTOR_LABELS)
        return;
    packet->labels[packet->label_count].position = packet->length;
    packet->labels[packet->label_count].width = (uint8_t)width;
    snprintf(packet->labels[packet->label_count].name, VECTOR_NAME, "%.10s %.12s", layer->words[0], key);
    packet->label_count++;
}

static const char *word(struct layer *layer, const char *key)
{
    const char *found = NULL;
    size_t size = strlen(key);
    for (unsigned i = 1; i < layer->count; i++)
        if (strncmp(layer->words[i], key, size) == 0 && layer->words[i][size] == '=') {
            layer->used[i] = true;
            found = layer->words[i] + size + 1; /* the last one counts, so that a macro can be amended */
        }
    return found;
}

static bool flag(struct layer *layer, const char *key)
{
    for (unsigned i = 1; i < layer->count; i++)
        if (strcmp(layer->words[i], key) == 0) {
            layer->used[i] = true;
            return true;
        }
    return false;
}

static uint32_t bound_value(struct encoder *encoder, const char *name, uint32_t value)
{
    struct vector_variables *variables = encoder->encoding->variables;
    const uint32_t *bound = vector_variable(variables, name);
    if (bound != NULL)
        return *bound;
    if (encoder->encoding->actual == NULL) {
        fail(encoder, "$%s has no value yet: it takes one in an expected packet", name);
    } else if (variables->count == VECTOR_VARIABLES || strlen(name) >= VECTOR_NAME) {
        fail(encoder, "$%s: too many names, or too long a name", name);
    } else {
        snprintf(variables->entries[variables->count].name, VECTOR_NAME, "%s", name);
        variables->entries[variables->count++].value = value;
    }
    return value;
}

/* A number, *, or $name, that will stand at the current end of the packet. */
static uint32_t evaluate(struct encoder *encoder, const char *text, unsigned width)
{
    const struct vector_encoding *encoding = encoder->encoding;
    uint32_t value = 0;
    uint32_t there = encoding->actual == NULL ? 0
                                              : get_number(encoding->actual, encoding->actual_length,
                                                           encoder->packet->length, width);
    if (strcmp(text, "*") == 0) {
        if (encoding->actual == NULL)
            fail(encoder, "* stands for anything only in an expected packet");
        return there;
    }
    if (text[0] == '$')
        return bound_value(encoder, text + 1, there);
    if (!vector_number(text, &value))
        fail(encoder, "\"%s\" is not a number", text);
    else if (width < 4 && value >> (8 * width) != 0)
        fail(encoder, "%s does not fit %u bytes", text, width);
    return value;
}

static void field(struct encoder *encoder, struct layer *layer, const char *key, unsigned width,
                  uint32_t standard)
{
    const char *text = word(layer, key);
    uint32_t value = text == NULL ? standard : evaluate(encoder, text, width);
    label(encoder, layer, key, width);
    put_number(encoder, value, width);
}

/* A small number that shares its bytes with others; no names, no *. */
static uint32_t part(struct encoder *encoder, struct layer *layer, const char *key, uint32_t standard)
{
    const char *text = word(layer, key);
    uint32_t value = standard;
    if (text != NULL && strcmp(text, "auto") != 0 && !vector_number(text, &value))
        fail(encoder, "%s=%s: not a number", key, text);
    return value;
}

/* Some bits of a number of `width` bytes at the end of the packet. */
struct bits {
    unsigned width, shift, count;
};

/* Like part(), but may be *. */
static uint32_t shared(struct encoder *encoder, struct layer *layer, const char *key, struct bits bits)
{
    const char *text = word(layer, key);
    if (text != NULL && strcmp(text, "*") == 0)
        return evaluate(encoder, "*", bits.width) & (((1u << bits.count) - 1) << bits.shift);
    return part(encoder, layer, key, 0) << bits.shift;
}

static void address6(struct encoder *encoder, struct layer *layer, const char *key)
{
    struct in6_addr address;
    const char *text = word(layer, key);
    if (text == NULL || inet_pton(AF_INET6, text, &address) != 1) {
        fail(encoder, "%s %s= needs an IPv6 address", layer->words[0], key);
        return;
    }
    label(encoder, layer, key, 16);
    for (unsigned i = 0; i < 16; i++)
        put_byte(encoder, address.s6_addr[i]);
}

static void address4(struct encoder *encoder, struct layer *layer, const char *key)
{
    struct in_addr address;
    const char *text = word(layer, key);
    uint32_t value;
    if (text != NULL && (text[0] == '$' || text[0] == '*')) {
        value = evaluate(encoder, text, 4);
    } else if (text == NULL || inet_pton(AF_INET, text, &address) != 1) {
        fail(encoder, "%s %s= needs an IPv4 address", layer->words[0], key);
        return;
    } else {
        value = ntohl(address.s_addr);
    }
    label(encoder, layer, key, 4);
    put_number(encoder, value, 4);
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

static void put_hex(struct encoder *encoder, const char *text)
{
    for (; *text != '\0'; text += 2) {
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0) {
            fail(encoder, "HEX is an even number of digits 0-9a-f");
            return;
        }
        put_byte(encoder, (uint8_t)(high << 4 | low));
    }
}

/* Checksums, from scratch */

static uint32_t sum_bytes(const uint8_t *bytes, uint32_t length, uint32_t sum)
{
    for (uint32_t i = 0; i < length; i++) {
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint16_t ones_add(uint16_t a, uint16_t b)
{
    uint32_t sum = (uint32_t)a + b;
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static uint32_t pseudo_header(const struct vector_packet *packet, const struct scope *scope)
{
    const struct checksum_note *note = &scope->transport;
    uint32_t length = packet->length - note->start;
    const uint8_t *addresses = packet->bytes + scope->start + (scope->version == 6 ? 8 : 12);
    uint32_t sum = sum_bytes(addresses, scope->version == 6 ? 32 : 8, 0);
    sum += (length >> 16) + (length & 0xffff) + note->protocol;
    return (sum & 0xffff) + (sum >> 16);
}

static void finish_transport(struct encoder *encoder, const struct scope *scope)
{
    struct vector_packet *packet = encoder->packet;
    const struct checksum_note *note = &scope->transport;
    if (!note->present || !note->compute)
        return;
    set_number(packet, note->position, 0, 2);
    uint32_t pseudo = note->protocol == IPPROTO_ICMP ? 0 : pseudo_header(packet, scope);
    if (note->partial) {
        set_number(packet, note->position, pseudo, 2);
        if (encoder->depth > 1)
            return; /* quoted: the offload state is that of the packet around it */
        packet->offload.flags |= OFFLOAD_PARTIAL;
        packet->offload.checksum_start = (uint16_t)(note->start - scope->start);
        packet->offload.checksum_offset = (uint16_t)(note->position - note->start);
        return;
    }
    uint32_t sum = sum_bytes(packet->bytes + note->start, packet->length - note->start, pseudo);
    uint16_t checksum = (uint16_t)~sum;
    checksum = ones_add(checksum, note->off_by);
    if (checksum == 0 && note->udp)
        checksum = 0xffff;
    set_number(packet, note->position, checksum, 2);
}

static void finish_scope(struct encoder *encoder)
{
    struct vector_packet *packet = encoder->packet;
    const struct scope *scope = &encoder->scopes[encoder->depth - 1];
    uint32_t length = packet->length - scope->start;
    if (encoder->failed)
        return;
    if (scope->length_auto && scope->version == 4)
        set_number(packet, scope->start + 2, length, 2);
    if (scope->length_auto && scope->version == 6)
        set_number(packet, scope->start + 4, length - 40, 2);
    if (scope->next_position != 0)
        packet->bytes[scope->next_position] = IPPROTO_NONE;
    finish_transport(encoder, scope);
    if (scope->version == 4 && scope->checksum_auto) {
        uint32_t header = (packet->bytes[scope->start] & 0x0fu) * 4u;
        uint32_t sum;
        if (header > length)
            header = length;
        sum = sum_bytes(packet->bytes + scope->start, header, 0);
        set_number(packet, scope->start + 10, ones_add((uint16_t)~sum, scope->checksum_off_by), 2);
    }
}

/* Reads csum= into the note; what is written now stays unless `compute` is set. */
static bool checksum_word(struct encoder *encoder, struct layer *layer, uint16_t *off_by, bool *partial)
{
    const char *text = word(layer, "csum");
    uint32_t number = 0;
    bool compute = true;
    *off_by = 0;
    label(encoder, layer, "csum", 2);
    if (text == NULL || strcmp(text, "ok") == 0) {
        put_number(encoder, 0, 2);
    } else if (strcmp(text, "partial") == 0 && partial != NULL) {
        *partial = true;
        put_number(encoder, 0, 2);
    } else if (strncmp(text, "bad:+", 5) == 0) {
        if (!vector_number(text + 5, &number) || number == 0 || number > 0xffff)
            fail(encoder, "csum=%s: bad:+N, N from 1 to 65535", text);
        *off_by = (uint16_t)number;
        put_number(encoder, 0, 2);
    } else {
        put_number(encoder, evaluate(encoder, text, 2), 2);
        compute = false;
    }
    return compute;
}

static void transport_checksum(struct encoder *encoder, struct layer *layer, uint32_t start, uint8_t protocol)
{
    struct checksum_note *note = &encoder->scopes[encoder->depth - 1].transport;
    if (note->present)
        fail(encoder, "two transport headers in one packet");
    note->present = true;
    note->start = start;
    note->position = encoder->packet->length;
    note->protocol = protocol;
    note->udp = protocol == IPPROTO_UDP;
    note->compute = checksum_word(encoder, layer, &note->off_by, &note->partial);
}

/* Layers */

static struct scope *scope_of(struct encoder *encoder)
{
    return &encoder->scopes[encoder->depth - 1];
}

/* The header before learns what follows it. */
static void announce(struct encoder *encoder, uint8_t protocol)
{
    struct scope *scope = scope_of(encoder);
    if (scope->next_position != 0)
        encoder->packet->bytes[scope->next_position] = protocol;
    scope->next_position = 0;
}

static void next_field(struct encoder *encoder, struct layer *layer, const char *key)
{
    const char *text = word(layer, key);
    if (text == NULL || strcmp(text, "auto") == 0)
        scope_of(encoder)->next_position = encoder->packet->length;
    label(encoder, layer, key, 1);
    put_number(encoder, part(encoder, layer, key, 0), 1);
}

static struct scope *open_scope(struct encoder *encoder, struct layer *layer, uint8_t version)
{
    if (encoder->depth == SCOPES) {
        fail(encoder, "packets are nested too deep");
        return &encoder->scopes[SCOPES - 1];
    }
    struct scope *scope = &encoder->scopes[encoder->depth++];
    const char *length = word(layer, "len");
    memset(scope, 0, sizeof(*scope));
    scope->start = encoder->packet->length;
    scope->version = version;
    scope->length_auto = length == NULL || strcmp(length, "auto") == 0;
    return scope;
}

static void layer_ip6(struct encoder *encoder, struct layer *layer)
{
    open_scope(encoder, layer, 6);
    uint32_t first = part(encoder, layer, "version", 6) << 28;
    first |= shared(encoder, layer, "tc", (struct bits){4, 20, 8});
    first |= shared(encoder, layer, "flow", (struct bits){4, 0, 20});
    label(encoder, layer, "tc, flow", 4);
    put_number(encoder, first, 4);
    label(encoder, layer, "len", 2);
    put_number(encoder, part(encoder, layer, "len", 0), 2);
    next_field(encoder, layer, "next");
    field(encoder, layer, "hlim", 1, 64);
    address6(encoder, layer, "src");
    address6(encoder, layer, "dst");
}

static void layer_ip4(struct encoder *encoder, struct layer *layer)
{
    struct scope *scope = open_scope(encoder, layer, 4);
    const char *options = word(layer, "options");
    uint32_t words = 5 + (options == NULL ? 0 : (uint32_t)(strlen(options) + 7) / 8);
    label(encoder, layer, "version, ihl", 1);
    put_number(encoder, part(encoder, layer, "version", 4) << 4 | part(encoder, layer, "ihl", words), 1);
    field(encoder, layer, "tos", 1, 0);
    label(encoder, layer, "len", 2);
    put_number(encoder, part(encoder, layer, "len", 0), 2);
    field(encoder, layer, "id", 2, 0);
    label(encoder, layer, "df, mf, frag", 2);
    uint32_t flags = part(encoder, layer, "rf", 0) << 15 | part(encoder, layer, "mf", 0) << 13 |
                     part(encoder, layer, "frag", 0);
    put_number(encoder, flags | shared(encoder, layer, "df", (struct bits){2, 14, 1}), 2);
    field(encoder, layer, "ttl", 1, 64);
    next_field(encoder, layer, "proto");
    scope->checksum_auto = checksum_word(encoder, layer, &scope->checksum_off_by, NULL);
    address4(encoder, layer, "src");
    address4(encoder, layer, "dst");
    if (options != NULL)
        put_hex(encoder, options);
    while ((encoder->packet->length - scope->start) % 4 != 0)
        put_byte(encoder, 0);
}

static void layer_options(struct encoder *encoder, struct layer *layer)
{
    announce(encoder, strcmp(layer->words[0], "hopopts") == 0 ? IPPROTO_HOPOPTS : IPPROTO_DSTOPTS);
    uint32_t size = part(encoder, layer, "size", 8);
    if (size < 8 || size % 8 != 0 || size > 256) {
        fail(encoder, "size= is a multiple of 8 up to 256");
        return;
    }
    next_field(encoder, layer, "next");
    put_number(encoder, size / 8 - 1, 1);
    put_number(encoder, 1, 1); /* PadN */
    put_number(encoder, size - 4, 1);
    for (uint32_t i = 4; i < size; i++)
        put_byte(encoder, 0);
}

static void layer_routing(struct encoder *encoder, struct layer *layer)
{
    const char *body = word(layer, "body");
    announce(encoder, IPPROTO_ROUTING);
    size_t size = body == NULL ? 0 : strlen(body) / 2;
    if (size % 8 != 4) {
        fail(encoder, "body= has 4 bytes more than a multiple of 8");
        return;
    }
    next_field(encoder, layer, "next");
    put_number(encoder, (uint32_t)((size + 4) / 8 - 1), 1);
    field(encoder, layer, "type", 1, 0);
    field(encoder, layer, "left", 1, 0);
    put_hex(encoder, body);
}

static void layer_frag(struct encoder *encoder, struct layer *layer)
{
    announce(encoder, IPPROTO_FRAGMENT);
    next_field(encoder, layer, "next");
    field(encoder, layer, "reserved", 1, 0);
    put_number(encoder, part(encoder, layer, "offset", 0) << 3 | part(encoder, layer, "more", 0), 2);
    field(encoder, layer, "id", 4, 0);
}

static uint32_t tcp_flags(struct encoder *encoder, struct layer *layer)
{
    static const char letters[] = "FSRPAUEC";
    const char *text = word(layer, "flags");
    uint32_t flags = 0;
    for (text = text == NULL ? "S" : text; *text != '\0'; text++) {
        const char *at = strchr(letters, *text);
        if (at == NULL)
            fail(encoder, "flags= is made of the letters %s", letters);
        else
            flags |= 1u << (at - letters);
    }
    return flags;
}

static void layer_tcp(struct encoder *encoder, struct layer *layer)
{
    uint32_t start = encoder->packet->length;
    const char *options = word(layer, "options");
    const char *mss = word(layer, "mss");
    uint32_t size = (options == NULL ? 0 : (uint32_t)strlen(options) / 2) + (mss == NULL ? 0 : 4);
    announce(encoder, IPPROTO_TCP);
    field(encoder, layer, "sport", 2, 0);
    field(encoder, layer, "dport", 2, 0);
    field(encoder, layer, "seq", 4, 1);
    field(encoder, layer, "ack", 4, 0);
    label(encoder, layer, "doff, flags", 2);
    put_number(encoder, part(encoder, layer, "doff", 5 + (size + 3) / 4) << 4, 1);
    put_number(encoder, tcp_flags(encoder, layer), 1);
    field(encoder, layer, "window", 2, 8192);
    transport_checksum(encoder, layer, start, IPPROTO_TCP);
    field(encoder, layer, "urgent", 2, 0);
    if (options != NULL)
        put_hex(encoder, options);
    if (mss != NULL) {
        put_number(encoder, 0x0204, 2);
        field(encoder, layer, "mss", 2, 0);
    }
    while ((encoder->packet->length - start) % 4 != 0)
        put_byte(encoder, 0);
}

static void layer_udp(struct encoder *encoder, struct layer *layer)
{
    uint32_t start = encoder->packet->length;
    const char *length = word(layer, "len");
    announce(encoder, IPPROTO_UDP);
    field(encoder, layer, "sport", 2, 0);
    field(encoder, layer, "dport", 2, 0);
    label(encoder, layer, "len", 2);
    /* The auto length is filled in by the scope's end: 0 cannot be written by hand by mistake for it. */
    put_number(encoder, length == NULL || strcmp(length, "auto") == 0 ? 0 : evaluate(encoder, length, 2), 2);
    transport_checksum(encoder, layer, start, IPPROTO_UDP);
}

static void layer_icmp(struct encoder *encoder, struct layer *layer)
{
    bool six = strcmp(layer->words[0], "icmp6") == 0;
    uint32_t start = encoder->packet->length;
    const char *rest = word(layer, "rest");
    uint32_t length = part(encoder, layer, "length", 0);
    announce(encoder, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    field(encoder, layer, "type", 1, 0);
    field(encoder, layer, "code", 1, 0);
    transport_checksum(encoder, layer, start, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    label(encoder, layer, "rest", 4);
    if (rest != NULL) {
        put_hex(encoder, rest);
    } else if (word(layer, "id") != NULL) {
        field(encoder, layer, "id", 2, 0);
        field(encoder, layer, "seq", 2, 0);
    } else {
        uint32_t pointer = part(encoder, layer, "pointer", 0);
        uint32_t mtu = part(encoder, layer, "mtu", 0);
        put_number(encoder, six ? length << 24 | mtu | pointer : pointer << 24 | length << 16 | mtu, 4);
    }
    if (encoder->packet->length - start != 8)
        fail(encoder, "%s: rest= has 8 hex digits", layer->words[0]);
}

static void layer_payload(struct encoder *encoder, struct layer *layer)
{
    const char *name = layer->words[0];
    const char *argument = layer->count == 2 ? layer->words[1] : "";
    uint32_t number = 0;
    layer->used[1] = true;
    if (strcmp(name, "hex") == 0) {
        put_hex(encoder, argument);
    } else if (strcmp(name, "text") == 0) {
        while (*argument != '\0')
            put_byte(encoder, (uint8_t)*argument++);
    } else if (!vector_number(argument, &number) || number > VECTOR_PACKET) {
        fail(encoder, "%s needs a number of bytes", name);
    } else {
        for (uint32_t i = 0; i < number; i++)
            put_byte(encoder, strcmp(name, "fill") == 0 ? (uint8_t)i : 0);
    }
}

static void udp_length(struct encoder *encoder)
{
    const struct scope *scope = scope_of(encoder);
    if (encoder->failed || !scope->transport.present || !scope->transport.udp)
        return;
    uint32_t position = scope->transport.start + 4;
    if (get_number(encoder->packet->bytes, encoder->packet->length, position, 2) == 0)
        set_number(encoder->packet, position, encoder->packet->length - scope->transport.start, 2);
}

static void close_scope(struct encoder *encoder)
{
    udp_length(encoder);
    finish_scope(encoder);
    if (encoder->depth > 0)
        encoder->depth--;
}

static void layer_keep(struct encoder *encoder, struct layer *layer)
{
    uint32_t size = 0;
    uint32_t start = scope_of(encoder)->start;
    close_scope(encoder);
    layer->used[1] = true;
    if (strcmp(layer->words[0], "end") == 0)
        return;
    if (layer->count != 2 || !vector_number(layer->words[1], &size) || size > encoder->packet->length - start)
        fail(encoder, "keep needs a number of bytes, not more than there are");
    else
        encoder->packet->length = start + size;
}

static void layer_gso(struct encoder *encoder, struct layer *layer)
{
    struct offload *offload = &encoder->packet->offload;
    uint32_t size = 0;
    const char *type = layer->count > 2 ? layer->words[1] : "";
    if (strcmp(type, "tcp4") == 0)
        offload->gso_type = OFFLOAD_GSO_TCPV4;
    else if (strcmp(type, "tcp6") == 0)
        offload->gso_type = OFFLOAD_GSO_TCPV6;
    else if (strcmp(type, "udp") == 0)
        offload->gso_type = OFFLOAD_GSO_UDP;
    if (offload->gso_type == 0 || !vector_number(layer->words[2], &size) || size > 0xffff) {
        fail(encoder, "gso needs tcp4, tcp6 or udp, and a size");
        return;
    }
    layer->used[1] = layer->used[2] = true;
    offload->gso_size = (uint16_t)size;
    if (flag(layer, "ecn"))
        offload->gso_type |= OFFLOAD_GSO_ECN;
    encoder->header_length_auto = word(layer, "hdrlen") == NULL;
    offload->header_length = (uint16_t)part(encoder, layer, "hdrlen", 0);
}

/* Checked at the end too, because a partial checksum sets some of the same fields. */
static void layer_offload(struct encoder *encoder, struct layer *layer)
{
    struct offload *offload = &encoder->packet->offload;
    offload->flags = (uint8_t)part(encoder, layer, "flags", offload->flags);
    offload->gso_type = (uint8_t)part(encoder, layer, "type", offload->gso_type);
    offload->gso_size = (uint16_t)part(encoder, layer, "size", offload->gso_size);
    offload->header_length = (uint16_t)part(encoder, layer, "hdrlen", offload->header_length);
    offload->checksum_start = (uint16_t)part(encoder, layer, "start", offload->checksum_start);
    offload->checksum_offset = (uint16_t)part(encoder, layer, "offset", offload->checksum_offset);
}

static const struct {
    const char *name;
    void (*encode)(struct encoder *encoder, struct layer *layer);
    bool outside; /* may stand before the first IP header or after the packet's end */
} layer_kinds[] = {
    {"ip6", layer_ip6, true},           {"ip4", layer_ip4, true},          {"hopopts", layer_options, false},
    {"destopts", layer_options, false}, {"routing", layer_routing, false}, {"frag", layer_frag, false},
    {"tcp", layer_tcp, false},          {"udp", layer_udp, false},         {"icmp4", layer_icmp, false},
    {"icmp6", layer_icmp, false},       {"text", layer_payload, true},     {"hex", layer_payload, true},
    {"fill", layer_payload, true},      {"zero", layer_payload, true},     {"keep", layer_keep, false},
    {"end", layer_keep, false},         {"gso", layer_gso, true},          {"offload", layer_offload, true},
};

/* Splits `text` into layers and words; quotes hold a word together. */
static bool split(struct encoder *encoder, char *text)
{
    struct layer *layer = &encoder->layers[0];
    encoder->layer_count = 1;
    while (*(text += strspn(text, " \t")) != '\0') {
        char *start = text;
        if (*text == '"') {
            start++;
            text = strchr(start, '"');
            if (text == NULL)
                return fail(encoder, "a quote is not closed");
        } else {
            text += strcspn(text, " \t");
        }
        if (*text != '\0')
            *text++ = '\0';
        if (strcmp(start, "/") == 0) {
            if (encoder->layer_count == LAYERS || layer->count == 0)
                return fail(encoder, "too many layers, or an empty one");
            layer = &encoder->layers[encoder->layer_count++];
        } else if (layer->count == WORDS) {
            return fail(encoder, "too many words in a layer");
        } else {
            layer->words[layer->count++] = start;
        }
    }
    return layer->count > 0 || fail(encoder, "an empty layer");
}

static void encode_layer(struct encoder *encoder, struct layer *layer)
{
    for (size_t i = 0; i < sizeof(layer_kinds) / sizeof(layer_kinds[0]); i++) {
        if (strcmp(layer->words[0], layer_kinds[i].name) != 0)
            continue;
        if (encoder->depth == 0 && !layer_kinds[i].outside) {
            fail(encoder, "%s stands outside an ip4 or ip6 packet", layer->words[0]);
            return;
        }
        layer_kinds[i].encode(encoder, layer);
        for (unsigned k = 1; k < layer->count && !encoder->failed; k++)
            if (!layer->used[k])
                fail(encoder, "%s does not know \"%s\"", layer->words[0], layer->words[k]);
        bool header = layer_kinds[i].encode == layer_tcp || layer_kinds[i].encode == layer_udp;
        if (header && encoder->depth == 1)
            encoder->header_end = encoder->packet->length;
        return;
    }
    fail(encoder, "\"%s\" is not a layer", layer->words[0]);
}

bool vector_encode(struct vector_encoding *encoding, const char *text, struct vector_packet *packet)
{
    static char copy[TEXT];
    struct encoder encoder = {.encoding = encoding, .packet = packet};
    packet->length = 0;
    packet->label_count = 0;
    memset(&packet->offload, 0, sizeof(packet->offload));
    if (strlen(text) >= sizeof(copy))
        return fail(&encoder, "the line is longer than %d bytes", TEXT);
    strcpy(copy, text);
    if (!split(&encoder, copy))
        return false;
    for (unsigned i = 0; i < encoder.layer_count && !encoder.failed; i++)
        encode_layer(&encoder, &encoder.layers[i]);
    while (encoder.depth > 0)
        close_scope(&encoder);
    if (encoder.header_length_auto)
        packet->offload.header_length = (uint16_t)encoder.header_end;
    for (unsigned i = 0; i < encoder.layer_count && !encoder.failed; i++)
        if (strcmp(encoder.layers[i].words[0], "offload") == 0)
            layer_offload(&encoder, &encoder.layers[i]);
    return !encoder.failed;
}
