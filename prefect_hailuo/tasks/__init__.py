"""The tasks: one line in a flow buys a video.

`generate_video` takes any input; each model's own task is a short stub over it, for editors to
show. The small steps are in `step_tasks.py`.
Every task has an asynchronous twin, named with an `a` in front.
"""
