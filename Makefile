# SPDX-License-Identifier: BSD-2-Clause
# The short names of everything one does here. The build itself is meson.build; each line below is a tool.
#
#   make            build/isthmus
#   make test       all tests; closes with "N passed, N failed"
#   make demo       the main job on real traffic, in a lab of network namespaces; KEEP=1 leaves the lab up
#   make test-kernels  the programs for the kernel on other kernels, in QEMU; KERNEL=6.12 for one of them,
#                    TREE=DIR for one that is unpacked there
#   make check      the checkers: includes, ceilings, format, words, sources, RFC map, BPF, clang-tidy
#   make fuzz       every fuzz target for SECONDS=60
#   make stress     many threads on what they share, under the thread sanitizer, for SECONDS=600 each
#   make simulate   networks with bad wires on a virtual clock, from SEEDS=200 seeds of EXCHANGES=1000 each
#   make bench      benchmarks as ratios; ONLY=engine, table, instructions, bpf-program, tun, bpf,
#                   dns64-cache or dns64 for one
#   make install    DESTDIR=, prefix=/usr/local, sysconfdir=/etc
#   make packages   the Debian packages that all of this needs; `tool/install-packages build` for make alone
#   make clean
#
# test, demo, check, fuzz and bench install the packages they lack first, where they run as root.

BUILD      = build
prefix     = /usr/local
sysconfdir = /etc
SECONDS    = 60
SEEDS      = 200
EXCHANGES  = 1000
FIRST      =
ONLY       =
KEEP       =
KERNEL     =

all:
	@tool/build $(BUILD) isthmus

test:
	@tool/install-packages build lab test
	@tool/build $(BUILD) isthmus tests || { echo "0 passed, 1 failed"; exit 1; }
	@tool/test --build $(BUILD)

demo:
	@tool/install-packages build lab
	@tool/build $(BUILD) isthmus
	@KEEP=$(KEEP) lab/demo

test-kernels:
	@tool/install-packages build test kernels
	@tool/build $(BUILD) tests
	@tool/test-kernels --build $(BUILD) --only "$(KERNEL)" $(if $(TREE),--tree "$(TREE)")

check:
	@tool/install-packages build test check
	@tool/build $(BUILD) isthmus tests benchmarks
	@tool/check --build $(BUILD)

fuzz:
	@tool/install-packages build check
	@CC=clang tool/build $(BUILD)/fuzz fuzz-targets -- -Dfuzz=true
	@tool/fuzz --build $(BUILD)/fuzz --seconds $(SECONDS)

# Ten minutes, unless SECONDS says otherwise on the command line.
stress: SECONDS = 600
stress:
	@tool/install-packages build test
	@tool/build $(BUILD) table_stress_threads sharing_stress_threads
	@$(BUILD)/table_stress_threads $(SECONDS)
	@$(BUILD)/sharing_stress_threads $(SECONDS)

simulate:
	@tool/install-packages build test
	@tool/build $(BUILD) simulation
	@$(BUILD)/simulation $(SEEDS) $(EXCHANGES) $(FIRST)

bench:
	@tool/install-packages build lab bench
	@tool/build $(BUILD) isthmus benchmarks
	@bench/run --build $(BUILD) --only "$(ONLY)"

install:
	@tool/build $(BUILD) isthmus
	@meson configure $(BUILD) -Dprefix=$(prefix) -Dsysconfdir=$(sysconfdir)
	@tool/build $(BUILD) isthmus
	@meson install -C $(BUILD) --no-rebuild --quiet

packages:
	@tool/install-packages

clean:
	rm -rf $(BUILD)

.PHONY: all test test-kernels demo check fuzz stress simulate bench install packages clean
