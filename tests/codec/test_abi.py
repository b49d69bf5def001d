"""picows_codec.abi: the name that compiled users import, and what it says if they do not fit.

What compiled users really do with it is in ``tests/abi/test_guard.py``.
"""

from __future__ import annotations

import pytest

from picows_codec import abi


def name_of(epoch: int, level: int, layout: str, version: str = "7_8_9") -> str:
    return f"epoch_{epoch}_level_{level}_layout_{layout}_version_{version}"


@pytest.mark.parametrize("level", range(1, abi.ABI_LEVEL + 1))
def test_what_fits(level: int) -> None:
    assert getattr(abi, name_of(abi.ABI_EPOCH, level, abi.LAYOUTS[level - 1])) is object


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        (
            name_of(abi.ABI_EPOCH + 1, abi.ABI_LEVEL, abi.LAYOUTS[-1]),
            r": compile it again, or pip install 'picows-codec>=7\.8\.9,<8'$",
        ),
        (
            name_of(abi.ABI_EPOCH, abi.ABI_LEVEL + 1, "0"),
            r": pip install 'picows-codec>=7\.8\.9,<8'$",
        ),
        (
            name_of(abi.ABI_EPOCH, abi.ABI_LEVEL, "0"),
            r": its structs or methods lie elsewhere; compile it again, or pip install ",
        ),
    ],
)
def test_what_does_not_fit(name: str, fix: str) -> None:
    with pytest.raises(ImportError, match=fix) as caught:
        getattr(abi, name)
    assert "compiled against picows-codec 7.8.9 " in str(caught.value)


@pytest.mark.parametrize(
    ("epoch", "level", "layout"),
    [
        (abi.ABI_EPOCH, abi.ABI_LEVEL, "0"),
        (abi.ABI_EPOCH + 1, abi.ABI_LEVEL, "0"),
        (abi.ABI_EPOCH, abi.ABI_LEVEL + 1, "0"),
    ],
)
def test_another_build_of_the_same_version(epoch: int, level: int, layout: str) -> None:
    version = abi.__version__.replace(".", "_")
    with pytest.raises(ImportError, match="built from different sources of it") as caught:
        getattr(abi, name_of(epoch, level, layout, version))
    assert str(caught.value).endswith("compile the extension again")
    assert "pip install" not in str(caught.value)


def test_another_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'epoch_1'"):
        _ = abi.epoch_1
