"""Templates and mechanics that the declarations in `defs/` are made of.

Here belongs what several assets share and what knows no particular table: how a contract is
enforced, how partitions become files, the components that YAML instantiates. Names of tables,
columns and files do not: those are declared in `defs/`.
"""
