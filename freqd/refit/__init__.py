"""Whether a student that was trained again on all interactions may be deployed in the place of the judged one."""
