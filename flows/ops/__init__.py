"""What stands around the flows: servers, worker, deployments, automations, doctor."""
