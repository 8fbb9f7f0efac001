# `make bench` and `make test` work as the first command in a fresh clone on Debian 12, for root or for a user with
# sudo (used for apt-get only). What they install is said first; everything else stays in .venv and build.

# Debian's: every user can read it, so that the lab's guest need not run as root; its headers are in python3-dev.
PYTHON ?= /usr/bin/python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --no-input
# Of x86 only.
IPSEC_MB := $(shell dpkg --print-architecture 2>/dev/null | sed -n 's/^amd64$$/libipsec-mb-dev/p')
PACKAGES := gcc libc6-dev python3-dev python3-venv liburing-dev libssl-dev $(IPSEC_MB) iproute2 nftables util-linux kmod user-mode-linux \
	openssl iperf3 strongswan-charon strongswan-swanctl libstrongswan-standard-plugins bzip2
TEST_PACKAGES := g++ clang libclang-rt-dev strace pkgconf chromium fonts-dejavu-core wireguard-go libcharon-extra-plugins
WINDOWS := build/windows
WINDOWS_WHEELS := dist/windows
SOURCES := $(shell find src include bench -type f ! -name '*.pyc') setup.py pyproject.toml
# What cannot be imported on Windows.
LINUX_ONLY := ^src/wsasec/((lab|fleet|keys|daemon|engine|kernel)/|unprivileged.py|config/(authority|host|new_files).py)
# What charon loads, and strongSwan's sources with which it is built.
CHARON_PLUGIN := build/charon
STRONGSWAN := build/strongswan
# No wheel is made of what is there.
UNBUILD := if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -path $(WINDOWS) ! -path $(CHARON_PLUGIN) \
	! -path $(STRONGSWAN) -exec rm -rf {} +; fi

.DELETE_ON_ERROR:
# Two runs of apt-get, or of pip, cannot be at once.
.NOTPARALLEL:
.PHONY: help charon-plugin bench test test-c test-windows lint types man wheel wheel-windows windows packages packages-test clean

help:
	@echo 'make bench   measure; ARGS="--help" for its options'
	@echo 'make test    all tests: here, and those of the lab in the lab'
	@echo 'make test-c  the tests of the C core and of the engine, under sanitizers'
	@echo 'make charon-plugin  what gives charon the engine, in $(CHARON_PLUGIN); it needs the sources of strongSwan'
	@echo 'make lint    ruff'
	@echo 'make types   mypy, and the stub against the extension'
	@echo 'make wheel   source distribution and wheel, in dist'
	@echo 'make man     manual page of the command line, in dist/man'
	@echo 'make wheel-windows  wheel for Windows, in $(WINDOWS_WHEELS)'
	@echo 'make test-windows   that, and its tests under Wine'
	@echo 'make clean   remove what was built'

bench: $(VENV)/.installed
	$(BIN)/wsasec bench $(ARGS)

# Before the tests, whose time is limited; where the plugin cannot be built, they say so.
test: packages-test $(VENV)/.test
	-@$(MAKE) --no-print-directory charon-plugin
	.ci/tests $(BIN)/python $(ARGS)

test-c: packages-test $(VENV)/.test
	$(BIN)/python -m pytest tests/c tests/engine/test_c_programs.py $(ARGS)

# It is GPL-2.0-or-later, of a folder of its own, and in no wheel: src/charon/README.md.
charon-plugin: packages
	@sources=$$(src/charon/strongswan-source $(STRONGSWAN)) && \
		$(MAKE) --no-print-directory -C src/charon STRONGSWAN="$$sources" BUILD=$(abspath $(CHARON_PLUGIN))

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .

types: $(VENV)/.dev
	$(BIN)/mypy src/wsasec
	$(BIN)/mypy --platform win32 --follow-imports silent --exclude '$(LINUX_ONLY)' src/wsasec
	$(BIN)/mypy bench
	$(BIN)/mypy tests/typing
	$(BIN)/python -m mypy.stubtest --allowlist .ci/stubtest-allowlist wsasec

man: $(VENV)/.dev
	mkdir -p dist/man
	$(BIN)/argparse-manpage --module wsasec.cli --function _parser --project-name wsasec --prog wsasec \
		--description 'IPsec for single sockets' --manual-title wsasec \
		--version "$$($(BIN)/wsasec --version | sed 's/^wsasec //')" --output dist/man/wsasec.1

# The wheel is built from the source distribution, so that nothing is missing in that.
wheel: $(VENV)/.dev
	rm -rf dist
	$(UNBUILD)
	$(BIN)/python -m build --outdir dist .
	.ci/check-wheel dist/*.whl

windows:
	@.ci/windows-environment $(WINDOWS)

# A cross build: setuptools takes the platform from the environment, and the compiler from cross.cfg.
wheel-windows: windows
	rm -rf $(WINDOWS_WHEELS)
	$(UNBUILD)
	DIST_EXTRA_CONFIG=$(abspath $(WINDOWS))/cross.cfg SETUPTOOLS_EXT_SUFFIX=.pyd CC=x86_64-w64-mingw32-gcc \
		_PYTHON_HOST_PLATFORM=win-amd64 $(WINDOWS)/tools/bin/pip --disable-pip-version-check \
		--no-input wheel --quiet --no-deps --no-build-isolation --wheel-dir $(WINDOWS_WHEELS) .
	$(UNBUILD)
	.ci/check-windows-wheel $(WINDOWS_WHEELS)/*.whl
	$(WINDOWS)/tools/bin/abi3audit --strict --summary $(WINDOWS_WHEELS)/*.whl

test-windows: wheel-windows
	.ci/test-windows $(WINDOWS) $(WINDOWS_WHEELS)/*.whl $(ARGS)

packages:
	@.ci/need $(PACKAGES)

packages-test:
	@.ci/need $(PACKAGES) $(TEST_PACKAGES)

$(BIN)/python: | packages
	@echo 'Making $(VENV) with $(PYTHON)'
	$(PYTHON) -m venv --clear $(VENV)

# What is in build is removed first: setuptools would pack files from there that are no longer in the sources. All
# but what Windows needs, which takes minutes to make.
$(VENV)/.installed: $(SOURCES) | packages $(BIN)/python
	@echo 'Building wsasec and installing it into $(VENV), with: rich, vici, cryptography. Used for the build only: setuptools, Cython'
	$(UNBUILD)
	$(PIP) install --quiet '.[keys]'
	touch $@

$(VENV)/.test: $(SOURCES) | packages $(BIN)/python
	@echo 'Building wsasec and installing it into $(VENV), with rich and what the tests need:'
	@sed -n '/^bench = /p; /^locust = /p; /^test = /,/^]/p' pyproject.toml
	$(UNBUILD)
	$(PIP) install --quiet '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/.dev: $(SOURCES) | packages $(BIN)/python
	@echo 'Building wsasec and installing it into $(VENV), with rich and what development needs:'
	@sed -n '/^bench = /p; /^locust = /p; /^test = /,/^]/p; /^dev = /p' pyproject.toml
	$(UNBUILD)
	$(PIP) install --quiet '.[dev]'
	touch $(VENV)/.installed $(VENV)/.test $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src bench tests .ci -name __pycache__ -type d -prune -exec rm -rf {} +
