"""T4DM inside agent frameworks, under their promised names. Façades: the code lives in `t4dm_integrations`."""
