"""The table of an experiment: error, share of the gap between card and oracle that an arm closes, cost."""

import numpy as np


def table(results):
    """Markdown of result lines: a part for each task, seeds paired."""
    return "\n\n".join(_task(task, [r for r in results if r["task"] == task]) for task in _unique(results, "task"))


def _task(task, results):
    by_arm = {arm: {r["seed"]: r for r in results if r["arm"] == arm} for arm in _unique(results, "arm")}
    card, oracle = by_arm.get("card", {}), by_arm.get("oracle", {})
    lines = [
        f"{task}: balanced error of seeds " + ", ".join(map(str, sorted(_unique(results, "seed")))),
        "",
        "| arm | error of each seed | against card, paired | gap closed G | CPU, card = 1 | finder precision |",
        "|---|---|---|---|---|---|",
    ]
    for arm, runs in by_arm.items():
        seeds = sorted(set(runs) & set(card))
        differences = [runs[s]["error"] - card[s]["error"] for s in seeds]
        gaps = [-d / (card[s]["error"] - oracle[s]["error"]) for s, d in zip(seeds, differences) if s in oracle]
        costs = [runs[s]["cpu_s"] / card[s]["cpu_s"] for s in seeds]
        found = [r["finder_precision"] for r in runs.values() if "finder_precision" in r]
        cells = [
            arm,
            " / ".join(f"{runs[s]['error']:.3f}" if s in runs else "-" for s in sorted(_unique(results, "seed"))),
            interval(differences),
            _mean(gaps, 2),
            _mean(costs, 2),
            _mean(found, 2),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(differences):
    """Mean of paired differences and half of its 95 % interval, by Student's t; the mean alone for one."""
    if not differences:
        return ""
    mean, n = float(np.mean(differences)), len(differences)
    if n == 1:
        return f"{mean:+.3f}"
    t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}.get(n, 2.26)
    return f"{mean:+.3f} +- {t * float(np.std(differences, ddof=1)) / n**0.5:.3f}"


def _mean(values, digits=3):
    return f"{np.mean(values):.{digits}f}" if values else ""


def _unique(results, key):
    return list(dict.fromkeys(r[key] for r in results))
