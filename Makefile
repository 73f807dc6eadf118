# The front door. `make demo` and `make test` are the first two commands of the README.

CARGO   ?= cargo
PREFIX  ?= /usr
DESTDIR ?=
ARCH    := $(shell uname -m)
IMAGE   ?= oci-ipc-hook:0.1.0
TARGET  ?= $(ARCH)-unknown-linux-musl

bindir      = $(DESTDIR)$(PREFIX)/libexec/oci/hooks.d
userbindir  = $(DESTDIR)$(PREFIX)/bin
# Engines look for hooks.d files, and the hook for profiles, here and nowhere else.
hooksdir    = $(DESTDIR)/usr/share/containers/oci/hooks.d
profilesdir = $(DESTDIR)/usr/share/oci-ipc-hook/profiles.d
mandir      = $(DESTDIR)$(PREFIX)/share/man
schemadir   = $(DESTDIR)$(PREFIX)/share/oci-ipc-hook/schemas
bashdir     = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zshdir      = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fishdir     = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
docdir      = $(DESTDIR)$(PREFIX)/share/doc/oci-ipc-hook

.PHONY: all build nri image demo test test-all test-kernels bench layout lint generate install package clean help

all: build

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# Prints the target to build for: static musl where rustup can add it, else the host's own, said aloud.
target = $$(tools/target $(TARGET))

build: ## what ships: a static binary; its path is the last line
	@t=$(target) && if [ -n "$$t" ]; then $(CARGO) build --release --locked --target $$t && echo target/$$t/release/oci-ipc-hook; \
	else $(CARGO) build --release --locked && echo target/release/oci-ipc-hook; fi

nri: ## the hook and the NRI plugin for Kubernetes; the plugin's path is the last line
	@t=$(target) && if [ -n "$$t" ]; then $(CARGO) build --release --locked --target $$t --features nri --bins && \
	  echo target/$$t/release/oci-ipc-nri; \
	else $(CARGO) build --release --locked --features nri --bins && echo target/release/oci-ipc-nri; fi

image: ## the container image for Kubernetes, with buildah; nothing is pulled
	@bin=$$($(MAKE) -s --no-print-directory nri | tail -n 1) && buildah bud --pull-never --build-arg BINARIES=$${bin%/*} -t $(IMAGE) -f Containerfile .

demo: ## the whole job in a namespace of its own, no root needed
	@bin=$$($(MAKE) -s --no-print-directory build | tail -n 1) && echo "$$bin demo" && $$bin demo

test: ## everything that runs on any machine, runc, crun and podman when root
	@tools/test

test-all: ## all engines, kernels and clients too; needs root
	@tools/test all

test-kernels: ## the suite under Linux 5.10, 6.1, 6.12 in qemu and the running kernel, and with SELinux enforcing; needs root
	@tests/kernels/run

bench: ## against a C floor, Go and sh twins; writes docs/benchmarks.md and .svg; needs root
	$(CARGO) bench --locked --bench hook -- --write docs

layout: ## layout/hot.ld, which puts the code of a hook side by side, after larger changes; needs root and binutils
	$(CARGO) bench --locked --bench hook -- --layout layout/hot.ld

lint: ## formatting, clippy, documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features kubernetes-tests -- -D warnings
	$(CARGO) clippy --locked --example generate --test manual --features manual-tests -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

generate: ## oci-ipc-hook(8), completions and schemas, after a change of the command line or a format
	$(CARGO) run --quiet --locked --features generate --example generate

# The binary; where there is no cargo, as below sudo, the one that 'make build' has made before.
binary = $$(if command -v $(CARGO) >/dev/null; then $(MAKE) -s --no-print-directory build | tail -n 1; \
	else ls -t target/$(TARGET)/release/oci-ipc-hook target/release/oci-ipc-hook 2>/dev/null | head -n 1; fi)

install: ## everything below DESTDIR and PREFIX
	@bin=$(binary); if [ -z "$$bin" ]; then echo "no binary: run 'make build' first, as a user who has cargo" >&2; exit 1; fi; \
	install -D -m 0755 $$bin $(bindir)/oci-ipc-hook
	install -d -m 0755 $(userbindir)
	ln -sf ../libexec/oci/hooks.d/oci-ipc-hook $(userbindir)/oci-ipc-hook
	ln -sf ../libexec/oci/hooks.d/oci-ipc-hook $(userbindir)/oci-ipc-runtime
	install -d -m 0755 $(hooksdir)
	sed 's|/usr/libexec|$(PREFIX)/libexec|' hooks/oci-ipc-hook.json > $(hooksdir)/50-oci-ipc-hook.json
	chmod 0644 $(hooksdir)/50-oci-ipc-hook.json
	install -d -m 0755 $(profilesdir)
	install -m 0644 examples/profiles/*.toml $(profilesdir)/
	for page in docs/man/*.[1-8]; do section=$${page##*.}; \
	  install -D -m 0644 $$page $(mandir)/man$$section/$${page##*/} || exit 1; done
	install -d -m 0755 $(schemadir)
	install -m 0644 schemas/*.json $(schemadir)/
	install -D -m 0644 completions/bash/oci-ipc-hook $(bashdir)/oci-ipc-hook
	install -D -m 0644 completions/zsh/_oci-ipc-hook $(zshdir)/_oci-ipc-hook
	install -D -m 0644 completions/fish/oci-ipc-hook.fish $(fishdir)/oci-ipc-hook.fish
	install -d -m 0755 $(docdir)
	install -m 0644 README.md CHANGELOG.md SECURITY.md LICENSE $(docdir)/

package: ## a .deb with what make install puts where; its path is the last line
	rm -rf target/package && $(MAKE) install DESTDIR=$(CURDIR)/target/package PREFIX=/usr
	@tools/cargo-tool cargo-deb 3.8.0
	@mkdir -p target/debian && PATH="$(CURDIR)/target/tools/bin:$$PATH" $(CARGO) deb --no-build --no-strip --output target/debian/

clean:
	$(CARGO) clean
