"""The tasks: one line in a flow buys a video.

`generate_video` takes any input; each model has a task of its own, whose arguments an editor shows.
The small steps are in `steps`. Every task has an asynchronous twin, named with an `a` in front.
"""
