"""What may be asked of a search: a moment that is none is refused in words."""

from pathlib import Path

import pytest

from asd_core.errors import RequestError
from tasks.search import _picture


@pytest.mark.parametrize("second", [float("nan"), float("inf"), -float("inf")])
def test_a_second_that_is_none_is_refused(second):
    with pytest.raises(RequestError, match="names no moment"):
        _picture(Path("a.mp4"), second)
