"""Tables as they are written, each start of training by itself, and the commands that repeat them."""

import re

from partnerface.benchmarks.methods.compared import MethodVariant, parse_variants
from partnerface.benchmarks.methods.method_results import MethodResults
from partnerface.benchmarks.methods.results_markdown import results_markdown

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
        make_row(OURS, 28.0, 0.03, test_parameters="refined"),
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
    assert "60 cpu seconds at 128x128 (synthetic_a)".replace("cpu", "CPU") in text
    assert "at 256x200 (me)" in text
    assert "5 frames of the split" in text


def _motion(fine: float, psnr: float, counts: bool | None, hair: float | None = 0.9) -> dict:
    return {
        "mm_left": {"fine_face": fine, "hair": hair, "quiet_face": 0.02},
        "mm_nothing": {"fine_face": 0.35, "hair": 1.1, "quiet_face": 0.021},
        "cosine": {"fine_face": 0.5},
        "explained": {"fine_face": 1 - fine / 0.35},
        "fine_motion": {
            **{"psnr": psnr, "lpips": 0.0041, "counts": counts},
            **{"ceiling_psnr": 26.5, "sampling_psnr": None},
        },
    }


def test_the_true_motion_has_a_table_for_each_split_of_each_person(make_row) -> None:
    here = {"subject": "synthetic_c", "source": "synthetic_c"}
    rows = [
        *(
            make_row(OURS, 27.0, seed=s, split="larger", **here, **_motion(0.2 + s / 10, 28.0, True))
            for s in (0, 1)
        ),
        make_row("oracle", 27.0, split="larger", **here, **_motion(0.001, 25.0, False)),
        make_row("nerface", 13.0, split="larger_sample", frames=3, **here),
        make_row(OURS, 27.0, split="unseen_combination", **here, **_motion(0.1, 28.0, None, hair=None)),
        make_row(OURS, 27.0),
    ]
    tables = _tables(results_markdown(MethodResults(rows, [OURS])))
    titles = ["fine face, mm", "hair, mm", "quiet face, mm", "cosine", "explained", "fine motion, dB / LPIPS"]
    assert tables["true motion left, synthetic_c, larger"] == {
        "true motion left, synthetic_c, larger": titles,
        OURS: ["0.250 ± 0.071", "0.900 ± 0.000", "0.020 ± 0.000", "0.500 ± 0.000", "29%", "28.00 / 0.0041"],
        "oracle": ["0.001", "0.900", "0.020", "0.500", "100%", "(25.00) / 0.0041"],
        "no deformation": ["0.350", "1.100", "0.021", "-", "-", "-"],
        "perfect but for the motion": ["-", "-", "-", "-", "-", "26.50"],
    }
    combination = tables["true motion left, synthetic_c, unseen combination"]
    assert combination[OURS] == ["0.100", "-", "0.020", "0.500", "71%", "(28.00) / 0.0041"]
    # Others stay as they are, each person by its own hardest split.
    assert not any("synthetic_a" in title for title in tables if title.startswith("true motion"))
    for title in ("unseen expression", "unseen combination"):
        assert f"{title}, mean over subjects" in tables


def test_clips_show_new_combinations_beside_all_other_frames(make_row) -> None:
    def row(split: str, lpips: float) -> dict:
        metrics = {"mouth": {"lpips": 0.03}, "expression_region": {"psnr": 28.0, "lpips": lpips}}
        return make_row(OURS, 27.0, split=split, subject="me", source="me.mp4", metrics=metrics)

    rows = [row("new_combination", 0.0512), row("other_test_frames", 0.0064), row("unseen_expression", 0.07)]
    tables = _tables(results_markdown(MethodResults(rows, [OURS])))
    for split, lpips in (("new combination", "0.051"), ("other test frames", "0.0064")):
        assert tables[f"{split}, mean over subjects"] == {
            f"{split}, mean over subjects": [
                *("mouth, LPIPS", "expression region, dB", "expression region, LPIPS")
            ],
            OURS: ["0.030", "28.00", lpips],
        }


def test_training_frames_have_motion_and_no_pictures(make_row) -> None:
    motion = {key: value for key, value in _motion(0.21, 0, None).items() if key != "fine_motion"}
    here = {"subject": "synthetic_c", "source": "synthetic_c", "nearest_frame": {}}
    rows = [
        make_row(OURS, 27.0, split="larger", **here, **_motion(0.25, 28.0, True)),
        make_row(OURS, None, split="train", **(here | motion)),
    ]
    tables = _tables(results_markdown(MethodResults(rows)))
    title = "true motion left, synthetic_c, train"
    assert {key: row for key, row in tables[title].items() if key != title} == {
        OURS: ["0.210", "0.900", "0.020", "0.500", "40%", "-"],
        "no deformation": ["0.350", "1.100", "0.021", "-", "-", "-"],
    }
    assert "train" not in tables


def test_each_start_of_training_has_its_own_tables(make_row) -> None:
    after = {"start": "converged", "statics_budget": {"cpu_seconds": 240.0}}
    rows = [make_row(OURS, 27.0), make_row("nerface", 20.0), make_row(OURS, 29.0, **after)]
    text = results_markdown(MethodResults(rows))
    converged, scratch = (text.index(f"**From {name}") for name in ("converged", "scratch"))
    assert "(240 CPU seconds at 128x128 (synthetic_a))" in text[converged:scratch]
    assert _tables(text[converged:scratch])["unseen expression"][OURS] == ["29.00"]
    assert set(_tables(text[scratch:])["unseen expression"]) >= {OURS, "nerface"}
    [block] = re.findall(r"```bash\n(.*?)\n```", text, re.S)
    common = (
        f"partnerface benchmark methods --methods {OURS} --subjects synthetic_a --seeds 0 --cpu_seconds 60"
    )
    assert block.splitlines()[:2] == [
        f"{common} --starts converged --statics 4",
        f"{common} --starts scratch",
    ]


def test_a_table_without_results_is_left_out(make_row) -> None:
    text = results_markdown(MethodResults([make_row("skinning_only", 25.0)]))
    assert list(_tables(text)) == ["unseen expression", "unseen expression, mean over subjects"]


def test_commands_repeat_methods(make_row) -> None:
    clip = {"subject": "me", "source": "clips/me.mp4", "budget": {"cpu_seconds": 240.0}}
    rows = [make_row(OURS, 1.0, seed=seed) for seed in (0, 2)] + [make_row(OURS, 1.0, seed=1, **clip)]
    large = {"subject": "synthetic_c", "source": "synthetic_c", "budget": {"cpu_seconds": 300.0}}
    rows += [make_row(OURS, 1.0, **large), make_row("nerface", 1.0, budget={"steps": 20})]
    other = {"subject": "you", "source": "clips/your clip", "sample": 24, "head_model": "flame 2023.pkl"}
    rows += [make_row(OURS, 1.0, test_parameters=kind, **other) for kind in ("strict", "refined")]
    text = results_markdown(MethodResults(rows, [OURS]))
    [block] = re.findall(r"```bash\n(.*?)\n```", text, re.S)
    assert block.splitlines() == [
        "partnerface benchmark methods --methods part_deformation --subjects synthetic_a,clips/me.mp4 "
        "--seeds 0,2 --cpu_seconds 60 --clip_seeds 1 --clip_cpu_seconds 240 --starts scratch",
        "partnerface benchmark methods --methods part_deformation --subjects synthetic_c --seeds 0 "
        "--cpu_seconds 300 --starts scratch",
        "partnerface benchmark methods --methods part_deformation --subjects 'clips/your clip' "
        "--clip_seeds 0 --clip_cpu_seconds 60 --sample 24 --head_model 'flame 2023.pkl' --refined true "
        "--starts scratch",
        "partnerface benchmark methods --methods nerface --subjects synthetic_a --seeds 0 --steps 20 "
        "--starts scratch",
    ]


def test_changed_values_have_rows_and_commands_of_their_own(make_row) -> None:
    few = {"overrides": {"parts": "2", "learn_parts": "false"}}
    rows = [make_row(OURS, 27.0, 0.04, **few), make_row("skinning_only", 25.0, 0.05)]
    text = results_markdown(MethodResults(rows, [OURS]))
    name = "part_deformation:parts=2:learn_parts=false"
    assert _tables(text)["unseen expression"][name] == ["27.00 / 0.040"]
    assert _tables(text)["unseen expression, mean over subjects"][name] == ["30.00"]
    [block] = re.findall(r"```bash\n(.*?)\n```", text, re.S)
    flags = "--subjects synthetic_a --seeds 0 --cpu_seconds 60 --starts scratch"
    assert block.splitlines() == [
        f"partnerface benchmark methods --methods {method} {flags}" for method in ("skinning_only", name)
    ]
    assert parse_variants(name, [OURS]) == [MethodVariant(OURS, tuple(few["overrides"].items()))]
