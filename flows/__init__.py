"""The flows of `prefect_hailuo.flows` as files of a clone, to deploy by path and to run."""
