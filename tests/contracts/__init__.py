"""What every implementation of an interface must hold, as classes of tests to inherit.

A package of your own inherits them from a checkout of partnerface on its PYTHONPATH; see each file.
"""

import pkgutil

import pytest

# A plain assert in a file that is not named test_*.py would not say what it compared.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
