"""Offline jobs: functions that the command line wires."""
