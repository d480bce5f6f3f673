# SPDX-License-Identifier: Apache-2.0
# A thin layer over the CMake presets: it installs what is missing, then calls them.

PRESET ?= release
PREFIX ?= /usr/local
# Debian's own python3, because python3-venv belongs to it; any other where there is none.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
# A compiler process takes up to about 1.5 GB.
JOBS ?= $(shell awk -v cpus=$$(nproc) '/^MemAvailable/ {n = int($$2 / 1572864)} \
	END {print n < 1 ? 1 : n < cpus ? n : cpus}' /proc/meminfo)
# Seconds that `make fuzz` gives each target.
TIME ?= 60
# Of `make soak`.
MINUTES ?= 30
VENV := build/venv
BINARY = build/$(PRESET)/tools/vkb

.PHONY: build test demo bench torture soak package asan tsan fuzz format lint install clean configure setup venv help

build: configure ## the program (build/release/tools/vkb), the libraries, tests and benchmarks
	@cmake --build --preset $(PRESET) --parallel $(JOBS)

test: build package ## every test
	@tools/run_tests.sh build/$(PRESET) $(JOBS)

demo: configure venv ## a Redis knowledge base becomes a vkb store, and answers
	@cmake --build --preset $(PRESET) --parallel $(JOBS) --target vkb_tool
	@$(VENV)/bin/python -B tools/demo/demo.py --vkb $(BINARY) --directory build/demo

bench: build ## micro-benchmarks
	@for program in build/$(PRESET)/bench/*_bench; do "$$program" || exit 1; done

torture: build ## kills, power losses, failing calls, damaged pages: ROUNDS kills, or without end
	@tools/torture.sh build/$(PRESET) $(ROUNDS)

soak: build ## a writer and four readers, each a process, at full speed for MINUTES=30
	@VKB_SOAK_SECONDS=$$(($(MINUTES) * 60)) build/$(PRESET)/tests/soak/vkb_soak_tests

package: build venv ## the Python package, into build/venv
	@CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(VENV)/bin/python -m pip --disable-pip-version-check install \
	  --no-deps --no-build-isolation \
	  --config-settings=cmake.define.VKB_BUILD=$(CURDIR)/build/$(PRESET) ./python >build/package.log 2>&1 || { tail -n 30 build/package.log >&2; \
	  echo "make: the Python package could not be built (see build/package.log)" >&2; exit 1; }

asan tsan: setup ## the C++ tests under sanitizers
	cmake --preset $@
	cmake --build --preset $@ --parallel $(JOBS)
	ctest --preset $@

fuzz: setup ## libFuzzer on every target, TIME=60 seconds each (needs clang)
	@tools/run_fuzz.sh $(TIME) $(JOBS)

format: ## clang-format over all C++ sources
	@tools/setup.sh lint
	@git ls-files -z '*.cc' '*.h' | xargs -0 clang-format -i

lint: build ## clang-format and clang-tidy, changing nothing
	@tools/setup.sh lint
	@git ls-files -z '*.cc' '*.h' | xargs -0 clang-format --dry-run -Werror
	@git ls-files -z '*.cc' | xargs -0 -n 1 -P $(JOBS) clang-tidy --quiet -p build/$(PRESET)

install: build ## into PREFIX (/usr/local)
	cmake --install build/$(PRESET) --prefix $(PREFIX)

clean: ## removes build/
	rm -rf build

configure: setup
	@cmake --preset $(PRESET) >build/configure.log 2>&1 || \
	  { cat build/configure.log >&2; echo "make: cmake --preset $(PRESET) failed" >&2; exit 1; }

setup:
	@mkdir -p build
	@tools/setup.sh

venv: $(VENV)/stamp

# The stamp is written last, so an interrupted installation is done again.
$(VENV)/stamp: tests/requirements.txt tools/demo/requirements.txt | setup
	@rm -rf $(VENV)
	@echo "make: installing the Python tools into $(VENV)" >&2
	@{ $(PYTHON) -m venv $(VENV) && $(VENV)/bin/python -m pip --disable-pip-version-check install \
	  --no-deps --only-binary=:all: -r tests/requirements.txt -r tools/demo/requirements.txt; } \
	  >build/venv.log 2>&1 || { tail -n 15 build/venv.log >&2; \
	  echo "make: the Python tools could not be installed (see build/venv.log)" >&2; exit 1; }
	@touch $@

help:
	@awk -F ':.*## ' '/^[a-z ]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
