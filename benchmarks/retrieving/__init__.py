"""Retrieval as a benchmark: a staircase of small retrievers taught by a large one, and reranking as a cascade.

`profile` says what is trained and on what. `columns` has the texts and what the teacher says of them, `models` trains,
`judging` ranks the test queries, `elastic` has the teacher at several sizes, and `run` is the whole from top to bottom.
Everything is kept by its identity.
"""
