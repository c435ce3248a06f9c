"""Draws where two programs look for the lowest point: python3 picture.py initial_program.py best_program.py > minimize.svg

Needs no package; EvaluationResult is not used here, so the evaluator's import of it is answered with a stand-in.
"""

import random
import sys
import types

stand_in = types.ModuleType("openevolve.evaluation_result")
stand_in.EvaluationResult = dict
sys.modules.setdefault("openevolve", types.ModuleType("openevolve"))
sys.modules.setdefault("openevolve.evaluation_result", stand_in)
import evaluator  # noqa: E402

SIZE, CELLS, SEED = 320, 40, 7


def main():
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * SIZE + 20} {SIZE + 26}" font-family="sans-serif" font-size="13">']
    for index, path in enumerate(sys.argv[1:3]):
        program = evaluator.load(path)
        counted = evaluator.Counted()
        answer = program.minimize(counted, evaluator.LOW, evaluator.HIGH, evaluator.CALLS, random.Random(SEED))
        score = evaluator.measured(program, range(24))[0]["combined_score"]
        out.append(f'<g transform="translate({index * (SIZE + 20)} 20)">')
        out.append(f'<text y="-6">{("initial", "best found")[index]}: score {score:.3f}</text>')
        out.extend(landscape())
        for x, y in counted.points:
            out.append(dot(x, y, 1.6, "#fff", 0.8))
        out.append(dot(*answer, 5, "#e22", 1))
        out.append("</g>")
    out.append("</svg>")
    print("\n".join(out))


def place(x, y):
    scale = SIZE / (evaluator.HIGH - evaluator.LOW)
    return (x - evaluator.LOW) * scale, SIZE - (y - evaluator.LOW) * scale


def dot(x, y, radius, colour, opacity):
    px, py = place(x, y)
    return f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{radius}" fill="{colour}" opacity="{opacity}"/>'


def landscape():
    """One path for each of twelve heights, of horizontal runs of cells."""
    step = (evaluator.HIGH - evaluator.LOW) / CELLS
    size = SIZE // CELLS
    paths = {}
    for j in range(CELLS):
        levels = []
        for i in range(CELLS):
            x, y = evaluator.LOW + (i + 0.5) * step, evaluator.LOW + (j + 0.5) * step
            levels.append(max(0, min(11, int((evaluator.height(x, y) - evaluator.LOWEST) * 2))))
        start = 0
        for i in range(1, CELLS + 1):
            if i == CELLS or levels[i] != levels[start]:
                run = f"M{start * size} {SIZE - (j + 1) * size}h{(i - start) * size}v{size}h-{(i - start) * size}z"
                paths.setdefault(levels[start], []).append(run)
                start = i
    for level, runs in sorted(paths.items()):
        red, green, blue = (int(a + (b - a) * level / 11) for a, b in ((20, 225), (60, 225), (110, 190)))
        yield f'<path fill="#{red:02x}{green:02x}{blue:02x}" d="{"".join(runs)}"/>'


if __name__ == "__main__":
    main()
