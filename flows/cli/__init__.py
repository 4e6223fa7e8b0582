"""One module a group of commands; heavy packages are imported inside the commands, so that help is instant."""
