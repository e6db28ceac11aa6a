"""The registry: what a task is, the declarations of every suite, and how rows of a source become examples of a task.

`task` is the declaration and the registry; `superglue`, `wmt22`, `flan2021` and `embedded` declare tasks; `loading`
renders rows of a split, and `listing` shows which tasks there are. Importing any of it reads no file and loads no
framework.
"""
