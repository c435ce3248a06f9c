#!/bin/sh
# Stands in for rustc: "compiles" the candidate beside the wrapper by copying it, unless the program asks for trouble. A
# sabotaged wrapper leaves a line in the copy.
if [ "$1" = --print ]; then
    echo /usr
    exit 0
fi
while [ $# -gt 0 ]; do
    [ "$1" = -o ] && output=$2
    wrapper=$1
    shift
done
candidate=$(dirname "$wrapper")/candidate.rs
if grep -q '^// compile: error' "$candidate"; then
    echo "error[E0308]: mismatched types" >&2
    echo " --> candidate.rs:3:5" >&2
    echo >&2
    echo "error: aborting due to 1 previous error" >&2
    exit 1
fi
grep -q '^// compile: crash' "$candidate" && kill -SEGV $$
grep -q '^// compile: hang' "$candidate" && sleep 60
cp "$candidate" "$output"
if grep -q Sabotaged "$wrapper"; then
    echo "// sabotaged: yes" >> "$output"
fi
exit 0
