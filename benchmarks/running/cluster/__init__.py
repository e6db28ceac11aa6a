"""A run on a Ray cluster: its jobs become tasks, its results go to the same store, its log to the same file.

`joining` starts or joins a cluster; `needs` says what a job takes of it; `driver` makes the jobs of a run, which
`dispatch` gives out, and again where a worker was lost; `worker` does them, and `gang` has several do one; `reports`
carries what workers say, and the wish to stop, between the two; `box` is what a worker gets, and checks.

Ray is imported by `joining`, and on workers: a run that is not on a cluster loads none of it.
"""
