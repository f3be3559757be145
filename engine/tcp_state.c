/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/tcp_state.h"

const char *const tcp_state_names[TCP_STATE_COUNT] = {
#define TCP_STATE_NAME(id, name) [TCP_##id] = name,
    TCP_STATES(TCP_STATE_NAME)
#undef TCP_STATE_NAME
};
