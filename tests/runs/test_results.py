"""Scores against numpy; tables show text as it is."""

import numpy as np
import pytest

from partnerface.runs.results import SeedScores, TextTable


def test_scores_over_seeds() -> None:
    values = (27.0, 27.5, 26.2)
    assert SeedScores(values).mean == pytest.approx(np.mean(values))
    assert SeedScores(values).spread == pytest.approx(np.std(values, ddof=1))
    assert SeedScores((2.0,)).spread is None


def test_brackets_are_no_markup_and_wide_tables_are_not_cut(capsys) -> None:
    """A list of one word vanished from the table."""
    TextTable(["[b]name", "values"], [["['[red]']", "1" * 100]], "[i]caption").print()
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("[b]name", "['[red]']", "[i]caption", "1" * 100))
