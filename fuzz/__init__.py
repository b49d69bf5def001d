"""Fuzzing of the codec: one harness, four targets, libFuzzer or a deterministic mutator below.

See README.md beside this file.
"""
