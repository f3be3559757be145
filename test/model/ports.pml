/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports of one pool address: claimed and given back by actors that may stop for ever at any step. Two words of
 * two ports each, one summary bit a word, the count of free ports that spares an empty pool the search.
 *
 * A claim must not fail while there was a free port all the time, and who stops for ever must not hide ports
 * from the others for good.
 */
#ifndef ACTORS
#define ACTORS 2
#endif
#ifndef FREE_PORTS
#define FREE_PORTS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif

#define WORDS 2
#define NONE 255
#define STEP (alive & (1 << self))

byte available[WORDS]; /* a bit a port */
byte summary;          /* a bit a word */
byte free;             /* how many ports are available, or more */
byte owner[2 * WORDS]; /* who holds it, as claims returned: the actor plus one */

byte alive = 255, running, deaths, done;
bool over;

#define COUNT_BITS(word) (((word) & 1) + ((word) / 2))
#define AVAILABLE (COUNT_BITS(available[0]) + COUNT_BITS(available[1]))

inline note_empty()
{
    do
    :: atomic { STEP; if :: available[word] != 0 -> break :: else fi };
       atomic { STEP; if :: (summary & (1 << word)) == 0 -> break :: else fi };
       atomic { STEP; summary = summary & (255 - (1 << word)) };
#ifndef MUTANT_NO_SECOND_LOOK
       atomic { STEP; if :: available[word] == 0 -> break :: else fi };
       atomic { STEP; summary = summary | (1 << word) };
#endif
       break
    od
}

/* port, or NONE: the word has none */
inline take_in_word()
{
    do
    :: atomic {
        STEP;
        if
        :: available[word] == 0 -> break
        :: available[word] & 1 -> mark = 1
        :: available[word] & 2 -> mark = 2
        fi
    };
    atomic {
        STEP;
        if
        :: available[word] & mark ->
            available[word] = available[word] - mark;
            port = 2 * word + mark / 2;
            assert(owner[port] == 0);
            owner[port] = self + 1
        :: else
        fi;
        mark = 0
    };
    if
    :: port != NONE ->
        atomic { STEP; assert(free > 0); free-- };
        note_empty();
        break
    :: else
    fi
    od
}

/* port, or NONE. The summary is asked first; while ports are counted as free it is not believed. */
inline claim()
{
    atomic { STEP; port = NONE; word = 0; searched = free == 0 };
    do
    :: atomic { STEP && !searched && word < WORDS && !(summary & (1 << word)) -> word++ }
    :: atomic { STEP && !searched && word < WORDS && (summary & (1 << word)) -> mark = 0 };
        take_in_word();
        if
        :: port != NONE -> break
        :: else -> word++
        fi
    :: atomic { STEP && (searched || word == WORDS) -> break }
    od;
#ifndef MUTANT_BELIEVE_SUMMARY
    if
    :: port == NONE && !searched ->
        atomic { STEP; word = 0; searched = free == 0 };
        do
        :: !searched && word < WORDS ->
            take_in_word();
            if
            :: port != NONE -> atomic { STEP; if :: available[word] != 0 -> mark = 1 :: else fi };
                if
                :: mark -> atomic { STEP; summary = summary | (1 << word); mark = 0 }
                :: else
                fi;
                break
            :: else -> word++
            fi
        :: else -> break
        od
    :: else
    fi;
#endif
    word = 0; mark = 0; searched = false
}

inline release()
{
    atomic { STEP; word = port / 2; free++ };
    atomic {
        STEP;
        assert(owner[port] == self + 1);
        owner[port] = 0;
        assert(!(available[word] & (1 << (port % 2))));
        available[word] = available[word] | (1 << (port % 2))
    };
    atomic { STEP; seen = (summary & (1 << word)) != 0 };
    if
    :: !seen -> atomic { STEP; summary = summary | (1 << word) }
    :: else
    fi;
    seen = false; word = 0; port = NONE
}

proctype actor(byte self; byte rounds; bool keep)
{
    byte word, mark, port = NONE;
    bool searched, seen, lonely, owed;
    do
    :: atomic { STEP && rounds > 0 -> rounds--; lonely = running == 1; owed = lonely && AVAILABLE > 0 };
        claim();
#ifdef ENOUGH
        assert(port != NONE); /* as many ports as actors: there was always one */
#endif
        assert(!owed || port != NONE);
        lonely = false; owed = false;
        if
        :: port != NONE && (rounds > 0 || !keep) -> release()
        :: else
        fi
    :: atomic { STEP && rounds == 0 -> running--; done = done | (1 << self); break }
    od
}

active proctype death()
{
    byte victim;
end:
    do
    :: atomic {
        deaths < DEATHS && !over ->
        select(victim : 0 .. ACTORS - 1);
        if
        :: (alive & (1 << victim)) && !(done & (1 << victim)) ->
            alive = alive - (1 << victim);
            running--;
            deaths++
        :: else
        fi;
        victim = 0
    }
    od
}

active proctype witness()
{
    byte before;
    atomic {
        available[0] = (FREE_PORTS > 1 -> 3 : 1);
        available[1] = (FREE_PORTS > 2 -> 1 : 0);
        summary = (FREE_PORTS > 2 -> 3 : 1);
        free = FREE_PORTS;
        running = ACTORS;
        run actor(0, ROUNDS, KEEP);
        run actor(1, ROUNDS, KEEP)
#if ACTORS > 2
        ; run actor(2, ROUNDS, KEEP)
#endif
    };
    atomic { running == 0 -> over = true };
    before = AVAILABLE;
    assert(before + deaths + (KEEP -> ACTORS - deaths : 0) >= FREE_PORTS);
    if
    :: deaths == 0 ->
        assert(free == before);
        assert(available[0] == 0 || (summary & 1));
        assert(available[1] == 0 || (summary & 2));
#if KEEP
        assert(before == FREE_PORTS - (FREE_PORTS < ACTORS -> FREE_PORTS : ACTORS))
#else
        assert(before == FREE_PORTS)
#endif
    :: else
    fi;
    /* One after the other, all that are available can be had. */
    do
    :: before > 0 -> running = 1; run actor(7, 1, true); (running == 0); before--; assert(AVAILABLE == before)
    :: else -> break
    od
}
