"""One file = one way to run a step over many shards: `run(step, folder, shards, progress, *, options…)`.

The step is a name of data_prep.steps.STEPS, the folder holds everything it needs, and a shard that is finished is not done
again; so any executor gives the same result, and an interrupted one is simply run again.
"""
