"""Draws two packings side by side: python3 picture.py initial_program.py best_program.py > circle_packing.svg"""

import sys

import evaluator

SIZE = 320


def main():
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * SIZE + 24} {SIZE + 26}" font-family="sans-serif" font-size="13">']
    for index, path in enumerate(sys.argv[1:3]):
        circles = evaluator.checked(evaluator.load(path).pack(evaluator.COUNT))
        total = sum(radius for _, _, radius in circles)
        out.append(f'<g transform="translate({index * (SIZE + 22) + 1} 22)">')
        out.append(f'<text y="-7">{("initial", "best found")[index]}: sum of radii {total:.4f}</text>')
        out.append(f'<rect width="{SIZE}" height="{SIZE}" fill="#fff" stroke="#444"/>')
        for x, y, radius in circles:
            out.append(
                f'<circle cx="{x * SIZE:.2f}" cy="{y * SIZE:.2f}" r="{radius * SIZE:.2f}" fill="#8fb7dd" stroke="#2b5d8a"/>'
            )
        out.append("</g>")
    out.append("</svg>")
    print("\n".join(out))


if __name__ == "__main__":
    main()
