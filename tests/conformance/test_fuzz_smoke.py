"""The fuzz targets over their committed corpus and a few thousand mutants of it."""

from __future__ import annotations

import pytest

from fuzz.harness import TARGETS, Finding, corpus_of, load, mutations
from fuzz.seeds import SEEDS

MUTANTS = {
    "parser": 4000,
    "client_handshake": 6000,
    "server_handshake": 6000,
    "endpoint": 3000,
    "compression": 3000,
    "proxy_protocol": 20000,
    "client_hello": 20000,
}
# A seed with invalid text, and the module whose close code for it the target expects.
SEED_WITH_INVALID_TEXT = {
    "parser": ("server-invalid-text", "fuzz.frames"),
    "endpoint": ("server-violation", "fuzz.frames"),
    "compression": ("server-invalid-text", "fuzz.targets.compression"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_finds_nothing(target: str) -> None:
    run = load(target)
    for name, data in corpus_of(target):
        try:
            run(data)
        except Exception as error:
            raise AssertionError(f"fuzz/corpus/{target}/{name}: {error}") from error


@pytest.mark.parametrize("target", TARGETS)
def test_mutants_of_the_corpus_find_nothing(target: str) -> None:
    run = load(target)
    inputs = [data for _, data in corpus_of(target)]
    for mutant in mutations(target, inputs, MUTANTS[target]):
        try:
            run(mutant)
        except Exception as error:
            raise AssertionError(f"input {mutant!r}: {error}") from error


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_is_what_its_source_says(target: str) -> None:
    committed = dict(corpus_of(target))
    seeds = {name: data for name, data in committed.items() if not name.startswith("found-")}
    assert seeds == SEEDS[target]


@pytest.mark.parametrize("target", sorted(SEED_WITH_INVALID_TEXT))
def test_a_target_finds_a_difference(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, module = SEED_WITH_INVALID_TEXT[target]
    run = load(target)
    monkeypatch.setattr(f"{module}.INVALID_DATA", 1003)
    with pytest.raises(Finding, match=r"code|violation"):
        run(dict(corpus_of(target))[seed])


def test_mutants_are_the_same_in_every_run() -> None:
    inputs = [data for _, data in corpus_of("parser")]
    first, second = (list(mutations("parser", inputs, 50)) for _ in range(2))
    assert first == second
