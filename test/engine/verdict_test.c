/* SPDX-License-Identifier: BSD-2-Clause */
/* What the list of verdicts says of each is fit to be read: a name, a sentence, a clause of an RFC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "engine/verdict.h"

/* Things between the engine and its plane, of which no RFC speaks. */
static bool is_local(enum verdict verdict)
{
    return verdict == VERDICT_BAD_OFFLOAD || verdict == VERDICT_NO_ROOM || verdict == VERDICT_NO_DAEMON;
}

static void names_are_words_and_differ(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VERDICT_COUNT; i++) {
        const char *name = verdict_texts[i].name;
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(name));
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(name, verdict_texts[k].name);
    }
}

static void every_verdict_has_a_sentence(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VERDICT_COUNT; i++) {
        const char *sentence = verdict_texts[i].sentence;
        size_t length = strlen(sentence);
        assert_true(isupper((unsigned char)sentence[0]));
        assert_true(length > 20 && sentence[length - 1] == '.');
        assert_null(strstr(sentence, "  "));
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(sentence, verdict_texts[k].sentence);
    }
}

static void every_verdict_has_a_clause(void **state)
{
    static const char clauses[] =
        "^RFC [0-9]+( (REQ-)?[0-9.]+)?(, (RFC [0-9]+( (REQ-)?[0-9.]+)?|(REQ-)?[0-9.]+))*$";
    regex_t pattern;
    (void)state;
    assert_int_equal(regcomp(&pattern, clauses, REG_EXTENDED | REG_NOSUB), 0);
    for (unsigned i = 0; i < VERDICT_COUNT; i++) {
        const char *clause = verdict_texts[i].clause;
        if (is_local((enum verdict)i))
            assert_string_equal(clause, "");
        else if (regexec(&pattern, clause, 0, NULL, 0) != 0)
            fail_msg("%s: \"%s\" is no clause of an RFC", verdict_texts[i].name, clause);
    }
    regfree(&pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_words_and_differ),
        cmocka_unit_test(every_verdict_has_a_sentence),
        cmocka_unit_test(every_verdict_has_a_clause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
