/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records: taken from the stack of free ones, written, published, ended, given back and reused at once, by
 * actors that may stop for ever at any step, while readers copy what the index leads them to.
 *
 * Nobody waits for readers. Each word of a record is written and read by itself; the word of life, with the
 * new generation, before all others when it is written, and before and after all others when it is read.
 */
#ifndef RECORDS
#define RECORDS 2
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif

#define NONE 255
#define STEP (alive & (1 << self))

#define FREE 0
#define MAKING 1
#define LIVE 2
#define ENDING 3

#define SLOT(index, generation) ((generation) * 4 + (index) + 1)
#define SLOT_INDEX(slot) ((slot) % 4 - 1)
#define SLOT_GENERATION(slot) ((slot) / 4)

typedef Record {
    byte generation, phase, used; /* the word of life */
    byte first, second;           /* fields: of one session they are equal here */
    byte next                     /* plus one */
}

Record record[RECORDS];
byte top = 1, tag; /* one word */
byte index[WRITERS + 1];

byte truth[RECORDS * 16]; /* what is written of the record in this generation; not part of the protocol */
byte held;                /* a bit a record that is not on the stack; neither is this */

byte alive = 255, running, deaths, done;
bool over;

inline pop()
{
    do
    :: atomic {
        STEP;
        if
        :: top == 0 -> own = NONE; break
        :: else -> own = top - 1; seen_tag = tag
        fi
    };
    atomic { STEP; next = record[own].next };
    atomic {
        STEP;
        if
#ifdef MUTANT_NO_TAG
        :: top == own + 1 ->
#else
        :: top == own + 1 && tag == seen_tag ->
#endif
            top = next;
            tag++;
            assert(!(held & (1 << own)));
            held = held | (1 << own);
            next = 0; seen_tag = 0;
            break
        :: else -> next = 0; seen_tag = 0
        fi
    }
    od
}

inline push()
{
    do
    :: atomic { STEP; next = top; seen_tag = tag };
    atomic { STEP; record[own].next = next };
    atomic {
        STEP;
        if
        :: top == next && tag == seen_tag ->
            top = own + 1;
            tag++;
            held = held - (1 << own);
            own = NONE; next = 0; seen_tag = 0;
            break
        :: else
        fi
    }
    od
}

inline use(value)
{
    atomic {
        STEP;
        record[own].generation++;
        record[own].phase = MAKING;
        record[own].used = 0;
        generation = record[own].generation;
        assert(generation < 16);
        truth[own * 16 + generation] = value
    };
    atomic { STEP; record[own].first = value };
    atomic { STEP; record[own].second = value };
    atomic { STEP; index[self] = SLOT(own, generation) };
    atomic { STEP; assert(record[own].phase == MAKING); record[own].phase = LIVE };
    atomic { STEP; assert(record[own].phase == LIVE); record[own].phase = ENDING };
    atomic { STEP; index[self] = 0; generation = 0 };
    atomic { STEP; record[own].phase = FREE }
}

proctype writer(byte self; byte rounds)
{
    byte own = NONE, next, seen_tag, generation;
    do
    :: atomic { STEP && rounds > 0 -> rounds-- };
        pop();
        if
        :: own != NONE -> use(self * 4 + rounds + 1); push()
        :: else
        fi
    :: atomic { STEP && rounds == 0 -> running--; done = done | (1 << self); break }
    od
}

/* Copies the record that the entry of `from` names, and uses what it has found. */
proctype reader(byte self; byte rounds)
{
    byte slot, at = NONE, phase, used, first, second;
    do
    :: atomic {
        STEP && rounds > 0 ->
        rounds--;
        select(at : 0 .. WRITERS - 1);
        slot = index[at];
        at = (slot == 0 -> NONE : SLOT_INDEX(slot))
    };
    do
    :: at == NONE -> break
    :: else ->
        atomic {
            STEP;
            if
            :: record[at].generation != SLOT_GENERATION(slot) -> break
            :: else -> phase = record[at].phase; used = record[at].used
            fi
        };
        atomic { STEP; first = record[at].first };
        atomic { STEP; second = record[at].second };
        atomic {
            STEP;
#ifndef MUTANT_ONE_LOAD_OF_LIFE
            if
            :: record[at].generation != SLOT_GENERATION(slot) -> break
            :: else -> phase = record[at].phase; used = record[at].used
            fi;
#endif
            assert(first == second && first == truth[at * 16 + SLOT_GENERATION(slot)]);
            if
            :: phase != LIVE -> break
            :: else
            fi
        };
        atomic {
            STEP;
            if
#ifdef MUTANT_NO_GENERATION
            :: record[at].phase == LIVE && record[at].used == used ->
#else
            :: record[at].generation == SLOT_GENERATION(slot) && record[at].phase == LIVE &&
               record[at].used == used ->
#endif
                record[at].used = 1;
                assert(first == truth[at * 16 + record[at].generation])
            :: else
            fi;
            break
        }
    od;
    slot = 0; at = NONE; phase = 0; used = 0; first = 0; second = 0
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
        select(victim : 0 .. WRITERS - 1);
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
    byte self = 7, own = NONE, next, seen_tag, number, i;
    atomic {
        i = 0;
        do
        :: i + 1 < RECORDS -> record[i].next = i + 2; i++
        :: else -> break
        od;
        running = WRITERS + READERS;
        i = 0;
        do
        :: i < WRITERS -> run writer(i, ROUNDS); i++
        :: else -> break
        od;
        do
        :: i < WRITERS + READERS -> run reader(i, ROUNDS); i++
        :: else -> break
        od;
        i = 0
    };
    atomic { running == 0 -> over = true };
    /* All are there, but one for each that has stopped for ever. */
    do
    :: pop();
        if
        :: own == NONE -> break
        :: else -> number++
        fi
    od;
    assert(number >= RECORDS - deaths && number <= RECORDS)
}
