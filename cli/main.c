/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * isthmus: one program, its first argument names what it does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "control/version.h"

static const struct command commands[] = {
    {"run", command_run, "run the translator and the name service in the foreground",
     "run [-c FILE] [--stay] [--fresh]",
     "  -c, --config FILE  configuration (default " DEFAULT_CONFIG ")\n"
     "      --stay         leave device, routes and settings for the next run when it stops\n"
     "      --fresh        undo what an earlier run left, or forget it; start without its sessions\n"
     "\n"
     "SIGTERM and SIGINT stop it and undo all that it changed; SIGHUP reloads the configuration.\n"
     "Sessions outlive it: the next run goes on with them.\n"},
    {"down", command_down, "undo what a run left, and end its sessions", "down [-c FILE | NAME]",
     "  -c, --config FILE  only what was made under the plane.name of this configuration\n"
     "  NAME               only what was made under this plane.name\n"
     "\n"
     "Without either, everything is undone that no running daemon looks after.\n"},
    {"check", command_check, "check a configuration and print it in full", "check [-c FILE]",
     "  -c, --config FILE  configuration (default " DEFAULT_CONFIG ")\n"
     "\n"
     "Prints every key with its value, in a form that can be used as a configuration, and the memory\n"
     "it takes. Changes nothing and needs no rights.\n"},
    {"reload", command_reload, "have the running daemon read its configuration again",
     "reload [-c FILE | --socket PATH] [--json]",
     "  -c, --config FILE  configuration whose control.socket is meant (default " DEFAULT_CONFIG ")\n"
     "      --socket PATH  the control socket itself\n"
     "\n"
     "Takes over changes of nat64, siit, translation and of what dns64 answers to whom, and says how many\n"
     "sessions they end. If anything is wrong, or needs a restart, as plane, control, ra and more room\n"
     "for sessions do, nothing is changed.\n"},
    {"show", command_show, "show what the running daemon does",
     "show status|sessions|bindings|counters|pools|dns [--json] [--all] [-c FILE | --socket PATH]",
     "  status             is it ready, since when, with how many sessions\n"
     "  sessions           who talks to whom: client, pool address and port, remote\n"
     "  bindings           which pool address and port stands for which client\n"
     "  counters           packets by what became of them\n"
     "  pools              ports in use of each pool address\n"
     "  dns                queries, how they were answered, refused or failed, how long lookups took\n"
     "\n"
     "      --json         one JSON object a line, as doc/api.md describes\n"
     "      --all          counters, dns: also what is zero\n"
     "  -c, --config FILE  configuration whose control.socket is meant (default " DEFAULT_CONFIG ")\n"
     "      --socket PATH  the control socket itself\n"},
    {"capture", command_capture, "record packets with what became of them and why",
     "capture [--verdict NAME[,...]] [--address ADDRESS] [--count NUMBER] [-s BYTES] [-w FILE] [-c FILE | "
     "--socket PATH]",
     "      --verdict NAMES    only packets that met one of these verdicts, which isthmus show counters\n"
     "                         --all lists, or one class: forwarded, held, refused, dropped; and of\n"
     "                         queries dns-REASON, as isthmus show dns --all lists them, or all: dns\n"
     "      --address ADDRESS  only packets from or to this IPv4 or IPv6 address, on either side\n"
     "      --count NUMBER     end after so many packets\n"
     "  -s, --snaplen BYTES    record so much of each packet (default 2048)\n"
     "  -w, --write FILE       into this file instead of to standard output; - is standard output, too\n"
     "  -c, --config FILE      configuration whose control.socket is meant (default " DEFAULT_CONFIG ")\n"
     "      --socket PATH      the control socket itself\n"
     "\n"
     "Writes pcapng, for Wireshark and tshark: each packet as it came in and, if it was translated, as it\n"
     "went out; the packets that isthmus made itself; and queries that the name service did not answer\n"
     "as they asked. The reason is the packet's comment:\n"
     "\n"
     "  isthmus capture --verdict dropped,refused | tshark -r - -T fields -e ip.src -e frame.comment\n"},
};

enum {
    COMMANDS = sizeof(commands) / sizeof(commands[0]),
};

static void print_overview(FILE *out)
{
    fputs("usage: isthmus COMMAND [OPTIONS]\n"
          "\n"
          "Joins IPv6-only and IPv4-only networks on a stock Linux machine: NAT64 with state, SIIT without,\n"
          "DNS64 for names, and router advertisements that tell hosts of it.\n"
          "\n",
          out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "isthmus COMMAND --help tells more of a command; isthmus --version prints the version.\n",
          out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_overview(stdout);
        return command_written();
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("isthmus " ISTHMUS_VERSION);
        return command_written();
    }
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(&commands[i], argc - 1, argv + 1);
    }
    fprintf(stderr, "isthmus: there is no command %s\n", argv[1]);
    print_overview(stderr);
    return EXIT_USAGE;
}
