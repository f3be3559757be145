/* SPDX-License-Identifier: BSD-2-Clause */
/* The texts of the counters; the list is in the header. */
#include "dns64/counters.h"

#define TEXT(identifier, name, class, sentence) [DNS64_##identifier] = {name, class, sentence},
const struct dns64_counter_text dns64_counter_texts[DNS64_COUNTER_COUNT] = {DNS64_COUNTERS(TEXT)};
#undef TEXT
