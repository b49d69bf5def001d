"""The targets: each module has ``run(data: bytes) -> None``, which raises for a finding."""
