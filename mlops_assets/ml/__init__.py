"""Machine learning as pure functions: tables in, bytes and numbers out.

Here belong training, the stored model, the baseline it has to beat, the evaluation and its report.
Not here: where tables come from and where bytes go (`lake`), when any of it runs and what it is
called in the graph (`components`, `defs`), settings, clocks and identifiers. A function of this
package gives the same bytes for the same rows in any process, in any row order and with any number
of threads, so that a result can be named by its inputs and made again.
"""
