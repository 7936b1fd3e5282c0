"""Scores under a protocol of the literature, beside those that others have published under it."""

from __future__ import annotations

from dataclasses import dataclass

from partnerface.benchmarks.methods.method_results import STRICT, MethodResults, Quantity
from partnerface.benchmarks.methods.results import Row
from partnerface.benchmarks.methods.run import SCRATCH
from partnerface.data.protocols import TEST
from partnerface.data.splits import SAMPLE_SUFFIX
from partnerface.runs.results import SeedScores, TextTable

DIGITS = {"psnr": 2, "ssim": 3, "ms_ssim": 3, "lpips": 3, "l1": 4}
TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "lpips": "LPIPS", "l1": "L1"}


@dataclass(frozen=True)
class Published:
    """Scores that a paper has published.

    Attributes:
        protocol: name of the protocol that they come nearest to.
        method: which method on which people, and whose table.
        training: how long on what, where the paper says so.
        psnr: dB.
        ssim, lpips: None where not published.
    """

    protocol: str
    method: str
    training: str
    psnr: float
    ssim: float | None = None
    lpips: float | None = None


_HRAVATAR, _HEADGAS, _STAVATAR = "HRAvatar's table", "HeadGaS's table", "STAvatar's table"
PUBLISHED = (
    *(
        Published("insta", f"{name}, INSTA's 10 people, {_HRAVATAR}", "-", *scores)
        for name, *scores in (
            ("FlashAvatar", 29.13, None, 0.0719),
            ("GaussianBlendshapes", 29.64, None, 0.0823),
            ("HRAvatar", 30.36, 0.9482, 0.0569),
        )
    ),
    *(
        Published("insta", f"{name}, INSTA's people, {_HEADGAS}", training, *scores)
        for name, training, *scores in (
            ("NHA", "-", 26.99),
            ("INSTA", "10 min, one GPU", 28.61),
            ("PointAvatar", "3.5 h, one GPU", 30.68),
            ("HeadGaS", "1 h, one V100", 32.50, 0.971, 0.033),
        )
    ),
    *(
        Published(protocol, f"{name}, {people}, {_STAVATAR}", "-", *scores)
        for protocol, people, values in (
            ("pointavatar", "PointAvatar's people", (24.93, 24.62, 26.19, 28.36, 28.25)),
            ("nerface", "NeRFace's people", (26.14, 25.74, 26.96, 27.12, 30.08)),
        )
        for name, *scores in zip(
            ("SplattingAvatar", "GaussianAvatars", "FlashAvatar", "FATE", "STAvatar"), values, strict=True
        )
    ),
)
"""From the papers' tables as others quote them; we have not checked them against the papers."""


def protocol_section(results: MethodResults) -> str:
    """What was measured under a protocol of the literature, as Markdown; empty where no row has one.

    The rows of a folder have one protocol, see `check_budgets`.
    """
    rows = [row for row in results.rows if row["protocol"] and row["test_parameters"] == STRICT]
    if not rows:
        return ""
    name, scored = rows[0]["protocol"], rows[0]["scored"]
    # Real clips have splits of ours beside it.
    tested = [row for row in rows if row["split"].removesuffix(SAMPLE_SUFFIX) == TEST]
    rows = tested or rows
    metrics = [metric for metric in TITLES if metric in scored["metrics"]]
    titles = [f"protocol {name}", "training", "train frames", "test frames", *(TITLES[m] for m in metrics)]
    lines = _ours(results, rows, scored["picture"], metrics)
    published = [one for one in PUBLISHED if one.protocol == name]
    lines += [
        [one.method, one.training, "-", "-", *(_number(getattr(one, m, None), m) for m in metrics)]
        for one in published
    ]
    if not published and name != "strict":
        lines.append(["published", "-", "-", "-", *("none is known to us" for _ in metrics)])
    width, height = rows[0]["resolution"]
    picture = scored["picture"].replace("_", " ")
    words = f"Protocol {name}, that of {scored['title']}, at {width}x{height}; scored: {picture}; "
    words += f"test: {scored['test']}."
    differences = [f"- {text}" for text in scored["differences"]]
    notes = ["What differs from the system's own measurement:", "", *differences] if differences else []
    return "\n".join([words, "", TextTable(titles, lines).as_markdown(), *([""] if notes else []), *notes])


def _ours(results: MethodResults, rows: list[Row], picture: str, metrics: list[str]) -> list[list[str]]:
    """A line for each variant, subject, split and start that was measured, means over seeds."""
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for variant in results.variants:
        for row in rows:
            if (row["method"], row["overrides"]) == (variant.method, dict(variant.overrides)):
                groups.setdefault((str(variant), row["subject"], row["split"], row["start"]), []).append(row)
    return [
        [
            ", ".join([variant, subject, *_unless_test(split)]),
            f"{_budget(found[0])}, one core",
            str(found[0]["train_frames"]),
            f"{found[0]['frames']}" + (" of them, evenly spread" if split.endswith(SAMPLE_SUFFIX) else ""),
            *(_scores([Quantity(picture, m).of(row["metrics"]) for row in found], m) for m in metrics),
        ]
        for (variant, subject, split, _), found in groups.items()
    ]


def _unless_test(split: str) -> list[str]:
    name = split.removesuffix(SAMPLE_SUFFIX)
    return [] if name == TEST else [name.replace("_", " ")]


def _budget(row: Row) -> str:
    [(name, value)] = row["budget"].items()
    statics = row["statics_budget"]
    before = "" if row["start"] == SCRATCH or not statics else f"{statics[name]:g} with skinning alone, then "
    return f"{before}{value:g} {name.replace('_', ' ').replace('cpu', 'CPU')}"


def _scores(values: list[float | None], metric: str) -> str:
    known = tuple(value for value in values if value is not None)
    if not known:
        return "not measured"
    found = SeedScores(known)
    spread = "" if found.spread is None else f" ± {found.spread:.{DIGITS[metric]}f}"
    return _number(found.mean, metric) + spread


def _number(value: float | None, metric: str) -> str:
    return "-" if value is None else f"{value:.{DIGITS[metric]}f}"
