from partnerface.dataset_checks.finding import Finding, graded


def test_problems_or_one_word_that_all_is_well():
    assert graded("topic", [], "fine", {"n": 1}) == [Finding("topic", "ok", "fine", {"n": 1})]
    assert graded("topic", [("unfit", "a"), ("doubt", "b")], "fine", {"n": 1}) == [
        Finding("topic", "unfit", "a", {"n": 1}),
        Finding("topic", "doubt", "b"),
    ]
