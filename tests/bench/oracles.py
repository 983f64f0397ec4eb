"""The exact tests and intervals beside evalstats (MIT, pip install evalstats) and statsmodels: largest difference over 200 tables.

    python tests/bench/oracles.py

Needs evalstats in an interpreter of its own, as it brings plotting and more. evalstats has Tango's interval only with a continuity
correction c (its quartic of Chang et al. 2024), which is set to 0 here. Writes oracles.json.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))

from evalstats.core.resampling import newcombe_mover_paired_ci, tango_scc_paired_ci, wilson_ci  # noqa: E402
from evalstats.tests import _mcnemar_p  # noqa: E402
from statsmodels.stats.contingency_tables import mcnemar  # noqa: E402

from evaluation import exact  # noqa: E402

TABLES = 200
Pair = tuple[np.ndarray, np.ndarray]


def pairs(t: exact.Table) -> Pair:
    counts = [t.both, t.gained, t.lost, t.neither]
    return np.repeat([1.0, 1.0, 0.0, 0.0], counts), np.repeat([1.0, 0.0, 1.0, 0.0], counts)


COMPARED: dict[str, tuple[Callable[[exact.Table], object], Callable[[exact.Table], object]]] = {
    "newcombe, evalstats": (exact.newcombe, lambda t: newcombe_mover_paired_ci(*pairs(t))),
    "tango, evalstats": (exact.tango, lambda t: tango_scc_paired_ci(*pairs(t), alpha=0.05, c=0.0)),
    "wilson, evalstats": (
        lambda t: exact.wilson(t.both, t.items, confidence=0.95),
        lambda t: wilson_ci(t.both, t.items, 0.05),
    ),
    "mcnemar, evalstats": (exact.mcnemar, lambda t: _mcnemar_p(*pairs(t))),
    "mcnemar, statsmodels": (
        exact.mcnemar,
        lambda t: mcnemar([[t.both, t.gained], [t.lost, t.neither]], exact=True).pvalue,
    ),
}


def main() -> None:
    rng = np.random.default_rng(7)
    tables = [exact.Table(*(int(x) for x in rng.integers(1, 60, size=4))) for _ in range(TABLES)]
    largest = {
        name: max(float(np.abs(np.subtract(ours(t), theirs(t))).max()) for t in tables)
        for name, (ours, theirs) in COMPARED.items()
    }
    versions = {name: importlib.metadata.version(name) for name in ("evalstats", "statsmodels", "scipy", "numpy")}
    record = {"tables": TABLES, "largest_difference": largest, "versions": versions}
    (HERE / "oracles.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
