"""What exists in this repository, in the order in which the data flows.

Thin declarations only: which tables, columns, rules, models and problems there are. The
mechanics that they instantiate live in `components/`.
"""
