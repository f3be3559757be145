/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One JSON object on one line, written straight into a buffer.
 *
 * The lists of the control API have a million rows of the same few fields, made on a thread that shares its
 * processors with the packets' workers. With a tree of jansson's values a row took 8.5 microseconds, and with
 * inet_ntop() for the addresses, which goes by way of sprintf(), still two; this takes 0.6 with all that is
 * around it. What is no list is left to jansson.
 *
 * Nothing is written beyond the buffer: what does not fit is left out, and `full` says so.
 */
#ifndef CONTROL_JSON_LINE_H
#define CONTROL_JSON_LINE_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/ipv6.h"

struct json_line {
    char *at, *end;
    bool full;
};

static inline void line_bytes(struct json_line *line, const char *bytes, size_t length)
{
    if ((size_t)(line->end - line->at) < length) {
        line->full = true;
        return;
    }
    memcpy(line->at, bytes, length);
    line->at += length;
}

static inline void line_text(struct json_line *line, const char *text)
{
    line_bytes(line, text, strlen(text));
}

static inline void line_byte(struct json_line *line, char byte)
{
    line_bytes(line, &byte, 1);
}

static inline void line_number(struct json_line *line, uint64_t number)
{
    char digits[20]; /* 2^64 has as many */
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    line_bytes(line, digits + first, sizeof(digits) - first);
}

static inline void line_hex(struct json_line *line, uint16_t number)
{
    char digits[4];
    size_t first = sizeof(digits);
    do {
        digits[--first] = "0123456789abcdef"[number & 15];
        number = (uint16_t)(number >> 4);
    } while (number != 0);
    line_bytes(line, digits + first, sizeof(digits) - first);
}

static inline void line_boolean(struct json_line *line, bool value)
{
    line_text(line, value ? "true" : "false");
}

/* A string in its quotes; `text` is UTF-8. */
static inline void line_string(struct json_line *line, const char *text)
{
    line_byte(line, '"');
    while (*text != '\0') {
        size_t plain = 0;
        while ((unsigned char)text[plain] >= 0x20 && text[plain] != '"' && text[plain] != '\\')
            plain++;
        line_bytes(line, text, plain);
        text += plain;
        if (*text == '\0')
            break;
        if (*text == '"' || *text == '\\') {
            line_byte(line, '\\');
            line_byte(line, *text);
        } else {
            line_text(line, *text < 0x10 ? "\\u000" : "\\u00");
            line_hex(line, (unsigned char)*text);
        }
        text++;
    }
    line_byte(line, '"');
}

/* The text of an IPv4 address, without quotes. */
static inline void line_ipv4(struct json_line *line, be32 address)
{
    uint32_t number = from_be32(address);
    for (int shift = 24; shift >= 0; shift -= 8) {
        line_number(line, number >> shift & 255);
        if (shift > 0)
            line_byte(line, '.');
    }
}

/* The longest row of two zero groups or more, the first of several, RFC 5952 section 4.2. */
static inline unsigned longest_zeros(const uint16_t groups[8], unsigned *length)
{
    unsigned first = 8, run = 0;
    *length = 1;
    for (unsigned i = 0; i < 8; i++) {
        run = groups[i] == 0 ? run + 1 : 0;
        if (run > *length) {
            *length = run;
            first = i + 1 - run;
        }
    }
    return first;
}

/* The text of an IPv6 address, without quotes: what inet_ntop() makes of it. */
static inline void line_ipv6(struct json_line *line, const struct ipv6_address *address)
{
    uint16_t groups[8];
    unsigned length;
    for (unsigned i = 0; i < 8; i++)
        groups[i] = (uint16_t)(address->bytes[2 * i] << 8 | address->bytes[2 * i + 1]);
    unsigned first = longest_zeros(groups, &length);
    if (first == 0 && (length == 6 || (length == 5 && groups[5] == 0xffff))) { /* ::ffff:192.0.2.1 */
        char text[INET6_ADDRSTRLEN];
        inet_ntop(AF_INET6, address->bytes, text, sizeof(text));
        line_text(line, text);
        return;
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i == first) {
            line_text(line, "::");
            i += length - 1;
            continue;
        }
        if (i > 0 && i != first + length)
            line_byte(line, ':');
        line_hex(line, groups[i]);
    }
}

/* "192.0.2.1:80" */
static inline void line_endpoint4(struct json_line *line, be32 address, be16 port)
{
    line_byte(line, '"');
    line_ipv4(line, address);
    line_byte(line, ':');
    line_number(line, from_be16(port));
    line_byte(line, '"');
}

/* "[2001:db8::1]:80" */
static inline void line_endpoint6(struct json_line *line, const struct ipv6_address *address, be16 port)
{
    line_text(line, "\"[");
    line_ipv6(line, address);
    line_text(line, "]:");
    line_number(line, from_be16(port));
    line_byte(line, '"');
}

#endif /* CONTROL_JSON_LINE_H */
