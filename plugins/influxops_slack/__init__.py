"""The Slack reporter: one message a run, through an incoming webhook."""
