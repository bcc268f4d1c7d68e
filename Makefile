.DEFAULT_GOAL := help
.PHONY: help run test bench check

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build and serve; with no provider configured, a small real model answers
	@scripts/run.sh

test: ## Run all tests, installing what they need
	@scripts/test.sh

bench: ## Measure against nginx and no proxy at all
	@scripts/bench.sh

check: ## Format, lints, compile
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo check --workspace --all-targets
