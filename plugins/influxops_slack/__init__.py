"""The Slack reporter: one message a run, through an incoming webhook."""

from influxops_slack.reporter import SlackReporter

__all__ = ["SlackReporter"]
