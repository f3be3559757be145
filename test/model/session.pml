/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions and bindings: made, joined, renewed, ended and their records reused, by actors that may stop for
 * ever at any step. README.md says which step is which function of the engine.
 *
 * A step is one access to shared memory with all that follows from it inside the actor. A loop of load and
 * compare-and-swap whose decision depends on nothing but that word is one step; a compare-and-swap on a word
 * that was judged together with others is a step of its own. Free records, free ports and the copying of a
 * record are one step each here: ports.pml and records.pml open them up.
 *
 * Who acts is said when the model is run, in the environment: see `plan` and what follows it.
 */
#ifndef RECORDS
#define RECORDS 3
#endif
#ifndef PORTS
#define PORTS 3
#endif

#ifndef LOST_RECORDS
#define LOST_RECORDS 3
#endif
#ifndef LOST_PORTS
#define LOST_PORTS 2
#endif

#define NONE 255

/* The flows: two of client 0, so of one binding, and two of client 1. */
#define CLIENT(flow) ((flow) / 2)
#define REMOTE(flow) ((flow) % 2)

#define FREE 0
#define MAKING 1
#define LIVE 2
#define BINDING 3
#define ENDING 4
#define KILLED 5

#define SLOT(index, generation) ((generation) * 8 + (index) + 1)
#define SLOT_INDEX(slot) ((slot) % 8 - 1)
#define SLOT_GENERATION(slot) ((slot) / 8)

typedef Record {
    byte generation, phase, expires;           /* the word of life */
    byte client, remote, port, lead;           /* fields */
    byte users_generation, count, until;       /* with `closing` the word of users */
    byte closing
}

#define SESSION6 0
#define SESSION4 1
#define BINDINGS 2

Record record[RECORDS];
byte free_records = (1 << RECORDS) - 1;
byte free_ports;
byte owner[PORTS];
byte slots[3 * RECORDS]; /* of the three indexes, in their order */
byte tick;

byte alive = 255; /* a bit an actor: not stopped for ever */
byte done;        /* a bit an actor: has come to its end */
byte running;     /* actors that neither stopped nor came to their end */
byte deaths;

/*
 * The configuration: PLAN0 to PLAN2, how many PORTS and TRIES there are, LAST_TICK, LIFETIME, DEATHS. A plan is
 * a number whose digits are deeds, the last one first: 1 to 4 make flow 0 to 3, 5 sweeps, 6 and 7 use flow 0
 * and 1, 8 makes any of the flows 0 to 2, 9 does anything.
 */
short plans[3];
byte actors, ports, most_tries, last_tick, lifetime, mortal;

bool over;        /* all have; what comes is the witness's */

#include "session_checks.pml"

#define STEP (alive & (1 << self))
#define SOUND c_code { sound(); }

/* ---- The indexes: one bucket each, which is where entries meet ---- */

inline publish(which, entry)
{
    i = 0;
    do
    :: atomic { STEP && slots[which * RECORDS + i] != 0 -> i++; assert(i < RECORDS) }
    :: atomic { STEP && slots[which * RECORDS + i] == 0 -> slots[which * RECORDS + i] = entry; i = 0; break }
    od
}

inline withdraw(which, entry)
{
    i = 0;
    do
    :: atomic { STEP && slots[which * RECORDS + i] != entry && i < RECORDS - 1 -> i++ }
    :: atomic { STEP && slots[which * RECORDS + i] != entry && i == RECORDS - 1 -> i = 0; break }
    :: atomic { STEP && slots[which * RECORDS + i] == entry -> slots[which * RECORDS + i] = 0; i = 0; break }
    od
}

inline forget()
{
    at = NONE; phase = 0; expires = 0; slot = 0
}

/* A whole copy of the record that `slot` names, if it is still that and `wanted` is true of it. */
inline copy(wanted)
{
    atomic {
        STEP;
        at = SLOT_INDEX(slot);
        if
        :: record[at].generation == SLOT_GENERATION(slot) && (wanted) ->
            phase = record[at].phase;
            expires = record[at].expires
        :: else -> forget()
        fi
    }
}

#define IS_ITS_CLIENT (record[at].client == CLIENT(flow))
#define IS_ITS_FLOW (record[at].client == CLIENT(flow) && record[at].remote == REMOTE(flow))
#define IS_BINDING(phase) (phase == LIVE || phase == BINDING || phase == ENDING)

/* ---- Ending ---- */

inline give_back_record(r)
{
    atomic { STEP; record[r].phase = FREE; record[r].expires = 0; SOUND };
    atomic { STEP; assert(!(free_records & (1 << r))); free_records = free_records | (1 << r) }
}

inline give_back_port(r)
{
    atomic { STEP; owner[record[r].port] = 0; SOUND };
    atomic {
        STEP;
        assert(!(free_ports & (1 << record[r].port)));
        free_ports = free_ports | (1 << record[r].port);
        SOUND
    }
}

/* One user less of `l`; the last one takes the binding down. */
inline leave()
{
    atomic { STEP; assert(record[l].count > 0); record[l].count--; last = record[l].count == 0; SOUND };
    if
    :: last ->
        last = false;
        withdraw(BINDINGS, SLOT(l, record[l].generation));
        give_back_port(l);
        give_back_record(l)
    :: else
    fi
}

/* For who has swapped the life of `at` from LIVE to ENDING. */
inline end_session()
{
    l = record[at].lead;
    withdraw(SESSION6, SLOT(at, record[at].generation));
    withdraw(SESSION4, SLOT(at, record[at].generation));
    if
    :: l == at -> atomic { STEP; record[at].phase = BINDING; record[at].expires = 0; SOUND }
    :: else
    fi;
    leave();
    if
    :: l != at -> give_back_record(at)
    :: else
    fi;
    l = 0;
    ended = false
}

#define SAME_LIFE (record[at].generation == SLOT_GENERATION(slot) && record[at].phase == phase && \
                   record[at].expires == expires)

/* Takes the record in `at`, as copied, out of the way. lost: it has won. ended: the caller is to end it. If it
 * has changed since, the look goes back to its slot. */
inline overcome()
{
    atomic {
        STEP;
        if
        :: phase == LIVE && expires >= tick_seen -> lost = true
        :: phase == LIVE && expires < tick_seen && SAME_LIFE -> record[at].phase = ENDING; ended = true; SOUND
        :: phase == MAKING && SAME_LIFE -> record[at].phase = KILLED
        :: (phase == LIVE && expires < tick_seen || phase == MAKING) && !SAME_LIFE -> j--
        :: phase != LIVE && phase != MAKING
        fi
    }
}

/* ---- Bindings: the word of users ---- */

#ifdef MUTANT_UNTIL_APART
/* The end of a binding's sessions in a word of its own. A single session's own life tells its end. */
#define USERS_END(r) 255
inline look_at_users()
{
    atomic {
        STEP;
        usable = record[at].users_generation == SLOT_GENERATION(slot) && record[at].count > 0 &&
                 !record[at].closing && IS_BINDING(phase);
        alone = record[at].count == 1 && phase == LIVE
    };
    if
    :: usable && alone -> usable = expires >= tick_seen
    :: usable && !alone -> atomic { STEP; usable = record[at].until >= tick_seen }
    :: else
    fi;
    alone = false
}
#else
#define USERS_END(r) record[r].until
inline look_at_users()
{
    atomic {
        STEP;
        usable = record[at].users_generation == SLOT_GENERATION(slot) && record[at].count > 0 &&
                 !record[at].closing && IS_BINDING(phase) && record[at].until >= tick_seen
    }
}
#endif

inline raise(r)
{
    record[r].until = (record[r].until < tick_seen + lifetime -> tick_seen + lifetime : record[r].until)
}

/* joined: one more session for `lead` */
inline join()
{
    atomic {
        STEP;
        if
        :: record[lead].users_generation == lead_generation && record[lead].count > 0 &&
           !record[lead].closing && USERS_END(lead) >= tick_seen ->
            record[lead].count++;
            joined = true
        :: else
        fi;
#ifdef MUTANT_UNTIL_APART
    };
    atomic {
        STEP;
#endif
        if
        :: joined -> raise(lead)
        :: else
        fi
    }
}

/* From now on nobody joins the binding in `at`, if it is past its end. lost: it is not. */
inline close()
{
    atomic {
        STEP;
        if
        :: record[at].users_generation != SLOT_GENERATION(slot) || record[at].count == 0 || record[at].closing
        :: else ->
#ifdef MUTANT_UNTIL_APART
            record[at].closing = true
#else
            if
            :: record[at].until >= tick_seen -> lost = true
            :: else -> record[at].closing = true
            fi
#endif
        fi
    }
}

/* ---- Looking ---- */

/* found, and in `at`: a session of the flow that counts */
inline find_session()
{
    j = 0;
    do
    :: atomic { STEP && j < RECORDS && slots[j] == 0 -> j++ }
    :: atomic { STEP && j < RECORDS && slots[j] != 0 -> slot = slots[j]; j++ };
        copy(IS_ITS_FLOW && record[at].phase == LIVE && record[at].expires >= tick_seen);
        if
        :: at != NONE -> found = true; j = 0; break
        :: else
        fi
    :: atomic { STEP && j == RECORDS -> j = 0; break }
    od
}

/* lead, lead_generation, port: of a binding to join; NONE: there is none */
inline find_binding()
{
    j = 0;
    do
    :: atomic { STEP && j < RECORDS && slots[BINDINGS * RECORDS + j] == 0 -> j++ }
    :: atomic { STEP && j < RECORDS && slots[BINDINGS * RECORDS + j] != 0 ->
        slot = slots[BINDINGS * RECORDS + j];
        j++
    };
        copy(IS_ITS_CLIENT);
        if
        :: at != NONE ->
            port = record[at].port; /* as copied, if it is still that */
            look_at_users();
            if
            :: usable ->
                usable = false;
                lead = at;
                lead_generation = SLOT_GENERATION(slot);
                forget();
                j = 0;
                break
            :: else -> port = 0; forget()
            fi
        :: else
        fi
    :: atomic { STEP && j == RECORDS -> j = 0; break }
    od
}

/* The rival in `slot`, which is in `bindings`. */
inline judge_binding()
{
    copy(IS_ITS_CLIENT);
    if
    :: at != NONE && IS_BINDING(phase) ->
#ifdef MUTANT_UNTIL_APART
        look_at_users();
        lost = usable;
        usable = false;
        if
        :: lost -> forget()
        :: else -> close_after = true
        fi
#else
        close();
        if
        :: lost || phase != LIVE || expires >= tick_seen -> forget() /* closed, its end is its users' affair */
        :: else
        fi
#endif
    :: else
    fi
}

#define RIVAL slots[(j < RECORDS -> BINDINGS * RECORDS + j : j - RECORDS)]

/* Rivals in `bindings`, if this would be a new one, and then in `session6`. lost: one has won. */
inline look_for_rivals()
{
    j = (lead == NONE -> 0 : RECORDS);
    do
    :: atomic { STEP && j < 2 * RECORDS && !lost &&
        (RIVAL == 0 || SLOT_INDEX(RIVAL) == own) -> j++ }
    :: atomic { STEP && j < 2 * RECORDS && !lost && RIVAL != 0 && SLOT_INDEX(RIVAL) != own ->
        slot = RIVAL;
        j++
    };
        if
        :: j <= RECORDS -> judge_binding()
        :: else -> copy(IS_ITS_FLOW)
        fi;
        if
        :: at != NONE ->
            overcome();
            if
            :: ended -> end_session()
            :: else
            fi;
#ifdef MUTANT_UNTIL_APART
            if
            :: close_after && !lost -> close()
            :: else
            fi;
            close_after = false;
#endif
            forget()
        :: else
        fi
    :: atomic { STEP && (j == 2 * RECORDS || lost) -> j = 0; break }
    od
}

/* ---- Making ---- */

/* One step, since no index leads anybody to the new generation yet. */
inline write_record()
{
    atomic {
        STEP;
        record[own].generation++;
        generation = record[own].generation;
        record[own].phase = MAKING;
        record[own].expires = tick_seen + lifetime;
        record[own].client = CLIENT(flow);
        record[own].remote = REMOTE(flow);
        record[own].port = port;
        record[own].lead = (lead == NONE -> own : lead);
        record[own].users_generation = generation;
        record[own].count = (lead == NONE -> 1 : 0);
        record[own].until = tick_seen + lifetime;
        record[own].closing = false
    }
}

inline undo()
{
    withdraw(SESSION6, SLOT(own, generation));
    withdraw(SESSION4, SLOT(own, generation));
    if
    :: lead == NONE ->
        withdraw(BINDINGS, SLOT(own, generation));
        give_back_port(own)
    :: else -> l = lead; leave(); l = 0
    fi;
    give_back_record(own)
}

#ifdef MUTANT_STORE_TO_COMMIT
#define MAY_COMMIT !lost
#else
#define MAY_COMMIT (!lost && record[own].phase == MAKING)
#endif

/* own, with its port or its binding: published, judged, and LIVE (found) or gone again */
inline make_session()
{
    write_record();
    if
    :: lead == NONE -> atomic { STEP; owner[port] = own + 1; SOUND }
    :: else
    fi;
#ifdef MUTANT_LOOK_FIRST
    look_for_rivals();
#endif
    publish(SESSION4, SLOT(own, generation));
    if
    :: lead == NONE -> publish(BINDINGS, SLOT(own, generation))
    :: else
    fi;
    publish(SESSION6, SLOT(own, generation));
#ifndef MUTANT_LOOK_FIRST
    look_for_rivals();
#endif
    atomic {
        STEP;
        if
        :: MAY_COMMIT -> record[own].phase = LIVE; found = true; SOUND
        :: else
        fi;
        lost = false
    };
    if
    :: !found -> undo()
    :: else
    fi
}

inline take_record()
{
    atomic {
        STEP;
        if
        :: free_records != 0 ->
            own = 0;
            do
            :: !(free_records & (1 << own)) -> own++
            :: else -> break
            od;
            free_records = free_records - (1 << own)
        :: else -> none_left = true
        fi
    }
}

inline take_port()
{
    atomic {
        STEP;
        if
        :: free_ports != 0 ->
            port = 0;
            do
            :: !(free_ports & (1 << port)) -> port++
            :: else -> break
            od;
            free_ports = free_ports - (1 << port);
            joined = true
        :: else -> none_left = true
        fi
    }
}

/* found, or none_left: neither record nor port, or the tries are used up */
inline make()
{
    do
    :: atomic { STEP; tick_seen = tick; tries++; lonely = running == 1 };
        find_session();
        if
        :: found -> break
        :: else -> find_binding()
        fi;
        take_record();
        if
        :: none_left -> lead = NONE; port = 0; break
        :: !none_left && lead == NONE -> take_port()
        :: !none_left && lead != NONE -> join()
        fi;
        if
        :: joined -> joined = false; make_session()
        :: else -> give_back_record(own)
        fi;
        own = NONE; port = 0; lead = NONE; lead_generation = 0; generation = 0;
        assert(!lonely || found || none_left); /* only who acts at the same time can make a try fail */
        if
        :: found || none_left || tries == most_tries -> break
        :: else
        fi
    od;
    assert(self != 7 || found);
    tries = 0; tick_seen = 0; lonely = false; found = false; none_left = false; own = NONE;
    forget()
}

/* ---- Sweeping and renewing ---- */

#define IS_PAST(r) (record[r].phase == LIVE && record[r].expires < tick_seen)

inline sweep()
{
    atomic { STEP; tick_seen = tick };
    j = 0;
    do
    :: atomic { STEP && j < RECORDS && !IS_PAST(j) -> j++ }
    :: atomic { STEP && j < RECORDS && IS_PAST(j) ->
        at = j; phase = LIVE; expires = record[j].expires; slot = SLOT(j, record[j].generation); j++
    };
        atomic {
            STEP;
            if
            :: SAME_LIFE -> record[at].phase = ENDING; ended = true; SOUND
            :: else
            fi
        };
        if
        :: ended -> end_session()
        :: else
        fi;
        forget()
    :: atomic { STEP && j == RECORDS -> j = 0; tick_seen = 0; break }
    od
}

/* The session of the flow, if there is one, is used: its binding, and then it, end later. */
inline touch()
{
    atomic { STEP; tick_seen = tick };
    find_session();
    if
    :: found && expires < tick_seen + lifetime ->
        lead = record[at].lead; /* as copied, if it is still that */
#ifdef MUTANT_UNTIL_APART
        atomic {
            STEP;
            if
            :: SAME_LIFE -> record[at].expires = tick_seen + lifetime; usable = true; SOUND
            :: else
            fi
        };
        if
        :: usable -> atomic { STEP; raise(lead) }
        :: else
        fi;
#else
        atomic { STEP; lead_generation = record[lead].users_generation };
        atomic { STEP; usable = SAME_LIFE }; /* so that was the generation of its lead */
        if
        :: usable ->
            atomic {
                STEP;
                if
                :: record[lead].users_generation == lead_generation && record[lead].count > 0 &&
                   !record[lead].closing -> raise(lead); SOUND
                :: else -> usable = false
                fi
            }
        :: else
        fi;
        if
        :: usable ->
            atomic {
                STEP;
                if
                :: SAME_LIFE -> record[at].expires = tick_seen + lifetime; SOUND
                :: else
                fi
            }
        :: else
        fi;
#endif
        usable = false; lead = NONE; lead_generation = 0
    :: else
    fi;
    found = false; tick_seen = 0;
    forget()
}

/* ---- Who acts ---- */

proctype actor(byte self; short plan)
{
    byte flow, i, j, l, at = NONE, phase, expires, slot, tick_seen, tries, own = NONE, lead = NONE;
    byte lead_generation, generation, port, deed;
    bool last, ended, lost, found, none_left, joined, usable, lonely;
#ifdef MUTANT_UNTIL_APART
    bool alone, close_after;
#endif
    do
    :: atomic { STEP && plan == 0 -> break }
    :: atomic {
        STEP && plan > 0 ->
        deed = plan % 10;
        plan = plan / 10;
        if
        :: deed >= 8 -> deed = 1
        :: deed >= 8 -> deed = 2
        :: deed >= 8 -> deed = 3
        :: deed == 9 -> deed = 5
        :: deed == 9 -> deed = 6
        :: deed < 8
        fi;
        flow = (deed > 5 -> deed - 6 : (deed < 5 -> deed - 1 : 0))
    };
        if
        :: deed < 5 -> make()
        :: deed == 5 -> sweep()
        :: deed > 5 -> touch()
        fi;
        deed = 0; flow = 0
    od;
    atomic { STEP; running--; done = done | (1 << self) }
}

active proctype clock()
{
end:
    do
    :: atomic { tick < last_tick && !over -> tick++ }
    od
}

active proctype death()
{
    byte victim;
end:
    do
    :: atomic {
        deaths < mortal && !over ->
        select(victim : 0 .. actors - 1);
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

/* Comes when all others have ended or stopped for ever, and sees whether one can still work. */
inline call(plan)
{
    running = 1;
    run actor(7, plan);
    (running == 0)
}

active proctype witness()
{
    atomic {
        c_code { configure(); };
        running = actors;
        run actor(0, plans[0]);
        run actor(1, plans[1]);
        if
        :: actors > 2 -> run actor(2, plans[2])
        :: else
        fi
    };
    atomic { running == 0 -> over = true };
    c_code { sound(); };
    /* Plan 15: sweep, for room, and make flow 0. */
    if
    :: deaths > 0 ->
        c_code { few_lost(); };
        call(15);
        c_code { rebuild(); }
    :: else
    fi;
    c_code { exact(); };
    call(15);
    c_code { exact(); };
    tick = last_tick + lifetime + 1;
    call(5);
    c_code { empty(); }
}
