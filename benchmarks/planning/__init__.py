"""What a run would do: its profile, the identity of every result, and the time, memory and disk it takes.

Nothing here loads TensorFlow.
"""
