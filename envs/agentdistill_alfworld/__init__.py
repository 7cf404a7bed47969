"""ALFWorld for agentdistill."""
