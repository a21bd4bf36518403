# shellcheck shell=bash
# What the scripts share: phases that say how long they took.

export LC_ALL=C

# Runs a command under a title, and says how long it took. A failure ends the script, as everywhere (set -e).
#   phase TITLE COMMAND...
phase() {
  local title="$1" began
  shift
  began="$(seconds_now)"
  printf '\n== %s\n' "$title"
  "$@"
  printf '== %s: %s s\n' "$title" "$(seconds_since "$began")"
}

# The time in seconds; with its decimals where bash has them (from 5.0 on).
seconds_now() { printf '%s' "${EPOCHREALTIME:-$SECONDS}"; }

seconds_since() { awk -v from="$1" -v to="$(seconds_now)" 'BEGIN { printf "%.1f", to - from }'; }

# Ends the script where a program is not there.
#   need PROGRAM HINT
need() {
  if ! command -v "$1" >/dev/null; then
    printf 'error: no %s on PATH\n  %s\n' "$1" "$2" >&2
    exit 3
  fi
}

need_cargo() {
  need cargo 'install Rust 1.95 or later: https://rustup.rs'
  need cc "install a C compiler, which Rust links with: on Debian 'apt install gcc libc6-dev', on macOS 'xcode-select --install'"
}
