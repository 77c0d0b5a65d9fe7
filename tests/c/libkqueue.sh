#!/bin/bash
# SPDX-License-Identifier: MIT
# libkqueue.sh PREFIX [SOURCE]: builds libkqueue into PREFIX, for `make KQUEUE=PREFIX`. SOURCE is its source tree; without
# one the source package is looked for at the mirror that this machine's apt uses, in its own suites and in Debian's and
# Ubuntu's others. Does nothing where PREFIX has it. Exits with 77 where no mirror carries it: not an error of ours.
set -euo pipefail
prefix=$(realpath -m "${1:?usage: libkqueue.sh PREFIX [SOURCE]}") source=${2:-}
[[ -e $prefix/include/kqueue/sys/event.h ]] && exit 0
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

mirrors() { # the URL of each distribution archive in the machine's own configuration, one-line and deb822 files alike
    local files=() f
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*; do [[ -f $f ]] && files+=("$f"); done
    grep -hoE 'https?://[^] ]+/(debian|ubuntu)/?( |$)' "${files[@]}" | tr -d ' ' | sed 's,/$,,' | sort -u
}

fetch() { # into $work/source
    local mirror suite own suites
    # shellcheck source=/dev/null
    own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    for mirror in $(mirrors); do
        suites="sid forky trixie bookworm bullseye" component=main
        [[ $mirror == */ubuntu ]] && suites="noble jammy focal" component="main universe"
        for suite in $own $suites; do
            echo "deb-src [trusted=yes] $mirror $suite $component"
        done | sort -u >"$work/sources.list"
        local opts=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
            -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
        apt-get "${opts[@]}" -qq update 2>/dev/null || true
        (cd "$work" && apt-get "${opts[@]}" -qq source --download-only libkqueue 2>/dev/null) || continue
        mkdir -p "$work/source"
        tar xf "$work"/libkqueue_*.orig.tar.* -C "$work/source" --strip-components=1
        return 0
    done
    return 1
}

if [[ -z $source ]]; then
    fetch || { echo "libkqueue.sh: no source package libkqueue at: $(mirrors | tr '\n' ' ')" >&2; exit 77; }
    source=$work/source
fi
build() {
    cmake -S "$source" -B "$work/build" -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib -DENABLE_TESTING=NO &&
        cmake --build "$work/build" && cmake --install "$work/build"
}
build >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
