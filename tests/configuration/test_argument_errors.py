"""Long messages of the parser become one line."""

from partnerface.configuration.argument_errors import short_message


def test_an_unknown_key_with_its_nearest() -> None:
    message = (
        "Validation failed:\n  Option 'trainer.max_step' is not accepted\n Expected a <class 'NoneType'>"
    )
    assert short_message(message, [], ["trainer.max_steps", "trainer.max_epochs"]) == (
        "unknown option or configuration key 'trainer.max_step'; did you mean 'trainer.max_steps'?"
    )


def test_nothing_near_points_to_help() -> None:
    assert short_message("Option 'zzz' is not accepted", [], ["out"]).endswith("'zzz'; see --help")


def test_arguments_of_named_classes_are_known() -> None:
    arguments = ["--data.reader=partnerface.data.synthetic.reader.SyntheticReader"]
    line = short_message("Option 'framess' is not accepted", arguments, [])
    assert line.endswith("did you mean 'frames'?")


def test_a_wrong_type() -> None:
    message = "Parser key \"data.image_size\":\n  Expected a <class 'int'>. Got value: large"
    assert short_message(message, [], []) == "data.image_size: expected int, got large"


def test_a_wrong_type_within_classes_is_named_whole() -> None:
    message = (
        "Parser key \"model.avatar\":\n  Problem with given class_path 'a.Avatar':\n"
        "    Parser key \"field\":\n      Problem with given class_path 'a.Field':\n"
        "        Parser key \"levels\":\n          Expected a <class 'int'>. Got value: many"
    )
    expected = "model.avatar.init_args.field.init_args.levels: expected int, got many"
    assert short_message(message, ["--model.avatar.field.levels=many"], []) == expected


def test_the_file_that_a_key_stands_in_is_named_unless_a_flag_gave_it(tmp_path) -> None:
    for name, text in (("first", "data: {size: 3}"), ("second", "data: {sise: 3}"), ("third", "other: 3")):
        (tmp_path / f"{name}.yaml").write_text(text)
    arguments = [part for path in sorted(tmp_path.iterdir()) for part in ("--config", str(path))]
    line = short_message("Option 'data.sise' is not accepted", arguments, ["data.size"])
    assert line == (
        f"{tmp_path / 'second.yaml'}: unknown option or configuration key 'data.sise'; "
        "did you mean 'data.size'?"
    )
    flagged = short_message("Option 'data.sise' is not accepted", [*arguments, "--data.sise=3"], [])
    assert flagged.startswith("unknown option")


def test_a_misspelt_entry_of_a_table_is_named_and_not_the_file_that_begins_the_table(tmp_path) -> None:
    path = tmp_path / "method.yaml"
    path.write_text("model: {losses: {photometric: {class_path: a.Photometric, init_args: {weight: 1}}}}")
    message = (
        "Parser key \"model.losses\":\n  Not a valid subclass of Loss. Got value: {'init_args.weight': '0'}\n"
        "  Subclass types expect one of:\n  - a class path (str)\n"
    )
    flags = ["--model.losses.photometric.init_args.weight=2", "--model.losses.color.init_args.weight=0"]
    line = short_message(message, ["--config", str(path), *flags], [])
    assert line == (
        "model.losses.color: expected a Loss, given by its class_path; got {'init_args.weight': '0'}"
    )
    in_the_file = short_message(message, ["--config", str(path), flags[0]], [])
    assert in_the_file.startswith(f"{path}: model.losses: expected a Loss")


def test_anything_else_is_shortened_to_a_line() -> None:
    line = short_message("first\nsecond " + "x" * 1000, [], [])
    assert line.startswith("first second x")
    assert len(line) == 300
