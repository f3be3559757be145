/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The text is walked twice. The first walk, over libyaml's events, lets through only the plain part of YAML:
 * one document of maps, lists and scalars, nested no deeper than the keys are, without anchors, aliases and
 * tags. Those are what makes the work of a small file large, and nobody needs them here. The second walk has
 * libyaml build the nodes.
 */
#include "control/config_document.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool config_complain(const struct config_source *source, const yaml_mark_t *mark, struct config_error *error,
                     const char *format, ...)
{
    va_list arguments;
    int length = snprintf(error->text, sizeof(error->text), "%.200s:%zu:%zu: ", source->name, mark->line + 1,
                          mark->column + 1);
    va_start(arguments, format);
    vsnprintf(error->text + length, sizeof(error->text) - (size_t)length, format, arguments);
    va_end(arguments);
    return false;
}

/* The position of a byte; columns count characters, as libyaml's do. */
static yaml_mark_t mark_of_offset(const struct config_source *source, size_t offset)
{
    yaml_mark_t mark = {.index = offset};
    for (size_t i = 0; i < offset && i < source->length; i++) {
        unsigned char byte = (unsigned char)source->text[i];
        mark.line += byte == '\n';
        mark.column = byte == '\n' ? 0 : mark.column + ((byte & 0xc0) != 0x80);
    }
    return mark;
}

/* The line that a mark is in, and its length. */
static const char *line_of_mark(const struct config_source *source, const yaml_mark_t *mark, size_t *length)
{
    const char *at = source->text, *end = source->text + source->length;
    for (size_t line = 0; line < mark->line && at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline == NULL ? end : newline + 1;
    }
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    *length = (size_t)((newline == NULL ? end : newline) - at);
    return at;
}

/* What most likely lies behind an error of syntax: an end cut off, tabs, endpoints, whose bracket begins a
 * list. */
static const char *guess_cause(const struct config_source *source, const yaml_mark_t *mark)
{
    size_t length;
    const char *line = line_of_mark(source, mark, &length);
    if (line + length == source->text + source->length && mark->index >= source->length)
        return "; the file ends here, is it complete?";
    if (memchr(line, '\t', length) != NULL)
        return "; indent with spaces, tabs are not allowed";
    for (size_t i = 0; i + 2 < length; i++)
        if (line[i] == ']' && line[i + 1] == ':' && isdigit((unsigned char)line[i + 2]))
            return "; quote endpoints, as in \"[2001:db8::5]:80\"";
    return "";
}

/* Passes on what libyaml has to say. */
static bool syntax_error(const struct config_source *source, const yaml_parser_t *parser,
                         struct config_error *error)
{
    yaml_mark_t mark = parser->problem_mark;
    size_t length;
    if (parser->problem == NULL) /* all that libyaml has no words for */
        return config_complain(source, &mark, error, "out of memory; free some and try again");
    if (parser->error == YAML_READER_ERROR) {
        mark = mark_of_offset(source, parser->problem_offset);
        return config_complain(source, &mark, error, "%s; the file is text in UTF-8", parser->problem);
    }
    /* libyaml counts the end of the text as a line of its own. */
    if (line_of_mark(source, &mark, &length) == source->text + source->length)
        mark = mark_of_offset(source, source->length);
    return config_complain(source, &mark, error, "not valid YAML: %s%s%s%s",
                           parser->context == NULL ? "" : parser->context,
                           parser->context == NULL ? "" : ", ", parser->problem, guess_cause(source, &mark));
}

static void parser_start(yaml_parser_t *parser, const struct config_source *source)
{
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(parser, (const unsigned char *)source->text, source->length);
}

/* How far the first walk has come. */
struct walk {
    const struct config_source *source;
    struct config_error *error;
    int documents;
    int depth;
    bool content;
};

static bool admit_node(const struct walk *walk, const yaml_event_t *event, const yaml_char_t *anchor,
                       const yaml_char_t *tag)
{
    if (anchor != NULL)
        return config_complain(walk->source, &event->start_mark, walk->error,
                               "an anchor (&); write the value out where it is needed");
    if (tag != NULL)
        return config_complain(walk->source, &event->start_mark, walk->error,
                               "a tag (!); write the value alone");
    return true;
}

static bool admit_depth(struct walk *walk, const yaml_event_t *event)
{
    if (++walk->depth > CONFIG_DEPTH_MAXIMUM)
        return config_complain(walk->source, &event->start_mark, walk->error,
                               "nested more than %d deep; no key is so deep, see isthmus.yaml(5)",
                               CONFIG_DEPTH_MAXIMUM);
    return true;
}

static bool admit_event(struct walk *walk, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++walk->documents > 1)
            return config_complain(walk->source, &event->start_mark, walk->error,
                                   "a second document begins here; a configuration is one");
        return true;
    case YAML_ALIAS_EVENT:
        return config_complain(walk->source, &event->start_mark, walk->error,
                               "an alias (*); write the value out where it is needed");
    case YAML_SCALAR_EVENT:
        walk->content = walk->content || event->data.scalar.length != 0;
        return admit_node(walk, event, event->data.scalar.anchor, event->data.scalar.tag);
    case YAML_SEQUENCE_START_EVENT:
        walk->content = true;
        return admit_node(walk, event, event->data.sequence_start.anchor, event->data.sequence_start.tag) &&
               admit_depth(walk, event);
    case YAML_MAPPING_START_EVENT:
        walk->content = true;
        return admit_node(walk, event, event->data.mapping_start.anchor, event->data.mapping_start.tag) &&
               admit_depth(walk, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        walk->depth--;
        return true;
    default:
        return true;
    }
}

/* The first walk. */
static bool admit(const struct config_source *source, yaml_parser_t *parser, struct config_error *error)
{
    struct walk walk = {.source = source, .error = error};
    bool ended = false;
    while (!ended) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) == 0)
            return syntax_error(source, parser, error);
        ended = event.type == YAML_STREAM_END_EVENT;
        bool admitted = admit_event(&walk, &event);
        yaml_event_delete(&event);
        if (!admitted)
            return false;
    }
    if (!walk.content)
        return config_complain(
            source, &(yaml_mark_t){0}, error,
            "the configuration is empty; it needs nat64: with a prefix and a pool, see isthmus.yaml(5)");
    return true;
}

/* Some editors begin a file with the byte order mark, which libyaml takes amiss where it is told the
 * encoding. */
static void skip_byte_order_mark(struct config_source *source)
{
    if (source->length >= 3 && memcmp(source->text, "\xef\xbb\xbf", 3) == 0) {
        source->text += 3;
        source->length -= 3;
    }
}

bool config_document_load(struct config_source *source, struct config_error *error)
{
    yaml_parser_t parser;
    if (source->length > CONFIG_BYTES_MAXIMUM) {
        snprintf(error->text, sizeof(error->text), "%.200s: larger than 1 MiB; is this the configuration?",
                 source->name);
        return false;
    }
    skip_byte_order_mark(source);
    if (yaml_parser_initialize(&parser) == 0)
        return config_complain(source, &(yaml_mark_t){0}, error, "out of memory; free some and try again");
    parser_start(&parser, source);
    bool done = admit(source, &parser, error);
    yaml_parser_delete(&parser);
    if (!done)
        return false;
    if (yaml_parser_initialize(&parser) == 0)
        return config_complain(source, &(yaml_mark_t){0}, error, "out of memory; free some and try again");
    parser_start(&parser, source);
    done = yaml_parser_load(&parser, &source->document) != 0 || syntax_error(source, &parser, error);
    yaml_parser_delete(&parser);
    return done;
}

/* The value of a map's key, given by its first `length` characters; NULL: absent, or not a map. */
static yaml_node_t *step_into_map(struct config_source *source, const yaml_node_t *node, const char *name,
                                  size_t length)
{
    if (node->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *key = yaml_document_get_node(&source->document, pair->key);
        if (key->type == YAML_SCALAR_NODE && key->data.scalar.length == length &&
            memcmp(key->data.scalar.value, name, length) == 0)
            return yaml_document_get_node(&source->document, pair->value);
    }
    return NULL;
}

static yaml_node_t *step_into_list(struct config_source *source, const yaml_node_t *node, const char *number)
{
    unsigned entry = 0;
    if (node->type != YAML_SEQUENCE_NODE)
        return NULL;
    for (; isdigit((unsigned char)*number); number++)
        entry = entry * 10 + (unsigned)(*number - '0');
    if (entry >= (size_t)(node->data.sequence.items.top - node->data.sequence.items.start))
        return NULL;
    return yaml_document_get_node(&source->document, node->data.sequence.items.start[entry]);
}

yaml_mark_t config_document_locate(struct config_source *source, const char *path)
{
    const yaml_node_t *node = yaml_document_get_root_node(&source->document);
    yaml_mark_t mark = node->start_mark;
    while (*path != 0 && node != NULL) {
        size_t length = strcspn(path, ".[]");
        node = path[length] == ']' ? step_into_list(source, node, path)
                                   : step_into_map(source, node, path, length);
        if (node != NULL)
            mark = node->start_mark;
        path += length;
        path += strspn(path, ".[]");
    }
    return mark;
}
