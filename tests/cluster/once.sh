# What is built once and kept in $CACHE; sourced by `build` and `build-e2e`.
# shellcheck shell=bash

CACHE=${MIDOKUBE_CACHE:-$HOME/.cache/midonet-kube}
# No CGO: static programs, which run in images made from nothing.
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false -mod=readonly"

say() { echo "cluster $(basename "$0"): $* ($((SECONDS / 60))m$((SECONDS % 60))s)"; }

version() { go list -m -f '{{.Version}}' "$1"; }

# once NAME HASH LINKS: makes $CACHE/NAME-HASH with the function `make_it DIRECTORY`, unless it is there. Every one of
# LINKS, PART or STABLE=PART, is a stable name in $CACHE for a part of it.
once() {
  local name=$1 hash=$2 dest link work; shift 2
  dest=$name-$hash
  mkdir -p "$CACHE"
  exec 9>"$CACHE/.lock"
  flock -n 9 || { say "waiting for another build (lock $CACHE/.lock)"; flock 9; }
  if [ ! -d "$CACHE/$dest" ]; then
    command -v go >/dev/null || { echo "cluster build: no 'go' in PATH: install Go 1.26 or newer (https://go.dev/dl)" >&2; exit 1; }
    ./packages check test
    rm -rf "$CACHE"/.work-*      # what a killed build left; the lock says nobody is at it
    work=$(mktemp -d "$CACHE/.work-XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    chmod 755 "$work"
    say "into $CACHE/$dest"
    make_it "$work"
    mv -T "$work" "$CACHE/$dest"
    say "done"
  fi
  for link in "$@"; do # a rename, so that the names are never absent
    [ "$(readlink "$CACHE/${link%%=*}")" = "$dest/${link#*=}" ] && continue
    ln -sfn "$dest/${link#*=}" "$CACHE/.link.$$"
    mv -T "$CACHE/.link.$$" "$CACHE/${link%%=*}"
  done
  # What no checkout has asked for in two weeks.
  touch "$CACHE/$dest"
  find "$CACHE" -maxdepth 1 -name "$name-*" -mtime +14 -exec rm -rf {} +
}
