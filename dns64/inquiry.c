/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The course of an inquiry: what each stage makes of the lookup that it waited for. The contract is in the
 * header; how answers are written is told in passing.h, synthesis.h and service.h.
 *
 *     PASS                          whatever comes is the answer
 *     AAAA -> A [-> AGAIN]          AGAIN if there are A records, none of which the client can reach: what is
 *                                   right to say then is what was said of AAAA, proofs and all
 *     REVERSE                       PTR of the IPv4 address
 *     SERVICE -> (TARGET_AAAA [-> TARGET_A])*
 *
 * Each stage asks once and the stages of a target come INQUIRY_TARGETS times at most, which bounds an
 * inquiry.
 */
#include "dns64/inquiry.h"

#include "dns64/local.h"
#include "dns64/passing.h"
#include "dns64/service.h"
#include "dns64/synthesis.h"

enum stage {
    STAGE_PASS,
    STAGE_AAAA,
    STAGE_A,
    STAGE_AGAIN,
    STAGE_REVERSE,
    STAGE_SERVICE,
    STAGE_TARGET_AAAA,
    STAGE_TARGET_A,
    STAGES
};

/* rfc: 6147-5.5-a */
static enum inquiry_step ask(struct inquiry *inquiry, enum stage stage, const struct dns_name *name,
                             uint16_t type)
{
    inquiry->stage = (uint8_t)stage;
    inquiry->ask.name = *name;
    inquiry->ask.type = type;
    inquiry->ask.class = inquiry->question.class;
    inquiry->ask.unchecked = inquiry->question.checking_disabled;
    return INQUIRY_ASK;
}

/* rfc: 8914-4.7-a, 8914-4.15-a, 8914-4.23-a, 8914-4.24-a */
static enum inquiry_step fail(const struct inquiry *inquiry, enum lookup_state state, struct answer *answer)
{
    /* A message that could not be used counts as none. */
    static const uint16_t errors[] = {
        [LOOKUP_INSECURE] = ANSWER_ERROR_NETWORK, [LOOKUP_SECURE] = ANSWER_ERROR_NETWORK,
        [LOOKUP_BOGUS] = ANSWER_ERROR_BOGUS,      [LOOKUP_FAILED] = ANSWER_ERROR_NO_AUTHORITY,
        [LOOKUP_TIMEOUT] = ANSWER_ERROR_NETWORK,  [LOOKUP_BUSY] = ANSWER_ERROR_NOT_READY,
    };
    draft_failure(&inquiry->question, errors[state], answer);
    return INQUIRY_DONE;
}

/* Whether a question for AAAA is one for us. rfc: 6147-5.1-a, 6147-5.5-h */
static bool concerns_us(const struct inquiry_question *question)
{
    return question->class == DNS_CLASS_IN && !question->checking_disabled && question->view != 0;
}

/* rfc: 6147-5.3.1-e */
enum inquiry_step inquiry_begin(struct inquiry *inquiry, const struct inquiry_question *question,
                                const struct dns_rules *rules, struct answer *answer)
{
    struct dns_name target;
    inquiry->question = *question;
    inquiry->rules = rules;
    inquiry->secure = inquiry->negative_ttl_known = false;
    switch (local_answer(question, rules, answer, &target)) {
    case LOCAL_ANSWERED:
        return INQUIRY_DONE;
    case LOCAL_REVERSE:
        return ask(inquiry, STAGE_REVERSE, &target, DNS_TYPE_PTR);
    default:
        break;
    }
    if (!concerns_us(question))
        return ask(inquiry, STAGE_PASS, &question->name, question->type);
    switch (question->type) {
    case DNS_TYPE_AAAA:
        return ask(inquiry, STAGE_AAAA, &question->name, DNS_TYPE_AAAA);
    case DNS_TYPE_SVCB:
    case DNS_TYPE_HTTPS:
        return ask(inquiry, STAGE_SERVICE, &question->name, question->type);
    default:
        return ask(inquiry, STAGE_PASS, &question->name, question->type);
    }
}

static enum inquiry_step pass(struct inquiry *inquiry, const struct response *response, struct answer *answer)
{
    inquiry->secure = response->secure;
    passing_write(inquiry, response, answer);
    return INQUIRY_DONE;
}

/* rfc: 6147-5.3.3-a, 6147-5.5-i */
static enum inquiry_step take_pass(struct inquiry *inquiry, const struct looked_up *result,
                                   struct answer *answer)
{
    struct response response;
    if (!response_read(&response, result, &inquiry->ask))
        return fail(inquiry, result->state, answer);
    return pass(inquiry, &response, answer);
}

/* What an AAAA lookup says of synthesis. */
enum verdict_of_aaaa {
    AAAA_FINAL, /* there are AAAA records, or there is no such name */
    AAAA_EMPTY, /* there are none that count */
    AAAA_ERROR, /* an error, which counts as if there were none (RFC 6147 section 5.1.2) */
    AAAA_LOST,  /* no answer, which counts as an error (section 5.1.3) */
};

/*
 * Judges it and notes how long "there is none" holds.
 * rfc: 6147-5.1.1-a, 6147-5.1.2-a, 6147-5.1.2-b, 6147-5.1.3-a, 6147-5.1.4-c
 */
static enum verdict_of_aaaa judge(struct inquiry *inquiry, struct response *response,
                                  const struct looked_up *result)
{
    inquiry->negative_ttl_known = inquiry->secure = false;
    if (!response_read(response, result, &inquiry->ask))
        return AAAA_LOST;
    inquiry->secure = response->secure;
    if (response->rcode == DNS_RCODE_NXDOMAIN || synthesis_needless(inquiry->rules, response))
        return AAAA_FINAL;
    if (response->rcode != DNS_RCODE_NOERROR)
        return AAAA_ERROR;
    /* Were there some that do not count, the SOA record would not be there on their account. */
    inquiry->negative_ttl_known = response->found == 0 && response->has_soa;
    inquiry->negative_ttl = response->negative_ttl;
    return AAAA_EMPTY;
}

/* rfc: 6147-5.1.1-c, 6147-5.1.6-a, 6147-5.5-d */
static enum inquiry_step take_aaaa(struct inquiry *inquiry, const struct looked_up *result,
                                   struct answer *answer)
{
    struct response response;
    enum verdict_of_aaaa verdict = judge(inquiry, &response, result);
    bool exempt = verdict != AAAA_FINAL &&
                  (rules_excludes_name(inquiry->rules, &inquiry->question.name) ||
                   (verdict == AAAA_EMPTY && rules_excludes_name(inquiry->rules, &response.end)));
    if (exempt && verdict == AAAA_LOST)
        return fail(inquiry, result->state, answer);
    if (exempt || verdict == AAAA_FINAL)
        return pass(inquiry, &response, answer);
    return ask(inquiry, STAGE_A, &inquiry->question.name, DNS_TYPE_A);
}

/* rfc: 6147-5.4-b, 6147-5.5-f */
static enum inquiry_step take_a(struct inquiry *inquiry, const struct looked_up *result,
                                struct answer *answer)
{
    struct response response;
    /* The error of the second lookup is the answer's (section 5.1.6). */
    if (!response_read(&response, result, &inquiry->ask))
        return fail(inquiry, result->state, answer);
    if (response.found > 0 && inquiry->negative_ttl_known && !synthesis_possible(inquiry, &response))
        return ask(inquiry, STAGE_AGAIN, &inquiry->question.name, DNS_TYPE_AAAA);
    /* AD needs both, the negative answer and the A records (section 5.5). */
    inquiry->secure = inquiry->secure && response.secure;
    synthesis_write(inquiry, &response, answer);
    return INQUIRY_DONE;
}

static enum inquiry_step take_reverse(struct inquiry *inquiry, const struct looked_up *result,
                                      struct answer *answer)
{
    struct response response;
    if (!response_read(&response, result, &inquiry->ask))
        return fail(inquiry, result->state, answer);
    inquiry->secure = response.secure;
    passing_write_reverse(inquiry, &response, answer);
    return INQUIRY_DONE;
}

/* Asks for the next target, or ends. */
static enum inquiry_step ask_target(struct inquiry *inquiry, struct answer *answer)
{
    const struct dns_name *target = service_target(inquiry);
    if (target != NULL)
        return ask(inquiry, STAGE_TARGET_AAAA, target, DNS_TYPE_AAAA);
    service_write(inquiry, answer);
    return INQUIRY_DONE;
}

static enum inquiry_step take_service(struct inquiry *inquiry, const struct looked_up *result,
                                      struct answer *answer)
{
    struct response response;
    if (!response_read(&response, result, &inquiry->ask))
        return fail(inquiry, result->state, answer);
    if (!service_begin(inquiry, &response, result))
        return pass(inquiry, &response, answer);
    return ask_target(inquiry, answer);
}

static enum inquiry_step take_target_aaaa(struct inquiry *inquiry, const struct looked_up *result,
                                          struct answer *answer)
{
    struct response response;
    enum verdict_of_aaaa verdict = judge(inquiry, &response, result);
    if (result->state != LOOKUP_BOGUS && verdict != AAAA_FINAL)
        return ask(inquiry, STAGE_TARGET_A, service_target(inquiry), DNS_TYPE_A);
    service_next(inquiry);
    return ask_target(inquiry, answer);
}

static enum inquiry_step take_target_a(struct inquiry *inquiry, const struct looked_up *result,
                                       struct answer *answer)
{
    struct response response;
    if (response_read(&response, result, &inquiry->ask) && synthesis_possible(inquiry, &response))
        service_add(inquiry, &response);
    service_next(inquiry);
    return ask_target(inquiry, answer);
}

static const struct {
    enum inquiry_step (*take)(struct inquiry *inquiry, const struct looked_up *result, struct answer *answer);
    bool additional; /* it is about what may as well be missing */
} stages[] = {
    [STAGE_PASS] = {take_pass, false},
    [STAGE_AAAA] = {take_aaaa, false},
    [STAGE_A] = {take_a, false},
    [STAGE_AGAIN] = {take_pass, false},
    [STAGE_REVERSE] = {take_reverse, false},
    [STAGE_SERVICE] = {take_service, false},
    [STAGE_TARGET_AAAA] = {take_target_aaaa, true},
    [STAGE_TARGET_A] = {take_target_a, true},
};
_Static_assert(sizeof(stages) / sizeof(stages[0]) == STAGES, "what to do in each stage");

/* rfc: 6147-5.5-g */
enum inquiry_step inquiry_continue(struct inquiry *inquiry, const struct looked_up *result,
                                   struct answer *answer)
{
    bool busy = result->state == LOOKUP_BUSY, late = result->state == LOOKUP_TIMEOUT;
    if (stages[inquiry->stage].additional && (busy || late)) {
        /* Who waits for the answer has waited long enough. */
        inquiry_give_up(inquiry, answer);
        return INQUIRY_DONE;
    }
    if (!stages[inquiry->stage].additional && (busy || result->state == LOOKUP_BOGUS))
        return fail(inquiry, result->state, answer);
    return stages[inquiry->stage].take(inquiry, result, answer);
}

void inquiry_give_up(struct inquiry *inquiry, struct answer *answer)
{
    if (stages[inquiry->stage].additional)
        service_write(inquiry, answer);
    else
        (void)fail(inquiry, LOOKUP_TIMEOUT, answer);
}
