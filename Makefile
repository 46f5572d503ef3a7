# What each target needs is installed by `setup`, which does nothing when it is there.

export CARGO_NET_RETRY ?= 5

ROOT := $(filter 0,$(shell id -u))
SUDO := $(if $(ROOT),,sudo)

# The tests of the lab start guests, which takes root. Whoever is root, and every CI, must not skip them.
REQUIRE_LAB := $(if $(ROOT)$(CI)$(KVMTUNE_REQUIRE_LAB),KVMTUNE_REQUIRE_LAB=1)

.PHONY: help setup setup-test demo test lint bench bench-honesty kills clean

help:
	@echo 'make setup   install the Debian packages that are missing; the targets below do it themselves'
	@echo 'make demo    boot a guest, tune it, print the verdicts (root)'
	@echo 'make test    format, lints, all tests; those that start guests only as root'
	@echo 'make lint    format and lints'
	@echo 'make bench   how fast kvmtune analyses, reports and exports, beside scipy and sqlite3'
	@echo 'make bench-honesty   error rates, coverage and power on replayed noise; 1 when one misses its target'
	@echo 'make kills   kill 200 runs in the lab at random moments: the host comes back, no trial is lost (root)'
	@echo 'make clean   remove what was built; results/ stays'

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test

demo: setup
	cargo build --release --locked
	$(SUDO) target/release/kvmtune run experiments/quickstart.toml

# The summary of nextest comes last.
test: lint
	cargo test --doc --locked
	@$(if $(REQUIRE_LAB),:,echo 'not root: tests that start guests are skipped, each with its reason')
	$(REQUIRE_LAB) cargo nextest run --locked

lint: setup-test
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

# The second prints the times beside those of scipy and the targets.
bench: setup-test
	cargo bench --locked --bench analysis
	benches/ratios.py

# Kills at random moments of runs in the lab; it takes about an hour.
kills: setup-test
	KVMTUNE_REQUIRE_LAB=1 KVMTUNE_KILLS=200 cargo test --locked --test lab_run killed_at_random -- --nocapture

bench-honesty: setup-test
	@cargo bench --locked --bench honesty

clean:
	cargo clean
	@echo 'results/ and the lab images are kept; `kvmtune lab clean` removes the images'
