# nodescope. `make run` to try it, `make test` before a change; both install what is missing when run as root.

.PHONY: help run build release test vm-test lint bench fuzz clean

help:
	@echo "make run      build, start both processes, show a first table; root; ends with Ctrl-C"
	@echo "make test     every test; as root also those with real containers"
	@echo "make vm-test  the same programs on other kernels, emulated; root; VM_ARGS='5.10 6.12' or ALL, default three kernels"
	@echo "make build    debug build          make release  optimised build"
	@echo "make lint     formatting and lints make bench    figures beside a baseline of the same run; root"
	@echo "make fuzz     fuzz every parser for a while (FUZZ_SECONDS each, default 60)"

run:
	@scripts/run.sh $(RUN_ARGS)

build:
	@scripts/deps.sh build
	cargo build --workspace

release:
	@scripts/deps.sh build
	cargo build --workspace --release

test:
	@scripts/test.sh $(TEST_ARGS)

vm-test:
	@tests/vm/run.sh $(VM_ARGS)

lint:
	@scripts/lint.sh

bench:
	@scripts/bench.sh $(BENCH_ARGS)

fuzz:
	@scripts/fuzz.sh

clean:
	cargo clean
