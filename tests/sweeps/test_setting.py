"""Runs that differ in their seed alone are one setting."""

from pathlib import Path

import numpy as np
import pytest

from partnerface.sweeps.sweep_run import SweepRun, compared_parameters, settings_of, short_names, short_value


def _finished(folder: Path, parameters: dict, value: float, code: int = 0) -> SweepRun:
    run = SweepRun(folder, parameters, "val/psnr", ())
    run.prepare()
    (folder / "metrics.csv").write_text(f"step,seconds,name,value\n1,1,val/psnr,{value}\n")
    run.add_attempt(code, 1.0)
    return run


def test_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    values = {(parts, seed): 10.0 * parts + seed**2 for parts in (4, 8) for seed in (0, 1, 2)}
    runs = [
        _finished(tmp_path / f"{p}-{s}", {"m.parts": p, "seed_everything": s, "m.fixed": 3}, v)
        for (p, s), v in values.items()
    ]
    runs.append(
        _finished(tmp_path / "failed", {"m.parts": 8, "seed_everything": 3, "m.fixed": 3}, 99, code=1)
    )
    settings = settings_of(runs)
    assert [setting.parameters for setting in settings] == [{"m.parts": 4}, {"m.parts": 8}]
    for setting in settings:
        expected = [values[setting.parameters["m.parts"], seed] for seed in (0, 1, 2)]
        assert setting.scores.values == tuple(expected)
        assert setting.scores.mean == pytest.approx(np.mean(expected))
        assert setting.scores.spread == pytest.approx(np.std(expected, ddof=1))
    assert settings_of(runs[:1])[0].scores.spread is None
    assert settings_of([runs[-1]]) == []


def test_what_is_asked() -> None:
    rows = [{"a": a, "data.seed": s, "c": 1} for a in (1, 2) for s in (0, 1)]
    assert compared_parameters(rows) == ["a"]
    assert compared_parameters(rows[:2]) == ["data.seed"]
    assert compared_parameters(rows[:1]) == ["a", "data.seed", "c"]
    assert compared_parameters([{"a": 1}, {"a": True}]) == ["a"]


def test_short_names() -> None:
    names = ["model.skinning.width", "model.field.width", "seed", "data.seed", "x.field.width"]
    assert short_names(names) == {
        "model.skinning.width": "skinning.width",
        "model.field.width": "model.field.width",
        "seed": "seed",
        "data.seed": "data.seed",
        "x.field.width": "x.field.width",
    }
    assert short_names(["model.avatar.parts"]) == {"model.avatar.parts": "parts"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1 + 0.2, "0.3"),
        (1.0e-5, "1e-05"),
        (64, "64"),
        (True, "True"),
        ("configs/method/nerface.yaml", "nerface"),
        ("partnerface.fields.HashField", "HashField"),
        ("null", "null"),
        ("0.5", "0.5"),
        ("a b. c", "a b. c"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_short_values(value: object, expected: str) -> None:
    assert short_value(value) == expected
