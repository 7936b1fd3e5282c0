import pytest

from partnerface.configuration.run_errors import named_checkpoint, require_data_only
from partnerface.errors import UserError


def raising(function: str, file: str = "/lightning/checkpoint_connector.py"):
    """Code that raises in a function of a name, in a file of a name."""
    scope: dict = {}
    exec(compile(f"def {function}():\n    raise KeyError('fit_loop')\n", file, "exec"), scope)
    return scope[function]


def test_what_a_checkpoint_raises_while_restored_is_its_fault() -> None:
    reason = r"checkpoint a\.ckpt: cannot be restored \(KeyError: 'fit_loop'\)"
    with pytest.raises(UserError, match=reason), named_checkpoint("a.ckpt"):
        raising("restore_loops")()


@pytest.mark.parametrize(
    ("checkpoint", "function", "file"),
    [
        (None, "restore_loops", "/lightning/checkpoint_connector.py"),
        ("a.ckpt", "dump_checkpoint", "/lightning/checkpoint_connector.py"),
        ("a.ckpt", "restore_loops", "/lightning/fit_loop.py"),
    ],
)
def test_all_else_stays_what_it_is(checkpoint, function, file) -> None:
    with pytest.raises(KeyError), named_checkpoint(checkpoint):
        raising(function, file)()


def test_code_in_checkpoints_cannot_be_asked_for() -> None:
    require_data_only(None)
    require_data_only(True)
    with pytest.raises(UserError, match="weights_only: must be true"):
        require_data_only(False)
