# How closely one run follows another on the same draws: a table from two logs that have a line for every update.
# SPDX-License-Identifier: MIT
"""
follows.py RUN_A/log.jsonl RUN_B/log.jsonl
"""

import json
import sys

EVERY = 50
COLUMNS = {"loss": "total", "denoising": "denoising", "alignment": "alignment", "gradient's norm": "gradient_norm"}


def read(path):
    with open(path) as file:
        return [line for line in map(json.loads, file) if "total" in line]


def mean(numbers):
    return sum(numbers) / len(numbers)


def row(*cells):
    print("|", " | ".join(cells), "|")


def main():
    a, b = map(read, sys.argv[1:])
    steps = list(range(1, len(a) + 1))
    if any([line["step"] for line in run] != steps for run in (a, b)):
        raise SystemExit("follows: expected a line for every update in both logs, as train_images --log 1 writes them")
    columns = {name: key for name, key in COLUMNS.items() if all(line[key] for line in a)}  # no alignment: it is 0
    differences = {name: [abs(y[key] / x[key] - 1) for x, y in zip(a, b)] for name, key in columns.items()}
    row("updates", "loss A", "loss B", "difference", "gradient's norm A", "gradient's norm B", "difference")
    row(*["---"] * 7)
    for first in range(0, len(a), EVERY):
        part = slice(first, first + EVERY)
        cells = [f"{first + 1} to {first + len(a[part])}"]
        for name, digits in (("loss", 5), ("gradient's norm", 4)):
            cells += [f"{mean([line[COLUMNS[name]] for line in run[part]]):.{digits}f}" for run in (a, b)]
            cells += [f"{100 * mean(differences[name][part]):.2f} %"]
        row(*cells)
    print()
    row("all updates", "mean difference", "worst", "at update", "difference of the means")
    row(*["---"] * 5)
    for name, key in columns.items():
        d = differences[name]
        bias = mean([line[key] for line in b]) / mean([line[key] for line in a]) - 1
        row(name, f"{100 * mean(d):.2f} %", f"{100 * max(d):.2f} %", str(d.index(max(d)) + 1), f"{100 * bias:+.2f} %")


if __name__ == "__main__":
    main()
