/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Actors that can be stopped before any of their steps, for ever or for a while.
 *
 * An actor runs on a stack of its own and hands control back when it stops; it goes on where it was, or
 * never, which is how it dies. So any schedule of a few actors can be played, again and again the same, by
 * one thread. What a step is, whoever counts them decides.
 */
#ifndef TEST_ENGINE_STEPPER_H
#define TEST_ENGINE_STEPPER_H

#include <sanitizer/asan_interface.h>
#include <stdbool.h>
#include <stdlib.h>
#include <ucontext.h>

enum {
    ACTOR_STACK = 256 * 1024,
    NEVER = 0x7fffffff,
};

struct stepper {
    ucontext_t context;
    void (*run)(void *argument);
    void *argument;
    char *stack;
    int steps; /* taken: operations, or only those that write */
    int stop;  /* before this step, from 1 on; NEVER: runs to its end */
    bool all;  /* loads count as steps as well */
    bool done;
};

static ucontext_t stepper_home;
static struct stepper *stepper_running; /* NULL: nobody is ever stopped */

static void stepper_main(void)
{
    struct stepper *own = stepper_running;
    own->run(own->argument);
    own->done = true;
    stepper_running = NULL;
    (void)swapcontext(&own->context, &stepper_home);
}

/* Goes on until before step `stop`. */
static void stepper_continue(struct stepper *stepper, int stop)
{
    if (stepper->done)
        return;
    stepper->stop = stop;
    stepper_running = stepper;
    (void)swapcontext(&stepper_home, &stepper->context);
}

/* Makes an actor that has done nothing yet. The memory of one that died is used again. */
static void stepper_prepare(struct stepper *stepper, void (*run)(void *), void *argument, bool all)
{
    if (stepper->stack == NULL && (stepper->stack = malloc(ACTOR_STACK)) == NULL)
        abort();
    ASAN_UNPOISON_MEMORY_REGION(stepper->stack, ACTOR_STACK);
    stepper->run = run;
    stepper->argument = argument;
    stepper->steps = 0;
    stepper->all = all;
    stepper->done = false;
    (void)getcontext(&stepper->context);
    stepper->context.uc_stack.ss_sp = stepper->stack;
    stepper->context.uc_stack.ss_size = ACTOR_STACK;
    stepper->context.uc_link = NULL;
    makecontext(&stepper->context, stepper_main, 0);
}

#endif /* TEST_ENGINE_STEPPER_H */
