"""From an order to a stored video, without Prefect.

An input makes a request; a caller's order is for one; an attempt tries to buy it; a ticket is what
fal gave for it; a video is what comes of it. `road` has the steps in their order.
"""
