"""report.html of a run against its other files, and with names that would be code."""

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import partnerface
from partnerface.avatar.method import AvatarMethod
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.dataset_checks.sequence_checks import Finding
from partnerface.evaluation.part_effects import part_summaries
from partnerface.result_page.expression_sheet import expression_sheet
from partnerface.result_page.page import result_page
from tests.result_page.parsed_page import ParsedPage, content, parsed_file, pixels

HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}</title>$x_{$"


@pytest.fixture(scope="module")
def page(trained_run: Path) -> ParsedPage:
    return parsed_file(trained_run / "report.html")


@pytest.fixture(scope="module")
def avatar(trained_run: Path) -> AvatarMethod:
    return partnerface.load_avatar(trained_run / "checkpoints" / "last.ckpt")


@pytest.fixture(scope="module")
def scores(trained_run: Path) -> dict:
    return json.loads((trained_run / "metrics.json").read_text())


def test_its_tables_are_the_scores(page: ParsedPage, scores: dict) -> None:
    for (split, regions), (titles, *rows) in zip(scores["splits"].items(), page.tables, strict=False):
        assert page.texts["caption"][list(scores["splits"]).index(split)].startswith(split.replace("_", " "))
        baseline = regions.pop("nearest_frame")
        assert [row[0].replace(" ", "_") for row in rows] == list(regions)
        for row in rows:
            name = row[0].replace(" ", "_")
            for title, cell in zip(titles[1:-1], row[1:-1], strict=True):
                value = regions[name].get(title.replace(" ", "_"))
                if isinstance(value, bool):
                    assert cell == ("yes" if value else "no")
                    continue
                assert cell == "-" if value is None else abs(float(cell) - value) < 0.006, (
                    split,
                    name,
                    title,
                )
            nearest = baseline.get(name, {}).get("psnr")
            assert row[-1] == "-" if nearest is None else abs(float(row[-1]) - nearest) < 0.006
    motion, _ = page.tables[len(scores["splits"]) :]
    for split, *cells, cosine in motion[1:]:
        left, nothing = (list(scores["motion"][split][key].values()) for key in ("mm_left", "mm_nothing"))
        expected = [f"{a:.3f} ({b:.3f})" for a, b in zip(left, nothing, strict=True)]
        assert cells == expected
        assert cosine == f"{scores['motion'][split]['cosine']['fine_face']:.3f}"
    assert [row[0] for row in motion[1:]] == list(scores["motion"])
    coverage = {row[0].replace(" ", "_"): row[1] for row in page.tables[-1][1:]}
    assert coverage == {name: f"{values['frames']:.0f}" for name, values in scores["coverage"].items()}


def test_the_figures_at_the_top_are_those_of_unseen_expressions(page: ParsedPage, scores: dict) -> None:
    psnr = scores["splits"]["unseen_expression"]["head_mask"]["psnr"]
    assert f"{psnr:.2f} dB" in page.texts["strong"]
    for definition in (metric["definition"] for metric in scores["protocol"]["metrics"].values()):
        assert definition in page.texts["dd"]


def test_it_names_the_checkpoint_and_its_step(page: ParsedPage) -> None:
    described = dict(zip(page.texts["dt"], page.texts["dd"], strict=True))
    assert described["Weights"] == "checkpoints/last.ckpt, step 6"


def test_it_holds_the_video_and_the_strip(page: ParsedPage, trained_run: Path) -> None:
    assert content(page.all("video")[0]["src"]) == (trained_run / "comparison.mp4").read_bytes()
    strips = [a for a in page.all("img") if "test frames" in a["alt"]]
    assert pixels(strips[0]["src"]).shape[1] == 5 * 32
    assert all(a.get("alt") for a in page.all("img"))


def test_it_needs_no_network_and_runs_only_its_own_script(page: ParsedPage, trained_run: Path) -> None:
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "data", "action", "poster") or (name == "href" and tag != "a"):
                assert value.startswith(("data:", "#")), (tag, name, value[:60])
            elif name == "href":
                assert (trained_run / value).exists(), value
            assert not name.startswith("on"), (tag, name)
    assert not re.search(r"url\((?!#)|@import", "".join(page.texts["style"]))
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    run = [text for text, a in zip(page.texts["script"], page.all("script"), strict=True) if not a]
    assert len(run) == 1
    digest = base64.b64encode(hashlib.sha256(run[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_a_tile_is_what_the_avatar_renders(page: ParsedPage, avatar: AvatarMethod) -> None:
    """The widest smile with the mouth open, and the head turned right in the picture, posed by hand."""
    names, view = avatar.head_model.asset.expression_names, avatar.default_view()
    mouth, _, head = page.player["pairs"]
    # As the head was held on average: it turns about the middle of the neck.
    rest = avatar.head_model.neutral_parameters()
    rest.identity = avatar.identity
    joints = avatar.head_model(rest).joints[0, [avatar.head_model.joint(name) for name in ("neck", "head")]]
    pivot = view.head.rotation[0] @ joints.mean(0) + view.head.translation[0]
    turn = torch.linalg.matrix_exp(_cross(avatar.mean_pose[:3]))
    turn = view.head.torso_rotation[0] @ turn

    def held(rotation: torch.Tensor):
        place = pivot + rotation @ view.head.rotation[0].T @ (view.head.translation[0] - pivot)
        return replace(
            view,
            head=replace(view.head, rotation=rotation[None], translation=place[None], angular_velocity=None),
        )

    smiling, high = held(turn).clone(), avatar.view_defaults.expression_high
    for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight"):
        k = names.index(name)
        smiling.head.expression[0, k] = max(high[k], smiling.head.expression[0, k] + 0.3)
    angle = torch.tensor(np.deg2rad(15.0))
    about_y = torch.linalg.matrix_exp(_cross(torch.tensor([0.0, 1.0, 0.0]) * angle))
    turned = held((turn.double() @ about_y.double()).float())
    sheet = expression_sheet(avatar, 32, 1e9)
    # The sheet of the page may be coarser, on a machine that is busy.
    for pair, finest, row, posed in (
        (mouth, sheet.pairs[0], 1, smiling),
        (head, sheet.pairs[2], 0.5, turned),
    ):
        picture = avatar.render(posed).to_bytes().astype(float)
        columns, rows = len(finest.columns), len(finest.rows)
        number = finest.first + round(row * (rows - 1)) * columns + columns - 1
        differences = [np.abs(tile - picture).max() for tile in sheet.tiles]
        assert differences[number] <= 1, number
        assert int(np.argmin(differences)) == number
        columns, rows = pair["across"]["last"] + 1, pair["down"]["last"] + 1
        shown = page.tile(pair["first"] + round(row * (rows - 1)) * columns + columns - 1)
        assert np.sqrt(np.mean((shown - picture) ** 2)) < 6, "the JPEG file in the page"


def _cross(vector: torch.Tensor) -> torch.Tensor:
    x, y, z = vector.tolist()
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=vector.dtype)


def test_the_parts_that_do_most_have_a_line_with_their_place_and_driver(
    page: ParsedPage, avatar: AvatarMethod
) -> None:
    parts = part_summaries(avatar)
    lines = [text for text in page.texts["li"] if re.match(r"part \d+", text)]
    assert len(lines) == 16 < avatar.parts
    for line, part in zip(lines, parts, strict=False):
        assert line == f"part {part.title}" + (f" {part.effect:.0f}" if part.effect else "")
    assert any(f"The 16 of {avatar.parts} that do most" in text for text in page.texts["p"])


def test_names_that_would_be_code_are_text(trained_run: Path, avatar: AvatarMethod, scores: dict) -> None:
    scores = json.loads((trained_run / "metrics.json").read_text())
    scores["protocol"]["dataset"] = HOSTILE
    scores["protocol"]["metrics"][HOSTILE] = {"definition": HOSTILE, "unit": HOSTILE, "missing": HOSTILE}
    scores["splits"][HOSTILE] = scores["splits"]["temporal"]
    scores["coverage"][HOSTILE] = {"frames": 3}
    curves = {f"train/loss/{HOSTILE}": [(1, 1.0, 0.5), (2, 2.0, 0.4)], "train/psnr": [(1, 1.0, 20.0)]}
    sheet = expression_sheet(avatar, 16, 1e9)
    pairs = [replace(sheet.pairs[0], title=HOSTILE)]
    text = result_page(
        trained_run,
        "",
        scores,
        curves,
        avatar,
        replace(sheet, pairs=pairs),
        [Finding(HOSTILE, "doubt", HOSTILE)],
    )
    page = ParsedPage(text)
    assert page.texts["h1"] == [HOSTILE]
    assert page.texts["title"] == [f"{HOSTILE}: avatar"]
    assert HOSTILE in page.texts["legend"]
    assert page.player["pairs"][0]["title"] == HOSTILE
    assert sum(HOSTILE in text for text in page.texts["li"]) == 2
    assert len(page.all("script")) == 2
    assert "<script>alert" not in text


def test_sections_without_content_are_left_out(tmp_path: Path, avatar: AvatarMethod, scores: dict) -> None:
    """As after the test of a checkpoint in a new folder, or of an earlier version's scores."""
    bare = {"dataset": "x", "resolution": [32, 32], "num_frames": {}, "num_train_frames": 3}
    report = {"protocol": {**bare, "test_parameters": "strict", "background": "white"}, "splits": {}}
    page = ParsedPage(result_page(tmp_path, "", report, {}, avatar, None, []))
    assert page.sections == ["scores", "parts", "coverage", "made"]
    assert page.texts["h1"] == ["x"]


def test_an_animation_older_than_the_training_is_not_shown(
    trained_run: Path, tmp_path: Path, avatar: AvatarMethod, scores: dict
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    shutil.copy(run / "comparison.mp4", run / "animation.mp4")
    shown = []
    for _ in range(2):
        page = ParsedPage(result_page(run, "", scores, {}, avatar, None, []))
        shown.append("animation" in page.sections)
        (run / "checkpoints" / "last.ckpt").touch()
    assert shown == [True, False]


@pytest.mark.parametrize(("first", "asked", "written"), [(True, True, 1), (False, True, 0), (True, False, 0)])
def test_only_the_first_process_writes_it_and_only_if_requested(
    first: bool, asked: bool, written: int, tmp_path: Path, monkeypatch
) -> None:
    calls = []
    monkeypatch.setattr("partnerface.result_page.page.write_result_page", lambda *args: calls.append(args))
    cli = AvatarCLI.__new__(AvatarCLI)
    cli.subcommand, cli.config = "test", {"test": {"result_page": asked, "run_dir": str(tmp_path)}}
    cli.trainer = SimpleNamespace(is_global_zero=first, strategy=SimpleNamespace(root_device="cpu"))
    cli.model = SimpleNamespace(avatar=torch.nn.Linear(1, 1), test_parameters="refined")
    cli.datamodule = SimpleNamespace(sequence=None, reader=SimpleNamespace(root=tmp_path))
    cli.after_test()
    assert [call[4] for call in calls] == ["_refined"] * written
