#!/usr/bin/env bash
# Checks the kernels of engine `sparse`, and the resize of image files, with what looks on from outside, on every
# instruction set that this processor has:
#
#     scripts/check_kernels.sh [PART...]
#
#   memory    AddressSanitizer and UndefinedBehaviorSanitizer, with $CC or gcc
#   clang     the same with clang, another compiler
#   threads   ThreadSanitizer
#   valgrind  memcheck; without AVX-512, which it doesn't know
#   arm       NEON: cross-compiled, and run by qemu
#
# Each part builds the two csrc/ with scripts/kernels/check.c and resize.c, which compare random layers and images with
# plain loops. A part whose tools are missing is skipped; one that was named on the command line fails then. Ends with a
# line a part.
set -uo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
package="$root/benchmark/sparsebench"
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
all=(memory clang threads valgrind arm)
summary=()
failed=0

there() { # there TOOL...: whether all are installed; says which isn't
    local tool
    for tool; do
        type -P "$tool" >/dev/null || { missing=$tool && return 1; } # not a function of this script
    done
}

flags() { # flags LIBRARY MACHINE: a line an instruction set, its name and its flags, as the package's build compiles it
    "$python" -c 'import sys; sys.path.insert(0, sys.argv[1]); import build
for name, flags in getattr(build, sys.argv[2]).variants(sys.argv[3]).items(): print(name, *flags)' "$package/common/native" "$@"
}

compile() { # compile OUTPUT LIBRARY MACHINE COMPILER FLAG...: a library and its check as one program
    local output=$1 library=$2 machine=$3 csrc common check
    case $library in
    KERNELS) csrc="$package/engines/sparse/csrc" common=team check=check ;;
    RESIZE) csrc="$package/datasets/images/csrc" common=select check=resize ;;
    esac
    local cc=("$4" -std=gnu11 -ffp-contract=fast -Wall -Wextra -I "$csrc" "${@:5}")
    local name line job jobs=() objects=("$output.common.o")
    "${cc[@]}" -c "$csrc/$common.c" -o "$output.common.o" || return
    while read -r name line; do
        # shellcheck disable=SC2086 # flags are words
        "${cc[@]}" $line "-DISA=$name" -c "$csrc/isa.c" -o "$output.$name.o" &
        jobs+=($!)
        objects+=("$output.$name.o")
    done < <(flags "$library" "$machine")
    for job in "${jobs[@]}"; do wait "$job" || return; done
    "${cc[@]}" "$root/scripts/kernels/$check.c" "${objects[@]}" -o "$output" -lpthread -lm
}

sanitized() { # sanitized NAME COMPILER FLAG...
    local library
    for library in KERNELS RESIZE; do
        compile "$work/$1.$library" "$library" "$(uname -m)" "$2" -g -O1 -fno-omit-frame-pointer \
            -fsanitize=address,undefined -fno-sanitize-recover=all "${@:3}" && "$work/$1.$library" 800 || return
    done
}

memory() {
    there "${CC:-gcc}" || return 77
    sanitized memory "${CC:-gcc}"
}

clang() {
    there clang || return 77
    # A sanitizer's checks keep clang from fusing some multiply-adds: without any, all cuts round alike again.
    sanitized clang "$(type -P clang)" -ffp-contract=off
}

threads() { # the resize has none
    there "${CC:-gcc}" setarch || return 77
    compile "$work/threads" KERNELS "$(uname -m)" "${CC:-gcc}" -g -O1 -fsanitize=thread || return
    # Its shadow memory needs addresses that aren't random.
    TSAN_OPTIONS="halt_on_error=1 exitcode=66" setarch "$(uname -m)" -R "$work/threads" 150
}

valgrind() {
    there "${CC:-gcc}" valgrind || return 77
    local library names
    for library in KERNELS RESIZE; do
        names=$(flags "$library" "$(uname -m)" | cut -d' ' -f1 | grep -v avx512)
        compile "$work/valgrind.$library" "$library" "$(uname -m)" "${CC:-gcc}" -g -O2 || return
        # shellcheck disable=SC2086
        command valgrind -q --error-exitcode=66 --leak-check=full --redzone-size=256 --fair-sched=yes \
            "$work/valgrind.$library" 60 $names || return
    done
}

arm() {
    there aarch64-linux-gnu-gcc qemu-aarch64 || return 77
    local library
    for library in KERNELS RESIZE; do
        compile "$work/arm.$library" "$library" aarch64 aarch64-linux-gnu-gcc -g -O3 -static || return
        qemu-aarch64 "$work/arm.$library" 400 || return
    done
}

parts=("$@")
((${#parts[@]})) || parts=("${all[@]}")
for part in "${parts[@]}"; do
    if [[ " ${all[*]} " != *" $part "* ]]; then
        printf 'unknown part %s: one of %s\n' "$part" "${all[*]}" >&2
        exit 2
    fi
done
for part in "${parts[@]}"; do
    printf '=== %s\n' "$part"
    began=$SECONDS
    missing=""
    "$part"
    status=$?
    if ((status == 0)); then
        summary+=("$part: passed ($((SECONDS - began)) s)")
    elif ((status == 77)) && [[ -n $missing ]]; then
        summary+=("$part: SKIPPED, there is no $missing")
        (($#)) && failed=1
    else
        summary+=("$part: FAILED (status $status)")
        failed=1
    fi
done
printf '\n'
printf '%s\n' "${summary[@]}"
exit "$failed"
