/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing messages; the contract is in the header.
 *
 * Everything goes through put(), which knows the limit. What was written can be taken back by going to a
 * mark: of the record that did not fit, of its set, of a section. The names that pointers may lead to are
 * remembered in the order of their places, so going back forgets those that are no longer there.
 *
 * Names are compared with few bytes touched: each remembered name has a tag of 16 bits, computed from its end
 * towards its start, so one pass over a name gives the tags of all names that it ends with.
 */
#include "dns64/message.h"

#include <string.h>

#include "dns64/rdata.h"

enum {
    POINTER = 0xc000,       /* RFC 1035 section 4.1.4 */
    POINTER_REACH = 0x4000, /* places from here on have no room in a pointer */
    OPT_FIXED = 11,         /* bytes of an OPT record without options */
    OPTION_FIXED = 4,       /* bytes of an option before its data */
    OPTION_ERROR = 15,      /* RFC 8914 section 2 */
};

static bool put(struct dns_writer *writer, const void *bytes, size_t n)
{
    if (writer->size + writer->kept + n > writer->limit)
        return false;
    memcpy(writer->bytes + writer->size, bytes, n);
    writer->size += n;
    return true;
}

static bool put16(struct dns_writer *writer, uint32_t number)
{
    be16 field = to_be16((uint16_t)number);
    return put(writer, &field, sizeof(field));
}

static bool put32(struct dns_writer *writer, uint32_t number)
{
    be32 field = to_be32(number);
    return put(writer, &field, sizeof(field));
}

/*** Names ***/

/* A name taken to pieces: its labels, without the root's. */
struct labels {
    unsigned count;
    uint8_t at[DNS_LABELS_MAX];   /* where each begins */
    uint16_t tag[DNS_LABELS_MAX]; /* of the name from there on */
};

static void take_to_pieces(const struct dns_name *name, struct labels *labels)
{
    uint32_t sum = 2166136261u;
    labels->count = 0;
    for (size_t at = 0; name->wire[at] != 0; at += 1u + name->wire[at])
        labels->at[labels->count++] = (uint8_t)at;
    for (unsigned i = labels->count; i-- > 0;) {
        const uint8_t *label = name->wire + labels->at[i];
        for (size_t k = 0; k <= label[0]; k++)
            sum = (sum ^ dns_lower(label[k])) * 16777619u;
        labels->tag[i] = (uint16_t)(sum ^ (sum >> 16));
    }
}

/* Whether the name that was written at `at` is the flat one. Its pointers are our own and lead backwards. */
static bool written_equal(const struct dns_writer *writer, size_t at, const uint8_t *flat)
{
    const uint8_t *bytes = writer->bytes;
    for (;;) {
        if (bytes[at] > DNS_LABEL_MAX) {
            at = from_be16(load_be16(bytes + at)) & (POINTER_REACH - 1u);
            continue;
        }
        for (size_t i = 0; i <= flat[0]; i++)
            if (dns_lower(bytes[at + i]) != dns_lower(flat[i]))
                return false;
        if (flat[0] == 0)
            return true;
        at += 1u + flat[0];
        flat += 1u + flat[0];
    }
}

/* The place of the name that is this one from label `first` on; 0 if there is none. */
static uint16_t find_target(const struct dns_writer *writer, const struct dns_name *name,
                            const struct labels *labels, unsigned first)
{
    for (size_t i = 0; i < writer->names; i++)
        if (writer->target[i].tag == labels->tag[first] &&
            written_equal(writer, writer->target[i].at, name->wire + labels->at[first]))
            return writer->target[i].at;
    return 0;
}

static void remember(struct dns_writer *writer, size_t at, uint16_t tag)
{
    if (writer->names < DNS_COMPRESSION_NAMES && at < POINTER_REACH)
        writer->target[writer->names++] = (struct dns_target){(uint16_t)at, tag};
}

/* A name with its end replaced by a pointer, where one is known that ends alike. */
static bool put_compressed(struct dns_writer *writer, const struct dns_name *name)
{
    struct labels labels;
    size_t start = writer->size;
    unsigned own = 0; /* labels that are not yet in the message */
    uint16_t target = 0;
    take_to_pieces(name, &labels);
    while (own < labels.count && (target = find_target(writer, name, &labels, own)) == 0)
        own++;
    if (target == 0 ? !put(writer, name->wire, name->length)
                    : !put(writer, name->wire, labels.at[own]) || !put16(writer, POINTER | target))
        return false;
    for (unsigned i = 0; i < own; i++)
        remember(writer, start + labels.at[i], labels.tag[i]);
    return true;
}

/*** Marks ***/

static struct dns_mark mark_here(const struct dns_writer *writer)
{
    struct dns_mark mark = {.size = (uint16_t)writer->size, .names = writer->names};
    memcpy(mark.counts, writer->counts, sizeof(mark.counts));
    return mark;
}

static void go_back(struct dns_writer *writer, const struct dns_mark *mark)
{
    writer->size = mark->size;
    writer->names = mark->names;
    memcpy(writer->counts, mark->counts, sizeof(mark->counts));
}

/*** Header, question, sections ***/

void dns_writer_open(struct dns_writer *writer, uint8_t *bytes, size_t limit, const struct dns_header *header)
{
    writer->bytes = bytes;
    writer->limit = limit < DNS_MESSAGE_MAX ? limit : DNS_MESSAGE_MAX;
    writer->kept = 0;
    writer->size = DNS_HEADER_LENGTH;
    writer->header = *header;
    writer->opt = (struct dns_opt){.present = false};
    writer->has_question = writer->truncated = writer->dropped = writer->in_set = false;
    writer->section = writer->cut = DNS_ANSWER;
    writer->names = 0;
    memset(writer->counts, 0, sizeof(writer->counts));
    writer->sections[DNS_ANSWER] = mark_here(writer);
}

void dns_writer_question(struct dns_writer *writer, const struct dns_name *name, uint16_t type,
                         uint16_t class)
{
    writer->has_question = put_compressed(writer, name) && put16(writer, type) && put16(writer, class);
    if (!writer->has_question)
        go_back(writer, &writer->sections[DNS_ANSWER]);
    writer->sections[DNS_ANSWER] = mark_here(writer);
}

void dns_writer_reply(struct dns_writer *writer, uint8_t *bytes, size_t limit, const struct dns_query *query,
                      uint16_t rcode, uint16_t udp_size)
{
    const struct dns_header header = {
        .id = query->header.id,
        .rcode = rcode,
        .opcode = query->header.opcode,
        .response = true,
        .recursion_desired = query->header.recursion_desired,
        .recursion_available = true,
        .checking_disabled = query->header.checking_disabled,
    };
    dns_writer_open(writer, bytes, limit, &header);
    if (query->has_question)
        dns_writer_question(writer, &query->question.asked, query->question.type, query->question.class);
    if (query->edns.present) {
        const struct dns_opt opt = {
            .present = true, .dnssec_ok = query->edns.dnssec_ok, .udp_size = udp_size};
        dns_writer_opt(writer, &opt);
    }
}

/* Bytes of the extended error's text that are sent: no character of UTF-8 is cut in two. */
static size_t error_text_length(const struct dns_opt *opt)
{
    size_t length;
    if (opt->error_text == NULL)
        return 0;
    length = strnlen(opt->error_text, DNS_ERROR_TEXT_MAX + 1);
    if (length <= DNS_ERROR_TEXT_MAX)
        return length;
    length = DNS_ERROR_TEXT_MAX;
    while (length > 0 && ((uint8_t)opt->error_text[length] & 0xc0) == 0x80)
        length--;
    return length;
}

/* Bytes of the options. */
static size_t options_length(const struct dns_opt *opt)
{
    return opt->has_error ? OPTION_FIXED + 2 + error_text_length(opt) : 0;
}

void dns_writer_opt(struct dns_writer *writer, const struct dns_opt *opt)
{
    writer->opt = *opt;
    writer->kept = opt->present ? OPT_FIXED + options_length(opt) : 0;
}

void dns_writer_error(struct dns_writer *writer, uint16_t code, const char *text)
{
    struct dns_opt opt = writer->opt;
    opt.has_error = true;
    opt.error_code = code;
    opt.error_text = text;
    dns_writer_opt(writer, &opt);
}

void dns_writer_rcode(struct dns_writer *writer, uint16_t rcode)
{
    writer->header.rcode = rcode;
}

void dns_writer_authentic(struct dns_writer *writer, bool authentic)
{
    writer->header.authentic = authentic;
}

void dns_writer_section(struct dns_writer *writer, enum dns_section section)
{
    while (writer->section < section) {
        writer->section++;
        writer->sections[writer->section] = mark_here(writer);
        writer->in_set = false;
    }
}

void dns_writer_rewind(struct dns_writer *writer, enum dns_section section)
{
    if (section > writer->section)
        return;
    go_back(writer, &writer->sections[section]);
    writer->section = section;
    writer->in_set = false;
    if (writer->truncated && writer->cut >= section)
        writer->truncated = false;
}

/*** Records ***/

/* A record to write, its data wherever they are. */
struct source {
    const struct dns_name *owner;
    struct dns_rdata rdata;
    uint16_t class;
    uint32_t ttl;
};

static bool sink_bytes(void *holder, const uint8_t *bytes, size_t n)
{
    return put(holder, bytes, n);
}

/*
 * A name that must not be compressed is no target of pointers either: who does not know its type could not
 * follow them.
 */
static bool sink_name(void *holder, const struct dns_name *name, bool compress)
{
    return compress ? put_compressed(holder, name) : put(holder, name->wire, name->length);
}

static enum dns_written put_record(struct dns_writer *writer, const struct source *source)
{
    const struct dns_sink sink = {writer, sink_bytes, sink_name};
    enum dns_written written;
    size_t rdata;
    if (!put_compressed(writer, source->owner) || !put16(writer, source->rdata.type) ||
        !put16(writer, source->class) || !put32(writer, source->ttl) || !put16(writer, 0))
        return DNS_FULL;
    rdata = writer->size;
    written = dns_rdata_walk(&source->rdata, &sink);
    if (written == DNS_WRITTEN)
        store_be16(writer->bytes + rdata - 2, to_be16((uint16_t)(writer->size - rdata)));
    return written;
}

static bool in_last_set(const struct dns_writer *writer, const struct source *source)
{
    return writer->in_set && writer->set_type == source->rdata.type && writer->set_class == source->class &&
           dns_name_equal(&writer->set_owner, source->owner);
}

static void begin_set(struct dns_writer *writer, const struct source *source)
{
    writer->in_set = true;
    writer->dropped = false;
    writer->set_type = source->rdata.type;
    writer->set_class = source->class;
    writer->set_owner.length = source->owner->length;
    memcpy(writer->set_owner.wire, source->owner->wire, source->owner->length);
    writer->set = mark_here(writer);
}

/* The set does not fit: without it, the message is cut short, or just not as helpful as it could be. */
static void drop_set(struct dns_writer *writer)
{
    go_back(writer, &writer->set);
    writer->dropped = true;
    if (writer->section != DNS_ADDITIONAL) {
        writer->truncated = true;
        writer->cut = writer->section;
    }
}

static enum dns_written write_source(struct dns_writer *writer, const struct source *source)
{
    enum dns_written written;
    struct dns_mark before;
    if (source->rdata.type == DNS_TYPE_OPT)
        return DNS_UNSOUND;
    if (!in_last_set(writer, source))
        begin_set(writer, source);
    if (writer->truncated || writer->dropped)
        return DNS_FULL;
    before = mark_here(writer);
    written = put_record(writer, source);
    if (written == DNS_WRITTEN)
        writer->counts[writer->section]++;
    else if (written == DNS_FULL)
        drop_set(writer);
    else
        go_back(writer, &before);
    return written;
}

enum dns_written dns_writer_record(struct dns_writer *writer, const struct dns_data *data)
{
    /* Of flat data no byte may be the target of a pointer. */
    const struct dns_reader flat = {.bytes = data->rdata, .size = data->rdata_length, .first = SIZE_MAX};
    const struct source source = {
        data->owner, {&flat, 0, data->rdata_length, data->type}, data->class, data->ttl};
    return write_source(writer, &source);
}

/* rfc: 6891-6.1.1-b */
enum dns_written dns_writer_copy(struct dns_writer *writer, const struct dns_reader *reader,
                                 const struct dns_record *record, uint32_t ttl)
{
    const struct source source = {
        &record->owner, {reader, record->rdata, record->rdata_length, record->type}, record->class, ttl};
    return write_source(writer, &source);
}

/*** The end ***/

static uint32_t header_flags(const struct dns_writer *writer, uint32_t rcode)
{
    const struct dns_header *header = &writer->header;
    uint32_t flags = ((uint32_t)header->opcode & 15) << DNS_OPCODE_SHIFT | (rcode & 15);
    flags |= header->response ? DNS_FLAG_RESPONSE : 0;
    flags |= header->authoritative ? DNS_FLAG_AUTHORITATIVE : 0;
    flags |= writer->truncated ? DNS_FLAG_TRUNCATED : 0;
    flags |= header->recursion_desired ? DNS_FLAG_RECURSION_DESIRED : 0;
    flags |= header->recursion_available ? DNS_FLAG_RECURSION_AVAILABLE : 0;
    flags |= header->authentic ? DNS_FLAG_AUTHENTIC : 0;
    flags |= header->checking_disabled ? DNS_FLAG_CHECKING_DISABLED : 0;
    return flags;
}

static bool put_error(struct dns_writer *writer)
{
    const struct dns_opt *opt = &writer->opt;
    size_t text = error_text_length(opt);
    return put16(writer, OPTION_ERROR) && put16(writer, (uint32_t)(2 + text)) &&
           put16(writer, opt->error_code) && (text == 0 || put(writer, opt->error_text, text));
}

/* RFC 6891 section 6.1.2, the version being 0. rfc: 8914-2-a */
static bool put_opt(struct dns_writer *writer, uint32_t rcode)
{
    static const uint8_t root[1] = {0};
    const struct dns_opt *opt = &writer->opt;
    uint32_t ttl = (rcode >> 4) << 24 | (opt->dnssec_ok ? DNS_EDNS_DNSSEC_OK : 0);
    return put(writer, root, sizeof(root)) && put16(writer, DNS_TYPE_OPT) && put16(writer, opt->udp_size) &&
           put32(writer, ttl) && put16(writer, (uint32_t)options_length(opt)) &&
           (!opt->has_error || put_error(writer));
}

size_t dns_writer_finish(struct dns_writer *writer)
{
    uint32_t rcode = writer->header.rcode;
    uint8_t *bytes = writer->bytes;
    writer->kept = 0;
    if (writer->opt.present && put_opt(writer, rcode))
        writer->counts[DNS_ADDITIONAL]++;
    else if (rcode > 15)
        rcode = DNS_RCODE_SERVFAIL;
    store_be16(bytes, to_be16(writer->header.id));
    store_be16(bytes + 2, to_be16((uint16_t)header_flags(writer, rcode)));
    store_be16(bytes + 4, to_be16(writer->has_question ? 1 : 0));
    for (size_t i = 0; i < DNS_SECTIONS; i++)
        store_be16(bytes + 6 + 2 * i, to_be16(writer->counts[i]));
    return writer->size;
}
