/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/verdict.h"

const struct verdict_text verdict_texts[VERDICT_COUNT] = {
#define VERDICT_ROW(id, name, class, sentence, clause)                                                       \
    [VERDICT_##id] = {name, VERDICT_##class, sentence, clause},
    VERDICTS(VERDICT_ROW)
#undef VERDICT_ROW
};
