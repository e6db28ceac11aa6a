"""Figures and tables of the study, drawn from kept results as files for a paper. Loads no TensorFlow and no model.

`python -m paper_figs` draws everything that `results/` can show into `paper_figs/out/`; `--list` says what is there and
which run is missing for the rest; `--check` fails when a committed file is not what the results give.

`source` reads a results folder, `figures/` holds one module per figure, `style` is how all of them look, `render` turns
a drawing into files that name their inputs, `book` is the whole set: draw, check, list; `together` shares the set among
several processes.
"""
