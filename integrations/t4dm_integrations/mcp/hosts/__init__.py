"""Write a host's configuration, so that it starts T4DM's server: read, show what changes, back up, replace."""

from t4dm_integrations.mcp.hosts.change import Change, installation, removal
from t4dm_integrations.mcp.hosts.known import HOSTS, Host

__all__ = ["HOSTS", "Change", "Host", "installation", "removal"]
