/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fragments in nat64 (RFC 6146 section 3.4), in any order of arrival, both directions.
 *
 * Only the first fragment has ports. When it has come it is treated like any other packet: filtered, given
 * a session, refused perhaps. What it was given is remembered (engine/datagrams.h), and the others of its
 * datagram pass by that, none of them being put together:
 *
 *   TCP, UDP             the first fragment is enough; its checksum is brought up to date for the whole
 *   ICMP echo            also the length of the whole must be known: ICMPv6 has it in its checksum, ICMP not
 *   UDP from IPv4        if the sender left out the checksum, which IPv6 cannot, all of it must be there, to
 *                        compute one
 *
 * Fragments that come too early are held (engine/held.h), and handed out by engine_pull when their time has
 * come: the first one first, then in the order of their arrival. Such a fragment has the verdict
 * fragment-held when it is received, and another when its fate is known; both are counted.
 *
 * Bounds. All memory is there from the start; each worker has an even part of translation.fragments. It is
 * the older who yields: of the datagrams of a source, when the source has more than its share
 * (FRAGMENT_SHARE); otherwise of all, or of those that hold memory. A new datagram is worth more than one
 * that should have been complete long ago: so a flood of fragments that lead nowhere does not stop datagrams
 * whose fragments come one behind the other.
 *
 * A datagram whose fragments overlap is dropped, with all that still comes of it (RFC 5722 section 3, RFC
 * 8200 section 4.5), in IPv4, too; an exact repetition does no harm to the others. A worker sees all
 * fragments of a datagram, since planes steer fragments by nothing but addresses.
 */
#ifndef ENGINE_FRAGMENTS_H
#define ENGINE_FRAGMENTS_H

#include <stddef.h>

#include "engine/engine.h"
#include "engine/packet.h"
#include "engine/settings.h"

struct worker;

/* Bytes that all workers take at most. */
size_t fragments_memory(const struct settings *settings, uint32_t workers);

/* Makes what each worker of a plane needs; false if memory is short. */
bool fragments_set_up(struct worker *worker, const struct settings *settings, uint32_t workers);
void fragments_tear_down(struct worker *worker);

/*
 * A fragment, number `number` in its burst, whose addresses have been found good: translates it, holds it, or
 * says why not. On VERDICT_FRAGMENT_HELD engine_pull may have something to hand out in its turn.
 */
enum verdict fragments_receive(struct worker *worker, unsigned number, struct packet *packet,
                               struct description *description);

/* The next held fragment whose time has come; of those released by packet `only` of the burst, unless that is
 * negative. */
bool fragments_pull(struct worker *worker, int only, struct packet *packet);

/* Drops what should have been pulled, since the next burst is there. */
void fragments_forget(struct worker *worker);

/* Adds what is held now. */
void fragments_count(const struct worker *worker, struct engine_fragments *fragments);

/* Ends some of the datagrams whose time is over. */
void fragments_expire(struct worker *worker);

#endif /* ENGINE_FRAGMENTS_H */
