"""Numbers under a protocol of the literature stand beside published ones, with what differs."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from partnerface.benchmarks.methods.method_results import MethodResults
from partnerface.benchmarks.methods.protocol_table import PUBLISHED, protocol_section
from partnerface.benchmarks.methods.results import check_budgets, read_results
from partnerface.benchmarks.methods.results_markdown import protocol_page, repeat_commands
from partnerface.data.protocols import PROTOCOLS
from partnerface.errors import UserError


@pytest.fixture
def insta_row(make_row):
    def make(method: str, psnr: float, **changes: object) -> dict:
        scores = {"psnr": psnr, "ssim": 0.9, "lpips": None}
        return make_row(method, 20.0) | {
            "protocol": "insta",
            "scored": PROTOCOLS["insta"].scored(),
            "split": "test_sample",
            "metrics": {"without_torso": scores, "full_frame": {"psnr": 99.0}},
            "train_frames": 190,
            "resolution": [512, 512],
            "sample": 21,
            **changes,
        }

    return make


def cells(section: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines}


def test_ours_beside_the_published(insta_row):
    rows = [insta_row("ours", 30.0), insta_row("ours", 32.0, seed=1), insta_row("theirs", 28.0)]
    section = protocol_section(MethodResults(rows))
    found = cells(section)
    assert found["protocol insta"] == ["training", "train frames", "test frames", "PSNR, dB", "SSIM", "LPIPS"]
    assert found["ours, synthetic_a"] == [
        *("60 CPU seconds, one core", "190", "21 of them, evenly spread"),
        *("31.00 ± 1.41", "0.900 ± 0.000", "not measured"),
    ]
    assert found["theirs, synthetic_a"][3] == "28.00"
    published = [one for one in PUBLISHED if one.protocol == "insta"]
    assert len(found) == 4 + len(published), "two of ours, the titles, the rule and the published"
    assert found["HeadGaS, INSTA's people, HeadGaS's table"][3:] == ["32.50", "0.971", "0.033"]
    assert "that of INSTA, at 512x512; scored: without torso; test: the last 350 frames." in section
    assert section.count("\n- ") == len(PROTOCOLS["insta"].differences)


def test_starts_are_not_averaged(insta_row):
    """One seed from both starts stood there as a mean with a spread."""
    converged = {"start": "converged", "statics_budget": {"cpu_seconds": 240.0}}
    rows = [insta_row("ours", 30.0), insta_row("ours", 32.0, **converged)]
    lines = [line for line in protocol_section(MethodResults(rows)).splitlines() if line.startswith("| ours")]
    assert [line.split(" | ")[1] for line in lines] == [
        "60 CPU seconds, one core",
        "240 with skinning alone, then 60 CPU seconds, one core",
    ]
    assert ["30.00" in lines[0], "32.00" in lines[1], "±" in "".join(lines)] == [True, True, False]


def test_what_nobody_has_published_says_so(insta_row):
    row = insta_row("ours", 30.0, protocol="nersemble-mono", scored=PROTOCOLS["nersemble-mono"].scored())
    section = protocol_section(MethodResults([row | {"metrics": {"full_frame": {"psnr": 31.0}}}]))
    assert cells(section)["published"][3] == "none is known to us"


def test_every_published_row_names_a_protocol():
    assert {one.protocol for one in PUBLISHED} <= {*PROTOCOLS}
    assert all(20 < one.psnr < 40 for one in PUBLISHED)


def test_the_page_has_what_is_published():
    """Whether or not anything of ours is measured."""
    page = (Path(__file__).parents[3] / "docs" / "protocols.md").read_text()
    for one in PUBLISHED:
        [line] = [line for line in page.splitlines() if line.startswith(f"| {one.method} |")]
        scores = f"{one.psnr:.2f}", *(f"{s:.3f}" for s in (one.ssim, one.lpips) if s is not None)
        assert all(f" {score} |" in line for score in scores), line


def test_a_page_repeats_with_its_protocol(insta_row):
    page = protocol_page([insta_row("ours", 30.0)], [])
    [command] = re.findall(r"```bash\n(.*)\n```", page)
    assert command == (
        "partnerface benchmark methods --methods ours --subjects synthetic_a --seeds 0 --cpu_seconds 60 "
        "--protocol insta --sample 21 --starts scratch"
    )


def test_rows_without_a_protocol_have_no_section(make_row):
    assert protocol_section(MethodResults([make_row("ours", 20.0)])) == ""
    [command] = repeat_commands([make_row("ours", 20.0)])
    assert "--protocol" not in command


def test_rows_of_earlier_versions_are_understood(make_row, tmp_path):
    old = make_row("ours", 20.0)
    old["protocol"] = old.pop("test_parameters")
    path = tmp_path / "results.json"
    path.write_text(json.dumps([old]))
    assert read_results(path) == [make_row("ours", 20.0)]


def test_a_subject_under_another_protocol_needs_another_folder(insta_row, tmp_path):
    class Budget:
        def as_json(self) -> dict:
            return {"cpu_seconds": 60.0}

    subject = SimpleNamespace(name="synthetic_a", protocol_name=None)
    run = SimpleNamespace(
        subject=subject, budget=Budget(), after=None, start="scratch", tested=True, sample=None
    )
    with pytest.raises(UserError, match="holds synthetic_a under insta; choose another --out"):
        check_budgets(tmp_path, [insta_row("ours", 30.0)], [run])
