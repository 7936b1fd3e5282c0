"""Tables that are read back into numbers, and commands that the command line understands."""

import re

from partnerface.benchmarks.methods.results import MethodResults
from partnerface.benchmarks.methods.results_markdown import results_markdown
from partnerface.benchmarks.methods.variant import MethodVariant, parse_variants

OURS = "part_deformation"


def _tables(text: str) -> dict[str, dict[str, list[str]]]:
    """Cells by first title and first cell of the row."""
    tables: dict[str, dict[str, list[str]]] = {}
    for block in text.split("\n\n"):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        if block.startswith("|"):
            assert len({len(line) for line in lines}) == 1
            tables[lines[0][0]] = {line[0]: line[1:] for line in [lines[0], *lines[2:]]}
    return tables


def test_every_number_can_be_read_back(make_row) -> None:
    rows = [
        *(make_row(OURS, 27.0 + 0.1 * seed, 0.04, seed=seed) for seed in range(3)),
        make_row(OURS, 30.0, 0.02, subject="me", source="me.mp4", resolution=[256, 200]),
        make_row("skinning_only", 25.5, 0.05),
        make_row("skinning_only", 26.0, None, subject="me", source="me.mp4", resolution=[256, 200]),
        make_row("nerface", 13.0, 0.4, split="unseen_expression_sample", frames=5),
        make_row(OURS, 26.0, 0.05, split="unseen_expression_sample", frames=5),
        make_row(OURS, 28.0, 0.03, protocol="refined"),
    ]
    text = results_markdown(MethodResults(rows, [OURS]))
    tables = _tables(text)
    scores = tables["unseen expression"]
    assert scores == {
        "unseen expression": ["synthetic_a", "me"],
        OURS: ["27.10 ± 0.10 / 0.040", "30.00 / 0.020"],
        "skinning_only": ["25.50 / 0.050", "26.00"],
        "nerface": ["13.00 / 0.400*", "-"],
        "nearest training frame": ["15.00 / 0.200", "15.00 / 0.200"],
    }
    assert tables["unseen expression, refined parameters"][OURS] == ["28.00 / 0.030"]
    assert tables["part_deformation gains over"] == {
        "part_deformation gains over": ["claimed", "synthetic_a", "me"],
        "skinning_only": ["1 dB", "+1.60 dB, +20%: yes", "+4.00 dB: yes"],
        "nerface*": ["3 dB", "+13.00 dB, +88%: yes", "-"],
    }
    assert "60 cpu seconds at 128x128 (synthetic_a)".replace("cpu", "CPU") in text
    assert "at 256x200 (me)" in text
    assert "5 frames of the split" in text


def test_a_table_without_results_is_left_out(make_row) -> None:
    text = results_markdown(MethodResults([make_row("skinning_only", 25.0)]))
    assert list(_tables(text)) == ["unseen expression", "unseen expression, mean over subjects"]


def test_commands_repeat_methods(make_row) -> None:
    clip = {"subject": "me", "source": "clips/me.mp4", "budget": {"cpu_seconds": 240.0}}
    rows = [make_row(OURS, 1.0, seed=seed) for seed in (0, 2)] + [make_row(OURS, 1.0, seed=1, **clip)]
    rows += [make_row("nerface", 1.0, budget={"steps": 20})]
    text = results_markdown(MethodResults(rows, [OURS]))
    [block] = re.findall(r"```bash\n(.*?)\n```", text, re.S)
    assert block.splitlines() == [
        "partnerface benchmark methods --methods part_deformation --subjects synthetic_a,clips/me.mp4 "
        "--seeds 0,2 --cpu_seconds 60 --clip_seeds 1 --clip_cpu_seconds 240",
        "partnerface benchmark methods --methods nerface --subjects synthetic_a --seeds 0 --steps 20",
    ]


def test_changed_values_have_rows_and_commands_of_their_own(make_row) -> None:
    few = {"overrides": {"parts": "2", "learn_parts": "false"}}
    rows = [make_row(OURS, 27.0, 0.04, **few), make_row("skinning_only", 25.0, 0.05)]
    text = results_markdown(MethodResults(rows, [OURS]))
    name = "part_deformation:parts=2:learn_parts=false"
    assert _tables(text)["unseen expression"][name] == ["27.00 / 0.040"]
    assert _tables(text)["unseen expression, mean over subjects"][name] == ["30.00"]
    [block] = re.findall(r"```bash\n(.*?)\n```", text, re.S)
    flags = "--subjects synthetic_a --seeds 0 --cpu_seconds 60"
    assert block.splitlines() == [
        f"partnerface benchmark methods --methods {method} {flags}" for method in ("skinning_only", name)
    ]
    assert parse_variants(name, [OURS]) == [MethodVariant(OURS, tuple(few["overrides"].items()))]
