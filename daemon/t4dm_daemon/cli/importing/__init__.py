"""`t4dm import`: an export of T4DM, what other products keep, and the vectors of other stores."""
