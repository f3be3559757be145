/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cells that count the sessions of a subscriber: entered, joined and left by actors that may stop for ever at
 * any step. A cell is one word: fingerprint, PENDING, count. While it is PENDING, who entered it stands in the
 * place of the count: else another's entry in the same cell could not be told from one's own.
 *
 * Never more than LIMIT at once, however many cells a subscriber gets into; a refusal only when there were
 * LIMIT, at one moment at least; all cells empty when all have left.
 */
#ifndef CELLS
#define CELLS 3
#endif
#ifndef ACTORS
#define ACTORS 2
#endif
#ifndef LIMIT
#define LIMIT 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef TRIES
#define TRIES 3
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef SUBSCRIBERS
#define SUBSCRIBERS 1
#endif

#define NONE 255
#define STEP (alive & (1 << self))

typedef Cell {
    byte subscriber, count; /* one word; 0: empty */
    bool pending
}

Cell cell[CELLS];
byte inside[SUBSCRIBERS + 1]; /* who has joined and not begun to leave; not part of the protocol */

byte alive = 255, running, deaths, done;
bool over;

#ifdef MUTANT_NO_TICKET
#define TICKET 1
#else
#define TICKET (self + 1)
#endif
#define IS_MINE(i) (cell[i].subscriber == subscriber)
#define IS_MY_ENTRY(i) (IS_MINE(i) && cell[i].pending && cell[i].count == TICKET)

inline clear(i)
{
    cell[i].subscriber = 0; cell[i].count = 0; cell[i].pending = false
}

inline joined_at(i)
{
    at = i;
    inside[subscriber]++;
    assert(inside[subscriber] <= LIMIT)
}

/* at: of the cell joined; NONE with refused: the subscriber has as many as it may; else: look again */
inline join_committed(but)
{
    i = 0;
    do
    :: atomic { STEP && i < CELLS && (i == but || !IS_MINE(i) || cell[i].pending) -> i++ }
    :: atomic {
        STEP && i < CELLS && i != but && IS_MINE(i) && !cell[i].pending ->
        if
        :: cell[i].count < LIMIT -> cell[i].count++; joined_at(i)
        :: else -> refused = true
        fi;
        break
    }
    :: atomic { STEP && i == CELLS -> break }
    od;
    i = 0
}

/* at: of a cell entered, which is not committed; NONE: there is none */
inline enter()
{
    i = 0;
    do
    :: atomic { STEP && i < CELLS && cell[i].subscriber != 0 -> i++ }
    :: atomic {
        STEP && i < CELLS && cell[i].subscriber == 0 ->
        cell[i].subscriber = subscriber;
#ifdef MUTANT_NOT_PENDING
        cell[i].count = 1;
        cell[i].pending = false;
#else
        cell[i].count = TICKET;
        cell[i].pending = true;
#endif
        own = i;
        break
    }
    :: atomic { STEP && i == CELLS -> break }
    od;
    i = 0
}

/* rival: there is a committed one */
inline look_for_rivals()
{
    i = 0;
    do
    :: atomic { STEP && i < CELLS && (i == own || !IS_MINE(i)) -> i++ }
    :: atomic { STEP && i < CELLS && i != own && IS_MINE(i) && !cell[i].pending -> rival = true; break }
    :: atomic { STEP && i < CELLS && i != own && IS_MINE(i) && cell[i].pending -> seen = cell[i].count };
        atomic {
            STEP;
            if
            :: IS_MINE(i) && cell[i].pending && cell[i].count == seen -> clear(i); i++
            :: else /* another by now: look at it again */
            fi;
            seen = 0
        }
    :: atomic { STEP && i == CELLS -> break }
    od;
    i = 0
}

inline take_back()
{
    atomic {
        STEP;
        if
        :: IS_MY_ENTRY(own) -> clear(own)
        :: else
        fi
    }
}

inline commit()
{
    atomic {
        STEP;
        if
#ifdef MUTANT_STORE_TO_COMMIT
        :: true ->
            cell[own].subscriber = subscriber;
            cell[own].count = 1;
#else
        :: IS_MY_ENTRY(own) ->
            cell[own].count = 1;
#endif
            cell[own].pending = false;
            joined_at(own)
        :: else
        fi
    }
}

inline join()
{
    do
    :: atomic { STEP && at == NONE && !refused && tries < TRIES -> tries++; lonely = running == 1 };
        join_committed(NONE);
        if
        :: at == NONE && !refused ->
            enter();
            if
            :: own != NONE ->
                look_for_rivals();
                if
                :: rival -> take_back(); rival = false
                :: else -> commit()
                fi
            :: else
            fi;
            own = NONE
        :: else
        fi;
        assert(!lonely || at != NONE || refused)
    :: atomic { STEP && (at != NONE || refused || tries == TRIES) -> tries = 0; lonely = false; break }
    od
}

inline leave()
{
    atomic { STEP; inside[subscriber]-- };
    atomic {
        STEP;
        assert(IS_MINE(at) && cell[at].count > 0 && !cell[at].pending);
        if
        :: cell[at].count == 1 -> clear(at)
        :: else -> cell[at].count--
        fi;
        at = NONE
    }
}

proctype actor(byte self; byte subscriber; byte rounds; bool keep)
{
    byte i, at = NONE, own = NONE, seen, tries;
    bool refused, rival, lonely;
    do
    :: atomic { STEP && rounds > 0 -> rounds-- };
        join();
        assert(!ENOUGH || !refused);
        refused = false;
        if
        :: at != NONE && (rounds > 0 || !keep) -> leave()
        :: else
        fi
    :: atomic { STEP && (rounds == 0 || at != NONE) -> running--; done = done | (1 << self); break }
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
    byte i, committed;
    atomic {
        running = ACTORS;
        do
        :: i < ACTORS -> run actor(i, 1 + i % SUBSCRIBERS, ROUNDS, KEEP); i++
        :: else -> break
        od;
        i = 0
    };
    atomic { running == 0 -> over = true };
    atomic {
        /* A subscriber has one cell at most, and what it counts is there, but for the dead. */
        do
        :: i < CELLS ->
            if
            :: cell[i].subscriber == 1 && !cell[i].pending ->
                assert(committed == 0);
                committed = cell[i].count
            :: cell[i].subscriber != 0 && cell[i].pending -> assert(deaths > 0)
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0;
        assert(committed >= inside[1] && committed <= inside[1] + deaths);
#if !KEEP
        assert(deaths > 0 || committed == 0);
#endif
    };
    /* While there is room one more can join, past what the dead have left. */
    if
    :: committed < LIMIT ->
        committed = inside[1];
        running = 1;
        run actor(7, 1, 1, true);
        (running == 0);
        assert(inside[1] == committed + 1)
    :: else
    fi
}
