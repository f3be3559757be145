/* SPDX-License-Identifier: BSD-2-Clause */
/* What readers of values share: between config_values.c and its neighbours only. */
#ifndef CONTROL_CONFIG_VALUES_INPUT_H
#define CONTROL_CONFIG_VALUES_INPUT_H

#include <netinet/in.h>

#include "control/config_values.h"
#include "wire/ipv6.h"

enum { ADDRESS_TEXT_SIZE = INET6_ADDRSTRLEN };

/* A value on its way in. */
struct input {
    const struct value_rule *rule;
    const char *text;
    struct value_error *error;
};

/* Says why not. Always false, to be returned. */
__attribute__((format(printf, 2, 3))) bool value_refuse(const struct input *input, const char *format, ...);

/* Says what was found and what the rule allows. */
bool value_unexpected(const struct input *input);

/*
 * Reads a decimal number at *text and steps over it. At most nine digits, which no key exceeds, and no
 * leading zeroes, which YAML 1.1 takes for octal.
 */
bool value_scan_number(const char **text, uint32_t *number);

/* Splits ADDRESS/LENGTH; without a slash *length is `whole`. `address` has ADDRESS_TEXT_SIZE bytes. */
bool value_split_length(const char *text, char *address, uint32_t *length, uint32_t whole);

struct ipv6_address value_mask_address(struct ipv6_address address, uint32_t length);

/* Copies `text` between quotes as YAML reads it. `out` has VALUE_TEXT_SIZE bytes. */
void value_format_quoted(const char *text, char *out);

/* Of the types in config_values_dns.c. */
bool value_read_network(const struct input *input, void *at);
void value_format_network(const struct value_rule *rule, const void *at, char *out);
bool value_read_listen(const struct input *input, void *at);
void value_format_listen(const struct value_rule *rule, const void *at, char *out);
bool value_read_upstream(const struct input *input, void *at);
void value_format_upstream(const struct value_rule *rule, const void *at, char *out);
bool value_read_domain(const struct input *input, void *at);
void value_format_domain(const struct value_rule *rule, const void *at, char *out);

#endif /* CONTROL_CONFIG_VALUES_INPUT_H */
