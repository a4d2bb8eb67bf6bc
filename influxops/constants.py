"""Names by which others find this project."""

#: The project of the hooks, for pluggy.
PROJECT = "influxops"
#: The entry points by which plugins are found.
PLUGIN_GROUP = "influxops.plugins"
#: Those by which `doctor` finds what a plugin's command needs.
CHECK_GROUP = "influxops.checks"
