"""Everything between raw data and a monitored prediction, as versioned Dagster assets.

The packages and the one direction in which they may import each other are described in
`docs/architecture.md`; every package's own docstring says what belongs in it.
"""
