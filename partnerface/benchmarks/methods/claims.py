"""Claims: what is claimed of a method with parts, on which frames and over what, and what was measured."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from partnerface.benchmarks.method_under_test import ORACLE, OURS
from partnerface.benchmarks.methods.compared import MethodVariant
from partnerface.benchmarks.methods.method_results import (
    EXPLAINED_SHARE,
    FINE_COUNTS,
    FINE_PSNR,
    HEAD_LPIPS,
    MM_FINE_FACE,
    MM_HAIR,
    MethodResults,
    Quantity,
)
from partnerface.benchmarks.methods.results import TRAIN
from partnerface.evaluation.combinations import EXPRESSION_REGION, NEW_COMBINATION
from partnerface.runs.results import TextTable

CLAIMING = (OURS, "lit_part_blendshapes")
"""Methods that are held against the claims, where they were run."""

Comparison = Literal["share", "ratio", "gain"]


@dataclass(frozen=True)
class Claim:
    """A bound on a mean over seeds.

    Attributes:
        what: the quantity in words.
        quantity: what is measured.
        split: on which frames.
        comparison: ``share``: the value itself, at least the bound; ``ratio``: the value over that of the
            baseline, at most the bound; ``gain``: the value less that of the baseline, at least the bound.
        bound: what is claimed.
        baseline: name of the method that it is compared with; empty for a share.
    """

    what: str
    quantity: Quantity
    split: str
    comparison: Comparison
    bound: float
    baseline: str = ""

    def __str__(self) -> str:
        over = {"share": "", "ratio": f", times {self.baseline}", "gain": f", over {self.baseline}"}
        return f"{self.what}, {self.split.replace('_', ' ')}{over[self.comparison]}"

    def text(self, value: float) -> str:
        """A value of the claim's kind; a ratio has a digit more than its bound, next to which it may lie."""
        return {"share": f"{value:.0%}", "ratio": f"{value:.3f}", "gain": f"{value:+.2f} dB"}[self.comparison]

    @property
    def target(self) -> str:
        """The bound in words."""
        if self.comparison == "ratio":
            return f"at most {self.bound:.2f}"
        return f"at least {self.text(self.bound)}"


COMPUTE, SIZE, LIT, BANK, SKINNING = (
    "global_deformation_equal_compute",
    "global_deformation",
    "lit_global_deformation",
    "part_networks",
    "skinning_only",
)
COMBINATION = "unseen_combination"
CLAIMS = (
    Claim("motion explained", EXPLAINED_SHARE, TRAIN, "share", 0.50),
    Claim("motion explained", EXPLAINED_SHARE, COMBINATION, "share", 0.35),
    *(
        Claim("mm left", MM_FINE_FACE, COMBINATION, "ratio", bound, baseline)
        for baseline, bound in ((COMPUTE, 0.80), (SIZE, 0.80), (LIT, 0.80), (BANK, 0.90))
    ),
    Claim("mm left", MM_FINE_FACE, "larger", "ratio", 0.85, COMPUTE),
    Claim("mm left of hair", MM_HAIR, COMBINATION, "ratio", 1.0, COMPUTE),
    *(
        Claim("PSNR of fine motion", FINE_PSNR, COMBINATION, "gain", bound, baseline)
        for baseline, bound in ((COMPUTE, 0.5), (SKINNING, 2.0), (ORACLE, -1.5))
    ),
    *(
        Claim(f"LPIPS of {what}", Quantity(region, "lpips"), NEW_COMBINATION, "ratio", 0.95, baseline)
        for what, region in (("expression region", EXPRESSION_REGION), ("mouth", "mouth"))
        for baseline in (COMPUTE, SKINNING)
    ),
    Claim("LPIPS of the head", HEAD_LPIPS, "temporal", "ratio", 1.0, SKINNING),
)
"""None on PSNR in the head mask: it is blind to the fine motion of a face."""


@dataclass(frozen=True)
class MeasuredClaim:
    """A claim on one subject.

    Attributes:
        claim: what is claimed.
        subject: name of the person.
        value: what was measured, as the claim's comparison says.
        counts: false where PSNR of fine motion measures texture alone, of one of both methods.
    """

    claim: Claim
    subject: str
    value: float
    counts: bool

    @property
    def holds(self) -> bool:
        """Whether what was measured is as good as claimed."""
        at_most = self.claim.comparison == "ratio"
        return self.value <= self.claim.bound if at_most else self.value >= self.claim.bound

    def __str__(self) -> str:
        verdict = "yes" if self.holds else "no"
        return f"{self.claim.text(self.value)}: {verdict if self.counts else 'does not count'}"


def measured_claims(results: MethodResults, method: str) -> list[MeasuredClaim]:
    """All claims on a method, on all subjects that have both methods; of trainings with one start.

    Methods that were tested on samples of the splits are compared among themselves.
    """
    found = []
    for claim, subject in itertools.product(CLAIMS, results.subjects):
        names = [method] if claim.comparison == "share" else [method, claim.baseline]
        scores, counts = (
            [
                results.scores(MethodVariant(name), subject, claim.split, quantity, or_sample=True)
                for name in names
            ]
            for quantity in (claim.quantity, FINE_COUNTS)
        )
        known = [score for score in scores if score is not None]
        of_same_frames = len(known) == len(names) and len({score.sampled for score in known}) == 1
        if not of_same_frames or claim.baseline == method:
            continue
        means = [score.mean for score in known]
        value = means[0]
        if claim.comparison != "share":
            value = means[0] - means[1] if claim.comparison == "gain" else means[0] / max(means[1], 1e-9)
        is_motion = claim.quantity != FINE_PSNR or all(one is not None and all(one.values) for one in counts)
        found.append(MeasuredClaim(claim, subject, value, is_motion))
    return found


def claims_tables(results: MethodResults) -> list[str]:
    """A table for each of `CLAIMING` with a column for each subject; none where nothing can be compared."""
    tables = []
    for method in CLAIMING:
        measured = measured_claims(results, method) if method in results.methods else []
        subjects = list(dict.fromkeys(one.subject for one in measured))
        cells = {(one.claim, one.subject): str(one) for one in measured}
        lines = [
            [str(claim), claim.target, *(cells.get((claim, subject), "-") for subject in subjects)]
            for claim in dict.fromkeys(one.claim for one in measured)
        ]
        if lines:
            tables.append(TextTable([f"claims of {method}", "target", *subjects], lines).as_markdown())
    return tables
