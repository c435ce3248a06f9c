#!/bin/sh
# Stands in for rustc: "compiles" candidate.rs by copying it, unless the program asks for trouble.
while [ $# -gt 0 ]; do
    [ "$1" = -o ] && output=$2
    shift
done
if grep -q '^// compile: error' candidate.rs; then
    echo "error[E0308]: mismatched types" >&2
    echo " --> candidate.rs:3:5" >&2
    echo >&2
    echo "error: aborting due to 1 previous error" >&2
    exit 1
fi
grep -q '^// compile: crash' candidate.rs && kill -SEGV $$
grep -q '^// compile: hang' candidate.rs && sleep 60
cp candidate.rs "$output"
