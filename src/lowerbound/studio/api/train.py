"""Trainings that are started, stopped and gone on with from the page."""
