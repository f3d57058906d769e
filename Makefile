# Ashlar: what there is to do with this checkout. `make` lists it.

# One target directory for every checkout of this user: RocksDB's C++ takes long to compile, once.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/ashlar/target

# The same compiler command in every call, so that cargo does not rebuild C++ when a target is called another way.
ifneq ($(shell command -v ccache),)
export CC := ccache cc
export CXX := ccache c++
endif

.PHONY: help setup build deb demo test check docs bench
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

setup: ## install the Debian packages that a build needs, where they are missing
	@scripts/setup.sh

# `setup` may just have installed ccache, which this make looked for when it started: hence the second make.
build: setup ## build the release binary
	@$(MAKE) --no-print-directory release

.PHONY: claim
claim:
	@scripts/claim-target.sh

.PHONY: release
release: claim
	cargo build --release --locked --ignore-rust-version -p cli
	@echo "built $(CARGO_TARGET_DIR)/release/ashlar"

deb: build ## make a Debian package in dist/
	@packaging/deb.sh $(CARGO_TARGET_DIR)/release/ashlar

demo: build ## start a cluster, store a real tree, kill a leader and a datanode, compare every byte
	@ASHLAR=$(CARGO_TARGET_DIR)/release/ashlar scripts/demo.sh

test: setup ## everything that CI runs
	@$(MAKE) --no-print-directory check

.PHONY: check
check: claim
	@scripts/test.sh

.PHONY: thrash
thrash: setup claim ## files under faults for three minutes, or ASHLAR_THRASHER_SECONDS
	cargo test --locked --ignore-rust-version -p integration-tests --test thrasher -- --nocapture

docs: setup claim ## build the API documentation
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --ignore-rust-version

bench: build ## measure this machine and the store on it
	$(CARGO_TARGET_DIR)/release/ashlar bench limits
	$(CARGO_TARGET_DIR)/release/ashlar bench write
	$(CARGO_TARGET_DIR)/release/ashlar bench read
	$(CARGO_TARGET_DIR)/release/ashlar bench meta
