# `make demo` and `make test` need Rust, Python 3.11 or newer, and nothing else: what they use besides is installed into
# virtual environments inside this directory. `make help` lists the rest.

PYTHON ?= python3
# A free-threaded interpreter: given, or the python3.14t on PATH. Without one the tests that need it are left out.
ifndef PYTHON_FT
PYTHON_FT := $(shell python3.14t -c 'import sys; print(sys.executable)' 2>/dev/null)
endif
# More arguments for pytest, such as PYTEST_ARGS="-k close -x".
PYTEST_ARGS ?=
# More arguments for tests/mutants.py, such as MUTANTS_ARGS="--only acks".
MUTANTS_ARGS ?=
# More arguments for the Python benchmarks, such as BENCH_ARGS="--rounds 50 --check --plot".
BENCH_ARGS ?=

VENV ?= .venv
VENV_FT := .venv-ft
# Dependency groups of pyproject.toml that the tests use.
GROUPS ?= test lint browser

# Where the Rust installer puts cargo, for shells that were started before.
export PATH := $(PATH):$(HOME)/.cargo/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Maturin is called by backend/mpmc_queue_build.py, and takes that for another one.
export MATURIN_NO_MISSING_BUILD_BACKEND_WARNING := 1

python := $(VENV)/bin/python
# What the interpreter calls its extension modules (.cpython-314t-x86_64-linux-gnu.so): an environment, a build directory
# and a binary for each, so that going from one to the other rebuilds nothing.
suffix := $(shell $(PYTHON) -c 'import sys, sysconfig; sys.version_info >= (3, 11) and print(sysconfig.get_config_var("EXT_SUFFIX"))' 2>/dev/null)
tag := $(patsubst .%.so,%,$(suffix))
environment := $(VENV)/.made-for-$(tag)
groups := $(VENV)/.groups-for-$(tag)
docs_group := $(VENV)/.docs-group-for-$(tag)
bench_group := $(VENV)/.bench-group-for-$(tag)
binary := python/mpmc_queue/_mpmc_queue$(suffix)
stub := python/mpmc_queue/_mpmc_queue.pyi
target_dir := target/$(tag)
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
# The environment must not be taken for the one that happens to be active.
in_venv := env -u CONDA_PREFIX -u PYTHONHOME VIRTUAL_ENV="$(CURDIR)/$(VENV)"

# An environment outlives the interpreter that it was made with: make it again then.
$(shell test ! -f $(VENV)/pyvenv.cfg || $(python) -c '' 2>/dev/null || rm -rf $(VENV))

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo build test test-rust test-python test-types test-free-threaded browser lint format wheel clean
.PHONY: docs docs-live docs-publish sdist test-sdist check-package
.PHONY: loom stress stress-here soak soak-here soak-model
.PHONY: fuzz asan tsan valgrind check-windows mutants audit
.PHONY: payload-sizes bench bench-rust bench-growth bench-python bench-jetstream instructions
.PHONY: need-python need-rust need-windows

help:
	@echo 'make demo                 build the package and watch producers and consumers share a queue'
	@echo 'make test                 build what is needed and run every test, Rust and Python'
	@echo
	@echo 'make build                build the package in release mode into $(VENV)'
	@echo 'make test-rust            the engine, without Python'
	@echo 'make test-python          pytest in $(VENV)'
	@echo 'make test-types           mypy --strict, pyright strict, the stub against the binary, and the snippets as plain programs'
	@echo 'make test-free-threaded   pytest on a free-threaded interpreter, then again in 4 threads at once'
	@echo 'make browser              install Chromium from Debian, for the tests of the dashboard'
	@echo 'make stress               a minute of random interleavings of 8 threads (SECONDS=N) on each interpreter'
	@echo 'make soak                 two minutes of everything at once (MINUTES=N) on each interpreter; memory, pauses, books'
	@echo 'make soak-model           ten minutes of random histories against the models (MINUTES=N)'
	@echo 'make bench                both benchmarks, on a machine with nothing else to do'
	@echo 'make bench-rust           the engine, without Python'
	@echo 'make bench-growth         what grows with what is held, and how long the lock is held at the longest'
	@echo 'make instructions         how many instructions the hottest calls take, by valgrind'
	@echo 'make bench-python         the package, against the queues one would use instead'
	@echo 'make payload-sizes        what objects of common libraries weigh, and what the estimate says'
	@echo 'make bench-jetstream      mpmc_queue.jetstream, against nats-py by hand'
	@echo 'make loom                 the engine where threads meet: loom tries the orders of their steps'
	@echo 'make fuzz                 sequences of operations made up by libFuzzer, with AddressSanitizer (SECONDS=N)'
	@echo 'make asan                 the Rust tests under AddressSanitizer'
	@echo 'make tsan                 threads that meet, under ThreadSanitizer (SECONDS=N for each of three)'
	@echo 'make valgrind             every operation of the package under valgrind'
	@echo 'make check-windows        the Rust tests as Windows programs, under wine; and that the binding links there'
	@echo 'make mutants              faults put into the engine one by one: each has to be found by a test'
	@echo 'make audit                known vulnerabilities and licenses of the crates (needs the network)'
	@echo 'make lint                 ruff, clippy and rustfmt, which change nothing'
	@echo 'make format               let ruff and rustfmt put the code in form'
	@echo 'make docs                 the documentation, in site/; a broken link or reference is an error'
	@echo 'make docs-live            the same in a browser, made again whenever a page changes'
	@echo 'make docs-publish         the same as a version on the local branch gh-pages (REF=main or REF=v1.2.3); nothing is pushed'
	@echo 'make wheel                a wheel for $(PYTHON), in dist/'
	@echo 'make sdist                the source distribution, in dist/'
	@echo 'make check-package        twine: whether PyPI takes the metadata and shows the README'
	@echo 'make test-sdist           unpack it elsewhere, make a wheel of that, install it and run it'
	@echo 'make clean                remove everything that was built or installed here'
	@echo
	@echo 'PYTHON=$(PYTHON)'
	@echo 'PYTHON_FT=$(PYTHON_FT)'

demo: $(binary)
	@$(python) -m mpmc_queue demo

build: $(binary)

test: test-rust test-python test-types lint docs check-package test-free-threaded
	@echo 'All tests passed.'

test-rust: need-rust
	cargo test

test-python: $(binary) $(groups)
	$(python) -m pytest $(PYTEST_ARGS)

test-types: $(binary) $(groups)
	$(python) -m mypy
	$(python) -m pyright
	$(python) -m mypy.stubtest mpmc_queue --mypy-config-file pyproject.toml
	$(python) tests/snippets.py

# Without a browser, the tests that need one are skipped.
browser:
	@command -v chromium >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

ifeq ($(PYTHON_FT),)
test-free-threaded:
	@echo 'Free-threaded tests left out: no python3.14t on PATH, and PYTHON_FT is not given.'
else
test-free-threaded:
	@$(PYTHON_FT) -c 'import sysconfig; assert sysconfig.get_config_var("Py_GIL_DISABLED")' \
		|| { echo 'PYTHON_FT=$(PYTHON_FT) does not run, or is not free-threaded.'; exit 1; }
	$(MAKE) --no-print-directory test-python PYTHON='$(PYTHON_FT)' VENV=$(VENV_FT) GROUPS='test free-threaded'
	$(VENV_FT)/bin/python -m pytest --parallel-threads=4 --skip-thread-unsafe=True $(PYTEST_ARGS)
endif

stress: stress-here
	@$(call also,stress-here)

soak: soak-here
	@$(call also,soak-here)

# The same once more on the free-threaded interpreter, where there is one.
also = $(if $(PYTHON_FT),$(MAKE) --no-print-directory $(1) PYTHON='$(PYTHON_FT)' VENV=$(VENV_FT) GROUPS='test free-threaded',true)

stress-here: SECONDS ?= 60
stress-here: $(binary) $(groups)
	STRESS_SECONDS=$(SECONDS) $(python) -m pytest -q -s tests/python/test_interleavings.py $(PYTEST_ARGS)

soak-here: MINUTES ?= 2
soak-here: $(binary)
	$(python) tests/soak/soak.py --minutes $(MINUTES)

# A sixth of the time for each of the two models and the waiters in Rust, and the rest for the two models in Python.
soak-model: MINUTES ?= 10
soak-model: $(binary) $(groups)
	SOAK_SECONDS=$$(($(MINUTES) * 10)) cargo test --profile soak --lib --test model --test group_model -- --nocapture \
		do_as they_do_so nobody_waits
	$(python) tests/soak/histories.py --seconds $$(($(MINUTES) * 30))

# A build of its own, in which loom's threads and atomics stand in for the real ones.
loom: need-rust
	RUSTFLAGS='--cfg loom' cargo test --profile soak --lib --target-dir target/loom -- models:: --nocapture

# Sanitizers need flags that a stable compiler takes only if it is told that it is a nightly one.
host := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
tools := $(CURDIR)/target/tools

# What it finds that is new goes to target/fuzz-corpus; a failure, to target/fuzz-artifacts.
fuzz: SECONDS ?= 60
fuzz: $(tools)/bin/cargo-fuzz
	mkdir -p target/fuzz-corpus target/fuzz-artifacts
	RUSTC_BOOTSTRAP=1 $< fuzz run --target-dir target/fuzz operations target/fuzz-corpus fuzz/corpus/operations -- \
		-max_total_time=$(SECONDS) -max_len=1024 -len_control=0 -artifact_prefix=$(CURDIR)/target/fuzz-artifacts/

asan: need-rust
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
		cargo test --lib --tests --target $(host) --target-dir target/asan

# Optimized as it is released, but with names; and allocations one by one, where CPython would take them from its own pool.
# One test at a time: each is then the only one that its threads can meet.
tsan: SECONDS ?= 10
tsan: need-rust
	RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer' STRESS_SECONDS=$(SECONDS) \
		TSAN_OPTIONS='suppressions=$(CURDIR)/tests/tsan.supp halt_on_error=0 exitcode=66' \
		cargo test --lib --test engine --test groups --test hostile --test leases --test routes --test contention \
		--target $(host) --target-dir target/tsan -- --test-threads=1

valgrind: ROUNDS ?= 5
valgrind: need-rust $(environment)
	PYO3_PYTHON='$(CURDIR)/$(python)' cargo build --release --features python --target-dir target/valgrind \
		--config 'profile.release.lto=false' --config 'profile.release.debug=1'
	mkdir -p target/valgrind/package/mpmc_queue
	cp python/mpmc_queue/*.py target/valgrind/package/mpmc_queue/
	cp target/valgrind/release/libmpmc_queue.so target/valgrind/package/mpmc_queue/_mpmc_queue$(suffix)
	PYTHONMALLOC=malloc PYTHONPATH=target/valgrind/package valgrind --quiet --error-exitcode=9 --num-callers=60 \
		--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
		--suppressions=tests/valgrind.supp $(python) tests/valgrind.py $(ROUNDS)

# Cross-compiled by MinGW. A runner of Windows itself has the whole suite: .github/workflows/test.yml.
windows_target := x86_64-pc-windows-gnu
mingw := x86_64-w64-mingw32-gcc
WINE ?= wine
wine_home := $(CURDIR)/target/wine
# Of what wine reports, only missing DLLs are shown. It would offer to download the two named here, which are not needed.
in_wine := WINEPREFIX='$(wine_home)' WINEDEBUG=-all,err+module WINEDLLOVERRIDES='mscoree,mshtml='

# The binding is linked and no more: that takes no Python of Windows, and finds what PyO3 has no import for.
check-windows: PYTHONS ?= 3.11 3.14 3.14t
check-windows: need-windows $(wine_home)/.made
	$(in_wine) CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER='$(WINE)' cargo test --target $(windows_target) --target-dir target/windows
	set -e; for version in $(PYTHONS); do PYO3_CROSS_PYTHON_VERSION=$$version cargo build --lib --features python \
		--target $(windows_target) --target-dir target/windows/python-$$version; done

# Debian's wine 8 lacks a DLL of Windows that Rust's standard library needs. Without 32-bit programs, which are not needed
# either, wine says at this point that it cannot open one.
$(wine_home)/.made: tests/windows/bcryptprimitives.c | need-windows
	mkdir -p $(@D)
	$(in_wine) $(WINE) wineboot --init
	cd $(wine_home)/drive_c/windows/system32 && { test -e bcryptprimitives.dll || \
		$(mingw) -O2 -Wall -Wextra -shared -o bcryptprimitives.dll $(CURDIR)/$< -ladvapi32; }
	@touch $@

mutants: need-rust $(groups)
	$(python) tests/mutants.py $(MUTANTS_ARGS)

audit: $(tools)/bin/cargo-deny $(environment)
	$< --all-features check
	$(python) tests/packaging/licenses.py --check

$(tools)/bin/%: | need-rust
	cargo install --quiet --locked --root $(tools) $*

bench: bench-rust bench-python

bench-rust: need-rust
	cargo bench

bench-growth: need-rust
	cargo bench --bench growth
	cargo bench --bench growth --features holds -- holds

bench-python: $(binary) $(bench_group)
	$(python) benches/python $(BENCH_ARGS)

# PAYLOADS: a virtual environment of its own, with the libraries whose objects are measured.
payload-sizes: PAYLOADS := target/payloads-$(tag)
payload-sizes: $(binary)
	test -d $(PAYLOADS) || $(PYTHON) -m venv $(PAYLOADS)
	$(PAYLOADS)/bin/python -m pip install --quiet --group payloads
	PYTHONPATH=python $(PAYLOADS)/bin/python benches/python/payload_sizes.py

instructions: $(binary) $(bench_group)
	$(python) benches/python/instructions.py

bench-jetstream: $(binary) $(groups)
	$(python) benches/python/jetstream.py $(BENCH_ARGS)

lint: need-rust $(environment) $(groups)
	$(python) -m ruff check
	$(python) -m ruff format --check
	@if cargo fmt --version >/dev/null 2>&1; then set -x; cargo fmt --check; \
		else echo 'rustfmt left out: it is not installed.'; fi
	@if cargo clippy --version >/dev/null 2>&1; then set -x; cargo clippy --all-targets -- -D warnings && \
		PYO3_PYTHON="$(CURDIR)/$(python)" cargo clippy --all-targets --features python -- -D warnings; \
		else echo 'clippy left out: it is not installed.'; fi

format: need-rust $(groups)
	$(python) -m ruff check --fix
	$(python) -m ruff format
	cargo fmt

wheel: need-rust $(environment)
	$(in_venv) $(VENV)/bin/maturin build --release --interpreter $(python) --target-dir $(target_dir) --out dist

sdist: need-rust $(environment)
	$(in_venv) $(VENV)/bin/maturin sdist --out dist

check-package: sdist $(groups)
	$(python) -m twine check --strict dist/mpmc_queue-$(version).tar.gz

test-sdist: sdist
	$(python) tests/packaging/from_sdist.py dist/mpmc_queue-$(version).tar.gz

# Not with --quiet: it keeps warnings from --strict as well. Material's notes on what may become of MkDocs are not about
# this site.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(docs_group)
	$(python) -m mkdocs build --strict

docs-publish: export NO_MKDOCS_2_WARNING := 1
docs-publish: REF ?= main
docs-publish: $(docs_group)
	$(python) docs/publish.py '$(REF)'

docs-live: $(docs_group)
	$(python) -m mkdocs serve

clean:
	rm -rf .venv .venv-ft target dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache
	rm -f python/mpmc_queue/_mpmc_queue.*.so
	find python tests benches -name __pycache__ -type d -prune -exec rm -rf {} +

need-python:
	@test -n '$(tag)' || { echo 'PYTHON=$(PYTHON) does not run, or is older than Python 3.11.'; exit 1; }

need-rust:
	@command -v cargo >/dev/null || { echo 'cargo is not on PATH: install Rust from https://rustup.rs'; exit 1; }

need-windows: need-rust
	@have=yes; \
	command -v $(mingw) >/dev/null || \
		{ echo '$(mingw) is not on PATH. On Debian: apt install gcc-mingw-w64-x86-64'; have=no; }; \
	command -v $(WINE) >/dev/null || \
		{ echo 'WINE=$(WINE) is not on PATH. On Debian: apt install --no-install-recommends wine wine64'; have=no; }; \
	test -d "$$(rustc --print target-libdir --target $(windows_target))" || \
		{ echo 'Rust has no standard library for $(windows_target): rustup target add $(windows_target)'; have=no; }; \
	test $$have = yes

$(environment): pyproject.toml | need-python
	$(PYTHON) -m venv --clear $(VENV)
	$(python) -m pip install --quiet 'pip>=25.1'
	$(python) -m pip install --quiet --group build
	@touch $@

$(groups): $(environment)
	$(python) -m pip install --quiet $(addprefix --group=,$(GROUPS))
	@touch $@

$(bench_group): $(environment)
	$(python) -m pip install --quiet --group bench
	@touch $@

$(docs_group): $(environment)
	$(python) -m pip install --quiet --group docs
	@touch $@

$(binary): $(environment) Cargo.toml Cargo.lock $(shell find src -name '*.rs') build.rs $(stub) | need-python need-rust
	$(in_venv) $(VENV)/bin/maturin develop --release --target-dir $(target_dir)
	@touch $@
