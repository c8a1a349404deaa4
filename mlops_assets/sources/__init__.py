"""Where raw data is read from: files, archives, folders, servers and databases.

Belongs here: getting the rows of a table for some days, whole and typed or refused with a sentence,
and noticing what has arrived since the last look. Every kind of source is one class behind
`source.Source`. What comes from outside is bounded, checked and never trusted by its name.

Does not belong here: what a table means and what its rows must be like (the contracts in `defs/`),
which source is configured, Dagster. The lake is known only as a place where files may land.
"""
