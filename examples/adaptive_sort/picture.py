"""Draws the steps that programs take on each kind of list: python3 picture.py initial_program.rs best_program.rs > adaptive_sort.svg"""

import json
import math
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def steps(path):
    with tempfile.TemporaryDirectory() as folder:
        printed = subprocess.run(
            [sys.executable, os.path.join(HERE, "evaluate.py"), os.path.abspath(path)],
            cwd=folder, check=True, stdout=subprocess.PIPE, text=True,
        ).stdout
    return json.loads(printed)


def main():
    results = [steps(path) for path in sys.argv[1:3]]
    kinds = [name for name in results[0] if name.startswith("steps_")]
    width, row, left = 620, 38, 120
    scale = (width - left - 70) / math.log10(300_000 / 300)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {row * len(kinds) + 50}" font-family="sans-serif" font-size="12">']
    for index, (name, colour) in enumerate((("initial", "#b9b9b9"), ("best found", "#2b5d8a"))):
        out.append(f'<rect x="{left + 190 * index}" y="6" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{left + 190 * index + 18}" y="16">{name}: score {results[index]["score"]:.4f}</text>')
    for line, kind in enumerate(kinds):
        y = 30 + line * row
        out.append(f'<text x="{left - 8}" y="{y + 20}" text-anchor="end">{kind[6:].replace("_", " ")}</text>')
        for index, colour in enumerate(("#b9b9b9", "#2b5d8a")):
            count = results[index][kind]
            length = max(2.0, math.log10(count / 300) * scale)
            out.append(f'<rect x="{left}" y="{y + 4 + 13 * index}" width="{length:.1f}" height="11" fill="{colour}"/>')
            out.append(f'<text x="{left + length + 5:.1f}" y="{y + 13 + 13 * index}" font-size="10">{count}</text>')
    out.append(f'<text x="{left}" y="{row * len(kinds) + 44}" font-size="10">steps for a list of 512, on a logarithmic scale</text></svg>')
    print("\n".join(out))


if __name__ == "__main__":
    main()
