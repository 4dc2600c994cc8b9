"""Serves the flow that is suspended while fal works; run as a script, by a test."""

from flows.patient_video import patient_video

if __name__ == "__main__":
    patient_video.serve("served")
