/* SPDX-License-Identifier: BSD-2-Clause */
#include "control/pcapng.h"

#include <string.h>

enum {
    BYTE_ORDER_MAGIC = 0x1a2b3c4d,
    VERSION_MAJOR = 1,
    VERSION_MINOR = 0,
    LINKTYPE_RAW = 101, /* the packet begins with its IP header, of either version */
    RESOLUTION = 9,     /* times count 10^-9 s */

    OPTION_END = 0,
    OPTION_COMMENT = 1,
    SECTION_APPLICATION = 4,
    INTERFACE_NAME = 2,
    INTERFACE_DESCRIPTION = 3,
    INTERFACE_RESOLUTION = 9,
    PACKET_FLAGS = 2,
    PACKET_NUMBER = 5,
    PACKET_QUEUE = 6,
    STATISTICS_MISSED = 5,

    FLAG_INBOUND = 1,
    FLAG_OUTBOUND = 2,
};

static void put(struct pcapng *to, const void *value, size_t length)
{
    if (length > to->size - to->length)
        return;
    memcpy(to->bytes + to->length, value, length);
    to->length += length;
}

static void put16(struct pcapng *to, uint16_t value)
{
    put(to, &value, sizeof(value));
}

static void put32(struct pcapng *to, uint32_t value)
{
    put(to, &value, sizeof(value));
}

static void put64(struct pcapng *to, uint64_t value)
{
    put(to, &value, sizeof(value));
}

static void put_filled_up(struct pcapng *to, const void *value, size_t length)
{
    static const uint8_t zeroes[3];
    put(to, value, length);
    put(to, zeroes, (4 - length % 4) % 4);
}

static void put_time(struct pcapng *to, uint64_t time)
{
    put32(to, (uint32_t)(time >> 32));
    put32(to, (uint32_t)time);
}

static void put_option(struct pcapng *to, uint16_t code, const void *value, size_t length)
{
    put16(to, code);
    put16(to, (uint16_t)length);
    put_filled_up(to, value, length);
}

static void put_text(struct pcapng *to, uint16_t code, const char *text)
{
    put_option(to, code, text, strnlen(text, PCAPNG_TEXT_MAXIMUM));
}

/* Returns where the block starts. */
static size_t begin(struct pcapng *to, uint32_t type)
{
    size_t start = to->length;
    put32(to, type);
    put32(to, 0);
    return start;
}

static void end(struct pcapng *to, size_t start)
{
    put32(to, OPTION_END);
    put32(to, 0);
    uint32_t length = (uint32_t)(to->length - start);
    memcpy(to->bytes + start + 4, &length, sizeof(length));
    memcpy(to->bytes + to->length - 4, &length, sizeof(length));
}

void pcapng_section(struct pcapng *to, const char *application)
{
    size_t start = begin(to, PCAPNG_SECTION);
    put32(to, BYTE_ORDER_MAGIC);
    put16(to, VERSION_MAJOR);
    put16(to, VERSION_MINOR);
    put64(to, UINT64_MAX); /* the section goes on to the end */
    put_text(to, SECTION_APPLICATION, application);
    end(to, start);
}

void pcapng_interface(struct pcapng *to, const struct pcapng_interface *interface)
{
    const uint8_t resolution = RESOLUTION;
    size_t start = begin(to, PCAPNG_INTERFACE);
    put16(to, LINKTYPE_RAW);
    put16(to, 0);
    put32(to, interface->snap);
    put_text(to, INTERFACE_NAME, interface->name);
    put_text(to, INTERFACE_DESCRIPTION, interface->description);
    put_option(to, INTERFACE_RESOLUTION, &resolution, sizeof(resolution));
    end(to, start);
}

void pcapng_packet(struct pcapng *to, const struct pcapng_packet *packet)
{
    const uint32_t flags = packet->outbound ? FLAG_OUTBOUND : FLAG_INBOUND;
    size_t start = begin(to, PCAPNG_PACKET);
    put32(to, 0); /* the first and only interface */
    put_time(to, packet->time);
    put32(to, packet->kept);
    put32(to, packet->length);
    put_filled_up(to, packet->bytes, packet->kept);
    put_text(to, OPTION_COMMENT, packet->comment);
    put_option(to, PACKET_FLAGS, &flags, sizeof(flags));
    put_option(to, PACKET_NUMBER, &packet->number, sizeof(packet->number));
    put_option(to, PACKET_QUEUE, &packet->queue, sizeof(packet->queue));
    end(to, start);
}

void pcapng_statistics(struct pcapng *to, uint64_t time, uint64_t missed)
{
    size_t start = begin(to, PCAPNG_STATISTICS);
    put32(to, 0);
    put_time(to, time);
    put_option(to, STATISTICS_MISSED, &missed, sizeof(missed));
    end(to, start);
}
