"""The registry: what a task is, the declarations of every suite, and how rows of a source become examples of a task.

`task` has the declaration and the registry, and `declaration` its checks. `superglue`, `wmt22`, `flan2021` and
`embedded` declare tasks; `extensions` takes in tasks that users declare. `loading` renders the rows of a split,
`sample_rows` are a few rows of every task, and `prepare` writes data into a local folder. `listing` shows which tasks
there are, and `counting` how many rows they have. Importing any of it reads no file and loads no framework.
"""
