"""What the paper's method should gain over each baseline on unseen expressions, and what it does gain."""

from __future__ import annotations

from dataclasses import dataclass

from partnerface.benchmarks.method_results import HEAD_LPIPS, HEAD_PSNR, MethodResults, Quantity
from partnerface.benchmarks.method_under_test import OURS
from partnerface.data.split_samples import SAMPLE

SPLIT = "unseen_expression"


@dataclass(frozen=True)
class Claim:
    """A margin over a baseline.

    Attributes:
        baseline: name of the method.
        psnr: dB inside the head mask.
        lpips: share of the baseline's LPIPS that is enough in place of the dB; None where nothing is.
    """

    baseline: str
    psnr: float
    lpips: float | None = None


CLAIMS = (
    Claim("global_deformation", 0.5, 0.05),
    Claim("global_deformation_equal_compute", 0.5, 0.05),
    Claim("skinning_only", 1.0),
    Claim("nerface", 3.0),
)


@dataclass(frozen=True)
class Finding:
    """What a claim comes to on one subject.

    Attributes:
        claim: the margin.
        subject: the person.
        psnr: dB gained.
        lpips: share of the baseline's LPIPS gained; None where there is no LPIPS.
        sampled: whether on a sample of the split, the same frames for both.
    """

    claim: Claim
    subject: str
    psnr: float
    lpips: float | None
    sampled: bool

    @property
    def holds(self) -> bool:
        by_lpips = self.claim.lpips is not None and self.lpips is not None and self.lpips >= self.claim.lpips
        return self.psnr >= self.claim.psnr or by_lpips


def findings(results: MethodResults) -> list[Finding]:
    """Every claim on every subject that has both methods, means over seeds, on the same frames."""
    found = [_finding(results, claim, subject) for claim in CLAIMS for subject in results.subjects]
    return [finding for finding in found if finding is not None]


def _finding(results: MethodResults, claim: Claim, subject: str) -> Finding | None:
    for split in (SPLIT, SPLIT + SAMPLE):
        psnr = _means(results, claim, subject, split, HEAD_PSNR)
        if psnr is not None:
            lpips = _means(results, claim, subject, split, HEAD_LPIPS)
            gain = None if lpips is None or lpips[1] == 0 else 1 - lpips[0] / lpips[1]
            return Finding(claim, subject, psnr[0] - psnr[1], gain, split.endswith(SAMPLE))
    return None


def _means(
    results: MethodResults, claim: Claim, subject: str, split: str, quantity: Quantity
) -> tuple[float, float] | None:
    """Ours and the baseline's."""
    scores = [results.score(method, subject, split, quantity) for method in (OURS, claim.baseline)]
    return None if None in scores else (scores[0].mean, scores[1].mean)
