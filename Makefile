# Thin: names for what CMakePresets.json and tools/ do.
.PHONY: all dist demo test test-gpu test-clients lint format bench bench-mount bench-fetch bench-run bench-gpu \
    install clean

all:
	tools/install-deps build
	cmake --preset release
	cmake --build build/release

# For GPUs of every kind, not for this machine's alone.
dist:
	tools/install-deps build
	cmake --preset dist
	cmake --build build/dist

demo: all
	tools/demo build/release

test:
	tools/install-deps test
	failed=; for preset in dev asan tsan fuzz; do \
	    cmake --workflow --preset $$preset || failed="$$failed $$preset"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

test-gpu:
	tools/install-deps test
	cmake --workflow --preset cuda

test-clients: all
	tools/install-deps clients
	tests/clients/run.sh build/release

lint:
	tools/install-deps test
	cmake --preset dev
	ctest --preset dev -L lint

format:
	git ls-files '*.c' '*.h' '*.cu' '*.cuh' | xargs clang-format -i

bench: all
	build/release/cli/weir bench codec

bench-mount: all
	tools/install-deps bench
	tests/bench/mount.py build/release

bench-fetch: all
	tools/install-deps bench
	tests/bench/fetch.py build/release

bench-run: all
	tools/install-deps bench
	tools/install-deps clients
	-tests/clients/venv.sh build/clients-venv
	tests/bench/run.py build/release --llama build/clients-venv/bin/python \
	    --tokenizer "$${WEIR_SHARED:-../shared}/tokenizers/tinyllama.tokenizer.json.zst"

bench-gpu: all
	tests/bench/gpu.py build/release all --csv build/bench-gpu

install: all
	cmake --install build/release

clean:
	rm -rf build
