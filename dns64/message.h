/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DNS messages (RFC 1035 section 4), read from bytes that anybody may have sent and written into a buffer of
 * the caller's.
 *
 * Reading trusts nothing: every length is checked against the bytes at hand, a pointer in a name leads
 * backwards only and a name follows at most 127 of them, so what a message costs to read grows with its size
 * and no faster. Nothing is kept: what is read is copied out, or described by its place in the message.
 *
 * Writing never passes the limit. A record goes in whole or not at all; where one does not fit, the record
 * set that it belongs to goes as well, and unless that set was additional the reply says TC (RFC 2181
 * section 9). Room for the OPT record is kept from the beginning, since a reply that was cut short needs it
 * too (RFC 6891 section 7).
 *
 * No function allocates, waits, reads a clock or keeps a pointer, but for reader and writer, which point to
 * their message. Numbers are in the order of the host, addresses and names as on the wire.
 */
#ifndef DNS64_MESSAGE_H
#define DNS64_MESSAGE_H

#include "dns64/name.h"

enum {
    DNS_HEADER_LENGTH = 12,
    DNS_MESSAGE_MAX = 65535,    /* bytes of a message: the length before it in TCP, RFC 1035 section 4.2.2 */
    DNS_UDP_SIZE_PLAIN = 512,   /* bytes of a datagram without EDNS, RFC 1035 section 4.2.1 */
    DNS_POINTERS_MAX = 127,     /* in one name: one behind each of its labels */
    DNS_ERROR_TEXT_MAX = 64,    /* bytes of the text of an extended error that is written */
    DNS_COMPRESSION_NAMES = 64, /* names that a writer remembers as targets of pointers */
};

/* Types that have a meaning here (IANA, "Resource Record (RR) TYPEs"). */
enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
    DNS_TYPE_DNAME = 39,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_DS = 43,
    DNS_TYPE_RRSIG = 46,
    DNS_TYPE_NSEC = 47,
    DNS_TYPE_NSEC3 = 50,
    DNS_TYPE_SVCB = 64,
    DNS_TYPE_HTTPS = 65,
    DNS_TYPE_ANY = 255,
};

enum { DNS_CLASS_IN = 1 };

enum { DNS_OPCODE_QUERY = 0 };

/* RFC 1035 section 4.1.1; the last needs an OPT record (RFC 6891 section 9). */
enum dns_rcode {
    DNS_RCODE_NOERROR = 0,
    DNS_RCODE_FORMERR = 1,
    DNS_RCODE_SERVFAIL = 2,
    DNS_RCODE_NXDOMAIN = 3,
    DNS_RCODE_NOTIMP = 4,
    DNS_RCODE_REFUSED = 5,
    DNS_RCODE_BADVERS = 16,
};

/* The second 16 bits of a header (RFC 1035 section 4.1.1, RFC 4035 section 3.2). */
enum {
    DNS_FLAG_RESPONSE = 0x8000,
    DNS_OPCODE_SHIFT = 11,
    DNS_FLAG_AUTHORITATIVE = 0x0400,
    DNS_FLAG_TRUNCATED = 0x0200,
    DNS_FLAG_RECURSION_DESIRED = 0x0100,
    DNS_FLAG_RECURSION_AVAILABLE = 0x0080,
    DNS_FLAG_AUTHENTIC = 0x0020,
    DNS_FLAG_CHECKING_DISABLED = 0x0010,
};

enum { DNS_EDNS_DNSSEC_OK = 0x00008000 }; /* DO, in the TTL of an OPT record */

/* The sections that hold records, in their order. */
enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL, DNS_SECTIONS };

struct dns_header {
    uint16_t id;
    uint16_t rcode;     /* 0 to 15 as read; when written up to 4095, the upper bits of which go into OPT */
    uint8_t opcode;     /* 0 to 15 */
    bool response;      /* QR */
    bool authoritative; /* AA */
    bool truncated;     /* TC; a writer sets it by itself */
    bool recursion_desired;   /* RD */
    bool recursion_available; /* RA */
    bool authentic;           /* AD, RFC 4035 section 3.2.3 */
    bool checking_disabled;   /* CD, RFC 4035 section 3.2.2 */
};

struct dns_question {
    struct dns_name name;  /* lower case, to look things up with */
    struct dns_name asked; /* as it was asked: a reply repeats the case, which resolvers check */
    uint16_t type, class;
};

/* What an OPT record says (RFC 6891 section 6.1.3). Its options are checked for their lengths, then ignored.
 */
struct dns_edns {
    bool present;
    bool dnssec_ok;         /* DO */
    uint8_t version;        /* 0 is the only one there is */
    uint8_t extended_rcode; /* the upper eight bits of twelve */
    uint16_t udp_size;      /* bytes; as it stands, and values below 512 mean 512 (section 6.2.3) */
};

/* A record and where it stands. */
struct dns_record {
    enum dns_section section;
    struct dns_name owner; /* in the case in which it stands */
    uint16_t type, class;
    uint32_t
        ttl;     /* seconds, 0 where the top bit is set (RFC 2181 section 8); of an OPT record as it stands */
    uint16_t at; /* where the record begins, in bytes from the start of the message */
    uint16_t rdata;        /* where its data begin, the same */
    uint16_t rdata_length; /* the data lie within the message */
};

/*** Reading ***/

struct dns_reader {
    const uint8_t *bytes;
    size_t size, at;
    size_t first;                /* the first byte to which a pointer may lead */
    uint16_t left[DNS_SECTIONS]; /* records not yet read */
};

/* False if there are fewer than 12 bytes. */
bool dns_header_read(struct dns_header *header, const uint8_t *bytes, size_t size);

/*
 * Starts to read a message of at most 65535 bytes: its header and its one question. False if it is cut short
 * or has no or several questions; *header is read if there are 12 bytes.
 */
bool dns_reader_open(struct dns_reader *reader, const uint8_t *bytes, size_t size, struct dns_header *header,
                     struct dns_question *question);

enum dns_next {
    DNS_NEXT_RECORD,
    DNS_NEXT_END,       /* as many as the header says; bytes behind them are left alone */
    DNS_NEXT_MALFORMED, /* it leads out of the message, or its owner is no name. Nothing follows */
};

/*
 * The next record, section by section. Its data are known to lie within the message, no more: the functions
 * below check what they read of them.
 */
enum dns_next dns_reader_next(struct dns_reader *reader, struct dns_record *record);

/*
 * Reads the name at *at, follows its pointers and moves *at behind it. False, and *at is unchanged, if it is
 * cut short, too long, has labels of another kind than RFC 1035's or pointers that do not lead backwards to
 * behind the header, or more than 127 of them.
 */
bool dns_reader_name(const struct dns_reader *reader, size_t *at, struct dns_name *name);

/* What the data of a record say; false if it is not of that type (and class IN for addresses) or not sound.
 */
bool dns_record_ipv4(const struct dns_reader *reader, const struct dns_record *record, be32 *address);
bool dns_record_ipv6(const struct dns_reader *reader, const struct dns_record *record,
                     struct ipv6_address *address);
/* The name that a CNAME, DNAME, NS or PTR record leads to. */
bool dns_record_target(const struct dns_reader *reader, const struct dns_record *record,
                       struct dns_name *target);
/* The last field of an SOA record, seconds: with its TTL it limits negative answers (RFC 2308 section 5). */
bool dns_record_soa_minimum(const struct dns_reader *reader, const struct dns_record *record,
                            uint32_t *minimum);

/*
 * An OPT record. False unless it stands in the additional section, belongs to the root, and, in version 0,
 * its options fill its data exactly.
 */
bool dns_record_edns(const struct dns_reader *reader, const struct dns_record *record, struct dns_edns *edns);

/*
 * The data with names written out, as a cache keeps them and dns_writer_record takes them. Returns their
 * length, or -1 if they do not have the form of their type or need more than `room` bytes. Data of types
 * whose names must not be compressed, or that are not known, are copied as they are (RFC 3597 section 4).
 */
long dns_record_flatten(const struct dns_reader *reader, const struct dns_record *record, uint8_t *flat,
                        size_t room);

/* What to do with a message that came to the server's port. */
enum dns_verdict {
    DNS_VERDICT_ANSWER,  /* a query: one question, opcode QUERY */
    DNS_VERDICT_SILENCE, /* no header, or a response: an answer might start a quarrel between two servers */
    DNS_VERDICT_FORMERR, /* not sound, or not one question; also bytes behind the end, two OPT records */
    DNS_VERDICT_NOTIMP,  /* another opcode. Nothing but the header was read */
    DNS_VERDICT_BADVERS, /* EDNS of a version above 0 (RFC 6891 section 6.1.3) */
    DNS_VERDICTS
};

struct dns_query {
    struct dns_header header;
    struct dns_question question;
    struct dns_edns edns; /* if the record is not sound, `present` and nothing else: the reply has one, too */
    bool has_question;    /* it could be read, so that a reply can repeat it, an error too */
};

/* Reads a message as a query. With SILENCE nothing of *query is to be used. */
enum dns_verdict dns_query_read(struct dns_query *query, const uint8_t *bytes, size_t size);

/* The rcode that goes with a verdict; NOERROR with ANSWER. Not for SILENCE. */
uint16_t dns_verdict_rcode(enum dns_verdict verdict);

/* Bytes that a reply by UDP may have: what the client says it takes, at least 512, at most `ours`. */
size_t dns_query_udp_limit(const struct dns_query *query, uint16_t ours);

/*** Writing ***/

/* The OPT record of a reply. */
struct dns_opt {
    bool present;
    bool dnssec_ok;
    bool has_error;      /* with an extended error (RFC 8914) */
    uint16_t udp_size;   /* bytes that we take ourselves */
    uint16_t error_code; /* INFO-CODE */
    const char
        *error_text; /* EXTRA-TEXT, UTF-8, of which at most DNS_ERROR_TEXT_MAX bytes are sent; NULL: none */
};

/* Where a writer stood, so as to go back there. */
struct dns_mark {
    uint16_t size, names;
    uint16_t counts[DNS_SECTIONS];
};

/* A name in the message that a pointer can lead to. */
struct dns_target {
    uint16_t at;
    uint16_t tag; /* some bits of its hash, so that few others are compared */
};

/* To be read only: `size`, `counts`, `truncated`. */
struct dns_writer {
    uint8_t *bytes;
    size_t limit;             /* bytes there are */
    size_t kept;              /* bytes of them that are for OPT */
    size_t size;              /* bytes written */
    struct dns_header header; /* TC of it is not used */
    struct dns_opt opt;
    bool has_question;
    bool truncated; /* a set that is not additional did not fit: TC, and nothing more is taken */
    bool dropped;   /* the set that was begun last did not fit */
    enum dns_section section, cut; /* where it is, and where it was when it was truncated */
    uint16_t counts[DNS_SECTIONS];
    uint16_t names; /* used of `target` */
    uint16_t set_type, set_class;
    bool in_set; /* a set was begun in this section */
    struct dns_mark set, sections[DNS_SECTIONS];
    struct dns_name set_owner;
    struct dns_target target[DNS_COMPRESSION_NAMES];
};

/*
 * Starts a message in `limit` bytes, at least 512, of which no more than 65535 are used. The header is as
 * given, counts and TC apart.
 */
void dns_writer_open(struct dns_writer *writer, uint8_t *bytes, size_t limit,
                     const struct dns_header *header);

/*
 * Starts the reply to a query: its id, opcode, RD and CD, its question as it was asked, RA, the rcode, and an
 * OPT record with its DO bit and our size if it had one. AD stays to be set by dns_writer_authentic.
 */
void dns_writer_reply(struct dns_writer *writer, uint8_t *bytes, size_t limit, const struct dns_query *query,
                      uint16_t rcode, uint16_t udp_size);

/* The question; before all records, once. */
void dns_writer_question(struct dns_writer *writer, const struct dns_name *name, uint16_t type,
                         uint16_t class);

/* Sets or replaces the OPT record, before the first record: room is kept for it. */
void dns_writer_opt(struct dns_writer *writer, const struct dns_opt *opt);

/* Adds the extended error to the OPT record, if there is one; as above before the first record. */
void dns_writer_error(struct dns_writer *writer, uint16_t code, const char *text);

void dns_writer_rcode(struct dns_writer *writer, uint16_t rcode);
void dns_writer_authentic(struct dns_writer *writer, bool authentic);

/* Goes on with a section, the same or a later one. A writer starts with the answers. */
void dns_writer_section(struct dns_writer *writer, enum dns_section section);

/*
 * Back to where this section began: it and those behind it are empty again and go on from here, and if it
 * was one of them that did not fit, the message is no longer cut short. Not to a section that was not begun.
 */
void dns_writer_rewind(struct dns_writer *writer, enum dns_section section);

/* What became of a record. */
enum dns_written {
    DNS_WRITTEN,
    DNS_FULL,    /* it did not fit, nor did its set; or one before did not, and nothing is taken any more */
    DNS_UNSOUND, /* the data do not have the form of their type. Nothing was written */
};

/* A record to write; its data flat. */
struct dns_data {
    const struct dns_name *owner;
    const uint8_t *rdata; /* not NULL, even if there are none */
    uint16_t type, class;
    uint16_t rdata_length;
    uint32_t ttl; /* seconds, at most 2^31 - 1 */
};

/*
 * Adds a record to the section. Owners are compressed, names in data as far as RFC 3597 section 4 allows:
 * in types of RFC 1035. Records of one set are written one after the other; then a set that does not fit is
 * left out whole. An OPT record is unsound: it is written at the end.
 */
enum dns_written dns_writer_record(struct dns_writer *writer, const struct dns_data *data);

/* The same for a record of another message, with a TTL of its own. */
enum dns_written dns_writer_copy(struct dns_writer *writer, const struct dns_reader *reader,
                                 const struct dns_record *record, uint32_t ttl);

/*
 * Writes the OPT record and the header. Returns the size of the message; the writer is of no further use. An
 * rcode above 15 has no place without an OPT record and becomes SERVFAIL.
 */
size_t dns_writer_finish(struct dns_writer *writer);

#endif /* DNS64_MESSAGE_H */
