"""picows_codec.simd: the choice of the kernels."""

from __future__ import annotations

from typing import Iterator

import pytest

from picows_codec import mask, simd, utf8
from picows_codec.simd import available_levels, level, set_level
from tests.support.interpreter import run_python


@pytest.fixture(params=available_levels())
def each_level(request: pytest.FixtureRequest) -> Iterator[str]:
    previous = level()
    set_level(request.param)
    yield request.param
    set_level(previous)


def test_names() -> None:
    assert simd.__all__ == sorted(simd.__all__)
    for name in simd.__all__:
        assert getattr(simd, name).__doc__


def test_scalar_is_always_available() -> None:
    assert available_levels()[0] == "scalar"
    assert set(available_levels()) <= {"scalar", "sse2", "avx2", "avx512", "neon"}
    assert level() in available_levels()


def test_set_level(each_level: str) -> None:
    assert level() == each_level
    with pytest.raises(ValueError, match=r"'mmx' is not available here: choose one of scalar"):
        set_level("mmx")
    with pytest.raises(TypeError, match="name"):
        set_level(None)
    assert level() == each_level


def test_the_kernels_of_each_level_agree(each_level: str) -> None:
    data = bytes(range(256)) * 3
    masked = mask.mask(data, b"\x01\x02\x03\x04", 1)
    assert masked == bytes(byte ^ b"\x01\x02\x03\x04"[(i + 1) % 4] for i, byte in enumerate(data))
    assert utf8.valid("\u20ac".encode() * 100)
    assert not utf8.valid("\u20ac".encode() * 100 + b"\xe2\x82")


@pytest.mark.parametrize("name", available_levels())
def test_environment_chooses_the_level(name: str) -> None:
    code = "from picows_codec import simd; print(simd.level())"
    assert run_python(code, PICOWS_SIMD=name).stdout.split() == [name]


@pytest.mark.parametrize("module", ["mask", "simd", "utf8"])
def test_environment_names_an_unknown_level(module: str) -> None:
    finished = run_python(f"import picows_codec.{module}", PICOWS_SIMD="mmx")
    assert finished.returncode == 1
    assert "ImportError: PICOWS_SIMD=mmx: " in finished.stderr
    assert ", ".join(available_levels()) in finished.stderr


def test_empty_environment_variable_is_none() -> None:
    code = "from picows_codec import simd; print(simd.level())"
    finished = run_python(code, PICOWS_SIMD="")
    assert finished.stdout.strip() in available_levels()
