"""Step 3 of a report, tables: which numbers stand where, with notes that say what they mean; and tables as text.

`render` says what a table is and writes it for the console, Markdown and CSV. `main_tables`, `breakdown_tables`,
`change_tables`, `rule_tables` and `grid_table` make the tables of a report from its numbers.
"""
