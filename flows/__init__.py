"""Flows to deploy, to call from other flows, or to run as commands."""
